//! Joins `ruler`, which decides who is told, with `response`, which tells them.

use std::sync::{Arc, OnceLock};

use vedette_alerting::{Intent, NotifiedAlert, Outcome, OutcomeSink, Outlet, Status};
use vedette_model::{Host, Labels};
use vedette_response::{Alertmanagers, OnwardAlert, OutboxError, Responder};
use vedette_wire::webhook::{Alert, Message};

/// Writes a notification into the outbox. From there on the outbox answers for it, so the ruler
/// is told that it is delivered.
pub struct Outbox {
    responder: Arc<Responder>,
    /// Set once the ruler runs.
    outcomes: OnceLock<Arc<dyn OutcomeSink>>,
    /// Set where there is a configuration that may name some.
    alertmanagers: OnceLock<Alertmanagers>,
    /// Tells the notifications of this machine from those of others.
    machine: u64,
}

impl Outbox {
    /// An outlet of this machine's notifications into this responder.
    pub fn new(responder: Arc<Responder>, host: &Host) -> Self {
        // The same after every start; a hash, as strangers are not told the machine's id.
        let machine = Labels::from_pairs([("host.id", &host.id), ("host.name", &host.name)]).stable_hash();
        Self { responder, outcomes: OnceLock::new(), alertmanagers: OnceLock::new(), machine }
    }

    /// Names who is told what became of notifications.
    pub fn tell(&self, outcomes: Arc<dyn OutcomeSink>) {
        let _ = self.outcomes.set(outcomes);
    }

    /// Names those to whom alerts are sent on as Prometheus sends them, beside the receivers.
    pub fn forward_to(&self, alertmanagers: Alertmanagers) {
        let _ = self.alertmanagers.set(alertmanagers);
    }
}

impl Outlet for Outbox {
    fn offer(&self, intent: &Intent) -> bool {
        let Some(outcomes) = self.outcomes.get() else { return false };
        let carried = vedette_response::Intent {
            id: id(self.machine, intent),
            receiver: intent.notification.receiver.clone(),
            body: message(intent, self.responder.message_bytes_max()).into(),
        };
        let outcome = match self.responder.accept(&[carried]) {
            Ok(()) => Outcome::Delivered,
            Err(OutboxError::Write(error)) => {
                tracing::error!(%error, "a notification could not be kept; it is offered again");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, "a notification was refused");
                Outcome::Rejected
            }
        };
        outcomes.report(intent.id, outcome);
        true
    }

    fn send(&self, alerts: &[NotifiedAlert]) {
        let Some(alertmanagers) = self.alertmanagers.get() else { return };
        let onward = alerts.iter().map(|alert| OnwardAlert {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at_ms: alert.starts_at_ms,
            ends_at_ms: alert.ends_at_ms.unwrap_or(alert.starts_at_ms),
            generator_url: alert.generator_url.clone(),
        });
        alertmanagers.send(&onward.collect::<Vec<_>>());
    }
}

/// Names a notification for ever: one that is handed over again after a restart has the id that
/// it had before, so that it is not delivered twice. The time tells it from one of the same number
/// that was made before the state of alerts was lost.
fn id(machine: u64, intent: &Intent) -> String {
    format!("{machine:016x}-{}-{}", intent.created_ms, intent.id)
}

/// The message, with as many alerts as find room in `bytes_max`; the number of the others is told.
fn message(intent: &Intent, bytes_max: usize) -> Vec<u8> {
    let mut count = intent.notification.alerts.len();
    loop {
        let body = message_of(intent, count);
        if body.len() <= bytes_max || count <= 1 {
            return body;
        }
        count /= 2;
    }
}

/// The message about the first `count` alerts.
fn message_of(intent: &Intent, count: usize) -> Vec<u8> {
    let notification = &intent.notification;
    let nanos = |ms: i64| ms.saturating_mul(1_000_000);
    let left_out = notification.alerts.len() - count;
    let alerts = notification.alerts[..count]
        .iter()
        .map(|a| {
            let ends = a.ends_at_ms.filter(|_| a.status == Status::Resolved).map(nanos);
            Alert::new(
                &a.labels,
                &a.annotations,
                nanos(a.starts_at_ms),
                ends,
                &a.generator_url,
                &a.fingerprint,
            )
        })
        .collect();
    Message::new(
        &notification.receiver,
        &notification.group_key,
        &notification.group_labels,
        &notification.external_url,
        alerts,
        notification.truncated_alerts + left_out as u64,
    )
    .to_json()
}

#[cfg(test)]
mod tests {
    use vedette_alerting::{Notification, NotifiedAlert};

    use super::*;

    fn intent(alerts: usize) -> Intent {
        let alert = |n: usize| NotifiedAlert {
            status: Status::Firing,
            labels: Labels::from_pairs([("alertname", "A"), ("n", &n.to_string())]),
            annotations: Labels::from_pairs([("description", "x".repeat(1000).as_str())]),
            starts_at_ms: 1_000,
            ends_at_ms: None,
            generator_url: String::new(),
            fingerprint: format!("{n:016x}"),
        };
        let notification = Notification {
            group_key: "{}:{}".into(),
            truncated_alerts: 3,
            status: Status::Firing,
            receiver: "hook".into(),
            group_labels: Labels::empty(),
            common_labels: Labels::empty(),
            common_annotations: Labels::empty(),
            external_url: String::new(),
            alerts: (0..alerts).map(alert).collect(),
        };
        Intent { id: 7, created_ms: 1_700_000_000_000, notification }
    }

    #[test]
    fn a_message_that_is_too_long_names_fewer_alerts() {
        let quarter = message_of(&intent(100), 25).len();
        for (bytes_max, named) in [(1 << 20, 100), (quarter, 25), (quarter - 1, 12), (1, 1)] {
            let body = message(&intent(100), bytes_max);
            let message: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(message["alerts"].as_array().expect("alerts").len(), named);
            assert_eq!(message["truncatedAlerts"], 3 + 100 - named, "{bytes_max}");
        }
        assert_eq!(id(0xab, &intent(1)), "00000000000000ab-1700000000000-7");
    }
}
