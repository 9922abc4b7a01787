//! `/proc/stat` and `/proc/loadavg`: time of each processor by mode, interrupts, forks, load.

use super::{Collector, Failure, Tools};
use crate::{
    Config,
    file::{FileBudget, KeptFile},
    keyed::Keyed,
    parse,
    series::{Family, LazySeries, Pass, Series},
};

const SECONDS: Family<'_> = Family::counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.");
const GUEST: Family<'_> =
    Family::counter("node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode.");

/// Columns of a processor's line, in the kernel's order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const IDLE: usize = 3;
/// Idle time that goes back by more than this means that the processor was taken away and came
/// back, with counters that begin anew; less is an error of rounding in the kernel.
const RESTART_TICKS: u64 = 300;

/// Lines of one number.
const SINGLES: [(&[u8], Family<'_>); 6] = [
    (b"intr", Family::counter("node_intr_total", "Total number of interrupts serviced.")),
    (b"ctxt", Family::counter("node_context_switches_total", "Total number of context switches.")),
    (b"btime", Family::gauge("node_boot_time_seconds", "Node boot time, in unixtime.")),
    (b"processes", Family::counter("node_forks_total", "Total number of forks.")),
    (b"procs_running", Family::gauge("node_procs_running", "Number of processes in runnable state.")),
    (
        b"procs_blocked",
        Family::gauge("node_procs_blocked", "Number of processes blocked waiting for I/O to complete."),
    ),
];

const SOFTIRQS: Family<'_> = Family::counter("node_softirqs_total", "Number of softirq calls.");
/// Kinds of deferred work, in the kernel's order; their sum stands before them.
const SOFTIRQ_KINDS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

pub(super) struct Stat {
    file: KeptFile,
    cpus: Keyed<Cpu>,
    singles: [LazySeries; SINGLES.len()],
    softirqs: Option<[LazySeries; SOFTIRQ_KINDS.len()]>,
}

struct Cpu {
    series: [Series; 10],
    ticks: [u64; 10],
}

impl Stat {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        let file = KeptFile::new(config.proc_root.join("stat"), budget);
        let softirqs = config.collectors.softirqs.then(Default::default);
        Self { file, cpus: Keyed::default(), singles: Default::default(), softirqs }
    }
}

impl Cpu {
    fn define(pass: &mut Pass<'_>, cpu: &str) -> Self {
        let series = std::array::from_fn(|column| match MODES.get(column) {
            Some(mode) => pass.define(SECONDS, &[("cpu", cpu), ("mode", mode)]),
            None => pass.define(GUEST, &[("cpu", cpu), ("mode", GUEST_MODES[column - MODES.len()])]),
        });
        Self { series, ticks: [0; 10] }
    }

    /// Takes new readings, none of which may go back.
    fn update(&mut self, now: [u64; 10]) {
        if now[IDLE].saturating_add(RESTART_TICKS) < self.ticks[IDLE] {
            self.ticks = now;
        }
        for (kept, now) in self.ticks.iter_mut().zip(now) {
            *kept = now.max(*kept);
        }
    }
}

impl Collector for Stat {
    fn name(&self) -> &'static str {
        "stat"
    }

    fn reads_also_for(&self) -> Option<&'static str> {
        Some("cpu")
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/stat"))?;
        self.cpus.begin();
        for line in parse::lines(text) {
            let Some((key, rest)) = parse::split_once(line, b' ') else { continue };
            if let Some(cpu) = key.strip_prefix(b"cpu") {
                if parse::unsigned(cpu).is_none() {
                    continue; // The sum of all.
                }
                let mut now = [0; 10];
                for (slot, word) in now.iter_mut().zip(parse::words(rest)) {
                    *slot = parse::unsigned(word).unwrap_or(0);
                }
                if let Some(cpu) = self.cpus.entry(cpu, |name| Cpu::define(pass, name)) {
                    cpu.update(now);
                    for (series, ticks) in cpu.series.iter().zip(cpu.ticks) {
                        pass.put(*series, parse::ticks(ticks));
                    }
                }
            } else if let Some(i) = SINGLES.iter().position(|(name, _)| *name == key)
                && let Some(n) = parse::words(rest).next().and_then(parse::unsigned)
            {
                self.singles[i].put(pass, SINGLES[i].1, &[], parse::value(n));
            } else if let (b"softirq", Some(series)) = (key, &mut self.softirqs) {
                let counts = parse::words(rest).skip(1).map(parse::unsigned);
                for ((count, kind), series) in counts.zip(SOFTIRQ_KINDS).zip(series) {
                    if let Some(n) = count {
                        series.put(pass, SOFTIRQS, &[("vector", kind)], parse::value(n));
                    }
                }
            }
        }
        self.cpus.end(|cpu| cpu.series.into_iter().for_each(|s| pass.retire(s)));
        Ok(())
    }
}

const LOADS: [Family<'_>; 3] = [
    Family::gauge("node_load1", "1m load average."),
    Family::gauge("node_load5", "5m load average."),
    Family::gauge("node_load15", "15m load average."),
];

pub(super) struct LoadAverage {
    file: KeptFile,
    series: [LazySeries; 3],
}

impl LoadAverage {
    pub(super) fn new(config: &Config, budget: &FileBudget) -> Self {
        Self { file: KeptFile::new(config.proc_root.join("loadavg"), budget), series: Default::default() }
    }
}

impl Collector for LoadAverage {
    fn name(&self) -> &'static str {
        "loadavg"
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        let text = self.file.read(tools.buffer).map_err(Failure::at("/proc/loadavg"))?;
        for ((word, family), series) in parse::words(text).zip(LOADS).zip(&mut self.series) {
            if let Some(load) = parse::decimal(word) {
                series.put(pass, family, &[], load);
            }
        }
        Ok(())
    }
}
