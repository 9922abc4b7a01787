//! The files of one container and the series that come of them.

use rustix::io::Errno;

use super::{
    devices::{Device, blkio, io_stat},
    hierarchy::{Hierarchy, below},
    slots::{FAMILIES, Slot},
};
use crate::{
    file::{Buffer, FileBudget, KeptFile, read_once},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass, Series},
};

/// The labels that all series of one container carry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BaseLabels {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) pod: String,
    pub(crate) namespace: String,
    pub(crate) container: String,
}

impl BaseLabels {
    pub(crate) fn define(&self, pass: &mut Pass<'_>, family: Family<'_>, extra: &[(&str, &str)]) -> Series {
        let mut labels = Vec::with_capacity(6 + extra.len());
        labels.extend([
            ("id", self.id.as_str()),
            ("name", &self.name),
            ("image", &self.image),
            ("pod", &self.pod),
            ("namespace", &self.namespace),
            ("container", &self.container),
        ]);
        labels.extend_from_slice(extra);
        pass.define(family, &labels)
    }
}

/// What a kept file holds and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Version 2.
    CpuStat,
    MemoryCurrent,
    MemoryStat,
    MemoryPeak,
    MemoryEvents,
    SwapCurrent,
    PressureCpu,
    PressureMemory,
    PressureIo,
    IoStat,
    /// Both.
    Pids,
    Processes,
    /// Version 1.
    CfsStat1,
    CpuacctUsage1,
    CpuacctStat1,
    MemoryUsage1,
    MemoryStat1,
    MemoryMaxUsage1,
    MemoryFailcnt1,
    MemoryKernel1,
    MemoryOom1,
    BlkioBytes1,
    BlkioServiced1,
}

impl Kind {
    /// Told of in every pass. A reading costs the same few microseconds whatever it tells, so what
    /// nobody watches by the second is read when the container has its turn.
    fn is_fast(self) -> bool {
        matches!(
            self,
            Self::CpuStat
                | Self::CfsStat1
                | Self::CpuacctUsage1
                | Self::CpuacctStat1
                | Self::MemoryCurrent
                | Self::MemoryUsage1
                | Self::MemoryStat
                | Self::MemoryStat1
                | Self::MemoryEvents
                | Self::MemoryOom1
                | Self::Pids
        )
    }

    /// Tells the same for as long as no process of the container runs, but for what others do to it: the kernel may
    /// reclaim its memory, and what comes by network is charged to it.
    fn rests(self) -> bool {
        self.is_fast() && !matches!(self, Self::CpuStat | Self::CpuacctUsage1)
    }
}

/// What one reading told beside the samples.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Reading {
    /// The cgroup does not exist any more.
    pub(crate) gone: bool,
    /// Processes that the kernel killed for want of memory, since the cgroup was made.
    pub(crate) oom_kills: Option<u64>,
    /// Processor time, in the unit of the file that tells it.
    pub(crate) cpu: Option<u64>,
    usage: Option<u64>,
}

/// What a container had used of the processor, and what those files told then that rest while it uses no more.
#[derive(Debug, Default)]
struct Rest {
    cpu: Option<u64>,
    values: Vec<(Slot, f64)>,
    oom_kills: Option<u64>,
}

/// The series that a container has at most once.
struct Slots {
    series: [LazySeries; FAMILIES.len()],
    /// None has a value in every pass.
    in_turn: bool,
}

/// The files of one container.
pub(crate) struct Files {
    files: Vec<(Kind, KeptFile)>,
    slots: Slots,
    devices: Keyed<Device>,
    spec: Vec<(Slot, f64)>,
    /// A processor quota is set; without it the throttling counters mean nothing.
    has_quota: bool,
    /// Version 1 has the processor's controller, so throttling is told there and not in version 2.
    cfs_in_version_1: bool,
    memory: Option<Memory>,
    rest: Rest,
    /// When the cgroup was made, in seconds since the Unix epoch, as far as its folders tell.
    pub(crate) made: Option<f64>,
}

/// What the memory files told last.
#[derive(Debug, Clone, Copy)]
struct Memory {
    usage: u64,
    inactive_file: u64,
}

impl Files {
    pub(crate) fn new(hierarchy: &Hierarchy, cgroup: &str, budget: &FileBudget) -> Self {
        let unified = hierarchy.unified.as_ref().map(|u| below(u, cgroup)).filter(|f| f.is_dir());
        let mut files = Vec::with_capacity(16);
        let mut add = |kind, folder: &std::path::Path, name: &str| {
            files.push((kind, KeptFile::new(folder.join(name), budget)));
        };
        if let Some(folder) = &unified {
            add(Kind::CpuStat, folder, "cpu.stat");
            add(Kind::PressureCpu, folder, "cpu.pressure");
            add(Kind::PressureMemory, folder, "memory.pressure");
            add(Kind::PressureIo, folder, "io.pressure");
            add(Kind::Processes, folder, "cgroup.procs");
        } else if let Some(root) = &hierarchy.cpuacct {
            let folder = below(root, cgroup);
            add(Kind::CpuacctUsage1, &folder, "cpuacct.usage");
            add(Kind::CpuacctStat1, &folder, "cpuacct.stat");
            add(Kind::Processes, &folder, "cgroup.procs");
        }
        if let Some(root) = &hierarchy.cpu {
            add(Kind::CfsStat1, &below(root, cgroup), "cpu.stat");
        }
        if let Some(root) = &hierarchy.memory {
            let folder = below(root, cgroup);
            add(Kind::MemoryUsage1, &folder, "memory.usage_in_bytes");
            add(Kind::MemoryStat1, &folder, "memory.stat");
            add(Kind::MemoryMaxUsage1, &folder, "memory.max_usage_in_bytes");
            add(Kind::MemoryFailcnt1, &folder, "memory.failcnt");
            add(Kind::MemoryKernel1, &folder, "memory.kmem.usage_in_bytes");
            add(Kind::MemoryOom1, &folder, "memory.oom_control");
        } else if let Some(folder) = &unified {
            add(Kind::MemoryCurrent, folder, "memory.current");
            add(Kind::MemoryStat, folder, "memory.stat");
            add(Kind::MemoryPeak, folder, "memory.peak");
            add(Kind::MemoryEvents, folder, "memory.events");
            add(Kind::SwapCurrent, folder, "memory.swap.current");
        }
        match (&hierarchy.pids, &unified) {
            (Some(root), _) => add(Kind::Pids, &below(root, cgroup), "pids.current"),
            (None, Some(folder)) => add(Kind::Pids, folder, "pids.current"),
            (None, None) => {}
        }
        match (&hierarchy.blkio, &unified) {
            (Some(root), _) => {
                let folder = below(root, cgroup);
                add(Kind::BlkioBytes1, &folder, "blkio.throttle.io_service_bytes_recursive");
                add(Kind::BlkioServiced1, &folder, "blkio.throttle.io_serviced_recursive");
            }
            (None, Some(folder)) => add(Kind::IoStat, folder, "io.stat"),
            (None, None) => {}
        }
        let slots = Slots { series: std::array::from_fn(|_| LazySeries::default()), in_turn: false };
        let made = |tree| std::fs::metadata(below(tree, cgroup)).ok()?.modified().ok();
        let made = hierarchy.trees().into_iter().filter_map(made).min();
        Self {
            made: made.and_then(|t| Some(t.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs_f64())),
            files,
            slots,
            devices: Keyed::default(),
            spec: Vec::with_capacity(7),
            has_quota: false,
            cfs_in_version_1: hierarchy.cpu.is_some(),
            memory: None,
            rest: Rest::default(),
        }
    }

    /// Those of a cgroup that is read only when it has its turn.
    pub(crate) fn in_turn(hierarchy: &Hierarchy, cgroup: &str, budget: &FileBudget) -> Self {
        let mut files = Self::new(hierarchy, cgroup, budget);
        files.slots.in_turn = true;
        files
    }

    /// Gives one value.
    pub(crate) fn put(&mut self, pass: &mut Pass<'_>, base: &BaseLabels, slot: Slot, value: f64) {
        put(&mut self.slots, pass, base, slot, value);
    }

    /// Reads what is told in every pass, and all else when it is the container's `turn`. Of a container that has used
    /// no processor since the last pass only that is read: most containers of a machine wait most of the time, and
    /// its turn puts right what others did to it.
    pub(crate) fn read(
        &mut self,
        pass: &mut Pass<'_>,
        base: &BaseLabels,
        buffer: &mut Buffer,
        turn: bool,
    ) -> Reading {
        let mut reading = Reading::default();
        if turn {
            self.devices.begin();
        }
        let Self { files, slots, devices, has_quota, cfs_in_version_1, memory, rest, .. } = self;
        let (mut tried, mut missing) = (0, 0);
        // Not known before the first file that rests: those of the processor stand before it.
        let mut is_at_rest = None;
        for (kind, file) in files.iter_mut() {
            if !turn && !kind.is_fast() || *kind == Kind::CfsStat1 && !*has_quota {
                continue;
            }
            if kind.rests() && *is_at_rest.get_or_insert_with(|| rest.holds(reading.cpu, turn)) {
                continue;
            }
            // memory.stat is by far the dearest file. While usage stays the same to the byte, so
            // does what can be reclaimed, or nearly: the next turn puts it right.
            if !turn
                && matches!(kind, Kind::MemoryStat | Kind::MemoryStat1)
                && let Some(known) = memory.filter(|m| Some(m.usage) == reading.usage)
            {
                let mut put = |slot, value| {
                    rest.values.push((slot, value));
                    put(slots, pass, base, slot, value);
                };
                working_set(reading.usage, known.inactive_file, &mut put);
                continue;
            }
            tried += 1;
            let text = match file.read(buffer) {
                Ok(text) => text,
                Err(Errno::NODEV) => {
                    reading.gone = true;
                    break;
                }
                Err(_) => {
                    missing += 1;
                    continue;
                }
            };
            let mut put = |slot: Slot, value| {
                if kind.rests() && slot.is_fast() {
                    rest.values.push((slot, value));
                }
                if turn || slot.is_fast() {
                    put(slots, pass, base, slot, value);
                }
            };
            match kind {
                Kind::CpuStat => {
                    reading.cpu = parse::field(text, b"usage_usec");
                    cpu_stat(text, *has_quota && !*cfs_in_version_1, &mut put);
                }
                Kind::CfsStat1 => cfs_stat_1(text, *has_quota, &mut put),
                Kind::CpuacctUsage1 => {
                    reading.cpu = parse::unsigned(text);
                    number(text, |n| put(Slot::CpuUsage, parse::nanos(n)));
                }
                Kind::CpuacctStat1 => {
                    for (key, n) in parse::fields(text) {
                        match key {
                            b"user" => put(Slot::CpuUser, parse::ticks(n)),
                            b"system" => put(Slot::CpuSystem, parse::ticks(n)),
                            _ => {}
                        }
                    }
                }
                Kind::MemoryCurrent | Kind::MemoryUsage1 => {
                    reading.usage = parse::unsigned(text);
                    number(text, |n| put(Slot::MemoryUsage, parse::value(n)));
                }
                Kind::MemoryStat | Kind::MemoryStat1 => {
                    let version_1 = *kind == Kind::MemoryStat1;
                    let key: &[u8] = if version_1 { b"total_inactive_file" } else { b"inactive_file" };
                    let inactive_file = parse::field(text, key);
                    *memory = reading
                        .usage
                        .zip(inactive_file)
                        .map(|(usage, inactive_file)| Memory { usage, inactive_file });
                    if let Some(inactive_file) = inactive_file {
                        working_set(reading.usage, inactive_file, &mut put);
                    }
                    match (turn, version_1) {
                        (false, _) => {}
                        (true, true) => memory_stat_1(text, &mut put),
                        (true, false) => memory_stat(text, &mut put),
                    }
                }
                Kind::MemoryPeak | Kind::MemoryMaxUsage1 => {
                    number(text, |n| put(Slot::MemoryMaxUsage, parse::value(n)));
                }
                Kind::MemoryFailcnt1 => number(text, |n| put(Slot::MemoryFailcnt, parse::value(n))),
                Kind::MemoryKernel1 => number(text, |n| put(Slot::MemoryKernel, parse::value(n))),
                Kind::SwapCurrent => number(text, |n| put(Slot::MemorySwap, parse::value(n))),
                Kind::MemoryOom1 => reading.oom_kills = oom_kills(text),
                Kind::MemoryEvents => {
                    reading.oom_kills = oom_kills(text);
                    for (key, n) in parse::fields(text) {
                        match key {
                            b"high" => put(Slot::MemoryEventsHigh, parse::value(n)),
                            b"max" => {
                                put(Slot::MemoryEventsMax, parse::value(n));
                                put(Slot::MemoryFailcnt, parse::value(n));
                            }
                            _ => {}
                        }
                    }
                }
                Kind::PressureCpu => {
                    pressure(text, Slot::PressureCpuWaiting, Slot::PressureCpuStalled, &mut put);
                }
                Kind::PressureMemory => {
                    pressure(text, Slot::PressureMemoryWaiting, Slot::PressureMemoryStalled, &mut put);
                }
                Kind::PressureIo => {
                    pressure(text, Slot::PressureIoWaiting, Slot::PressureIoStalled, &mut put);
                }
                Kind::Pids => number(text, |n| put(Slot::Threads, parse::value(n))),
                Kind::Processes => put(Slot::Processes, parse::value(parse::lines(text).count() as u64)),
                Kind::IoStat => io_stat(text, devices, pass, base),
                Kind::BlkioBytes1 => blkio(text, true, devices, pass, base),
                Kind::BlkioServiced1 => blkio(text, false, devices, pass, base),
            }
        }
        if is_at_rest == Some(true) {
            rest.values.iter().for_each(|(slot, value)| put(slots, pass, base, *slot, *value));
            reading.oom_kills = rest.oom_kills;
        }
        rest.oom_kills = reading.oom_kills;
        // Where every file is missing, the cgroup went before it could be read at all.
        reading.gone |= tried > 0 && missing == tried;
        if turn && !reading.gone {
            for i in 0..self.spec.len() {
                let (slot, value) = self.spec[i];
                self.put(pass, base, slot, value);
            }
        }
        reading
    }

    /// Reads what seldom changes: limits, and files that were not there.
    pub(crate) fn refresh(&mut self, hierarchy: &Hierarchy, cgroup: &str, buffer: &mut Buffer) {
        self.files.iter_mut().for_each(|(_, f)| f.look_again());
        self.spec.clear();
        self.has_quota = false;
        let mut read = |root: &Option<std::path::PathBuf>, name: &str| -> Option<Limit> {
            let path = below(root.as_ref()?, cgroup).join(name);
            Limit::parse(read_once(&path, buffer).ok()?)
        };
        let mut limit = |slot, root, name| {
            if let Some(limit) = read(root, name) {
                self.spec.push((slot, limit.bytes()));
            }
        };
        let Hierarchy { unified, memory, cpu, pids, .. } = hierarchy;
        if memory.is_some() {
            limit(Slot::SpecMemoryLimit, memory, "memory.limit_in_bytes");
            limit(Slot::SpecMemoryReservation, memory, "memory.soft_limit_in_bytes");
            limit(Slot::SpecMemorySwap, memory, "memory.memsw.limit_in_bytes");
        } else {
            limit(Slot::SpecMemoryLimit, unified, "memory.max");
            limit(Slot::SpecMemoryReservation, unified, "memory.low");
            limit(Slot::SpecMemorySwap, unified, "memory.swap.max");
        }
        limit(Slot::ThreadsMax, if pids.is_some() { pids } else { unified }, "pids.max");
        let (shares, period, quota) = if cpu.is_some() {
            let shares = read(cpu, "cpu.shares").and_then(|l| l.first);
            let quota = read(cpu, "cpu.cfs_quota_us").and_then(|l| l.first);
            (shares, read(cpu, "cpu.cfs_period_us").and_then(|l| l.first), quota)
        } else {
            let weight = read(unified, "cpu.weight").and_then(|l| l.first);
            let max = read(unified, "cpu.max");
            (weight.map(shares_of_weight), max.and_then(|l| l.second), max.and_then(|l| l.first))
        };
        for (slot, n) in
            [(Slot::SpecCpuShares, shares), (Slot::SpecCpuPeriod, period), (Slot::SpecCpuQuota, quota)]
        {
            self.spec.extend(n.map(|n| (slot, parse::value(n))));
        }
        self.has_quota = quota.is_some();
    }

    /// Ends all series.
    pub(crate) fn retire(&mut self, pass: &mut Pass<'_>) {
        self.slots.series.iter_mut().for_each(|s| s.retire(pass));
        self.devices.begin();
        self.devices.end(|device| device.retire(pass));
        self.memory = None;
        self.rest = Rest::default();
    }
}

impl Rest {
    /// Whether what was told still holds; begins anew if not.
    fn holds(&mut self, cpu: Option<u64>, turn: bool) -> bool {
        let holds = !turn && cpu.is_some() && self.cpu == cpu;
        if !holds {
            (self.cpu, self.oom_kills) = (cpu, None);
            self.values.clear();
        }
        holds
    }
}

fn put(slots: &mut Slots, pass: &mut Pass<'_>, base: &BaseLabels, slot: Slot, value: f64) {
    let (family, extra) = FAMILIES[slot as usize];
    let (series, define) =
        (&mut slots.series[slot as usize], |pass: &mut Pass<'_>| base.define(pass, family, extra));
    if slot.is_fast() && !slots.in_turn {
        series.put_with(pass, value, define);
    } else {
        series.put_slow_with(pass, value, define);
    }
}

fn number(text: &[u8], then: impl FnOnce(u64)) {
    if let Some(n) = parse::unsigned(text) {
        then(n);
    }
}

/// `oom_kill` of `memory.events` and of version 1's `memory.oom_control`.
pub(crate) fn oom_kills(text: &[u8]) -> Option<u64> {
    parse::fields(text).find(|(key, _)| *key == b"oom_kill").map(|(_, n)| n)
}

fn cpu_stat(text: &[u8], has_quota: bool, put: &mut impl FnMut(Slot, f64)) {
    for (key, n) in parse::fields(text) {
        match key {
            b"usage_usec" => put(Slot::CpuUsage, parse::micros(n)),
            b"user_usec" => put(Slot::CpuUser, parse::micros(n)),
            b"system_usec" => put(Slot::CpuSystem, parse::micros(n)),
            b"nr_periods" if has_quota => put(Slot::CfsPeriods, parse::value(n)),
            b"nr_throttled" if has_quota => put(Slot::CfsThrottledPeriods, parse::value(n)),
            b"throttled_usec" if has_quota => put(Slot::CfsThrottledSeconds, parse::micros(n)),
            b"nr_bursts" if has_quota => put(Slot::CfsBurstPeriods, parse::value(n)),
            b"burst_usec" if has_quota => put(Slot::CfsBurstSeconds, parse::micros(n)),
            _ => {}
        }
    }
}

fn cfs_stat_1(text: &[u8], has_quota: bool, put: &mut impl FnMut(Slot, f64)) {
    for (key, n) in parse::fields(text).filter(|_| has_quota) {
        match key {
            b"nr_periods" => put(Slot::CfsPeriods, parse::value(n)),
            b"nr_throttled" => put(Slot::CfsThrottledPeriods, parse::value(n)),
            b"throttled_time" => put(Slot::CfsThrottledSeconds, parse::nanos(n)),
            b"nr_bursts" => put(Slot::CfsBurstPeriods, parse::value(n)),
            b"burst_time" => put(Slot::CfsBurstSeconds, parse::nanos(n)),
            _ => {}
        }
    }
}

fn memory_stat(text: &[u8], put: &mut impl FnMut(Slot, f64)) {
    for (key, n) in parse::fields(text) {
        let value = parse::value(n);
        match key {
            b"anon" => put(Slot::MemoryRss, value),
            b"file" => put(Slot::MemoryCache, value),
            b"kernel" => put(Slot::MemoryKernel, value),
            b"file_mapped" => put(Slot::MemoryMappedFile, value),
            b"file_dirty" => put(Slot::MemoryDirty, value),
            b"file_writeback" => put(Slot::MemoryWriteback, value),
            b"active_file" => put(Slot::MemoryActiveFile, value),
            b"inactive_file" => put(Slot::MemoryInactiveFile, value),
            b"workingset_refault_anon" => put(Slot::RefaultAnon, value),
            b"workingset_refault_file" => put(Slot::RefaultFile, value),
            b"pgscan" => put(Slot::PageScan, value),
            b"pgsteal" => put(Slot::PageSteal, value),
            b"pgfault" => {
                put(Slot::FaultsContainer, value);
                put(Slot::FaultsHierarchy, value);
            }
            b"pgmajfault" => {
                put(Slot::MajorFaultsContainer, value);
                put(Slot::MajorFaultsHierarchy, value);
            }
            _ => {}
        }
    }
}

fn memory_stat_1(text: &[u8], put: &mut impl FnMut(Slot, f64)) {
    for (key, n) in parse::fields(text) {
        let value = parse::value(n);
        match key {
            b"pgfault" => put(Slot::FaultsContainer, value),
            b"pgmajfault" => put(Slot::MajorFaultsContainer, value),
            b"total_rss" => put(Slot::MemoryRss, value),
            b"total_cache" => put(Slot::MemoryCache, value),
            b"total_swap" => put(Slot::MemorySwap, value),
            b"total_mapped_file" => put(Slot::MemoryMappedFile, value),
            b"total_dirty" => put(Slot::MemoryDirty, value),
            b"total_writeback" => put(Slot::MemoryWriteback, value),
            b"total_active_file" => put(Slot::MemoryActiveFile, value),
            b"total_inactive_file" => put(Slot::MemoryInactiveFile, value),
            b"total_pgfault" => put(Slot::FaultsHierarchy, value),
            b"total_pgmajfault" => put(Slot::MajorFaultsHierarchy, value),
            b"total_workingset_refault_anon" => put(Slot::RefaultAnon, value),
            b"total_workingset_refault_file" => put(Slot::RefaultFile, value),
            _ => {}
        }
    }
}

/// What could not be reclaimed at once: usage without the file pages that nobody used lately.
fn working_set(usage: Option<u64>, inactive_file: u64, put: &mut impl FnMut(Slot, f64)) {
    if let Some(usage) = usage {
        put(Slot::MemoryWorkingSet, parse::value(usage.saturating_sub(inactive_file)));
    }
}

fn pressure(text: &[u8], waiting: Slot, stalled: Slot, put: &mut impl FnMut(Slot, f64)) {
    let totals = parse::pressure(text);
    if let Some(seconds) = totals.some {
        put(waiting, seconds);
    }
    if let Some(seconds) = totals.full {
        put(stalled, seconds);
    }
}

/// One or two numbers, the word `max` and what is as good as it being none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limit {
    first: Option<u64>,
    second: Option<u64>,
}

impl Limit {
    /// Version 1 writes no limit as the largest number of bytes that whole pages can have.
    const NONE_FROM: u64 = 1 << 62;

    fn parse(text: &[u8]) -> Option<Self> {
        let mut words =
            parse::words(parse::trim(text)).map(|w| parse::unsigned(w).filter(|n| *n < Self::NONE_FROM));
        Some(Self { first: words.next()?, second: words.next().flatten() })
    }

    /// As cAdvisor tells it: 0 stands for none.
    fn bytes(self) -> f64 {
        parse::value(self.first.unwrap_or(0))
    }
}

/// The shares of version 1 that a weight of version 2 was made from, as runtimes convert them.
fn shares_of_weight(weight: u64) -> u64 {
    2 + weight.clamp(1, 10_000).saturating_sub(1) * 262_142 / 9_999
}

#[cfg(test)]
mod tests;
