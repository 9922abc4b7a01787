//! `vedette tsdb verify`: reads everything and changes nothing.
//!
//! Segments are read where they are. Opening a store cuts torn ends of its log and sets damaged
//! files aside, so the log is opened in a shadow of the store: a temporary folder with links to
//! the sound segments and copies of the rest.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use vedette_sys::{FolderLock, Random, RealFs, SystemClock};
use vedette_tsdb::{Tsdb, prometheus::Progress};

use super::{progress::Line, store_folder, text};
use crate::{CLEAN, PROBLEMS};

/// Problems beyond this are only counted.
const SHOWN_MAX: u64 = 100;

/// Checks the store of a data folder; the exit status.
pub fn run(data: &Path) -> Result<u8> {
    let folder = store_folder(data)?;
    let _lock = FolderLock::acquire(data)?;
    let mut problems = Problems { count: 0 };
    let (mut segments, mut rollups, mut samples) = (0, 0, 0);
    let mut damaged = HashSet::new();
    let count = |name: &str| fs::read_dir(folder.join(name)).map_or(0, Iterator::count);
    let all = (count("segments") + count("rollups")).max(1);
    let mut line = Line::new("verifying");
    vedette_tsdb::verify_segments(&RealFs, &folder, &mut |verified| {
        rollups += u32::from(verified.is_rollup);
        segments += u32::from(!verified.is_rollup);
        samples += if verified.is_rollup { 0 } else { verified.samples };
        line.show(Progress { fraction: f64::from(segments + rollups) / all as f64, samples });
        let what = if verified.is_rollup { "rollups" } else { "segment" };
        for problem in &verified.problems {
            problems.add(&format!("{what} {}: {problem}", verified.path.display()));
        }
        problems.count += verified.more;
        if !verified.problems.is_empty() {
            damaged.insert(verified.path);
        }
    })
    .with_context(|| format!("cannot read the metric store in {}", data.display()))?;
    line.end();
    samples += verify_log(data, &folder, &damaged, &mut problems)?;
    tell_set_aside(&folder);
    if problems.count > 0 {
        println!("{} problems, {samples} samples are sound", problems.count);
        println!("`vedette tsdb repair` saves what still reads of damaged segments.");
        return Ok(PROBLEMS);
    }
    println!("ok: {segments} segments, {samples} samples, {rollups} files of rollups, all checksums match");
    Ok(CLEAN)
}

/// Reads all that is not in segments; gives the number of samples in the log.
fn verify_log(
    data: &Path,
    folder: &Path,
    damaged: &HashSet<PathBuf>,
    problems: &mut Problems,
) -> Result<u64> {
    let shadow = Shadow::of(folder, damaged)?;
    let (_, recovery) =
        Tsdb::open(vedette_tsdb::Config::new(&shadow.folder), Arc::new(RealFs), Arc::new(SystemClock))
            .with_context(|| format!("cannot open the metric store in {}", data.display()))?;
    let (shadow, store) = (shadow.folder.display().to_string(), folder.display().to_string());
    for note in &recovery.notes {
        problems.add(&note.replace(&shadow, &store));
    }
    if recovery.dropped_records > 0 {
        problems.add(&format!("{} records of the write-ahead log cannot be used", recovery.dropped_records));
    }
    Ok(recovery.samples)
}

/// What was found damaged before is no news, but should not be forgotten.
fn tell_set_aside(folder: &Path) {
    let folders = ["segments", "rollups"].into_iter().filter_map(|name| fs::read_dir(folder.join(name)).ok());
    let paths = folders.flatten().flatten().map(|e| e.path());
    for path in paths.filter(|p| p.extension().is_some_and(|e| e == "damaged")) {
        eprintln!(
            "{} was set aside earlier; `vedette tsdb repair` saves what still reads",
            text::plain(&path.display().to_string())
        );
    }
}

struct Problems {
    count: u64,
}

impl Problems {
    fn add(&mut self, problem: &str) {
        self.count += 1;
        if self.count <= SHOWN_MAX {
            println!("{}", text::plain(problem));
        }
    }
}

/// A folder that looks like a store; removed when dropped.
struct Shadow {
    folder: PathBuf,
}

impl Shadow {
    fn of(store: &Path, without: &HashSet<PathBuf>) -> Result<Self> {
        let name = format!("vedette-verify-{:016x}", Random::from_system().next_u64());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let shadow = Self { folder };
        shadow.fill(store, &shadow.folder, without)?;
        Ok(shadow)
    }

    fn fill(&self, from: &Path, to: &Path, without: &HashSet<PathBuf>) -> Result<()> {
        let cannot = |path: &Path| format!("cannot read {}", path.display());
        for entry in fs::read_dir(from).with_context(|| cannot(from))? {
            let entry = entry.with_context(|| cannot(from))?;
            let (path, target) = (entry.path(), to.join(entry.file_name()));
            if entry.file_type().with_context(|| cannot(&path))?.is_dir() {
                fs::create_dir(&target).with_context(|| format!("cannot make {}", target.display()))?;
                self.fill(&path, &target, without)?;
            } else if path.extension().is_some_and(|e| e == "segment" || e == "rollup") {
                if !without.contains(&path) {
                    let whole = fs::canonicalize(&path).with_context(|| cannot(&path))?;
                    std::os::unix::fs::symlink(whole, &target)
                        .with_context(|| format!("cannot make {}", target.display()))?;
                }
            } else if path.extension().is_none_or(|e| e != "damaged" && e != "repaired") {
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

#[cfg(test)]
mod tests;
