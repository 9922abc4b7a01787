//! Batches over HTTP, and what their answers mean to every sink.

use std::{io::Write as _, sync::Arc};

use vedette_http_client::{
    Bytes, Limits,
    header::{CONTENT_ENCODING, HeaderValue, RETRY_AFTER},
};
use vedette_sys::Clock;

use crate::{export::batch::Delivery, http::Server, receiver::retry_after};

/// A longer answer is not read: one of `_bulk` has some 100 bytes for each document.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// More of it is not shown.
const TEXT_BYTES_SHOWN: usize = 512;

/// An answer.
pub struct Answer {
    pub status: u16,
    pub after: Option<std::time::Duration>,
    pub body: Vec<u8>,
}

impl Answer {
    /// What is shown of it.
    pub fn text(&self) -> String {
        let shown = &self.body[..self.body.len().min(TEXT_BYTES_SHOWN)];
        let text = String::from_utf8_lossy(shown);
        match text.trim() {
            "" => format!("status {}", self.status),
            text => format!("status {}: {text}", self.status),
        }
    }

    /// What it means where nothing more is known of the server. What a person can put right (who one
    /// is, where it goes) is waited for; what is wrong with the documents themselves is not.
    pub fn delivery(&self) -> Delivery {
        match self.status {
            200..=299 => Delivery::Taken,
            413 => Delivery::TooLarge { message: self.text() },
            400 | 406 | 409 | 411 | 415 | 422 => Delivery::Refused { taken: 0, message: self.text() },
            _ => Delivery::Again { after: self.after, message: self.text() },
        }
    }
}

/// Posts a batch; an error says why there is no answer.
pub async fn post(
    server: Server,
    clock: Arc<dyn Clock>,
    body: Vec<u8>,
    content_type: &'static str,
    gzip: bool,
) -> Result<Answer, String> {
    let body = if gzip { compress(&body) } else { body };
    let mut request = server.post(Bytes::from(body), content_type);
    if gzip {
        request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        request.headers_mut().remove(CONTENT_ENCODING);
    }
    let limits = Limits { timeout: server.timeout, body_bytes_max: ANSWER_BYTES_MAX };
    let mut response = server.client.send(request, limits).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| retry_after(value, clock.unix_ms()));
    let mut body = Vec::new();
    let read = response.read(&mut body).await;
    // A body that matters tells what became of each document; an error's is for people only.
    if (200..300).contains(&status) {
        read.map_err(|error| error.to_string())?;
    }
    Ok(Answer { status, after, body })
}

fn compress(body: &[u8]) -> Vec<u8> {
    let out = Vec::with_capacity(body.len() / 8);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("BUG: memory can be written")
}
