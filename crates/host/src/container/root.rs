//! The machine as a container: the row of series whose `id` is `/`.
//!
//! What the root of the cgroup tree does not tell, as version 2 leaves most of it out there, comes
//! from /proc: memory from `meminfo`, disks from `diskstats`, network from `net/dev`.

use std::path::PathBuf;

use super::{
    files::{BaseLabels, Files},
    hierarchy::Hierarchy,
    network::Interfaces,
    slots::Slot,
};
use crate::{
    Config,
    file::{Buffer, FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass},
};

/// Columns of `diskstats` behind the name that are told, and what divides them.
const DISK: [(usize, f64, Family<'_>); 11] = [
    (0, 1.0, Family::counter("container_fs_reads_total", "Cumulative count of reads completed")),
    (1, 1.0, Family::counter("container_fs_reads_merged_total", "Cumulative count of reads merged")),
    (
        2,
        1.0,
        Family::counter("container_fs_sector_reads_total", "Cumulative count of sector reads completed"),
    ),
    (3, 1e3, Family::counter("container_fs_read_seconds_total", "Cumulative count of seconds spent reading")),
    (4, 1.0, Family::counter("container_fs_writes_total", "Cumulative count of writes completed")),
    (5, 1.0, Family::counter("container_fs_writes_merged_total", "Cumulative count of writes merged")),
    (
        6,
        1.0,
        Family::counter("container_fs_sector_writes_total", "Cumulative count of sector writes completed"),
    ),
    (
        7,
        1e3,
        Family::counter("container_fs_write_seconds_total", "Cumulative count of seconds spent writing"),
    ),
    (8, 1.0, Family::gauge("container_fs_io_current", "Number of I/Os currently in progress")),
    (
        9,
        1e3,
        Family::counter("container_fs_io_time_seconds_total", "Cumulative count of seconds spent doing I/Os"),
    ),
    (
        10,
        1e3,
        Family::counter(
            "container_fs_io_time_weighted_seconds_total",
            "Cumulative weighted I/O time in seconds",
        ),
    ),
];

/// Disks that hold nothing of a container's.
const IGNORED_DISKS: [&[u8]; 3] = [b"ram", b"zram", b"fd"];

/// The machine's own row.
pub(super) struct Root {
    hierarchy: Hierarchy,
    pub(super) base: BaseLabels,
    files: Files,
    meminfo: Option<KeptFile>,
    diskstats: KeptFile,
    net_dev: KeptFile,
    disks: Keyed<Option<(String, [LazySeries; DISK.len()])>>,
    interfaces: Interfaces,
}

impl Root {
    pub(super) fn new(config: &Config, hierarchy: &Hierarchy, budget: &FileBudget) -> Self {
        let kept = |name: &str| KeptFile::new(config.proc_root.join(name), budget);
        let processes: PathBuf = config.proc_root.join("1/net/dev");
        Self {
            base: BaseLabels { id: "/".to_owned(), ..BaseLabels::default() },
            files: Files::new(hierarchy, "/", budget),
            // In version 1 the root counts its memory itself.
            meminfo: hierarchy.memory.is_none().then(|| kept("meminfo")),
            diskstats: kept("diskstats"),
            net_dev: KeptFile::new(processes, budget),
            disks: Keyed::default(),
            interfaces: Interfaces::default(),
            hierarchy: hierarchy.clone(),
        }
    }

    /// Reads what is told in every pass, and all else when it is the machine's `turn`.
    pub(super) fn read(&mut self, pass: &mut Pass<'_>, buffer: &mut Buffer, turn: bool) {
        if turn {
            self.files.refresh(&self.hierarchy, "/", buffer);
            self.diskstats.look_again();
            self.net_dev.look_again();
        }
        self.files.read(pass, &self.base, buffer, turn);
        self.read_memory(pass, buffer, turn);
        if let Ok(text) = self.net_dev.read(buffer) {
            self.interfaces.put(text, pass, &self.base);
        }
        if turn {
            self.read_disks(pass, buffer);
        }
    }

    fn read_memory(&mut self, pass: &mut Pass<'_>, buffer: &mut Buffer, turn: bool) {
        let Some(Ok(text)) = self.meminfo.as_mut().map(|file| file.read(buffer)) else { return };
        let (mut total, mut free, mut inactive, mut swap) = (0, 0, 0, [0; 2]);
        for line in parse::lines(text) {
            let mut words = parse::words(line);
            let (Some(key), Some(kib)) = (words.next(), words.next().and_then(parse::unsigned)) else {
                continue;
            };
            match key {
                b"MemTotal:" => total = kib,
                b"MemFree:" => free = kib,
                b"Inactive(file):" => inactive = kib,
                b"SwapTotal:" => swap[0] = kib,
                b"SwapFree:" => swap[1] = kib,
                _ => {}
            }
        }
        let bytes = |kib: u64| parse::value(kib) * 1024.0;
        let used = total.saturating_sub(free);
        self.files.put(pass, &self.base, Slot::MemoryUsage, bytes(used));
        self.files.put(pass, &self.base, Slot::MemoryWorkingSet, bytes(used.saturating_sub(inactive)));
        if turn {
            self.files.put(pass, &self.base, Slot::MemorySwap, bytes(swap[0].saturating_sub(swap[1])));
        }
    }

    fn read_disks(&mut self, pass: &mut Pass<'_>, buffer: &mut Buffer) {
        let Ok(text) = self.diskstats.read(buffer) else { return };
        self.disks.begin();
        for line in parse::lines(text) {
            let mut words = parse::words(line);
            let Some(name) = words.nth(2) else { continue };
            let mut figures = [0; DISK.len()];
            let mut told = words.map(parse::unsigned);
            if !figures.iter_mut().all(|figure| told.next().flatten().map(|n| *figure = n).is_some()) {
                continue;
            }
            // One that nobody has ever used, such as a loop device without file, is none yet.
            let used = figures[0] + figures[4] > 0 && !IGNORED_DISKS.iter().any(|p| name.starts_with(p));
            let make = |name: &str| used.then(|| (format!("/dev/{name}"), Default::default()));
            let Some(disk) = self.disks.entry(name, make) else { continue };
            if disk.is_none() && used {
                *disk = make(&String::from_utf8_lossy(name));
            }
            let Some((device, series)) = disk else { continue };
            for (series, (column, divisor, family)) in series.iter_mut().zip(DISK) {
                let value = parse::value(figures[column]) / divisor;
                let base = &self.base;
                series.put_slow_with(pass, value, |pass| base.define(pass, family, &[("device", device)]));
            }
        }
        self.disks.end(|gone| {
            for mut series in gone.into_iter().flat_map(|(_, series)| series) {
                series.retire(pass);
            }
        });
    }
}
