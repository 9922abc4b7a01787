//! Requests of remote write and remote read over HTTP.

use std::{str::FromStr, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use vedette_config::prometheus::{RemoteRead, RemoteWrite, WriteMessage};
use vedette_http_client::{
    Bytes, Client, Error, HeaderMap, Limits, Method, Options, Request, Uri,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};
use vedette_sys::Clock;
use vedette_wire::{remote_read_client, remote_write};

use crate::{
    read::{Answered, Fetch},
    receiver::{Answer, Attempt, Outcome, Written, retry_after},
    sender::Transport,
};

/// More of what a receiver says is not read.
const TEXT_BYTES_MAX: u64 = 64 << 10;
/// More of it is not shown.
const TEXT_BYTES_SHOWN: usize = 512;

const WRITE_VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");
const READ_VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-read-version");
const RETRY_ATTEMPT: HeaderName = HeaderName::from_static("retry-attempt");
const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
const HISTOGRAMS_WRITTEN: &str = "x-prometheus-remote-write-histograms-written";
const EXEMPLARS_WRITTEN: &str = "x-prometheus-remote-write-exemplars-written";

/// Why a server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client cannot be made as it is configured.
    #[error("cannot make an HTTP client for {url}")]
    Client {
        /// The server.
        url: String,
        /// The cause.
        #[source]
        source: Error,
    },
    /// A header or the address has characters that HTTP does not allow.
    #[error("{what} {text:?} cannot be sent by HTTP")]
    Text {
        /// What it is.
        what: &'static str,
        /// The text.
        text: String,
    },
}

/// What all servers have in common.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) client: Client,
    uri: Uri,
    headers: HeaderMap,
    pub(crate) timeout: Duration,
}

impl Server {
    pub(crate) fn new(
        client: Result<Client, Error>,
        url: &str,
        headers: &[(String, String)],
        timeout: Duration,
    ) -> Result<Self, HttpError> {
        let client = client.map_err(|source| HttpError::Client { url: url.to_owned(), source })?;
        let text = |what, text: &str| HttpError::Text { what, text: text.to_owned() };
        let uri = Uri::from_str(url).map_err(|_| text("the address", url))?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let parsed = HeaderName::from_str(name).map_err(|_| text("the header", name))?;
            let value = HeaderValue::from_str(value).map_err(|_| text("the value of the header", name))?;
            all.append(parsed, value);
        }
        Ok(Self { client, uri, headers: all, timeout })
    }

    pub(crate) fn post(&self, body: Bytes, content_type: &'static str) -> Request<Bytes> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(remote_write::CONTENT_ENCODING));
        request
    }
}

/// A receiver of remote write.
pub struct WriteTransport {
    server: Server,
    clock: Arc<dyn Clock>,
}

impl WriteTransport {
    /// A client as the section `remote_write` says.
    pub fn new(write: &RemoteWrite, options: &Options) -> Result<Self, HttpError> {
        let client = Client::new(&write.client, options);
        let server = Server::new(client, write.url.as_str(), &write.headers, write.remote_timeout)?;
        Ok(Self { server, clock: options.clock.clone() })
    }
}

impl Transport for WriteTransport {
    fn send(&self, attempt: Attempt) -> BoxFuture<'static, Outcome> {
        let (content_type, version) = match attempt.message {
            WriteMessage::V1 => (remote_write::CONTENT_TYPE, remote_write::VERSION),
            WriteMessage::V2 => (remote_write::v2_encode::CONTENT_TYPE, remote_write::v2_encode::VERSION),
        };
        let mut request = self.server.post(Bytes::from_owner(attempt.body), content_type);
        request.headers_mut().insert(WRITE_VERSION, HeaderValue::from_static(version));
        if attempt.failures > 0 {
            request.headers_mut().insert(RETRY_ATTEMPT, HeaderValue::from(attempt.failures));
        }
        let (server, clock) = (self.server.clone(), self.clock.clone());
        Box::pin(async move {
            let limits = Limits { timeout: server.timeout, body_bytes_max: TEXT_BYTES_MAX };
            let mut response = match server.client.send(request, limits).await {
                Ok(response) => response,
                Err(error) => return Outcome::Unreachable(error.to_string()),
            };
            let status = response.status().as_u16();
            let headers = response.headers();
            let retry_after = headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| retry_after(value, clock.unix_ms()));
            let written = written(headers);
            let mut text = Vec::new();
            // The status is the answer; of a text that ends early its beginning is shown.
            let _ = response.read(&mut text).await;
            text.truncate(TEXT_BYTES_SHOWN);
            let text = String::from_utf8_lossy(&text).into_owned();
            Outcome::Answer(Answer { status, retry_after, written, text })
        })
    }
}

/// What a receiver of 2.0 tells; a kind that it leaves out it has not stored.
fn written(headers: &HeaderMap) -> Option<Written> {
    let count =
        |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).and_then(|v| v.trim().parse().ok());
    let (samples, histograms, exemplars) =
        (count(SAMPLES_WRITTEN), count(HISTOGRAMS_WRITTEN), count(EXEMPLARS_WRITTEN));
    samples.or(histograms).or(exemplars)?;
    Some(Written {
        samples: samples.unwrap_or(0),
        histograms: histograms.unwrap_or(0),
        exemplars: exemplars.unwrap_or(0),
    })
}

/// A source of remote read. Its answers are waited for, so it is asked on threads that may wait.
pub struct ReadTransport {
    server: Server,
    runtime: tokio::runtime::Handle,
    bytes_max: u64,
}

impl ReadTransport {
    /// A client as the section `remote_read` says, that refuses answers of more than `bytes_max`.
    pub fn new(
        read: &RemoteRead,
        options: &Options,
        runtime: tokio::runtime::Handle,
        bytes_max: u64,
    ) -> Result<Self, HttpError> {
        let client = Client::new(&read.client, options);
        let server = Server::new(client, read.url.as_str(), &read.headers, read.remote_timeout)?;
        Ok(Self { server, runtime, bytes_max })
    }
}

impl Fetch for ReadTransport {
    fn fetch(&self, body: Vec<u8>) -> Result<Answered, String> {
        let mut request = self.server.post(Bytes::from(body), remote_read_client::CONTENT_TYPE);
        let headers = request.headers_mut();
        headers.insert(READ_VERSION, HeaderValue::from_static(remote_read_client::VERSION));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(remote_write::CONTENT_ENCODING));
        let limits = Limits { timeout: self.server.timeout, body_bytes_max: self.bytes_max };
        let client = self.server.client.clone();
        // On the runtime's own threads, as this one only waits.
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let answered = async {
                let mut response = client.send(request, limits).await.map_err(|e| e.to_string())?;
                let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
                let content_type = content_type.unwrap_or("").to_owned();
                let status = response.status();
                let mut body = Vec::new();
                response.read(&mut body).await.map_err(|e| e.to_string())?;
                if !status.is_success() {
                    body.truncate(TEXT_BYTES_SHOWN);
                    return Err(format!("status {status}: {}", String::from_utf8_lossy(&body).trim()));
                }
                Ok(Answered { content_type, body })
            };
            let _ = sender.send(answered.await);
        });
        receiver.recv().unwrap_or_else(|_| Err("the process is ending".into()))
    }
}

#[cfg(test)]
mod tests;
