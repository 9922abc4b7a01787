//! `rate`, `increase`, `delta`, `irate` and `idelta` of native histograms.

use vedette_model::ResetHint;

use super::{
    edges::Sampled,
    notes::{Note, Notes, Operation},
    samples::HistogramSample,
    smoothed::between,
    starts::Stamp,
};
use crate::{Histogram, histogram::Incompatible};

/// The growth between the ends of one window.
pub struct Growth<'g> {
    /// Not empty.
    pub window: &'g [HistogramSample],
    /// Start, which is outside, and end.
    pub range: (i64, i64),
    pub counter: bool,
    /// What the growth is divided by: the range in seconds for a rate.
    pub per: f64,
    pub notes: &'g Notes<'g>,
}

fn stamp(sample: &HistogramSample) -> Stamp {
    Stamp { start_ms: sample.start_ms, time_ms: sample.time_ms }
}

fn is_gauge(histogram: &Histogram) -> bool {
    histogram.hint == ResetHint::Gauge
}

/// Histograms that do not go together: the window has no answer, and only this is told.
struct Mixed;

impl From<Incompatible> for Mixed {
    fn from(_: Incompatible) -> Self {
        Self
    }
}

impl Growth<'_> {
    /// The growth between the samples, stretched to the window's ends.
    pub fn plain(&self) -> Option<Histogram> {
        let (first, last) = (self.window.first()?, self.window.last()?);
        let sampled = Sampled {
            first: stamp(first),
            last_ms: last.time_ms,
            count: self.window.len(),
            counter: self.counter,
        };
        let mut growth = if self.window.len() > 1 { Some(self.between_samples()?) } else { None };
        if sampled.begins_inside(self.range.0) {
            match &mut growth {
                None => growth = Some((*first.histogram).clone()),
                Some(growth) => {
                    let Ok(merged) = growth.add(&first.histogram) else {
                        self.tell(Note::MixedSchemas(self.notes.name));
                        return None;
                    };
                    self.notes.reconciled(merged, Operation::Addition);
                }
            }
        }
        let mut growth = growth?;
        let first_count = first.histogram.count;
        let share =
            (self.counter && growth.count > 0.0 && first_count >= 0.0).then(|| first_count / growth.count);
        growth.multiply(sampled.stretch(self.range, share)? / self.per);
        Some(growth)
    }

    fn tell(&self, note: Note<'_>) {
        self.notes.tell(note);
    }

    fn between_samples(&self) -> Option<Histogram> {
        let mut told = Vec::new();
        match self.growth(&mut told) {
            Ok(growth) => {
                told.into_iter().for_each(|note| self.tell(note));
                Some(growth)
            }
            Err(Mixed) => {
                self.tell(Note::MixedSchemas(self.notes.name));
                None
            }
        }
    }

    fn growth<'n>(&'n self, told: &mut Vec<Note<'n>>) -> Result<Histogram, Mixed> {
        let name = self.notes.name;
        let (window, last) = (self.window, &self.window[self.window.len() - 1].histogram);
        let ends = [&window[0].histogram, last];
        if self.counter && ends.iter().any(|h| is_gauge(h)) {
            told.push(Note::NotCounter(name));
        }
        if !self.counter && ends.iter().any(|h| !is_gauge(h)) {
            told.push(Note::NotGauge(name));
        }
        // Of a first sample before a reset nothing is of interest, also not its layout.
        let began = |i: usize| stamp(&window[i]).is_reset_since(stamp(&window[i - 1]));
        let second = &window[1].histogram;
        let nothing;
        let mut before: &Histogram = &window[0].histogram;
        if self.counter && (began(1) || second.is_reset_since(before)) {
            nothing = Histogram::empty_like(second);
            before = &nothing;
        }
        let custom = before.is_custom();
        if last.is_custom() != custom {
            return Err(Mixed);
        }
        let mut schema = last.schema.min(before.schema);
        if self.counter {
            for sample in &window[1..window.len() - 1] {
                if is_gauge(&sample.histogram) {
                    told.push(Note::NotCounter(name));
                }
                if sample.histogram.is_custom() != custom {
                    return Err(Mixed);
                }
                schema = schema.min(sample.histogram.schema);
            }
        }
        let mut growth = (**last).clone();
        growth.reduce_to(schema);
        if growth.subtract(before)?.reconciled {
            told.push(Note::Reconciled(Operation::Subtraction));
        }
        if self.counter {
            let mut overlap = false;
            for (i, sample) in window.iter().enumerate().skip(1) {
                if !overlap && stamp(sample).overlaps(stamp(&window[i - 1])) {
                    overlap = true;
                    told.push(Note::StartOverlap(name));
                }
                if (began(i) || sample.histogram.is_reset_since(before)) && growth.add(before)?.reconciled {
                    told.push(Note::Reconciled(Operation::Addition));
                }
                before = &sample.histogram;
            }
        }
        growth.hint = ResetHint::Gauge;
        growth.compact();
        Ok(growth)
    }

    /// `anchored` and `smoothed`: the growth from the window's start to its end, where samples
    /// outside of it tell what was there.
    pub fn extended(&self, smoothed: bool) -> Option<Histogram> {
        let ((start, end), window, name) = (self.range, self.window, self.notes.name);
        let mut last = window.len() - 1;
        let first = window[..last].partition_point(|s| s.time_ms <= start).saturating_sub(1);
        if smoothed {
            last = window[..last].partition_point(|s| s.time_ms < end);
        }
        if window[last].time_ms <= start || (smoothed && window[first].time_ms > end) {
            return None;
        }
        let custom = window[first].histogram.is_custom();
        for sample in &window[first..=last] {
            if sample.histogram.is_custom() != custom {
                self.tell(Note::MixedSchemas(name));
                return None;
            }
            if self.counter && is_gauge(&sample.histogram) {
                self.tell(Note::NotCounter(name));
            }
        }
        let at = |i: usize, time: i64| between(&window[i], &window[i + 1], time, self.counter, self.notes);
        let left = if smoothed && window[first].time_ms < start {
            at(first, start)?
        } else {
            (*window[first].histogram).clone()
        };
        let right = if smoothed && last > 0 && window[last].time_ms > end {
            at(last - 1, end)?
        } else {
            (*window[last].histogram).clone()
        };
        let gauges = is_gauge(&left) && is_gauge(&right);
        if !self.counter && !gauges {
            self.tell(Note::NotGauge(name));
        }
        let mut growth = right.clone();
        let merged = growth.subtract(&left);
        self.merged(merged, Operation::Subtraction)?;
        if self.counter
            && let Some(lost) = self.lost_at_resets((first, last), (&left, &right), smoothed)?
        {
            let merged = growth.add(&lost);
            self.merged(merged, Operation::Addition)?;
        }
        growth.divide(self.per);
        growth.hint = ResetHint::Gauge;
        growth.compact();
        Some(growth)
    }

    fn merged(
        &self,
        merged: Result<crate::histogram::Merged, Incompatible>,
        operation: Operation,
    ) -> Option<()> {
        match merged {
            Ok(merged) => self.notes.reconciled(merged, operation),
            Err(Incompatible) => {
                self.tell(Note::MixedSchemas(self.notes.name));
                return None;
            }
        }
        Some(())
    }

    /// What a counter lost at resets between the histograms at the window's ends; `None` in an
    /// answer if it lost nothing.
    fn lost_at_resets(
        &self,
        (first, last): (usize, usize),
        (left, right): (&Histogram, &Histogram),
        smoothed: bool,
    ) -> Option<Option<Histogram>> {
        let window = self.window;
        // The sample at `first` is represented by `left`, that at `last` by `right`.
        let mut next = first + 1;
        let mut before = left;
        if smoothed
            && window[first].time_ms < self.range.0
            && window[first + 1].histogram.is_reset_since(&window[first].histogram)
        {
            // `left` already stands behind this reset.
            before = &window[next].histogram;
            next += 1;
        }
        if next > last {
            return Some(None);
        }
        let mut lost: Option<Histogram> = None;
        let inner = window[next..last].iter().map(|s| &*s.histogram);
        for histogram in inner.chain([right]) {
            if histogram.is_reset_since(before) {
                match &mut lost {
                    None => lost = Some(before.clone()),
                    Some(lost) => {
                        let merged = lost.add(before);
                        self.merged(merged, Operation::Addition)?;
                    }
                }
            }
            before = histogram;
        }
        Some(lost)
    }
}

/// The change from one sample to the next; `began` says that a counter began anew in between.
pub fn step(
    first: &Histogram,
    last: &Histogram,
    counter: bool,
    began: bool,
    notes: &Notes<'_>,
) -> Option<Histogram> {
    if counter && (is_gauge(first) || is_gauge(last)) {
        notes.tell(Note::NotCounter(notes.name));
    }
    let gauges = is_gauge(first) && is_gauge(last);
    if !counter && !gauges {
        notes.tell(Note::NotGauge(notes.name));
    }
    let mut change = last.clone();
    if !counter || !(began || last.is_reset_since(first)) {
        let Ok(merged) = change.subtract(first) else {
            notes.tell(Note::MixedSchemas(notes.name));
            return None;
        };
        notes.reconciled(merged, Operation::Subtraction);
    }
    change.hint = ResetHint::Gauge;
    change.compact();
    Some(change)
}
