//! Prometheus' remote write, 1.0 and 2.0: which of them a request is, and how each is answered.
//!
//! An answer to 2.0 tells in headers how much was stored, whatever its status, so that a sender knows
//! what became of a request that is refused in part.

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue},
};
use vedette_wire::remote_write::{self, MESSAGE_NAME, v2};

use crate::{
    answer::Answer,
    push::{self, Compression, Counts, Protocol, Refusal, RemoteWritten},
    request::Call,
    routes::Handled,
};

/// `/api/v1/write`
pub fn write(call: Call) -> Handled {
    Box::pin(async move {
        match protocol(&call.headers) {
            Ok(protocol) => take(call, protocol).await,
            Err(refusal) => refusal.answer(),
        }
    })
}

async fn take(call: Call, protocol: Protocol) -> Answer {
    let Some(body) = call.body else { return unsupported("a form").answer() };
    let is_v2 = protocol == Protocol::RemoteWriteV2;
    let written = push::take(&call.shared, body, Compression::None, protocol).await;
    let refuse = |status, text| Refusal::new(status, text).answer();
    let (mut answer, counts) = match written {
        Ok(RemoteWritten::Stored(counts)) => (push::nothing(), counts),
        Ok(RemoteWritten::Refused(counts, text)) => (refuse(StatusCode::BAD_REQUEST, text), counts),
        Ok(RemoteWritten::TooLarge(text)) => (refuse(StatusCode::PAYLOAD_TOO_LARGE, text), Counts::default()),
        Ok(RemoteWritten::Retry(text)) => (refuse(StatusCode::SERVICE_UNAVAILABLE, text), Counts::default()),
        Err(refusal) => (refusal.answer(), Counts::default()),
    };
    if is_v2 {
        for (name, count) in [
            (v2::SAMPLES_WRITTEN, counts.samples),
            (v2::HISTOGRAMS_WRITTEN, counts.histograms),
            (v2::EXEMPLARS_WRITTEN, counts.exemplars),
        ] {
            answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    answer
}

/// What does not say what it is, is taken for 1.0, as Prometheus does.
fn protocol(headers: &HeaderMap) -> Result<Protocol, Refusal> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(remote_write::CONTENT_ENCODING.as_bytes())
    {
        return Err(unsupported(&format!("Content-Encoding {}", encoding.to_str().unwrap_or("?"))));
    }
    let Some(content_type) = headers.get(CONTENT_TYPE) else { return Ok(Protocol::RemoteWrite) };
    let text = content_type.to_str().unwrap_or("?");
    let refuse = || Err(unsupported(&format!("Content-Type {text}")));
    let mut parts = text.split(';').map(str::trim);
    if !parts.next().is_some_and(|t| t.eq_ignore_ascii_case(remote_write::CONTENT_TYPE)) {
        return refuse();
    }
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("proto") {
            continue;
        }
        return match value.trim().trim_matches('"') {
            MESSAGE_NAME => Ok(Protocol::RemoteWrite),
            v2::MESSAGE_NAME => Ok(Protocol::RemoteWriteV2),
            _ => refuse(),
        };
    }
    Ok(Protocol::RemoteWrite)
}

fn unsupported(what: &str) -> Refusal {
    let text = format!(
        "{what} is not understood here; send {MESSAGE_NAME} (remote write 1.0) or {} (2.0) as {} with \
         Content-Encoding {}",
        v2::MESSAGE_NAME,
        remote_write::CONTENT_TYPE,
        remote_write::CONTENT_ENCODING,
    );
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}
