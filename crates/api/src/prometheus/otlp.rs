//! `/api/v1/otlp/v1/metrics`: metrics that programs with OpenTelemetry push.
//!
//! An answer is in the form of its request. Points that are refused are counted in it beside those that
//! are stored, as the protocol wants it; where none is stored the answer is an error, so that it is seen.

use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use vedette_wire::otlp;

use crate::{
    answer::{Answer, whole},
    push::{self, Compression, Protocol, Refusal, RemoteWritten},
    request::Call,
    routes::Handled,
};

/// `/api/v1/otlp/v1/metrics`
pub fn metrics(call: Call) -> Handled {
    Box::pin(async move {
        let checked = protocol(&call.headers)
            .and_then(|protocol| Compression::of(&call.headers).map(|compression| (protocol, compression)));
        match checked {
            Ok((protocol, compression)) => take(call, protocol, compression).await,
            Err(refusal) => refusal.answer(),
        }
    })
}

fn protocol(headers: &HeaderMap) -> Result<Protocol, Refusal> {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    match text.split(';').next().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        otlp::PROTOBUF => Ok(Protocol::OtlpProtobuf),
        otlp::JSON => Ok(Protocol::OtlpJson),
        _ => Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("unsupported content type: {text}, supported: [{}, {}]", otlp::JSON, otlp::PROTOBUF),
        )),
    }
}

async fn take(call: Call, protocol: Protocol, compression: Compression) -> Answer {
    let is_json = protocol == Protocol::OtlpJson;
    let refuse = |status, text| Refusal::new(status, text).answer();
    let Some(body) = call.body else {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a form is no request of OTLP".to_owned());
    };
    match push::take(&call.shared, body, compression, protocol).await {
        Ok(RemoteWritten::Stored(_)) => success(is_json, if is_json { b"{}".to_vec() } else { Vec::new() }),
        Ok(RemoteWritten::Refused(counts, text)) if counts.samples + counts.histograms > 0 => {
            let make = if is_json { otlp::partial_success_json } else { otlp::partial_success_protobuf };
            success(is_json, make(counts.refused_samples, &text))
        }
        Ok(RemoteWritten::Refused(_, text)) => refuse(StatusCode::BAD_REQUEST, text),
        Ok(RemoteWritten::TooLarge(text)) => refuse(StatusCode::PAYLOAD_TOO_LARGE, text),
        Ok(RemoteWritten::Retry(text)) => refuse(StatusCode::SERVICE_UNAVAILABLE, text),
        Err(refusal) => refusal.answer(),
    }
}

fn success(is_json: bool, body: Vec<u8>) -> Answer {
    let content_type = if is_json { otlp::JSON } else { otlp::PROTOBUF };
    let mut answer = whole(StatusCode::OK, content_type, body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}
