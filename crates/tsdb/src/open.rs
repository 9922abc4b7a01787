//! Opening a store, in two steps. The first reads all that the disk holds, and tells whatever is
//! wrong with it. The second replays the log, for which no file is needed and which cannot fail; it
//! may go on while the owner starts what else there is.
//!
//! Invariant: nobody sees a store that is not replayed: whoever asks a [`Tsdb`] for anything waits
//! until it is.

use std::{
    collections::HashSet,
    ops::Deref,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicUsize},
    },
};

use parking_lot::{Mutex, RwLock};
use vedette_model::{
    ChangeMark, Changes, Exemplar, LabelQuery, Labels, MetricMetadata, MetricReader, ReadError, RollupSet,
    Select, SeriesSet,
};
use vedette_sys::{Clock, Fs};

use crate::{
    Config, Error, Metrics, SeriesRef, Store,
    append::{Appender, Batches},
    changes::ChangeLog,
    delete::Cleaning,
    deletions::{Deletions, Loaded},
    head::Head,
    limits::Refusals,
    maintain::Maintenance,
    reader::SelectionCache,
    recover::{self, ReadLogs, Recovered},
    rollup,
    segment::{self, OpenError, Segment},
    store::{io_error, segments_folder},
};

/// The store. Share it in an `Arc`. It shows a [`Store`], for which it waits while that is being
/// opened.
pub struct Tsdb {
    store: Arc<OnceLock<Option<Store>>>,
    metrics: Arc<Metrics>,
}

/// What remains to be done before a store is open. The store's users wait for it.
#[must_use = "nobody gets at the store until this is finished"]
pub struct Opening {
    read: Option<Read>,
    store: Arc<OnceLock<Option<Store>>>,
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

impl Tsdb {
    /// Opens the store, and makes it if there is none. Damaged files are set aside under the
    /// name `*.damaged`, and told of.
    pub fn open(config: Config, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<(Self, Recovery), Error> {
        let (store, opening) = Self::begin(config, fs, clock)?;
        let recovery = opening.finish();
        Ok((store, recovery))
    }

    /// As [`Tsdb::open`], but leaves to the caller when to replay the log, by [`Opening::finish`], as
    /// on another thread. The store may be shared before: who asks it for anything waits.
    pub fn begin(config: Config, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<(Self, Opening), Error> {
        let read = Read::new(config, fs, clock)?;
        let store = Arc::new(OnceLock::new());
        let metrics = Arc::clone(&read.metrics);
        Ok((Self { store: Arc::clone(&store), metrics }, Opening { read: Some(read), store }))
    }

    /// The store's own metrics; this does not wait.
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// As [`Store::series`], beside which readers have a function of that name too.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef, Error> {
        Store::series(self, labels)
    }
}

impl Deref for Tsdb {
    type Target = Store;

    fn deref(&self) -> &Store {
        let store = self.store.get().unwrap_or_else(|| self.store.wait());
        store.as_ref().expect("BUG: the log is not replayed, and nobody does it any more")
    }
}

impl MetricReader for Tsdb {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        (**self).select(select)
    }

    fn rollups(&self, select: &Select, step_ms: i64) -> Result<Option<Box<dyn RollupSet>>, ReadError> {
        (**self).rollups(select, step_ms)
    }

    fn changes(&self, since: Option<ChangeMark>) -> Option<Changes> {
        (**self).changes(since)
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        (**self).label_names(query)
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        (**self).label_values(name, query)
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        MetricReader::series(&**self, query)
    }

    fn exemplars(&self, query: &LabelQuery) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        (**self).exemplars(query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        (**self).metadata(family, limit)
    }
}

impl Opening {
    /// Size of the log that is to be replayed, which tells how long that takes.
    pub fn log_bytes(&self) -> usize {
        self.read.as_ref().map_or(0, |read| read.logs.bytes())
    }

    /// Replays the log, and lets those go on who wait for the store.
    pub fn finish(mut self) -> Recovery {
        let read = self.read.take().expect("BUG: finished once only");
        let (store, recovery) = read.replay();
        let _ = self.store.set(Some(store));
        recovery
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        // Whoever waits must not do so for ever.
        let _ = self.store.set(None);
    }
}

/// All that the disk holds, read and checked.
struct Read {
    config: Config,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    deletions: Deletions,
    segments: Opened,
    rollups: rollup::Rollups,
    logs: ReadLogs,
    notes: Vec<String>,
}

impl Read {
    fn new(config: Config, fs: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        config.validate()?;
        let folder = segments_folder(&config);
        fs.create_dir_all(&folder).map_err(|source| io_error("make", &folder, source))?;
        let Loaded { deletions, note } = Deletions::load(&*fs, &config.folder)?;
        let mut segments = open_segments(&*fs, &folder)?;
        let mut rollups = rollup::open(&*fs, &config)?;
        let logs = recover::read(&config, &fs)?;
        let mut notes = std::mem::take(&mut segments.notes);
        notes.extend(note);
        notes.append(&mut rollups.notes);
        notes.extend(logs.found.damage.clone());
        let metrics = Arc::new(Metrics::default());
        metrics.segments_damaged.add(segments.damaged + rollups.damaged);
        Ok(Self { config, fs, clock, metrics, deletions, segments, rollups, logs, notes })
    }

    fn replay(self) -> (Store, Recovery) {
        let Self { config, fs, clock, metrics, deletions, segments, rollups, logs, notes } = self;
        let files = &segments.segments;
        let sealed_until_ms = files.iter().map(|s| s.footer.until_ms).max().unwrap_or(i64::MIN);
        let sealed_last_ms =
            files.iter().filter_map(|s| s.footer.samples_range()).map(|r| r.end_ms).max().unwrap_or(i64::MIN);
        let head = Arc::new(Head::new(config.shards));
        let wal = logs.found.clone();
        let Recovered { logs, left_logs, metadata, first_ms, last_ms, samples, dropped_records } =
            logs.replay(&config, &head, sealed_until_ms, &deletions);
        let series = head.len();
        let recovery = Recovery {
            samples,
            series: series as u64,
            segments: files.len() as u64,
            wal,
            dropped_records,
            notes,
        };
        let now = clock.monotonic();
        let store = Store {
            problems: Mutex::new(
                recovery.notes.iter().enumerate().map(|(i, n)| (format!("open {i}"), n.clone())).collect(),
            ),
            appenders: logs.into_iter().map(|wal| Mutex::new(Appender::new(wal, now))).collect(),
            left_logs: Mutex::new(left_logs),
            series_count: AtomicUsize::new(series),
            maintenance: Mutex::new(Maintenance::new(
                segments.next_id.max(rollups.next_id).max(deletions.next_segment()),
                Cleaning::new(now, &deletions),
            )),
            deletions: RwLock::new(Arc::new(deletions)),
            segments: Arc::new(RwLock::new(Arc::new(segments.segments))),
            rollups: Arc::new(RwLock::new(Arc::new(rollups.files))),
            sealed_until_ms: AtomicI64::new(sealed_until_ms),
            head_first_ms: AtomicI64::new(first_ms),
            head_last_ms: AtomicI64::new(last_ms.max(sealed_last_ms)),
            retention_rules: config.retention_rules.clone().into(),
            selections: SelectionCache::default(),
            metadata: RwLock::new(metadata),
            batches: Batches::default(),
            refusals: Refusals::default(),
            changes: ChangeLog::default(),
            config,
            fs,
            clock,
            head,
            metrics,
        };
        store.update_gauges();
        (store, recovery)
    }
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
    // Names that the process before gave and was killed before it synced them must be as lasting
    // as what is removed because of them, here and from the log.
    if !opened.segments.is_empty() {
        fs.sync_dir(folder).map_err(|source| io_error("sync", folder, source))?;
    }
    // A segment merged from others is there: a crash kept these from being removed.
    let replaced: HashSet<u64> = opened.segments.iter().flat_map(|s| s.footer.sources.clone()).collect();
    for segment in opened.segments.extract_if(.., |s| replaced.contains(&s.id)) {
        fs.remove(&segment.path).map_err(|source| io_error("remove", &segment.path, source))?;
    }
    opened.segments.sort_by_key(|s| (s.footer.from_ms, s.footer.until_ms));
    Ok(opened)
}
