//! The machine's own series, named as node_exporter names them.
//!
//! Each collector reads a few files and knows its own series; one that fails leaves its series
//! out of the pass and the others alone.

mod cpu;
mod disk;
mod filesystem;
mod kernel;
mod memory;
mod network;
mod network_class;
mod pressure;
mod protocols;

use std::{path::PathBuf, sync::Arc};

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
    series::{Family, LazySeries, Pass, SeriesTable},
};

/// All collectors, in the order in which they run.
fn collectors(config: &Config, budget: &FileBudget) -> Result<Vec<Box<dyn Collector>>, Error> {
    Ok(vec![
        Box::new(cpu::Stat::new(config, budget)),
        Box::new(cpu::LoadAverage::new(config, budget)),
        Box::new(memory::MemInfo::new(config, budget)),
        Box::new(memory::VmStat::new(config, budget)),
        Box::new(pressure::PressureStall::new(config, budget)),
        Box::new(disk::DiskStats::new(config, budget)),
        Box::new(filesystem::FileSystems::new(config)?),
        Box::new(network::NetDev::new(config, budget)),
        Box::new(network_class::NetClass::new(config)),
        Box::new(protocols::NetStat::new(config, budget)),
        Box::new(protocols::SockStat::new(config, budget)),
        Box::new(kernel::FileDescriptors::new(config, budget)),
        Box::new(kernel::Entropy::new(config, budget)),
        Box::new(kernel::Time::new(config)),
        Box::new(kernel::Uname::default()),
    ])
}

/// Reads what one collector of node_exporter reads.
trait Collector: Send {
    /// The name that node_exporter gives it.
    fn name(&self) -> &'static str;

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
    place: PathBuf,
    errno: Errno,
}

impl Failure {
    fn at(place: impl Into<PathBuf>) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { place: place.into(), errno }
    }

    /// This kernel does not have it: nothing is broken.
    fn is_absent(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::OPNOTSUPP)
    }
}

const SUCCESS: Family<'_> =
    Family::gauge("node_scrape_collector_success", "node_exporter: Whether a collector succeeded.");
const DURATION: Family<'_> =
    Family::gauge("node_scrape_collector_duration_seconds", "node_exporter: Duration of a collector scrape.");

struct Slot {
    collector: Box<dyn Collector>,
    success: LazySeries,
    duration: LazySeries,
    failure: Option<Failure>,
}

/// Reads the machine's own series.
pub struct NodeReader {
    slots: Vec<Slot>,
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
        let slot = |collector| Slot {
            collector,
            success: LazySeries::default(),
            duration: LazySeries::default(),
            failure: None,
        };
        Ok(Self {
            slots: collectors(config, &budget)?.into_iter().map(slot).collect(),
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
        }
        let mut pass = self.series.pass(time_ms, samples);
        let mut tools = Tools { buffer: &mut self.buffer, slow };
        for slot in &mut self.slots {
            let started = self.clock.monotonic();
            slot.failure = slot.collector.collect(&mut pass, &mut tools).err();
            let duration = self.clock.monotonic().since(started).as_secs_f64();
            let labels = [("collector", slot.collector.name())];
            slot.success.put(&mut pass, SUCCESS, &labels, f64::from(u8::from(slot.failure.is_none())));
            slot.duration.put(&mut pass, DURATION, &labels, duration);
            if slot.failure.as_ref().is_some_and(|f| !f.is_absent()) {
                self.metrics.errors.inc();
            }
        }
        self.metrics.pass_done(self.clock.monotonic().since(begin), self.series.len());
    }

    /// What the last pass could not read.
    pub fn report(&self) -> Report {
        let failed = self.slots.iter().filter_map(|s| Some((s.collector.name(), s.failure.as_ref()?)));
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

#[cfg(test)]
mod tests;
