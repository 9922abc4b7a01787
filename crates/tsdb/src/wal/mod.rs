//! The write-ahead log of one shard: what is acknowledged stands here before it stands in the
//! head.
//!
//! Invariant: each segment of the log begins with the definitions of all series in use and the
//! metadata, so that a segment can go as soon as all of its samples are sealed.

mod definitions;
pub mod histograms;
mod record;
mod rows;
pub mod values;
mod whole;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use vedette_model::{Exemplar, MetricMetadata};
use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog, Recovery};

use crate::{
    SeriesRef,
    head::{LateSample, PairKey},
};
pub use definitions::Defined;
use definitions::Definitions;
#[cfg(test)]
pub use definitions::PairList;
use record::Decoder;
pub use record::{Replay, Told};
pub use rows::RowBuffer;
use rows::RowEncoder;
pub use whole::{WholeBuffer, WholeSample, WholeValue};

const RECORD_BYTES_MAX: usize = 256 << 20;

/// The log, open for appending.
pub struct Wal {
    number: u32,
    log: RecordLog,
    rows: RowEncoder,
    /// Records that wait for the next write, and where each ends.
    records: Vec<u8>,
    ends: Vec<usize>,
    /// Definitions and metadata not written yet. A series without sample need not survive.
    pending: Definitions,
    segment: Segment,
    /// The last segment to which this run has written the definitions and metadata. Those of an
    /// earlier run may be torn.
    checkpoint: Option<u64>,
    /// Time of the last sample in each segment.
    last_ms: BTreeMap<u64, i64>,
    records_last_ms: i64,
    unsynced: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    /// The next write goes to a new segment.
    Wanted,
    /// There is a new segment; the next write begins with the definitions.
    Empty,
    /// Rows may be appended.
    Ready,
}

/// What replaying gave beside the samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// What the log found.
    pub log: Recovery,
    /// Records that could not be understood, or that build on a record that was lost.
    pub dropped_records: u64,
}

impl Wal {
    /// Opens the log and replays it.
    pub fn open(
        fs: Arc<dyn Fs>,
        folder: &Path,
        flush: Flush,
        replay: &mut dyn Replay,
    ) -> Result<(Self, Replayed), LogError> {
        // Segments end when the owner says so, as each must begin with the definitions.
        let config = LogConfig { segment_bytes_max: u64::MAX, record_bytes_max: RECORD_BYTES_MAX, flush };
        let mut decoder = Decoder::default();
        let mut dropped_records = 0;
        let mut last_ms = BTreeMap::new();
        let number = folder.file_name().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(u32::MAX);
        let (log, recovery) = RecordLog::open(fs, folder, config, &mut |segment, bytes| {
            replay.begin_segment(segment);
            let last = last_ms.entry(segment).or_insert(i64::MIN);
            let mut watch = LastTime { last, inner: replay };
            if decoder.read(segment, bytes, &mut watch).is_none() {
                dropped_records += 1;
            }
        })?;
        let wal = Self {
            number,
            log,
            rows: RowEncoder::default(),
            records: Vec::new(),
            ends: Vec::new(),
            pending: Definitions::default(),
            segment: Segment::Wanted,
            checkpoint: None,
            last_ms,
            records_last_ms: i64::MIN,
            // The process before this one may have been killed before it synced what it wrote.
            unsynced: true,
        };
        Ok((wal, Replayed { log: recovery, dropped_records }))
    }

    /// Defines a series by the hash of its labels and the labels, with the next write.
    pub fn define<'a>(
        &mut self,
        slot: u32,
        hash: u64,
        labels: impl ExactSizeIterator<Item = (PairKey, (&'a str, &'a str))>,
    ) {
        self.pending.define(slot, hash, labels);
    }

    /// Tells metadata, with the next write.
    pub fn put_metadata(&mut self, metadata: &[&MetricMetadata]) {
        self.pending.tell(metadata.iter().copied());
    }

    /// Whether definitions or metadata wait for a write.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sees to it that rows can be appended; `checkpoint` tells all series and metadata, and asks
    /// for a write now and then, as all of it at once would take much memory. Comes before the
    /// claims of what is to be appended.
    pub fn prepare(
        &mut self,
        checkpoint: impl FnOnce(&mut Checkpoint<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        if self.segment == Segment::Wanted {
            self.log.start_segment()?;
            self.segment = Segment::Empty;
        }
        if self.segment == Segment::Empty {
            // All that waits is in the checkpoint. Should that end half way, the next attempt tells
            // all of it again, which does no harm.
            self.pending.begin_segment();
            self.unsynced = true;
            let mut pen = Checkpoint { definitions: &mut self.pending, log: &mut self.log };
            checkpoint(&mut pen)?;
            let segment = pen.write()?;
            self.last_ms.entry(segment).or_insert(i64::MIN);
            self.checkpoint = Some(segment);
            self.rows.begin_segment();
            self.segment = Segment::Ready;
        }
        Ok(())
    }

    /// The epoch of the rows that are claimed next.
    pub fn epoch(&mut self) -> u32 {
        self.rows.epoch()
    }

    /// Adds a row to the next write.
    pub fn put_row(&mut self, time_ms: i64, row: &RowBuffer) {
        self.rows.put(time_ms, row, &mut self.records, &mut self.ends);
        self.records_last_ms = self.records_last_ms.max(time_ms);
    }

    /// Adds late samples to the next write.
    pub fn put_late(&mut self, samples: &[LateSample]) {
        let Some(last_ms) = samples.iter().map(|s| s.time_ms).max() else { return };
        let mut plain = samples.iter().filter(|s| s.value.more.is_none()).peekable();
        if plain.peek().is_some() {
            record::put_late(plain, &mut self.records);
            self.ends.push(self.records.len());
        }
        let mut whole = WholeBuffer::default();
        samples.iter().filter(|s| s.value.more.is_some()).for_each(|s| whole.put_late(s));
        self.put_whole(&whole);
        self.records_last_ms = self.records_last_ms.max(last_ms);
    }

    /// Adds samples or exemplars that are told whole to the next write.
    pub fn put_whole(&mut self, whole: &WholeBuffer) {
        if let Some(last_ms) = whole.write(&mut self.records, &mut self.ends) {
            self.records_last_ms = self.records_last_ms.max(last_ms);
        }
    }

    /// Writes what waits, with one write(2): all of it, or nothing.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.ends.is_empty() && self.pending.is_empty() {
            return Ok(());
        }
        let mut start = 0;
        let records = self.ends.iter().map(|&end| &self.records[std::mem::replace(&mut start, end)..end]);
        let result = self.log.append_all(self.pending.records().chain(records));
        match &result {
            Ok(segment) => {
                self.pending.clear();
                self.unsynced = true;
                let last = self.last_ms.entry(*segment).or_insert(i64::MIN);
                *last = self.records_last_ms.max(*last);
            }
            // The rows that later ones would build on are not there.
            Err(_) => self.rows.forget(),
        }
        self.records.clear();
        self.ends.clear();
        self.records_last_ms = i64::MIN;
        result.map(drop)
    }

    /// Makes what was written survive a loss of power.
    pub fn sync(&mut self) -> Result<(), LogError> {
        if self.unsynced {
            self.log.sync()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Lets the next write begin a new segment. Gives the number of the last one so far.
    pub fn end_segment(&mut self) -> u64 {
        self.segment = Segment::Wanted;
        self.last_ms.keys().next_back().copied().unwrap_or(0)
    }

    /// Its number among the logs, which is the name of its folder.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Number of the first segment that may have samples.
    pub fn first_segment(&self) -> Option<u64> {
        self.last_ms.keys().next().copied()
    }

    /// Tells that slots may get other series from now on.
    pub fn forget_layouts(&mut self) {
        self.rows.forget();
    }

    /// Removes the segments up to number `last` of which all samples are before `sealed_until_ms`,
    /// but none before this run has written one. Says whether all of them are sealed.
    pub fn remove_sealed(&mut self, last: u64, sealed_until_ms: i64) -> Result<bool, LogError> {
        let stays = |(number, last_ms): &(&u64, &i64)| **last_ms >= sealed_until_ms || **number > last;
        let kept = self.last_ms.iter().find(stays).map(|(number, _)| *number);
        if let Some(checkpoint) = self.checkpoint {
            let keep_from = kept.map_or(checkpoint, |kept| kept.min(checkpoint));
            self.log.remove_before(keep_from)?;
            self.last_ms = self.last_ms.split_off(&keep_from);
        }
        Ok(kept.is_none())
    }

    /// Removes all segments there are; an empty one keeps the numbers growing.
    pub fn remove_all(&mut self) -> Result<(), LogError> {
        let empty = self.log.start_segment()?;
        self.segment = Segment::Wanted;
        self.log.remove_before(empty)?;
        self.last_ms.clear();
        Ok(())
    }

    /// Size of the log.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }

    /// About how much memory it takes.
    pub fn heap_bytes(&self) -> usize {
        self.rows.heap_bytes()
            + self.pending.heap_bytes()
            + self.records.capacity()
            + self.ends.capacity() * 8
    }
}

/// The definitions at the beginning of a segment, on their way to the file.
pub struct Checkpoint<'a> {
    definitions: &'a mut Definitions,
    log: &'a mut RecordLog,
}

impl Checkpoint<'_> {
    /// Defines a series.
    pub fn define<'a>(
        &mut self,
        slot: u32,
        hash: u64,
        labels: impl ExactSizeIterator<Item = (PairKey, (&'a str, &'a str))>,
    ) -> Result<(), LogError> {
        self.definitions.define(slot, hash, labels);
        if self.definitions.has_full_record() { self.write().map(drop) } else { Ok(()) }
    }

    /// Tells metadata.
    pub fn tell<'a>(&mut self, metadata: impl ExactSizeIterator<Item = &'a MetricMetadata>) {
        self.definitions.tell(metadata);
    }

    fn write(&mut self) -> Result<u64, LogError> {
        let segment = self.log.append_all(self.definitions.records())?;
        self.definitions.clear();
        Ok(segment)
    }
}

struct LastTime<'a> {
    last: &'a mut i64,
    inner: &'a mut dyn Replay,
}

impl Replay for LastTime<'_> {
    fn series(&mut self, defined: &Defined<'_>) -> Option<SeriesRef> {
        self.inner.series(defined)
    }

    fn row(&mut self, time_ms: i64, samples: &[Told]) {
        *self.last = (*self.last).max(time_ms);
        self.inner.row(time_ms, samples);
    }

    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64) {
        *self.last = (*self.last).max(time_ms);
        self.inner.late(series, time_ms, bits);
    }

    fn whole(&mut self, series: SeriesRef, sample: WholeSample) {
        *self.last = (*self.last).max(sample.time_ms);
        self.inner.whole(series, sample);
    }

    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) {
        *self.last = (*self.last).max(exemplar.time_ms);
        self.inner.exemplar(series, exemplar);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        self.inner.metadata(metadata);
    }
}
