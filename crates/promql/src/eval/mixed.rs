//! Functions over windows of a series that has native histograms, among floats or alone. Where a
//! function ignores histograms the float kernels do the work.

use std::sync::Arc;

use vedette_model::{ResetHint, SampleBuffer};

use super::{
    Evaluator, Result,
    column::{HISTOGRAM, Histograms, NONE, is_some},
    edges,
    histogram_rate::{self, Growth},
    notes::{Note, Notes, Operation},
    samples::{HistogramSample, Samples},
    selector::Windows,
    starts::Stamp,
    window::{self, Slide},
};
use crate::{
    Histogram,
    ast::Edges,
    function::FunctionId,
    histogram::{HistogramMean, HistogramSum},
};

/// One series and how to look at it.
pub struct MixedWindows<'m> {
    pub samples: &'m Samples,
    pub windows: &'m Windows,
    pub params: &'m [Vec<f64>],
    pub notes: Notes<'m>,
}

/// What one window answers.
enum Answer {
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Evaluator<'_> {
    /// Computes `function` for each evaluation.
    pub fn mixed_windows(
        &self,
        function: FunctionId,
        mixed: &MixedWindows<'_>,
        values: &mut [f64],
        histograms: &mut Histograms,
    ) -> Result<()> {
        use FunctionId as F;
        let MixedWindows { samples, windows, params, notes } = mixed;
        let compute = |samples: &SampleBuffer, values: &mut [f64]| {
            window::compute(function, samples, windows, params, self.cancel, values)
        };
        match function {
            F::CountOverTime | F::PresentOverTime | F::TsOfFirstOverTime | F::TsOfLastOverTime => {
                return compute(&samples.columns, values);
            }
            F::Changes | F::Resets => {
                transitions(function, samples, windows, values);
                return Ok(());
            }
            F::FirstOverTime | F::LastOverTime => {
                return self.each(
                    windows,
                    values,
                    histograms,
                    |slide, step| {
                        let (low, high) = slide.at(step);
                        if low == high {
                            return None;
                        }
                        let index = if function == F::FirstOverTime { low } else { high - 1 };
                        Some(match samples.histogram(index) {
                            Some(histogram) => Answer::Histogram(Arc::clone(histogram)),
                            None => Answer::Float(samples.columns.values[index]),
                        })
                    },
                    &samples.columns.times_ms,
                );
            }
            F::Irate | F::Idelta => {
                return self.each(
                    windows,
                    values,
                    histograms,
                    |slide, step| {
                        let window = slide.at(step);
                        last_two(samples, window, function == F::Irate, notes)
                    },
                    &samples.columns.times_ms,
                );
            }
            _ => {}
        }
        let (floats, alone) = samples.split();
        compute(&floats, values)?;
        let times: Vec<i64> = alone.iter().map(|h| h.time_ms).collect();
        // At the edges samples outside count, too.
        let wide = windows.widened();
        let mut float_slide = Slide::new(&wide, &floats);
        let float_windows: Vec<bool> = (0..values.len())
            .map(|step| {
                let (low, high) = float_slide.at(step);
                low < high
            })
            .collect();
        let takes_histograms =
            matches!(function, F::SumOverTime | F::AvgOverTime | F::Rate | F::Increase | F::Delta);
        let mut slide = Slide::over(&wide, &times);
        let pinned = windows.references.pinned_ms.is_some();
        for step in 0..values.len() {
            let (low, high) = slide.at(step);
            if low == high {
                continue;
            }
            if !takes_histograms {
                if float_windows[step] {
                    notes.tell(Note::IgnoredInRange(notes.name));
                }
                continue;
            }
            if float_windows[step] {
                values[step] = NONE;
                notes.tell(Note::MixedTypes(notes.name));
                continue;
            }
            if pinned && step > 0 {
                values[step] = values[0];
                if let Some(first) = histograms.get(0).map(Arc::clone) {
                    histograms.push(step, first);
                }
                continue;
            }
            self.cancel.check()?;
            let window = &alone[low..high];
            let answer = match function {
                F::SumOverTime => sum(window, notes),
                F::AvgOverTime => mean(window, notes),
                _ => growth(function, window, windows, step, notes),
            };
            if let Some(answer) = answer {
                values[step] = HISTOGRAM;
                histograms.push(step, Arc::new(answer));
            }
        }
        Ok(())
    }

    /// Asks `answer` for each window over samples at `times`.
    fn each(
        &self,
        windows: &Windows,
        values: &mut [f64],
        histograms: &mut Histograms,
        mut answer: impl FnMut(&mut Slide<'_>, usize) -> Option<Answer>,
        times: &[i64],
    ) -> Result<()> {
        let mut slide = Slide::over(windows, times);
        for (step, value) in values.iter_mut().enumerate() {
            if step % 1024 == 0 {
                self.cancel.check()?;
            }
            match answer(&mut slide, step) {
                Some(Answer::Float(float)) => *value = float,
                Some(Answer::Histogram(histogram)) => {
                    *value = HISTOGRAM;
                    histograms.push(step, histogram);
                }
                None => {}
            }
        }
        Ok(())
    }
}

/// Sees contradicting hints.
#[derive(Default)]
struct Hints {
    reset: bool,
    not_reset: bool,
}

impl Hints {
    fn see(&mut self, histogram: &Histogram, notes: &Notes<'_>) {
        self.reset |= histogram.hint == ResetHint::Reset;
        self.not_reset |= histogram.hint == ResetHint::NotReset;
        if self.reset && self.not_reset {
            notes.tell(Note::Collision(Operation::Aggregation));
        }
    }
}

/// Merges a window's histograms; `add` merges one.
fn merged<S>(
    window: &[HistogramSample],
    notes: &Notes<'_>,
    start: fn(&Histogram) -> S,
    add: fn(
        &mut S,
        &Histogram,
    ) -> std::result::Result<crate::histogram::Merged, crate::histogram::Incompatible>,
) -> Option<S> {
    // With incompatible histograms nothing else is of interest.
    let custom = window[0].histogram.is_custom();
    if window.iter().any(|s| s.histogram.is_custom() != custom) {
        notes.tell(Note::MixedSchemas(notes.name));
        return None;
    }
    let mut hints = Hints::default();
    hints.see(&window[0].histogram, notes);
    let mut state = start(&window[0].histogram);
    for sample in &window[1..] {
        hints.see(&sample.histogram, notes);
        notes.reconciled(add(&mut state, &sample.histogram).ok()?, Operation::Aggregation);
    }
    Some(state)
}

fn sum(window: &[HistogramSample], notes: &Notes<'_>) -> Option<Histogram> {
    merged(window, notes, HistogramSum::of, HistogramSum::add).map(|sum| sum.get())
}

fn mean(window: &[HistogramSample], notes: &Notes<'_>) -> Option<Histogram> {
    merged(window, notes, HistogramMean::of, HistogramMean::add).map(|mean| mean.get())
}

/// `rate`, `increase` and `delta`. The window holds what is of interest at its edges, too.
fn growth(
    function: FunctionId,
    window: &[HistogramSample],
    windows: &Windows,
    step: usize,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    let end_ms = windows.references.at(step);
    let range = (end_ms - windows.range_ms, end_ms);
    let per = if function == FunctionId::Rate { windows.range_ms as f64 / 1000.0 } else { 1.0 };
    let growth = Growth { window, range, counter: function != FunctionId::Delta, per, notes };
    match windows.edges {
        Edges::Plain => growth.plain(),
        edges => growth.extended(edges == Edges::Smoothed),
    }
}

/// `irate` and `idelta`: of the last two samples.
fn last_two(samples: &Samples, (low, high): (usize, usize), rate: bool, notes: &Notes<'_>) -> Option<Answer> {
    if high < low + 2 {
        return None;
    }
    let columns = &samples.columns;
    let (stamp, before) = (Stamp::of(columns, high - 1), Stamp::of(columns, high - 2));
    let seconds = (stamp.time_ms - before.time_ms) as f64 / 1000.0;
    let began = rate && stamp.is_reset_since(before);
    match (samples.histogram(high - 2), samples.histogram(high - 1)) {
        (None, None) => {
            let (first, last) = (columns.values[high - 2], columns.values[high - 1]);
            let change = if rate && (last < first || began) { last } else { last - first };
            Some(Answer::Float(if rate { change / seconds } else { change }))
        }
        (Some(first), Some(last)) => {
            let mut answer = histogram_rate::step(first, last, rate, began, notes)?;
            if rate {
                answer.divide(seconds);
            }
            Some(Answer::Histogram(Arc::new(answer)))
        }
        _ => {
            notes.tell(Note::MixedTypes(notes.name));
            None
        }
    }
}

/// `changes` and `resets`: differences of running counts. A histogram after a float is both, and
/// the other way round.
fn transitions(function: FunctionId, samples: &Samples, windows: &Windows, out: &mut [f64]) {
    let columns = &samples.columns;
    let resets = function == FunctionId::Resets;
    let mut counts: Vec<u32> = Vec::with_capacity(columns.len());
    let mut count = 0;
    for i in 0..columns.len() {
        if i > 0 {
            let began = || Stamp::of(columns, i).is_reset_since(Stamp::of(columns, i - 1));
            let differs = match (samples.histogram(i - 1), samples.histogram(i)) {
                (None, None) => {
                    let (before, v) = (columns.values[i - 1], columns.values[i]);
                    if resets {
                        v < before || began()
                    } else {
                        v != before && !(v.is_nan() && before.is_nan())
                    }
                }
                (Some(before), Some(h)) if resets => began() || h.is_reset_since(before),
                (Some(before), Some(h)) => !h.same_as(before),
                _ => true,
            };
            count += u32::from(differs);
        }
        counts.push(count);
    }
    let mut slide = Slide::new(windows, columns);
    for (step, out) in out.iter_mut().enumerate() {
        let (low, high) = slide.at(step);
        if low < high {
            let first = edges::anchor(columns, windows, step, low).unwrap_or(low);
            *out = f64::from(counts[high - 1] - counts[first]);
        }
    }
    debug_assert!(out.iter().all(|v| is_some(*v) || v.to_bits() == NONE.to_bits()));
}
