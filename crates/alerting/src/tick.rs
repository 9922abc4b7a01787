//! The whole of judgement, moved on by [`Alerting::tick`].

use std::sync::Arc;

use vedette_model::{Finding, Labels, MetricReader, NativeHistogram};
use vedette_promql::Engine;

use crate::{
    config::{Config, ConfigError},
    dispatch::Dispatcher,
    evaluate::Evaluator,
    findings::Findings,
    functions::table_link,
    group::{Pass, RunningGroup, Surroundings},
    life::{Alert, AlertState},
    notification::{Intent, NotifiedAlert, Status, fingerprint},
    rule::Group,
    snapshot::{self, SnapshotError},
    view::View,
};

/// A clock for measuring how long evaluations take, in nanoseconds; nothing depends on it.
pub type Stopwatch = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The longest time between two ticks.
const TICK_MS_MAX: i64 = 60_000;

/// Rules, alerts, findings and messages.
pub struct Alerting {
    pub(crate) config: Config,
    pub(crate) groups: Vec<RunningGroup>,
    pub(crate) findings: Findings,
    pub(crate) dispatcher: Dispatcher,
    stopwatch: Stopwatch,
    /// Messages of the life before that must be handed out again.
    handed_out_again: Vec<Intent>,
    /// Markers at the end of series whose rules are gone.
    pub(crate) ended_series: Vec<RuleSample>,
    pub(crate) last_tick_ms: i64,
}

/// A sample to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSample {
    /// The series, metric name included.
    pub labels: Labels,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The value, or a staleness marker.
    pub value: f64,
    /// The native histogram, if the sample is one; then the value means nothing.
    pub histogram: Option<Arc<NativeHistogram>>,
}

/// What a tick gives.
#[derive(Debug, Clone, Default)]
pub struct Tick {
    /// Samples of recording rules and of alerts.
    pub samples: Vec<RuleSample>,
    /// Messages to deliver; each is also in the next snapshot until it is delivered.
    pub intents: Vec<Intent>,
    /// Alerts for Alertmanagers. Of those that fire the end says until when to believe it.
    pub sent: Vec<NotifiedAlert>,
    /// When to tick again, unless a finding or a delivery comes before.
    pub next_deadline_ms: i64,
    /// Whether there is something that a restart must not forget.
    pub changed: bool,
    /// Rules evaluated.
    pub evaluations: u64,
    /// Of these, how many failed.
    pub failures: u64,
    /// Of these, how many by a fault of the evaluator.
    pub panics: u64,
    /// Evaluations that were due and left out because the tick came late.
    pub missed: u64,
}

impl Alerting {
    /// Begins without any alert.
    pub fn new(config: Config, groups: Vec<Group>, stopwatch: Stopwatch) -> Result<Self, ConfigError> {
        config.validate()?;
        let groups = groups.into_iter().map(|g| RunningGroup::new(g, &config)).collect();
        Ok(Self {
            config,
            groups,
            findings: Findings::default(),
            dispatcher: Dispatcher::default(),
            stopwatch,
            handed_out_again: Vec::new(),
            ended_series: Vec::new(),
            last_tick_ms: 0,
        })
    }

    /// Takes up the state of the life before, at the time at which the new one begins. What
    /// belongs to rules that are no longer there is left out.
    pub fn restore(&mut self, snapshot: &[u8], now_ms: i64) -> Result<(), SnapshotError> {
        snapshot::restore(self, snapshot, now_ms)?;
        self.handed_out_again =
            self.dispatcher.outstanding.values().map(|(intent, _)| intent.clone()).collect();
        Ok(())
    }

    /// All that the next life must know, as bytes whose form is private to this crate.
    pub fn snapshot(&self) -> Vec<u8> {
        snapshot::write(self)
    }

    /// Evaluates the groups that are due, moves alerts and findings on and makes the messages
    /// that are due.
    pub fn tick(&mut self, now_ms: i64, reader: &dyn MetricReader, engine: &Engine) -> Tick {
        let mut pass = Pass { samples: std::mem::take(&mut self.ended_series), ..Pass::default() };
        let Self { config, groups, findings, dispatcher, stopwatch, .. } = self;
        let evaluator = Evaluator::new(engine, config, stopwatch);
        let around = Surroundings { reader, evaluator, config, stopwatch_ns: &**stopwatch };
        for group in groups.iter_mut() {
            group.run_if_due(now_ms, &around, &mut pass);
        }
        for (alert, query) in &pass.told {
            dispatcher.put(&notified(alert, query, config), now_ms, config);
        }
        pass.changed |= findings.advance(now_ms, config, &mut |alert| dispatcher.put(alert, now_ms, config));
        let sent = pass.sent.iter().map(|(alert, query, until_ms)| {
            let alert = notified(alert, query, config);
            NotifiedAlert { ends_at_ms: alert.ends_at_ms.or(Some(*until_ms)), ..alert }
        });
        let sent = sent.collect();
        let mut intents = std::mem::take(&mut self.handed_out_again);
        let new = self.dispatcher.flush(now_ms, &self.config);
        let changed = pass.changed || !new.is_empty();
        intents.extend(new);
        self.last_tick_ms = now_ms;
        Tick {
            samples: pass.samples,
            intents,
            sent,
            next_deadline_ms: self.deadline_ms(now_ms),
            changed,
            evaluations: pass.evaluations,
            failures: pass.failures,
            panics: pass.panics,
            missed: pass.missed,
        }
    }

    /// Takes a finding; the next tick tells of it and should come at once.
    pub fn observe_finding(&mut self, finding: &Finding) {
        self.findings.observe(finding, &self.config);
    }

    /// A message has arrived. `false` if it was not outstanding, as after a second delivery.
    pub fn delivered(&mut self, intent_id: u64) -> bool {
        self.dispatcher.delivered(intent_id)
    }

    /// A receiver refused a message for good. Its group is told of anew after `group_interval`.
    pub fn rejected(&mut self, intent_id: u64, now_ms: i64) -> bool {
        self.dispatcher.rejected(intent_id, now_ms, &self.config)
    }

    /// Groups, rules, alerts and findings as they stand.
    pub fn view(&self) -> View {
        let mut findings: Vec<Finding> = self.findings.known.values().map(|k| k.finding.clone()).collect();
        findings.sort_by_key(|f| std::cmp::Reverse(f.last_ns));
        View {
            groups: self.groups.iter().map(RunningGroup::view).collect(),
            findings,
            outstanding_intents: self.dispatcher.outstanding.len(),
        }
    }

    /// Whether any alert is pending or firing, so that time counts for what a restart must know.
    pub fn has_active_alerts(&self) -> bool {
        self.groups.iter().flat_map(|g| &g.rules).any(|r| r.alerts.active().next().is_some())
    }

    /// How many messages are not delivered yet.
    pub fn outstanding(&self) -> usize {
        self.dispatcher.outstanding.len()
    }

    /// When the oldest message that is not delivered was made.
    pub fn oldest_outstanding_ms(&self) -> Option<i64> {
        self.dispatcher.outstanding.values().map(|(intent, _)| intent.created_ms).min()
    }

    /// Findings that could not be kept because there were too many.
    pub fn findings_dropped(&self) -> u64 {
        self.findings.dropped
    }

    fn deadline_ms(&self, now_ms: i64) -> i64 {
        let groups = self.groups.iter().map(|g| g.due_ms(now_ms));
        let others = [self.dispatcher.deadline_ms(), self.findings.deadline_ms(&self.config)];
        let due = groups.chain(others.into_iter().flatten()).min();
        due.unwrap_or(i64::MAX).clamp(now_ms + 1, now_ms + TICK_MS_MAX)
    }
}

/// An alert as receivers are told of it.
fn notified(alert: &Alert, query: &str, config: &Config) -> NotifiedAlert {
    let over = alert.state == AlertState::Inactive;
    NotifiedAlert {
        status: if over { Status::Resolved } else { Status::Firing },
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at_ms: alert.fired_at_ms.unwrap_or(alert.active_at_ms),
        ends_at_ms: alert.resolved_at_ms.filter(|_| over),
        generator_url: table_link(&config.external_url, query),
        fingerprint: format!("{:016x}", fingerprint(&alert.labels)),
    }
}
