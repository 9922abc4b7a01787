//! Open files and sockets of a container's processes, and how many its first may open.

use std::{os::unix::ffi::OsStrExt, path::Path};

use vedette_sys::MonotonicTime;

use super::{
    files::BaseLabels,
    hierarchy::{Hierarchy, below},
    look::Look,
};
use crate::{
    file::{Buffer, read_short},
    parse,
    series::{Family, LazySeries, Pass},
};

/// Processes of one container that are looked at, and files of one process.
const PROCESSES_MAX: usize = 256;
const FILES_MAX: usize = 4096;

const FILES: Family<'_> =
    Family::gauge("container_file_descriptors", "Number of open file descriptors for the container.");
const SOCKETS: Family<'_> = Family::gauge("container_sockets", "Number of open sockets for the container.");
const LIMITS: Family<'_> = Family::gauge(
    "container_ulimits_soft",
    "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
);

/// The series of one container.
#[derive(Default)]
pub(super) struct Descriptors {
    series: [LazySeries; 3],
    look: Look,
    counted: Counted,
}

/// What was counted last.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    /// Open files and sockets; `None` where no process may be looked at.
    open: Option<(u64, u64)>,
    /// How many the first process may open.
    max: Option<f64>,
}

impl Descriptors {
    /// Gives all figures, counted anew if the container did something since.
    pub(super) fn put(
        &mut self,
        pass: &mut Pass<'_>,
        base: &BaseLabels,
        (hierarchy, cgroup): (&Hierarchy, &str),
        (proc_root, first): (&Path, Option<u32>),
        (now, cpu): (MonotonicTime, Option<u64>),
        buffer: &mut Buffer,
    ) {
        if self.look.is_due(cpu, now) {
            let open = count(hierarchy, cgroup, proc_root, buffer);
            let path = first.map(|pid| proc_root.join(pid.to_string()).join("limits"));
            let max = path.and_then(|path| open_files_max(read_short(&path, buffer).ok()?));
            self.counted = Counted { open, max };
        }
        let [files, sockets, limit] = &mut self.series;
        if let Some((open, of_sockets)) = self.counted.open {
            files.put_slow_with(pass, parse::value(open), |pass| base.define(pass, FILES, &[]));
            sockets.put_slow_with(pass, parse::value(of_sockets), |pass| base.define(pass, SOCKETS, &[]));
        }
        if let Some(max) = self.counted.max {
            let extra = [("ulimit", "max_open_files")];
            limit.put_slow_with(pass, max, |pass| base.define(pass, LIMITS, &extra));
        }
    }

    /// Ends all series.
    pub(super) fn retire(&mut self, pass: &mut Pass<'_>) {
        self.series.iter_mut().for_each(|series| series.retire(pass));
    }
}

/// Open files and sockets; `None` where no process may be looked at.
fn count(hierarchy: &Hierarchy, cgroup: &str, proc_root: &Path, buffer: &mut Buffer) -> Option<(u64, u64)> {
    let text = hierarchy.trees().into_iter().find_map(|tree| {
        read_short(&below(tree, cgroup).join("cgroup.procs"), buffer).ok().map(<[u8]>::to_vec)
    })?;
    let mut sums = None;
    for pid in parse::lines(&text).filter_map(parse::unsigned).take(PROCESSES_MAX) {
        let folder = proc_root.join(pid.to_string()).join("fd");
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let (open, of_sockets) = sums.get_or_insert((0, 0));
        for entry in entries.flatten().take(FILES_MAX) {
            *open += 1;
            let target = std::fs::read_link(entry.path());
            *of_sockets += u64::from(target.is_ok_and(|t| t.as_os_str().as_bytes().starts_with(b"socket:")));
        }
    }
    sums
}

/// The soft limit of open files; -1 where there is none.
fn open_files_max(text: &[u8]) -> Option<f64> {
    let line = parse::lines(text).find_map(|line| line.strip_prefix(b"Max open files"))?;
    match parse::words(line).next()? {
        b"unlimited" => Some(-1.0),
        number => parse::unsigned(number).map(parse::value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_sockets_of_all_processes_are_counted() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("cg/c")).unwrap();
        std::fs::write(root.path().join("cg/c/cgroup.procs"), "7\n8\n9\n").unwrap();
        for (pid, links) in
            [(7, vec!["/dev/null", "socket:[1]"]), (8, vec!["pipe:[2]", "socket:[3]", "socketpair"])]
        {
            let folder = root.path().join(format!("{pid}/fd"));
            std::fs::create_dir_all(&folder).unwrap();
            for (i, link) in links.into_iter().enumerate() {
                std::os::unix::fs::symlink(link, folder.join(i.to_string())).unwrap();
            }
        }
        let hierarchy = Hierarchy { unified: Some(root.path().join("cg")), ..Hierarchy::default() };
        let mut buffer = Buffer::new();
        assert_eq!(count(&hierarchy, "/c", root.path(), &mut buffer), Some((5, 2)), "the third is gone");
        assert_eq!(count(&hierarchy, "/none", root.path(), &mut buffer), None);
        let limits = b"Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n";
        assert_eq!(open_files_max(limits), Some(1024.0));
        assert_eq!(open_files_max(b"Max open files unlimited unlimited files\n"), Some(-1.0));
    }
}
