//! Prometheus' remote read: others read the stored series as samples or as chunks.
//!
//! A request is a query, and takes its turn among them. One series is held at a time; what is read
//! goes out as it comes where the client takes frames. Once the head of an answer is sent there is no
//! way to tell of an error, so an answer that cannot be finished ends within a frame: whoever reads it
//! sees that it is broken.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Response, StatusCode,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue},
};
use tokio::sync::{mpsc, oneshot};
use vedette_model::{
    Hints, Labels, MatchOp, Matcher, MetricReader, SampleBuffer, Select, SeriesSet, TimeRange,
};
use vedette_promql::QueryError;
use vedette_tsdb::prometheus::chunks::{self, crc32c};
use vedette_wire::{
    remote_read::{self, AnswerKind, ChunkMessage, FrameWriter, ReadQuery, ReadRequest},
    remote_write::Encoder,
};

use crate::{
    answer::{Answer, Body, text},
    app::Shared,
    gate::{Refused, Turn},
    request::Call,
    routes::Handled,
};

/// About how large a frame becomes, as with Prometheus.
const FRAME_BYTES: usize = 1 << 20;
/// Frames that wait for the client to take them.
const FRAMES_WAITING: usize = 4;

/// Why a request is refused: text for the client's log.
struct Refusal(StatusCode, String);

impl Refusal {
    fn bad(reason: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, reason.to_string())
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        let status = match error {
            QueryError::MemoryExhausted | QueryError::Timeout | QueryError::Canceled => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            QueryError::TooMuchMemory { .. } | QueryError::TooManySamples => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<vedette_model::ReadError> for Refusal {
    fn from(error: vedette_model::ReadError) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let (_, message) = super::Failure::from(refused);
        Self(StatusCode::SERVICE_UNAVAILABLE, message)
    }
}

/// `/api/v1/read`
pub fn read(call: Call) -> Handled {
    Box::pin(async move {
        match answer(call).await {
            Ok(answer) => answer,
            Err(Refusal(status, message)) => text(status, message + "\n"),
        }
    })
}

async fn answer(call: Call) -> Result<Answer, Refusal> {
    let Call { shared, client, body, .. } = call;
    let Some(body) = body else { return Err(Refusal::bad("a form is no remote-read request")) };
    let message = read_body(&shared, body).await?;
    let request = ReadRequest::decode(&message).map_err(Refusal::bad)?;
    let Some(kind) = request.answer_kind() else {
        return Err(Refusal::bad(format_args!(
            "server does not support any of the requested response types: {:?}; supported: SAMPLES, \
             STREAMED_XOR_CHUNKS",
            request.accepted
        )));
    };
    let external = (shared.app.external_labels)();
    let selects: Vec<Select> =
        request.queries.iter().map(|query| select(query, &external)).collect::<Result<_, _>>()?;
    match kind {
        AnswerKind::Samples => {
            let reader = shared.clone();
            let run = move |turn: &Turn| samples(&reader, turn, &selects, &external);
            let answer = shared.gate.run(&client, None, run).await??;
            let mut answer = whole(answer);
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(remote_read::CONTENT_TYPE));
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
            Ok(answer)
        }
        AnswerKind::Chunks => {
            let (frames, waiting) = mpsc::channel(FRAMES_WAITING);
            let (begun, begins) = oneshot::channel();
            // The work goes on while the answer is sent, after this request has its head.
            let work = tokio::spawn(async move {
                let reader = shared.clone();
                let run = move |turn: &Turn| stream(&reader, turn, &selects, &external, frames, begun);
                shared.gate.run(&client, None, run).await
            });
            if begins.await.is_ok() {
                let mut answer = Response::new(Body::Stream(waiting));
                let content_type = HeaderValue::from_static(remote_read::STREAM_CONTENT_TYPE);
                answer.headers_mut().insert(CONTENT_TYPE, content_type);
                return Ok(answer);
            }
            match work.await {
                Ok(result) => Err(result?.err().unwrap_or_else(no_result)),
                Err(_) => Err(no_result()),
            }
        }
    }
}

fn no_result() -> Refusal {
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, "BUG: the query ended without result".to_owned())
}

fn whole(body: Vec<u8>) -> Answer {
    Response::new(Body::Whole(Some(Bytes::from(body)).filter(|b| !b.is_empty())))
}

/// The message, its compression undone.
async fn read_body(shared: &Shared, body: Incoming) -> Result<Vec<u8>, Refusal> {
    let max = shared.config.body_bytes_max;
    let too_large = || {
        let text = format!("the request has more than {max} bytes; ask with fewer or shorter matchers");
        Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    let read = Limited::new(body, max).collect();
    let body = match tokio::time::timeout(shared.config.body_timeout, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            shared.metrics.refused_size.inc();
            return Err(too_large());
        }
        Ok(Err(_)) => return Err(Refusal::bad("the request's body ended early")),
        Err(_) => {
            let text = "the request's body took too long to come".to_owned();
            return Err(Refusal(StatusCode::REQUEST_TIMEOUT, text));
        }
    };
    let malformed =
        |e: snap::Error| Refusal::bad(format_args!("the body is not in Snappy's block format: {e}"));
    if snap::raw::decompress_len(&body).map_err(malformed)? > max {
        return Err(too_large());
    }
    snap::raw::Decoder::new().decompress_vec(&body).map_err(malformed)
}

/// A condition that an external label meets is met by all that is stored, unless a series has that
/// label itself: it looks for series without it.
fn select(query: &ReadQuery<'_>, external: &Labels) -> Result<Select, Refusal> {
    let matchers = query.matchers.iter().map(|m| {
        if m.op == MatchOp::Equal && external.get(m.name).unwrap_or("") == m.value {
            return Ok(Matcher::equal(m.name, ""));
        }
        Matcher::new(m.op, m.name, m.value).map_err(Refusal::bad)
    });
    let hints = query.hints.as_ref().map_or_else(Hints::default, |hints| Hints {
        step_ms: hints.step_ms,
        range_ms: hints.range_ms,
        grouping: hints.grouping.iter().map(|&label| label.to_owned()).collect(),
        by: hints.by,
        // A function would only let the store leave out what it needs not.
        function: None,
    });
    let range = TimeRange { start_ms: query.start_ms, end_ms: query.end_ms };
    Ok(Select { matchers: matchers.collect::<Result<_, _>>()?, range, hints, series_max: 0 })
}

/// Reads the series of a selection that have samples, one after the other.
fn each_series(
    shared: &Shared,
    turn: &Turn,
    select: &Select,
    external: &Labels,
    mut each: impl FnMut(Labels, &SampleBuffer) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if select.range.start_ms > select.range.end_ms {
        return Ok(());
    }
    let reader: &dyn MetricReader = shared.app.series.as_ref();
    let set: Box<dyn SeriesSet> = reader.select(select)?;
    let mut samples = SampleBuffer::default();
    let mut held = 0;
    for series in 0..set.len() {
        turn.cancel.check()?;
        samples.clear();
        set.read(series, select.range, &mut samples)?;
        let bytes = (samples.times_ms.capacity() * 16) as u64;
        turn.cancel.hold_bytes(bytes.saturating_sub(held))?;
        held = held.max(bytes);
        if !samples.is_empty() {
            each(with_external(set.labels(series), external), &samples)?;
        }
    }
    turn.cancel.release_bytes(held);
    Ok(())
}

/// The labels of a series, and the external ones that it does not have itself.
fn with_external(labels: Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels;
    }
    let mut builder = labels.to_builder();
    for (name, value) in external.iter().filter(|(name, _)| labels.get(name).is_none()) {
        builder.set(name, value);
    }
    builder.build()
}

/// All samples of all queries as one message, compressed.
fn samples(shared: &Shared, turn: &Turn, selects: &[Select], external: &Labels) -> Result<Vec<u8>, Refusal> {
    let samples_max = shared.config.query_samples_max;
    let mut answer = Vec::new();
    let (mut encoder, mut held) = (Encoder::default(), 0);
    for select in selects {
        encoder.clear();
        let mut count = 0;
        each_series(shared, turn, select, external, |labels, samples| {
            count += samples.len() as u64;
            if count > samples_max {
                return Err(Refusal::bad(format_args!("exceeded sample limit ({samples_max})")));
            }
            encoder.begin_series(&labels);
            for i in 0..samples.len() {
                match samples.histogram(i) {
                    None => encoder.sample(samples.times_ms[i], samples.values[i]),
                    Some(histogram) => encoder.histogram(samples.times_ms[i], histogram),
                };
            }
            encoder.end_series();
            let bytes = answer.len() + encoder.message().len();
            if bytes > shared.config.answer_bytes_max {
                return Err(Refusal::bad(format_args!(
                    "the answer has more than {} MiB; narrow the matchers or the time, or accept \
                     STREAMED_XOR_CHUNKS",
                    shared.config.answer_bytes_max >> 20
                )));
            }
            turn.cancel.hold_bytes(bytes.saturating_sub(held) as u64)?;
            held = held.max(bytes);
            Ok(())
        })?;
        remote_read::push_result(&mut answer, encoder.message());
    }
    snap::raw::Encoder::new().compress_vec(&answer).map_err(|e| {
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, format!("BUG: the answer is not compressed: {e}"))
    })
}

/// Frames on their way to the client. Unless all were sent, the last thing sent is a part of one.
struct Outgoing {
    frames: mpsc::Sender<Bytes>,
    is_whole: bool,
}

impl Outgoing {
    fn send(&self, bytes: Vec<u8>) -> Result<(), Refusal> {
        if bytes.is_empty() {
            return Ok(());
        }
        let left = |_| Refusal(StatusCode::SERVICE_UNAVAILABLE, "the client has left".to_owned());
        self.frames.blocking_send(bytes.into()).map_err(left)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.is_whole {
            // The length of a frame of which nothing follows.
            let _ = self.frames.blocking_send(Bytes::from_static(&[1]));
        }
    }
}

/// Sends all queries' series in frames. Before the first frame it is told that the answer begins, so
/// that what is wrong from the start gets a status of its own.
fn stream(
    shared: &Arc<Shared>,
    turn: &Turn,
    selects: &[Select],
    external: &Labels,
    frames: mpsc::Sender<Bytes>,
    begun: oneshot::Sender<()>,
) -> Result<(), Refusal> {
    turn.cancel.check()?;
    let mut begun = Some(begun);
    let mut outgoing: Option<Outgoing> = None;
    let mut frames = Some(frames);
    let mut begin = || -> Option<Outgoing> {
        if let Some(begun) = begun.take() {
            let _ = begun.send(());
        }
        frames.take().map(|frames| Outgoing { frames, is_whole: false })
    };
    let mut writer = FrameWriter::default();
    for (number, select) in selects.iter().enumerate() {
        each_series(shared, turn, select, external, |labels, samples| {
            writer.begin_series(&labels);
            let room = FRAME_BYTES.saturating_sub(labels.heap_bytes());
            let mut out = Vec::new();
            for chunk in chunks::encode(samples) {
                let chunk = ChunkMessage {
                    start_ms: chunk.range.start_ms,
                    end_ms: chunk.range.end_ms,
                    encoding: chunk.encoding,
                    data: &chunk.data,
                };
                if writer.chunk(chunk) >= room {
                    writer.end_frame(number, crc32c, &mut out);
                }
            }
            writer.end_frame(number, crc32c, &mut out);
            if outgoing.is_none() {
                outgoing = begin();
            }
            outgoing.as_ref().map_or(Ok(()), |outgoing| outgoing.send(out))
        })?;
    }
    if let Some(outgoing) = outgoing.as_mut() {
        outgoing.is_whole = true;
    } else if let Some(mut outgoing) = begin() {
        outgoing.is_whole = true;
    }
    Ok(())
}
