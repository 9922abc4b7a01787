//! The collector's own metrics.

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

const PASSES: Family = Family::counter("vedette_collector_passes_total", "Passes over a source of facts.");
const PASSES_SKIPPED: Family = Family::counter(
    "vedette_collector_passes_skipped_total",
    "Passes left out because the one before took longer than the interval.",
);
const PASS_SECONDS: Family =
    Family::gauge("vedette_collector_pass_duration_seconds", "How long the last pass took.");
const BATCHES_DROPPED: Family =
    Family::counter("vedette_collector_batches_dropped_total", "Batches given up, by kind and reason.");
const EVENTS_DROPPED: Family =
    Family::counter("vedette_collector_events_dropped_total", "Events in batches that were given up.");
const QUEUED: Family = Family::gauge("vedette_collector_queued_batches", "Batches that wait for the stores.");
const SENSOR_UP: Family =
    Family::gauge("vedette_sensor_up", "1 while the kernel sensor is attached, 0 while it is not.");
const PROCESSES: Family = Family::gauge("vedette_collector_processes", "Processes in the ancestry table.");

/// Counters of one sender.
#[derive(Debug, Default)]
pub struct SenderMetrics {
    /// Batches given up because the queue was full.
    pub dropped_full: Counter,
    /// Batches given up because the receiver called them wrong.
    pub dropped_invalid: Counter,
    /// Events in either.
    pub dropped_events: Counter,
    /// Batches that wait.
    pub queued: Gauge,
}

/// All of the collector's metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Passes over host and containers.
    pub passes: Counter,
    /// Passes left out.
    pub passes_skipped: Counter,
    /// Duration of the last.
    pub pass_seconds: Gauge,
    /// The sender of samples.
    pub samples: SenderMetrics,
    /// The sender of events.
    pub events: SenderMetrics,
    /// Whether the sensor is attached.
    pub sensor_up: Gauge,
    /// Processes known.
    pub processes: Gauge,
}

impl MetricSource for Metrics {
    fn visit(&self, v: &mut dyn MetricVisitor) {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let count = |c: &Counter| c.get() as f64;
        v.value(&PASSES, &[], count(&self.passes));
        v.value(&PASSES_SKIPPED, &[], count(&self.passes_skipped));
        v.value(&PASS_SECONDS, &[], self.pass_seconds.get());
        let senders = [("samples", &self.samples), ("events", &self.events)];
        for (kind, sender) in senders {
            v.value(
                &BATCHES_DROPPED,
                &[("kind", kind), ("reason", "queue_full")],
                count(&sender.dropped_full),
            );
            v.value(
                &BATCHES_DROPPED,
                &[("kind", kind), ("reason", "invalid")],
                count(&sender.dropped_invalid),
            );
        }
        v.value(&EVENTS_DROPPED, &[], count(&self.events.dropped_events));
        for (kind, sender) in senders {
            v.value(&QUEUED, &[("kind", kind)], sender.queued.get());
        }
        v.value(&SENSOR_UP, &[], self.sensor_up.get());
        v.value(&PROCESSES, &[], self.processes.get());
    }
}
