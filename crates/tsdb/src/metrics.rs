//! The store's own metrics.

use vedette_model::{
    MetricKind,
    telemetry::{Counter, Family, Gauge, MetricSource, MetricVisitor},
};

use crate::SeriesLimit;

/// All metrics of a store.
#[derive(Debug, Default)]
#[expect(missing_docs, reason = "each field is explained by the help text of its family below")]
pub struct Metrics {
    pub samples_appended: Counter,
    pub rejected_out_of_order: Counter,
    pub rejected_conflicting: Counter,
    pub rejected_too_old: Counter,
    pub rejected_future: Counter,
    pub rejected_unknown_series: Counter,
    pub duplicates: Counter,
    pub exemplars_appended: Counter,
    pub exemplars_rejected: Counter,
    pub series_created: Counter,
    pub series_retired: Counter,
    pub series_refused: [Counter; SeriesLimit::ALL.len()],
    pub append_failures: Counter,
    pub sync_failures: Counter,
    pub seals: Counter,
    pub compactions: Counter,
    pub rollups: Counter,
    pub rollups_removed: Counter,
    pub rollups_missed: Counter,
    pub maintenance_failures: Counter,
    pub segments_removed: Counter,
    pub segments_damaged: Counter,
    pub deletions: Counter,
    pub head_series: Gauge,
    pub head_bytes: Gauge,
    pub segments: Gauge,
    pub wal_bytes: Gauge,
    pub storage_bytes: Gauge,
    pub rollup_bytes: Gauge,
}

const fn family(name: &'static str, kind: MetricKind, help: &'static str) -> Family {
    Family { name, kind, help }
}

const REJECTED: Family = family(
    "vedette_tsdb_samples_rejected_total",
    MetricKind::Counter,
    "Samples that were not stored, by reason.",
);

const REFUSED: Family = family(
    "vedette_tsdb_series_refused_total",
    MetricKind::Counter,
    "New series that were refused, by the limit that was reached.",
);

impl Metrics {
    /// New series refused because of a limit.
    pub fn series_refused(&self, limit: SeriesLimit) -> &Counter {
        &self.series_refused[limit as usize]
    }
}

impl MetricSource for Metrics {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        use MetricKind::{Counter as C, Gauge as G};
        let mut one = |name, kind, help, value: f64| visitor.value(&family(name, kind, help), &[], value);
        let count = |c: &Counter| c.get() as f64;
        one("vedette_tsdb_samples_appended_total", C, "Samples stored.", count(&self.samples_appended));
        one(
            "vedette_tsdb_duplicate_samples_total",
            C,
            "Samples that were there already with the same value.",
            count(&self.duplicates),
        );
        one("vedette_tsdb_exemplars_appended_total", C, "Exemplars stored.", count(&self.exemplars_appended));
        one(
            "vedette_tsdb_exemplars_rejected_total",
            C,
            "Exemplars that were not stored, duplicates not counted.",
            count(&self.exemplars_rejected),
        );
        one("vedette_tsdb_series_created_total", C, "Series begun.", count(&self.series_created));
        one(
            "vedette_tsdb_series_retired_total",
            C,
            "Series that left the head for want of samples.",
            count(&self.series_retired),
        );
        one(
            "vedette_tsdb_append_failures_total",
            C,
            "Appends that could not be written to the write-ahead log.",
            count(&self.append_failures),
        );
        one(
            "vedette_tsdb_sync_failures_total",
            C,
            "Failed attempts to make the write-ahead log survive a loss of power.",
            count(&self.sync_failures),
        );
        one("vedette_tsdb_seals_total", C, "Segments sealed from the head.", count(&self.seals));
        one("vedette_tsdb_compactions_total", C, "Segments merged from others.", count(&self.compactions));
        one("vedette_tsdb_rollups_total", C, "Files of rollups made.", count(&self.rollups));
        one(
            "vedette_tsdb_rollups_removed_total",
            C,
            "Files of rollups removed because of age or size.",
            count(&self.rollups_removed),
        );
        one(
            "vedette_tsdb_rollups_missed_total",
            C,
            "Windows whose samples were removed before rollups of them could be made.",
            count(&self.rollups_missed),
        );
        one(
            "vedette_tsdb_maintenance_failures_total",
            C,
            "Failed attempts to seal, compact or remove segments.",
            count(&self.maintenance_failures),
        );
        one(
            "vedette_tsdb_segments_removed_total",
            C,
            "Segments removed because of age or size.",
            count(&self.segments_removed),
        );
        one(
            "vedette_tsdb_segments_damaged_total",
            C,
            "Segments found damaged.",
            count(&self.segments_damaged),
        );
        one(
            "vedette_tsdb_deletions_total",
            C,
            "Requests by which series were deleted.",
            count(&self.deletions),
        );
        one("vedette_tsdb_head_series", G, "Series in the head.", self.head_series.get());
        one("vedette_tsdb_segments", G, "Segments.", self.segments.get());
        one("vedette_tsdb_wal_bytes", G, "Size of the write-ahead log.", self.wal_bytes.get());
        one("vedette_tsdb_storage_bytes", G, "Size of all segments.", self.storage_bytes.get());
        one("vedette_tsdb_rollup_bytes", G, "Size of all rollups.", self.rollup_bytes.get());
        one("vedette_tsdb_head_bytes", G, "Memory of the head.", self.head_bytes.get());
        for limit in SeriesLimit::ALL {
            visitor.value(&REFUSED, &[("limit", limit.as_str())], self.series_refused(limit).get() as f64);
        }
        for (reason, counter) in [
            ("out_of_order", &self.rejected_out_of_order),
            ("conflicting", &self.rejected_conflicting),
            ("too_old", &self.rejected_too_old),
            ("future", &self.rejected_future),
            ("unknown_series", &self.rejected_unknown_series),
        ] {
            visitor.value(&REJECTED, &[("reason", reason)], counter.get() as f64);
        }
    }
}
