//! Joins `ruler`, which decides who is told, with `response`, which tells them.

use std::sync::{Arc, OnceLock};

use vedette_alerting::{Intent, Outcome, OutcomeSink, Outlet, Status};
use vedette_response::{OutboxError, Responder};
use vedette_wire::webhook::{Alert, Message};

/// Writes a notification into the outbox. From there on the outbox answers for it, so the ruler
/// is told that it is delivered.
pub struct Outbox {
    responder: Arc<Responder>,
    /// Set once the ruler runs.
    outcomes: OnceLock<Arc<dyn OutcomeSink>>,
    /// Distinguishes the ids of one data folder from those of another.
    instance: String,
}

impl Outbox {
    /// An outlet into this responder.
    pub fn new(responder: Arc<Responder>, instance: String) -> Self {
        Self { responder, outcomes: OnceLock::new(), instance }
    }

    /// Names who is told what became of notifications.
    pub fn tell(&self, outcomes: Arc<dyn OutcomeSink>) {
        let _ = self.outcomes.set(outcomes);
    }
}

impl Outlet for Outbox {
    fn offer(&self, intent: &Intent) -> bool {
        let Some(outcomes) = self.outcomes.get() else { return false };
        let carried = vedette_response::Intent {
            id: format!("{}-{}", self.instance, intent.id),
            receiver: intent.notification.receiver.clone(),
            body: message(intent).into(),
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
}

fn message(intent: &Intent) -> Vec<u8> {
    let notification = &intent.notification;
    let nanos = |ms: i64| ms.saturating_mul(1_000_000);
    let alerts = notification
        .alerts
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
        notification.truncated_alerts,
    )
    .to_json()
}
