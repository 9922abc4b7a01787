//! `vedette tsdb verify`: reads everything and changes nothing.
//!
//! Opening a store sets damaged files aside and cuts torn ends, so what is opened is a shadow of
//! it: a temporary folder with links to the segments and copies of the log, whose end is cut.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use vedette_model::{LabelQuery, MetricReader, ReadError, SampleBuffer, TimeRange};
use vedette_sys::{FolderLock, Random, RealFs, SystemClock};
use vedette_tsdb::{
    Tsdb,
    prometheus::{Progress, Selected},
};

use super::{progress::Line, store_folder};
use crate::{CLEAN, PROBLEMS};

/// Problems beyond this are only counted.
const SHOWN_MAX: u64 = 100;

/// Checks the store of a data folder; the exit status.
pub fn run(data: &Path) -> Result<u8> {
    let folder = store_folder(data)?;
    let _lock = FolderLock::acquire(data)?;
    let shadow = Shadow::of(&folder)?;
    let (store, recovery) =
        Tsdb::open(vedette_tsdb::Config::new(&shadow.folder), Arc::new(RealFs), Arc::new(SystemClock))
            .with_context(|| format!("cannot open the metric store in {}", data.display()))?;
    let mut problems = Problems { count: 0, shadow: shadow.folder.display().to_string(), store: folder };
    for note in &recovery.notes {
        problems.add(note);
    }
    if recovery.dropped_records > 0 {
        problems.add(&format!("{} records of the write-ahead log cannot be used", recovery.dropped_records));
    }
    let samples = read_all(&store, &mut problems)?;
    if problems.count > 0 {
        println!("{} problems, {samples} samples are sound", problems.count);
        return Ok(PROBLEMS);
    }
    println!("ok: {} segments, {samples} samples, all checksums match", recovery.segments);
    Ok(CLEAN)
}

fn read_all(store: &Tsdb, problems: &mut Problems) -> Result<u64> {
    let mut line = Line::new("verifying");
    let selected = match Selected::find(store, &[], TimeRange::ALL) {
        Ok(selected) => selected,
        Err(error) => return problems.take(error).map(|()| 0),
    };
    let (mut buffer, mut samples) = (SampleBuffer::default(), 0);
    for series in 0..selected.len() {
        buffer.clear();
        match selected.read(series, TimeRange::ALL, &mut buffer) {
            Ok(()) => samples += buffer.len() as u64,
            Err(error) => problems.take(error)?,
        }
        line.show(Progress { fraction: series as f64 / selected.len() as f64, samples });
    }
    let query = LabelQuery { matcher_sets: Vec::new(), range: TimeRange::ALL, limit: 0 };
    if let Err(error) = store.exemplars(&query) {
        problems.take(error)?;
    }
    Ok(samples)
}

struct Problems {
    count: u64,
    shadow: String,
    store: PathBuf,
}

impl Problems {
    fn add(&mut self, text: &str) {
        self.count += 1;
        if self.count <= SHOWN_MAX {
            println!("{}", text.replace(&self.shadow, &self.store.display().to_string()));
        }
    }

    /// Notes damage; anything else means that the store cannot be judged.
    fn take(&mut self, error: ReadError) -> Result<()> {
        match error {
            ReadError::Damaged { .. } => {
                self.add(&error.to_string());
                Ok(())
            }
            other => Err(other).context("the store cannot be judged"),
        }
    }
}

/// A folder that looks like a store; removed when dropped.
struct Shadow {
    folder: PathBuf,
}

impl Shadow {
    fn of(store: &Path) -> Result<Self> {
        let name = format!("vedette-verify-{:016x}", Random::from_system().next_u64());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let shadow = Self { folder };
        let store = fs::canonicalize(store).with_context(|| format!("cannot find {}", store.display()))?;
        shadow.fill(&store, &shadow.folder)?;
        Ok(shadow)
    }

    fn fill(&self, from: &Path, to: &Path) -> Result<()> {
        let cannot = |path: &Path| format!("cannot read {}", path.display());
        for entry in fs::read_dir(from).with_context(|| cannot(from))? {
            let entry = entry.with_context(|| cannot(from))?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type().with_context(|| cannot(&path))?.is_dir() {
                fs::create_dir(&target).with_context(|| format!("cannot make {}", target.display()))?;
                self.fill(&path, &target)?;
            } else if path.extension().is_some_and(|e| e == "segment" || e == "rollup") {
                std::os::unix::fs::symlink(&path, &target)
                    .with_context(|| format!("cannot make {}", target.display()))?;
            } else if path.extension().is_none_or(|e| e != "damaged") {
                fs::copy(&path, &target).with_context(|| cannot(&path))?;
            }
        }
        Ok(())
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        // What stays behind is below the folder for temporary files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
