//! The shape of intermediate results: one column of values for each series, one value for each
//! evaluation time. A column has holes where the series has no sample.

use vedette_model::{Labels, STALE_NAN_BITS};

/// A hole. Staleness markers never appear in results, so their bits are free for it; arithmetic
/// never produces them, as it sets the quiet bit of every NaN.
pub const NONE: f64 = f64::from_bits(STALE_NAN_BITS);

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
}

impl Grid {
    /// Time of an evaluation.
    pub fn time(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }
}

/// A series with its column.
#[derive(Debug)]
pub struct Row {
    pub labels: Labels,
    /// The metric name no longer describes the values; it is taken away at the query's end.
    pub drop_name: bool,
    pub values: Vec<f64>,
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
