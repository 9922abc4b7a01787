//! Delivers what waits: one task for each receiver, so that none waits for another.
//!
//! A receiver that cannot be reached makes everything for it wait, with doubling pauses. A
//! receiver that refuses one message is asked again for that one later, and gets the others
//! meanwhile.

use std::{collections::BTreeMap, future::Future, path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet};
use vedette_model::{
    status::{Health, Part, StatusBoard},
    telemetry::Telemetry,
};
use vedette_sys::{Clock, Fs, LogError, MonotonicTime, Random};
use vedette_wire::number::rfc3339;

use crate::{
    Config, ConfigError, Intent, OutboxError, Recovered, Target, backoff, file,
    metrics::{Metrics, ReceiverMetrics},
    outbox::Outbox,
    webhook::Webhook,
};

/// Why deliveries cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log of waiting notifications cannot be opened.
    #[error("cannot open the outbox {}", folder.display())]
    Outbox {
        /// Its folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: LogError,
    },
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It may pass: the receiver is down, busy or slow.
    Retry {
        reason: String,
        remedy: String,
        /// When the receiver wants to be asked again.
        after: Option<Duration>,
    },
    /// The receiver does not want this message.
    Refused { reason: String, remedy: String },
}

/// Takes notifications and delivers them.
pub struct Responder {
    shared: Arc<Shared>,
}

struct Shared {
    config: Config,
    outbox: Mutex<Outbox>,
    wakers: BTreeMap<String, Notify>,
    metrics: Arc<Metrics>,
    status: StatusBoard,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
}

impl Responder {
    /// Opens the outbox. Nothing is delivered before [`Responder::run`].
    pub fn open(
        config: Config,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        status: StatusBoard,
        telemetry: &Telemetry,
    ) -> Result<(Self, Recovered), Error> {
        config.validate()?;
        let names: Vec<String> = config.receivers.iter().map(|r| r.name.clone()).collect();
        let (outbox, recovered) =
            Outbox::open(fs.clone(), &config.folder, &names, config.queue_max, config.message_bytes_max)
                .map_err(|source| Error::Outbox { folder: config.folder.clone(), source })?;
        let metrics = Arc::new(Metrics {
            receivers: names.iter().map(|name| (name.clone(), Arc::default())).collect(),
            ..Metrics::default()
        });
        metrics.orphaned.add(recovered.orphaned as u64);
        if recovered.orphaned > 0 {
            tracing::warn!(
                notifications = recovered.orphaned,
                "notifications waited for receivers that are configured no more; they were dropped"
            );
        }
        telemetry.register(metrics.clone());
        let shared = Shared {
            outbox: Mutex::new(outbox),
            wakers: names.iter().map(|name| (name.clone(), Notify::new())).collect(),
            metrics,
            status,
            fs,
            clock,
            config,
        };
        for name in &names {
            shared.measure(name);
            shared.post(name, &State::default(), MonotonicTime(0));
        }
        Ok((Self { shared: Arc::new(shared) }, recovered))
    }

    /// Takes notifications, all or none. When this returns `Ok` they are written and synced, and
    /// will be delivered at least once.
    pub fn accept(&self, intents: &[Intent]) -> Result<(), OutboxError> {
        let lost = self.shared.outbox.lock().accept(intents)?;
        for (receiver, lost) in lost {
            self.shared.receiver_metrics(&receiver).lost.add(lost);
            tracing::warn!(receiver, lost, "too many notifications wait; the oldest were dropped");
        }
        for intent in intents {
            self.shared.measure(&intent.receiver);
            if let Some(waker) = self.shared.wakers.get(&intent.receiver) {
                waker.notify_one();
            }
        }
        Ok(())
    }

    /// Bytes that one notification may have.
    pub fn message_bytes_max(&self) -> usize {
        self.shared.config.message_bytes_max
    }

    /// How many notifications wait for a receiver.
    pub fn pending(&self, receiver: &str) -> usize {
        self.shared.outbox.lock().pending_len(receiver)
    }

    /// Delivers until `stop` is done. An attempt that runs then is given up on; its notification
    /// stays and is delivered after the next start.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        for receiver in &self.shared.config.receivers {
            tasks.spawn(deliver(self.shared.clone(), receiver.name.clone(), receiver.target.clone()));
        }
        stop.await;
        tasks.shutdown().await;
    }
}

/// How a receiver is reached.
enum Way {
    Webhook(Webhook),
    File(PathBuf),
}

impl Way {
    fn new(target: &Target, clock: &Arc<dyn Clock>) -> Result<Self, Failure> {
        match target {
            Target::File { path } => Ok(Self::File(path.clone())),
            Target::Webhook { url, timeout, redirects_max } => {
                Webhook::new(url, *timeout, *redirects_max, clock.clone()).map(Self::Webhook).map_err(
                    |reason| Failure::Retry {
                        reason: format!("cannot prepare connections: {reason}"),
                        remedy: "Install the machine's certificates (ca-certificates).".to_owned(),
                        after: None,
                    },
                )
            }
        }
    }
}

/// What is known of a receiver's state.
#[derive(Default)]
struct State {
    /// Failures since the last success that concern the receiver as a whole.
    failures: u32,
    /// Nothing is tried before.
    pause_until: Option<MonotonicTime>,
    last_failure: Option<(String, String)>,
    /// Notifications that were refused, and when to try them again.
    refused: BTreeMap<u64, MonotonicTime>,
    last_delivery_ns: Option<i64>,
}

async fn deliver(shared: Arc<Shared>, name: String, target: Target) {
    let mut random = Random::from_system();
    let mut state = State::default();
    let mut way = None;
    loop {
        let wait = next(&shared, &name, &mut state);
        let (seq, intent) = match wait {
            Next::Now(seq, intent) => (seq, intent),
            Next::Later(wait) => {
                let woken = shared.wakers[&name].notified();
                let pause = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3600)));
                tokio::select! { () = woken => {}, () = pause => {} }
                continue;
            }
        };
        let result = match &way {
            Some(way) => attempt(&shared, way, &intent).await,
            None => match Way::new(&target, &shared.clock) {
                Ok(made) => {
                    let result = attempt(&shared, &made, &intent).await;
                    way = Some(made);
                    result
                }
                Err(failure) => Err(failure),
            },
        };
        conclude(&shared, &name, seq, result, &mut state, &mut random).await;
        shared.measure(&name);
        shared.post(&name, &state, shared.clock.monotonic());
    }
}

enum Next {
    Now(u64, Intent),
    Later(Option<Duration>),
}

/// Chooses what to deliver now, or how long to wait.
fn next(shared: &Shared, name: &str, state: &mut State) -> Next {
    let now = shared.clock.monotonic();
    if let Some(until) = state.pause_until
        && until > now
    {
        return Next::Later(Some(until.since(now)));
    }
    let outbox = shared.outbox.lock();
    state.refused.retain(|seq, _| outbox.is_pending(name, *seq));
    match outbox.first_pending(name, |seq| state.refused.get(&seq).is_none_or(|due| *due <= now)) {
        Some((seq, intent)) => Next::Now(seq, intent),
        None => Next::Later(state.refused.values().min().map(|due| due.since(now))),
    }
}

async fn attempt(shared: &Shared, way: &Way, intent: &Intent) -> Result<(), Failure> {
    match way {
        Way::Webhook(webhook) => webhook.deliver(intent).await,
        Way::File(path) => {
            let (fs, path, intent) = (shared.fs.clone(), path.clone(), intent.clone());
            // Ended by nothing: a line is written whole or not at all.
            let written = tokio::task::spawn_blocking(move || file::deliver(fs.as_ref(), &path, &intent));
            written.await.unwrap_or_else(|_| {
                Err(Failure::Retry {
                    reason: "BUG: writing ended without result".to_owned(),
                    remedy: "Please report it.".to_owned(),
                    after: None,
                })
            })
        }
    }
}

async fn conclude(
    shared: &Arc<Shared>,
    name: &str,
    seq: u64,
    result: Result<(), Failure>,
    state: &mut State,
    random: &mut Random,
) {
    let metrics = shared.receiver_metrics(name);
    let now = shared.clock.monotonic();
    let config = &shared.config;
    match result {
        Ok(()) => {
            metrics.delivered.inc();
            if state.failures > 0 || state.last_failure.is_some() {
                tracing::info!(receiver = name, "notifications are delivered again");
            }
            state.failures = 0;
            state.pause_until = None;
            state.refused.remove(&seq);
            if state.refused.is_empty() {
                state.last_failure = None;
            }
            state.last_delivery_ns = Some(shared.clock.unix_ns());
            // Synced, hence on a thread that may wait.
            let (inner, receiver) = (shared.clone(), name.to_owned());
            let done = tokio::task::spawn_blocking(move || inner.outbox.lock().done(&receiver, seq)).await;
            if let Ok(Err(error)) = done {
                tracing::warn!(receiver = name, %error, "cannot write that a notification was delivered; it may come again after a restart");
            }
        }
        Err(Failure::Retry { reason, remedy, after }) => {
            metrics.failed.inc();
            if state.failures == 0 {
                tracing::warn!(receiver = name, reason, "cannot deliver notifications; they wait");
            }
            state.failures = state.failures.saturating_add(1);
            let wait = backoff::wait(state.failures, config.retry_min, config.retry_max, random);
            state.pause_until = Some(later(now, after.map_or(wait, |after| after.max(wait))));
            state.last_failure = Some((reason, remedy));
        }
        Err(Failure::Refused { reason, remedy }) => {
            metrics.refused.inc();
            tracing::warn!(
                receiver = name,
                reason,
                "a receiver refuses a notification; it is tried again later"
            );
            // It answers, so the others need not wait.
            state.failures = 0;
            state.pause_until = None;
            let wait = backoff::wait(1, config.refused_retry, config.refused_retry, random);
            state.refused.insert(seq, later(now, wait));
            state.last_failure = Some((reason, remedy));
        }
    }
}

fn later(now: MonotonicTime, wait: Duration) -> MonotonicTime {
    MonotonicTime(now.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
}

impl Shared {
    fn receiver_metrics(&self, name: &str) -> &ReceiverMetrics {
        self.metrics.receivers.get(name).expect("BUG: every receiver has metrics")
    }

    #[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
    fn measure(&self, name: &str) {
        let outbox = self.outbox.lock();
        self.receiver_metrics(name).pending.set(outbox.pending_len(name) as f64);
        self.metrics.outbox_bytes.set(outbox.bytes() as f64);
    }

    fn post(&self, name: &str, state: &State, now: MonotonicTime) {
        let metrics = self.receiver_metrics(name);
        let pending = self.outbox.lock().pending_len(name);
        let lost = metrics.lost.get();
        let mut part = match &state.last_failure {
            Some((reason, remedy)) => {
                // A receiver that takes most is not down.
                let health = if state.failures > 0 { Health::Failed } else { Health::Degraded };
                Part::new(health, reason, remedy)
            }
            None if lost > 0 => Part::new(
                Health::Degraded,
                format!("{lost} notifications were dropped undelivered because too many waited"),
                "Look why the receiver was away for so long.",
            ),
            None => Part::ok(),
        };
        part = part
            .fact("waiting", pending)
            .fact("delivered", metrics.delivered.get())
            .fact("failed attempts", metrics.failed.get() + metrics.refused.get())
            .fact("lost", lost);
        if let Some(at_ns) = state.last_delivery_ns {
            part = part.fact("last delivery", rfc3339(at_ns));
        }
        if let Some(until) = state.pause_until {
            part = part.fact("next attempt in seconds", until.since(now).as_secs());
        }
        self.status.post(&format!("notify.{name}"), part);
    }
}
