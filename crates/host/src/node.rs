//! The machine's own series, named as node_exporter names them.
//!
//! Each collector reads a few files and knows its own series; one that fails leaves its series
//! out of the pass and the others alone. What changes by the second is read in every pass
//! ([`Collector`]); the rest at the slow interval, in the background ([`Source`]).

mod attributes;
mod background;
mod bcache;
pub(crate) mod collectors;
mod connections;
mod courses;
mod cpu;
mod cpu_topology;
mod disk;
mod disk_info;
mod drbd;
mod drives;
mod etcd;
mod filesystem;
mod filesystem_drivers;
mod forecast;
mod hardware;
mod interconnects;
mod kernel;
mod lvm_metadata;
mod memory;
mod memory_detail;
mod network;
mod network_class;
mod nfs;
mod nfs_mounts;
mod nvme_wear;
mod power;
mod pressure;
mod protocols;
mod queues;
mod routes;
mod rtnetlink;
mod scheduling;
mod sensors;
mod sessions;
mod software_raid;
mod system;
mod virtual_servers;
mod volumes;
mod workers;
mod zfs;

use std::{path::Path, sync::Arc, time::Duration};

use rustix::io::Errno;
use vedette_model::{
    Samples,
    status::{Health, Part},
};
use vedette_sys::{Clock, MonotonicTime};

use crate::{
    Config, Error, Report,
    file::{Buffer, FileBudget},
    metrics::ReaderMetrics,
    node::{
        background::{Background, Source},
        courses::Courses,
        workers::Workers,
    },
    series::{Family, LazySeries, Pass, SeriesTable},
    sheet::Sheet,
};

/// Reads what one collector of node_exporter reads.
trait Collector: Send {
    /// The name that node_exporter gives it.
    fn name(&self) -> &'static str;

    /// Another collector of node_exporter, which reads the same file.
    fn reads_also_for(&self) -> Option<&'static str> {
        None
    }

    /// Puts its samples into the pass. On failure what was put stays.
    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure>;
}

/// What collectors share.
struct Tools<'a> {
    buffer: &'a mut Buffer,
    /// Facts that seldom change are read in this pass.
    slow: bool,
}

/// Why a collector has nothing, or not all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Failure {
    place: Arc<Path>,
    errno: Errno,
}

impl Failure {
    fn at(place: impl AsRef<Path>) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { place: place.as_ref().into(), errno }
    }

    /// This kernel does not have it: nothing is broken.
    fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::OPNOTSUPP)
    }
}

/// A source that is read in every pass.
struct EveryPass<S> {
    source: S,
    sheet: Sheet,
}

const SUCCESS: Family<'_> =
    Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");
const DURATION: Family<'_> =
    Family::gauge("node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.");

struct Slot {
    collector: Box<dyn Collector>,
    failure: Option<Failure>,
}

/// How a collector, which several readings may make up, did in this pass.
struct Verdict {
    name: &'static str,
    success: LazySeries,
    duration: LazySeries,
    failed: bool,
    took: Duration,
}

/// Reads the machine's own series.
pub struct NodeReader {
    slots: Vec<Slot>,
    background: Background,
    courses: Arc<Courses>,
    /// Writes the courses to disk.
    keeper: Workers<Courses>,
    devices_timeout: Duration,
    verdicts: Vec<Verdict>,
    series: SeriesTable,
    buffer: Buffer,
    clock: Arc<dyn Clock>,
    slow_interval_ms: u64,
    slow_last: Option<MonotonicTime>,
    metrics: Arc<ReaderMetrics>,
}

impl NodeReader {
    /// Prepares the reader; files that are not there now may come later.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        config.validate()?;
        let budget = FileBudget::new(config.kept_files_max);
        let courses = Courses::open(config.forecasts_file.clone());
        let slots = collectors::in_every_pass(config, &budget, &courses)?;
        let background = Background::start(
            collectors::in_background(config, &clock, &courses),
            Duration::from_millis(config.devices_wait_ms),
            Duration::from_millis(config.devices_timeout_ms),
        )?;
        let keeper = Workers::start("forecasts")?;
        keeper.set(vec![courses.clone()]);
        let own = slots.iter().flat_map(|c| [Some(c.name()), c.reads_also_for()]);
        let mut names: Vec<_> = own.flatten().collect();
        names.extend(background.seats.iter().map(|seat| seat.name));
        names.sort_unstable();
        names.dedup();
        Ok(Self {
            slots: slots.into_iter().map(|collector| Slot { collector, failure: None }).collect(),
            background,
            courses,
            keeper,
            devices_timeout: Duration::from_millis(config.devices_timeout_ms),
            verdicts: names.into_iter().map(Verdict::of).collect(),
            series: SeriesTable::new(config.series_numbers.clone()),
            buffer: Buffer::new(),
            clock,
            slow_interval_ms: config.reconcile_interval_ms,
            slow_last: None,
            metrics: Arc::new(ReaderMetrics::new("node")),
        })
    }

    /// Reads everything once. Samples go into the first row of `samples` that has this time, else
    /// into an empty one, else into a new one.
    pub fn collect(&mut self, time_ms: i64, samples: &mut Samples) {
        let begin = self.clock.monotonic();
        let slow =
            self.slow_last.is_none_or(|t| begin.since(t).as_millis() >= u128::from(self.slow_interval_ms));
        if slow {
            self.slow_last = Some(begin);
            self.background.ask();
            if self.courses.is_due() {
                self.keeper.ask(self.devices_timeout);
            }
        }
        for verdict in &mut self.verdicts {
            (verdict.failed, verdict.took) = (false, Duration::ZERO);
        }
        let mut pass = self.series.pass(time_ms, samples);
        let mut tools = Tools { buffer: &mut self.buffer, slow };
        for slot in &mut self.slots {
            let started = self.clock.monotonic();
            slot.failure = slot.collector.collect(&mut pass, &mut tools).err();
            let took = self.clock.monotonic().since(started);
            for name in [Some(slot.collector.name()), slot.collector.reads_also_for()].into_iter().flatten() {
                note(&mut self.verdicts, name, slot.failure.as_ref(), took);
            }
            if slot.failure.as_ref().is_some_and(|f| !f.is_absent()) {
                self.metrics.errors.inc();
            }
        }
        if slow {
            self.background.wait();
        }
        self.background.put(&mut pass);
        for seat in &self.background.seats {
            note(&mut self.verdicts, seat.name, seat.failure(), seat.took);
            if slow && seat.failure().is_some_and(|f| !f.is_absent()) {
                self.metrics.errors.inc();
            }
        }
        for verdict in &mut self.verdicts {
            verdict.put(&mut pass);
        }
        self.metrics.pass_done(self.clock.monotonic().since(begin), self.series.len());
    }

    /// What the last pass could not read.
    pub fn report(&self) -> Report {
        let slots = self.slots.iter().map(|s| (s.collector.name(), s.failure.as_ref()));
        let seats = self.background.seats.iter().map(|s| (s.name, s.failure()));
        let failed = slots.chain(seats).filter_map(|(name, failure)| Some((name, failure?)));
        let (absent, broken): (Vec<_>, Vec<_>) = failed.partition(|(_, f)| f.is_absent());
        let mut state = match broken.first() {
            None => Part::ok(),
            Some((name, failure)) => Part::new(
                Health::Degraded,
                format!("{name}: cannot read {}: {}", failure.place.display(), failure.errno),
                "look at the facts below; series of the collectors named there are missing",
            ),
        };
        state = state.fact("series", self.series.len());
        for (name, failure) in broken {
            state = state.fact(name, format!("cannot read {}: {}", failure.place.display(), failure.errno));
        }
        if let Some(failure) = self.courses.failure() {
            let lost = format!("they begin anew at the next start, as they cannot be kept: {failure}");
            state = state.fact("forecasts", lost);
        }
        for (name, failure) in absent {
            state = state.fact(name, format!("not on this machine: {}", failure.place.display()));
        }
        Report { part: "collector.node".to_owned(), state }
    }

    /// This reader's own metrics.
    pub fn metrics(&self) -> Arc<dyn vedette_model::telemetry::MetricSource> {
        self.metrics.clone()
    }
}

impl Drop for NodeReader {
    fn drop(&mut self) {
        self.courses.save();
    }
}

impl Verdict {
    fn of(name: &'static str) -> Self {
        let (success, duration) = (LazySeries::default(), LazySeries::default());
        Self { name, success, duration, failed: false, took: Duration::ZERO }
    }

    fn put(&mut self, pass: &mut Pass<'_>) {
        let labels = [("collector", self.name)];
        self.success.put(pass, SUCCESS, &labels, f64::from(u8::from(!self.failed)));
        self.duration.put(pass, DURATION, &labels, self.took.as_secs_f64());
    }
}

/// Adds a reading to the verdict on its collector. The verdicts are sorted by name.
fn note(verdicts: &mut [Verdict], name: &str, failure: Option<&Failure>, took: Duration) {
    if let Ok(i) = verdicts.binary_search_by(|v| v.name.cmp(name)) {
        verdicts[i].failed |= failure.is_some();
        verdicts[i].took += took;
    }
}

impl<S: Source> EveryPass<S> {
    fn of(source: S) -> Box<Self> {
        Box::new(Self { source, sheet: Sheet::default() })
    }
}

impl<S: Source> Collector for EveryPass<S> {
    fn name(&self) -> &'static str {
        self.source.name()
    }

    fn collect(&mut self, pass: &mut Pass<'_>, tools: &mut Tools<'_>) -> Result<(), Failure> {
        self.sheet.begin();
        let result = self.source.read(&mut self.sheet, tools.buffer);
        self.sheet.settle(pass);
        for (series, value) in self.sheet.samples() {
            pass.put(series, value);
        }
        result
    }
}

#[cfg(test)]
mod tests;
