//! Exports: samples on their way to where people keep them, in the shapes that these systems know.
//!
//! All exports share one [`Spool`] on disk, of its own beside that of remote write, which takes only the
//! series that some export selects; each reads it at its own pace on a thread of its own. What is sent
//! when is decided by an [`exporter::Exporter`], how it is written by an [`encode::Encoder`], how it gets
//! there by a [`sink`].

pub(crate) mod batch;
mod encode;
mod exporter;
mod metrics;
mod series;
mod sink;
mod target;

#[cfg(any(test, fuzzing))]
pub(crate) use sink::fuzzing as answers;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use vedette_http_client::Options;
use vedette_model::{
    Batch, Labels, Rejected, Sink,
    status::{Health, Part},
};
use vedette_sys::Random;

use crate::{
    remote::{Error, Parts},
    sender::{Sender, View, error_text},
    spool::{Spool, SpoolConfig},
};
use encode::Encoder;
use exporter::Exporter;
use metrics::{AllExports, ExportMetrics};

pub use encode::{IndexPer, Shape};
pub use exporter::{BatchLimits, ExportPlan};
pub use target::{
    Elasticsearch, Export, FileSink, InfluxDb, InfluxVersion, Kafka, KafkaCompression, Redis, Sasl,
    SaslMechanism, SinkConfig, Statsd,
};

/// Between two looks at bounds and status.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);
/// An export that lags by more, and by more than batches may wait, is shown as such.
const LAG_SHOWN: Duration = Duration::from_secs(60);
/// How long those who write to disk or a pipe may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What is exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportConfig {
    /// What waits.
    pub spool: SpoolConfig,
    /// The name of this machine, which all documents bear.
    pub machine: String,
    /// Labels that series get in our own shape, where they have none of the name.
    pub labels: Vec<(String, String)>,
    /// Where to.
    pub exports: Vec<Export>,
}

/// Exports, running. They stop when this is dropped.
pub struct Exports {
    all: Arc<AllExports>,
    stop: watch::Sender<bool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What is shown of an export.
struct Shown {
    export: Export,
    metrics: Arc<ExportMetrics>,
    view: Arc<Mutex<View>>,
}

impl Exports {
    /// Opens the spool and begins to export. Exports that are new begin with what comes from now on,
    /// others go on where they were.
    pub fn open(config: ExportConfig, parts: &Parts, options: &Options) -> Result<Self, Error> {
        let around =
            sink::Surroundings { options, fs: &parts.fs, clock: &parts.clock, machine: &config.machine };
        let mut sinks = Vec::new();
        for export in &config.exports {
            let opened = sink::open(export, &around)
                .map_err(|error| Error::Export { name: export.name.clone(), reason: with_causes(&error) })?;
            sinks.push(opened);
        }
        let metrics: Vec<Arc<ExportMetrics>> = config.exports.iter().map(|_| Arc::default()).collect();
        let exports = config.exports.iter().zip(&metrics);
        let keys: Vec<_> = exports.clone().map(|(e, m)| (e.name.clone(), m.losses.clone())).collect();
        let plans: Vec<_> = config.exports.iter().map(|export| export.plan.clone()).collect();
        let wanted = Arc::new(move |labels: &Labels| plans.iter().any(|plan| plan.selects(labels)));
        let (spool, recovery) =
            Spool::open_for(config.spool, parts.fs.clone(), parts.clock.clone(), &keys, Some(wanted))
                .map_err(Error::ExportSpool)?;
        if let Some(damage) = recovery.damage {
            tracing::error!(damage, "the spool of exports was repaired");
        }
        let all = Arc::new(AllExports {
            spool,
            lost: vedette_model::telemetry::Counter::default(),
            exports: exports.clone().map(|(e, m)| (e.name.clone(), e.sink.kind(), m.clone())).collect(),
        });
        parts.telemetry.register(all.clone());
        let stop = watch::Sender::new(false);
        // Dropped where a thread cannot be started, it ends the others.
        let running = Self { all, stop, threads: Mutex::default() };
        let mut shown = Vec::new();
        for ((export, metrics), deliver) in exports.zip(sinks) {
            let encoder =
                Encoder::new(export.shape, export.sink.form(export.shape), &config.machine, &config.labels);
            let view = Arc::<Mutex<View>>::default();
            let exporter = Exporter::new(
                export.name.clone(),
                export.plan.clone(),
                encoder,
                metrics.clone(),
                Random::from_system(),
                parts.clock.monotonic(),
            );
            shown.push(Shown { export: export.clone(), metrics: metrics.clone(), view: view.clone() });
            running.start(exporter, export.name.clone(), deliver, parts, view)?;
        }
        running.maintain(shown, parts)?;
        Ok(running)
    }

    /// Takes samples for all exports.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.all.spool.clone()
    }

    /// Hands batches to `store`, and what it took to the exports.
    pub fn beside(&self, store: Arc<dyn Sink>) -> Arc<dyn Sink> {
        Arc::new(Beside { store, all: self.all.clone() })
    }

    /// Stops exporting. What is not acknowledged stays in the spool.
    pub fn stop(&self) {
        let _ = self.stop.send(true);
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
    }

    fn start(
        &self,
        exporter: Exporter,
        key: String,
        deliver: Arc<dyn sink::Deliver>,
        parts: &Parts,
        view: Arc<Mutex<View>>,
    ) -> Result<(), Error> {
        let spool = self.all.spool.clone();
        let begin = Box::new(move |batch| deliver.deliver(batch));
        let sender = Sender {
            reader: spool.reader(&key),
            key,
            queue: exporter,
            spool,
            clock: parts.clock.clone(),
            begin,
            view,
        };
        let stopped = self.stop.subscribe();
        self.spawn("export", |runtime| {
            runtime.block_on(sender.run(stopped));
        })
    }

    fn maintain(&self, shown: Vec<Shown>, parts: &Parts) -> Result<(), Error> {
        let (spool, status) = (self.all.spool.clone(), parts.status.clone());
        let mut stopped = self.stop.subscribe();
        self.spawn("export-spool", move |runtime| {
            runtime.block_on(async {
                while !*stopped.borrow() {
                    let problem = spool.maintain().err().map(|error| error_text(&error));
                    for shown in &shown {
                        let name = format!("export {}", shown.export.name);
                        status.post(&name, part(shown, &spool, problem.as_deref()));
                    }
                    let _ = tokio::time::timeout(MAINTENANCE_INTERVAL, stopped.changed()).await;
                }
            });
            if let Err(error) = spool.maintain() {
                tracing::warn!(error = error_text(&error), "the spool of exports cannot be synced");
            }
        })
    }

    fn spawn(
        &self,
        name: &str,
        work: impl FnOnce(&tokio::runtime::Runtime) + Send + 'static,
    ) -> Result<(), Error> {
        let thread = |source| Error::Thread { name: name.to_owned(), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(thread)?;
        let run = move || {
            work(&runtime);
            // A pipe that nobody reads shall not hold up the end of the process.
            runtime.shutdown_timeout(STOP_TIMEOUT);
        };
        let started = std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(thread)?;
        self.threads.lock().push(started);
        Ok(())
    }
}

impl Drop for Exports {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A store with the exports beside it. A spool that cannot be written does not hold up the store; what
/// it misses is counted.
struct Beside {
    store: Arc<dyn Sink>,
    all: Arc<AllExports>,
}

impl Sink for Beside {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        self.store.accept(batch)?;
        match self.all.spool.accept(batch) {
            // The sender defines its series again; the store knows the batch already.
            Err(unknown @ Rejected::UnknownSeries(_)) => Err(unknown),
            Err(error) => {
                self.all.lost.inc();
                tracing::warn!(%error, "samples were stored and cannot be spooled for exports");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

fn part(shown: &Shown, spool: &Spool, problem: Option<&str>) -> Part {
    let Shown { export, metrics, view } = shown;
    let (waiting, lag) = spool.waiting(&export.name);
    let view = view.lock().clone();
    let lag_shown = LAG_SHOWN.max(export.plan.batch.age * 2);
    let part = if let Some(problem) = problem.or(view.spool.as_deref()) {
        Part::new(Health::Failed, problem, "see to the disk that holds the data folder")
    } else if let Some((message, is_loss)) = view.trouble {
        let remedy = if is_loss {
            "samples were given up: see what the sink says"
        } else {
            "samples wait on disk and are exported when it answers again"
        };
        Part::new(Health::Degraded, message, remedy)
    } else if lag > lag_shown {
        let message = format!("it lags by {} s", lag.as_secs());
        Part::new(Health::Degraded, message, "raise samples and size of its batch, or select less")
    } else {
        Part::ok()
    };
    part.fact("kind", export.sink.kind())
        .fact("place", export.sink.place())
        .fact("samples sent", metrics.samples.get())
        .fact("retried", metrics.retried.get())
        .fact("waiting", waiting)
        .fact("lag", format!("{} s", lag.as_secs()))
        .fact("lost", metrics.lost())
        .fact("spool bytes", spool.bytes())
}

/// An error with its causes in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
