//! Prometheus' remote write 1.0: the message `prometheus.WriteRequest`, read and written by hand.
//!
//! [`Request`] reads a body in place. Nothing is copied and nothing is allocated for a series or a
//! sample: a series is the bytes of its labels, which the receiver may look up as they are, and a
//! cursor over its samples. Histograms are rare and large; they are built when asked for.
//! [`Encoder`] writes what other senders of the protocol write, byte by byte.
//!
//! A message may come from anyone. Every length is checked against what is there before it is
//! used, every loop consumes at least a byte, and an error names the place in the message.
//!
//! The body that is sent is this message in Snappy's block format; that is the caller's business.

mod decode;
pub(crate) mod encode;
pub(crate) mod fields;
pub(crate) mod histogram;
pub mod v2;
pub mod v2_encode;

pub use decode::{ExemplarMessage, Item, LabelPairs, Point, Points, Request, SeriesMessage};
pub use encode::{Encoder, encode_histogram, push_labels};
pub use histogram::{DecodedHistogram, HistogramMessage};

#[cfg(test)]
mod tests;

/// The `Content-Type` of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The name of the message, as the parameter `proto` of the `Content-Type` may tell it.
pub const MESSAGE_NAME: &str = "prometheus.WriteRequest";

/// The `Content-Encoding` of a request.
pub const CONTENT_ENCODING: &str = "snappy";

/// The value of the header `X-Prometheus-Remote-Write-Version`.
pub const VERSION: &str = "0.1.0";

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// What is wrong.
    pub reason: &'static str,
    /// The byte of the message at which it was found, from 0.
    pub at: usize,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {} of the message", self.reason, self.at)
    }
}

impl std::error::Error for DecodeError {}
