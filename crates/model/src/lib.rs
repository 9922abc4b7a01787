//! The nouns of Vedette: labels, samples, events, findings, workload identity, the envelope
//! they travel in, and the traits by which stored series are read.
//!
//! This crate knows no bytes, no serialization and no Kubernetes type, so that every other
//! crate can speak these words without pulling in how they are stored or sent.

mod batch;
mod event;
mod finding;
mod identity;
mod labels;
mod matcher;
mod read;
mod sample;
pub mod status;
pub mod telemetry;

pub use batch::{Batch, Origin, Payload, Rejected, Row, Samples, SeriesDefinition, Sink};
pub use event::{Event, EventKind, Fact, Socket, SocketDirection, StreamTarget, Transport};
pub use finding::{Finding, FindingState, Severity};
pub use identity::{Ancestor, Container, Host, Process, ProcessKey};
pub use labels::{Labels, LabelsBuilder, MAX_LABEL_BYTES, METRIC_NAME};
pub use matcher::{MatchOp, Matcher, MatcherError, Pattern, compile_anchored};
pub use read::{
    ChunkSummary, Hints, LabelQuery, MetricReader, ReadError, SampleBuffer, Select, SeriesSet, TimeRange,
};
pub use sample::{MetricKind, MetricMetadata, STALE_NAN_BITS, is_stale, stale_nan};
