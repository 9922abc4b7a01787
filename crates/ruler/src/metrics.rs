//! The ruler's own metrics.

use vedette_model::{
    MetricKind,
    status::{Health, StatusBoard},
    telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor},
};

/// The ruler's own metrics.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "the help texts below say what each is")]
pub struct Metrics {
    pub ticks: Counter,
    pub tick_seconds: Gauge,
    pub evaluations: Counter,
    pub evaluation_failures: Counter,
    pub missed_evaluations: Counter,
    pub panics: Counter,
    pub samples_written: Counter,
    pub samples_dropped: Counter,
    pub intents_created: Counter,
    pub intents_delivered: Counter,
    pub intents_rejected: Counter,
    pub intents_outstanding: Gauge,
    pub oldest_intent_seconds: Gauge,
    pub saves: Counter,
    pub save_failures: Counter,
    pub state_bytes: Gauge,
    pub findings: Counter,
    pub findings_dropped: Counter,
    pub detection_events: Counter,
    pub detection_panics: Counter,
}

impl MetricSource for Metrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        for (name, help, counter) in [
            ("vedette_ruler_ticks_total", "Passes over the rules that are due.", &self.ticks),
            ("vedette_ruler_evaluations_total", "Rules evaluated.", &self.evaluations),
            (
                "vedette_ruler_evaluation_failures_total",
                "Rule evaluations that failed.",
                &self.evaluation_failures,
            ),
            (
                "vedette_ruler_missed_evaluations_total",
                "Group evaluations left out because those before took too long.",
                &self.missed_evaluations,
            ),
            ("vedette_ruler_panics_total", "Faults of the program caught while judging.", &self.panics),
            (
                "vedette_ruler_written_samples_total",
                "Samples of rules handed to the store.",
                &self.samples_written,
            ),
            (
                "vedette_ruler_dropped_samples_total",
                "Samples of rules that the store did not take.",
                &self.samples_dropped,
            ),
            (
                "vedette_ruler_created_intents_total",
                "Messages made, repeats after a restart included.",
                &self.intents_created,
            ),
            ("vedette_ruler_delivered_intents_total", "Messages that arrived.", &self.intents_delivered),
            (
                "vedette_ruler_rejected_intents_total",
                "Messages that a receiver refused for good.",
                &self.intents_rejected,
            ),
            ("vedette_ruler_saves_total", "Times the alert state was saved.", &self.saves),
            (
                "vedette_ruler_save_failures_total",
                "Times the alert state could not be saved.",
                &self.save_failures,
            ),
            ("vedette_ruler_findings_total", "Findings told to the ruler, repeats included.", &self.findings),
            (
                "vedette_ruler_findings_dropped_total",
                "Findings for which there was no room among the alerts, or in wait for the event store.",
                &self.findings_dropped,
            ),
            (
                "vedette_ruler_detection_events_total",
                "Events that passed the detectors.",
                &self.detection_events,
            ),
            (
                "vedette_ruler_detection_panics_total",
                "Faults of detectors that were caught.",
                &self.detection_panics,
            ),
        ] {
            let value = counter.get() as f64;
            visitor.value(&Family { name, kind: MetricKind::Counter, help }, &[], value);
        }
        for (name, help, gauge) in [
            ("vedette_ruler_tick_seconds", "How long the last pass took.", &self.tick_seconds),
            ("vedette_ruler_outstanding_intents", "Messages not delivered yet.", &self.intents_outstanding),
            (
                "vedette_ruler_oldest_intent_seconds",
                "Age of the oldest message not delivered yet, 0 without any.",
                &self.oldest_intent_seconds,
            ),
            ("vedette_ruler_state_bytes", "Size of the saved alert state.", &self.state_bytes),
        ] {
            visitor.value(&Family { name, kind: MetricKind::Gauge, help }, &[], gauge.get());
        }
    }
}

/// The states of all parts as a metric, so that rules can judge what the status page shows.
#[derive(Debug)]
pub struct PartHealth(pub StatusBoard);

const PART_HEALTH: Family = Family {
    name: "vedette_part_health",
    // A state set of OpenMetrics would have to name its label after the family.
    kind: MetricKind::Gauge,
    help: "Whether a part of Vedette is in a state of health; 1 for the one it is in.",
};

impl MetricSource for PartHealth {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        for (name, part) in self.0.all() {
            for health in [Health::Ok, Health::Off, Health::Degraded, Health::Failed] {
                let labels = [("part", name.as_str()), ("health", health.as_str())];
                visitor.value(&PART_HEALTH, &labels, f64::from(u8::from(part.health == health)));
            }
        }
    }
}
