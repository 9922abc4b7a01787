//! `rate`, `increase` and `delta`: the growth between a window's ends, where samples seldom stand
//! exactly at the ends. Plainly it is extrapolated; `anchored` and `smoothed` look outside.

use vedette_model::SampleBuffer;

use super::{column::NONE, selector::Windows, starts::Stamp, window::Slide};
use crate::{ast::Edges, function::FunctionId};

/// Places of samples before which a counter started anew: they are lower than the one before, or
/// say to count since a later time.
fn resets(samples: &SampleBuffer) -> Vec<usize> {
    let values = &samples.values;
    let fell = |i: &usize| values[*i] < values[*i - 1];
    if samples.starts_ms.is_empty() {
        // Most have none, and seeing that without a branch for each sample is quick.
        let any = values.windows(2).fold(false, |any, pair| any | (pair[1] < pair[0]));
        return if any { (1..values.len()).filter(fell).collect() } else { Vec::new() };
    }
    let began = |i: &usize| Stamp::of(samples, *i).is_reset_since(Stamp::of(samples, *i - 1));
    (1..values.len()).filter(|i| fell(i) || began(i)).collect()
}

/// Computes the function for each evaluation.
pub fn extrapolated(function: FunctionId, samples: &SampleBuffer, windows: &Windows, out: &mut [f64]) {
    let counter = function != FunctionId::Delta;
    // In this order, as large values could overflow otherwise.
    let per = if function == FunctionId::Rate { windows.range_ms as f64 / 1000.0 } else { 1.0 };
    let resets = if counter { resets(samples) } else { Vec::new() };
    if windows.edges == Edges::Plain && samples.starts_ms.is_empty() {
        return without_starts(samples, windows, counter, (&resets, per), out);
    }
    // Resets of the current window stand in `resets[reset_low..]` below its end.
    let mut reset_low = 0;
    let mut slide = Slide::new(windows, samples);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        while resets.get(reset_low).is_some_and(|r| *r < low) {
            reset_low += 1;
        }
        let growth = match windows.edges {
            Edges::Plain => plain(samples, windows, step, (low, high), counter, (&resets[reset_low..], per)),
            Edges::Anchored => anchored(samples, windows, step, (low, high), counter).map(|g| g / per),
            Edges::Smoothed => smoothed(samples, windows, step, (low, high), counter).map(|g| g / per),
        };
        *out = growth.unwrap_or(NONE);
    }
}

/// The growth within each window, stretched to its ends, of samples of which it is not known since
/// when they count. Where samples come regularly most windows hold as many at the same places, and
/// are stretched by the same factor.
fn without_starts(
    samples: &SampleBuffer,
    windows: &Windows,
    counter: bool,
    (resets, per): (&[usize], f64),
    out: &mut [f64],
) {
    let (times_ms, values) = (&samples.times_ms[..], &samples.values[..]);
    let mut resets = resets.iter().copied().peekable();
    let mut slide = Slide::new(windows, samples);
    let mut known = ([0; 4], Gaps::default(), 0.0);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        if high < low + 2 {
            continue;
        }
        let (first, last) = (values[low], values[high - 1]);
        let mut growth = last - first;
        while resets.next_if(|reset| *reset <= low).is_some() {}
        if resets.peek().is_some() {
            for reset in resets.clone().take_while(|reset| *reset < high) {
                growth += values[reset - 1];
            }
        }
        let end_ms = windows.references.at(step);
        let start_ms = end_ms - windows.range_ms;
        let (first_ms, last_ms) = (times_ms[low], times_ms[high - 1]);
        let places = [
            first_ms - start_ms,
            last_ms - first_ms,
            end_ms - last_ms,
            (high - low) as i64 + windows.left_out as i64,
        ];
        if known.0 != places {
            let gaps = Gaps::of(places);
            known = (places, gaps, gaps.factor(gaps.to_start) / per);
        }
        let (_, gaps, mut factor) = known;
        if counter && growth > 0.0 && first >= 0.0 {
            // Only where it could matter is it worth a division. Beyond these sizes products overflow.
            let is_far = first * gaps.sampled >= gaps.to_start * growth * 1.0001;
            if !is_far || !(1e-200..1e200).contains(&growth) {
                factor = gaps.factor(gaps.to_start.min(gaps.sampled * (first / growth))) / per;
            }
        }
        *out = growth * factor;
    }
}

/// The seconds between a window's samples and to its ends.
#[derive(Debug, Clone, Copy, Default)]
struct Gaps {
    sampled: f64,
    to_start: f64,
    to_end: f64,
}

impl Gaps {
    /// From the milliseconds, and the number of samples, which are at least two. An end that is
    /// farther away than 1.1 average distances between samples is taken to be outside of the series'
    /// life.
    fn of([to_start, sampled, to_end, count]: [i64; 4]) -> Self {
        let [to_start, sampled, to_end] = [to_start, sampled, to_end].map(|ms| ms as f64 / 1000.0);
        let average = sampled / (count - 1) as f64;
        let near = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
        Self { sampled, to_start: near(to_start), to_end: near(to_end) }
    }

    /// By which factor the growth is to be stretched.
    fn factor(self, to_start: f64) -> f64 {
        if self.sampled == 0.0 { 1.0 } else { (self.sampled + to_start + self.to_end) / self.sampled }
    }
}

/// The samples that a window holds.
#[derive(Debug, Clone, Copy)]
pub struct Sampled {
    pub first: Stamp,
    pub last_ms: i64,
    pub count: usize,
    pub counter: bool,
}

impl Sampled {
    /// Whether the first sample counts since a time inside the window: then it is known that the
    /// counter was zero there, and nothing needs to be guessed.
    pub fn begins_inside(&self, start_ms: i64) -> bool {
        let first = self.first;
        self.counter && first.start_ms != 0 && first.start_ms > start_ms && first.start_ms < first.time_ms
    }

    /// By which factor the growth between the samples is to be stretched to the window's ends.
    /// An end that is farther away than 1.1 average distances between samples is taken to be
    /// outside of the series' life. `first_share` is what a counter's first value is of the
    /// growth: it is not stretched to below zero.
    pub fn stretch(&self, (start_ms, end_ms): (i64, i64), first_share: Option<f64>) -> Option<f64> {
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let mut sampled = seconds(self.last_ms - self.first.time_ms);
        let average = if self.count > 1 { sampled / (self.count - 1) as f64 } else { 0.0 };
        let threshold = average * 1.1;
        let mut to_start = seconds(self.first.time_ms - start_ms);
        let mut to_end = seconds(end_ms - self.last_ms);
        if self.begins_inside(start_ms) {
            to_start = 0.0;
            sampled = seconds(self.last_ms - self.first.start_ms);
        } else if self.count < 2 {
            return None;
        } else {
            if to_start >= threshold {
                to_start = average / 2.0;
            }
            if let Some(share) = first_share {
                to_start = to_start.min(sampled * share);
            }
        }
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        Some(if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled })
    }
}

/// The growth within the window, stretched to its ends.
fn plain(
    samples: &SampleBuffer,
    windows: &Windows,
    step: usize,
    (low, high): (usize, usize),
    counter: bool,
    (resets, per): (&[usize], f64),
) -> Option<f64> {
    if high < low + 2 && (samples.starts_ms.is_empty() || high == low) {
        return None;
    }
    let (first, last) = (samples.values[low], samples.values[high - 1]);
    let mut growth = last - first;
    for reset in resets.iter().filter(|r| **r > low).take_while(|r| **r < high) {
        growth += samples.values[*reset - 1];
    }
    let end_ms = windows.references.at(step);
    let start_ms = end_ms - windows.range_ms;
    let last_ms = samples.times_ms[high - 1];
    let sampled = Sampled { first: Stamp::of(samples, low), last_ms, count: high - low, counter };
    if sampled.begins_inside(start_ms) {
        growth += first;
    }
    let first_share = (counter && growth > 0.0 && first >= 0.0).then(|| first / growth);
    Some(growth * (sampled.stretch((start_ms, end_ms), first_share)? / per))
}

/// How many windows hold a sample that counts since before the sample in front of it, but not
/// since the same time as that.
pub fn overlaps(samples: &SampleBuffer, windows: &Windows, steps: usize) -> usize {
    let places: Vec<usize> =
        (1..samples.len()).filter(|i| Stamp::of(samples, *i).overlaps(Stamp::of(samples, *i - 1))).collect();
    if places.is_empty() {
        return 0;
    }
    let mut slide = Slide::new(windows, samples);
    let has = |(low, high): (usize, usize)| {
        let first = places.partition_point(|p| *p <= low);
        places.get(first).is_some_and(|p| *p < high)
    };
    (0..steps).filter(|step| has(slide.at(*step))).count()
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
    let before =
        |place: usize| place.checked_sub(1).filter(|i| samples.times_ms[*i] > start - windows.lookback_ms);
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
                base + (value_after - base) * (at - time) as f64 / (time_after - time) as f64
            }
            _ => value,
        }
    };
    let next = if low < high { Some(low) } else { after };
    let left = before(low).map(|b| value_at(start, b, next));
    let right = before(high).map(|b| value_at(end, b, after));
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
