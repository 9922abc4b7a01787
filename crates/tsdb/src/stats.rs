//! What the store says of itself, for the status page.

use std::sync::{Arc, atomic::Ordering};

use vedette_model::status::{Health, Part};

use crate::{RefusedMetric, SeriesLimit, Store};

/// Refused metrics that are named.
const REFUSED_MOST: usize = 10;

/// Figures of a store at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series that take samples.
    pub head_series: u64,
    /// Memory of these, with their index and samples not sealed yet.
    pub head_bytes: u64,
    /// Memory of the indexes of segments that are in use.
    pub index_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Size of the segments.
    pub segment_bytes: u64,
    /// Samples in segments.
    pub segment_samples: u64,
    /// Files of rollups.
    pub rollups: u64,
    /// Their size.
    pub rollup_bytes: u64,
    /// Size of the write-ahead log.
    pub wal_bytes: u64,
    /// Time of the oldest sample in a segment, or in the head.
    pub first_ms: Option<i64>,
    /// Time of the newest sample.
    pub last_ms: Option<i64>,
    /// Everything before this is sealed.
    pub sealed_until_ms: Option<i64>,
    /// Samples stored since the start.
    pub samples_appended: u64,
    /// Samples refused since the start.
    pub samples_rejected: u64,
    /// New series refused since the start.
    pub series_refused: u64,
    /// The metrics of which new series were refused most often.
    pub refused_most: Vec<RefusedMetric>,
    /// Whether samples cannot be stored now.
    pub append_fails: bool,
    /// What is wrong now, and what was found damaged at the start.
    pub problems: Vec<String>,
}

impl Store {
    /// Figures of now. Walks over all series, so it is not for every second.
    pub fn stats(&self) -> Stats {
        let segments = Arc::clone(&self.segments.read());
        let first_in_head = self.head_first_ms.load(Ordering::Acquire);
        let last_in_head = self.head_last_ms.load(Ordering::Acquire);
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        let ranges = || segments.iter().filter_map(|s| s.footer.samples_range());
        let (starts, ends) = (ranges().map(|r| r.start_ms), ranges().map(|r| r.end_ms));
        let mut problems: Vec<String> = self.problems.lock().values().cloned().collect();
        if sealed_until > self.clock.unix_ms().saturating_add(self.config.future_ms_max) {
            problems.push(
                "samples of now are refused, as later ones are sealed: the clock of this machine was ahead \
                 before; check it, then move the store's folder away or wait"
                    .to_owned(),
            );
        }
        let m = &self.metrics;
        Stats {
            head_series: self.head.len() as u64,
            head_bytes: self.head_bytes() as u64,
            index_bytes: segments.iter().map(|s| s.heap_bytes() as u64).sum(),
            segments: segments.len() as u64,
            segment_bytes: segments.iter().map(|s| s.bytes).sum(),
            segment_samples: segments.iter().map(|s| s.footer.samples).sum(),
            rollups: self.rollups.read().len() as u64,
            rollup_bytes: self.rollup_bytes(),
            wal_bytes: self.wal_bytes(),
            first_ms: starts.chain((first_in_head < i64::MAX).then_some(first_in_head)).min(),
            last_ms: ends.chain((last_in_head > i64::MIN).then_some(last_in_head)).max(),
            sealed_until_ms: (sealed_until > i64::MIN).then_some(sealed_until),
            samples_appended: m.samples_appended.get(),
            samples_rejected: m.rejected_out_of_order.get()
                + m.rejected_conflicting.get()
                + m.rejected_too_old.get()
                + m.rejected_future.get()
                + m.rejected_unknown_series.get(),
            series_refused: SeriesLimit::ALL.iter().map(|l| m.series_refused(*l).get()).sum(),
            refused_most: self.refusals.worst(REFUSED_MOST),
            append_fails: self.problems.lock().contains_key("append"),
            problems,
        }
    }
}

impl Store {
    fn head_bytes(&self) -> usize {
        self.head.heap_bytes() + self.appenders.iter().map(|a| a.lock().wal.heap_bytes()).sum::<usize>()
    }
}

impl Stats {
    /// The figures as an account for the status board.
    pub fn to_part(&self) -> Part {
        let part = if self.append_fails {
            let remedy = "Make room on the disk, or check that it can be written; storing goes on by itself.";
            Part::new(Health::Failed, self.problems.join("; "), remedy)
        } else if !self.problems.is_empty() {
            let remedy = "Files named *.damaged hold what could not be read; `vedette tsdb repair` saves what still can be.";
            Part::new(Health::Degraded, self.problems.join("; "), remedy)
        } else if self.series_refused > 0 {
            let named: Vec<String> = self
                .refused_most
                .iter()
                .map(|r| format!("{} ({} times, limit on {})", r.name, r.refused, r.limit))
                .collect();
            let message = format!("{} new series were refused: {}", self.series_refused, named.join(", "));
            Part::new(Health::Degraded, message, "Drop series at their source, or raise the limit.")
        } else {
            Part::ok()
        };
        part.fact("series", self.head_series)
            .fact("memory", format!("{} KiB", (self.head_bytes + self.index_bytes) / 1024))
            .fact("segments", self.segments)
            .fact("segment size", format!("{} KiB", self.segment_bytes / 1024))
            .fact("samples in segments", self.segment_samples)
            .fact("rollups", format!("{} KiB", self.rollup_bytes / 1024))
            .fact("write-ahead log", format!("{} KiB", self.wal_bytes / 1024))
            .fact("samples stored", self.samples_appended)
            .fact("samples refused", self.samples_rejected)
    }
}
