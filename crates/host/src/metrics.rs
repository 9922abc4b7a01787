//! The crate's own metrics.

use std::time::Duration;

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

const PASSES: Family = Family::counter(
    "vedette_host_passes_total",
    "Passes over the files of the machine or of its containers.",
);
const PASS_SECONDS: Family =
    Family::counter("vedette_host_pass_duration_seconds_total", "Time that the passes took.");
const ERRORS: Family =
    Family::counter("vedette_host_read_errors_total", "Readings that failed, absent files not counted.");
const SERIES: Family =
    Family::gauge("vedette_host_series", "Series that the reader has defined and not retired.");
const CONTAINERS: Family = Family::gauge("vedette_host_containers", "Containers that are read.");
const GROUPS: Family =
    Family::gauge("vedette_host_groups", "Control groups around containers that have rows of their own.");
const GROUPS_LEFT_OUT: Family = Family::gauge(
    "vedette_host_groups_left_out",
    "Control groups around containers that have no rows, as there are too many.",
);
const RUNTIME_UP: Family = Family::gauge("vedette_host_runtimes", "Container runtimes that answer.");
const RUNTIME_ERRORS: Family = Family::counter(
    "vedette_host_runtime_errors_total",
    "Questions that a container runtime did not answer, a socket that is not there not counted.",
);

/// Counts of one reader.
#[derive(Debug)]
pub(crate) struct ReaderMetrics {
    reader: &'static str,
    passes: Counter,
    pass_ns: Counter,
    pub(crate) errors: Counter,
    series: Gauge,
}

impl ReaderMetrics {
    pub(crate) fn new(reader: &'static str) -> Self {
        Self {
            reader,
            passes: Counter::default(),
            pass_ns: Counter::default(),
            errors: Counter::default(),
            series: Gauge::default(),
        }
    }

    pub(crate) fn pass_done(&self, took: Duration, series: usize) {
        self.passes.inc();
        self.pass_ns.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.series.set(crate::parse::value(series as u64));
    }
}

impl MetricSource for ReaderMetrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let labels = [("reader", self.reader)];
        visitor.value(&PASSES, &labels, crate::parse::value(self.passes.get()));
        visitor.value(&PASS_SECONDS, &labels, crate::parse::nanos(self.pass_ns.get()));
        visitor.value(&ERRORS, &labels, crate::parse::value(self.errors.get()));
        visitor.value(&SERIES, &labels, self.series.get());
    }
}

/// Counts of the discovery of containers.
#[derive(Debug, Default)]
pub(crate) struct DiscoveryMetrics {
    pub(crate) containers: Gauge,
    pub(crate) runtimes: Gauge,
    pub(crate) runtime_errors: Counter,
}

impl MetricSource for DiscoveryMetrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        visitor.value(&CONTAINERS, &[], self.containers.get());
        visitor.value(&RUNTIME_UP, &[], self.runtimes.get());
        visitor.value(&RUNTIME_ERRORS, &[], crate::parse::value(self.runtime_errors.get()));
    }
}

/// Counts of the control groups around containers.
#[derive(Debug, Default)]
pub(crate) struct GroupMetrics {
    pub(crate) groups: Gauge,
    pub(crate) left_out: Gauge,
}

impl MetricSource for GroupMetrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        visitor.value(&GROUPS, &[], self.groups.get());
        visitor.value(&GROUPS_LEFT_OUT, &[], self.left_out.get());
    }
}
