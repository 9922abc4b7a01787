//! The way of everything that others push, samples and audit records: the body is read here, and stored by whoever composition
//! names.
//!
//! A sender repeats what is answered with 5xx and drops what is answered with 4xx, so "not now" is
//! 503 with a time to wait (429 would lose samples with Prometheus' defaults) and "not ever" 400.
//! Bodies under way have room for so many bytes together; who finds none is told to come again
//! before more of the body is read.

use std::{io::Read, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    Config,
    answer::{self, Answer},
    app::Shared,
};

/// Takes samples, and audit records, that others send. Called on blocking threads, several at a time.
pub trait RemoteWriter: Send + Sync {
    /// Takes the body of a request, its transport's compression undone. When this returns, what it
    /// tells as stored is written.
    fn write(&self, protocol: &Protocol, body: &[u8]) -> RemoteWritten;
}

/// In which protocol a body is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// Prometheus' remote write 1.0, in Snappy's block format.
    RemoteWrite,
    /// Prometheus' remote write 2.0, in Snappy's block format.
    RemoteWriteV2,
    /// An `ExportMetricsServiceRequest` of OpenTelemetry as Protocol Buffers.
    OtlpProtobuf,
    /// The same as JSON.
    OtlpJson,
    /// Lines of InfluxDB's protocol.
    InfluxLines {
        /// What times are told in.
        precision: InfluxPrecision,
        /// The database or bucket that was named; may be empty.
        database: String,
    },
    /// Audit records of an API server, as its webhook sends them (`audit.k8s.io`'s `EventList`).
    Audit {
        /// The cluster, by the name that the configuration gives it.
        cluster: String,
    },
}

/// What the times of InfluxDB's lines are told in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfluxPrecision {
    /// Nothing was said: nanoseconds, unless a number is too small to be that.
    Guess,
    /// Each is so many nanoseconds.
    Nanoseconds(i64),
}

/// What became of a request. The texts are for the sender's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteWritten {
    /// All of it is stored.
    Stored(Counts),
    /// What could be stored is; the sender must not send the rest again.
    Refused(Counts, String),
    /// It is larger than allowed; nothing is stored.
    TooLarge(String),
    /// It cannot be stored now; the sender should send all of it again.
    Retry(String),
}

/// How much of a request was stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples that are numbers.
    pub samples: u64,
    /// Samples that are histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Samples of either kind that are not stored.
    pub refused_samples: u64,
}

/// When a sender may come again, in seconds.
pub(crate) const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What requests that push have to share.
pub struct WriteGate {
    /// One for each request that is being stored.
    turns: Arc<Semaphore>,
    /// One for each byte of a body.
    room: Arc<Semaphore>,
}

impl WriteGate {
    /// A gate with the limits of `config`.
    pub fn new(config: &Config) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(config.writes_max)),
            room: Arc::new(Semaphore::new(config.writes_bytes_max.min(Semaphore::MAX_PERMITS))),
        }
    }
}

/// Why a request is not stored, in part or as a whole. The text is for the sender's log.
pub(crate) struct Refusal {
    pub status: StatusCode,
    pub text: String,
}

impl Refusal {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    pub fn answer(self) -> Answer {
        let mut answer = answer::text(self.status, self.text + "\n");
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        answer
    }
}

/// An answer without content.
pub(crate) fn nothing() -> Answer {
    let mut answer = answer::text(StatusCode::NO_CONTENT, "");
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

/// What the transport did to a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Nothing, or what the protocol itself undoes.
    None,
    /// `Content-Encoding: gzip`.
    Gzip,
}

impl Compression {
    /// What `Content-Encoding` says.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        match headers.get(CONTENT_ENCODING).map(|v| v.as_bytes().to_ascii_lowercase()).as_deref() {
            None | Some(b"" | b"identity") => Ok(Self::None),
            Some(b"gzip" | b"x-gzip") => Ok(Self::Gzip),
            Some(other) => Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!(
                    "Content-Encoding {} is not understood here; send gzip or nothing",
                    String::from_utf8_lossy(other)
                ),
            )),
        }
    }
}

/// Reads a body and has it stored.
pub(crate) async fn take(
    shared: &Arc<Shared>,
    body: Incoming,
    compression: Compression,
    protocol: Protocol,
) -> Result<RemoteWritten, Refusal> {
    let (body, room) =
        tokio::time::timeout(shared.config.body_timeout, read(shared, body)).await.map_err(|_| {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body took too long to come")
        })??;
    let turn = shared.writes.turns.clone().acquire_owned().await.expect("BUG: the semaphore is never closed");
    let (writer, max) = (shared.app.writer.clone(), shared.config.push_bytes_max);
    let written = tokio::task::spawn_blocking(move || {
        let written = match compression {
            Compression::None => writer.write(&protocol, &body),
            Compression::Gzip => {
                gunzip(&body, max).map_or_else(|refused| refused, |body| writer.write(&protocol, &body))
            }
        };
        drop((body, room, turn));
        written
    });
    written
        .await
        .map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "storing ended without a result"))
}

fn gunzip(body: &[u8], max: usize) -> Result<Vec<u8>, RemoteWritten> {
    let mut out = Vec::new();
    // One byte more than allowed shows that there is more.
    let read = flate2::read::MultiGzDecoder::new(body).take(max as u64 + 1).read_to_end(&mut out);
    match read {
        Ok(_) if out.len() > max => Err(RemoteWritten::TooLarge(format!(
            "the request has more than {max} bytes when its compression is undone; send less at a time"
        ))),
        Ok(_) => Ok(out),
        Err(error) => {
            let text = format!("the body cannot be uncompressed with gzip: {error}");
            Err(RemoteWritten::Refused(Counts::default(), text))
        }
    }
}

/// The body, with the room that it takes.
async fn read(shared: &Shared, mut body: Incoming) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Refusal> {
    let max = shared.config.write_bytes_max;
    let expected = body.size_hint().lower();
    if expected > max as u64 {
        return Err(too_large(shared, max));
    }
    let mut room = reserve(shared, None, expected as usize)?;
    let mut whole: Option<Vec<u8>> = None;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "the request's body ended early"));
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_none() && body.is_end_stream() {
            return Ok((data, room));
        }
        let whole = whole.get_or_insert_with(|| Vec::with_capacity(expected as usize));
        let length = whole.len() + data.len();
        if length > max {
            return Err(too_large(shared, max));
        }
        room = reserve(shared, room, length)?;
        whole.extend_from_slice(&data);
    }
    Ok((whole.unwrap_or_default().into(), room))
}

/// Makes sure that there is room for `bytes` in all.
fn reserve(
    shared: &Shared,
    room: Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
    let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = u32::try_from(bytes.saturating_sub(held)).unwrap_or(u32::MAX);
    if more == 0 {
        return Ok(room);
    }
    let more = shared.writes.room.clone().try_acquire_many_owned(more).map_err(|_| {
        shared.metrics.refused_busy.inc();
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too many bytes of other requests are under way")
    })?;
    Ok(Some(match room {
        None => more,
        Some(mut room) => {
            room.merge(more);
            room
        }
    }))
}

fn too_large(shared: &Shared, max: usize) -> Refusal {
    shared.metrics.refused_size.inc();
    let text = format!("the request's body has more than {max} bytes; send fewer samples at a time");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}
