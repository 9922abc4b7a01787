//! The pods of a cluster on disk: those that are gone and those that are there survive the end of the program.
//!
//! A record log of which the last record of each pod counts. One look at the watches is one write(2), so that the end
//! of the process costs what no look has taken yet; a loss of power also costs what was written since the last sync,
//! [`Limits::beat`] ago at most. Once more than half of it is dead, what is not is written anew and the rest removed.
//! The form is described in `docs/formats/pod-history.md`.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(super) mod record;

use std::{path::PathBuf, sync::Arc, time::Duration};

use hashbrown::HashMap;
use parking_lot::RwLock;
use record::{HistoryRecord, PodRecord};
use vedette_sys::{Flush, Fs, LogConfig, LogError, MonotonicTime, RecordLog};

use super::{
    index::{Index, Slot},
    text::{self, Uid},
};

/// Length and checksum before each record.
const FRAME_BYTES: usize = 8;
/// Pods that are read from the index while nobody can change it, and written at once.
const CHUNK: usize = 256;
/// What could not be written is tried again after this time, and compaction after as long.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How much is kept on disk, and how well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest record. Thirty-two containers with the longest names and images take half of it.
    pub record_bytes_max: usize,
    /// A file that has reached this size gets no further record; one is read at a time.
    pub segment_bytes_max: u64,
    /// A log that is smaller is not compacted.
    pub compact_bytes_min: u64,
    /// What is left by a compaction; what went first is left out. It is due at the latest when there is twice as much.
    pub kept_bytes_max: u64,
    /// How often it is written that pods are there, and all is synced.
    pub beat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: 32 << 10,
            segment_bytes_max: 8 << 20,
            compact_bytes_min: 1 << 20,
            kept_bytes_max: 128 << 20,
            beat: Duration::from_secs(30),
        }
    }
}

/// Where the history of a cluster is kept.
#[derive(Clone)]
pub struct Place {
    /// On which disk.
    pub fs: Arc<dyn Fs>,
    /// In which folder, which is the history's alone.
    pub folder: PathBuf,
}

/// What the history holds, and what it lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Figures {
    /// Size on disk.
    pub bytes: u64,
    /// Bytes that could not be read at the start: damage, or what was just written when the program ended.
    pub lost_bytes: u64,
    /// Pods whose state was too long, or too much, to be kept.
    pub left_out: u64,
}

/// The history, open for writing.
pub(super) struct History {
    place: Place,
    limits: Limits,
    log: RecordLog,
    /// Until when the pods are known to be there that are not gone.
    known_ms: i64,
    /// When that was written last by the beat, and all was synced.
    beaten: MonotonicTime,
    /// Before this time nothing is tried again.
    rests_until: Option<MonotonicTime>,
    /// Segments below hold nothing any more that counts, and could not be removed yet.
    dead_below: Option<u64>,
    problem: Option<String>,
    lost_bytes: u64,
    left_out: u64,
}

/// What was read: the last record of each pod, and until when pods were there.
#[derive(Default)]
struct Found {
    /// By uid: in which segment it stands, and its bytes.
    pods: HashMap<Uid, (u64, Box<[u8]>)>,
    known_ms: Option<i64>,
    unreadable_bytes: u64,
}

impl History {
    /// Takes up what was kept, into an index that knows nothing yet.
    pub(super) fn open(
        place: Place,
        limits: Limits,
        index: &mut Index,
        (now_ms, now): (i64, MonotonicTime),
    ) -> Result<Self, LogError> {
        let config = LogConfig {
            segment_bytes_max: limits.segment_bytes_max,
            record_bytes_max: limits.record_bytes_max,
            flush: Flush::Interval(limits.beat),
        };
        let mut found = Found::default();
        let (log, recovery) =
            RecordLog::open(place.fs.clone(), &place.folder, config, &mut |segment, record| {
                found.take(segment, record);
            })?;
        if let Some(damage) = &recovery.damage {
            tracing::warn!(folder = %place.folder.display(), damage, "the history of pods was repaired");
        }
        let known_ms = found.known_ms.unwrap_or(i64::MIN);
        index.set_known_until(known_ms);
        found.hand_over(index, (now_ms, now));
        index.forget(now);
        Ok(Self {
            place,
            limits,
            log,
            known_ms,
            beaten: now,
            rests_until: None,
            dead_below: None,
            problem: None,
            lost_bytes: recovery.dropped_bytes + found.unreadable_bytes,
            left_out: 0,
        })
    }

    /// Writes what the index has otherwise than the history. `is_whole` says that the pods that the index has are now
    /// known to be there. What cannot be written is tried again later. Nobody else may change the index meanwhile.
    pub(super) fn keep(
        &mut self,
        index: &RwLock<Index>,
        is_whole: bool,
        (now_ms, now): (i64, MonotonicTime),
    ) {
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        let written = self.write(index, is_whole.then_some(now_ms), now);
        if let Err(error) = &written {
            tracing::debug!(%error, "the history of pods");
        }
        self.rests_until = written.is_err().then(|| MonotonicTime(now.0.saturating_add(nanos(AGAIN_AFTER))));
        self.problem = written.err().map(|error| with_causes(&error));
    }

    /// Why the newest is not on disk.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { bytes: self.log.bytes(), lost_bytes: self.lost_bytes, left_out: self.left_out }
    }

    fn write(
        &mut self,
        index: &RwLock<Index>,
        known_ms: Option<i64>,
        now: MonotonicTime,
    ) -> Result<(), LogError> {
        let is_any = self.append_changes(index)?;
        let is_due = now.since(self.beaten) >= self.limits.beat;
        if let Some(known_ms) = known_ms.filter(|_| is_any || is_due) {
            self.append(&[HistoryRecord::Known(known_ms)])?;
            self.known_ms = known_ms;
        }
        if is_due {
            self.log.sync()?;
            self.beaten = now;
        }
        self.compact(index)
    }

    /// Whether there was any.
    fn append_changes(&mut self, index: &RwLock<Index>) -> Result<bool, LogError> {
        let (changed, forgotten) = {
            let index = index.read();
            (index.changed(), index.forgotten_uids().to_vec())
        };
        // First, as one may have come again.
        for chunk in forgotten.chunks(CHUNK) {
            let records: Vec<_> =
                chunk.iter().map(|uid| HistoryRecord::Forgotten(uid.as_str().into())).collect();
            self.append(&records)?;
            index.write().drop_forgotten(chunk.len());
        }
        for chunk in changed.chunks(CHUNK) {
            self.append_pods(index, chunk)?;
        }
        Ok(!changed.is_empty() || !forgotten.is_empty())
    }

    fn append(&mut self, records: &[HistoryRecord<'_>]) -> Result<(), LogError> {
        let records: Vec<Vec<u8>> = records.iter().filter_map(HistoryRecord::encode).collect();
        self.log.append_all(records.iter().map(Vec::as_slice)).map(drop)
    }

    /// Writes these pods as they are; how much that is.
    fn append_pods(&mut self, index: &RwLock<Index>, slots: &[Slot]) -> Result<u64, LogError> {
        let fits = |record: &Vec<u8>| record.len() <= self.limits.record_bytes_max;
        let records: Vec<(Slot, bool, Vec<u8>)> = {
            let index = index.read();
            let encoded = |slot: &Slot| {
                let pod = index.record_of(*slot)?;
                let uid = pod.uid.clone();
                let whole = HistoryRecord::Pod(pod).encode().filter(fits);
                let is_whole = whole.is_some();
                // What was kept of it before would be another state than it has.
                let record = whole.or_else(|| HistoryRecord::Forgotten(uid).encode().filter(fits));
                Some((*slot, is_whole, record.unwrap_or_default()))
            };
            slots.iter().filter_map(encoded).collect()
        };
        let written = records.iter().map(|(.., record)| &**record).filter(|record| !record.is_empty());
        self.log.append_all(written)?;
        let mut bytes = 0;
        let mut index = index.write();
        for (slot, is_whole, record) in records {
            let record_bytes = if is_whole { frame_bytes(&record) } else { 0 };
            bytes += u64::from(record_bytes);
            self.left_out += u64::from(!is_whole);
            index.mark_kept(slot, record_bytes);
        }
        Ok(bytes)
    }

    /// Writes all that counts anew, once it is less than half of the log, and removes what was there before.
    fn compact(&mut self, index: &RwLock<Index>) -> Result<(), LogError> {
        if let Some(segment) = self.dead_below {
            self.log.remove_before(segment)?;
            self.dead_below = None;
        }
        let (all, live) = (self.log.bytes(), index.read().kept_bytes());
        let is_mostly_dead = all > 2 * live || all > 2 * self.limits.kept_bytes_max;
        if all < self.limits.compact_bytes_min || !is_mostly_dead {
            return Ok(());
        }
        self.want_room(live)?;
        let segment = self.log.start_segment()?;
        let slots = index.read().newest_first();
        let mut bytes = 0;
        for chunk in slots.chunks(CHUNK) {
            if bytes < self.limits.kept_bytes_max {
                bytes += self.append_pods(index, chunk)?;
                continue;
            }
            let mut index = index.write();
            self.left_out += chunk.iter().filter(|slot| index.mark_kept(**slot, 0)).count() as u64;
        }
        self.append(&[HistoryRecord::Known(self.known_ms)])?;
        // What was there before counts until the new one is safe, and not again where a loss of power takes some of
        // the removals back.
        self.log.sync()?;
        self.append(&[HistoryRecord::Compacted(segment)])?;
        self.log.sync()?;
        self.dead_below = Some(segment);
        self.log.remove_before(segment)?;
        self.dead_below = None;
        Ok(())
    }

    /// A disk is not filled by tries that cannot end.
    fn want_room(&self, bytes: u64) -> Result<(), LogError> {
        let Place { fs, folder } = &self.place;
        if fs.free_bytes(folder).unwrap_or(u64::MAX) > bytes.saturating_mul(2) {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(LogError::Io { action: "compact", path: folder.clone(), source })
    }
}

impl Found {
    fn take(&mut self, segment: u64, bytes: &[u8]) {
        match HistoryRecord::decode(bytes) {
            Some(HistoryRecord::Pod(pod)) => {
                self.pods.insert(text::uid(&pod.uid), (segment, bytes.into()));
            }
            Some(HistoryRecord::Forgotten(uid)) => {
                self.pods.remove(&text::uid(&uid));
            }
            Some(HistoryRecord::Known(at_ms)) => self.known_ms = Some(at_ms),
            Some(HistoryRecord::Compacted(first)) => self.pods.retain(|_, (segment, _)| *segment >= first),
            None => self.unreadable_bytes += bytes.len() as u64,
        }
    }

    /// Those that went first come first, then those that are there.
    fn hand_over(&self, index: &mut Index, at: (i64, MonotonicTime)) {
        fn decoded(bytes: &[u8]) -> Option<PodRecord<'_>> {
            match HistoryRecord::decode(bytes)? {
                HistoryRecord::Pod(pod) => Some(pod),
                _ => None,
            }
        }
        let gone_ms = |bytes| decoded(bytes)?.gone.map(|gone| gone.at_ms);
        let pods = self.pods.iter().map(|(uid, (_, bytes))| (uid, &**bytes));
        let mut order: Vec<(i64, &Uid, &[u8])> =
            pods.map(|(uid, bytes)| (gone_ms(bytes).unwrap_or(i64::MAX), uid, bytes)).collect();
        order.sort_unstable();
        for (_, _, bytes) in order {
            let Some(pod) = decoded(bytes) else { continue };
            index.take_over(&pod, frame_bytes(bytes), at);
        }
    }
}

/// What a record takes in the log.
fn frame_bytes(record: &[u8]) -> u32 {
    u32::try_from(record.len() + FRAME_BYTES).unwrap_or(u32::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// An error with its causes in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
