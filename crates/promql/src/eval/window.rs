//! Functions over windows of one series. Windows of successive evaluations only move forward, so
//! two places in the samples slide along; what can be kept from one window to the next is kept.

use std::collections::VecDeque;

use vedette_model::SampleBuffer;

use super::{
    column::NONE,
    edges,
    numeric::{Mean, Sum, Variance, linear_regression, nan_first, quantile},
    selector::Windows,
    starts::Stamp,
};
use crate::{Cancel, QueryError, function::FunctionId};

/// A query that is stopped goes on for at most about so many samples.
const SAMPLES_BETWEEN_CHECKS: usize = 1 << 20;

/// The windows' places in the samples, evaluation by evaluation.
pub struct Slide<'w> {
    windows: &'w Windows,
    times_ms: &'w [i64],
    low: usize,
    high: usize,
}

impl<'w> Slide<'w> {
    pub fn new(windows: &'w Windows, samples: &'w SampleBuffer) -> Self {
        Self::over(windows, &samples.times_ms)
    }

    pub fn over(windows: &'w Windows, times_ms: &'w [i64]) -> Self {
        Self { windows, times_ms, low: 0, high: 0 }
    }

    /// First sample of the window and the one after its last.
    pub fn at(&mut self, step: usize) -> (usize, usize) {
        let end = self.windows.references.at(step);
        let start = end - self.windows.range_ms;
        while self.times_ms.get(self.high).is_some_and(|t| *t <= end) {
            self.high += 1;
        }
        while self.low < self.high && self.times_ms[self.low] <= start {
            self.low += 1;
        }
        (self.low, self.high)
    }
}

/// Computes the answer for one window, given the evaluation's number, times and values.
type OfWindow<'f> = &'f mut dyn FnMut(usize, &[i64], &[f64]) -> f64;

/// Computes `function` for each evaluation; `params` are the function's scalars. Evaluations
/// without answer stay as they are in `out`.
pub fn compute(
    function: FunctionId,
    samples: &SampleBuffer,
    windows: &Windows,
    params: &[Vec<f64>],
    cancel: &Cancel,
    out: &mut [f64],
) -> Result<(), QueryError> {
    // Where `@` fixes the time all windows are one.
    if windows.references.pinned_ms.is_some() && params.is_empty() && out.len() > 1 {
        let (first, rest) = out.split_at_mut(1);
        compute(function, samples, windows, params, cancel, first)?;
        rest.fill(first[0]);
        return Ok(());
    }
    let (times, values) = (&samples.times_ms[..], &samples.values[..]);
    let mut scratch: Vec<f64> = Vec::new();
    let mut each = |f: OfWindow<'_>| {
        let mut slide = Slide::new(windows, samples);
        let mut seen = 0;
        for (step, out) in out.iter_mut().enumerate() {
            let (low, high) = slide.at(step);
            if low < high {
                *out = f(step, &times[low..high], &values[low..high]);
            }
            seen += high - low;
            if seen > SAMPLES_BETWEEN_CHECKS {
                cancel.check()?;
                seen = 0;
            }
        }
        Ok(())
    };
    match function {
        FunctionId::Rate | FunctionId::Increase | FunctionId::Delta => {
            edges::extrapolated(function, samples, windows, out);
            Ok(())
        }
        FunctionId::Changes | FunctionId::Resets => {
            transitions(function, samples, windows, out);
            Ok(())
        }
        FunctionId::MinOverTime => {
            extreme(samples, windows, out, |new, old| new < old);
            Ok(())
        }
        FunctionId::MaxOverTime => {
            extreme(samples, windows, out, |new, old| new > old);
            Ok(())
        }
        FunctionId::Irate => {
            instant_rate(samples, windows, out);
            Ok(())
        }
        FunctionId::Idelta => {
            each(&mut |_, t, v| last_two(t, v).map_or(NONE, |(_, before, last)| last - before))
        }
        FunctionId::Deriv => each(&mut |_, t, v| match v.len() {
            0 | 1 => NONE,
            _ => linear_regression(t, v, t[0]).0,
        }),
        FunctionId::PredictLinear => {
            let grid = windows.references.grid;
            each(&mut |step, t, v| {
                if v.len() < 2 {
                    return NONE;
                }
                let (slope, intercept) = linear_regression(t, v, grid.time(step));
                slope * params[0][step] + intercept
            })
        }
        FunctionId::DoubleExponentialSmoothing => {
            smoothed(samples, windows, (&params[0], &params[1]), cancel, out)
        }
        FunctionId::CountOverTime => each(&mut |_, _, v| (v.len() as u64 + windows.left_out) as f64),
        FunctionId::PresentOverTime => each(&mut |_, _, _| 1.0),
        FunctionId::LastOverTime => each(&mut |_, _, v| v[v.len() - 1]),
        FunctionId::FirstOverTime => each(&mut |_, _, v| v[0]),
        FunctionId::SumOverTime => each(&mut |_, _, v| {
            let mut sum = Sum::default();
            v.iter().for_each(|v| sum.add(*v));
            sum.get()
        }),
        FunctionId::AvgOverTime => each(&mut |_, _, v| {
            let mut mean = Mean::default();
            v.iter().for_each(|v| mean.add(*v));
            mean.get()
        }),
        FunctionId::StdvarOverTime => each(&mut |_, _, v| variance(v)),
        FunctionId::StddevOverTime => each(&mut |_, _, v| variance(v).sqrt()),
        FunctionId::QuantileOverTime => each(&mut |step, _, v| {
            scratch.clear();
            scratch.extend_from_slice(v);
            quantile(params[0][step], &mut scratch)
        }),
        FunctionId::MadOverTime => each(&mut |_, _, v| {
            if v.iter().any(|v| v.is_nan()) {
                return f64::NAN;
            }
            scratch.clear();
            scratch.extend_from_slice(v);
            let median = quantile(0.5, &mut scratch);
            scratch.iter_mut().for_each(|v| *v = (*v - median).abs());
            quantile(0.5, &mut scratch)
        }),
        FunctionId::TsOfFirstOverTime => each(&mut |_, t, _| t[0] as f64 / 1000.0),
        FunctionId::TsOfLastOverTime => each(&mut |_, t, _| t[t.len() - 1] as f64 / 1000.0),
        FunctionId::TsOfMinOverTime => each(&mut |_, t, v| time_of(t, v, |new, old| new <= old)),
        FunctionId::TsOfMaxOverTime => each(&mut |_, t, v| time_of(t, v, |new, old| new >= old)),
        _ => unreachable!("BUG: {function:?} is no function over ranges"),
    }
}

/// Seconds between the last two samples, and their values.
fn last_two(times: &[i64], values: &[f64]) -> Option<(f64, f64, f64)> {
    match (times, values) {
        ([.., t0, t1], [.., v0, v1]) => Some(((t1 - t0) as f64 / 1000.0, *v0, *v1)),
        _ => None,
    }
}

/// `irate`: what a counter grew between the last two samples, per second.
fn instant_rate(samples: &SampleBuffer, windows: &Windows, out: &mut [f64]) {
    let mut slide = Slide::new(windows, samples);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        let window = (&samples.times_ms[low..high], &samples.values[low..high]);
        let Some((seconds, before, last)) = last_two(window.0, window.1) else { continue };
        let began = !samples.starts_ms.is_empty()
            && Stamp::of(samples, high - 1).is_reset_since(Stamp::of(samples, high - 2));
        *out = if last < before || began { last } else { last - before } / seconds;
    }
}

fn variance(values: &[f64]) -> f64 {
    let mut variance = Variance::default();
    values.iter().for_each(|v| variance.add(*v));
    variance.get()
}

/// Time of the last of the best values, NaN being worst.
fn time_of(times: &[i64], values: &[f64], better: fn(f64, f64) -> bool) -> f64 {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if better(*v, values[best]) || values[best].is_nan() {
            best = i;
        }
    }
    times[best] as f64 / 1000.0
}

/// So many windows are smoothed side by side: each sample waits for the one before it, so that the
/// processor has time for other windows.
const LANES: usize = 8;

/// `double_exponential_smoothing` (Holt's linear method): level by `smoothing`, trend by `trend`.
fn smoothed(
    samples: &SampleBuffer,
    windows: &Windows,
    (smoothing, trend): (&[f64], &[f64]),
    cancel: &Cancel,
    out: &mut [f64],
) -> Result<(), QueryError> {
    let mut slide = Slide::new(windows, samples);
    let mut seen = 0;
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let first = block * LANES;
        let mut held: [&[f64]; LANES] = [&[]; LANES];
        for (lane, held) in held[..out.len()].iter_mut().enumerate() {
            let (low, high) = slide.at(first + lane);
            *held = &samples.values[low..high];
            seen += high - low;
        }
        let [mut smoothings, mut trends] = [[0.0; LANES]; 2];
        smoothings[..out.len()].copy_from_slice(&smoothing[first..first + out.len()]);
        trends[..out.len()].copy_from_slice(&trend[first..first + out.len()]);
        let levels = Holt::new(&held, smoothings, trends).run(&held);
        for ((out, level), _) in out.iter_mut().zip(levels).zip(held).filter(|(_, held)| held.len() > 1) {
            *out = level;
        }
        if seen > SAMPLES_BETWEEN_CHECKS {
            cancel.check()?;
            seen = 0;
        }
    }
    Ok(())
}

/// Holt's method in several windows, after a sample of each.
struct Holt {
    before: [f64; LANES],
    level: [f64; LANES],
    slope: [f64; LANES],
    smoothing: [f64; LANES],
    trend: [f64; LANES],
}

impl Holt {
    /// After the first two samples of those windows that have so many.
    fn new(windows: &[&[f64]; LANES], smoothing: [f64; LANES], trend: [f64; LANES]) -> Self {
        let none = [0.0; LANES];
        let mut holt = Self { before: none, level: none, slope: none, smoothing, trend };
        for (lane, window) in windows.iter().enumerate() {
            if let [first, second, ..] = window {
                let (slope, smoothing) = (second - first, smoothing[lane]);
                holt.slope[lane] = slope;
                holt.before[lane] = *first;
                holt.level[lane] = smoothing * second + (1.0 - smoothing) * (first + slope);
            }
        }
        holt
    }

    #[inline(always)]
    fn add(&mut self, lane: usize, value: f64) {
        let (smoothing, trend) = (self.smoothing[lane], self.trend[lane]);
        let level = self.level[lane];
        let slope = trend * (level - self.before[lane]) + (1.0 - trend) * self.slope[lane];
        self.slope[lane] = slope;
        self.before[lane] = level;
        self.level[lane] = smoothing * value + (1.0 - smoothing) * (level + slope);
    }

    /// Goes through the rest of the windows, and gives the levels at their ends.
    fn run(mut self, windows: &[&[f64]; LANES]) -> [f64; LANES] {
        // As far as all go they go together.
        let together = windows.iter().map(|w| w.len()).min().unwrap_or(0).max(2);
        let shared = windows.map(|w| &w[..together.min(w.len())]);
        #[expect(clippy::needless_range_loop, reason = "it indexes the inner ones, all of them at once")]
        for i in 2..together {
            let values: [f64; LANES] = std::array::from_fn(|lane| shared[lane][i]);
            for (lane, value) in values.into_iter().enumerate() {
                self.add(lane, value);
            }
        }
        for (lane, window) in windows.iter().enumerate() {
            window.iter().skip(together).for_each(|value| self.add(lane, *value));
        }
        self.level
    }
}

/// `changes` and `resets`: differences of running counts.
fn transitions(function: FunctionId, samples: &SampleBuffer, windows: &Windows, out: &mut [f64]) {
    let values = &samples.values;
    let mut counts: Vec<u32> = Vec::with_capacity(values.len());
    let mut count = 0;
    for (i, v) in values.iter().enumerate() {
        if i > 0 {
            let before = values[i - 1];
            let differs = match function {
                FunctionId::Changes => *v != before && !(v.is_nan() && before.is_nan()),
                _ => {
                    *v < before
                        || (!samples.starts_ms.is_empty()
                            && Stamp::of(samples, i).is_reset_since(Stamp::of(samples, i - 1)))
                }
            };
            count += u32::from(differs);
        }
        counts.push(count);
    }
    let mut slide = Slide::new(windows, samples);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        if low < high {
            let first = edges::anchor(samples, windows, step, low).unwrap_or(low);
            *out = f64::from(counts[high - 1] - counts[first]);
        }
    }
}

/// `min_over_time` and `max_over_time`: the candidates of a window in a queue, best first, so
/// that each sample enters and leaves once. NaN is worse than any number.
fn extreme(samples: &SampleBuffer, windows: &Windows, out: &mut [f64], better: fn(f64, f64) -> bool) {
    let values = &samples.values;
    let mut candidates: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    let mut slide = Slide::new(windows, samples);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        while entered < high {
            let new = values[entered];
            // Equal values and NaN beside NaN: the newer one stays longer.
            while let Some(&last) = candidates.back()
                && !better(values[last], new)
                && (!new.is_nan() || values[last].is_nan())
            {
                candidates.pop_back();
            }
            candidates.push_back(entered);
            entered += 1;
        }
        while candidates.front().is_some_and(|first| *first < low) {
            candidates.pop_front();
        }
        if low < high
            && let Some(&first) = candidates.front()
        {
            debug_assert!(nan_first(values[first], values[first]).is_eq());
            *out = values[first];
        }
    }
}
