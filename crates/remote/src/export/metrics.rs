//! Metrics of exports.

use std::sync::Arc;

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

use crate::spool::{Losses, Spool};

const SAMPLES: Family =
    Family::counter("vedette_export_samples_total", "Samples that the sink of an export took.");
const RETRIED: Family = Family::counter(
    "vedette_export_samples_retried_total",
    "Samples of deliveries that failed and were tried again.",
);
const DROPPED: Family = Family::counter(
    "vedette_export_samples_dropped_total",
    "Samples that were not exported or not taken, by reason.",
);
const DOCUMENTS: Family =
    Family::counter("vedette_export_documents_total", "Documents, lines or messages that the sink took.");
const BYTES: Family = Family::counter(
    "vedette_export_bytes_total",
    "Bytes of documents that the sink took, before compression.",
);
const DELIVERIES: Family =
    Family::counter("vedette_export_deliveries_total", "Batches that were handed to the sink, by outcome.");
const SECONDS: Family =
    Family::counter("vedette_export_delivery_seconds_total", "Seconds that deliveries took.");
const PENDING: Family = Family::gauge(
    "vedette_export_samples_pending",
    "Samples that the sink has not acknowledged, spooled ones included.",
);
const LAG: Family = Family::gauge(
    "vedette_export_lag_seconds",
    "For how long the oldest sample that the sink has not acknowledged has waited.",
);
const MEMORY: Family = Family::gauge(
    "vedette_export_memory_bytes",
    "Bytes of samples and documents that are held in memory on their way to the sink.",
);
const HIGHEST: Family = Family::gauge(
    "vedette_export_highest_sent_timestamp_seconds",
    "The latest timestamp of a sample that the sink took.",
);
const LOST: Family = Family::counter(
    "vedette_export_batches_lost_total",
    "Batches that were stored here and could not be spooled for exports.",
);
const SPOOL_BYTES: Family =
    Family::gauge("vedette_export_spool_size_bytes", "Bytes of the exports' spool on disk.");
const SPOOL_BYTES_MAX: Family = Family::gauge(
    "vedette_export_spool_size_bytes_max",
    "Bytes above which the exports' spool drops its oldest segment.",
);
const SPOOL_TAKEN: Family =
    Family::counter("vedette_export_spool_samples_in_total", "Samples written to the exports' spool.");

/// Metrics of one export.
#[derive(Debug, Default)]
pub struct ExportMetrics {
    /// Samples that the sink took.
    pub samples: Counter,
    /// Documents that it took.
    pub documents: Counter,
    /// Bytes of them.
    pub bytes: Counter,
    /// Samples of deliveries that failed and were tried again.
    pub retried: Counter,
    /// Samples that the sink refused for good.
    pub refused: Counter,
    /// Left out as another of the same interval was exported.
    pub thinned: Counter,
    /// Not a number or infinite, which no sink takes.
    pub not_finite: Counter,
    /// Native histograms and exemplars, which no sink takes.
    pub not_wanted: Counter,
    /// Without a definition, or not readable.
    pub unreadable: Counter,
    /// What the spool lost.
    pub losses: Arc<Losses>,
    /// Deliveries that were taken.
    pub taken: Counter,
    /// Deliveries that failed and were tried again.
    pub failed: Counter,
    /// Deliveries that were refused, whole or in part.
    pub rejected: Counter,
    /// Time that deliveries took.
    pub delivery_ns: Counter,
    /// Bytes in memory.
    pub memory: Gauge,
    /// The latest time of a sample that the sink took, in seconds.
    pub highest: Gauge,
}

impl ExportMetrics {
    /// What the sink never gets although it should.
    pub fn lost(&self) -> u64 {
        let losses = &self.losses;
        self.refused.get()
            + self.unreadable.get()
            + losses.bytes.get()
            + losses.age.get()
            + losses.damaged.get()
    }
}

/// All exports and their spool.
pub struct AllExports {
    /// What waits.
    pub spool: Arc<Spool>,
    /// Batches that were stored and not spooled.
    pub lost: Counter,
    /// Name and kind with the metrics of each.
    pub exports: Vec<(String, &'static str, Arc<ExportMetrics>)>,
}

type Read = fn(&ExportMetrics) -> f64;

#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
impl MetricSource for AllExports {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        visitor.value(&LOST, &[], self.lost.get() as f64);
        visitor.value(&SPOOL_TAKEN, &[], self.spool.taken() as f64);
        visitor.value(&SPOOL_BYTES, &[], self.spool.bytes() as f64);
        visitor.value(&SPOOL_BYTES_MAX, &[], self.spool.bytes_max() as f64);
        let plain: [(&Family, Read); 7] = [
            (&SAMPLES, |m| m.samples.get() as f64),
            (&DOCUMENTS, |m| m.documents.get() as f64),
            (&BYTES, |m| m.bytes.get() as f64),
            (&RETRIED, |m| m.retried.get() as f64),
            (&SECONDS, |m| m.delivery_ns.get() as f64 / 1e9),
            (&MEMORY, |m| m.memory.get()),
            (&HIGHEST, |m| m.highest.get()),
        ];
        for (family, read) in plain {
            for (name, kind, metrics) in &self.exports {
                visitor.value(family, &[("export", name), ("kind", kind)], read(metrics));
            }
        }
        let dropped: [(&str, Read); 8] = [
            ("thinned", |m| m.thinned.get() as f64),
            ("not_finite", |m| m.not_finite.get() as f64),
            ("not_wanted", |m| m.not_wanted.get() as f64),
            ("unreadable", |m| m.unreadable.get() as f64),
            ("refused", |m| m.refused.get() as f64),
            ("spool_bytes", |m| m.losses.bytes.get() as f64),
            ("spool_age", |m| m.losses.age.get() as f64),
            ("spool_damaged", |m| m.losses.damaged.get() as f64),
        ];
        for (name, kind, metrics) in &self.exports {
            for (reason, read) in dropped {
                let labels = [("export", name.as_str()), ("kind", kind), ("reason", reason)];
                visitor.value(&DROPPED, &labels, read(metrics));
            }
        }
        let outcomes: [(&str, Read); 3] = [
            ("taken", |m| m.taken.get() as f64),
            ("failed", |m| m.failed.get() as f64),
            ("refused", |m| m.rejected.get() as f64),
        ];
        for (name, kind, metrics) in &self.exports {
            for (outcome, read) in outcomes {
                let labels = [("export", name.as_str()), ("kind", kind), ("outcome", outcome)];
                visitor.value(&DELIVERIES, &labels, read(metrics));
            }
        }
        let waiting: Vec<_> = self.exports.iter().map(|(name, ..)| self.spool.waiting(name)).collect();
        for ((name, kind, _), (points, _)) in self.exports.iter().zip(&waiting) {
            visitor.value(&PENDING, &[("export", name), ("kind", kind)], *points as f64);
        }
        for ((name, kind, _), (_, waited)) in self.exports.iter().zip(&waiting) {
            visitor.value(&LAG, &[("export", name), ("kind", kind)], waited.as_secs_f64());
        }
    }
}
