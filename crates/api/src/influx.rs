//! InfluxDB's line protocol over HTTP, as its agents (Telegraf among them) write it to either version of
//! InfluxDB, and to VictoriaMetrics below `/influx`.
//!
//! Good lines are stored whatever the others are; lines that are refused are told in an error, as
//! InfluxDB tells of a partial write.

use hyper::StatusCode;
use vedette_wire::json::Object;

use crate::{
    InfluxPrecision,
    answer::{Answer, json},
    push::{self, Compression, Protocol, Refusal, RemoteWritten},
    request::{Call, Params},
    routes::Handled,
};

/// Which InfluxDB is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// `/write`
pub fn write(call: Call) -> Handled {
    Box::pin(take(call, Version::V1))
}

/// `/api/v2/write`
pub fn write_v2(call: Call) -> Handled {
    Box::pin(take(call, Version::V2))
}

async fn take(call: Call, version: Version) -> Answer {
    let refuse = |status, text: String| error(version, status, &text);
    let compression = match Compression::of(&call.headers) {
        Ok(compression) => compression,
        Err(Refusal { status, text }) => return refuse(status, text),
    };
    let Some(precision) = precision(&call.params) else {
        let text = format!(
            "the precision {:?} is not known; use one of ns, us, ms, s, m, h",
            call.params.first("precision")
        );
        return refuse(StatusCode::BAD_REQUEST, text);
    };
    let database = call.params.first(if version == Version::V1 { "db" } else { "bucket" }).to_owned();
    let Some(body) = call.body else { return push::nothing() };
    let protocol = Protocol::InfluxLines { precision, database };
    match push::take(&call.shared, body, compression, protocol).await {
        Ok(RemoteWritten::Stored(_)) => push::nothing(),
        Ok(RemoteWritten::Refused(counts, text)) => {
            let kind = if counts.samples > 0 { "partial write: " } else { "" };
            refuse(StatusCode::BAD_REQUEST, format!("{kind}{text}"))
        }
        Ok(RemoteWritten::TooLarge(text)) => refuse(StatusCode::PAYLOAD_TOO_LARGE, text),
        Ok(RemoteWritten::Retry(text)) => refuse(StatusCode::SERVICE_UNAVAILABLE, text),
        Err(Refusal { status, text }) => refuse(status, text),
    }
}

/// What times are told in, as `precision` says; the first version has short names.
fn precision(params: &Params) -> Option<InfluxPrecision> {
    let nanoseconds = match params.first("precision") {
        "" => return Some(InfluxPrecision::Guess),
        "n" | "ns" => 1,
        "u" | "us" | "µ" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    Some(InfluxPrecision::Nanoseconds(nanoseconds))
}

/// An error as clients of that version read it.
fn error(version: Version, status: StatusCode, text: &str) -> Answer {
    let mut body = Vec::new();
    let mut object = Object::begin(&mut body);
    match version {
        Version::V1 => {
            object.text("error", text);
        }
        Version::V2 => {
            let code = match status {
                StatusCode::PAYLOAD_TOO_LARGE => "request too large",
                StatusCode::SERVICE_UNAVAILABLE => "unavailable",
                _ => "invalid",
            };
            object.text("code", code).text("message", text);
        }
    }
    object.end();
    let mut answer = json(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(hyper::header::RETRY_AFTER, push::RETRY_SECONDS);
    }
    answer
}
