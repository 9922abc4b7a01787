//! The shape of intermediate results: one column of values for each series, one value for each
//! evaluation time. A column has holes where the series has no sample. Native histograms, which
//! are seldom, stand beside it.

use std::sync::Arc;

use vedette_model::{Labels, STALE_NAN_BITS};

use crate::Histogram;

/// A hole. Staleness markers never appear in results, so their bits are free for it; arithmetic
/// never produces them, as it sets the quiet bit of every NaN.
pub const NONE: f64 = f64::from_bits(STALE_NAN_BITS);

/// Stands in the column where the sample is a histogram, so that something is there.
pub const HISTOGRAM: f64 = f64::NAN;

/// Whether a value is a hole.
pub fn is_none(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// Whether a value is not a hole.
pub fn is_some(value: f64) -> bool {
    !is_none(value)
}

/// Evaluation times at equal distances.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    pub start_ms: i64,
    pub step_ms: i64,
    pub count: usize,
    /// Not before the last evaluation; where it is the start, one evaluation was asked for.
    pub end_ms: i64,
}

impl Grid {
    /// Time of an evaluation.
    pub fn time(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }
}

/// The samples of a column that are histograms: number of the evaluation, growing, and histogram.
/// Empty, and without memory of its own, for a series of floats.
#[derive(Debug, Clone, Default)]
pub struct Histograms(Vec<(u32, Arc<Histogram>)>);

impl Histograms {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a histogram behind all others.
    pub fn push(&mut self, step: usize, histogram: Arc<Histogram>) {
        debug_assert!(self.0.last().is_none_or(|(last, _)| (*last as usize) < step));
        self.0.push((step as u32, histogram));
    }

    pub fn get(&self, step: usize) -> Option<&Arc<Histogram>> {
        if self.0.is_empty() {
            return None;
        }
        let found = self.0.binary_search_by_key(&step, |(i, _)| *i as usize);
        found.ok().map(|at| &self.0[at].1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (usize, &Arc<Histogram>)> {
        self.0.iter().map(|(i, h)| (*i as usize, h))
    }

    /// Keeps what `f` answers.
    pub fn map(&mut self, mut f: impl FnMut(usize, &Histogram) -> Option<Histogram>) {
        self.0.retain_mut(|(i, h)| match f(*i as usize, h) {
            Some(new) => {
                *h = Arc::new(new);
                true
            }
            None => false,
        });
    }

    /// Takes in what another column has; no two stand at one place.
    pub fn merge(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else if !other.0.is_empty() {
            self.0.extend(other.0);
            self.0.sort_by_key(|(i, _)| *i);
        }
    }

    /// Number of values that they take as much memory as.
    pub fn cells(&self) -> usize {
        self.0.iter().map(|(_, h)| h.cells()).sum()
    }
}

/// A series with its column.
#[derive(Debug)]
pub struct Row {
    pub labels: Labels,
    /// The metric name no longer describes the values; it is taken away at the query's end.
    pub drop_name: bool,
    pub values: Vec<f64>,
    pub histograms: Histograms,
}

impl Row {
    /// A series of floats.
    pub fn floats(labels: Labels, drop_name: bool, values: Vec<f64>) -> Self {
        Self { labels, drop_name, values, histograms: Histograms::default() }
    }

    /// Makes holes of the histograms, and gives them.
    pub fn take_histograms(&mut self) -> Histograms {
        let histograms = std::mem::take(&mut self.histograms);
        for (i, _) in histograms.iter() {
            self.values[i] = NONE;
        }
        histograms
    }

    /// Removes the histograms whose places became holes.
    pub fn drop_holes(&mut self) {
        let values = &self.values;
        self.histograms.0.retain(|(i, _)| is_some(values[*i as usize]));
    }

    /// Whether any sample is a float.
    pub fn has_floats(&self) -> bool {
        self.histograms.is_empty()
            || self.values.iter().filter(|v| is_some(**v)).count() > self.histograms.0.len()
    }

    /// Whether no sample is left.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|v| is_none(*v))
    }
}

/// The times that a selector looks at, one for each evaluation: shifted by `offset`, or fixed by `@`.
#[derive(Debug, Clone, Copy)]
pub struct References {
    pub grid: Grid,
    pub offset_ms: i64,
    pub pinned_ms: Option<i64>,
}

impl References {
    pub fn at(&self, step: usize) -> i64 {
        self.pinned_ms.unwrap_or_else(|| self.grid.time(step)) - self.offset_ms
    }

    pub fn first(&self) -> i64 {
        self.at(0)
    }

    pub fn last(&self) -> i64 {
        self.at(self.grid.count.saturating_sub(1))
    }
}
