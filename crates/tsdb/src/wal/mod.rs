//! The write-ahead log: what is acknowledged stands here before it stands in the head.
//!
//! Invariant: each segment of the log begins with the definitions of all series in use and the
//! metadata, so that a segment can go as soon as all of its samples are sealed.

mod record;
mod values;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use vedette_model::{Labels, MetricMetadata};
use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog, Recovery};

use crate::SeriesRef;
pub use record::Replay;
use record::{Decoder, RowEncoder};

/// Series in one record of definitions; far below the limit for a record.
const SERIES_PER_RECORD: usize = 4096;

const RECORD_BYTES_MAX: usize = 256 << 20;

/// The log, open for appending.
pub struct Wal {
    log: RecordLog,
    rows: RowEncoder,
    /// Records that wait for the next write, and where each ends.
    records: Vec<u8>,
    ends: Vec<usize>,
    /// Definitions and metadata not written yet. A series without sample need not survive.
    pending: Vec<Vec<u8>>,
    segment: Segment,
    /// Time of the last sample in each segment.
    last_ms: BTreeMap<u64, i64>,
    rows_last_ms: i64,
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
        let (log, recovery) = RecordLog::open(fs, folder, config, &mut |segment, bytes| {
            let last = last_ms.entry(segment).or_insert(i64::MIN);
            let mut watch = LastTime { last, inner: replay };
            if decoder.read(segment, bytes, &mut watch).is_none() {
                dropped_records += 1;
            }
        })?;
        let wal = Self {
            log,
            rows: RowEncoder::default(),
            records: Vec::new(),
            ends: Vec::new(),
            pending: Vec::new(),
            segment: Segment::Wanted,
            last_ms,
            rows_last_ms: i64::MIN,
            unsynced: false,
        };
        Ok((wal, Replayed { log: recovery, dropped_records }))
    }

    /// Defines a series, with the next write.
    pub fn define(&mut self, reference: SeriesRef, labels: &Labels) {
        let mut record = Vec::new();
        record::put_series(std::iter::once((reference, labels)), &mut record);
        self.pending.push(record);
    }

    /// Tells metadata, with the next write.
    pub fn put_metadata(&mut self, metadata: &[&MetricMetadata]) {
        let mut record = Vec::new();
        record::put_metadata(metadata.iter().copied(), &mut record);
        self.pending.push(record);
    }

    /// Whether definitions or metadata wait for a write.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Sees to it that rows can be appended; `checkpoint` gives all series and metadata.
    pub fn prepare(&mut self, checkpoint: impl FnOnce() -> Checkpoint) -> Result<(), LogError> {
        if self.segment == Segment::Wanted {
            self.log.start_segment()?;
            self.segment = Segment::Empty;
        }
        if self.segment == Segment::Empty {
            let checkpoint = checkpoint();
            let mut records = Vec::new();
            for series in checkpoint.series.chunks(SERIES_PER_RECORD) {
                let mut record = Vec::new();
                record::put_series(series.iter().map(|(r, l)| (*r, l)), &mut record);
                records.push(record::compress(record));
            }
            if !checkpoint.metadata.is_empty() {
                let mut record = Vec::new();
                record::put_metadata(checkpoint.metadata.iter(), &mut record);
                records.push(record::compress(record));
            }
            let segment = self.log.append_all(records.iter().map(Vec::as_slice))?;
            self.unsynced = true;
            self.last_ms.entry(segment).or_insert(i64::MIN);
            self.rows.reset();
            // All of it was in the checkpoint.
            self.pending.clear();
            self.segment = Segment::Ready;
        }
        Ok(())
    }

    /// Adds a row to the next write. [`Wal::prepare`] has gone well before.
    pub fn put_row(&mut self, time_ms: i64, series: &[SeriesRef], row: &[f64]) {
        self.rows.put(time_ms, series, row, &mut self.records, &mut self.ends);
        self.rows_last_ms = self.rows_last_ms.max(time_ms);
    }

    /// Writes what waits, with one write(2): all of it, or nothing.
    pub fn write(&mut self) -> Result<(), LogError> {
        if self.ends.is_empty() && self.pending.is_empty() {
            return Ok(());
        }
        let mut start = 0;
        let rows = self.ends.iter().map(|&end| &self.records[std::mem::replace(&mut start, end)..end]);
        let result = self.log.append_all(self.pending.iter().map(Vec::as_slice).chain(rows));
        match &result {
            Ok(segment) => {
                self.pending.clear();
                self.unsynced = true;
                let last = self.last_ms.entry(*segment).or_insert(i64::MIN);
                *last = self.rows_last_ms.max(*last);
            }
            // The rows that later ones would build on are not there.
            Err(_) => self.rows.reset(),
        }
        self.records.clear();
        self.ends.clear();
        self.rows_last_ms = i64::MIN;
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

    /// Lets the next write begin a new segment.
    pub fn end_segment(&mut self) {
        self.segment = Segment::Wanted;
    }

    /// Removes the segments of which all samples are before `sealed_until_ms`.
    pub fn remove_sealed(&mut self, sealed_until_ms: i64) -> Result<(), LogError> {
        let kept = self.last_ms.iter().find(|(_, last)| **last >= sealed_until_ms).map(|(n, _)| *n);
        let newest = self.last_ms.keys().next_back().copied();
        if let Some(keep_from) = kept.or(newest) {
            self.log.remove_before(keep_from)?;
            self.last_ms = self.last_ms.split_off(&keep_from);
        }
        Ok(())
    }

    /// Size of the log.
    pub fn bytes(&self) -> u64 {
        self.log.bytes()
    }
}

/// Everything a segment of the log must know.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub series: Vec<(SeriesRef, Labels)>,
    pub metadata: Vec<MetricMetadata>,
}

struct LastTime<'a> {
    last: &'a mut i64,
    inner: &'a mut dyn Replay,
}

impl Replay for LastTime<'_> {
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef> {
        self.inner.series(labels)
    }

    fn row(&mut self, time_ms: i64, series: &[Option<SeriesRef>], values: &[f64]) {
        *self.last = (*self.last).max(time_ms);
        self.inner.row(time_ms, series, values);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        self.inner.metadata(metadata);
    }
}
