//! Remote write as a whole: the spool, a thread for each receiver, their state on the status board.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use parking_lot::Mutex;
use tokio::sync::watch;
use vedette_config::prometheus::{CloudAuth, RemoteWrite};
use vedette_http_client::Options;
use vedette_model::{
    Batch, Labels, Rejected, Sink,
    status::{Health, Part, StatusBoard},
    telemetry::{Counter, Family, MetricSource, MetricVisitor, Telemetry},
};
use vedette_sys::{Clock, Fs, LogError, Random};

use crate::{
    http::WriteTransport,
    metrics::{AllReceivers, ReceiverMetrics},
    receiver::{Receiver, Target},
    sender::{Sender, Transport, View, error_text},
    spool::{Losses, Spool, SpoolConfig},
};

/// Between two looks at bounds and status.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);
/// A receiver that lags by more is shown as such.
const LAG_SHOWN: Duration = Duration::from_secs(60);

/// Why remote write cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The spool cannot be opened or written.
    #[error("cannot use the spool of remote write")]
    Spool(#[source] LogError),
    /// A thread cannot be started.
    #[error("cannot start the thread {name}")]
    Thread {
        /// The thread.
        name: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The spool of exports cannot be opened or written.
    #[error("cannot use the spool of exports")]
    ExportSpool(#[source] LogError),
    /// The sink of an export cannot be reached as it is configured.
    #[error("export {name}: {reason}")]
    Export {
        /// The export.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A receiver cannot be reached as it is configured.
    #[error("remote write {name}: {reason}")]
    Receiver {
        /// The receiver.
        name: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// What remote write works with.
#[derive(Clone)]
pub struct Parts {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where receivers post their state.
    pub status: StatusBoard,
    /// Where metrics are registered.
    pub telemetry: Telemetry,
}

/// Remote write, running. Stops when dropped.
pub struct Remote {
    spool: Arc<Spool>,
    parts: Parts,
    receivers: Arc<AllReceivers>,
    running: Mutex<Vec<Running>>,
    /// What is shown, by the thread that looks after the spool too.
    shown: Arc<Mutex<Vec<Shown>>>,
    stop: watch::Sender<bool>,
    maintenance: Mutex<Option<JoinHandle<()>>>,
}

struct Running {
    /// What it runs by.
    write: RemoteWrite,
    shown: Shown,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What is shown of a receiver.
#[derive(Clone)]
struct Shown {
    target: Arc<Target>,
    metrics: Arc<ReceiverMetrics>,
    view: Arc<Mutex<View>>,
}

impl Remote {
    /// Opens the spool for the receivers of a configuration, whose cursors are kept; those of others
    /// are forgotten. Nothing is sent before [`Remote::apply`].
    pub fn open(config: SpoolConfig, writes: &[RemoteWrite], parts: Parts) -> Result<Self, Error> {
        let keys: Vec<_> =
            (0..writes.len()).map(|at| (receiver_key(writes, at), Arc::<Losses>::default())).collect();
        let (spool, recovery) =
            Spool::open(config, parts.fs.clone(), parts.clock.clone(), &keys).map_err(Error::Spool)?;
        if recovery.records > 0 {
            tracing::info!(records = recovery.records, "the spool of remote write is open");
        }
        if let Some(damage) = recovery.damage {
            tracing::error!(damage, "the spool of remote write was repaired");
        }
        let receivers = Arc::new(AllReceivers { spool: spool.clone(), receivers: Mutex::new(Vec::new()) });
        parts.telemetry.register(spool.clone());
        parts.telemetry.register(receivers.clone());
        let shown: Arc<Mutex<Vec<Shown>>> = Arc::default();
        let (stop, stopped) = watch::channel(false);
        let maintenance = spawn("remote-spool", {
            let (spool, shown, status) = (spool.clone(), shown.clone(), parts.status.clone());
            move || maintain(&spool, &shown, &status, stopped)
        })?;
        let maintenance = Mutex::new(Some(maintenance));
        Ok(Self { spool, parts, receivers, running: Mutex::default(), shown, stop, maintenance })
    }

    /// Whether all receivers of a configuration can be reached as it says; nothing changes.
    pub fn check(writes: &[RemoteWrite], options: &Options) -> Result<(), Error> {
        writes.iter().try_for_each(|write| transport(write, options).map(drop))
    }

    /// Sends to the receivers of a configuration from now on, and to no others. One that cannot be
    /// reached as it is configured is an error, and then nothing has changed. A receiver that is
    /// configured as before goes on undisturbed; one with the same key goes on where it was.
    pub fn apply(
        &self,
        writes: &[RemoteWrite],
        external_labels: &Labels,
        options: &Options,
    ) -> Result<(), Error> {
        let mut transports = Vec::new();
        for write in writes {
            transports.push(Arc::new(transport(write, options)?) as Arc<dyn Transport>);
        }
        self.apply_with(writes, external_labels, transports)
    }

    /// The same with transports of one's own, one for each receiver.
    pub fn apply_with(
        &self,
        writes: &[RemoteWrite],
        external_labels: &Labels,
        transports: Vec<Arc<dyn Transport>>,
    ) -> Result<(), Error> {
        let mut running = self.running.lock();
        let targets = Target::all(writes, external_labels);
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut *running).into_iter().partition(|r| {
            writes.iter().zip(&targets).any(|(write, target)| *write == r.write && *target == *r.shown.target)
        });
        stop(gone);
        let before = std::mem::take(&mut *self.shown.lock());
        let mut shown = Vec::new();
        for target in targets {
            // What is counted goes on over a reload.
            let known = before.iter().find(|s| s.target.key == target.key);
            let metrics = known.map_or_else(Arc::default, |known| known.metrics.clone());
            let same = known.filter(|known| *known.target == target).cloned();
            shown.push(same.unwrap_or_else(|| Shown {
                target: Arc::new(target),
                metrics,
                view: Arc::default(),
            }));
        }
        for old in before.iter().filter(|old| !shown.iter().any(|s| s.target.key == old.target.key)) {
            self.parts
                .status
                .post(&part_name(&old.target), Part::new(Health::Off, "no longer configured", ""));
        }
        let keys: Vec<_> = shown.iter().map(|s| (s.target.key.clone(), s.metrics.losses.clone())).collect();
        self.receivers.set(shown.iter().map(|s| (s.target.clone(), s.metrics.clone())).collect());
        self.shown.lock().clone_from(&shown);
        *running = kept;
        self.spool.set_receivers(&keys).map_err(Error::Spool)?;
        for ((shown, write), transport) in shown.into_iter().zip(writes).zip(transports) {
            if !running.iter().any(|r| r.shown.target.key == shown.target.key) {
                running.push(self.start(shown, write.clone(), transport)?);
            }
        }
        Ok(())
    }

    /// Takes samples for all receivers.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.spool.clone()
    }

    /// The spool.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Stops sending. What is not acknowledged stays in the spool.
    pub fn stop(&self) {
        stop(std::mem::take(&mut *self.running.lock()));
        let _ = self.stop.send(true);
        if let Some(thread) = self.maintenance.lock().take() {
            let _ = thread.join();
        }
    }

    fn start(
        &self,
        shown: Shown,
        write: RemoteWrite,
        transport: Arc<dyn Transport>,
    ) -> Result<Running, Error> {
        let clock = self.parts.clock.clone();
        let Shown { target, metrics, view } = shown.clone();
        let random = Random::from_system();
        let receiver = Receiver::new(target.clone(), metrics, self.spool.clone(), random, clock.monotonic());
        let reader = self.spool.reader(&target.key);
        let name = target.name.clone();
        let begin = Box::new(move |attempt| transport.send(attempt));
        let (key, spool) = (target.key.clone(), self.spool.clone());
        let sender = Sender { key, queue: receiver, reader, spool, clock, begin, view };
        let (stop, stopped) = watch::channel(false);
        let thread = spawn("remote-write", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(sender.run(stopped)),
                Err(error) => tracing::error!(%error, receiver = name, "cannot start remote write"),
            }
        })?;
        Ok(Running { write, shown, stop, thread })
    }
}

/// Stops receivers, all at once.
fn stop(running: Vec<Running>) {
    for receiver in &running {
        let _ = receiver.stop.send(true);
    }
    for receiver in running {
        let _ = receiver.thread.join();
    }
}

/// Some ways to prove who one is to a cloud are not gone; all else the client does.
fn transport(write: &RemoteWrite, options: &Options) -> Result<WriteTransport, Error> {
    let refuse = |reason: String| Error::Receiver { name: write.url.host_str().unwrap_or("").into(), reason };
    if let Some(auth) = write.cloud_auth {
        let (key, instead) = match auth {
            CloudAuth::SigV4Role => ("sigv4.role_arn", "give keys of that role, or send"),
            CloudAuth::AzureAd => ("azuread by other means than oauth", "use azuread.oauth, or send"),
            CloudAuth::GoogleIam => ("google_iam", "send"),
        };
        return Err(refuse(format!(
            "{key} is read but cannot be used; {instead} through a proxy that signs requests"
        )));
    }
    WriteTransport::new(write, options).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
        refuse(format!("{error}{cause}"))
    })
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The key of the receiver at a place of the list: its name, else its address, else both and the place.
fn receiver_key(writes: &[RemoteWrite], at: usize) -> String {
    let write = &writes[at];
    if !write.name.is_empty() {
        return write.name.clone();
    }
    let mut url = write.url.clone();
    // Neither fails for an address of HTTP.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    let same = writes[..at].iter().filter(|other| other.name.is_empty() && other.url == write.url).count();
    if same == 0 { url.to_string() } else { format!("{url} ({})", same + 1) }
}

impl Target {
    /// The receivers of a configuration.
    pub fn all(writes: &[RemoteWrite], external_labels: &Labels) -> Vec<Self> {
        let target = |(at, write)| Self::new(write, external_labels.clone(), receiver_key(writes, at));
        writes.iter().enumerate().map(target).collect()
    }
}

const TEE_LOST: Family = Family::counter(
    "vedette_remote_tee_batches_lost_total",
    "Batches that were stored here and could not be spooled for remote write.",
);

/// Hands batches to a store, and what the store took to the spool. A spool that cannot be written does
/// not hold up the store; what it misses is counted.
pub struct Tee {
    store: Arc<dyn Sink>,
    spool: Arc<dyn Sink>,
    lost: Counter,
}

impl Tee {
    /// A tee between the two.
    pub fn new(store: Arc<dyn Sink>, spool: Arc<dyn Sink>) -> Self {
        Self { store, spool, lost: Counter::default() }
    }
}

impl Sink for Tee {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        self.store.accept(batch)?;
        match self.spool.accept(batch) {
            // The sender defines its series again; the store knows the batch already.
            Err(unknown @ Rejected::UnknownSeries(_)) => Err(unknown),
            Err(error) => {
                self.lost.inc();
                tracing::warn!(%error, "samples were stored and cannot be spooled for remote write");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }
}

impl MetricSource for Tee {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        visitor.value(&TEE_LOST, &[], self.lost.get() as f64);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|source| Error::Thread { name: name.to_owned(), source })
}

fn maintain(
    spool: &Spool,
    all: &Mutex<Vec<Shown>>,
    status: &StatusBoard,
    mut stopped: watch::Receiver<bool>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "the spool of remote write is not looked after");
            return;
        }
    };
    runtime.block_on(async {
        while !*stopped.borrow() {
            let problem = spool.maintain().err().map(|error| error_text(&error));
            for shown in all.lock().iter() {
                status.post(&part_name(&shown.target), part(shown, spool, problem.as_deref()));
            }
            let _ = tokio::time::timeout(MAINTENANCE_INTERVAL, stopped.changed()).await;
        }
    });
    if let Err(error) = spool.maintain() {
        tracing::warn!(error = error_text(&error), "the spool of remote write cannot be synced");
    }
}

fn part_name(target: &Target) -> String {
    format!("remote write {}", target.name)
}

fn part(shown: &Shown, spool: &Spool, problem: Option<&str>) -> Part {
    let (waiting, lag) = spool.waiting(&shown.target.key);
    let view = shown.view.lock().clone();
    let lost = shown.metrics.lost();
    let part = if let Some(problem) = problem.or(view.spool.as_deref()) {
        Part::new(Health::Failed, problem, "see to the disk that holds the data folder")
    } else if let Some((message, is_loss)) = view.trouble {
        let remedy = if is_loss {
            "samples were given up: see what the receiver says"
        } else {
            "samples wait on disk and are sent when it answers again"
        };
        Part::new(Health::Degraded, message, remedy)
    } else if lag > LAG_SHOWN {
        let message = format!("it lags by {} s", lag.as_secs());
        Part::new(Health::Degraded, message, "raise max_shards or max_samples_per_send of its queue_config")
    } else if let Some(told) = &view.fallback {
        let message = format!("it does not speak remote write 2.0 and gets 1.0: {told}");
        Part::new(Health::Ok, message, "set protobuf_message to prometheus.WriteRequest")
    } else {
        Part::ok()
    };
    let m = &shown.metrics;
    part.fact("url", &shown.target.url)
        .fact("protocol", if m.protocol.get() > 1.5 { "2.0" } else { "1.0" })
        .fact("samples sent", m.samples.get() + m.histograms.get())
        .fact("waiting", waiting)
        .fact("lag", format!("{} s", lag.as_secs()))
        .fact("lost", lost)
        .fact("spool bytes", spool.bytes())
}
