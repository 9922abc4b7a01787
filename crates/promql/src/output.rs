//! What a query answers.

use std::fmt;

use vedette_model::Labels;

use crate::{ast::ValueType, span::Span};

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
    /// The value.
    pub value: f64,
}

/// Samples of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The series.
    pub labels: Labels,
    /// The samples, in order of time.
    pub points: Vec<Point>,
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
