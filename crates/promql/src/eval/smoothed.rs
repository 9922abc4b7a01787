//! `smoothed` instant selectors: values between samples are interpolated.

use std::sync::Arc;

use vedette_model::{ResetHint, SampleBuffer};

use super::{
    column::{HISTOGRAM, Histograms, References},
    notes::{Note, Notes, Operation},
    samples::{HistogramSample, Samples},
};
use crate::Histogram;

/// The samples of `times` in `(at - lookback, at + lookback]`, and the first of them from `at` on.
struct Around {
    low: usize,
    next: usize,
    high: usize,
}

/// Slides along growing times.
struct Slide<'t> {
    times: &'t [i64],
    lookback_ms: i64,
    around: Around,
}

impl<'t> Slide<'t> {
    fn new(times: &'t [i64], lookback_ms: i64) -> Self {
        Self { times, lookback_ms, around: Around { low: 0, next: 0, high: 0 } }
    }

    fn at(&mut self, at: i64) -> &Around {
        let Self { times, lookback_ms, around } = self;
        while times.get(around.low).is_some_and(|t| *t <= at - *lookback_ms) {
            around.low += 1;
        }
        while times.get(around.next).is_some_and(|t| *t < at) {
            around.next += 1;
        }
        while times.get(around.high).is_some_and(|t| *t <= at + *lookback_ms) {
            around.high += 1;
        }
        around.next = around.next.max(around.low);
        around
    }
}

/// The value at each time.
pub fn floats_at_times(
    samples: &SampleBuffer,
    references: &References,
    lookback_ms: i64,
    values: &mut [f64],
) {
    let mut slide = Slide::new(&samples.times_ms, lookback_ms);
    for (step, out) in values.iter_mut().enumerate() {
        let at = references.at(step);
        if let Some(value) = float_at(samples, at, slide.at(at)) {
            *out = value;
        }
    }
}

fn float_at(samples: &SampleBuffer, at: i64, around: &Around) -> Option<f64> {
    let sample = |i: usize| (samples.times_ms[i], samples.values[i]);
    let after = (around.next < around.high).then(|| sample(around.next));
    let before = (around.next > around.low).then(|| sample(around.next - 1));
    match (before, after) {
        (_, Some((time, value))) if time == at => Some(value),
        (Some((t0, v0)), Some((t1, v1))) => Some(v0 + (v1 - v0) * (at - t0) as f64 / (t1 - t0) as f64),
        (Some((_, value)), None) => Some(value),
        (None, _) => None,
    }
}

/// The same for a series that has histograms.
pub fn at_times(
    samples: &Samples,
    references: &References,
    lookback_ms: i64,
    notes: &Notes<'_>,
    values: &mut [f64],
    out: &mut Histograms,
) {
    let (floats, histograms) = samples.split();
    let times: Vec<i64> = histograms.iter().map(|h| h.time_ms).collect();
    let mut float_slide = Slide::new(&floats.times_ms, lookback_ms);
    let mut slide = Slide::new(&times, lookback_ms);
    for (step, value) in values.iter_mut().enumerate() {
        let at = references.at(step);
        let near_floats = float_slide.at(at);
        let near = slide.at(at);
        if near.low == near.high {
            if let Some(float) = float_at(&floats, at, near_floats) {
                *value = float;
            }
            continue;
        }
        if near_floats.low < near_floats.high {
            notes.tell(Note::MixedTypes(notes.name));
            continue;
        }
        let after = histograms[near.next..near.high].first();
        let before = histograms[near.low..near.next].last();
        let answer = match (before, after) {
            (_, Some(h)) if h.time_ms == at => Some(Arc::clone(&h.histogram)),
            (Some(before), Some(after)) => {
                let gauges = [before, after].iter().all(|h| h.histogram.hint == ResetHint::Gauge);
                between(before, after, at, !gauges, notes).map(Arc::new)
            }
            (Some(before), None) => {
                // What it says of the sample before it does not hold at this time.
                Some(Arc::new(before.histogram.with_hint(ResetHint::Unknown)))
            }
            (None, _) => None,
        };
        if let Some(histogram) = answer {
            *value = HISTOGRAM;
            out.push(step, histogram);
        }
    }
}

/// The histogram at a time between two samples. Where a counter began anew in between it is taken
/// to have grown from zero.
pub fn between(
    before: &HistogramSample,
    after: &HistogramSample,
    at: i64,
    counter: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if at == before.time_ms {
        return Some((*before.histogram).clone());
    }
    let mut answer = (*after.histogram).clone();
    if at == after.time_ms {
        return Some(answer);
    }
    if after.histogram.is_custom() != before.histogram.is_custom() {
        notes.tell(Note::MixedSchemas(notes.name));
        return None;
    }
    let fraction = (at - before.time_ms) as f64 / (after.time_ms - before.time_ms) as f64;
    if counter && after.histogram.is_reset_since(&before.histogram) {
        answer.multiply(fraction);
        return Some(answer);
    }
    let Ok(merged) = answer.subtract(&before.histogram) else {
        notes.tell(Note::MixedSchemas(notes.name));
        return None;
    };
    notes.reconciled(merged, Operation::Subtraction);
    answer.multiply(fraction);
    if let Ok(merged) = answer.add(&before.histogram) {
        notes.reconciled(merged, Operation::Addition);
    }
    Some(answer)
}
