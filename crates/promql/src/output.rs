//! What a query answers.

use std::{fmt, sync::Arc};

use vedette_model::Labels;

use crate::{Histogram, ast::ValueType, eval::is_some, span::Span};

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutput {
    /// The value.
    pub value: Value,
    /// What is probably wrong with the query or the data; sorted, each once.
    pub warnings: Vec<Annotation>,
    /// What the reader should know; sorted, each once.
    pub infos: Vec<Annotation>,
    /// What it took.
    pub stats: Stats,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Scalar {
        /// Milliseconds since the Unix epoch.
        time_ms: i64,
        /// The number.
        value: f64,
    },
    /// Text.
    String {
        /// Milliseconds since the Unix epoch.
        time_ms: i64,
        /// The text.
        value: String,
    },
    /// One sample of each series.
    Vector(Vec<Sample>),
    /// Samples of each series, sorted by labels; no series is without samples.
    Matrix(Vec<Series>),
}

impl Value {
    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Scalar { .. } => ValueType::Scalar,
            Self::String { .. } => ValueType::String,
            Self::Vector(_) => ValueType::Vector,
            Self::Matrix(_) => ValueType::Matrix,
        }
    }
}

/// One sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series.
    pub labels: Labels,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The value; of a histogram its sum.
    pub value: f64,
    /// The native histogram, if the sample is one.
    pub histogram: Option<Arc<Histogram>>,
}

/// Samples of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// The samples that are floats, in order of time.
    pub points: Vec<Point>,
    /// The samples that are native histograms: milliseconds since the Unix epoch, and histogram,
    /// in order of time.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
}

impl Series {
    /// As it is handed on.
    pub fn as_answered(&self) -> Answered<'_> {
        Answered { labels: &self.labels, points: Points::Each(&self.points), histograms: &self.histograms }
    }
}

/// A series of an answer, handed on before the next one is there.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The series.
    pub labels: &'a Labels,
    /// The samples that are floats.
    pub points: Points<'a>,
    /// The samples that are native histograms: milliseconds since the Unix epoch, and histogram,
    /// in order of time.
    pub histograms: &'a [(i64, Arc<Histogram>)],
}

impl Answered<'_> {
    /// The series by itself.
    pub fn to_series(&self) -> Series {
        let mut points = Vec::with_capacity(self.points.count());
        points.extend(self.points.iter().map(|(time_ms, value)| Point { time_ms, value }));
        Series { labels: self.labels.clone(), points, histograms: self.histograms.to_vec() }
    }
}

/// Samples in order of time.
#[derive(Debug, Clone, Copy)]
pub enum Points<'a> {
    /// One by one.
    Each(&'a [Point]),
    /// One for each step, of which some are no sample.
    Steps {
        /// Time of the first, in milliseconds since the Unix epoch.
        start_ms: i64,
        /// From one to the next.
        step_ms: i64,
        /// The values; [`Points::iter`] knows which are none.
        values: &'a [f64],
    },
    /// As the steps, with values as text.
    Written {
        /// Time of the first, in milliseconds since the Unix epoch.
        start_ms: i64,
        /// From one to the next.
        step_ms: i64,
        /// The values.
        values: &'a [Written],
    },
}

impl<'a> Points<'a> {
    /// Times and values.
    pub fn iter(self) -> impl Iterator<Item = (i64, f64)> + 'a {
        let (each, start_ms, step_ms, values, written) = match self {
            Self::Each(each) => (each, 0, 0, &[][..], &[][..]),
            Self::Steps { start_ms, step_ms, values } => (&[][..], start_ms, step_ms, values, &[][..]),
            Self::Written { start_ms, step_ms, values } => (&[][..], start_ms, step_ms, &[][..], values),
        };
        let time_ms = move |step: usize| start_ms + step_ms * step as i64;
        let steps = values.iter().enumerate().filter(|(_, v)| is_some(**v));
        let steps = steps.map(move |(i, v)| (time_ms(i), *v));
        let written = written.iter().enumerate();
        let written = written.filter_map(move |(i, w)| Some((time_ms(i), w.value()?)));
        each.iter().map(|p| (p.time_ms, p.value)).chain(steps).chain(written)
    }

    /// How many there are.
    pub fn count(self) -> usize {
        match self {
            Self::Each(each) => each.len(),
            Self::Steps { values, .. } => values.iter().filter(|v| is_some(**v)).count(),
            Self::Written { values, .. } => values.iter().filter(|w| w.is_some()).count(),
        }
    }
}

/// Writes a number. What it writes of a finite one must be read as the same number by Rust.
pub type WriteNumber = fn(&mut Vec<u8>, f64);

/// The value of a step, which is written once and then handed on many times: its text, or the
/// number itself where that is not written yet or is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    bytes: [u8; 23],
    /// Of the text, or one of the two below.
    length: u8,
}

/// There is no value.
const WRITTEN_NONE: u8 = 0xff;
/// The bits of the number are there instead of a text.
const WRITTEN_NUMBER: u8 = 0xfe;

impl Written {
    /// No value.
    pub const NONE: Self = Self { bytes: [0; 23], length: WRITTEN_NONE };

    /// A number that is not written yet; `NONE` where the step has none.
    pub(crate) fn number(value: f64) -> Self {
        let mut bytes = [0; 23];
        bytes[..8].copy_from_slice(&value.to_bits().to_le_bytes());
        let length = if is_some(value) { WRITTEN_NUMBER } else { WRITTEN_NONE };
        Self { bytes, length }
    }

    /// Writes it, if that was not done.
    pub(crate) fn write(&mut self, write: WriteNumber, scratch: &mut Vec<u8>) {
        if self.length != WRITTEN_NUMBER {
            return;
        }
        let value = self.bits();
        // There are many NaN, and one text for all of them.
        if value.is_nan() {
            return;
        }
        scratch.clear();
        write(scratch, value);
        if let Some(bytes) = self.bytes.get_mut(..scratch.len()) {
            bytes.copy_from_slice(scratch);
            self.length = scratch.len() as u8;
        }
    }

    /// Whether there is a value.
    pub fn is_some(&self) -> bool {
        self.length != WRITTEN_NONE
    }

    /// The text, if it is written.
    pub fn text(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(self.length))
    }

    /// The value.
    pub fn value(&self) -> Option<f64> {
        match self.text() {
            Some(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            None => self.is_some().then(|| self.bits()),
        }
    }

    fn bits(&self) -> f64 {
        let mut bits = [0; 8];
        bits.copy_from_slice(&self.bytes[..8]);
        f64::from_bits(u64::from_le_bytes(bits))
    }
}

/// What is known of an answer when its last series is handed on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ended {
    /// What is probably wrong with the query or the data; sorted, each once.
    pub warnings: Vec<Annotation>,
    /// What the reader should know; sorted, each once.
    pub infos: Vec<Annotation>,
    /// What it took.
    pub stats: Stats,
}

/// A value at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The value.
    pub value: f64,
}

/// What a query took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Series that selectors found.
    pub series_selected: u64,
    /// Samples that were read from the store.
    pub samples_read: u64,
    /// Of these, native histograms.
    pub histograms_read: u64,
    /// The largest number of samples held in memory at once.
    pub samples_peak: u64,
}

/// How bad an annotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AnnotationKind {
    /// The answer may be wrong.
    Warning,
    /// The answer is right, but look.
    Info,
}

/// Something to tell the person who asked, with its place in the query. Its text is Prometheus'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// How bad.
    pub kind: AnnotationKind,
    /// What.
    pub message: String,
    /// Where.
    pub span: Span,
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            AnnotationKind::Warning => "warning",
            AnnotationKind::Info => "info",
        };
        write!(f, "PromQL {kind}: {} ({})", self.message, self.span)
    }
}
