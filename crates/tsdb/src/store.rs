//! The store as its owner sees it: open, append, stats. What happens to samples later is in
//! [`crate::maintain`], how they are read in [`crate::reader`].
//!
//! Locks are taken in this order: maintenance, appender, head registry, samples of a series.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use vedette_model::{Labels, MetricMetadata};
use vedette_sys::{Clock, Flush, Fs, MonotonicTime};

use crate::{
    Config, Error,
    chunk::Encoder,
    head::{Claim, Head, HeadIndex},
    maintain::Maintenance,
    metrics::Metrics,
    segment::{self, OpenError, Segment},
    wal::{Checkpoint, Replay, Replayed, Wal},
};

/// Number of a series, good until the series is retired because it got no samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub u64);

impl SeriesRef {
    pub(crate) fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(crate) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
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
}

impl<'a> RefRow<'a> {
    /// Samples of `refs` at one time.
    pub fn new(time_ms: i64, refs: &'a [SeriesRef], values: &'a [f64]) -> Self {
        Self { time_ms, refs, values }
    }
}

/// What became of the samples of an append.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Appended {
    /// Stored.
    pub taken: u64,
    /// There already, with the same value; as good as stored.
    pub duplicate: u64,
    /// Refused: not later than the last sample of the series.
    pub out_of_order: u64,
    /// Refused: in a time that is sealed, or beyond retention.
    pub too_old: u64,
    /// Refused: further in the future than allowed.
    pub future: u64,
    /// Refused, as these series were retired: find them anew by [`Tsdb::series`], then append
    /// their samples again.
    pub unknown: Vec<SeriesRef>,
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Samples read from the write-ahead log.
    pub samples: u64,
    /// Series they belong to.
    pub series: u64,
    /// Segments opened.
    pub segments: u64,
    /// What the log found.
    pub wal: vedette_sys::Recovery,
    /// Records of the log that could not be used.
    pub dropped_records: u64,
    /// What was damaged or left over, and what was done about it; empty after an ordinary end.
    pub notes: Vec<String>,
}

/// The store. All methods take `&self`; share it in an `Arc`.
pub struct Tsdb {
    pub(crate) config: Config,
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) head: Head,
    pub(crate) appender: Mutex<Appender>,
    /// Samples before this are in segments; appends before it are refused.
    pub(crate) sealed_until_ms: AtomicI64,
    /// Lower bound of the times in the head.
    pub(crate) head_first_ms: AtomicI64,
    /// Time of the latest sample in the head.
    pub(crate) head_last_ms: AtomicI64,
    /// In order of time.
    pub(crate) segments: Arc<SegmentList>,
    pub(crate) metadata: RwLock<BTreeMap<String, MetricMetadata>>,
    pub(crate) maintenance: Mutex<Maintenance>,
    pub(crate) problems: Mutex<BTreeMap<String, String>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Segments in order of time.
pub(crate) type Segments = Arc<Vec<Arc<Segment>>>;

/// The segments there are; a change puts another list in place.
pub(crate) type SegmentList = RwLock<Segments>;

/// What one append at a time needs.
pub(crate) struct Appender {
    pub wal: Wal,
    pub last_sync: MonotonicTime,
    encoder: Encoder,
    rows: Vec<KeptRow>,
    refs: Vec<SeriesRef>,
    values: Vec<f64>,
}

/// Those samples of a row that are taken.
struct KeptRow {
    time_ms: i64,
    samples: Kept,
}

enum Kept {
    /// All of the row with this index.
    All(usize),
    /// Those copied to this place.
    Some(std::ops::Range<usize>),
}

impl Tsdb {
    /// Opens the store, and makes it if there is none. Damaged files are set aside under the
    /// name `*.damaged`, and told of.
    pub fn open(config: Config, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), Error> {
        config.validate()?;
        let folder = segments_folder(&config);
        fs.create_dir_all(&folder).map_err(|source| io_error("make", &folder, source))?;
        let opened = open_segments(&*fs, &folder)?;
        let sealed_until_ms = opened.segments.iter().map(|s| s.footer.until_ms).max().unwrap_or(i64::MIN);
        let mut replay = HeadReplay {
            head: Head::default(),
            encoder: Encoder::default(),
            metadata: BTreeMap::new(),
            metadata_max: config.metadata_max,
            sealed_until_ms,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            samples: 0,
        };
        let (wal, Replayed { log, dropped_records }) =
            Wal::open(Arc::clone(&fs), &config.folder.join("wal"), config.flush, &mut replay)
                .map_err(Error::Wal)?;
        let HeadReplay { head, metadata, first_ms, last_ms, samples, .. } = replay;
        let mut notes = opened.notes;
        notes.extend(log.damage.clone());
        let recovery = Recovery {
            samples,
            series: head.index().len() as u64,
            segments: opened.segments.len() as u64,
            wal: log,
            dropped_records,
            notes,
        };
        let metrics = Arc::new(Metrics::default());
        metrics.segments_damaged.add(opened.damaged);
        let store = Self {
            problems: Mutex::new(
                recovery.notes.iter().enumerate().map(|(i, n)| (format!("open {i}"), n.clone())).collect(),
            ),
            appender: Mutex::new(Appender {
                wal,
                last_sync: clock.monotonic(),
                encoder: Encoder::default(),
                rows: Vec::new(),
                refs: Vec::new(),
                values: Vec::new(),
            }),
            maintenance: Mutex::new(Maintenance::new(opened.next_id)),
            segments: Arc::new(RwLock::new(Arc::new(opened.segments))),
            sealed_until_ms: AtomicI64::new(sealed_until_ms),
            head_first_ms: AtomicI64::new(first_ms),
            head_last_ms: AtomicI64::new(last_ms),
            metadata: RwLock::new(metadata),
            config,
            fs,
            clock,
            head,
            metrics,
        };
        store.update_gauges();
        Ok((store, recovery))
    }

    /// The series with these labels; begins it if there is none.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef, Error> {
        if let Some(reference) = self.head.find(labels) {
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
        let mut appender = self.appender.lock();
        let Some((reference, created)) = self.head.find_or_create(labels, self.config.series_max) else {
            self.metrics.series_refused.inc();
            return Err(Error::SeriesLimit { max: self.config.series_max });
        };
        if created {
            appender.wal.define(reference, labels);
            self.metrics.series_created.inc();
        }
        Ok(reference)
    }

    /// Stores samples. When this returns `Ok`, those taken are in the write-ahead log and
    /// survive the end of the process. On an error none was taken.
    pub fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Error> {
        let mut guard = self.appender.lock();
        let appender = &mut *guard;
        let index = self.head.index();
        let mut appended = Appended::default();
        let now = self.clock.unix_ms();
        let newest = now.saturating_add(self.config.future_ms_max);
        let oldest =
            self.sealed_until_ms.load(Ordering::Acquire).max(now.saturating_sub(self.config.retention_ms));
        appender.begin();
        for (i, row) in rows.iter().enumerate() {
            if row.refs.len() != row.values.len() {
                appender.disclaim(&index, rows);
                let reason = format!("a row of {} series and {} values", row.refs.len(), row.values.len());
                return Err(Error::Invalid { reason });
            }
            if row.time_ms > newest {
                appended.future += row.refs.len() as u64;
            } else if row.time_ms < oldest {
                appended.too_old += row.refs.len() as u64;
            } else {
                appender.claim(&index, i, row, &mut appended);
            }
        }
        if let Err(error) = self.write(appender, &index, rows) {
            appender.disclaim(&index, rows);
            self.metrics.append_failures.inc();
            self.note_problem("append", &error);
            return Err(error);
        }
        appender.push(&index, rows);
        for row in &appender.rows {
            self.head_first_ms.fetch_min(row.time_ms, Ordering::AcqRel);
            self.head_last_ms.fetch_max(row.time_ms, Ordering::AcqRel);
        }
        drop(index);
        self.count(&appended);
        self.clear_problem("append");
        // Maintenance may be busy with a segment for longer than the flush interval.
        self.sync_if_due(appender, 2);
        Ok(appended)
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
            self.appender.lock().wal.put_metadata(&changed);
        }
    }

    /// The store's own metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Makes everything acknowledged survive a loss of power too. Call it before the end.
    pub fn close(&self) -> Result<(), Error> {
        let mut appender = self.appender.lock();
        appender.wal.sync().map_err(Error::Append)
    }

    /// Syncs the log if `intervals` flush intervals have passed since that was done last.
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

    /// Writes definitions and metadata that still wait, and the rows taken.
    pub(crate) fn write(
        &self,
        appender: &mut Appender,
        index: &HeadIndex<'_>,
        rows: &[RefRow<'_>],
    ) -> Result<(), Error> {
        let wal = &mut appender.wal;
        if !wal.has_pending() && appender.rows.iter().all(|row| row.samples.is_empty()) {
            return Ok(());
        }
        wal.prepare(|| Checkpoint {
            series: index.series().map(|s| (s.reference, index.labels(s))).collect(),
            metadata: self.metadata.read().values().cloned().collect(),
        })
        .map_err(Error::Append)?;
        for row in &appender.rows {
            let (refs, values) = row.samples.of(rows, &appender.refs, &appender.values);
            wal.put_row(row.time_ms, refs, values);
        }
        wal.write().map_err(Error::Append)
    }

    fn count(&self, appended: &Appended) {
        let m = &self.metrics;
        m.samples_appended.add(appended.taken);
        m.duplicates.add(appended.duplicate);
        m.rejected_out_of_order.add(appended.out_of_order);
        m.rejected_too_old.add(appended.too_old);
        m.rejected_future.add(appended.future);
        m.rejected_unknown_series.add(appended.unknown.len() as u64);
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

impl Appender {
    /// Forgets the rows of the append before.
    pub fn begin(&mut self) {
        self.rows.clear();
        self.refs.clear();
        self.values.clear();
    }

    /// Judges each sample of a row. While all are taken, nothing is copied.
    fn claim(&mut self, index: &HeadIndex<'_>, number: usize, row: &RefRow<'_>, appended: &mut Appended) {
        let copied_from = self.refs.len();
        let mut whole = true;
        for (i, (&reference, &value)) in row.refs.iter().zip(row.values).enumerate() {
            let claim = index.get(reference).map(|s| s.data.lock().claim(row.time_ms, value));
            if claim == Some(Claim::Taken) {
                appended.taken += 1;
                if !whole {
                    self.refs.push(reference);
                    self.values.push(value);
                }
                continue;
            }
            match claim {
                Some(Claim::Duplicate) => appended.duplicate += 1,
                Some(_) => appended.out_of_order += 1,
                None => appended.unknown.push(reference),
            }
            if whole {
                self.refs.extend_from_slice(&row.refs[..i]);
                self.values.extend_from_slice(&row.values[..i]);
                whole = false;
            }
        }
        let samples = if whole { Kept::All(number) } else { Kept::Some(copied_from..self.refs.len()) };
        self.rows.push(KeptRow { time_ms: row.time_ms, samples });
    }

    fn disclaim(&mut self, index: &HeadIndex<'_>, rows: &[RefRow<'_>]) {
        for row in &self.rows {
            let (refs, _) = row.samples.of(rows, &self.refs, &self.values);
            for series in refs.iter().filter_map(|&r| index.get(r)) {
                series.data.lock().disclaim();
            }
        }
        self.rows.clear();
    }

    fn push(&mut self, index: &HeadIndex<'_>, rows: &[RefRow<'_>]) {
        for row in &self.rows {
            let (refs, values) = row.samples.of(rows, &self.refs, &self.values);
            for (&reference, &value) in refs.iter().zip(values) {
                if let Some(series) = index.get(reference) {
                    series.data.lock().push(row.time_ms, value, &mut self.encoder);
                }
            }
        }
    }
}

impl Kept {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Some(range) if range.is_empty())
    }

    fn of<'a>(
        &self,
        rows: &[RefRow<'a>],
        refs: &'a [SeriesRef],
        values: &'a [f64],
    ) -> (&'a [SeriesRef], &'a [f64]) {
        match self {
            Self::All(i) => (rows[*i].refs, rows[*i].values),
            Self::Some(range) => (&refs[range.clone()], &values[range.clone()]),
        }
    }
}

pub(crate) fn segments_folder(config: &Config) -> PathBuf {
    config.folder.join("segments")
}

fn io_error(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { action, path: path.to_owned(), source }
}

struct Opened {
    segments: Vec<Arc<Segment>>,
    next_id: u64,
    notes: Vec<String>,
    damaged: u64,
}

fn open_segments(fs: &dyn Fs, folder: &Path) -> Result<Opened, Error> {
    let mut opened = Opened { segments: Vec::new(), next_id: 1, notes: Vec::new(), damaged: 0 };
    let list = fs.list(folder).map_err(|source| io_error("list", folder, source))?;
    for path in list {
        // What a crash left half written, or removed in part.
        if path.extension().is_some_and(|e| e == "tmp") {
            fs.remove(&path).map_err(|source| io_error("remove", &path, source))?;
            continue;
        }
        let Some(id) = segment::file_id(&path) else { continue };
        opened.next_id = opened.next_id.max(id.saturating_add(1));
        match Segment::open(fs, path.clone(), id) {
            Ok(segment) => opened.segments.push(Arc::new(segment)),
            Err(OpenError::Newer(version)) => return Err(Error::Newer { path, version }),
            Err(OpenError::Io(source)) => return Err(io_error("open", &path, source)),
            Err(OpenError::Damaged(how)) => {
                let aside = path.with_extension("segment.damaged");
                fs.rename(&path, &aside).map_err(|source| io_error("set aside", &path, source))?;
                opened.damaged += 1;
                opened.notes.push(format!(
                    "segment {} is damaged ({how}); it was set aside as {}, its samples are missing",
                    path.display(),
                    aside.display()
                ));
            }
        }
    }
    // A segment merged from others is there: a crash kept these from being removed.
    let replaced: HashSet<u64> = opened.segments.iter().flat_map(|s| s.footer.sources.clone()).collect();
    for segment in opened.segments.extract_if(.., |s| replaced.contains(&s.id)) {
        fs.remove(&segment.path).map_err(|source| io_error("remove", &segment.path, source))?;
    }
    opened.segments.sort_by_key(|s| (s.footer.from_ms, s.footer.until_ms));
    Ok(opened)
}

struct HeadReplay {
    head: Head,
    encoder: Encoder,
    metadata: BTreeMap<String, MetricMetadata>,
    metadata_max: usize,
    sealed_until_ms: i64,
    first_ms: i64,
    last_ms: i64,
    samples: u64,
}

impl Replay for HeadReplay {
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef> {
        // Every series in the log was within the limit when it was written.
        self.head.find_or_create(labels, usize::MAX).map(|(reference, _)| reference)
    }

    fn row(&mut self, time_ms: i64, series: &[Option<SeriesRef>], values: &[f64]) {
        if time_ms < self.sealed_until_ms {
            return;
        }
        let index = self.head.index();
        for (reference, &value) in series.iter().zip(values) {
            let Some(series) = reference.and_then(|r| index.get(r)) else { continue };
            let mut data = series.data.lock();
            if data.last_ms().is_none_or(|last| last < time_ms) {
                data.push(time_ms, value, &mut self.encoder);
                self.samples += 1;
            }
        }
        self.first_ms = self.first_ms.min(time_ms);
        self.last_ms = self.last_ms.max(time_ms);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        if self.metadata.len() < self.metadata_max || self.metadata.contains_key(&metadata.family) {
            self.metadata.insert(metadata.family.clone(), metadata);
        }
    }
}
