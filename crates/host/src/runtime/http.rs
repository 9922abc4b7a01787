//! HTTP/1.1 with JSON over a unix socket, as Docker, Podman and CRI-O's own interface speak it.
//!
//! A whole answer has one deadline and a limit, however slowly it drips in.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, task::JoinSet};

use super::{bounded, grpc::innermost};

/// Larger answers are refused: ten thousand containers with long labels have room.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Larger answers that tell of a failure are not read.
const FAILURE_BYTES_MAX: usize = 16 << 10;

/// Why a question has no answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// What the other side said, where it is an answer all the same.
    pub(super) status: Option<StatusCode>,
    pub(super) reason: String,
}

/// One connection, for questions one after the other. What is under way ends when it is dropped.
pub(super) struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    timeout: Duration,
    /// Moves the bytes.
    _driver: JoinSet<()>,
}

impl Connection {
    pub(super) async fn open(socket: &Path, timeout: Duration) -> Result<Self, String> {
        let open = async {
            let stream = UnixStream::connect(socket).await.map_err(|e| e.to_string())?;
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| innermost(&e))
        };
        let (sender, connection) = tokio::time::timeout(timeout, open)
            .await
            .map_err(|_| "it does not accept the connection in time".to_owned())??;
        let mut driver = JoinSet::new();
        driver.spawn(async {
            // What went wrong is told to the question that waits.
            let _ = connection.await;
        });
        Ok(Self { sender, timeout, _driver: driver })
    }

    /// Asks for a document.
    pub(super) async fn get<A: DeserializeOwned>(&mut self, path: &str) -> Result<A, Failure> {
        let timeout = self.timeout;
        let answer = async {
            let response = self.send(path).await?;
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let bytes =
                body.map_err(|e| failure(format!("the answer to {path} is not read: {e}")))?.to_bytes();
            serde_json::from_slice(&bytes)
                .map_err(|e| failure(format!("the answer to {path} makes no sense: {e}")))
        };
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(failure(format!("no answer to {path} in time"))),
        }
    }

    /// Asks for an answer that has no end. There is no deadline for it to begin.
    pub(super) async fn stream(&mut self, path: &str) -> Result<Incoming, Failure> {
        self.send(path).await.map(Response::into_body)
    }

    async fn send(&mut self, path: &str) -> Result<Response<Incoming>, Failure> {
        let request = Request::get(path)
            .header(header::HOST, "localhost")
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|e| failure(format!("{path} cannot be asked for: {e}")))?;
        self.sender.ready().await.map_err(|e| failure(innermost(&e)))?;
        let response = self.sender.send_request(request).await.map_err(|e| failure(innermost(&e)))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = Limited::new(response.into_body(), FAILURE_BYTES_MAX).collect().await;
        let bytes = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let said = bounded(String::from_utf8_lossy(&bytes).trim());
        Err(Failure { status: Some(status), reason: format!("{path} is answered by {status}: {said}") })
    }
}

fn failure(reason: String) -> Failure {
    Failure { status: None, reason }
}

/// A name as part of a path: what is not plain is refused, so that no foreign text is asked for.
pub(super) fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= 128 && name.bytes().all(plain) && !name.starts_with('.')
}
