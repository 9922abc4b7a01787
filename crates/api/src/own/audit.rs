//! Audit records that API servers send.

use hyper::StatusCode;

use crate::{
    push::{self, Compression, Protocol, Refusal, RemoteWritten},
    request::Call,
    routes::Handled,
};

/// `/api/vedette/v1/audit/{cluster}`. A server sends again what is answered with 5xx, a few times, and drops what is
/// answered otherwise; it writes the text of the answer into its own log.
pub fn take(mut call: Call) -> Handled {
    Box::pin(async move {
        let Some(body) = call.body.take() else {
            return Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form is no list of audit records")
                .answer();
        };
        let compression = match Compression::of(&call.headers) {
            Ok(compression) => compression,
            Err(refusal) => return refusal.answer(),
        };
        let protocol = Protocol::Audit { cluster: call.parts.swap_remove(0) };
        let (status, text) = match push::take(&call.shared, body, compression, protocol).await {
            Ok(RemoteWritten::Stored(_)) => return push::nothing(),
            Ok(RemoteWritten::Refused(_, text)) => (StatusCode::BAD_REQUEST, text),
            Ok(RemoteWritten::TooLarge(text)) => (StatusCode::PAYLOAD_TOO_LARGE, text),
            Ok(RemoteWritten::Retry(text)) => (StatusCode::SERVICE_UNAVAILABLE, text),
            Err(refusal) => return refusal.answer(),
        };
        Refusal::new(status, text).answer()
    })
}
