//! Own metrics of discovery. Kinds and jobs are those of the configuration.

use std::{collections::BTreeMap, sync::Weak};

use parking_lot::Mutex;
use vedette_model::telemetry::{Family, MetricSource, MetricVisitor};

use super::Inner;

const REFRESHES: Family =
    Family::counter("vedette_discovery_refreshes_total", "Answers of sources of targets, good or not.");
const FAILURES: Family =
    Family::counter("vedette_discovery_failures_total", "Times that a source of targets could not be asked.");
const FAILING: Family = Family::gauge(
    "vedette_discovery_source_failing",
    "Whether the source failed the last time; its last good targets are kept.",
);
const NOT_RUN: Family = Family::gauge(
    "vedette_discovery_not_run",
    "1 for each kind of discovery that a job asks for and that is not run; http_sd is the way.",
);
const TARGETS: Family =
    Family::gauge("vedette_discovery_targets", "Targets that discovery knows, before any rule of the job.");

/// Counts by kind.
#[derive(Default)]
pub(super) struct Metrics(Mutex<BTreeMap<&'static str, (u64, u64)>>);

impl Metrics {
    pub(super) fn count(&self, kind: &'static str, failed: bool) {
        let mut counts = self.0.lock();
        let (all, failures) = counts.entry(kind).or_default();
        *all += 1;
        *failures += u64::from(failed);
    }
}

/// Tells the figures as long as discovery is there.
pub(super) struct Figures(pub(super) Weak<Inner>);

impl MetricSource for Figures {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let Some(inner) = self.0.upgrade() else { return };
        let counts = inner.metrics.0.lock().clone();
        for (kind, (all, _)) in &counts {
            visitor.value(&REFRESHES, &[("kind", kind)], *all as f64);
        }
        for (kind, (_, failures)) in &counts {
            visitor.value(&FAILURES, &[("kind", kind)], *failures as f64);
        }
        // One value for each job and kind, however many sources of the kind the job has.
        let mut failing: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        let mut not_run: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        let mut targets: BTreeMap<&str, f64> = BTreeMap::new();
        let states = inner.states();
        for state in &states {
            for (set, _) in &state.users {
                *targets.entry(set).or_default() += state.targets as f64;
                if state.is_run {
                    *failing.entry((set, state.kind)).or_default() +=
                        f64::from(u8::from(state.error.is_some()));
                } else {
                    not_run.insert((set, state.kind), 1.0);
                }
            }
        }
        for (family, values) in [(&FAILING, failing), (&NOT_RUN, not_run)] {
            for ((job, kind), value) in values {
                visitor.value(family, &[("config", job), ("kind", kind)], value);
            }
        }
        for (job, value) in targets {
            visitor.value(&TARGETS, &[("config", job)], value);
        }
    }
}
