//! Gathers facts from the adapters on their schedule, stamps identity (host, container, image,
//! process ancestry) once, and hands batches on. It judges, stores and sends nothing.
//!
//! Two threads: one reads figures of host, containers and Vedette itself at every interval, the
//! other waits for the kernel. Either goes on when the other cannot. The state of each cluster that is
//! stored has a thread of its own ([`state`]).

mod dictionary;
pub mod discovery;
mod figures;
mod kernel;
mod machine;
mod metrics;
mod own;
mod proc_reader;
mod process;
pub mod scrape;
mod sender;
mod stamp;
pub mod state;
mod stop;
mod usage;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

pub use dictionary::{Course, Dictionary, Found, Newest};
pub use figures::Latest;
use parking_lot::Mutex;
pub use usage::UsageHistory;
pub use vedette_host::ContainerIndex;
use vedette_model::{
    Host, Origin, Sink,
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_sys::Clock;

use crate::{metrics::Metrics, stop::Stop};

/// What is gathered and how often.
#[derive(Debug, Clone)]
pub struct Config {
    /// Between two readings of host, containers and own metrics.
    pub interval: Duration,
    /// How host and containers are read.
    pub host: vedette_host::Config,
    /// Whether these are read; containers are not known either where they are not.
    pub figures: bool,
    /// How the kernel sensor works, or `None` to leave it off.
    pub sensor: Option<vedette_ebpf::Config>,
    /// Readings kept while the stores refuse; older ones go first and are counted.
    pub waiting_samples_max: usize,
    /// Batches of events kept likewise.
    pub waiting_events_max: usize,
    /// Processes in the ancestry table.
    pub processes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            host: vedette_host::Config::default(),
            figures: true,
            sensor: Some(vedette_ebpf::Config::default()),
            waiting_samples_max: 300,
            waiting_events_max: 2_000,
            processes_max: 100_000,
        }
    }
}

/// What the collector needs from whoever composes it.
#[derive(Clone)]
pub struct Surroundings {
    /// Takes the batches.
    pub sink: Arc<dyn Sink>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it says how it is.
    pub status: StatusBoard,
    /// All own metrics: read as figures, and joined by the collector's.
    pub telemetry: Telemetry,
    /// This machine.
    pub host: Arc<Host>,
}

impl Surroundings {
    /// The origin of one of the collector's senders; a new one at every start.
    fn origin(&self, source: &str) -> Origin {
        Origin {
            tenant: "default".into(),
            cluster: self.host.name.clone(),
            source: format!("{}/{source}", self.host.name),
            epoch: self.clock.unix_ns().unsigned_abs(),
        }
    }
}

/// Why gathering cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Host facts cannot be read at all.
    #[error("cannot read facts of this machine")]
    Host(#[source] vedette_host::Error),
    /// The machine refuses a thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// The running collector. It ends when stopped or dropped.
pub struct Collector {
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
    latest: Latest,
    containers: ContainerIndex,
}

impl Collector {
    /// Starts gathering.
    pub fn start(config: &Config, surroundings: &Surroundings) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        surroundings.telemetry.register(metrics.clone());
        let stop = Arc::new(Stop::default());
        let latest = Latest {
            node: Arc::new(Mutex::new(Dictionary::new(&[
                ("job", "node-exporter"),
                ("instance", &surroundings.host.name),
            ]))),
            containers: Arc::new(Mutex::new(Dictionary::with_history(&[
                ("job", "kubelet"),
                ("metrics_path", "/metrics/cadvisor"),
                ("instance", &surroundings.host.name),
            ]))),
            usage: Arc::default(),
        };
        let mut collector =
            Self { stop: stop.clone(), threads: Vec::new(), latest, containers: ContainerIndex::default() };
        if config.figures {
            let figures =
                figures::Figures::new(config, surroundings.clone(), &collector.latest, metrics.clone())
                    .map_err(Error::Host)?;
            collector.containers = figures.container_index();
            collector.spawn("figures", {
                let stop = stop.clone();
                move || figures.run(&stop)
            })?;
        } else {
            for part in ["collector.node", "collector.container"] {
                let off = Part::new(Health::Off, "switched off", "Set collect.figures to auto.");
                surroundings.status.post(part, off);
            }
        }
        let containers = collector.containers.clone();
        let kernel = kernel::Kernel::new(config, surroundings.clone(), containers, metrics);
        collector.spawn("kernel", move || kernel.run(&stop))?;
        Ok(collector)
    }

    /// The newest figures.
    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Which containers there are.
    pub fn containers(&self) -> ContainerIndex {
        self.containers.clone()
    }

    /// Ends gathering and waits until what was read is handed over.
    pub fn stop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a collector thread panicked");
            }
        }
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let thread = std::thread::Builder::new().name(format!("collect-{name}")).spawn(work);
        self.threads.push(thread.map_err(Error::Thread)?);
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}
