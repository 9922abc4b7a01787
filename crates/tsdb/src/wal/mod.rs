//! The write-ahead log of one shard: what is acknowledged stands here before it stands in the
//! head.
//!
//! Invariants: each segment of the log begins with the definitions of all series in use and the
//! metadata, so that a segment can go as soon as all of its samples are sealed; in a segment a number
//! names one series only, so that a lost definition never gives samples to another series.

mod beginning;
mod definitions;
mod gather;
pub mod histograms;
mod record;
mod rows;
pub mod values;
mod whole;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use vedette_model::{Exemplar, MetricMetadata};
use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog, Recovery, SegmentRecords};

use crate::{
    SeriesRef,
    head::{LateSample, PairKey},
};
use definitions::Definitions;
#[cfg(test)]
pub use definitions::PairList;
pub use definitions::{Defined, DefinedSeries};
pub use gather::{Column, Columns};
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
    /// Start of the span in which the segment was begun.
    span_start_ms: i64,
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

/// What an earlier run wrote to a log, read from the disk and not understood yet.
pub struct Unread {
    segments: Vec<SegmentRecords>,
    /// What the log found.
    pub log: Recovery,
}

impl Unread {
    /// Size of the files.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.data().len()).sum()
    }
}

impl Wal {
    /// Opens the log and reads what is there. What is read comes to [`Wal::replay`] before anything
    /// else is done with the log.
    pub fn open(fs: Arc<dyn Fs>, folder: &Path, flush: Flush) -> Result<(Self, Unread), LogError> {
        // Segments end when the owner says so, as each must begin with the definitions.
        let config = LogConfig { segment_bytes_max: u64::MAX, record_bytes_max: RECORD_BYTES_MAX, flush };
        let number = folder.file_name().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(u32::MAX);
        let mut segments = Vec::new();
        let (log, recovery) =
            RecordLog::open_segments(fs, folder, config, &mut |segment| segments.push(segment))?;
        let wal = Self {
            number,
            log,
            rows: RowEncoder::default(),
            records: Vec::new(),
            ends: Vec::new(),
            pending: Definitions::default(),
            segment: Segment::Wanted,
            span_start_ms: i64::MIN,
            checkpoint: None,
            last_ms: BTreeMap::new(),
            records_last_ms: i64::MIN,
            // The process before this one may have been killed before it synced what it wrote.
            unsynced: true,
        };
        Ok((wal, Unread { segments, log: recovery }))
    }

    /// Replays what was read when the log was opened. Needs no file. Gives how many records could not
    /// be understood, or build on a record that was lost.
    pub fn replay(&mut self, unread: Unread, replay: &mut dyn Replay) -> u64 {
        let mut decoder = Decoder::default();
        let mut dropped_records = 0;
        let mut watch = LastTime { segment: None, last_ms: i64::MIN, inner: replay };
        for segment in unread.segments {
            for (_, record) in segment.iter() {
                if watch.segment != Some(segment.number()) {
                    self.last_ms.extend(watch.begin(segment.number()));
                }
                if decoder.read(segment.number(), record, &mut watch).is_none() {
                    dropped_records += 1;
                }
            }
            decoder.replay_rows(&mut watch);
        }
        self.last_ms.extend(watch.end());
        dropped_records + decoder.lost_rows()
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

    /// Whether the next write goes to a segment that there is not yet.
    pub fn wants_segment(&self) -> bool {
        self.segment == Segment::Wanted
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

    /// Tells the span of samples that come next. The first of a later span go to a new segment:
    /// once a span is sealed, the log holds nothing of it any more.
    pub fn enter_span(&mut self, span_start_ms: i64) {
        if span_start_ms > self.span_start_ms {
            self.span_start_ms = span_start_ms;
            self.segment = Segment::Wanted;
        }
    }

    /// Lets the next write begin a new segment, unless this one was begun for samples from
    /// `until_ms` on and has some. Gives the number of the last one so far.
    pub fn end_span(&mut self, until_ms: i64) -> u64 {
        let last = self.last_ms.last_key_value();
        if self.span_start_ms >= until_ms
            && let Some((&number, &last_ms)) = last
            && last_ms >= until_ms
        {
            return number;
        }
        self.end_segment()
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

/// Watches for the time of the last sample in each segment.
struct LastTime<'a> {
    segment: Option<u64>,
    last_ms: i64,
    inner: &'a mut dyn Replay,
}

impl LastTime<'_> {
    /// Begins a segment. Gives the one before, and the time of its last sample.
    fn begin(&mut self, segment: u64) -> Option<(u64, i64)> {
        let before = self.end();
        self.segment = Some(segment);
        self.inner.begin_segment(segment);
        before
    }

    /// Gives the segment, and the time of its last sample.
    fn end(&mut self) -> Option<(u64, i64)> {
        let last_ms = std::mem::replace(&mut self.last_ms, i64::MIN);
        self.segment.take().map(|segment| (segment, last_ms))
    }

    fn note(&mut self, time_ms: i64) {
        self.last_ms = self.last_ms.max(time_ms);
    }
}

impl Replay for LastTime<'_> {
    fn series(&mut self, defined: &DefinedSeries<'_>, references: &mut Vec<SeriesRef>) {
        self.inner.series(defined, references);
    }

    fn columns(&mut self, columns: &Columns<'_>) {
        columns.times_ms().iter().for_each(|&time_ms| self.note(time_ms));
        self.inner.columns(columns);
    }

    fn row(&mut self, time_ms: i64, samples: &[Told]) {
        self.note(time_ms);
        self.inner.row(time_ms, samples);
    }

    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64) {
        self.note(time_ms);
        self.inner.late(series, time_ms, bits);
    }

    fn whole(&mut self, series: SeriesRef, sample: WholeSample) {
        self.note(sample.time_ms);
        self.inner.whole(series, sample);
    }

    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar) {
        self.note(exemplar.time_ms);
        self.inner.exemplar(series, exemplar);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        self.inner.metadata(metadata);
    }
}
