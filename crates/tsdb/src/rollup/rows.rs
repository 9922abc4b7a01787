//! Samples become rows.

use std::{ops::Range, sync::Arc};

use vedette_model::{
    RollupHistograms, RollupRow, SampleBuffer, histogram_may_reset, is_stale, value_changes,
};

/// End of the step in which a time lies.
pub fn end_of(time_ms: i64, step_ms: i64) -> i64 {
    let into = time_ms.rem_euclid(step_ms);
    if into == 0 { time_ms } else { time_ms.saturating_add(step_ms - into) }
}

/// Appends a row for each step in which there is a sample or a staleness marker.
pub fn roll(samples: &SampleBuffer, step_ms: i64, out: &mut Vec<RollupRow>) {
    let times = &samples.times_ms;
    let mut histogram = 0;
    let mut start = 0;
    while let Some(&time) = times.get(start) {
        let end_ms = end_of(time, step_ms);
        let count = times[start..].iter().take_while(|&&t| t <= end_ms).count();
        let range = start..start + count;
        let before = histogram;
        while samples.histograms.get(histogram).is_some_and(|(i, _)| (*i as usize) < range.end) {
            histogram += 1;
        }
        let mut row = RollupRow::empty(end_ms, step_ms);
        if histogram == before {
            roll_floats(samples, range.clone(), &mut row);
        } else {
            roll_mixed(samples, range.clone(), before..histogram, &mut row);
        }
        out.push(row);
        start = range.end;
    }
}

/// Samples of one step, all of which are floats or staleness markers.
fn roll_floats(samples: &SampleBuffer, range: Range<usize>, row: &mut RollupRow) {
    let mut lost = 0.0;
    for (i, &value) in range.clone().zip(&samples.values[range]) {
        if is_stale(value) {
            note_stale(row, samples.times_ms[i]);
        } else {
            note_time(row, samples, i);
            add_float(row, value, &mut lost);
        }
    }
    settle_sum(row, lost);
}

fn roll_mixed(samples: &SampleBuffer, range: Range<usize>, which: Range<usize>, row: &mut RollupRow) {
    let mut lost = 0.0;
    let mut histograms = samples.histograms[which].iter().peekable();
    for i in range {
        let histogram = histograms.next_if(|(index, _)| *index as usize == i);
        let value = samples.values[i];
        if is_stale(value) {
            note_stale(row, samples.times_ms[i]);
            continue;
        }
        note_time(row, samples, i);
        let Some((_, histogram)) = histogram else {
            add_float(row, value, &mut lost);
            continue;
        };
        match &mut row.histograms {
            Some(known) => {
                known.count += 1;
                known.resets += u64::from(histogram_may_reset(&known.last, histogram));
                known.last = Arc::clone(histogram);
            }
            none => {
                let (first, last) = (Arc::clone(histogram), Arc::clone(histogram));
                *none = Some(Box::new(RollupHistograms { count: 1, resets: 0, first, last }));
            }
        }
    }
    settle_sum(row, lost);
}

fn note_stale(row: &mut RollupRow, time_ms: i64) {
    row.stales += 1;
    row.last_stale_ms = Some(time_ms);
}

fn note_time(row: &mut RollupRow, samples: &SampleBuffer, i: usize) {
    if !row.has_samples() {
        row.first_ms = samples.times_ms[i];
    }
    row.last_ms = samples.times_ms[i];
    row.start_ms = samples.start_ms(i);
}

fn add_float(row: &mut RollupRow, value: f64, lost: &mut f64) {
    if row.count == 0 {
        (row.first, row.min, row.max) = (value, value, value);
    } else {
        if value < row.last {
            row.resets += 1;
            row.correction += row.last;
        }
        row.changes += u64::from(value_changes(row.last, value));
        // `f64::min` prefers a number to NaN, as min_over_time does.
        row.min = row.min.min(value);
        row.max = row.max.max(value);
    }
    row.count += 1;
    row.last = value;
    // Neumaier's compensation, as in the summaries of chunks.
    let sum = row.sum + value;
    *lost += if row.sum.abs() >= value.abs() { (row.sum - sum) + value } else { (value - sum) + row.sum };
    row.sum = sum;
}

fn settle_sum(row: &mut RollupRow, lost: f64) {
    if row.sum.is_finite() {
        row.sum += lost;
    }
}
