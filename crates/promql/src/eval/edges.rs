//! `rate`, `increase` and `delta`: the growth between a window's ends, where samples seldom stand
//! exactly at the ends. Plainly it is extrapolated; `anchored` and `smoothed` look outside.

use vedette_model::SampleBuffer;

use super::{column::NONE, selector::Windows, window::Slide};
use crate::{ast::Edges, function::FunctionId};

/// Places of samples that are lower than the one before: there a counter started anew.
fn resets(values: &[f64]) -> Vec<usize> {
    (1..values.len()).filter(|i| values[*i] < values[*i - 1]).collect()
}

/// Computes the function for each evaluation.
pub fn extrapolated(function: FunctionId, samples: &SampleBuffer, windows: &Windows, out: &mut [f64]) {
    let counter = function != FunctionId::Delta;
    let range_seconds = windows.range_ms as f64 / 1000.0;
    let resets = if counter { resets(&samples.values) } else { Vec::new() };
    // Resets of the current window stand in `resets[reset_low..]` below its end.
    let mut reset_low = 0;
    let mut slide = Slide::new(windows, samples);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        while resets.get(reset_low).is_some_and(|r| *r < low) {
            reset_low += 1;
        }
        let growth = match windows.edges {
            Edges::Plain => plain(samples, windows, step, (low, high), counter, &resets[reset_low..]),
            Edges::Anchored => anchored(samples, windows, step, (low, high), counter),
            Edges::Smoothed => smoothed(samples, windows, step, (low, high), counter),
        };
        if let Some(growth) = growth {
            *out = if function == FunctionId::Rate { growth / range_seconds } else { growth };
        } else {
            *out = NONE;
        }
    }
}

/// The growth within the window, stretched to its ends unless they are farther away than 1.1
/// average distances between samples, and not below zero for a counter.
fn plain(
    samples: &SampleBuffer,
    windows: &Windows,
    step: usize,
    (low, high): (usize, usize),
    counter: bool,
    resets: &[usize],
) -> Option<f64> {
    if high < low + 2 {
        return None;
    }
    let (first_ms, last_ms) = (samples.times_ms[low], samples.times_ms[high - 1]);
    let (first, last) = (samples.values[low], samples.values[high - 1]);
    let mut growth = last - first;
    for reset in resets.iter().filter(|r| **r > low).take_while(|r| **r < high) {
        growth += samples.values[*reset - 1];
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let end_ms = windows.references.at(step);
    let mut to_start = seconds(first_ms - (end_ms - windows.range_ms));
    let mut to_end = seconds(end_ms - last_ms);
    let sampled = seconds(last_ms - first_ms);
    let average = sampled / (high - low - 1) as f64;
    let threshold = average * 1.1;
    if to_start >= threshold {
        to_start = average / 2.0;
    }
    if counter && growth > 0.0 && first >= 0.0 {
        // A counter was zero at some time; it is not stretched beyond that.
        to_start = to_start.min(sampled * (first / growth));
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    Some(growth * ((sampled + to_start + to_end) / sampled))
}

/// The last sample at or before an `anchored` window's start, if it lies within the look-back;
/// `low` is the window's first sample.
pub fn anchor(samples: &SampleBuffer, windows: &Windows, step: usize, low: usize) -> Option<usize> {
    if windows.edges != Edges::Anchored {
        return None;
    }
    let start = windows.references.at(step) - windows.range_ms;
    low.checked_sub(1).filter(|before| samples.times_ms[*before] > start - windows.lookback_ms)
}

/// The growth from the anchor, else the first sample, to the last.
fn anchored(
    samples: &SampleBuffer,
    windows: &Windows,
    step: usize,
    (low, high): (usize, usize),
    counter: bool,
) -> Option<f64> {
    if low >= high {
        return None;
    }
    let first = anchor(samples, windows, step, low).unwrap_or(low);
    Some(growth(samples.values[first..high].iter().copied(), counter))
}

/// The growth from the interpolated value at the window's start to that at its end.
fn smoothed(
    samples: &SampleBuffer,
    windows: &Windows,
    step: usize,
    (low, high): (usize, usize),
    counter: bool,
) -> Option<f64> {
    let end = windows.references.at(step);
    let start = end - windows.range_ms;
    let before = |place: usize, at: i64| {
        place.checked_sub(1).filter(|i| samples.times_ms[*i] > at - windows.lookback_ms)
    };
    let after =
        Some(high).filter(|i| samples.times_ms.get(*i).is_some_and(|t| *t <= end + windows.lookback_ms));
    if low == high && after.is_none() {
        return None;
    }
    let value_at = |at: i64, before: usize, after: Option<usize>| {
        let (time, value) = (samples.times_ms[before], samples.values[before]);
        match after {
            Some(after) if time < at => {
                let (time_after, value_after) = (samples.times_ms[after], samples.values[after]);
                // After a reset a counter grows from zero.
                let base = if counter && value_after < value { 0.0 } else { value };
                base + (value_after - base) * ((at - time) as f64 / (time_after - time) as f64)
            }
            _ => value,
        }
    };
    let next = if low < high { Some(low) } else { after };
    let left = before(low, start).map(|b| value_at(start, b, next));
    let right = before(high, end).map(|b| value_at(end, b, after));
    let right = right?;
    let inner = samples.values[low..high].iter().copied();
    Some(growth(left.into_iter().chain(inner).chain([right]), counter))
}

/// Last value less first, and for a counter what it lost at resets.
fn growth(values: impl Iterator<Item = f64>, counter: bool) -> f64 {
    let mut values = values.peekable();
    let first = values.peek().copied().unwrap_or(0.0);
    let (mut last, mut lost) = (first, 0.0);
    for v in values {
        if counter && v < last {
            lost += last;
        }
        last = v;
    }
    last - first + lost
}
