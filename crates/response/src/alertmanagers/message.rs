//! The body of a request to Alertmanager's API, version 2.

use vedette_wire::{
    json::{Object, push_array},
    number::rfc3339,
};

use super::OnwardAlert;

/// The alerts as a list.
pub fn body<'a>(alerts: impl IntoIterator<Item = &'a OnwardAlert>) -> Vec<u8> {
    let alerts: Vec<&OnwardAlert> = alerts.into_iter().collect();
    let mut out = Vec::with_capacity(256 * alerts.len());
    push_array(&mut out, &alerts, |out, alert| {
        let time = |ms: i64| rfc3339(ms.saturating_mul(1_000_000));
        let mut object = Object::begin(out);
        object
            .labels("annotations", &alert.annotations)
            .text("endsAt", &time(alert.ends_at_ms))
            .text("startsAt", &time(alert.starts_at_ms))
            .text("generatorURL", &alert.generator_url)
            .labels("labels", &alert.labels);
        object.end();
    });
    out
}
