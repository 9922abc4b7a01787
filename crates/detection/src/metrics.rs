//! Detection's own metrics.

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

const EVENTS: Family = Family::counter("vedette_detection_events_total", "Events that were judged.");
const FINDINGS: Family =
    Family::counter("vedette_detection_findings_total", "Findings raised, repeats of one not counted.");
const FIRING: Family = Family::gauge("vedette_detection_findings_firing", "Findings that are not over.");
const PROCESSES: Family =
    Family::gauge("vedette_detection_processes", "Processes that the process graph holds.");
const EVICTED: Family = Family::counter(
    "vedette_detection_evicted_total",
    "State given up because a limit was reached, by what it was: a shell built on it may be missed.",
);

/// Detection's own metrics.
#[derive(Debug, Default)]
pub struct DetectionMetrics {
    pub(crate) events: Counter,
    pub(crate) findings: Counter,
    pub(crate) firing: Gauge,
    pub(crate) processes: Gauge,
    pub(crate) evicted_processes: Counter,
    pub(crate) evicted_findings: Counter,
}

impl MetricSource for DetectionMetrics {
    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        visitor.value(&EVENTS, &[], self.events.get() as f64);
        visitor.value(&FINDINGS, &[], self.findings.get() as f64);
        visitor.value(&FIRING, &[], self.firing.get());
        visitor.value(&PROCESSES, &[], self.processes.get());
        visitor.value(&EVICTED, &[("what", "process")], self.evicted_processes.get() as f64);
        visitor.value(&EVICTED, &[("what", "finding")], self.evicted_findings.get() as f64);
    }
}
