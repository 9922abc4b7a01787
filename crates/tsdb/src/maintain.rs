//! What happens to samples after they were stored: the log is synced, the head sealed into
//! segments ([`crate::seal`]), small segments merged into larger ones ([`crate::compact`]), deleted
//! ([`crate::delete`]) and old samples ([`crate::retention`]) removed, and rows that outlive samples
//! made of them ([`crate::rollup`]). Whatever fails is tried again and leaves things as they were.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    sync::atomic::Ordering,
    time::Duration,
};

use vedette_sys::MonotonicTime;

use crate::{
    Error, Store,
    delete::Cleaning,
    retention::Looked,
    rollup::Rolling,
    segment::{self, Kind, Segment},
    store::segments_folder,
};

/// Series written between two looks at the flush timer.
const SERIES_PER_TURN: usize = 256;

/// Pause after maintenance failed, so that a full disk is not hammered.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The memory of segments that nobody asked for this long is given back.
const SEGMENT_IDLE: Duration = Duration::from_secs(120);

/// State of maintenance, one at a time.
pub(crate) struct Maintenance {
    pub(crate) next_id: u64,
    /// Files of segments that are in use no more and could not be removed yet. Of each list a file
    /// goes only when those before it are gone for good.
    unremoved: Vec<Vec<PathBuf>>,
    pub(crate) cleaning: Cleaning,
    pub(crate) looked: Looked,
    pub(crate) rolling: Rolling,
    retry_at: Option<MonotonicTime>,
    segments_swept: MonotonicTime,
}

impl Maintenance {
    pub fn new(next_id: u64, cleaning: Cleaning) -> Self {
        Self {
            next_id,
            unremoved: Vec::new(),
            cleaning,
            looked: Looked::default(),
            rolling: Rolling::default(),
            retry_at: None,
            segments_swept: MonotonicTime(0),
        }
    }

    /// Sees to it that nothing stays of a segment that could not be written. Whoever wrote it has
    /// tried to remove it, but the disk may have refused that too.
    pub fn give_up_segment(&mut self, folder: &Path, id: u64) {
        self.give_up(folder, id, Kind::Samples);
    }

    /// As [`Maintenance::give_up_segment`], for files of a kind.
    pub fn give_up(&mut self, folder: &Path, id: u64, kind: Kind) {
        let path = folder.join(segment::file_name(id, kind));
        self.unremoved.extend([vec![path.with_extension("tmp")], vec![path]]);
    }

    /// As [`Maintenance::give_up_segment`], for segments of which each goes only when a loss of
    /// power cannot bring those before it back any more.
    pub fn give_up_segments_in_turn(&mut self, folder: &Path, ids: impl Iterator<Item = u64>) {
        let paths: Vec<_> = ids.map(|id| folder.join(segment::file_name(id, Kind::Samples))).collect();
        self.unremoved.extend(paths.iter().map(|path| vec![path.with_extension("tmp")]));
        self.unremoved.push(paths);
    }
}

/// Why a step of maintenance did not go through.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
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
    #[error("cannot take deletions that are carried out off the list")]
    Deletions(#[source] Box<Error>),
    #[error("cannot remove sealed parts of the write-ahead log")]
    Wal(#[source] vedette_sys::LogError),
}

impl Store {
    /// Does what is due. The owner calls this about once a second, from one thread.
    pub fn maintain(&self) {
        self.write_pending();
        let Some(mut maintenance) = self.maintenance.try_lock() else { return };
        let now = self.clock.monotonic();
        // A clock that was set back must not put maintenance off.
        if maintenance.retry_at.is_some_and(|at| now < at && at.since(now) <= RETRY_AFTER) {
            return;
        }
        self.note_damage();
        let steps = [
            ("seal", self.seal(&mut maintenance)),
            ("compact", self.compact(&mut maintenance)),
            ("clean", self.clean(&mut maintenance)),
            ("rollup", self.roll_up(&mut maintenance)),
            ("retention", self.remove_old(&mut maintenance)),
            ("remove", self.remove_files(&mut maintenance, &[])),
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
        if now.since(maintenance.segments_swept) >= SEGMENT_IDLE {
            maintenance.segments_swept = now;
            self.segments.read().iter().for_each(|s| s.release_if_idle());
        }
        self.forget_outdated_selections();
        self.update_gauges();
    }

    /// Merges all segments of each of the longest spans into one, though more may come to it. The
    /// store does it by itself when a span is over; this is for when the size on disk matters now.
    pub fn merge_all(&self) -> Result<(), Error> {
        let mut maintenance = self.maintenance.lock();
        self.merge_windows(&mut maintenance).map_err(|e| Error::Maintenance(Box::new(e)))
    }

    pub(crate) fn update_gauges(&self) {
        let segments = Arc::clone(&self.segments.read());
        self.metrics.head_bytes.set(self.count_memory() as f64);
        self.metrics.head_series.set(self.head.len() as f64);
        self.metrics.segments.set(segments.len() as f64);
        self.metrics.storage_bytes.set(segments.iter().map(|s| s.bytes).sum::<u64>() as f64);
        self.metrics.rollup_bytes.set(self.rollup_bytes() as f64);
        self.metrics.wal_bytes.set(self.wal_bytes() as f64);
    }

    pub(crate) fn take_turn(&self, done: usize) {
        if done.is_multiple_of(SERIES_PER_TURN) {
            self.sync_logs();
        }
    }

    /// Tells of segments that were found damaged since.
    fn note_damage(&self) {
        let segments = Arc::clone(&self.segments.read());
        for damaged in segments.iter().filter(|s| s.damaged.load(Ordering::Relaxed)) {
            let what = format!("segment {}", damaged.id);
            if self.problems.lock().insert(what, format!("{} is damaged", damaged.path.display())).is_none() {
                self.metrics.segments_damaged.inc();
            }
        }
    }

    pub(crate) fn publish(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut current = self.segments.write();
        let mut segments = Vec::clone(&current);
        change(&mut segments);
        segments.sort_by_key(|s| (s.footer.from_ms, s.footer.until_ms));
        *current = Arc::new(segments);
    }

    /// Removes the files of segments, and those for which that failed before.
    pub(crate) fn remove_files(
        &self,
        maintenance: &mut Maintenance,
        segments: &[Arc<Segment>],
    ) -> Result<(), StepError> {
        maintenance.unremoved.extend(segments.iter().map(|s| vec![s.path.clone()]));
        let mut result = Ok(());
        maintenance.unremoved.retain_mut(|files| {
            while let Some(path) = files.first() {
                if let Err(source) = self.remove_file(path, files.len() > 1) {
                    result = Err(StepError::Remove { path: path.clone(), source });
                    return true;
                }
                files.remove(0);
            }
            false
        });
        result
    }

    /// Removes a file, if it is there; `for_good` also when the power is lost right after.
    fn remove_file(&self, path: &Path, for_good: bool) -> io::Result<()> {
        match self.fs.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Also of a file that is not there: whoever removed it may not have synced that.
        if for_good { self.fs.sync_dir(&segments_folder(&self.config)) } else { Ok(()) }
    }
}
