//! Prometheus' remote write 1.0: the body is read here and stored by whoever composition names.
//!
//! A sender repeats what is answered with 5xx and drops what is answered with 4xx, so "not now" is
//! 503 with a time to wait (429 would lose samples with Prometheus' defaults) and "not ever" 400.
//! Bodies under way have room for so many bytes together; who finds none is told to come again
//! before more of the body is read.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body as _, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vedette_wire::remote_write::{self, MESSAGE_NAME};

use crate::{
    Config, RemoteWritten,
    answer::{self, Answer},
    app::Shared,
    request::Call,
    routes::Handled,
};

/// When a sender may come again, in seconds.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// What remote-write requests have to share.
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
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn answer(self) -> Answer {
        let mut answer = answer::text(self.status, self.text + "\n");
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
        }
        answer
    }
}

/// `/api/v1/write`
pub fn write(call: Call) -> Handled {
    Box::pin(async move {
        match take(call).await {
            Ok(()) => {
                let mut answer = answer::text(StatusCode::NO_CONTENT, "");
                answer.headers_mut().remove(CONTENT_TYPE);
                answer
            }
            Err(refusal) => refusal.answer(),
        }
    })
}

async fn take(call: Call) -> Result<(), Refusal> {
    let Call { shared, headers, body, .. } = call;
    check_headers(&headers)?;
    let Some(body) = body else { return Err(unsupported("a form")) };
    let (body, room) =
        tokio::time::timeout(shared.config.body_timeout, read(&shared, body)).await.map_err(|_| {
            Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request's body took too long to come")
        })??;
    let turn = shared.writes.turns.clone().acquire_owned().await.expect("BUG: the semaphore is never closed");
    let writer = shared.app.writer.clone();
    let written = tokio::task::spawn_blocking(move || {
        let written = writer.write(&body);
        drop((body, room, turn));
        written
    });
    let (status, text) = match written.await {
        Ok(RemoteWritten::Stored) => return Ok(()),
        Ok(RemoteWritten::Refused(text)) => (StatusCode::BAD_REQUEST, text),
        Ok(RemoteWritten::TooLarge(text)) => (StatusCode::PAYLOAD_TOO_LARGE, text),
        Ok(RemoteWritten::Retry(text)) => (StatusCode::SERVICE_UNAVAILABLE, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "storing ended without a result".to_owned()),
    };
    Err(Refusal { status, text })
}

/// What does not say what it is, is taken for what it must be, as Prometheus does.
fn check_headers(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(remote_write::CONTENT_ENCODING.as_bytes())
    {
        return Err(unsupported(&format!("Content-Encoding {}", encoding.to_str().unwrap_or("?"))));
    }
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let text = content_type.to_str().unwrap_or("?");
    let mut parts = text.split(';').map(str::trim);
    let is_ours = parts.next().is_some_and(|t| t.eq_ignore_ascii_case(remote_write::CONTENT_TYPE))
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("proto") => {
                value.trim().trim_matches('"') == MESSAGE_NAME
            }
            _ => true,
        });
    if is_ours { Ok(()) } else { Err(unsupported(&format!("Content-Type {text}"))) }
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

fn unsupported(what: &str) -> Refusal {
    let text = format!(
        "{what} is not understood here; send {MESSAGE_NAME} (remote write 1.0) as {} with Content-Encoding {}",
        remote_write::CONTENT_TYPE,
        remote_write::CONTENT_ENCODING,
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}
