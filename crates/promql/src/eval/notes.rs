//! What is told about native histograms, in Prometheus' words.

use super::annotations::{Annotations, Detail};
use crate::{histogram::Merged, output::AnnotationKind, span::Span, syntax::quote::quote};

/// What was done with two histograms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

/// A thing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note<'n> {
    /// A range, or the samples of one time, hold both.
    MixedTypes(&'n str),
    MixedTypesInAggregation,
    MixedSchemas(&'n str),
    NotCounter(&'n str),
    NotGauge(&'n str),
    IgnoredInRange(&'n str),
    IgnoredInAggregation(&'n str),
    Collision(Operation),
    Reconciled(Operation),
    IncompatibleLayout(&'n str),
    IncompatibleTypes(&'n str, &'n str, &'n str),
    StartOverlap(&'n str),
}

impl Note<'_> {
    fn text(&self) -> (AnnotationKind, String) {
        use AnnotationKind::{Info, Warning};
        match self {
            Self::MixedTypes(name) => (
                Warning,
                format!("encountered a mix of histograms and floats for metric name {}", quote(name)),
            ),
            Self::MixedTypesInAggregation => {
                (Warning, "encountered a mix of histograms and floats for aggregation".to_owned())
            }
            Self::MixedSchemas(name) => (
                Warning,
                format!(
                    "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}",
                    quote(name)
                ),
            ),
            Self::NotCounter(name) => {
                (Warning, format!("this native histogram metric is not a counter: {}", quote(name)))
            }
            Self::NotGauge(name) => {
                (Warning, format!("this native histogram metric is not a gauge: {}", quote(name)))
            }
            Self::IgnoredInRange(name) => (
                Info,
                format!(
                    "ignored histograms in a range containing both floats and histograms for metric name {}",
                    quote(name)
                ),
            ),
            Self::IgnoredInAggregation(name) => (Info, format!("ignored histogram in {name} aggregation")),
            Self::Collision(operation) => {
                (Warning, format!("conflicting counter resets during histogram {}", operation.as_str()))
            }
            Self::Reconciled(operation) => {
                (Info, format!("mismatched custom buckets were reconciled during {}", operation.as_str()))
            }
            Self::IncompatibleLayout(op) => {
                (Warning, format!("incompatible bucket layout encountered for binary operator {op}"))
            }
            Self::IncompatibleTypes(left, op, right) => (
                Info,
                format!(
                    "incompatible sample types encountered for binary operator {}: {left} {op} {right}",
                    quote(op)
                ),
            ),
            Self::StartOverlap(name) => (
                Warning,
                format!(
                    "sample has start time that overlaps with previous sample timestamp for metric {}",
                    quote(name)
                ),
            ),
        }
    }
}

/// Tells about one piece of a query.
#[derive(Debug, Clone, Copy)]
pub struct Notes<'n> {
    pub annotations: &'n Annotations,
    pub span: Span,
    /// Name of the metric at hand.
    pub name: &'n str,
}

impl Notes<'_> {
    pub fn tell(&self, note: Note<'_>) {
        let (kind, message) = note.text();
        let detail =
            if matches!(note, Note::StartOverlap(_)) { Detail::Occurrences(1) } else { Detail::None };
        self.annotations.add(kind, self.span, message, detail);
    }

    /// Tells that bounds had to be reconciled.
    pub fn reconciled(&self, merged: Merged, operation: Operation) {
        if merged.reconciled {
            self.tell(Note::Reconciled(operation));
        }
    }
}
