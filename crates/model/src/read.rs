//! How stored series are read. `tsdb` implements these traits, `promql` and `api` call them.
//!
//! A selection names the series; samples are decoded series by series into a caller's buffer,
//! from as many threads as the caller likes. Nobody ever holds all samples of a selection.

use crate::{Labels, Matcher, MetricMetadata};

/// Times in milliseconds since the Unix epoch, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// First millisecond.
    pub start_ms: i64,
    /// Last millisecond.
    pub end_ms: i64,
}

impl TimeRange {
    /// Everything.
    pub const ALL: Self = Self { start_ms: i64::MIN, end_ms: i64::MAX };

    /// Whether the two ranges share a millisecond.
    pub fn overlaps(self, other: Self) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }

    /// Whether `time_ms` lies in the range.
    pub fn contains(self, time_ms: i64) -> bool {
        (self.start_ms..=self.end_ms).contains(&time_ms)
    }
}

/// What the reader will do with the series; a store may use it to read less, never to answer
/// something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Step between evaluations, 0 for a single one.
    pub step_ms: i64,
    /// Width of the range selector, 0 for an instant selector.
    pub range_ms: i64,
    /// The function or aggregation applied first, if any.
    pub function: Option<&'static str>,
    /// Labels of a `by` or `without` clause.
    pub grouping: Vec<String>,
    /// Whether `grouping` is a `by` clause.
    pub by: bool,
}

/// Which series to read, and over which time.
#[derive(Debug, Clone)]
pub struct Select {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// The time of interest.
    pub range: TimeRange,
    /// How the series are used.
    pub hints: Hints,
    /// At most this many series; more is `ReadError::TooManySeries`. 0 means no limit.
    pub series_max: usize,
}

/// Which names, values or series to list.
#[derive(Debug, Clone)]
pub struct LabelQuery {
    /// Sets of matchers; a series counts when it satisfies all of any one set. No set means all series.
    pub matcher_sets: Vec<Vec<Matcher>>,
    /// The time in which a series must have a sample.
    pub range: TimeRange,
    /// At most this many answers; 0 means no limit.
    pub limit: usize,
}

/// Why series cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The selection is larger than allowed.
    #[error("the selection has more than {max} series; narrow it with further matchers")]
    TooManySeries {
        /// The limit.
        max: usize,
    },
    /// Stored bytes are damaged; the place is named.
    #[error("stored data is damaged in {place}")]
    Damaged {
        /// File and offset.
        place: String,
    },
    /// The machine refused.
    #[error("cannot read {place}")]
    Io {
        /// The file.
        place: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Samples of one series as columns, in order of time, one sample a millisecond at most.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SampleBuffer {
    /// Milliseconds since the Unix epoch.
    pub times_ms: Vec<i64>,
    /// Values, staleness markers included.
    pub values: Vec<f64>,
}

impl SampleBuffer {
    /// Forgets all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
    }

    /// Adds one sample.
    pub fn push(&mut self, time_ms: i64, value: f64) {
        self.times_ms.push(time_ms);
        self.values.push(value);
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.times_ms.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty()
    }
}

/// What is known of a stretch of one series without decoding it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkSummary {
    /// The stretch; stretches of one series do not overlap.
    pub range: TimeRange,
    /// Number of samples, staleness markers not counted.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// First value.
    pub first: f64,
    /// Last value.
    pub last: f64,
    /// How often a value was lower than the one before, as a counter's reset.
    pub resets: u32,
    /// Whether a staleness marker or NaN lies in the stretch, so that it must be decoded.
    pub special: bool,
}

/// The series of one selection, in order of their labels, fixed at the time of selecting.
pub trait SeriesSet: Send + Sync {
    /// Number of series.
    fn len(&self) -> usize;

    /// Whether the selection is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels of a series.
    fn labels(&self, series: usize) -> Labels;

    /// Appends summaries of the stretches of `series` that overlap `range`, in order of time.
    /// A store that keeps none appends nothing.
    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>);

    /// Appends the samples of `series` in `range` to `out`, in order of time.
    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError>;
}

/// A store of series, seen by its readers.
pub trait MetricReader: Send + Sync {
    /// Finds series. Decodes no sample. A series without sample in the range may be among them.
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError>;

    /// Label names in use, sorted.
    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError>;

    /// Values of one label, sorted.
    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError>;

    /// Label sets of series, sorted.
    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError>;

    /// What is known of metric families, sorted by name; `family` narrows to one, `limit` 0 means all.
    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata>;
}
