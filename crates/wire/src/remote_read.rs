//! Prometheus' remote read: a `prometheus.ReadRequest`, answered by all samples at once
//! (`prometheus.ReadResponse`) or chunk by chunk in frames (`prometheus.ChunkedReadResponse`).
//!
//! The bodies of request and first kind of answer are messages in Snappy's block format; that is the
//! caller's business, and so is how the samples of a chunk are encoded.

mod server;

pub use server::{
    AnswerKind, ChunkMessage, FrameWriter, ReadHints, ReadMatcher, ReadQuery, ReadRequest, push_result,
};

/// The `Content-Type` of a request, and of an answer with samples.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The `Content-Type` of an answer in frames.
pub const STREAM_CONTENT_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";

/// The value of the header `X-Prometheus-Remote-Read-Version`.
pub const VERSION: &str = "0.1.0";

#[cfg(test)]
mod tests;
