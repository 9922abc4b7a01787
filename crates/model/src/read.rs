//! How stored series are read. `tsdb` implements these traits, `promql` and `api` call them.
//!
//! A selection names the series; samples are decoded series by series into a caller's buffer,
//! from as many threads as the caller likes. Nobody ever holds all samples of a selection.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;

use crate::{Labels, Matcher, MetricMetadata, NativeHistogram, RollupSet};

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
    #[inline]
    pub fn overlaps(self, other: Self) -> bool {
        self.start_ms <= other.end_ms && other.start_ms <= self.end_ms
    }

    /// Whether `time_ms` lies in the range.
    #[inline]
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
    /// Values, staleness markers included. Where the sample is a native histogram its sum, so
    /// that a staleness marker is one in either case.
    pub values: Vec<f64>,
    /// The samples that are native histograms: index in the other columns, growing, and histogram.
    pub histograms: Vec<(u32, Arc<NativeHistogram>)>,
    /// Since when each sample counts (start timestamp), 0 where that is not known. Empty where
    /// it is known of none.
    pub starts_ms: Vec<i64>,
}

impl SampleBuffer {
    /// Forgets all samples and keeps the memory.
    pub fn clear(&mut self) {
        self.times_ms.clear();
        self.values.clear();
        self.histograms.clear();
        self.starts_ms.clear();
    }

    /// Adds one sample.
    #[inline]
    pub fn push(&mut self, time_ms: i64, value: f64) {
        self.times_ms.push(time_ms);
        self.values.push(value);
        if !self.starts_ms.is_empty() {
            self.starts_ms.push(0);
        }
    }

    /// Adds one sample that is a histogram.
    pub fn push_histogram(&mut self, time_ms: i64, histogram: Arc<NativeHistogram>) {
        self.push(time_ms, histogram.sum);
        self.histograms.push((self.times_ms.len() as u32 - 1, histogram));
    }

    /// Tells since when the sample that was added last counts; 0 where that is not known.
    pub fn set_last_start(&mut self, start_ms: i64) {
        if start_ms != 0 && self.starts_ms.is_empty() {
            self.starts_ms.resize(self.times_ms.len(), 0);
        }
        if let Some(last) = self.starts_ms.last_mut() {
            *last = start_ms;
        }
    }

    /// The histogram at an index, `None` where the sample is a float.
    pub fn histogram(&self, index: usize) -> Option<&Arc<NativeHistogram>> {
        let found = self.histograms.binary_search_by_key(&index, |(i, _)| *i as usize);
        found.ok().map(|at| &self.histograms[at].1)
    }

    /// Since when the sample at an index counts, 0 where that is not known.
    pub fn start_ms(&self, index: usize) -> i64 {
        self.starts_ms.get(index).copied().unwrap_or(0)
    }

    /// Forgets the samples from index `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.times_ms.truncate(length);
        self.values.truncate(length);
        self.histograms.truncate(self.histograms.partition_point(|(i, _)| (*i as usize) < length));
        self.starts_ms.truncate(length);
    }

    /// Removes the samples from index `start` on whose time is not in `range`.
    pub fn cut_to(&mut self, range: TimeRange, start: usize) {
        let times = &self.times_ms[start..];
        let end = start + times.partition_point(|&t| t <= range.end_ms);
        let begin = (start + times.partition_point(|&t| t < range.start_ms)).min(end);
        self.truncate(end);
        if begin == start {
            return;
        }
        self.times_ms.drain(start..begin);
        self.values.drain(start..begin);
        if !self.starts_ms.is_empty() {
            self.starts_ms.drain(start..begin);
        }
        let moved = (begin - start) as u32;
        self.histograms.retain_mut(|(i, _)| {
            let index = *i as usize;
            if index >= begin {
                *i -= moved;
            }
            index < start || index >= begin
        });
    }

    /// Appends the samples of another buffer.
    pub fn extend_from(&mut self, other: &Self) {
        let before = self.times_ms.len();
        if !other.starts_ms.is_empty() && self.starts_ms.is_empty() {
            self.starts_ms.resize(before, 0);
        }
        self.times_ms.extend_from_slice(&other.times_ms);
        self.values.extend_from_slice(&other.values);
        self.histograms.extend(other.histograms.iter().map(|(i, h)| (i + before as u32, Arc::clone(h))));
        self.starts_ms.extend_from_slice(&other.starts_ms);
        if !self.starts_ms.is_empty() {
            self.starts_ms.resize(self.times_ms.len(), 0);
        }
    }

    /// Number of samples.
    #[inline]
    pub fn len(&self) -> usize {
        self.times_ms.len()
    }

    /// Whether there is no sample.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.times_ms.is_empty()
    }
}

/// A trace or another witness that stands for the samples of a series near it.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Labels, such as `trace_id`.
    pub labels: Labels,
    /// The observed value.
    pub value: f64,
    /// When it was observed, milliseconds since the Unix epoch.
    pub time_ms: i64,
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
    /// Whether a staleness marker, NaN, histogram or start timestamp lies in the stretch, so that it must be
    /// decoded.
    pub special: bool,
}

/// Which samples stand for all of a stretch that lies in a window as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinning {
    /// The first.
    First,
    /// The last.
    Last,
    /// A smallest, wherever it is.
    Least,
    /// A largest, wherever it is.
    Greatest,
    /// The first and the last.
    Ends,
    /// The first and the last, of a stretch in which no value is lower than the one before.
    EndsOfGrowth,
    /// Any one.
    Any,
}

impl Thinning {
    /// Appends the samples that stand for a stretch and gives how many were left out; `None`, and nothing
    /// is appended, where only all of them tell.
    pub fn of(self, stretch: &ChunkSummary, out: &mut SampleBuffer) -> Option<u64> {
        let ChunkSummary { range: TimeRange { start_ms, end_ms }, count, .. } = *stretch;
        let before = out.len();
        // Of -0 and 0 either may be told as the smallest.
        let sign_is_known = |value: f64| value != 0.0;
        match self {
            _ if stretch.special || count == 0 => return None,
            Self::First => out.push(start_ms, stretch.first),
            Self::Last | Self::Any => out.push(end_ms, stretch.last),
            Self::Least if sign_is_known(stretch.min) => out.push(start_ms, stretch.min),
            Self::Greatest if sign_is_known(stretch.max) => out.push(start_ms, stretch.max),
            Self::Ends | Self::EndsOfGrowth if self == Self::Ends || stretch.resets == 0 => {
                out.push(start_ms, stretch.first);
                if count > 1 {
                    out.push(end_ms, stretch.last);
                }
            }
            _ => return None,
        }
        Some(count - (out.len() - before) as u64)
    }
}

/// A moment in the life of a store; what its numbers mean is the store's own affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeMark {
    /// Counts changes.
    pub number: u64,
    /// The time from which the age of samples was counted.
    pub time_ms: i64,
}

/// What changed in a store between two moments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The later moment. Whoever reads after it may miss what comes after it, and nothing before.
    pub mark: ChangeMark,
    /// Every sample that came, went or became another one in between stands at a time in one of
    /// these. They may hold more, never less.
    pub ranges: Vec<TimeRange>,
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

    /// As [`SeriesSet::read`] for a window that is the whole range, but a store may give of stretches those
    /// samples only that stand for all; tells how many were left out. They are all numbers, not markers, and
    /// without start timestamps.
    fn read_thinned(
        &self,
        series: usize,
        range: TimeRange,
        thinning: Thinning,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        let _ = thinning;
        self.read(series, range, out).map(|()| 0)
    }
}

/// What an answer lacks, collected while it is made.
#[derive(Debug, Default)]
pub struct Notes(Mutex<BTreeSet<String>>);

impl Notes {
    /// Notes something, once.
    pub fn add(&self, text: impl Into<String>) {
        self.0.lock().insert(text.into());
    }

    /// All that was noted, in order of the texts.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}

/// A store of series, seen by its readers.
pub trait MetricReader: Send + Sync {
    /// Finds series. Decodes no sample. A series without sample in the range may be among them.
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError>;

    /// As [`MetricReader::select`], with rollups of steps of `step_ms`: where windows are made of
    /// whole steps, rows stand for samples, and they reach further back. `None` when there are none
    /// of that step. Which functions they answer exactly: `docs/design/rollups.md`.
    fn rollups(&self, select: &Select, step_ms: i64) -> Result<Option<Box<dyn RollupSet>>, ReadError> {
        let _ = (select, step_ms);
        Ok(None)
    }

    /// What may have changed since a moment that an earlier call gave; without one, everything.
    /// Answers that were made of unchanged times only may be given again. A store that cannot tell
    /// answers `None`, and nothing may be given again.
    fn changes(&self, since: Option<ChangeMark>) -> Option<Changes> {
        let _ = since;
        None
    }

    /// This store for one question, by which it is noted what the answer lacks. `None` where answers are
    /// always whole.
    fn noting(&self, notes: &Arc<Notes>) -> Option<Arc<dyn MetricReader>> {
        let _ = notes;
        None
    }

    /// Label names in use, sorted.
    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError>;

    /// Values of one label, sorted.
    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError>;

    /// Label sets of series, sorted.
    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError>;

    /// Exemplars of the series that satisfy all matchers of any one set, in order of labels and
    /// time. A store that keeps none gives none.
    fn exemplars(&self, query: &LabelQuery) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        let _ = query;
        Ok(Vec::new())
    }

    /// What is known of metric families, sorted by name; `family` narrows to one, `limit` 0 means all.
    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> SampleBuffer {
        let mut buffer = SampleBuffer::default();
        buffer.push(10, 1.0);
        buffer.push_histogram(20, Arc::new(NativeHistogram::stale()));
        buffer.set_last_start(5);
        buffer.push(30, 3.0);
        buffer.push_histogram(40, Arc::new(NativeHistogram::stale()));
        buffer
    }

    #[test]
    fn columns_stay_together_when_cut() {
        for (start_ms, end_ms, start, expected) in [
            (20, 40, 0, vec![(20, true, 5), (30, false, 0), (40, true, 0)]),
            (25, 35, 0, vec![(30, false, 0)]),
            (40, 40, 1, vec![(10, false, 0), (40, true, 0)]),
            (50, 60, 0, vec![]),
            (0, 20, 0, vec![(10, false, 0), (20, true, 5)]),
        ] {
            let mut cut = buffer();
            cut.cut_to(TimeRange { start_ms, end_ms }, start);
            let rows: Vec<_> = (0..cut.len())
                .map(|i| (cut.times_ms[i], cut.histogram(i).is_some(), cut.start_ms(i)))
                .collect();
            assert_eq!(rows, expected, "{start_ms}..={end_ms} from {start}");
            assert_eq!(cut.values.len(), cut.len());
        }
    }

    #[test]
    fn columns_stay_together_when_joined() {
        let mut joined = SampleBuffer::default();
        joined.push(1, 0.5);
        joined.extend_from(&buffer());
        assert_eq!(joined.histograms.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(joined.starts_ms, [0, 0, 5, 0, 0]);
        joined.push(50, 1.0);
        assert_eq!(joined.starts_ms.len(), joined.len());
    }
}
