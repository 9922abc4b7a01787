//! Prometheus' remote write 2.0: the message `io.prometheus.write.v2.Request`.
//!
//! All texts of a message stand in one table of symbols; labels and metadata are numbers in it.
//! [`Request`] reads a message in place, as that of 1.0 is read: nothing is copied and nothing is
//! allocated for a series or a sample. What the numbers mean is the caller's business, as the table
//! may stand behind the series that use it.

mod decode;

pub use decode::{
    ExemplarMessage, Field, Fields, Item, MetadataMessage, Refs, Request, SampleMessage, SeriesMessage,
    SymbolMessage,
};

/// The name of the message, as the parameter `proto` of the `Content-Type` tells it.
pub const MESSAGE_NAME: &str = "io.prometheus.write.v2.Request";

/// The `Content-Type` of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// The value of the header `X-Prometheus-Remote-Write-Version`.
pub const VERSION: &str = "2.0.0";

/// Headers of an answer: how many of the three kinds were stored.
pub const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
/// See [`SAMPLES_WRITTEN`].
pub const HISTOGRAMS_WRITTEN: &str = "x-prometheus-remote-write-histograms-written";
/// See [`SAMPLES_WRITTEN`].
pub const EXEMPLARS_WRITTEN: &str = "x-prometheus-remote-write-exemplars-written";

#[cfg(test)]
mod tests;
