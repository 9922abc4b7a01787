//! Facts on their way to other servers, and series read from them: Prometheus' remote write and
//! remote read, as clients, and exports to where users of cAdvisor keep theirs.
//!
//! Samples wait in one bounded [`Spool`] on disk, which every receiver reads at its own pace; a
//! [`Receiver`](receiver::Receiver) decides what is sent when, and what an answer means. Both are
//! synchronous and deterministic. [`Remote`] runs them: a thread for each receiver, so that none waits
//! for another. Where samples come from, and how HTTP is spoken, are the business of others.

mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod metrics;
mod read;
pub mod receiver;
mod remote;
mod sender;
mod spool;

pub use export::{
    BatchLimits, Elasticsearch, Export, ExportConfig, ExportPlan, Exports, FileSink, IndexPer, InfluxDb,
    InfluxVersion, Kafka, KafkaCompression, Redis, Sasl, SaslMechanism, Shape, SinkConfig, Statsd,
};
pub use http::{HttpError, ReadTransport, WriteTransport};
pub use metrics::ReceiverMetrics;
pub use read::{Answered, DecodeChunk, Fetch, MergedReader, ReadSource};
pub use receiver::{Answer, Attempt, Outcome, Target, Written, retry_after};
pub use remote::{Error, Parts, Remote, Tee};
pub use sender::Transport;
pub use spool::{Losses, Spool, SpoolConfig, SpoolReader, Spooled};
