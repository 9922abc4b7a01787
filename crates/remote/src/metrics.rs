//! Metrics of remote write: the names that users of Prometheus know, with `vedette` before them.

use std::sync::Arc;

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

use crate::{
    receiver::Target,
    spool::{Losses, Spool},
};

pub const SPOOL_TAKEN: Family = Family::counter(
    "vedette_remote_spool_samples_in_total",
    "Samples, histograms and exemplars written to the spool of remote write.",
);
pub const SPOOL_REFUSED: Family = Family::counter(
    "vedette_remote_spool_batches_refused_total",
    "Batches that could not be written to the spool; their sender tries again.",
);
pub const SPOOL_BYTES: Family =
    Family::gauge("vedette_remote_spool_size_bytes", "Bytes of the spool on disk.");
pub const SPOOL_BYTES_MAX: Family = Family::gauge(
    "vedette_remote_spool_size_bytes_max",
    "Bytes above which the spool drops its oldest segment.",
);
pub const SPOOL_SEGMENTS: Family =
    Family::gauge("vedette_remote_spool_segments", "Segment files of the spool.");
pub const SPOOL_SERIES: Family =
    Family::gauge("vedette_remote_spool_series", "Series that senders have defined at the spool.");
pub const HIGHEST_TAKEN: Family = Family::gauge(
    "vedette_remote_storage_highest_timestamp_in_seconds",
    "The latest timestamp of a sample in the spool.",
);

const SAMPLES: Family =
    Family::counter("vedette_remote_storage_samples_total", "Samples that the receiver took.");
const HISTOGRAMS: Family =
    Family::counter("vedette_remote_storage_histograms_total", "Histograms that the receiver took.");
const EXEMPLARS: Family =
    Family::counter("vedette_remote_storage_exemplars_total", "Exemplars that the receiver took.");
const METADATA: Family = Family::counter(
    "vedette_remote_storage_metadata_total",
    "Families whose metadata the receiver took, in requests of their own.",
);
const RETRIED: Family = Family::counter(
    "vedette_remote_storage_samples_retried_total",
    "Samples, histograms and exemplars of requests that failed and were tried again.",
);
const FAILED: Family = Family::counter(
    "vedette_remote_storage_samples_failed_total",
    "Samples, histograms and exemplars that the receiver refused for good.",
);
const DROPPED: Family = Family::counter(
    "vedette_remote_storage_samples_dropped_total",
    "Samples, histograms and exemplars that were not sent or not taken, by reason.",
);
const REQUESTS: Family = Family::counter(
    "vedette_remote_storage_requests_total",
    "Requests that were answered or failed, by outcome.",
);
const BYTES: Family = Family::counter(
    "vedette_remote_storage_bytes_total",
    "Bytes of requests that the receiver took, compressed.",
);
const PENDING: Family = Family::gauge(
    "vedette_remote_storage_samples_pending",
    "Samples, histograms and exemplars that the receiver has not acknowledged, spooled ones included.",
);
const LAG: Family = Family::gauge(
    "vedette_remote_storage_lag_seconds",
    "For how long the oldest sample that the receiver has not acknowledged has waited.",
);
const SHARDS: Family =
    Family::gauge("vedette_remote_storage_shards", "Requests that may be under way at once.");
const SHARDS_MAX: Family =
    Family::gauge("vedette_remote_storage_shards_max", "The most requests that may be under way at once.");
const SHARDS_MIN: Family =
    Family::gauge("vedette_remote_storage_shards_min", "The fewest requests that may be under way at once.");
const HIGHEST_SENT: Family = Family::gauge(
    "vedette_remote_storage_queue_highest_sent_timestamp_seconds",
    "The latest timestamp of a sample that the receiver took.",
);
const SEND_SECONDS: Family = Family::counter(
    "vedette_remote_storage_send_seconds_total",
    "Seconds that requests took until they were answered.",
);
const PROTOCOL: Family = Family::gauge(
    "vedette_remote_storage_protocol_version",
    "The version of remote write that is spoken: 1 or 2.",
);

/// Metrics of one receiver.
#[derive(Debug, Default)]
pub struct ReceiverMetrics {
    /// Samples that the receiver took.
    pub samples: Counter,
    /// Histograms that it took.
    pub histograms: Counter,
    /// Exemplars that it took.
    pub exemplars: Counter,
    /// Families whose metadata it took.
    pub metadata: Counter,
    /// Points of requests that failed and were tried again.
    pub retried: Counter,
    /// Refused by the receiver for good.
    pub refused: Counter,
    /// Refused by the receiver as too many, and not to be tried again.
    pub rate_limited: Counter,
    /// Dropped by relabelling.
    pub relabelled: Counter,
    /// Histograms or exemplars that are not to be sent.
    pub not_wanted: Counter,
    /// Older than the receiver's limit.
    pub too_old: Counter,
    /// Without a definition, or not readable.
    pub unreadable: Counter,
    /// What the spool lost.
    pub losses: Arc<Losses>,
    /// Requests that it took.
    pub requests_taken: Counter,
    /// Requests that it refused for good.
    pub requests_refused: Counter,
    /// Requests that failed.
    pub requests_failed: Counter,
    /// Bytes of requests that it took.
    pub bytes: Counter,
    /// Requests that may be under way at once.
    pub shards: Gauge,
    /// The latest time of a sample that it took, seconds.
    pub highest_sent: Gauge,
    /// Nanoseconds that requests took.
    pub send_ns: Counter,
    /// Which version is spoken.
    pub protocol: Gauge,
}

impl ReceiverMetrics {
    /// What was lost against the will of whoever configured it.
    pub fn lost(&self) -> u64 {
        let all = [
            &self.refused,
            &self.rate_limited,
            &self.too_old,
            &self.unreadable,
            &self.losses.bytes,
            &self.losses.age,
            &self.losses.damaged,
        ];
        all.iter().map(|counter| counter.get()).sum()
    }
}

/// The metrics of all receivers that are configured now.
pub struct AllReceivers {
    pub spool: Arc<Spool>,
    pub receivers: parking_lot::Mutex<Vec<(Arc<Target>, Arc<ReceiverMetrics>)>>,
}

impl AllReceivers {
    pub fn set(&self, receivers: Vec<(Arc<Target>, Arc<ReceiverMetrics>)>) {
        *self.receivers.lock() = receivers;
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for AllReceivers {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        type Read = fn(&ReceiverMetrics) -> f64;
        let receivers = self.receivers.lock().clone();
        let plain: [(&Family, Read); 11] = [
            (&SAMPLES, |m| m.samples.get() as f64),
            (&HISTOGRAMS, |m| m.histograms.get() as f64),
            (&EXEMPLARS, |m| m.exemplars.get() as f64),
            (&METADATA, |m| m.metadata.get() as f64),
            (&RETRIED, |m| m.retried.get() as f64),
            (&FAILED, |m| (m.refused.get() + m.rate_limited.get()) as f64),
            (&BYTES, |m| m.bytes.get() as f64),
            (&SHARDS, |m| m.shards.get()),
            (&HIGHEST_SENT, |m| m.highest_sent.get()),
            (&SEND_SECONDS, |m| m.send_ns.get() as f64 / 1e9),
            (&PROTOCOL, |m| m.protocol.get()),
        ];
        for (family, read) in plain {
            for (target, metrics) in &receivers {
                visitor.value(family, &target.labels(), read(metrics));
            }
        }
        let dropped: [(&str, Read); 9] = [
            ("relabelled", |m| m.relabelled.get() as f64),
            ("not_wanted", |m| m.not_wanted.get() as f64),
            ("too_old", |m| m.too_old.get() as f64),
            ("unreadable", |m| m.unreadable.get() as f64),
            ("refused", |m| m.refused.get() as f64),
            ("rate_limited", |m| m.rate_limited.get() as f64),
            ("spool_bytes", |m| m.losses.bytes.get() as f64),
            ("spool_age", |m| m.losses.age.get() as f64),
            ("spool_damaged", |m| m.losses.damaged.get() as f64),
        ];
        for (target, metrics) in &receivers {
            for (reason, read) in dropped {
                let [name, url] = target.labels();
                visitor.value(&DROPPED, &[name, url, ("reason", reason)], read(metrics));
            }
        }
        let outcomes: [(&str, Read); 3] = [
            ("taken", |m| m.requests_taken.get() as f64),
            ("refused", |m| m.requests_refused.get() as f64),
            ("failed", |m| m.requests_failed.get() as f64),
        ];
        for (target, metrics) in &receivers {
            for (outcome, read) in outcomes {
                let [name, url] = target.labels();
                visitor.value(&REQUESTS, &[name, url, ("outcome", outcome)], read(metrics));
            }
        }
        let waiting: Vec<_> = receivers.iter().map(|(target, _)| self.spool.waiting(&target.key)).collect();
        for ((target, _), (points, _)) in receivers.iter().zip(&waiting) {
            visitor.value(&PENDING, &target.labels(), *points as f64);
        }
        for ((target, _), (_, waited)) in receivers.iter().zip(&waiting) {
            visitor.value(&LAG, &target.labels(), waited.as_secs_f64());
        }
        for (target, _) in &receivers {
            visitor.value(&SHARDS_MAX, &target.labels(), target.queue.max_shards as f64);
        }
        for (target, _) in &receivers {
            visitor.value(&SHARDS_MIN, &target.labels(), target.queue.min_shards as f64);
        }
    }
}
