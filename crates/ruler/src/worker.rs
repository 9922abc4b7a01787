//! One turn of the ruler: what came in is taken, rules are judged, the state is saved, and only
//! then messages go out.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use vedette_alerting::{Alerting, Intent, Outcome, Outlet};
use vedette_model::{
    Finding, MetricReader,
    status::{Health, Part, StatusBoard},
};
use vedette_promql::Engine;
use vedette_sys::Clock;

use crate::{metrics::Metrics, store::StateLog, writer::Writer};

/// How soon what failed is tried again.
const RETRY_MS: i64 = 1_000;

/// What came in since the last turn.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) findings: Vec<Finding>,
    pub(crate) outcomes: Vec<(u64, Outcome)>,
    /// Whether rules were replaced, which the next state has to know.
    pub(crate) rules_changed: bool,
}

pub(crate) struct Worker {
    pub(crate) alerting: Arc<Mutex<Alerting>>,
    pub(crate) reader: Arc<dyn MetricReader>,
    pub(crate) engine: Engine,
    pub(crate) outlet: Arc<dyn Outlet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) status: StatusBoard,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: StateLog,
    pub(crate) writer: Writer,
    pub(crate) save_interval_ms: i64,
    /// Messages that are to be handed on as soon as the state is saved.
    pub(crate) pending: VecDeque<Intent>,
    pub(crate) unsaved: bool,
    pub(crate) saved_at_ms: i64,
    pub(crate) last_part: Option<Part>,
}

impl Worker {
    /// Does all that is due, and says when to come again.
    pub(crate) fn turn(&mut self, inbox: Inbox) -> i64 {
        let now_ms = self.clock.unix_ms();
        let started = self.clock.monotonic();
        let deadline_ms = self.judge(inbox, now_ms);
        let saved = self.save(now_ms);
        if saved.is_ok() {
            self.hand_on();
        }
        let metrics = &self.metrics;
        metrics.ticks.inc();
        metrics.tick_seconds.set(self.clock.monotonic().since(started).as_secs_f64());
        metrics.state_bytes.set(self.log.bytes() as f64);
        let behind = saved.is_err() || !self.pending.is_empty() || self.writer.is_behind();
        self.report(saved.err());
        if behind { deadline_ms.min(now_ms + RETRY_MS) } else { deadline_ms }
    }

    fn judge(&mut self, inbox: Inbox, now_ms: i64) -> i64 {
        let shared = self.alerting.clone();
        let mut alerting = shared.lock();
        let metrics = &self.metrics;
        self.unsaved |= inbox.rules_changed;
        let dropped = alerting.findings_dropped();
        for finding in &inbox.findings {
            alerting.observe_finding(finding);
        }
        metrics.findings.add(inbox.findings.len() as u64);
        metrics.findings_dropped.add(alerting.findings_dropped() - dropped);
        for (id, outcome) in inbox.outcomes {
            let known = match outcome {
                Outcome::Delivered => alerting.delivered(id),
                Outcome::Rejected => alerting.rejected(id, now_ms),
            };
            // The second report about one message changes nothing.
            if known {
                self.unsaved = true;
                match outcome {
                    Outcome::Delivered => metrics.intents_delivered.inc(),
                    Outcome::Rejected => metrics.intents_rejected.inc(),
                }
            }
        }
        // One evaluation that panics is caught below; this is for what is around them.
        let tick = catch_unwind(AssertUnwindSafe(|| alerting.tick(now_ms, &*self.reader, &self.engine)));
        let Ok(tick) = tick else {
            metrics.panics.inc();
            return now_ms + RETRY_MS;
        };
        let oldest_ms = alerting.oldest_outstanding_ms();
        let due = alerting.has_active_alerts() && now_ms - self.saved_at_ms >= self.save_interval_ms;
        self.unsaved |= tick.changed || due;
        drop(alerting);
        metrics.evaluations.add(tick.evaluations);
        metrics.evaluation_failures.add(tick.failures);
        metrics.missed_evaluations.add(tick.missed);
        metrics.panics.add(tick.panics);
        metrics.intents_created.add(tick.intents.len() as u64);
        metrics.oldest_intent_seconds.set(oldest_ms.map_or(0.0, |at| (now_ms - at).max(0) as f64 / 1000.0));
        self.pending.extend(tick.intents);
        if !tick.sent.is_empty() {
            self.outlet.send(&tick.sent);
        }
        if let Err(reason) = self.writer.write(tick.samples) {
            tracing::warn!(reason, "samples of rules are not taken by the store");
        }
        tick.next_deadline_ms
    }

    /// Saves the state if it changed. `Err` holds what people should know.
    fn save(&mut self, now_ms: i64) -> Result<(), String> {
        if !self.unsaved {
            return Ok(());
        }
        let state = self.alerting.lock().snapshot();
        match self.log.save(&state) {
            Ok(()) => {
                self.metrics.saves.inc();
                self.unsaved = false;
                self.saved_at_ms = now_ms;
                Ok(())
            }
            Err(error) => {
                self.metrics.save_failures.inc();
                let cause = std::error::Error::source(&error).map(|c| format!(": {c}")).unwrap_or_default();
                Err(format!("{error}{cause}"))
            }
        }
    }

    fn hand_on(&mut self) {
        while let Some(intent) = self.pending.front() {
            if !self.outlet.offer(intent) {
                break;
            }
            self.pending.pop_front();
        }
    }

    fn report(&mut self, save_error: Option<String>) {
        let outstanding = self.alerting.lock().outstanding();
        self.metrics.intents_outstanding.set(outstanding as f64);
        let part = match save_error {
            Some(error) => Part::new(
                Health::Failed,
                format!("the state of alerts cannot be saved, so notifications are held back: {error}"),
                "free space on the disk, or make the data folder writable",
            ),
            None if self.writer.is_behind() => Part::new(
                Health::Degraded,
                "the store does not take the samples of rules; they are kept and tried again",
                "see the status of ingest",
            ),
            None => Part::ok(),
        };
        let part = part
            .fact("notifications outstanding", outstanding)
            .fact("evaluations failed", self.metrics.evaluation_failures.get());
        if self.last_part.as_ref() != Some(&part) {
            self.status.post("ruler", part.clone());
            self.last_part = Some(part);
        }
    }
}
