//! Own metrics of storing the state of clusters.

use std::sync::Arc;

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

use super::writer::{Ended, REASONS, Round};

const ROUNDS: Family = Family::counter(
    "vedette_state_metrics_rounds_total",
    "Readings of the state of a cluster for the store, by what came of them.",
);
const SKIPPED: Family = Family::counter(
    "vedette_state_metrics_skipped_rounds_total",
    "Readings of the state of a cluster that were left out because the one before took too long.",
);
const SECONDS: Family = Family::gauge(
    "vedette_state_metrics_round_seconds",
    "How long the last reading of the state of a cluster took, storing it included.",
);
const ROWS: Family =
    Family::gauge("vedette_state_metrics_rows", "Rows of the state of a cluster in its last reading.");
const SERIES: Family =
    Family::gauge("vedette_state_metrics_series", "Series of the state of a cluster that are remembered.");
const REFUSED: Family = Family::counter(
    "vedette_state_metrics_refused_rows_total",
    "Rows of the state of a cluster that were not handed to the store, by reason.",
);
const GONE: Family = Family::counter(
    "vedette_state_metrics_ended_series_total",
    "Series of the state of a cluster that ended because their object is gone or has changed.",
);

/// Those of one cluster.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) stored: Counter,
    pub(super) failed: Counter,
    elsewhere: Counter,
    pub(super) skipped: Counter,
    pub(super) seconds: Gauge,
    rows: Gauge,
    series: Gauge,
    gone: Counter,
    refused: [Counter; REASONS.len()],
}

impl Told {
    /// Takes what came of a round.
    pub(super) fn note(&self, round: &Round, seconds: f64) {
        match round.ended {
            Ended::Stored => self.stored.inc(),
            Ended::Failed => self.failed.inc(),
            Ended::Elsewhere => self.elsewhere.inc(),
            Ended::NotYet | Ended::Stopped => return,
        }
        self.seconds.set(seconds);
        self.rows.set(round.rows as f64);
        self.series.set(round.series as f64);
        self.gone.add(round.gone);
        for (counter, count) in self.refused.iter().zip(round.refused_by) {
            counter.add(count);
        }
    }

    /// Rows that were refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused.iter().map(Counter::get).sum()
    }
}

/// Those of all clusters.
#[derive(Debug)]
pub(super) struct Metrics(Vec<(Arc<str>, Told)>);

impl Metrics {
    pub(super) fn new(clusters: impl Iterator<Item = Arc<str>>) -> Self {
        Self(clusters.map(|name| (name, Told::default())).collect())
    }

    /// Those of a cluster by its place.
    pub(super) fn of(&self, at: usize) -> &Told {
        &self.0[at].1
    }
}

impl MetricSource for Metrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let count = |counter: &Counter| counter.get() as f64;
        for (name, told) in &self.0 {
            let outcomes = [("ok", &told.stored), ("failed", &told.failed), ("elsewhere", &told.elsewhere)];
            for (outcome, counter) in outcomes {
                visitor.value(&ROUNDS, &[("cluster", &**name), ("outcome", outcome)], count(counter));
            }
        }
        let mut each = |family: &Family, value: &dyn Fn(&Told) -> f64| {
            for (name, told) in &self.0 {
                visitor.value(family, &[("cluster", &**name)], value(told));
            }
        };
        each(&SKIPPED, &|told| count(&told.skipped));
        each(&SECONDS, &|told| told.seconds.get());
        each(&ROWS, &|told| told.rows.get());
        each(&SERIES, &|told| told.series.get());
        each(&GONE, &|told| count(&told.gone));
        for (name, told) in &self.0 {
            for (reason, refused) in REASONS.iter().zip(&told.refused) {
                visitor.value(&REFUSED, &[("cluster", &**name), ("reason", *reason)], count(refused));
            }
        }
    }
}
