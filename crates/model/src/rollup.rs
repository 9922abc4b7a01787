//! Rollups: what is left of the samples of a series when only a row for each step is kept.
//!
//! A step ends at a multiple of its length and, like a range of PromQL, holds its end but not its
//! start: windows whose ends are ends of steps are made of whole rows.

use std::sync::Arc;

use crate::{NativeHistogram, ReadError, SeriesSet, TimeRange};

/// The samples of one series in one step. Staleness markers count for nothing but what is said of
/// them.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupRow {
    /// End of the step; the samples are later than the end of the step before.
    pub end_ms: i64,
    /// Number of floats. Where it is 0, all figures of floats are NaN or 0.
    pub count: u64,
    /// Their sum, compensated.
    pub sum: f64,
    /// The smallest; NaN only if all are.
    pub min: f64,
    /// The largest; NaN only if all are.
    pub max: f64,
    /// The first.
    pub first: f64,
    /// The last.
    pub last: f64,
    /// How often a float is lower than the one before, in this step.
    pub resets: u64,
    /// The sum of the floats before these resets: a counter grew by `last - first + correction`.
    pub correction: f64,
    /// How often a float differs from the one before, in this step.
    pub changes: u64,
    /// Time of the first float or histogram; the start of the step where there is none.
    pub first_ms: i64,
    /// Time of the last float or histogram; the start of the step where there is none.
    pub last_ms: i64,
    /// Number of staleness markers.
    pub stales: u64,
    /// Time of the last of them.
    pub last_stale_ms: Option<i64>,
    /// Since when the last sample counts (start timestamp), 0 where that is not known.
    pub start_ms: i64,
    /// The native histograms, if there are some.
    pub histograms: Option<Box<RollupHistograms>>,
}

/// The native histograms of one series in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct RollupHistograms {
    /// Their number.
    pub count: u64,
    /// How often a counter was reset between two of them, or may have been: their buckets differ,
    /// or they are gauges.
    pub resets: u64,
    /// The first.
    pub first: Arc<NativeHistogram>,
    /// The last.
    pub last: Arc<NativeHistogram>,
}

impl RollupRow {
    /// A row without samples.
    pub fn empty(end_ms: i64, step_ms: i64) -> Self {
        let start_ms = end_ms.wrapping_sub(step_ms);
        Self {
            end_ms,
            count: 0,
            sum: 0.0,
            min: f64::NAN,
            max: f64::NAN,
            first: f64::NAN,
            last: f64::NAN,
            resets: 0,
            correction: 0.0,
            changes: 0,
            first_ms: start_ms,
            last_ms: start_ms,
            stales: 0,
            last_stale_ms: None,
            start_ms: 0,
            histograms: None,
        }
    }

    /// Whether there is a float or a histogram.
    pub fn has_samples(&self) -> bool {
        self.count > 0 || self.histograms.is_some()
    }

    /// Takes up what follows in time: of the same step, or of the next ones, so that the row
    /// stands for a longer stretch. The sum is rounded once more, all else is exact.
    pub fn add(&mut self, later: &Self) {
        if later.has_samples() {
            self.first_ms = if self.has_samples() { self.first_ms } else { later.first_ms };
            (self.last_ms, self.start_ms) = (later.last_ms, later.start_ms);
        }
        if later.count > 0 {
            if self.count == 0 {
                (self.first, self.min, self.max) = (later.first, later.min, later.max);
            } else {
                let reset = later.first < self.last;
                self.resets += u64::from(reset);
                self.correction += if reset { self.last } else { 0.0 };
                self.changes += u64::from(value_changes(self.last, later.first));
                self.min = self.min.min(later.min);
                self.max = self.max.max(later.max);
            }
            self.count += later.count;
            self.sum += later.sum;
            self.resets += later.resets;
            self.correction += later.correction;
            self.changes += later.changes;
            self.last = later.last;
        }
        match (&mut self.histograms, &later.histograms) {
            (Some(mine), Some(theirs)) => {
                mine.resets += theirs.resets + u64::from(histogram_may_reset(&mine.last, &theirs.first));
                mine.count += theirs.count;
                mine.last = Arc::clone(&theirs.last);
            }
            (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
            (_, None) => {}
        }
        self.stales += later.stales;
        self.last_stale_ms = later.last_stale_ms.or(self.last_stale_ms);
        self.end_ms = later.end_ms;
    }
}

/// Whether PromQL's `changes` counts one from one value to the next.
pub fn value_changes(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

/// Whether a histogram may stand for a counter that was reset since the one before. Where this is
/// false, subtracting the one from the other gives what was counted in between.
pub fn histogram_may_reset(before: &NativeHistogram, after: &NativeHistogram) -> bool {
    use crate::{HistogramCounts as C, ResetHint};
    if matches!(after.reset_hint, ResetHint::Reset | ResetHint::Gauge)
        || before.reset_hint == ResetHint::Gauge
        || before.schema != after.schema
        || before.zero_threshold.to_bits() != after.zero_threshold.to_bits()
        || before.positive_spans != after.positive_spans
        || before.negative_spans != after.negative_spans
        || before.custom_bounds.len() != after.custom_bounds.len()
        || before.custom_bounds.iter().zip(&after.custom_bounds).any(|(a, b)| a.to_bits() != b.to_bits())
    {
        return true;
    }
    match (&before.counts, &after.counts) {
        (
            C::Integer { count: n, zero_count: z, positive: p, negative: q },
            C::Integer { count, zero_count, positive, negative },
        ) => count < n || zero_count < z || any_less(positive, p) || any_less(negative, q),
        (
            C::Float { count: n, zero_count: z, positive: p, negative: q },
            C::Float { count, zero_count, positive, negative },
        ) => !(count >= n && zero_count >= z) || any_less(positive, p) || any_less(negative, q),
        _ => true,
    }
}

fn any_less<T: PartialOrd>(after: &[T], before: &[T]) -> bool {
    after.len() != before.len()
        || after.iter().zip(before).any(|(a, b)| a.partial_cmp(b).is_none_or(|o| o.is_lt()))
}

/// The series of one selection, those of which only rollups are left among them.
pub trait RollupSet: SeriesSet {
    /// Length of a step in milliseconds.
    fn step_ms(&self) -> i64;

    /// Appends the rows of `series` for the steps that lie in `range` as a whole, in order, and to
    /// `raw` the stretches of `range` that they do not tell of, in order: these are read with
    /// [`SeriesSet::read`]. A step without a sample has no row.
    fn rollups(
        &self,
        series: usize,
        range: TimeRange,
        rows: &mut Vec<RollupRow>,
        raw: &mut Vec<TimeRange>,
    ) -> Result<(), ReadError>;
}
