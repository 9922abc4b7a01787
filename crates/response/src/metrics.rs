//! Metrics of deliveries.

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::{
    MetricKind,
    telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor},
};

const DELIVERED: Family = Family {
    name: "vedette_response_notifications_delivered_total",
    kind: MetricKind::Counter,
    help: "Notifications that the receiver took.",
};
const FAILED: Family = Family {
    name: "vedette_response_attempts_failed_total",
    kind: MetricKind::Counter,
    help: "Attempts to deliver that failed.",
};
const REFUSED: Family = Family {
    name: "vedette_response_attempts_refused_total",
    kind: MetricKind::Counter,
    help: "Attempts that the receiver refused as wrong (4xx other than 408 and 429).",
};
const LOST: Family = Family {
    name: "vedette_response_notifications_lost_total",
    kind: MetricKind::Counter,
    help: "Notifications that were dropped undelivered because too many waited.",
};
const PENDING: Family = Family {
    name: "vedette_response_notifications_pending",
    kind: MetricKind::Gauge,
    help: "Notifications that wait to be delivered.",
};
const UNKNOWN: Family = Family {
    name: "vedette_response_notifications_orphaned_total",
    kind: MetricKind::Counter,
    help: "Notifications found at the start whose receiver is configured no more; they were dropped.",
};
const BYTES: Family = Family {
    name: "vedette_response_outbox_bytes",
    kind: MetricKind::Gauge,
    help: "Size of the log in which notifications wait.",
};

/// Metrics of one receiver.
#[derive(Debug, Default)]
pub struct ReceiverMetrics {
    pub delivered: Counter,
    pub failed: Counter,
    pub refused: Counter,
    pub lost: Counter,
    pub pending: Gauge,
}

/// Metrics of all receivers.
#[derive(Debug, Default)]
pub struct Metrics {
    pub receivers: BTreeMap<String, Arc<ReceiverMetrics>>,
    pub orphaned: Counter,
    pub outbox_bytes: Gauge,
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for Metrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        type Read = fn(&ReceiverMetrics) -> f64;
        let families: [(&Family, Read); 5] = [
            (&DELIVERED, |m| m.delivered.get() as f64),
            (&FAILED, |m| m.failed.get() as f64),
            (&REFUSED, |m| m.refused.get() as f64),
            (&LOST, |m| m.lost.get() as f64),
            (&PENDING, |m| m.pending.get()),
        ];
        for (family, read) in families {
            for (name, metrics) in &self.receivers {
                visitor.value(family, &[("receiver", name)], read(metrics));
            }
        }
        visitor.value(&UNKNOWN, &[], self.orphaned.get() as f64);
        visitor.value(&BYTES, &[], self.outbox_bytes.get());
    }
}
