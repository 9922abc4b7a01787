//! How many tasks of a container run, wait and are blocked, and what they waited for.
//!
//! The kernel tells neither by cgroup, except version 1 over a socket of its own, so the states
//! of the tasks themselves are looked at: of busy containers in every pass, of idle ones (those
//! whose processor time stood still, which can have no running task) once a minute. How many
//! tasks one pass looks at is bounded: what there is no room for is looked at in the next pass,
//! and of a container with more tasks than the bound an even selection stands for all.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

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

/// Tasks that one pass looks at.
const TASKS_A_PASS_MAX: usize = 384;
/// Tasks of one container that are looked at; beyond, every second, third and so on.
const TASKS_LOOKED_AT_MAX: usize = 256;
/// More tasks than this are not listed.
const TASKS_LISTED_MAX: usize = 65_536;
/// Cgroups that a container made inside its own which are looked into.
const NESTED_MAX: usize = 64;
const DEPTH_MAX: usize = 8;

const LOAD: Family<'_> = Family::gauge(
    "container_cpu_load_average_10s",
    "Number of running and runnable tasks, averaged over the last 10 seconds, in thousandths.",
);
const BLOCKED: Family<'_> = Family::gauge(
    "container_cpu_load_d_average_10s",
    "Number of tasks in uninterruptible sleep, averaged over the last 10 seconds, in thousandths.",
);
const AVERAGE: Family<'_> =
    Family::gauge("container_load_average", "Number of tasks in that state, averaged over the window.");
const STATES: Family<'_> = Family::gauge("container_tasks_state", "Number of tasks in given state");
const RUN: Family<'_> = Family::counter(
    "container_cpu_schedstat_run_seconds_total",
    "Time duration the processes of the container have run on the CPU.",
);
const QUEUED: Family<'_> = Family::counter(
    "container_cpu_schedstat_runqueue_seconds_total",
    "Time duration processes of the container have been waiting on a runqueue.",
);
const PERIODS: Family<'_> = Family::counter(
    "container_cpu_schedstat_run_periods_total",
    "Number of times processes of the cgroup have run on the cpu",
);
const IO_WAIT: Family<'_> = Family::counter(
    "container_cpu_iowait_seconds_total",
    "Time that tasks of the container waited for block devices; only where the kernel accounts delays.",
);

/// Seconds over which is averaged, and what the windows are called; the first has families of its own.
const WINDOWS: [(f64, &str); 4] = [(10.0, ""), (60.0, "1m"), (300.0, "5m"), (900.0, "15m")];

/// Tasks by state.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Counts {
    running: f64,
    blocked: f64,
    sleeping: f64,
    stopped: f64,
}

/// What was known of a task, so that what it did since can be added up.
#[derive(Debug, Default, Clone, Copy)]
struct Task {
    start_ticks: u64,
    run_ns: u64,
    queued_ns: u64,
    periods: u64,
    io_ticks: u64,
    seen: u64,
}

/// Sums over all tasks that were seen, those that ended included.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    run_ns: u64,
    queued_ns: u64,
    periods: u64,
    io_ticks: u64,
}

/// The load of one container.
#[derive(Default)]
pub(super) struct Load {
    looked: Option<MonotonicTime>,
    /// Processor time when the tasks were looked at.
    cpu: Option<u64>,
    /// When what they used was looked at, too.
    whole: Look,
    counts: Counts,
    running: [f64; WINDOWS.len()],
    blocked: [f64; WINDOWS.len()],
    tasks: HashMap<u32, Task>,
    sums: Sums,
    /// The kernel tells times of tasks.
    has_times: bool,
    round: u64,
    series: Vec<LazySeries>,
}

/// What all containers share.
pub(super) struct Tasks {
    proc_root: PathBuf,
    /// Tasks that this pass may still look at.
    left: usize,
    ids: Vec<u32>,
    /// The kernel accounts for what tasks wait.
    accounts_delays: bool,
}

impl Tasks {
    pub(super) fn new(proc_root: &Path) -> Self {
        Self { proc_root: proc_root.to_owned(), left: 0, ids: Vec::new(), accounts_delays: false }
    }

    /// Begins a pass.
    pub(super) fn begin(&mut self, turn: bool, buffer: &mut Buffer) {
        self.left = TASKS_A_PASS_MAX;
        if turn {
            let path = self.proc_root.join("sys/kernel/task_delayacct");
            self.accounts_delays = read_short(&path, buffer).ok().and_then(parse::unsigned) == Some(1);
        }
    }
}

impl Load {
    /// Looks at the tasks if the container did something since, and at what they used if it has its `turn`.
    pub(super) fn look(
        &mut self,
        now: MonotonicTime,
        (hierarchy, cgroup): (&Hierarchy, &str),
        cpu: Option<u64>,
        turn: bool,
        tasks: &mut Tasks,
        buffer: &mut Buffer,
    ) {
        let idle = cpu.is_some() && cpu == self.cpu;
        let whole = turn && self.whole.is_due(cpu, now);
        if idle && !whole {
            // What was blocked may still be; nothing can have run.
            let counts = Counts { running: 0.0, ..self.counts };
            return self.average(now, counts);
        }
        if tasks.left == 0 && !whole {
            return;
        }
        self.cpu = cpu;
        tasks.ids.clear();
        list(hierarchy, cgroup, &mut tasks.ids, buffer);
        let step = tasks.ids.len().div_ceil(TASKS_LOOKED_AT_MAX).max(1);
        self.round += 1;
        let mut counts = Counts::default();
        let (mut looked_at, mut path) = (0usize, String::new());
        for id in tasks.ids.iter().step_by(step) {
            looked_at += 1;
            path.clear();
            // Text grows in place: no task costs an allocation.
            let _ = std::fmt::Write::write_fmt(
                &mut path,
                format_args!("{}/{id}/stat", tasks.proc_root.display()),
            );
            let Ok(text) = read_short(Path::new(&path), buffer) else { continue };
            let Some(stat) = Stat::parse(text) else { continue };
            counts.add(stat.state);
            if whole {
                path.truncate(path.len() - "stat".len());
                path.push_str("schedstat");
                let told = read_short(Path::new(&path), buffer).ok().and_then(sched_stat);
                self.has_times |= told.is_some();
                self.add(*id, stat, told.unwrap_or_default());
            }
        }
        tasks.left = tasks.left.saturating_sub(looked_at);
        if whole {
            let round = self.round;
            self.tasks.retain(|_, task| task.seen == round);
        }
        self.average(now, counts.times(parse::value(step as u64)));
    }

    /// Gives all figures.
    pub(super) fn put(&mut self, pass: &mut Pass<'_>, base: &BaseLabels, tasks: &Tasks) {
        if self.looked.is_none() {
            return;
        }
        let mut next = 0;
        let series = &mut self.series;
        let mut put = |family: Family<'_>, extra: &[(&str, &str)], value: f64| {
            if series.len() == next {
                series.push(LazySeries::default());
            }
            series[next].put_slow_with(pass, value, |pass| base.define(pass, family, extra));
            next += 1;
        };
        put(LOAD, &[], (self.running[0] * 1000.0).round());
        put(BLOCKED, &[], (self.blocked[0] * 1000.0).round());
        for (state, averages) in [("running", self.running), ("blocked", self.blocked)] {
            for ((_, window), average) in WINDOWS.into_iter().zip(averages).skip(1) {
                put(AVERAGE, &[("state", state), ("window", window)], average);
            }
        }
        let Counts { running, blocked, sleeping, stopped } = self.counts;
        for (state, count) in
            [("running", running), ("sleeping", sleeping), ("stopped", stopped), ("uninterruptible", blocked)]
        {
            put(STATES, &[("state", state)], count);
        }
        if self.has_times {
            put(RUN, &[], parse::nanos(self.sums.run_ns));
            put(QUEUED, &[], parse::nanos(self.sums.queued_ns));
            put(PERIODS, &[], parse::value(self.sums.periods));
        }
        if tasks.accounts_delays {
            put(IO_WAIT, &[], parse::ticks(self.sums.io_ticks));
        }
    }

    /// Ends all series.
    pub(super) fn retire(&mut self, pass: &mut Pass<'_>) {
        self.series.drain(..).for_each(|mut series| series.retire(pass));
    }

    fn average(&mut self, now: MonotonicTime, counts: Counts) {
        self.counts = counts;
        let passed = self.looked.replace(now).map(|last| now.since(last).as_secs_f64());
        for (averages, count) in [(&mut self.running, counts.running), (&mut self.blocked, counts.blocked)] {
            for (average, (window, _)) in averages.iter_mut().zip(WINDOWS) {
                // The first look is all that is known of the time before.
                let weight = passed.map_or(0.0, |seconds| (-seconds / window).exp());
                *average = *average * weight + count * (1.0 - weight);
            }
        }
    }

    fn add(&mut self, id: u32, stat: Stat, told: [u64; 3]) {
        let [run_ns, queued_ns, periods] = told;
        let task = self.tasks.entry(id).or_default();
        if task.start_ticks != stat.start_ticks {
            // The number went to another task.
            *task = Task { start_ticks: stat.start_ticks, ..Task::default() };
        }
        self.sums.run_ns += run_ns.saturating_sub(task.run_ns);
        self.sums.queued_ns += queued_ns.saturating_sub(task.queued_ns);
        self.sums.periods += periods.saturating_sub(task.periods);
        self.sums.io_ticks += stat.io_ticks.saturating_sub(task.io_ticks);
        *task = Task {
            start_ticks: stat.start_ticks,
            run_ns,
            queued_ns,
            periods,
            io_ticks: stat.io_ticks,
            seen: self.round,
        };
    }
}

impl Counts {
    fn add(&mut self, state: u8) {
        match state {
            b'R' => self.running += 1.0,
            b'D' => self.blocked += 1.0,
            b'T' | b't' => self.stopped += 1.0,
            b'Z' | b'X' => {}
            _ => self.sleeping += 1.0,
        }
    }

    fn times(self, n: f64) -> Self {
        Self {
            running: self.running * n,
            blocked: self.blocked * n,
            sleeping: self.sleeping * n,
            stopped: self.stopped * n,
        }
    }
}

/// What `/proc/<task>/stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: u8,
    start_ticks: u64,
    io_ticks: u64,
}

impl Stat {
    /// The name may hold blanks and brackets, so counting starts behind the last bracket, with field 3.
    fn parse(text: &[u8]) -> Option<Self> {
        let bracket = text.iter().rposition(|&b| b == b')')?;
        let mut words = parse::words(parse::trim(text.get(bracket + 1..)?));
        let state = *words.next()?.first()?;
        let start_ticks = words.nth(18).and_then(parse::unsigned)?;
        // Field 42, what block devices were waited for.
        let io_ticks = words.nth(19).and_then(parse::unsigned).unwrap_or(0);
        Some(Self { state, start_ticks, io_ticks })
    }
}

/// Nanoseconds on a processor, nanoseconds waiting for one, turns on one.
fn sched_stat(text: &[u8]) -> Option<[u64; 3]> {
    let mut words = parse::words(parse::trim(text)).map(parse::unsigned);
    Some([words.next()??, words.next()??, words.next()??])
}

/// The tasks of a cgroup and of those in it.
fn list(hierarchy: &Hierarchy, cgroup: &str, ids: &mut Vec<u32>, buffer: &mut Buffer) {
    // A runtime may have made it in one of the trees only.
    let Some(tree) = hierarchy.trees().into_iter().find(|tree| below(tree, cgroup).is_dir()) else { return };
    let name = if hierarchy.unified.as_deref() == Some(tree) { "cgroup.threads" } else { "tasks" };
    let mut folders = vec![(below(tree, cgroup), 0)];
    let mut looked_into = 0;
    while let Some((folder, depth)) = folders.pop() {
        if let Ok(text) = read_short(&folder.join(name), buffer) {
            let room = TASKS_LISTED_MAX.saturating_sub(ids.len());
            let found = parse::lines(text).filter_map(parse::unsigned).filter_map(|n| u32::try_from(n).ok());
            ids.extend(found.take(room));
        }
        looked_into += 1;
        // A folder has a link from each folder in it beside the two that all have.
        let has_folders = rustix::fs::stat(&folder).is_ok_and(|stat| stat.st_nlink > 2);
        if !has_folders || depth >= DEPTH_MAX || looked_into >= NESTED_MAX {
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.file_type().is_ok_and(|t| t.is_dir())).take(NESTED_MAX);
        folders.extend(inner.map(|entry| (entry.path(), depth + 1)));
    }
}

#[cfg(test)]
mod tests;
