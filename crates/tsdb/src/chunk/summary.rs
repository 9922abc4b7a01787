//! Summaries of chunks, from which long windows are answered without decoding.

use vedette_model::{ChunkSummary, TimeRange, is_stale};

/// Summarizes samples of which there is at least one, in order of time.
pub fn summarize(times_ms: &[i64], values: &[f64]) -> ChunkSummary {
    let mut summary = ChunkSummary {
        range: TimeRange {
            start_ms: times_ms.first().copied().unwrap_or(0),
            end_ms: times_ms.last().copied().unwrap_or(0),
        },
        count: 0,
        sum: 0.0,
        min: f64::NAN,
        max: f64::NAN,
        first: f64::NAN,
        last: f64::NAN,
        resets: 0,
        special: false,
    };
    // Neumaier's compensation: the sum of a chunk is as exact as a sum of `f64` can be.
    let mut lost = 0.0;
    for &value in values {
        summary.special |= value.is_nan();
        if is_stale(value) {
            continue;
        }
        if summary.count == 0 {
            (summary.first, summary.min, summary.max) = (value, value, value);
        } else {
            summary.resets += u32::from(value < summary.last);
            // `f64::min` prefers a number to NaN, as min_over_time does.
            summary.min = summary.min.min(value);
            summary.max = summary.max.max(value);
        }
        summary.count += 1;
        summary.last = value;
        let sum = summary.sum + value;
        lost += if summary.sum.abs() >= value.abs() {
            (summary.sum - sum) + value
        } else {
            (value - sum) + summary.sum
        };
        summary.sum = sum;
    }
    if summary.sum.is_finite() {
        summary.sum += lost;
    }
    summary
}

/// Summarizes `count` samples of one value, the sum rounded once.
pub fn summarize_constant(range: TimeRange, count: usize, value: f64) -> ChunkSummary {
    let stale = is_stale(value);
    let told = if stale { f64::NAN } else { value };
    ChunkSummary {
        range,
        count: if stale { 0 } else { count as u64 },
        sum: if stale { 0.0 } else { value * count as f64 },
        min: told,
        max: told,
        first: told,
        last: told,
        resets: 0,
        special: value.is_nan(),
    }
}
