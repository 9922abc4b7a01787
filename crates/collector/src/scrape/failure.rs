//! Why a scrape failed, in words for the health of the target.

use std::time::Duration;

use vedette_model::HistogramError;
use vedette_scrape::SeriesError;
use vedette_wire::{exposition::ParseError, remote_write::DecodeError};

/// Why a scrape failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no connection, no answer, or only a part of one.
    #[error("{0}")]
    Http(String),
    #[error("the target did not answer within {} (scrape_timeout): {what}", vedette_config::show_duration(*.timeout))]
    Timeout { timeout: Duration, what: &'static str },
    #[error("server returned HTTP status {0}")]
    Status(String),
    #[error("the answer has more than {max} bytes, which is the {limit}")]
    BodySize { max: u64, limit: &'static str },
    #[error(
        "all memory for answers is in use ({max} bytes); set body_size_limit for jobs with large answers"
    )]
    Memory { max: u64 },
    #[error("the compression {0:?} of the answer is not known; gzip and zstd are")]
    Encoding(String),
    #[error("the {encoding} compression of the answer is broken: {reason}")]
    Compression { encoding: &'static str, reason: String },
    #[error(
        "the answer has no Content-Type; set fallback_scrape_protocol for the job if the target cannot tell it"
    )]
    NoContentType,
    #[error(
        "the answer is of type {0:?}, which is no format of metrics; set fallback_scrape_protocol for the job if \
         it is one"
    )]
    ContentType(String),
    #[error("the answer cannot be read: {0}")]
    Text(#[source] ParseError),
    #[error("the answer cannot be read: {0}")]
    Message(#[source] DecodeError),
    #[error("a native histogram contradicts itself: {0}")]
    Histogram(#[source] HistogramError),
    #[error("the label {name:?} is there twice in {family}")]
    LabelTwice { name: String, family: String },
    #[error("{0}")]
    Series(#[source] SeriesError),
    #[error("sample limit exceeded: {found} samples after relabelling, sample_limit is {max}")]
    Samples { found: u64, max: u64 },
    #[error(
        "histogram bucket limit exceeded: {found} buckets at the lowest resolution, \
         native_histogram_bucket_limit is {max}"
    )]
    Buckets { found: usize, max: usize },
    #[error("there is no number left for a new series; fewer series must be scraped")]
    Numbers,
    /// The whole pool fails.
    #[error("{0}")]
    Pool(String),
}
