//! The last figures of a container, taken when its last process has ended.
//!
//! Between that moment and the removal of the cgroup lie some milliseconds in which the counters
//! still stand there. The kernel tells of it where there is version 2, a runtime where it tells of
//! exits; so a container that lived between two passes is told of all the same, and a longer life
//! up to its end.

use std::path::Path;

use super::{
    files::{BaseLabels, Files, oom_kills},
    hierarchy::{Hierarchy, below},
    slots::Slot,
};
use crate::{
    file::{Buffer, read_short},
    parse,
    series::Pass,
};

/// What a container had used at its end.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct LastFigures {
    cpu_seconds: Option<f64>,
    user_seconds: Option<f64>,
    system_seconds: Option<f64>,
    memory_max_bytes: Option<f64>,
    pub(crate) oom_kills: Option<u64>,
}

impl LastFigures {
    /// Reads them; `None` where a process still runs or the cgroup is gone.
    pub(crate) fn read(hierarchy: &Hierarchy, cgroup: &str, buffer: &mut Buffer) -> Option<Self> {
        let unified = hierarchy.unified.as_ref().map(|tree| below(tree, cgroup));
        let mut last = Self::default();
        let mut known = false;
        if let Some(folder) = &unified {
            let events = read_short(&folder.join("cgroup.events"), buffer).ok();
            if let Some(text) = events {
                if parse::field(text, b"populated") != Some(0) {
                    return None;
                }
                known = true;
            }
            if let Ok(text) = read_short(&folder.join("cpu.stat"), buffer) {
                let seconds = |key| parse::field(text, key).map(parse::micros);
                last.cpu_seconds = seconds(b"usage_usec");
                last.user_seconds = seconds(b"user_usec");
                last.system_seconds = seconds(b"system_usec");
            }
        }
        if let (None, Some(tree)) = (last.cpu_seconds, &hierarchy.cpuacct) {
            let folder = below(tree, cgroup);
            // Where version 2 does not tell, an empty list of processes does.
            if !known && !read_short(&folder.join("cgroup.procs"), buffer).ok()?.is_empty() {
                return None;
            }
            last.cpu_seconds = number(&folder.join("cpuacct.usage"), buffer).map(parse::nanos);
            if let Ok(text) = read_short(&folder.join("cpuacct.stat"), buffer) {
                last.user_seconds = parse::field(text, b"user").map(parse::ticks);
                last.system_seconds = parse::field(text, b"system").map(parse::ticks);
            }
        }
        let (folder, max, events) = match (&hierarchy.memory, unified) {
            (Some(tree), _) => (below(tree, cgroup), "memory.max_usage_in_bytes", "memory.oom_control"),
            (None, Some(folder)) => (folder, "memory.peak", "memory.events"),
            (None, None) => return last.cpu_seconds.map(|_| last),
        };
        last.memory_max_bytes = number(&folder.join(max), buffer).map(parse::value);
        last.oom_kills = read_short(&folder.join(events), buffer).ok().and_then(oom_kills);
        last.cpu_seconds.map(|_| last)
    }

    /// Gives them as the last samples of the container.
    pub(super) fn put(&self, files: &mut Files, pass: &mut Pass<'_>, base: &BaseLabels) {
        for (slot, value) in [
            (Slot::CpuUsage, self.cpu_seconds),
            (Slot::CpuUser, self.user_seconds),
            (Slot::CpuSystem, self.system_seconds),
            (Slot::MemoryMaxUsage, self.memory_max_bytes),
        ] {
            if let Some(value) = value {
                files.put(pass, base, slot, value);
            }
        }
    }
}

fn number(path: &Path, buffer: &mut Buffer) -> Option<u64> {
    read_short(path, buffer).ok().and_then(parse::unsigned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn figures_are_taken_only_when_nothing_runs_any_more() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let mut buffer = Buffer::new();
        let version_2 = Hierarchy { unified: Some(root.path().join("u")), ..Hierarchy::default() };
        write("u/c/cgroup.events", "populated 1\nfrozen 0\n");
        write("u/c/cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n");
        write("u/c/memory.peak", "4096\n");
        write("u/c/memory.events", "oom 1\noom_kill 2\n");
        assert_eq!(LastFigures::read(&version_2, "/c", &mut buffer), None, "it runs");
        write("u/c/cgroup.events", "populated 0\nfrozen 0\n");
        let last = LastFigures {
            cpu_seconds: Some(1.5),
            user_seconds: Some(1.0),
            system_seconds: Some(0.5),
            memory_max_bytes: Some(4096.0),
            oom_kills: Some(2),
        };
        assert_eq!(LastFigures::read(&version_2, "/c", &mut buffer), Some(last));
        assert_eq!(LastFigures::read(&version_2, "/gone", &mut buffer), None);

        let version_1 = Hierarchy {
            cpuacct: Some(root.path().join("a")),
            memory: Some(root.path().join("m")),
            ..Hierarchy::default()
        };
        write("a/c/cgroup.procs", "42\n");
        write("a/c/cpuacct.usage", "1500000000\n");
        write("a/c/cpuacct.stat", "user 100\nsystem 50\n");
        write("m/c/memory.max_usage_in_bytes", "4096\n");
        write("m/c/memory.oom_control", "oom_kill 2\n");
        assert_eq!(LastFigures::read(&version_1, "/c", &mut buffer), None, "it runs");
        write("a/c/cgroup.procs", "");
        assert_eq!(LastFigures::read(&version_1, "/c", &mut buffer), Some(last));
    }
}
