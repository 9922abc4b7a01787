//! What happens to samples after they were stored: the log is synced, the head sealed into
//! segments, small segments merged into larger ones, old ones removed.
//!
//! Invariants: a segment of the log goes only after the segment that holds its samples is
//! synced under its final name; the head lets samples go only after that segment can be read;
//! segments never overlap in time. Whatever fails is tried again and leaves things as they were.

use std::{io, path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};

use vedette_model::{Labels, SampleBuffer, TimeRange};
use vedette_sys::MonotonicTime;

use crate::{
    Tsdb,
    chunk::{Effort, Encoder},
    head::{Series, Snapshot},
    segment::{Index, OpenError, Segment, SegmentWriter},
    store::segments_folder,
};

/// Series written between two looks at the flush timer.
const SERIES_PER_TURN: usize = 256;

/// Pause after maintenance failed, so that a full disk is not hammered.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Indexes that nobody asked for this long are let go.
const INDEX_IDLE: Duration = Duration::from_secs(120);

/// State of maintenance, one at a time.
pub(crate) struct Maintenance {
    next_id: u64,
    retry_at: Option<MonotonicTime>,
    indexes_swept: MonotonicTime,
}

impl Maintenance {
    pub fn new(next_id: u64) -> Self {
        Self { next_id, retry_at: None, indexes_swept: MonotonicTime(0) }
    }
}

/// Why a step of maintenance did not go through.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error("cannot write a segment below {}", folder.display())]
    Write {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot merge segments")]
    Read(#[from] vedette_model::ReadError),
    #[error("segment {} cannot be read back: {reason}", path.display())]
    ReadBack { path: PathBuf, reason: String },
    #[error("cannot remove {}", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot remove sealed parts of the write-ahead log")]
    Wal(#[source] vedette_sys::LogError),
}

impl Tsdb {
    /// Does what is due. The owner calls this about once a second, from one thread.
    pub fn maintain(&self) {
        self.write_pending();
        let Some(mut maintenance) = self.maintenance.try_lock() else { return };
        let now = self.clock.monotonic();
        // A clock that was set back must not put maintenance off.
        if maintenance.retry_at.is_some_and(|at| now < at && at.since(now) <= RETRY_AFTER) {
            return;
        }
        let steps = [
            ("seal", self.seal(&mut maintenance)),
            ("compact", self.compact(&mut maintenance)),
            ("retention", self.remove_old()),
        ];
        maintenance.retry_at = None;
        for (what, result) in steps {
            match result {
                Ok(()) => self.clear_problem(what),
                Err(error) => {
                    self.metrics.maintenance_failures.inc();
                    self.note_problem(what, &error);
                    maintenance.retry_at = Some(MonotonicTime(now.0 + RETRY_AFTER.as_nanos() as u64));
                }
            }
        }
        if now.since(maintenance.indexes_swept) >= INDEX_IDLE {
            maintenance.indexes_swept = now;
            self.segments.read().iter().for_each(|s| s.release_idle_index());
        }
        self.update_gauges();
    }

    pub(crate) fn update_gauges(&self) {
        let segments = Arc::clone(&self.segments.read());
        self.metrics.head_series.set(self.head.index().len() as f64);
        self.metrics.segments.set(segments.len() as f64);
        self.metrics.storage_bytes.set(segments.iter().map(|s| s.bytes).sum::<u64>() as f64);
        self.metrics.wal_bytes.set(self.appender.lock().wal.bytes() as f64);
    }

    /// Writes definitions and metadata that no append has taken along, and syncs if that is due.
    fn write_pending(&self) {
        let mut appender = self.appender.lock();
        if appender.wal.has_pending() {
            appender.begin();
            let index = self.head.index();
            if let Err(error) = self.write(&mut appender, &index, &[]) {
                self.note_problem("append", &error);
            }
        }
        self.sync_if_due(&mut appender, 1);
    }

    fn take_turn(&self, done: usize) {
        if done.is_multiple_of(SERIES_PER_TURN) {
            self.sync_if_due(&mut self.appender.lock(), 1);
        }
    }

    /// Seals the samples before the last full span, once the head holds one and a half spans: the
    /// half leaves time for samples that come late.
    fn seal(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let span = self.config.segment_span_ms;
        let (from_ms, until_ms) = {
            let mut appender = self.appender.lock();
            let first = self.head_first_ms.load(Ordering::Acquire);
            // Samples from the future must not seal away the present.
            let last = self.head_last_ms.load(Ordering::Acquire).min(self.clock.unix_ms());
            let boundary = last.saturating_sub(span / 2).div_euclid(span).saturating_mul(span);
            if first >= boundary {
                return Ok(());
            }
            // From here on nothing is appended before the boundary.
            self.sealed_until_ms.fetch_max(boundary, Ordering::AcqRel);
            appender.wal.end_segment();
            (first, boundary)
        };
        let mut series: Vec<(Labels, Arc<Series>)> = {
            let index = self.head.index();
            index.series().map(|s| (index.labels(s), Arc::clone(s))).collect()
        };
        series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Fast).map_err(write_error)?;
        let sealed = TimeRange { start_ms: i64::MIN, end_ms: until_ms - 1 };
        let segment = self.write_segment(writer, id, (from_ms, until_ms), Vec::new(), |writer| {
            let (mut snapshot, mut samples) = (Snapshot::default(), SampleBuffer::default());
            for (i, (labels, series)) in series.iter().enumerate() {
                series.data.lock().snapshot(sealed, &mut snapshot);
                samples.clear();
                snapshot.read(sealed, &mut samples);
                writer.add(labels, &samples).map_err(write_error)?;
                self.take_turn(i);
            }
            Ok(())
        })?;
        if let Some(segment) = segment {
            self.publish(|segments| segments.push(Arc::new(segment)));
            self.metrics.seals.inc();
        }
        self.drop_sealed(&series, until_ms)
    }

    /// Lets go what is in segments: samples of the head, idle series, segments of the log.
    fn drop_sealed(&self, series: &[(Labels, Arc<Series>)], until_ms: i64) -> Result<(), StepError> {
        let mut encoder = Encoder::default();
        for (_, series) in series {
            series.data.lock().truncate_before(until_ms, &mut encoder);
        }
        let mut appender = self.appender.lock();
        let retired = self.head.retire(|_, data| data.is_idle());
        self.metrics.series_retired.add(retired as u64);
        let empty = self.head_last_ms.load(Ordering::Acquire) < until_ms;
        self.head_first_ms.store(if empty { i64::MAX } else { until_ms }, Ordering::Release);
        appender.wal.remove_sealed(until_ms).map_err(StepError::Wal)
    }

    /// Fills and finishes a segment, and opens it; `None` when no series had a sample.
    fn write_segment(
        &self,
        mut writer: SegmentWriter<'_>,
        id: u64,
        (from_ms, until_ms): (i64, i64),
        sources: Vec<u64>,
        fill: impl FnOnce(&mut SegmentWriter<'_>) -> Result<(), StepError>,
    ) -> Result<Option<Segment>, StepError> {
        if let Err(error) = fill(&mut writer) {
            writer.abandon();
            return Err(error);
        }
        if writer.series() == 0 {
            writer.abandon();
            return Ok(None);
        }
        let folder = segments_folder(&self.config);
        let path = writer
            .finish(from_ms, until_ms, sources)
            .map_err(|source| StepError::Write { folder, source })?;
        let opened = Segment::open(&*self.fs, path.clone(), id);
        opened.map(Some).map_err(|error| {
            let reason = match error {
                OpenError::Io(error) => error.to_string(),
                OpenError::Damaged(how) => how.to_owned(),
                OpenError::Newer(version) => format!("it has version {version}"),
            };
            // It must not be found again beside what it was made from.
            let _ = self.fs.remove(&path);
            StepError::ReadBack { path, reason }
        })
    }

    /// Merges the first group of segments that fill a longer span together.
    fn compact(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let Some(group) = self.compactable() else { return Ok(()) };
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let bounds = (first.footer.from_ms, last.footer.until_ms);
        let sources: Vec<u64> = group.iter().map(|s| s.id).collect();
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Small).map_err(write_error)?;
        let merged = self.write_segment(writer, id, bounds, sources.clone(), |writer| {
            let mut merge = Merge::new(&group)?;
            let mut done = 0;
            while let Some(labels) = merge.next()? {
                writer.add(&labels, &merge.samples).map_err(write_error)?;
                self.take_turn(done);
                done += 1;
            }
            Ok(())
        })?;
        self.publish(|segments| {
            segments.retain(|s| !sources.contains(&s.id));
            segments.extend(merged.map(Arc::new));
        });
        self.metrics.compactions.inc();
        self.remove_files(&group)
    }

    fn compactable(&self) -> Option<Vec<Arc<Segment>>> {
        let segments = Arc::clone(&self.segments.read());
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        for &span in &self.config.compaction_spans_ms {
            let window = |s: &Segment| {
                let window = s.footer.from_ms.div_euclid(span);
                let end = window.checked_add(1)?.checked_mul(span)?;
                let fits =
                    s.footer.until_ms <= end && end <= sealed_until && !s.damaged.load(Ordering::Relaxed);
                fits.then_some(window)
            };
            // Only neighbours: what lies between two segments must stay between them.
            let mut groups = segments.chunk_by(|a, b| window(a).is_some() && window(a) == window(b));
            if let Some(group) = groups.find(|g| g.len() > 1) {
                return Some(group.to_vec());
            }
        }
        None
    }

    fn remove_old(&self) -> Result<(), StepError> {
        let segments = Arc::clone(&self.segments.read());
        for damaged in segments.iter().filter(|s| s.damaged.load(Ordering::Relaxed)) {
            let what = format!("segment {}", damaged.id);
            if self.problems.lock().insert(what, format!("{} is damaged", damaged.path.display())).is_none() {
                self.metrics.segments_damaged.inc();
            }
        }
        // A clock that runs ahead must not remove data: only later data make data old.
        let newest =
            self.head_last_ms.load(Ordering::Acquire).max(self.sealed_until_ms.load(Ordering::Acquire));
        let oldest_ms = newest.min(self.clock.unix_ms()).saturating_sub(self.config.retention_ms);
        let mut bytes = segments.iter().map(|s| s.bytes).sum::<u64>() + self.appender.lock().wal.bytes();
        let limit = self.config.retention_bytes;
        let old: Vec<Arc<Segment>> = segments
            .iter()
            .take_while(|s| {
                let goes = s.footer.until_ms <= oldest_ms || (limit > 0 && bytes > limit);
                bytes -= if goes { s.bytes } else { 0 };
                goes
            })
            .cloned()
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        self.publish(|segments| segments.retain(|s| old.iter().all(|o| o.id != s.id)));
        self.metrics.segments_removed.add(old.len() as u64);
        self.remove_files(&old)
    }

    fn publish(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut current = self.segments.write();
        let mut segments = Vec::clone(&current);
        change(&mut segments);
        segments.sort_by_key(|s| (s.footer.from_ms, s.footer.until_ms));
        *current = Arc::new(segments);
    }

    fn remove_files(&self, segments: &[Arc<Segment>]) -> Result<(), StepError> {
        let mut result = Ok(());
        for segment in segments {
            if let Err(source) = self.fs.remove(&segment.path) {
                result = Err(StepError::Remove { path: segment.path.clone(), source });
            }
        }
        result
    }
}

/// Goes through several segments, in order of time, series by series.
struct Merge<'a> {
    sources: Vec<Source<'a>>,
    /// Samples of the series that came last.
    samples: SampleBuffer,
}

struct Source<'a> {
    segment: &'a Segment,
    index: Arc<Index>,
    next: u32,
    labels: Option<Labels>,
}

impl<'a> Merge<'a> {
    fn new(segments: &'a [Arc<Segment>]) -> Result<Self, vedette_model::ReadError> {
        let sources = segments
            .iter()
            .map(|segment| {
                let mut source = Source { segment, index: segment.index()?, next: 0, labels: None };
                source.look();
                Ok(source)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { sources, samples: SampleBuffer::default() })
    }

    /// The labels of the next series, whose samples are then in `samples`.
    fn next(&mut self) -> Result<Option<Labels>, vedette_model::ReadError> {
        let Some(labels) = self.sources.iter().filter_map(|s| s.labels.as_ref()).min().cloned() else {
            return Ok(None);
        };
        self.samples.clear();
        for source in self.sources.iter_mut().filter(|s| s.labels.as_ref() == Some(&labels)) {
            let block = source.index.entry(source.next).block;
            source.segment.read(block, TimeRange::ALL, &mut self.samples)?;
            source.next += 1;
            source.look();
        }
        Ok(Some(labels))
    }
}

impl Source<'_> {
    fn look(&mut self) {
        let there = (self.next as usize) < self.index.len();
        self.labels = there.then(|| self.index.labels(self.next));
    }
}
