//! An answer, whose body is read by pieces within the deadline and the limit of its request.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{
    HeaderMap, StatusCode, Version,
    body::{Body as _, Incoming},
    http::response::Parts,
};
use tokio::time::{Instant, timeout_at};

use crate::{Error, ErrorKind, deadline_error, transport_error};

/// An answer. Dropped before its body is read, it closes its connection.
#[derive(Debug)]
pub struct Response {
    parts: Parts,
    body: Incoming,
    deadline: Instant,
    left: u64,
}

impl Response {
    pub(crate) fn new(response: hyper::Response<Incoming>, deadline: Instant, body_bytes_max: u64) -> Self {
        let (parts, body) = response.into_parts();
        Self { parts, body, deadline, left: body_bytes_max }
    }

    /// What the server says of the request.
    pub fn status(&self) -> StatusCode {
        self.parts.status
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The version of HTTP that was spoken.
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// The next piece of the body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        // Nobody waits for a body that is too long by its own account.
        if self.body.size_hint().lower() > self.left {
            return Err(too_large());
        }
        loop {
            let frame = timeout_at(self.deadline, self.body.frame()).await.map_err(|_| deadline_error())?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|e| transport_error(&e))?;
            // Trailers tell nothing that anybody asks for.
            let Ok(data) = frame.into_data() else { continue };
            self.left = self.left.checked_sub(data.len() as u64).ok_or_else(too_large)?;
            return Ok(Some(data));
        }
    }

    /// Appends the rest of the body to `into`.
    pub async fn read(&mut self, into: &mut Vec<u8>) -> Result<(), Error> {
        while let Some(data) = self.chunk().await? {
            into.extend_from_slice(&data);
        }
        Ok(())
    }

    /// The rest of the body.
    pub async fn bytes(mut self) -> Result<Bytes, Error> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(data) = self.chunk().await? {
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::BodyTooLarge, "body size limit exceeded")
}
