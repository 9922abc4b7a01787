//! Answers and their bodies.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    body::{Frame, SizeHint},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::mpsc;
use vedette_wire::{
    prometheus::{self, ErrorType},
    vedette,
};

use crate::flow;

/// An answer of this server.
pub type Answer = Response<Body>;

/// The body of an answer: all at once, or as it comes.
pub enum Body {
    /// Everything.
    Whole(Option<Bytes>),
    /// Piece by piece, until the sender is dropped.
    Stream(mpsc::Receiver<Bytes>),
    /// Piece by piece while it is written.
    Flow(flow::Stream),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = flow::CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, flow::CutOff>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces.poll_recv(cx).map(|piece| piece.map(|p| Ok(Frame::data(p)))),
            Self::Flow(stream) => stream.poll_next(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) | Self::Flow(_) => SizeHint::default(),
        }
    }
}

/// An answer of that type.
pub fn whole(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    let mut answer = Response::new(Body::Whole((!body.is_empty()).then_some(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// An answer that is JSON already.
pub fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    let mut answer = whole(status, "application/json", body);
    // A cached answer of a live system is a wrong one.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// An answer that is JSON, and is still written.
pub fn flowing(stream: flow::Stream) -> Answer {
    let mut answer = json(StatusCode::OK, Vec::new());
    *answer.body_mut() = Body::Flow(stream);
    answer
}

/// An answer of our own API.
pub fn own(value: &impl serde::Serialize) -> Answer {
    json(StatusCode::OK, serde_json::to_vec(value).expect("BUG: our own answers have text keys only"))
}

/// An error of our own API.
pub fn own_error(status: StatusCode, error: &str, remedy: &str) -> Answer {
    let body = serde_json::to_vec(&vedette::ErrorAnswer { error, remedy }).expect("BUG: two texts serialize");
    json(status, body)
}

/// An error of Prometheus' API.
pub fn prometheus_error(kind: ErrorType, message: &str) -> Answer {
    let status = StatusCode::from_u16(kind.status()).expect("BUG: the table has valid statuses");
    json(status, prometheus::error(kind, message))
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    whole(status, "text/plain; charset=utf-8", text.into())
}
