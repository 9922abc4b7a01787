//! The nouns of Vedette: labels, samples, events, findings, workload identity, the envelope
//! they travel in, and the traits by which stored series are read.
//!
//! This crate knows no bytes, no serialization and no Kubernetes type, so that every other
//! crate can speak these words without pulling in how they are stored or sent.

mod batch;
pub mod cluster;
mod event;
mod figures;
mod finding;
mod histogram;
mod identity;
mod labels;
mod machine;
mod matcher;
mod names;
mod read;
mod regexp;
mod relabel;
mod rollup;
mod sample;
pub mod status;
mod target;
mod target_state;
pub mod telemetry;
mod usage;
mod workload;

pub use batch::{
    Batch, ExemplarSample, HistogramSample, Origin, Payload, Rejected, Row, Samples, SeriesDefinition, Sink,
};
pub use event::{
    ApiRequest, Event, EventKind, Fact, KubernetesEvent, NAMED_PIPE_BIT, Socket, SocketDirection,
    StreamTarget, Transport,
};
pub use figures::{HeadFigures, SegmentFigures, StoreFigures};
pub use finding::{Finding, FindingState, Severity};
pub use histogram::{
    CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMAS, HISTOGRAM_BUCKETS_MAX, HistogramCounts, HistogramError,
    NativeHistogram, ResetHint, Span,
};
pub use identity::{Ancestor, Container, Host, Process, ProcessKey};
pub use labels::{Labels, LabelsBuilder, MAX_LABEL_BYTES, METRIC_NAME};
pub use machine::{DiskFacts, MachineFacts, NetworkFacts, ProcessFigures};
pub use matcher::{MatchOp, Matcher};
pub use names::NameScheme;
pub use read::{
    ChangeMark, Changes, ChunkSummary, Exemplar, Hints, LabelQuery, MetricReader, Notes, ReadError,
    SampleBuffer, Select, SeriesSet, Thinning, TimeRange,
};
pub use regexp::{GroupRegexp, Regexp, RegexpError};
pub use relabel::{
    LabelChange, RelabelAction, RelabelConfig, RelabelError, RelabelRule, RelabelStep, relabel, relabel_steps,
};
pub use rollup::{RollupHistograms, RollupRow, RollupSet, histogram_may_reset, value_changes};
pub use sample::{MetricKind, MetricMetadata, STALE_NAN_BITS, is_stale, stale_nan};
pub use target::{ADDRESS_LABEL, TargetGroup};
pub use target_state::{DroppedTarget, PoolState, TargetHealth, TargetReader, TargetState};
pub use usage::{MinuteUsage, Percentiles, Spread, processor_rate};
pub use workload::{Directory, Identify, PodContainer, PodIdentity, Workload, WorkloadQuestion};
