//! A rule group at work: its schedule, the state of its rules, and one pass over them.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{Labels, METRIC_NAME, MetricReader, stale_nan};

use crate::{
    config::Config,
    evaluate::{EvaluationError, Evaluator, Given, Vector},
    functions::{RuleFunctions, TemplateSample},
    life::{Alert, AlertState, Alerts, Candidate, Terms},
    overlay::Overlay,
    rule::{AlertRule, Group, Rule, RuleKind},
    template::Data,
    tick::RuleSample,
    view::{AlertingView, GroupView, Health, RuleView},
};

/// A group and what is known of it.
pub(crate) struct RunningGroup {
    pub(crate) group: Group,
    pub(crate) interval_ms: i64,
    /// Spreads groups over their interval; the same for a group after every start.
    offset_ms: i64,
    pub(crate) next_ms: Option<i64>,
    last_evaluation_ms: Option<i64>,
    evaluation_seconds: f64,
    pub(crate) rules: Vec<RunningRule>,
}

/// What is known of one rule.
#[derive(Default)]
pub(crate) struct RunningRule {
    pub(crate) alerts: Alerts,
    /// Series that the last good evaluation gave, for staleness markers.
    pub(crate) given: BTreeSet<Labels>,
    health: Health,
    last_error: String,
    last_evaluation_ms: Option<i64>,
    evaluation_seconds: f64,
}

/// What passes over groups add up to.
#[derive(Default)]
pub(crate) struct Pass {
    pub(crate) samples: Vec<RuleSample>,
    /// Alerts that fire or are just over, with the query of their rule.
    pub(crate) told: Vec<(Alert, String)>,
    /// Alerts of which Alertmanagers are to be told, with the query of their rule and until when they
    /// are to be believed if nothing more is said.
    pub(crate) sent: Vec<(Alert, String, i64)>,
    pub(crate) changed: bool,
    pub(crate) evaluations: u64,
    pub(crate) failures: u64,
    pub(crate) panics: u64,
    pub(crate) missed: u64,
}

/// What a pass needs from outside.
pub(crate) struct Surroundings<'a> {
    pub(crate) reader: &'a dyn MetricReader,
    pub(crate) evaluator: Evaluator<'a>,
    pub(crate) config: &'a Config,
    pub(crate) stopwatch_ns: &'a dyn Fn() -> u64,
}

impl RunningGroup {
    pub(crate) fn new(group: Group, config: &Config) -> Self {
        let interval_ms = group.interval_ms.unwrap_or(config.evaluation_interval_ms).max(1);
        let name = Labels::from_pairs([("file", group.file.as_str()), ("name", group.name.as_str())]);
        let offset_ms = i64::try_from(name.stable_hash() % interval_ms.unsigned_abs()).unwrap_or(0);
        let rules = group.rules.iter().map(|_| RunningRule::default()).collect();
        Self {
            group,
            interval_ms,
            offset_ms,
            next_ms: None,
            last_evaluation_ms: None,
            evaluation_seconds: 0.0,
            rules,
        }
    }

    /// Interval, and when it is evaluated next.
    pub(crate) fn schedule(&self) -> (i64, Option<i64>) {
        (self.interval_ms, self.next_ms)
    }

    /// Goes on in the schedule of before, if the interval is the same.
    pub(crate) fn keep_schedule(&mut self, (interval_ms, next_ms): (i64, Option<i64>)) {
        if interval_ms == self.interval_ms {
            self.next_ms = next_ms;
        }
    }

    /// When it is evaluated next, seen from `now_ms`.
    pub(crate) fn due_ms(&self, now_ms: i64) -> i64 {
        self.next_ms.unwrap_or_else(|| self.slot_ms(now_ms) + self.interval_ms)
    }

    /// The latest time of its schedule that is not after `now_ms`.
    fn slot_ms(&self, now_ms: i64) -> i64 {
        now_ms - (now_ms - self.offset_ms).rem_euclid(self.interval_ms)
    }

    /// Evaluates the group if it is due. Missed evaluations are counted, not made up for.
    pub(crate) fn run_if_due(&mut self, now_ms: i64, around: &Surroundings<'_>, pass: &mut Pass) {
        let due_ms = self.due_ms(now_ms);
        // A clock set back must not stop a group until the old time is reached again.
        let set_back = due_ms - now_ms > self.interval_ms;
        if due_ms > now_ms && !set_back {
            self.next_ms = Some(due_ms);
            return;
        }
        let slot_ms = self.slot_ms(now_ms);
        if !set_back {
            pass.missed += u64::try_from((slot_ms - due_ms) / self.interval_ms).unwrap_or(0);
        }
        self.next_ms = Some(slot_ms + self.interval_ms);
        let started_ns = (around.stopwatch_ns)();
        self.run(slot_ms, around, pass);
        self.evaluation_seconds = seconds_since(started_ns, around);
        self.last_evaluation_ms = Some(slot_ms);
    }

    fn run(&mut self, time_ms: i64, around: &Surroundings<'_>, pass: &mut Pass) {
        let mut overlay = Overlay::new(around.reader);
        for (rule, state) in self.group.rules.iter().zip(&mut self.rules) {
            let started_ns = (around.stopwatch_ns)();
            pass.evaluations += 1;
            let result = state.evaluate(&self.group, rule, time_ms, &overlay, around, pass);
            state.last_evaluation_ms = Some(time_ms);
            state.evaluation_seconds = seconds_since(started_ns, around);
            match result {
                Ok(series) => {
                    state.health = Health::Ok;
                    state.last_error.clear();
                    state.write(series, time_ms - self.group.query_offset_ms, &mut overlay, pass);
                }
                Err(error) => {
                    state.health = Health::Err;
                    state.last_error = error.message;
                    pass.failures += 1;
                    pass.panics += u64::from(error.panicked);
                }
            }
        }
    }

    pub(crate) fn view(&self) -> GroupView {
        GroupView {
            name: self.group.name.clone(),
            file: self.group.file.clone(),
            interval_ms: self.interval_ms,
            limit: self.group.limit,
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_seconds: self.evaluation_seconds,
            rules: self.group.rules.iter().zip(&self.rules).map(|(rule, state)| state.view(rule)).collect(),
        }
    }
}

fn seconds_since(started_ns: u64, around: &Surroundings<'_>) -> f64 {
    (around.stopwatch_ns)().saturating_sub(started_ns) as f64 / 1e9
}

impl RunningRule {
    /// Series to write at the time of this evaluation.
    fn evaluate(
        &mut self,
        group: &Group,
        rule: &Rule,
        time_ms: i64,
        reader: &dyn MetricReader,
        around: &Surroundings<'_>,
        pass: &mut Pass,
    ) -> Result<BTreeMap<Labels, Given>, EvaluationError> {
        let answer = around.evaluator.ask(reader, &rule.expr, time_ms - group.query_offset_ms)?;
        match &rule.kind {
            RuleKind::Record => record(group, rule, answer),
            RuleKind::Alert(alert) => self.alert(group, rule, alert, answer, time_ms, reader, around, pass),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of one evaluation, split off for its length")]
    fn alert(
        &mut self,
        group: &Group,
        rule: &Rule,
        alert: &AlertRule,
        answer: Vector,
        time_ms: i64,
        reader: &dyn MetricReader,
        around: &Surroundings<'_>,
        pass: &mut Pass,
    ) -> Result<BTreeMap<Labels, Given>, EvaluationError> {
        let config = around.config;
        let query = |text: &str| template_query(text, time_ms - group.query_offset_ms, reader, around);
        let functions = RuleFunctions { query: &query, now_ms: time_ms, external_url: &config.external_url };
        let mut candidates: BTreeMap<Labels, Candidate> = BTreeMap::new();
        for (labels, given) in answer {
            let value = given.value;
            let data = Data {
                labels: &labels,
                value: given.to_template(),
                external_labels: &config.external_labels,
                external_url: &config.external_url,
            };
            let mut builder = labels.without_name().to_builder();
            for (name, text) in &rule.label_texts {
                builder.set(name, &text.render(&data, &functions));
            }
            builder.set("alertname", &rule.name);
            let annotations = alert.annotation_texts.iter().map(|(n, t)| (n, t.render(&data, &functions)));
            let candidate =
                Candidate { labels: builder.build(), annotations: Labels::from_pairs(annotations), value };
            if candidates.insert(candidate.labels.clone(), candidate).is_some() {
                let message = "vector contains metrics with the same labelset after applying alert labels";
                return Err(message.to_owned().into());
            }
        }
        let terms = Terms {
            for_ms: alert.for_ms,
            keep_firing_for_ms: alert.keep_firing_for_ms,
            resolved_retention_ms: config.resolved_retention_ms,
        };
        let told = &mut pass.told;
        let mut tell = |alert: &Alert| told.push((alert.clone(), rule.query.clone()));
        pass.changed |= self.alerts.advance(candidates.into_values().collect(), time_ms, terms, &mut tell);
        let active = self.alerts.active().count();
        if group.limit > 0 && active > group.limit {
            self.alerts.clear(time_ms, &mut tell);
            pass.changed = true;
            return Err(format!("exceeded limit of {} with {active} alerts", group.limit).into());
        }
        // Two that fail to arrive do not end an alert.
        let interval_ms = group.interval_ms.unwrap_or(config.evaluation_interval_ms);
        let until_ms = time_ms + 4 * interval_ms.max(config.resend_delay_ms);
        let mut give = |alert: &Alert| pass.sent.push((alert.clone(), rule.expr.to_string(), until_ms));
        self.alerts.send(time_ms, config.resend_delay_ms, &mut give);
        Ok(self
            .alerts
            .active()
            .flat_map(alert_series)
            .map(|(labels, value)| (labels, value.into()))
            .collect())
    }

    /// Adds samples for what is there and staleness markers for what is no longer.
    fn write(
        &mut self,
        series: BTreeMap<Labels, Given>,
        time_ms: i64,
        overlay: &mut Overlay<'_>,
        pass: &mut Pass,
    ) {
        let gone =
            self.given.iter().filter(|l| !series.contains_key(*l)).map(|l| (l.clone(), stale_nan().into()));
        let gone: Vec<(Labels, Given)> = gone.collect();
        self.given = series.keys().cloned().collect();
        for (labels, given) in series.into_iter().chain(gone) {
            overlay.put(&labels, time_ms, given.clone());
            let Given { value, histogram } = given;
            pass.samples.push(RuleSample { labels, time_ms, value, histogram });
        }
    }

    fn view(&self, rule: &Rule) -> RuleView {
        let alerting = match &rule.kind {
            RuleKind::Record => None,
            RuleKind::Alert(alert) => Some(AlertingView {
                for_ms: alert.for_ms,
                keep_firing_for_ms: alert.keep_firing_for_ms,
                annotations: alert.annotations.clone(),
                state: self.alerts.active().map(|a| a.state).max().unwrap_or(AlertState::Inactive),
                alerts: self.alerts.active().cloned().collect(),
            }),
        };
        RuleView {
            name: rule.name.clone(),
            query: rule.query.clone(),
            labels: rule.labels.clone(),
            health: self.health,
            last_error: self.last_error.clone(),
            last_evaluation_ms: self.last_evaluation_ms,
            evaluation_seconds: self.evaluation_seconds,
            alerting,
        }
    }
}

fn record(group: &Group, rule: &Rule, answer: Vector) -> Result<BTreeMap<Labels, Given>, EvaluationError> {
    let mut series = BTreeMap::new();
    for (labels, given) in answer {
        if let Some(Err(error)) = given.histogram.as_ref().map(|h| h.validate()) {
            return Err(format!("the histogram of {labels} cannot be stored: {error}").into());
        }
        let mut builder = labels.to_builder();
        builder.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            builder.set(name, value);
        }
        if series.insert(builder.build(), given).is_some() {
            let message = "vector contains metrics with the same labelset after applying rule labels";
            return Err(message.to_owned().into());
        }
    }
    if group.limit > 0 && series.len() > group.limit {
        return Err(format!("exceeded limit of {} with {} series", group.limit, series.len()).into());
    }
    Ok(series)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of one alert.
fn alert_series(alert: &Alert) -> [(Labels, f64); 2] {
    let named = |name: &str, state: &str| {
        let mut builder = alert.labels.to_builder();
        builder.set(METRIC_NAME, name).set("alertstate", state);
        builder.build()
    };
    let since_s = alert.active_at_ms.div_euclid(1000) as f64;
    [(named("ALERTS", alert.state.as_str()), 1.0), (named("ALERTS_FOR_STATE", ""), since_s)]
}

/// `query` in a template.
fn template_query(
    text: &str,
    time_ms: i64,
    reader: &dyn MetricReader,
    around: &Surroundings<'_>,
) -> Result<Vec<TemplateSample>, String> {
    let expr = vedette_promql::parse(text).map_err(|e| e.to_string())?;
    let answer = around.evaluator.ask(reader, &expr, time_ms).map_err(|e| e.message)?;
    Ok(answer.into_iter().map(|(labels, given)| TemplateSample { labels, value: given.value }).collect())
}
