//! Metrics of OpenTelemetry as they are pushed (OTLP): an `ExportMetricsServiceRequest`, as Protocol
//! Buffers or as JSON.
//!
//! Both forms are read into the same tree, which borrows texts from the body. What a body can make of
//! memory is bounded: a tree has at most [`NODES_MAX`] points, attributes and exemplars.

mod json;
mod protobuf;
mod value;

use std::borrow::Cow;

pub use value::Value;

/// Points, attributes, values and exemplars of one request; more are refused.
pub const NODES_MAX: usize = 2_000_000;

/// The `Content-Type` of the first form.
pub const PROTOBUF: &str = "application/x-protobuf";
/// The `Content-Type` of the second form.
pub const JSON: &str = "application/json";

/// The bit of `flags` that says that there is no value: the series ends.
const NO_RECORDED_VALUE: u32 = 1;

/// What is wrong with a body, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(String);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

/// Metrics by what they are of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request<'a> {
    /// By resource.
    pub resources: Vec<ResourceMetrics<'a>>,
}

/// Metrics of one resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResourceMetrics<'a> {
    /// What is known of the resource.
    pub attributes: Vec<Attribute<'a>>,
    /// By what measured them.
    pub scopes: Vec<ScopeMetrics<'a>>,
}

/// Metrics of one library.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ScopeMetrics<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its version.
    pub version: Cow<'a, str>,
    /// What else is known of it.
    pub attributes: Vec<Attribute<'a>>,
    /// Where the names of its metrics are explained.
    pub schema_url: Cow<'a, str>,
    /// The metrics.
    pub metrics: Vec<Metric<'a>>,
}

/// A name and a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attribute<'a> {
    /// The name.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

/// A metric.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metric<'a> {
    /// Its name.
    pub name: Cow<'a, str>,
    /// A sentence for people.
    pub description: Cow<'a, str>,
    /// Its unit.
    pub unit: Cow<'a, str>,
    /// Its points.
    pub data: Data<'a>,
}

/// Points of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Data<'a> {
    /// Nothing, or a kind that is not known.
    #[default]
    None,
    /// Numbers that go up and down.
    Gauge(Vec<NumberPoint<'a>>),
    /// Numbers that are counted.
    Sum {
        /// The points.
        points: Vec<NumberPoint<'a>>,
        /// Since when each counts.
        temporality: Temporality,
        /// Whether they only go up.
        is_monotonic: bool,
    },
    /// Histograms whose bounds are told one by one.
    Histogram {
        /// The points.
        points: Vec<HistogramPoint<'a>>,
        /// Since when each counts.
        temporality: Temporality,
    },
    /// Histograms with exponential bounds.
    ExponentialHistogram {
        /// The points.
        points: Vec<ExponentialPoint<'a>>,
        /// Since when each counts.
        temporality: Temporality,
    },
    /// Precomputed quantiles.
    Summary(Vec<SummaryPoint<'a>>),
}

/// Since when points count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Temporality {
    /// Not told, which is against the rules.
    #[default]
    Unspecified,
    /// Since the point before.
    Delta,
    /// Since the start.
    Cumulative,
}

/// What all points have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Common<'a> {
    /// What tells the points of a metric apart.
    pub attributes: Vec<Attribute<'a>>,
    /// Since when it counts, nanoseconds since the Unix epoch; 0 where that is not told.
    pub start_ns: u64,
    /// When it was measured, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// See the specification.
    pub flags: u32,
}

impl Common<'_> {
    /// Whether the point says that the series ends.
    pub fn has_no_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

/// A number.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NumberPoint<'a> {
    /// What all points have.
    pub common: Common<'a>,
    /// The number.
    pub value: f64,
    /// What stands for it.
    pub exemplars: Vec<Exemplar<'a>>,
}

/// A histogram with bounds of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramPoint<'a> {
    /// What all points have.
    pub common: Common<'a>,
    /// Observations.
    pub count: u64,
    /// Their sum, where it has a meaning.
    pub sum: Option<f64>,
    /// Observations of each bucket alone: one more than bounds, or none at all.
    pub buckets: Vec<u64>,
    /// Upper bounds, growing.
    pub bounds: Vec<f64>,
    /// What stands for it.
    pub exemplars: Vec<Exemplar<'a>>,
}

/// A histogram with exponential bounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExponentialPoint<'a> {
    /// What all points have.
    pub common: Common<'a>,
    /// Observations.
    pub count: u64,
    /// Their sum, where it has a meaning.
    pub sum: Option<f64>,
    /// The resolution.
    pub scale: i32,
    /// Observations near zero.
    pub zero_count: u64,
    /// What near means; 0 where that is not told.
    pub zero_threshold: f64,
    /// Positive observations.
    pub positive: Buckets,
    /// Negative observations.
    pub negative: Buckets,
    /// What stands for it.
    pub exemplars: Vec<Exemplar<'a>>,
}

/// Neighbouring buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buckets {
    /// Index of the first.
    pub offset: i32,
    /// Observations of each.
    pub counts: Vec<u64>,
}

/// Precomputed quantiles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SummaryPoint<'a> {
    /// What all points have.
    pub common: Common<'a>,
    /// Observations.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// Quantiles and their values.
    pub quantiles: Vec<(f64, f64)>,
}

/// What stands for a point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exemplar<'a> {
    /// Attributes that the point does not have.
    pub attributes: Vec<Attribute<'a>>,
    /// When it was measured, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// The number.
    pub value: f64,
    /// The trace it is of; empty for none.
    pub trace_id: Vec<u8>,
    /// The span it is of; empty for none.
    pub span_id: Vec<u8>,
}

impl<'a> Request<'a> {
    /// Reads a request in the first form.
    pub fn from_protobuf(body: &'a [u8]) -> Result<Self, Malformed> {
        protobuf::decode(body).map_err(|error| Malformed(error.to_string()))
    }

    /// Reads a request in the second form.
    pub fn from_json(body: &'a [u8]) -> Result<Self, Malformed> {
        json::decode(body).map_err(|error| Malformed(error.to_string()))
    }
}

/// The answer to a request of which some points were refused, as Protocol Buffers; empty where none
/// was.
pub fn partial_success_protobuf(rejected: u64, message: &str) -> Vec<u8> {
    use crate::remote_write::encode::{put_bytes, put_number};
    let (mut inner, mut out) = (Vec::new(), Vec::new());
    put_number(&mut inner, 1, rejected);
    put_bytes(&mut inner, 2, message.as_bytes());
    put_bytes(&mut out, 1, &inner);
    out
}

/// The same as JSON.
pub fn partial_success_json(rejected: u64, message: &str) -> Vec<u8> {
    let answer = serde_json::json!({
        "partialSuccess": { "rejectedDataPoints": rejected.to_string(), "errorMessage": message }
    });
    answer.to_string().into_bytes()
}

#[cfg(test)]
mod tests;
