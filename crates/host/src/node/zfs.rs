//! ZFS: its counters, pools and data sets.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Failure, background::Source};
use crate::{
    Config,
    file::{Buffer, names, read_once, read_text},
    parse,
    series::Family,
    sheet::Sheet,
};

/// Files of ZFS' counters and what their families' names begin with.
const ZFS: [(&str, &str); 11] = [
    ("abdstats", "abd"),
    ("arcstats", "arc"),
    ("dbufstats", "dbuf"),
    ("dmu_tx", "dmu_tx"),
    ("dnodestats", "dnode"),
    ("fm", "fm"),
    ("vdev_cache_stats", "vdev_cache"),
    ("vdev_mirror_stats", "vdev_mirror"),
    ("xuio_stats", "xuio"),
    ("zfetchstats", "zfetch"),
    ("zil", "zil"),
];
const ZFS_STATES: [&str; 7] = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"];

/// `/proc/spl/kstat/zfs`.
pub(super) struct Zfs(PathBuf);

impl Zfs {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.proc_root.join("spl/kstat/zfs"))
    }
}

impl Source for Zfs {
    fn name(&self) -> &'static str {
        "zfs"
    }

    fn read(&mut self, sheet: &mut Sheet, buffer: &mut Buffer) -> Result<(), Failure> {
        if !self.0.is_dir() {
            return Err(Failure::at(&self.0)(Errno::NOENT));
        }
        for (file, prefix) in ZFS {
            // Which files there are depends on the version.
            let Ok(text) = read_once(&self.0.join(file), buffer) else { continue };
            for (name, n) in kernel_statistics(text) {
                let family = format!("node_zfs_{prefix}_{}", name.replace('-', "_"));
                let help = format!("kstat.zfs.misc.{file}.{name}");
                sheet.put(Family::untyped(&family, &help), &[], n);
            }
        }
        for pool in names(&self.0).map_err(Failure::at(&self.0))? {
            put_pool(sheet, buffer, &self.0.join(&pool), ("zpool", &pool));
        }
        Ok(())
    }
}

fn put_pool(sheet: &mut Sheet, buffer: &mut Buffer, folder: &Path, pool: (&str, &str)) {
    if let Some(now) = read_text(&folder.join("state")) {
        let now = now.to_lowercase();
        for state in ZFS_STATES {
            let labels = [pool, ("state", state)];
            sheet.put(
                Family::gauge("node_zfs_zpool_state", "kstat.zfs.misc.state"),
                &labels,
                f64::from(u8::from(now == state)),
            );
        }
    }
    if let Ok(text) = read_once(&folder.join("io"), buffer) {
        let mut lines = parse::lines(text).skip(1);
        let (heading, numbers) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        for (name, word) in parse::words(heading).zip(parse::words(numbers)) {
            let name = String::from_utf8_lossy(name);
            if let Some(n) = parse::number(word) {
                let help = format!("kstat.zfs.misc.io.{name}");
                sheet.put(Family::untyped(&format!("node_zfs_zpool_{name}"), &help), &[pool], n);
            }
        }
    }
    for file in names(folder).unwrap_or_default() {
        if !file.starts_with("objset-") {
            continue;
        }
        let Ok(text) = read_once(&folder.join(&file), buffer) else { continue };
        let Some(dataset) = parse::lines(text).find_map(dataset_name) else { continue };
        for (name, n) in kernel_statistics(text) {
            let help = format!("kstat.zfs.misc.objset.{name}");
            let family = format!("node_zfs_zpool_dataset_{name}");
            sheet.put(Family::untyped(&family, &help), &[pool, ("dataset", &dataset)], n);
        }
    }
}

/// Lines of a name, a type and a number; other types are left out.
fn kernel_statistics(text: &[u8]) -> impl Iterator<Item = (String, f64)> {
    parse::lines(text).skip(2).filter_map(|line| {
        let mut words = parse::words(line);
        let name = words.next()?;
        matches!(words.next()?, b"3" | b"4").then_some(())?;
        Some((String::from_utf8_lossy(name).into_owned(), parse::number(words.next()?)?))
    })
}

/// `dataset_name  7  pool/data set`
fn dataset_name(line: &[u8]) -> Option<String> {
    let rest = line.strip_prefix(b"dataset_name")?;
    let rest = parse::trim(rest).strip_prefix(b"7")?;
    Some(String::from_utf8_lossy(parse::trim(rest)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_datasets_may_hold_blanks() {
        assert_eq!(dataset_name(b"dataset_name   7    p/a  b").as_deref(), Some("p/a  b"));
        assert_eq!(dataset_name(b"reads 4 0"), None);
    }
}
