//! The thread on which judgement runs, and the handles by which others reach it.

use std::{sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use vedette_alerting::{Alerting, Outcome, OutcomeSink, Outlet, SnapshotError, View};
use vedette_model::{
    Finding, MetricReader, Sink,
    status::{Health, Part, StatusBoard},
};
use vedette_promql::Engine;
use vedette_sys::{Clock, Fs};

use crate::{
    config::{Config, Error},
    metrics::Metrics,
    store::StateLog,
    worker::{Inbox, Worker},
    writer::Writer,
};

/// The longest sleep, so that a clock that is set cannot stop judgement.
const SLEEP_MS_MAX: i64 = 1_000;

/// What the ruler works with.
pub struct Parts {
    /// Series to judge.
    pub reader: Arc<dyn MetricReader>,
    /// Evaluates queries.
    pub engine: Engine,
    /// Takes the samples that rules give.
    pub sink: Arc<dyn Sink>,
    /// Takes messages to deliver.
    pub outlet: Arc<dyn Outlet>,
    /// Files.
    pub fs: Arc<dyn Fs>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the ruler posts its state.
    pub status: StatusBoard,
}

/// The running ruler. Dropping it stops the thread.
pub struct Ruler {
    handle: RulerHandle,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Reaches the ruler from elsewhere; cloning shares it.
#[derive(Clone)]
pub struct RulerHandle(Arc<Shared>);

struct Shared {
    inbox: Mutex<(Inbox, bool)>,
    woken: Condvar,
    alerting: Arc<Mutex<Alerting>>,
    metrics: Arc<Metrics>,
    findings_waiting_max: usize,
}

impl Ruler {
    /// Takes up the saved state and starts the thread.
    pub fn start(config: &Config, alerting: Alerting, parts: Parts) -> Result<Self, Error> {
        let (handle, mut worker) = prepare(config, alerting, parts)?;
        let shared = handle.0.clone();
        let thread = std::thread::Builder::new()
            .name("ruler".into())
            .spawn(move || work(&shared, &mut worker))
            .map_err(Error::Thread)?;
        Ok(Self { handle, thread: Some(thread) })
    }

    /// A handle for others.
    pub fn handle(&self) -> RulerHandle {
        self.handle.clone()
    }

    /// Stops the thread after its current turn and waits for it.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.handle.0.inbox.lock().1 = true;
        self.handle.0.woken.notify_all();
        if thread.join().is_err() {
            self.handle.0.metrics.panics.inc();
        }
    }
}

impl Drop for Ruler {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Everything but the thread.
pub(crate) fn prepare(
    config: &Config,
    mut alerting: Alerting,
    parts: Parts,
) -> Result<(RulerHandle, Worker), Error> {
    let folder = &config.folder;
    let (log, state, recovery) =
        StateLog::open(parts.fs, folder).map_err(|source| Error::Open { folder: folder.clone(), source })?;
    let now_ms = parts.clock.unix_ms();
    let mut damage = recovery.damage;
    match state.map(|state| alerting.restore(&state, now_ms)) {
        None | Some(Ok(())) => {}
        Some(Err(source @ SnapshotError::Newer(_))) => {
            return Err(Error::Newer { folder: folder.clone(), source });
        }
        // The records have checksums, so this is a fault of the writer; alerts begin anew.
        Some(Err(source @ SnapshotError::Damaged)) => damage = Some(source.to_string()),
    }
    if let Some(damage) = damage {
        tracing::error!(damage, "the saved alert state was damaged; alerts may be told of again");
        let message = format!("the saved alert state was damaged: {damage}");
        let remedy = "alerts that were told of may be told of again; check the disk";
        parts.status.post("ruler.state", Part::new(Health::Degraded, message, remedy));
    }
    let metrics = Arc::new(Metrics::default());
    let alerting = Arc::new(Mutex::new(alerting));
    let shared = Shared {
        inbox: Mutex::default(),
        woken: Condvar::new(),
        alerting: alerting.clone(),
        metrics: metrics.clone(),
        findings_waiting_max: config.findings_waiting_max,
    };
    // Numbers of series and batches begin anew with every start.
    let origin = vedette_model::Origin { epoch: now_ms.unsigned_abs(), ..config.origin.clone() };
    let worker = Worker {
        alerting,
        reader: parts.reader,
        engine: parts.engine,
        outlet: parts.outlet,
        clock: parts.clock,
        status: parts.status,
        metrics: metrics.clone(),
        log,
        writer: Writer::new(parts.sink, origin, metrics),
        save_interval_ms: config.save_interval_ms,
        pending: std::collections::VecDeque::new(),
        unsaved: false,
        saved_at_ms: now_ms,
        last_part: None,
    };
    Ok((RulerHandle(Arc::new(shared)), worker))
}

fn work(shared: &Shared, worker: &mut Worker) {
    loop {
        let (inbox, stop) = {
            let mut inbox = shared.inbox.lock();
            (std::mem::take(&mut inbox.0), inbox.1)
        };
        let deadline_ms = worker.turn(inbox);
        if stop {
            return;
        }
        let sleep_ms = (deadline_ms - worker.clock.unix_ms()).clamp(1, SLEEP_MS_MAX);
        let mut inbox = shared.inbox.lock();
        let woken =
            inbox.1 || inbox.0.rules_changed || !inbox.0.findings.is_empty() || !inbox.0.outcomes.is_empty();
        if !woken {
            shared.woken.wait_for(&mut inbox, Duration::from_millis(sleep_ms.unsigned_abs()));
        }
    }
}

impl RulerHandle {
    /// Takes a finding; it is told of at once.
    pub fn observe_finding(&self, finding: Finding) {
        let mut inbox = self.0.inbox.lock();
        if inbox.0.findings.len() >= self.0.findings_waiting_max {
            self.0.metrics.findings_dropped.inc();
            return;
        }
        inbox.0.findings.push(finding);
        drop(inbox);
        self.0.woken.notify_all();
    }

    /// Groups, rules, alerts and findings as they stand.
    pub fn view(&self) -> View {
        self.0.alerting.lock().view()
    }

    /// Judges by other rules from now on; what goes on under rules that are as they were goes on.
    pub fn replace_rules(
        &self,
        config: vedette_alerting::Config,
        groups: Vec<vedette_alerting::Group>,
        now_ms: i64,
    ) -> Result<(), vedette_alerting::ConfigError> {
        self.0.alerting.lock().replace_rules(config, groups, now_ms)?;
        // Groups may be due sooner than those of before.
        self.0.inbox.lock().0.rules_changed = true;
        self.0.woken.notify_all();
        Ok(())
    }

    /// The ruler's own metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.0.metrics.clone()
    }

    /// What came in, for a turn without the thread.
    #[cfg(test)]
    pub(crate) fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut self.0.inbox.lock().0)
    }
}

impl OutcomeSink for RulerHandle {
    fn report(&self, intent_id: u64, outcome: Outcome) {
        self.0.inbox.lock().0.outcomes.push((intent_id, outcome));
        self.0.woken.notify_all();
    }
}
