//! Deleting series: samples leave the head at once, and segments when maintenance writes them anew.
//!
//! Nothing is sealed, merged or appended while a deletion is made: what it concerns is what is
//! there at that moment. See [`crate::deletions`] for how the rest of the store knows.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use vedette_model::{Matcher, TimeRange};
use vedette_sys::MonotonicTime;

use crate::{
    Error, Store,
    append::Appender,
    deletions::{DELETIONS_MAX, Deletion, Deletions, MATCHERS_MAX},
    maintain::{Maintenance, StepError},
    postings,
    store::{io_error, segments_folder},
};

/// Segments are written anew this long after a deletion, so that several are carried out at once.
const CLEAN_AFTER: Duration = Duration::from_secs(300);

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Series that lost samples which were not sealed yet.
    pub head_series: u64,
    /// Segments that hold something deleted; it stays on the disk until they are written anew.
    pub segments: u64,
}

/// How far maintenance is with carrying deletions out.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// When to begin; `None` when nothing is to be done, or it is being done.
    begin_at: Option<MonotonicTime>,
    /// Numbers of segments that are still to be written anew.
    waiting: VecDeque<u64>,
    /// Numbers of rollups that are to be made anew after these.
    rollups_waiting: VecDeque<u64>,
    /// Whether what is carried out may be taken off the list.
    settles: bool,
}

impl Cleaning {
    /// Nothing has been looked at since the store was opened.
    pub fn new(now: MonotonicTime, deletions: &Deletions) -> Self {
        Self { begin_at: (!deletions.is_empty()).then_some(now), ..Self::default() }
    }

    /// Files of the log were removed, which deletions may have waited for.
    pub fn sealed(&mut self) {
        self.settles = true;
    }
}

impl Store {
    /// Deletes the samples in `range` of the series that satisfy all matchers of any one set. What
    /// is appended later lives, whatever its time. When this returns `Ok`, no query that begins
    /// from now on sees what was deleted, and neither does the next process; the disk has the
    /// space back when maintenance has written the segments anew, some minutes later or with
    /// [`Store::clean_deleted`]. On an error nothing was deleted.
    pub fn delete_series(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Result<Deleted, Error> {
        if let Some(reason) = refusal(matcher_sets, range) {
            return Err(Error::Invalid { reason });
        }
        let mut maintenance = self.maintenance.lock();
        let mut appenders = self.lock_appenders();
        let deletions = Arc::clone(&self.deletions.read());
        let mut changed = Deletions::clone(&deletions);
        let segments = Arc::clone(&self.segments.read());
        let rollups = Arc::clone(&self.rollups.read());
        let in_head = self.find_in_head(matcher_sets, range);
        let logs = if in_head.series { self.end_logs(&mut appenders)? } else { Vec::new() };
        let mut deleted = Deleted::default();
        let mut hit = vec![false; segments.len()];
        let mut hits_rollups = false;
        let from = changed.list.len();
        for matchers in matcher_sets {
            let deletion = Deletion {
                matchers: matchers.clone(),
                range,
                segments_before: maintenance.next_id,
                logs: logs.clone(),
            };
            let mut concerns = in_head.samples;
            for (segment, hit) in segments.iter().zip(&mut hit) {
                let here = deletion.concerns(segment);
                *hit |= here;
                concerns |= here;
            }
            let in_rollups = rollups.iter().any(|file| deletion.concerns(file));
            hits_rollups |= in_rollups;
            concerns |= in_rollups;
            if concerns && !changed.list.contains(&deletion) {
                changed.list.push(deletion);
            }
        }
        if changed.list.len() == from {
            return Ok(deleted);
        }
        if changed.list.len() > DELETIONS_MAX {
            let reason = format!(
                "{} deletions wait for being carried out, and no more than {DELETIONS_MAX} may; carry them out \
                 with clean_tombstones first, and remove files named *.damaged, which keep them waiting",
                changed.list.len()
            );
            return Err(Error::Invalid { reason });
        }
        self.save_deletions(changed)?;
        deleted.segments = hit.iter().filter(|hit| **hit).count() as u64;
        deleted.head_series = self.delete_from_head(matcher_sets, range);
        let future_ms = self.clock.unix_ms().saturating_add(self.config.future_ms_max);
        let last_ms = self.head_last_ms.load(Ordering::Acquire).max(future_ms);
        self.changes.note(TimeRange { end_ms: range.end_ms.min(last_ms), ..range });
        maintenance.cleaning.settles = true;
        if (deleted.segments > 0 || hits_rollups) && maintenance.cleaning.begin_at.is_none() {
            let now = self.clock.monotonic();
            maintenance.cleaning.begin_at = Some(MonotonicTime(now.0 + CLEAN_AFTER.as_nanos() as u64));
        }
        self.metrics.deletions.inc();
        Ok(deleted)
    }

    /// Writes all segments and rollups anew that hold something deleted, now. Gives how many segments
    /// there were.
    pub fn clean_deleted(&self) -> Result<u64, Error> {
        let mut maintenance = self.maintenance.lock();
        self.begin_cleaning(&mut maintenance);
        let mut cleaned = 0;
        let mut all = || {
            while self.clean_next(&mut maintenance)? {
                cleaned += 1;
            }
            while self.clean_next_rollups(&mut maintenance)? {}
            self.settle_deletions()
        };
        all().map_err(|error| Error::Maintenance(Box::new(error)))?;
        Ok(cleaned)
    }

    /// Carries out what is due: one segment at a time, so that sealing does not have to wait long.
    pub(crate) fn clean(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        if self.deletions.read().is_empty() {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let due = |at: MonotonicTime| now >= at || at.since(now) > CLEAN_AFTER;
        if maintenance.cleaning.begin_at.is_some_and(due) {
            self.begin_cleaning(maintenance);
        }
        if self.clean_next(maintenance)? || self.clean_next_rollups(maintenance)? {
            return Ok(());
        }
        if std::mem::take(&mut maintenance.cleaning.settles) {
            let settled = self.settle_deletions();
            maintenance.cleaning.settles = settled.is_err();
            return settled;
        }
        Ok(())
    }

    fn begin_cleaning(&self, maintenance: &mut Maintenance) {
        let deletions = Arc::clone(&self.deletions.read());
        let segments = Arc::clone(&self.segments.read());
        let cleaning = &mut maintenance.cleaning;
        cleaning.begin_at = None;
        cleaning.waiting = segments.iter().filter(|s| deletions.concern(s)).map(|s| s.id).collect();
        let rollups = Arc::clone(&self.rollups.read());
        cleaning.rollups_waiting = rollups.iter().filter(|f| deletions.concern(f)).map(|f| f.id).collect();
        cleaning.settles = true;
    }

    /// Writes the next segment anew. Says whether there was one.
    fn clean_next(&self, maintenance: &mut Maintenance) -> Result<bool, StepError> {
        while let Some(&id) = maintenance.cleaning.waiting.front() {
            let segment = self.segments.read().iter().find(|s| s.id == id).cloned();
            // It may have been merged or removed in the meantime. A damaged one stays as it is.
            let sound = segment.filter(|s| !s.damaged.load(Ordering::Relaxed));
            let there = sound.is_some();
            if let Some(segment) = sound {
                self.merge(maintenance, &[segment])?;
            }
            maintenance.cleaning.waiting.pop_front();
            if there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes the next rollups anew. Says whether there were some.
    fn clean_next_rollups(&self, maintenance: &mut Maintenance) -> Result<bool, StepError> {
        while let Some(&id) = maintenance.cleaning.rollups_waiting.front() {
            // Those of other steps of the window may have been made with the ones before.
            let file = self.rollups.read().iter().find(|f| f.id == id).cloned();
            let there = file.is_some();
            if let Some(file) = file {
                self.clean_rollups(maintenance, &file)?;
            }
            maintenance.cleaning.rollups_waiting.pop_front();
            if there {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes deletions off the list of which nothing is left in any file.
    fn settle_deletions(&self) -> Result<(), StepError> {
        let deletions = Arc::clone(&self.deletions.read());
        let folder = segments_folder(&self.config);
        let io = |source| StepError::Write { folder: self.config.folder.clone(), source };
        let set_aside: Vec<u64> =
            self.fs.list(&folder).map_err(io)?.iter().filter_map(|path| set_aside_id(path)).collect();
        let unused_rollups = self.unused_rollups().map_err(io)?;
        let segments = Arc::clone(&self.segments.read());
        let rollups = Arc::clone(&self.rollups.read());
        let logs: Vec<(u32, u64)> = {
            let appenders = self.lock_appenders();
            let left_logs = self.left_logs.lock();
            let logs = appenders.iter().map(|a| &a.wal).chain(left_logs.iter());
            logs.filter_map(|wal| Some((wal.number(), wal.first_segment()?))).collect()
        };
        let waits = |d: &&Deletion| {
            segments.iter().chain(rollups.iter()).any(|s| d.concerns(s))
                || set_aside.iter().chain(&unused_rollups).any(|id| *id < d.segments_before)
                || d.logs.iter().any(|(log, last)| logs.iter().any(|(l, first)| l == log && first <= last))
        };
        let list: Vec<Deletion> = deletions.list.iter().filter(waits).cloned().collect();
        if list.len() < deletions.list.len() {
            self.save_deletions(Deletions { list }).map_err(|error| StepError::Deletions(Box::new(error)))?;
        }
        Ok(())
    }

    fn save_deletions(&self, deletions: Deletions) -> Result<(), Error> {
        let saved = deletions.save(&*self.fs, &self.config.folder);
        saved.map_err(|source| io_error("write the list of deletions in", &self.config.folder, source))?;
        *self.deletions.write() = Arc::new(deletions);
        Ok(())
    }

    fn find_in_head(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> InHead {
        let mut found = InHead { series: false, samples: false };
        for shard in self.head.shards() {
            let index = shard.index();
            for matchers in matcher_sets {
                let slots = postings::select(&index, matchers);
                found.series |= !slots.is_empty();
                found.samples |= !index.overlapping(slots, range).is_empty();
            }
        }
        found
    }

    /// Ends the segments of all logs, so that what is appended from now on stands in others. Gives
    /// the last segment of each, whose name survives a loss of power: no later one has its number.
    pub(crate) fn end_logs(
        &self,
        appenders: &mut [parking_lot::MutexGuard<'_, Appender>],
    ) -> Result<Vec<(u32, u64)>, Error> {
        let mut left_logs = self.left_logs.lock();
        let logs = appenders.iter_mut().map(|a| &mut a.wal).chain(left_logs.iter_mut());
        let mut ends = Vec::new();
        for wal in logs {
            wal.sync().map_err(Error::Append)?;
            ends.push((wal.number(), wal.end_segment()));
        }
        ends.retain(|(_, last)| *last > 0);
        Ok(ends)
    }

    fn delete_from_head(&self, matcher_sets: &[Vec<Matcher>], range: TimeRange) -> u64 {
        let mut series = 0;
        for shard in self.head.shards() {
            let index = shard.index();
            for matchers in matcher_sets {
                // Those without samples there too: the head knows their last ones, which are sealed.
                for slot in postings::select(&index, matchers) {
                    series += u64::from(shard.samples.write().delete(slot, range));
                }
            }
        }
        series
    }
}

/// What the head has of series that are to be deleted.
struct InHead {
    series: bool,
    /// Samples in the time in question, or maybe so.
    samples: bool,
}

/// Number of a damaged segment that was set aside.
fn set_aside_id(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".damaged")?;
    crate::segment::file_id(Path::new(name))
}

fn refusal(matcher_sets: &[Vec<Matcher>], range: TimeRange) -> Option<String> {
    if matcher_sets.is_empty() || matcher_sets.iter().any(Vec::is_empty) {
        return Some("nothing was deleted, as no selector was given; name the series".to_owned());
    }
    if range.start_ms > range.end_ms {
        return Some(format!("nothing was deleted, as the time ends before it starts: {range:?}"));
    }
    let texts = |m: &Matcher| m.name.len() + m.value.len();
    if matcher_sets.len() > DELETIONS_MAX
        || matcher_sets.iter().any(|m| m.len() > MATCHERS_MAX)
        || matcher_sets.iter().flatten().map(texts).sum::<usize>() > 1 << 20
    {
        return Some("nothing was deleted, as the selectors are too many or too long".to_owned());
    }
    None
}
