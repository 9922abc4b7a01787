//! The store's own metrics and figures.

use vedette_model::{
    MetricKind,
    telemetry::{Counter, Family, MetricVisitor},
};

use crate::EventDb;

/// Counts since the start of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    pub appended: Counter,
    pub append_failures: Counter,
    pub sealed: Counter,
    pub seal_failures: Counter,
    pub removed: Counter,
    pub searches: Counter,
    pub rows_scanned: Counter,
    pub damaged: Counter,
    pub live_missed: Counter,
}

/// Figures for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Events in the store.
    pub events: u64,
    /// Those of them that wait to be sealed.
    pub events_in_memory: u64,
    /// Segment files.
    pub segments: u64,
    /// Size of the segment files.
    pub segment_bytes: u64,
    /// Size of the write-ahead log.
    pub wal_bytes: u64,
    /// Time of the oldest event in a segment, if there is one.
    pub oldest_ns: Option<i64>,
    /// Live readers.
    pub subscribers: u64,
    /// Why the last attempt to flush, seal or remove failed; `None` when it did not.
    pub failure: Option<String>,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Gauge, help }
}

const APPENDED: Family = counter("vedette_eventdb_appended_events_total", "Events written.");
const APPEND_FAILURES: Family =
    counter("vedette_eventdb_append_failures_total", "Calls to write events that failed.");
const SEALED: Family = counter("vedette_eventdb_sealed_segments_total", "Segments made.");
const SEAL_FAILURES: Family = counter(
    "vedette_eventdb_seal_failures_total",
    "Attempts to make or remove a segment, or to flush, that failed.",
);
const REMOVED: Family = counter(
    "vedette_eventdb_removed_segments_total",
    "Segments removed because of their age or the store's size.",
);
const SEARCHES: Family = counter("vedette_eventdb_searches_total", "Searches.");
const ROWS: Family = counter("vedette_eventdb_scanned_rows_total", "Rows looked at by searches.");
const DAMAGED: Family =
    counter("vedette_eventdb_damaged_parts_total", "Damaged files and parts of files found.");
const MISSED: Family =
    counter("vedette_eventdb_live_missed_events_total", "Events dropped because a live reader was too slow.");
const MEMORY: Family = gauge("vedette_eventdb_memory_events", "Events that wait to be sealed.");
const EVENTS: Family = gauge("vedette_eventdb_stored_events", "Events in the store.");
const SEGMENTS: Family = gauge("vedette_eventdb_segments", "Segment files.");
const SEGMENT_BYTES: Family = gauge("vedette_eventdb_segment_bytes", "Size of the segment files.");
const WAL_BYTES: Family = gauge("vedette_eventdb_wal_bytes", "Size of the write-ahead log.");
const SUBSCRIBERS: Family = gauge("vedette_eventdb_subscribers", "Live readers.");

#[expect(clippy::cast_precision_loss, reason = "counts of one store stay far below 2^53")]
pub(crate) fn visit(db: &EventDb, metrics: &Metrics, visitor: &mut dyn MetricVisitor) {
    let counters = [
        (&APPENDED, &metrics.appended),
        (&APPEND_FAILURES, &metrics.append_failures),
        (&SEALED, &metrics.sealed),
        (&SEAL_FAILURES, &metrics.seal_failures),
        (&REMOVED, &metrics.removed),
        (&SEARCHES, &metrics.searches),
        (&ROWS, &metrics.rows_scanned),
        (&DAMAGED, &metrics.damaged),
        (&MISSED, &metrics.live_missed),
    ];
    for (family, counter) in counters {
        visitor.value(family, &[], counter.get() as f64);
    }
    let stats = db.stats();
    let gauges = [
        (&MEMORY, stats.events_in_memory),
        (&EVENTS, stats.events),
        (&SEGMENTS, stats.segments),
        (&SEGMENT_BYTES, stats.segment_bytes),
        (&WAL_BYTES, stats.wal_bytes),
        (&SUBSCRIBERS, stats.subscribers),
    ];
    for (family, value) in gauges {
        visitor.value(family, &[], value as f64);
    }
}
