//! The life of the alerts of one rule: pending, firing, resolved.
//!
//! Invariant: an alert is told by its labels, and two samples of one evaluation never give the
//! same labels.

use std::collections::BTreeMap;

use vedette_model::Labels;

/// Where an alert is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AlertState {
    /// Over; kept for a while.
    Inactive,
    /// There, but not yet for as long as the rule asks.
    Pending,
    /// There for long enough.
    Firing,
}

impl AlertState {
    /// The word in `alertstate` and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its labels, `alertname` included.
    pub labels: Labels,
    /// Its annotations as rendered at the last evaluation.
    pub annotations: Labels,
    /// State.
    pub state: AlertState,
    /// The value at the last evaluation that gave one.
    pub value: f64,
    /// When it became pending.
    pub active_at_ms: i64,
    /// When it began to fire.
    pub fired_at_ms: Option<i64>,
    /// When it was over.
    pub resolved_at_ms: Option<i64>,
    /// Since when it fires without its sample, for `keep_firing_for`.
    pub keep_firing_since_ms: Option<i64>,
    /// Until when it fires after a restart even without its sample.
    pub(crate) grace_until_ms: Option<i64>,
    /// When Alertmanagers were last told of it in this life.
    pub(crate) sent_at_ms: Option<i64>,
}

/// A sample that wants to be an alert.
pub(crate) struct Candidate {
    pub(crate) labels: Labels,
    pub(crate) annotations: Labels,
    pub(crate) value: f64,
}

/// The times that decide over an alert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) for_ms: i64,
    pub(crate) keep_firing_for_ms: i64,
    pub(crate) resolved_retention_ms: i64,
}

/// All alerts of one rule, by labels.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alerts(pub(crate) BTreeMap<Labels, Alert>);

impl Alerts {
    /// Moves every alert on by one evaluation. Tells those that began to fire, go on firing, or
    /// are just over to `tell`, and whether any alert's state changed.
    pub(crate) fn advance(
        &mut self,
        candidates: Vec<Candidate>,
        now_ms: i64,
        terms: Terms,
        tell: &mut dyn FnMut(&Alert),
    ) -> bool {
        let mut present: BTreeMap<Labels, ()> = BTreeMap::new();
        let mut changed = false;
        for candidate in candidates {
            present.insert(candidate.labels.clone(), ());
            match self.0.get_mut(&candidate.labels) {
                Some(alert) if alert.state != AlertState::Inactive => {
                    alert.value = candidate.value;
                    alert.annotations = candidate.annotations;
                    alert.keep_firing_since_ms = None;
                    alert.grace_until_ms = None;
                }
                _ => {
                    changed = true;
                    self.0.insert(candidate.labels.clone(), Alert::pending(candidate, now_ms));
                }
            }
        }
        self.0.retain(|labels, alert| {
            if !present.contains_key(labels) && !alert.stays_without_sample(now_ms, terms) {
                let forget = alert.state == AlertState::Pending
                    || alert.resolved_at_ms.is_some_and(|at| now_ms - at > terms.resolved_retention_ms);
                changed |= forget || alert.state != AlertState::Inactive;
                if forget {
                    return false;
                }
                if alert.state == AlertState::Firing {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at_ms = Some(now_ms);
                    tell(alert);
                }
                return true;
            }
            if alert.state == AlertState::Pending && now_ms - alert.active_at_ms >= terms.for_ms {
                alert.state = AlertState::Firing;
                alert.fired_at_ms = Some(now_ms);
                changed = true;
            }
            if alert.state == AlertState::Firing {
                tell(alert);
            }
            true
        });
        changed
    }

    /// Alerts that are not over.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Alert> {
        self.0.values().filter(|a| a.state != AlertState::Inactive)
    }

    /// Gives those of which Alertmanagers are to be told now, and counts them as told.
    pub(crate) fn send(&mut self, now_ms: i64, resend_delay_ms: i64, give: &mut dyn FnMut(&Alert)) {
        for alert in self.0.values_mut().filter(|a| a.is_due(now_ms, resend_delay_ms)) {
            alert.sent_at_ms = Some(now_ms);
            give(alert);
        }
    }

    /// Forgets all; those that fired are told as over.
    pub(crate) fn clear(&mut self, now_ms: i64, tell: &mut dyn FnMut(&Alert)) {
        for (_, mut alert) in std::mem::take(&mut self.0) {
            if alert.state == AlertState::Firing {
                alert.state = AlertState::Inactive;
                alert.resolved_at_ms = Some(now_ms);
                tell(&alert);
            }
        }
    }
}

impl Alert {
    fn pending(candidate: Candidate, now_ms: i64) -> Self {
        Self {
            labels: candidate.labels,
            annotations: candidate.annotations,
            state: AlertState::Pending,
            value: candidate.value,
            active_at_ms: now_ms,
            fired_at_ms: None,
            resolved_at_ms: None,
            keep_firing_since_ms: None,
            grace_until_ms: None,
            sent_at_ms: None,
        }
    }

    /// Whether Alertmanagers are to be told now: at once of what began or is over, and again after
    /// the delay of what goes on and of what is over, as long as it is remembered.
    fn is_due(&self, now_ms: i64, resend_delay_ms: i64) -> bool {
        if self.state == AlertState::Pending {
            return false;
        }
        match (self.sent_at_ms, self.resolved_at_ms) {
            (None, _) => true,
            (Some(sent_ms), Some(resolved_ms)) if resolved_ms > sent_ms => true,
            (Some(sent_ms), _) => sent_ms + resend_delay_ms < now_ms,
        }
    }

    /// Whether a firing alert goes on although its sample is gone.
    fn stays_without_sample(&mut self, now_ms: i64, terms: Terms) -> bool {
        if self.state != AlertState::Firing {
            return false;
        }
        if self.grace_until_ms.is_some_and(|until| now_ms < until) {
            return true;
        }
        if terms.keep_firing_for_ms == 0 {
            return false;
        }
        let since = *self.keep_firing_since_ms.get_or_insert(now_ms);
        now_ms - since < terms.keep_firing_for_ms
    }
}
