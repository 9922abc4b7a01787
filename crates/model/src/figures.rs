//! What a store of series says of itself: which labels make it grow, and what is sealed.

use crate::TimeRange;

/// A store that knows its figures. Asking may take as long as going through all label pairs does.
pub trait StoreFigures: Send + Sync {
    /// Figures of the series that take samples, with at most `limit` lines in each list.
    fn head_figures(&self, limit: usize) -> HeadFigures;

    /// What is sealed, in order of time.
    fn segment_figures(&self) -> Vec<SegmentFigures>;
}

/// Figures of the series that take samples. Lists have the largest number first, and equal ones in
/// order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadFigures {
    /// How many there are.
    pub series: u64,
    /// How many pairs of label name and value.
    pub label_pairs: u64,
    /// How many chunks.
    pub chunks: u64,
    /// Times of the first and last sample, or `None` where there is none.
    pub range: Option<TimeRange>,
    /// Metric names with the most series.
    pub series_by_metric: Vec<(String, u64)>,
    /// Label names with the most values.
    pub values_by_name: Vec<(String, u64)>,
    /// Label names whose values are the longest in all, each counted once for each series.
    pub bytes_by_name: Vec<(String, u64)>,
    /// Pairs of label name and value, as `name=value`, with the most series.
    pub series_by_pair: Vec<(String, u64)>,
}

/// One sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFigures {
    /// Its number.
    pub id: u64,
    /// Times of its first and last sample.
    pub range: TimeRange,
    /// Samples in it.
    pub samples: u64,
    /// Series in it.
    pub series: u64,
    /// Its size.
    pub bytes: u64,
}
