//! The one envelope in which facts travel, over a channel or a network.
//!
//! Queueing, retry, acknowledgement and metering look at the envelope only; `ingest` opens it
//! once and continues with typed code.

use std::sync::Arc;

use crate::{Event, Exemplar, Labels, MetricMetadata, NativeHistogram};

/// Where a batch comes from. (origin, sequence) names a batch for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whose data it is; `default` where there is one tenant only.
    pub tenant: String,
    /// Which cluster, or the host's name on a single host.
    pub cluster: String,
    /// Which sender: host name and role.
    pub source: String,
    /// Changes whenever the sender's numbering starts anew.
    pub epoch: u64,
}

/// Facts on their way into the stores.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The sender.
    pub origin: Origin,
    /// Number of the batch, growing by one for each batch of one origin.
    pub seq: u64,
    /// The facts.
    pub payload: Payload,
}

/// The facts of a batch. A new signal is a new variant.
#[derive(Debug, Clone)]
pub enum Payload {
    /// Metric samples.
    Samples(Samples),
    /// Events, findings included.
    Events(Vec<Event>),
}

/// Samples as columns over a dictionary of series that sender and receiver share, so that a
/// known series costs four bytes and no allocation.
///
/// The sender numbers its series. A series is defined in the batch that first uses it; later
/// batches of the same origin only give the number. A receiver that does not know a number (it
/// started anew) answers [`Rejected::UnknownSeries`], and the sender defines all of its series again.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Series defined by this batch; a number may be given to another series once retired.
    pub defined: Vec<SeriesDefinition>,
    /// Numbers that the sender will use no more; a staleness marker is written for each at the
    /// time of the last row.
    pub retired: Vec<u32>,
    /// Numbers that the sender will use no more, of series that have ended before or live on under
    /// another number: nothing is written for them.
    pub released: Vec<u32>,
    /// What is known of the families, sent when it changes.
    pub metadata: Vec<MetricMetadata>,
    /// The samples.
    pub rows: Vec<Row>,
    /// The samples that are native histograms.
    pub histograms: Vec<HistogramSample>,
    /// Exemplars of these or earlier samples.
    pub exemplars: Vec<ExemplarSample>,
}

/// An exemplar of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct ExemplarSample {
    /// The series' number.
    pub series: u32,
    /// The exemplar.
    pub exemplar: Exemplar,
}

/// A sample that is a native histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The series' number.
    pub series: u32,
    /// Since when it counts (start timestamp), 0 where that is not known.
    pub start_ms: i64,
    /// The histogram.
    pub histogram: Arc<NativeHistogram>,
}

/// Gives a series its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesDefinition {
    /// The number.
    pub series: u32,
    /// The labels, metric name included.
    pub labels: Labels,
}

/// Samples of one time: what one pass over one target gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Series numbers.
    pub series: Vec<u32>,
    /// One value for each number.
    pub values: Vec<f64>,
    /// Since when each counts (start timestamp), 0 where that is not known. Empty where it is known of
    /// none.
    pub starts_ms: Vec<i64>,
    /// Whether samples that are not later than the last of their series are left out, even where late
    /// ones are taken: for staleness markers, which must not end a series that went on elsewhere.
    pub newest_only: bool,
}

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    /// The receiver does not know a series number: define all again, then send again.
    #[error("series {0} is not defined at the receiver")]
    UnknownSeries(u32),
    /// The receiver cannot take it now: send the same batch again later.
    #[error("{0}")]
    Retry(String),
    /// The batch itself is wrong: sending it again cannot help.
    #[error("{0}")]
    Invalid(String),
}

/// Takes batches. `Ok` acknowledges: the facts are written and survive the end of this process.
pub trait Sink: Send + Sync {
    /// Hands over one batch.
    fn accept(&self, batch: &Batch) -> Result<(), Rejected>;
}
