//! An open store: its parts, its series, its logs. How it is opened is in [`crate::open`], what
//! happens to samples later in [`crate::maintain`], how they are read in [`crate::reader`].
//!
//! Locks are taken in this order: maintenance, appenders by number, logs left over, registry of a
//! shard, its samples.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize},
    },
};

use parking_lot::{Mutex, RwLock};
use vedette_model::{Exemplar, Labels, MetricMetadata, NativeHistogram};
use vedette_sys::{Clock, Flush, Fs, LogError};

use crate::{
    Config, Error, RetentionRule,
    append::{Appender, Batches},
    changes::ChangeLog,
    deletions::Deletions,
    head::{Head, Shard},
    limits::Refusals,
    maintain::Maintenance,
    metrics::Metrics,
    reader::SelectionCache,
    segment::Segment,
    wal::{Checkpoint, Wal},
};

/// Number of a series, good until the series is retired because it got no samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

impl SeriesRef {
    /// Generations are below this: shard in 8 bits, generation in 24, slot in 32.
    pub(crate) const GENERATION_MAX: u32 = 1 << 24;

    pub(crate) fn new(shard: usize, slot: u32, generation: u32) -> Self {
        Self((shard as u64) << 56 | u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & (Self::GENERATION_MAX - 1)
    }
}

/// Samples of one time.
#[derive(Debug, Clone, Copy)]
pub struct RefRow<'a> {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The series; a list that is given again and again is written once.
    pub refs: &'a [SeriesRef],
    /// One value for each.
    pub values: &'a [f64],
    /// Since when each counts (start timestamp), 0 where that is not known. Empty where it is
    /// known of none.
    pub starts_ms: &'a [i64],
    /// Whether samples that are not later than the last of their series are left out, even where late
    /// ones are taken; that is not counted as a refusal.
    pub newest_only: bool,
}

impl<'a> RefRow<'a> {
    /// Samples of `refs` at one time, of which nothing else is known.
    pub fn new(time_ms: i64, refs: &'a [SeriesRef], values: &'a [f64]) -> Self {
        Self { time_ms, refs, values, starts_ms: &[], newest_only: false }
    }

    /// The samples with their start timestamps.
    #[must_use]
    pub fn with_starts(self, starts_ms: &'a [i64]) -> Self {
        Self { starts_ms, ..self }
    }
}

/// A sample that is a native histogram.
#[derive(Debug, Clone, Copy)]
pub struct HistogramSample<'a> {
    /// The series.
    pub reference: SeriesRef,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Since when it counts (start timestamp), 0 where that is not known.
    pub start_ms: i64,
    /// The histogram; the staleness marker in its sum ends the series.
    pub histogram: &'a Arc<NativeHistogram>,
}

/// An exemplar of a series.
#[derive(Debug, Clone, Copy)]
pub struct ExemplarSample<'a> {
    /// The series.
    pub reference: SeriesRef,
    /// The exemplar.
    pub exemplar: &'a Exemplar,
}

/// What became of the samples of an append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// Stored.
    pub taken: u64,
    /// There already, with the same value; as good as stored.
    pub duplicate: u64,
    /// Refused: not later than the last sample of the series, and late samples are not taken.
    pub out_of_order: u64,
    /// Refused: the series has another value at that time. Once the other value is sealed this
    /// is not seen any more: the sample is taken, and readers get the value that came first.
    pub conflicting: u64,
    /// Refused: beyond the out-of-order window or beyond retention.
    pub too_old: u64,
    /// Refused: further in the future than allowed.
    pub future: u64,
    /// Refused: exemplars with too long labels, and exemplars for which there is no room until
    /// others are sealed.
    pub limited: u64,
    /// Refused, as these series were retired: find them anew by [`Store::series`], then append
    /// their samples again.
    pub unknown: Vec<SeriesRef>,
}

/// An open store, which is what [`crate::Tsdb`] shows. All methods take `&self`.
pub struct Store {
    pub(crate) config: Config,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) head: Arc<Head>,
    /// One for each shard of the head.
    pub(crate) appenders: Vec<Mutex<Appender>>,
    /// Logs of shards that an earlier run had, until what they hold is sealed.
    pub(crate) left_logs: Mutex<Vec<Wal>>,
    /// Series in the head, and those just about to be.
    pub(crate) series_count: AtomicUsize,
    /// Samples before this are in segments, or came late.
    pub(crate) sealed_until_ms: AtomicI64,
    /// Lower bound of the times in the head from there on.
    pub(crate) head_first_ms: AtomicI64,
    /// Time of the latest sample of all.
    pub(crate) head_last_ms: AtomicI64,
    /// In order of time.
    pub(crate) segments: Arc<SegmentList>,
    /// Read before the segments, so that of both the newer does not miss what the older has not.
    pub(crate) deletions: RwLock<Arc<Deletions>>,
    pub(crate) retention_rules: Arc<[RetentionRule]>,
    /// Series that were looked for before.
    pub(crate) selections: SelectionCache,
    /// Rollups of all steps, in order of time.
    pub(crate) rollups: Arc<SegmentList>,
    pub(crate) metadata: RwLock<BTreeMap<String, MetricMetadata>>,
    pub(crate) maintenance: Mutex<Maintenance>,
    pub(crate) problems: Mutex<BTreeMap<String, String>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) batches: Batches,
    pub(crate) refusals: Refusals,
    pub(crate) changes: ChangeLog,
}

/// Segments in order of time.
pub(crate) type Segments = Arc<Vec<Arc<Segment>>>;

/// The segments there are; a change puts another list in place.
pub(crate) type SegmentList = RwLock<Segments>;

impl Store {
    /// The series with these labels; begins it if there is none.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef, Error> {
        let hash = labels.stable_hash();
        let shard = self.head.shard_of(hash);
        if let Some(reference) = shard.find(hash, labels) {
            return Ok(reference);
        }
        if labels.is_empty() || labels.heap_bytes() > self.config.labels_bytes_max {
            let reason = format!(
                "a label set of {} bytes; it must have a label and at most {} bytes",
                labels.heap_bytes(),
                self.config.labels_bytes_max
            );
            return Err(Error::Invalid { reason });
        }
        // Whoever finds the series in the head can append only when this lock is free again,
        // so that no row gets into the log before the definition.
        let mut appender = self.appenders[shard.number()].lock();
        if let Some(reference) = shard.find(hash, labels) {
            return Ok(reference);
        }
        self.admit(labels)?;
        let reference = shard.create(hash, labels);
        let index = shard.index();
        let (hash, labels) = index.definition(reference.slot());
        appender.wal.define(reference.slot(), hash, labels);
        drop(index);
        self.metrics.series_created.inc();
        Ok(reference)
    }

    /// Keeps what is known of metric families. What is there already costs nothing.
    pub fn put_metadata(&self, metadata: &[MetricMetadata]) {
        let mut kept = self.metadata.write();
        let mut changed = Vec::new();
        for m in metadata {
            let fits = m.family.len() + m.unit.len() + m.help.len() <= self.config.labels_bytes_max;
            let room = kept.len() < self.config.metadata_max || kept.contains_key(&m.family);
            if fits && room && kept.get(&m.family) != Some(m) {
                kept.insert(m.family.clone(), m.clone());
                changed.push(m);
            }
        }
        drop(kept);
        if !changed.is_empty() {
            // Those of all shards stand in the first.
            self.appenders[0].lock().wal.put_metadata(&changed);
        }
    }

    /// The store's own metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Makes everything acknowledged survive a loss of power too. Call it before the end.
    pub fn close(&self) -> Result<(), Error> {
        self.appenders.iter().try_for_each(|a| a.lock().wal.sync().map_err(Error::Append))?;
        self.sync_left_logs().map_err(Error::Append)
    }

    /// Syncs what an earlier run wrote and may have been killed before it synced it.
    fn sync_left_logs(&self) -> Result<(), LogError> {
        self.left_logs.lock().iter_mut().try_for_each(Wal::sync)
    }

    /// Syncs a log if `intervals` flush intervals have passed since that was done last.
    pub(crate) fn sync_if_due(&self, appender: &mut Appender, intervals: u32) {
        let Flush::Interval(interval) = self.config.flush else { return };
        let now = self.clock.monotonic();
        if now.since(appender.last_sync) < interval * intervals {
            return;
        }
        appender.last_sync = now;
        match appender.wal.sync() {
            Ok(()) => self.clear_problem("sync"),
            Err(error) => {
                self.metrics.sync_failures.inc();
                self.note_problem("sync", &error);
            }
        }
    }

    /// Writes definitions and metadata that no append has taken along, and syncs if that is due.
    pub(crate) fn write_pending(&self) {
        for (shard, appender) in self.head.shards().iter().zip(&self.appenders) {
            let mut appender = appender.lock();
            if appender.wal.has_pending()
                && let Err(error) = self
                    .prepare(shard, &mut appender)
                    .and_then(|()| appender.wal.write().map_err(Error::Append))
            {
                self.note_problem("append", &error);
            }
            self.sync_if_due(&mut appender, 1);
        }
        match self.sync_left_logs() {
            Ok(()) => self.clear_problem("sync left logs"),
            Err(error) => {
                self.metrics.sync_failures.inc();
                self.note_problem("sync left logs", &error);
            }
        }
    }

    /// Syncs the logs if that is due.
    pub(crate) fn sync_logs(&self) {
        self.appenders.iter().for_each(|a| self.sync_if_due(&mut a.lock(), 1));
    }

    /// Sees to it that samples of a shard can be appended to its log.
    pub(crate) fn prepare(&self, shard: &Shard, appender: &mut Appender) -> Result<(), Error> {
        let checkpoint = |checkpoint: &mut Checkpoint<'_>| {
            let index = shard.index();
            for slot in index.slots() {
                let (hash, labels) = index.definition(slot);
                checkpoint.define(slot, hash, labels)?;
            }
            let metadata = self.metadata.read();
            if shard.number() == 0 && !metadata.is_empty() {
                checkpoint.tell(metadata.values());
            }
            Ok(())
        };
        if appender.wal.wants_segment() {
            shard.reuse_slots();
        }
        appender.wal.prepare(checkpoint).map_err(Error::Append)
    }

    /// Size of all logs.
    pub(crate) fn wal_bytes(&self) -> u64 {
        self.appenders.iter().map(|a| a.lock().wal.bytes()).sum::<u64>()
            + self.left_logs.lock().iter().map(Wal::bytes).sum::<u64>()
    }

    pub(crate) fn note_problem(&self, what: &str, error: &dyn std::error::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(c) = cause {
            text = format!("{text}: {c}");
            cause = c.source();
        }
        let mut problems = self.problems.lock();
        if problems.get(what) != Some(&text) {
            tracing::error!(what, error = text, "metric store");
            problems.insert(what.to_owned(), text);
        }
    }

    pub(crate) fn clear_problem(&self, what: &str) {
        self.problems.lock().remove(what);
    }
}

pub(crate) fn segments_folder(config: &Config) -> PathBuf {
    config.folder.join("segments")
}

pub(crate) fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}
