//! The nouns of Vedette: labels, samples, events, findings, workload identity, the envelope
//! they travel in, and the traits by which stored series are read.
//!
//! This crate knows no bytes, no serialization and no Kubernetes type, so that every other
//! crate can speak these words without pulling in how they are stored or sent.

mod batch;
mod event;
mod finding;
mod histogram;
mod identity;
mod labels;
mod matcher;
mod read;
mod rollup;
mod sample;
pub mod status;
pub mod telemetry;

pub use batch::{Batch, Origin, Payload, Rejected, Row, Samples, SeriesDefinition, Sink};
pub use event::{Event, EventKind, Fact, NAMED_PIPE_BIT, Socket, SocketDirection, StreamTarget, Transport};
pub use finding::{Finding, FindingState, Severity};
pub use histogram::{
    CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMAS, HISTOGRAM_BUCKETS_MAX, HistogramCounts, HistogramError,
    NativeHistogram, ResetHint, Span,
};
pub use identity::{Ancestor, Container, Host, Process, ProcessKey};
pub use labels::{Labels, LabelsBuilder, MAX_LABEL_BYTES, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, MatcherError, Pattern, compile_anchored};
pub use read::{
    ChunkSummary, Exemplar, Hints, LabelQuery, MetricReader, ReadError, SampleBuffer, Select, SeriesSet,
    TimeRange,
};
pub use rollup::{RollupHistograms, RollupRow, RollupSet, histogram_may_reset, value_changes};
pub use sample::{MetricKind, MetricMetadata, STALE_NAN_BITS, is_stale, stale_nan};
