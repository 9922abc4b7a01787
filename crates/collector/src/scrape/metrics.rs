//! Own metrics of scraping.

use vedette_model::telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor};

const SCRAPES: Family = Family::counter("vedette_scrape_scrapes_total", "Scrapes by what came of them.");
const SKIPPED: Family = Family::counter(
    "vedette_scrape_skipped_total",
    "Scrapes left out because the one before was still under way, or because the machine slept.",
);
const LATE: Family = Family::counter(
    "vedette_scrape_late_starts_total",
    "Scrapes that began more than 50 milliseconds after their time.",
);
const SAMPLES: Family = Family::counter("vedette_scrape_samples_total", "Samples in answers of targets.");
const BYTES: Family =
    Family::counter("vedette_scrape_body_bytes_total", "Bytes of answers, their compression undone.");
const CONNECTIONS: Family =
    Family::counter("vedette_scrape_connections_total", "Plain connections to targets that were opened.");
const WAITING: Family = Family::gauge(
    "vedette_scrape_waiting_samples",
    "Samples that wait because the store does not take them.",
);
const DROPPED: Family = Family::counter(
    "vedette_scrape_dropped_samples_total",
    "Samples given up because the store did not take them for long.",
);
const LEFT_OUT: Family = Family::counter(
    "vedette_scrape_left_out_samples_total",
    "Samples of answers that were not stored, by reason.",
);
const REDEFINED: Family = Family::counter(
    "vedette_scrape_redefinitions_total",
    "How often all series had to be defined anew because the receiver had forgotten them.",
);
const TARGETS: Family = Family::gauge("vedette_scrape_targets", "Targets that are scraped.");
const SERIES: Family = Family::gauge("vedette_scrape_series", "Series of targets that are remembered.");

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    pub(crate) succeeded: Counter,
    pub(crate) failed: Counter,
    pub(crate) skipped: Counter,
    pub(crate) late: Counter,
    pub(crate) samples: Counter,
    pub(crate) bytes: Counter,
    pub(crate) connections: Counter,
    pub(crate) waiting_samples: Gauge,
    pub(crate) dropped_samples: Counter,
    pub(crate) repeated: Counter,
    pub(crate) future: Counter,
    pub(crate) inconsistent: Counter,
    pub(crate) redefinitions: Counter,
    pub(crate) targets: Gauge,
    pub(crate) series: Gauge,
}

impl MetricSource for Metrics {
    fn visit(&self, v: &mut dyn MetricVisitor) {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let count = |c: &Counter| c.get() as f64;
        v.value(&SCRAPES, &[("outcome", "ok")], count(&self.succeeded));
        v.value(&SCRAPES, &[("outcome", "failed")], count(&self.failed));
        v.value(&SKIPPED, &[], count(&self.skipped));
        v.value(&LATE, &[], count(&self.late));
        v.value(&SAMPLES, &[], count(&self.samples));
        v.value(&BYTES, &[], count(&self.bytes));
        v.value(&CONNECTIONS, &[], count(&self.connections));
        v.value(&WAITING, &[], self.waiting_samples.get());
        v.value(&DROPPED, &[], count(&self.dropped_samples));
        v.value(&LEFT_OUT, &[("reason", "repeated")], count(&self.repeated));
        v.value(&LEFT_OUT, &[("reason", "future")], count(&self.future));
        v.value(&LEFT_OUT, &[("reason", "inconsistent")], count(&self.inconsistent));
        v.value(&REDEFINED, &[], count(&self.redefinitions));
        v.value(&TARGETS, &[], self.targets.get());
        v.value(&SERIES, &[], self.series.get());
    }
}
