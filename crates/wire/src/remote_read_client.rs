//! Prometheus' remote read, as a client: a question is written, answers are read.
//!
//! An answer is either one message of samples, whose results have the form of a remote-write
//! request ([`SampleResults`]), or a stream of frames with chunks as a store keeps them
//! ([`Frames`]). Answers come from others: every length is checked against what is there, and a frame
//! against its checksum.

use vedette_model::{MatchOp, Matcher, TimeRange};

use crate::remote_write::{
    DecodeError, LabelPairs, Request,
    encode::{put_bytes, put_number, put_tag, put_varint},
    fields::{Cursor, Value},
};

/// The `Content-Type` of a question.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The value of the header `X-Prometheus-Remote-Read-Version`.
pub const VERSION: &str = "0.1.0";

/// The `Content-Type` of a stream of frames begins so.
pub const STREAM_CONTENT_TYPE: &str = "application/x-streamed-protobuf";

const SAMPLES: u64 = 0;
const STREAMED_XOR_CHUNKS: u64 = 1;

/// What a question is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadHints<'a> {
    /// Step between evaluations, 0 for a single one.
    pub step_ms: i64,
    /// The function or aggregation applied first, or an empty text.
    pub function: &'a str,
    /// Labels of a `by` or `without` clause.
    pub grouping: &'a [String],
    /// Whether that is a `by` clause.
    pub by: bool,
    /// Width of the range selector.
    pub range_ms: i64,
}

/// Writes a question with one selection, which takes an answer of either kind.
pub fn encode_request(range: TimeRange, matchers: &[Matcher], hints: ReadHints<'_>) -> Vec<u8> {
    let mut query = Vec::new();
    put_number(&mut query, 1, range.start_ms as u64);
    put_number(&mut query, 2, range.end_ms as u64);
    let mut inner = Vec::new();
    for matcher in matchers {
        inner.clear();
        let kind = match matcher.op {
            MatchOp::Equal => 0,
            MatchOp::NotEqual => 1,
            MatchOp::Regex => 2,
            MatchOp::NotRegex => 3,
        };
        put_number(&mut inner, 1, kind);
        put_bytes(&mut inner, 2, matcher.name.as_bytes());
        put_bytes(&mut inner, 3, matcher.value.as_bytes());
        put_bytes(&mut query, 3, &inner);
    }
    inner.clear();
    put_number(&mut inner, 1, hints.step_ms as u64);
    if !hints.function.is_empty() {
        put_bytes(&mut inner, 2, hints.function.as_bytes());
    }
    put_number(&mut inner, 3, range.start_ms as u64);
    put_number(&mut inner, 4, range.end_ms as u64);
    for label in hints.grouping {
        put_bytes(&mut inner, 5, label.as_bytes());
    }
    put_number(&mut inner, 6, u64::from(hints.by));
    put_number(&mut inner, 7, hints.range_ms as u64);
    put_bytes(&mut query, 4, &inner);
    let mut request = Vec::new();
    put_bytes(&mut request, 1, &query);
    put_tag(&mut request, 2, 2);
    put_varint(&mut request, 2);
    // The better first.
    put_varint(&mut request, STREAMED_XOR_CHUNKS);
    put_varint(&mut request, SAMPLES);
    request
}

/// The results of a message of samples, one for each selection; each has the form of a remote-write
/// request of series and samples.
#[derive(Debug, Clone)]
pub struct SampleResults<'a>(Cursor<'a>);

impl<'a> SampleResults<'a> {
    /// Reads a message, decompressed.
    pub fn new(message: &'a [u8]) -> Self {
        Self(Cursor::new(message))
    }

    fn result(&mut self) -> Result<Option<Request<'a>>, DecodeError> {
        while !self.0.is_at_end() {
            if let (1, Value::Bytes(result)) = self.0.field()? {
                return Ok(Some(Request::new(result.bytes())));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for SampleResults<'a> {
    type Item = Result<Request<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let result = self.result();
        if result.is_err() {
            self.0 = Cursor::new(&[]);
        }
        result.transpose()
    }
}

/// The frames of a stream.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: Cursor<'a>,
    frame_bytes_max: u64,
}

/// A frame: chunks of some series.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a>(Cursor<'a>);

/// Chunks of one series. The series may go on in the next frame.
#[derive(Debug, Clone, Copy)]
pub struct ChunkedSeries<'a>(Cursor<'a>);

/// A chunk, as stores keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The time that its samples lie in.
    pub range: TimeRange,
    /// 1 for XOR, 2 for histograms, 3 for histograms of floats.
    pub encoding: u64,
    /// Its bytes.
    pub data: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Reads a stream that is there as a whole. A longer frame is refused.
    pub fn new(stream: &'a [u8], frame_bytes_max: u64) -> Self {
        Self { rest: Cursor::new(stream), frame_bytes_max }
    }

    fn frame(&mut self) -> Result<Frame<'a>, DecodeError> {
        let begin = self.rest;
        let length = self.rest.varint()?;
        if length > self.frame_bytes_max {
            return Err(begin.error("a frame is longer than chunked_read_limit"));
        }
        let expected = u32::from_be_bytes(self.rest.array()?);
        let block = self.rest.take(length)?;
        if crc32c(block.bytes()) != expected {
            return Err(begin.error("the checksum of a frame is wrong"));
        }
        Ok(Frame(block))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_at_end() {
            return None;
        }
        let frame = self.frame();
        if frame.is_err() {
            self.rest = Cursor::new(&[]);
        }
        Some(frame)
    }
}

impl<'a> Frame<'a> {
    /// Tells each series with chunks in the frame.
    pub fn each(
        self,
        mut each: impl FnMut(ChunkedSeries<'a>) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let mut rest = self.0;
        while !rest.is_at_end() {
            if let (1, Value::Bytes(series)) = rest.field()? {
                each(ChunkedSeries(series))?;
            }
        }
        Ok(())
    }
}

impl<'a> ChunkedSeries<'a> {
    /// Its labels.
    pub fn labels(self) -> LabelPairs<'a> {
        LabelPairs::at(self.0)
    }

    /// Tells each chunk.
    pub fn each(self, mut each: impl FnMut(Chunk<'a>) -> Result<(), DecodeError>) -> Result<(), DecodeError> {
        let mut rest = self.0;
        while !rest.is_at_end() {
            if let (2, Value::Bytes(chunk)) = rest.field()? {
                each(decode_chunk(chunk)?)?;
            }
        }
        Ok(())
    }
}

fn decode_chunk(message: Cursor<'_>) -> Result<Chunk<'_>, DecodeError> {
    let mut chunk = Chunk { range: TimeRange { start_ms: 0, end_ms: 0 }, encoding: 0, data: &[] };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(time)) => chunk.range.start_ms = time as i64,
            (2, Value::Varint(time)) => chunk.range.end_ms = time as i64,
            (3, Value::Varint(encoding)) => chunk.encoding = encoding,
            (4, Value::Bytes(data)) => chunk.data = data.bytes(),
            (1..=4, _) => return Err(begin.error("a field of a chunk has the wrong kind")),
            _ => {}
        }
    }
    Ok(chunk)
}

/// CRC-32 with Castagnoli's polynomial, eight tables at once are not worth their memory here.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut value = i as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { value >> 1 ^ 0x82f6_3b78 } else { value >> 1 };
                bit += 1;
            }
            table[i] = value;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0_u32, |sum, byte| sum >> 8 ^ TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::remote_write::{Encoder, Item, Point};

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_question_is_written_as_the_protocol_says() {
        let matchers = [Matcher::equal("a", "b")];
        let hints =
            ReadHints { step_ms: 1, function: "rate", grouping: &["x".into()], by: true, range_ms: 9 };
        let bytes = encode_request(TimeRange { start_ms: 5, end_ms: 6 }, &matchers, hints);
        let hints = b"\x08\x01\x12\x04rate\x18\x05\x20\x06\x2a\x01x\x30\x01\x38\x09";
        let mut query = b"\x08\x05\x10\x06\x1a\x06\x12\x01a\x1a\x01b\x22".to_vec();
        query.push(u8::try_from(hints.len()).unwrap());
        query.extend_from_slice(hints);
        let mut expected = vec![0x0a, u8::try_from(query.len()).unwrap()];
        expected.extend_from_slice(&query);
        expected.extend_from_slice(&[0x12, 2, 1, 0]);
        assert_eq!(bytes, expected);
    }

    /// A stream of one frame with one series of one chunk.
    fn stream() -> Vec<u8> {
        let mut chunk = Vec::new();
        put_number(&mut chunk, 1, 10);
        put_number(&mut chunk, 2, 20);
        put_number(&mut chunk, 3, 1);
        put_bytes(&mut chunk, 4, b"data");
        let mut label = Vec::new();
        put_bytes(&mut label, 1, b"job");
        put_bytes(&mut label, 2, b"x");
        let mut series = Vec::new();
        put_bytes(&mut series, 1, &label);
        put_bytes(&mut series, 2, &chunk);
        let mut frame = Vec::new();
        put_bytes(&mut frame, 1, &series);
        let mut stream = Vec::new();
        put_varint(&mut stream, frame.len() as u64);
        stream.extend_from_slice(&crc32c(&frame).to_be_bytes());
        stream.extend_from_slice(&frame);
        stream
    }

    /// The labels, the times and the data of a chunk.
    type Read = (Vec<(String, String)>, TimeRange, Vec<u8>);

    fn chunks(stream: &[u8]) -> Result<Vec<Read>, DecodeError> {
        let mut all = Vec::new();
        for frame in Frames::new(stream, 1 << 20) {
            frame?.each(|series| {
                let labels: Result<Vec<_>, _> = series.labels().collect();
                let labels: Vec<_> = labels?.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                series.each(|chunk| {
                    all.push((labels.clone(), chunk.range, chunk.data.to_vec()));
                    Ok(())
                })
            })?;
        }
        Ok(all)
    }

    #[test]
    fn a_stream_is_read_and_its_checksums_are_looked_at() {
        let mut twice = stream();
        twice.extend(stream());
        let one =
            (vec![("job".into(), "x".into())], TimeRange { start_ms: 10, end_ms: 20 }, b"data".to_vec());
        assert_eq!(chunks(&twice).unwrap(), [one.clone(), one]);
        *twice.last_mut().unwrap() ^= 1;
        assert!(chunks(&twice).is_err());
        assert!(Frames::new(&stream(), 3).next().unwrap().is_err());
    }

    #[test]
    fn samples_are_read_as_those_of_remote_write() {
        let mut encoder = Encoder::default();
        encoder.begin_series([("__name__", "up")]).sample(7, 1.5).end_series();
        let mut message = Vec::new();
        put_bytes(&mut message, 1, encoder.message());
        let mut results = SampleResults::new(&message);
        let Some(Ok(Item::Series(series))) = results.next().unwrap().unwrap().next() else {
            panic!("no series")
        };
        let points: Vec<_> = series.points().map(Result::unwrap).collect();
        assert!(matches!(points[..], [Point::Sample { time_ms: 7, value: 1.5 }]));
        assert!(results.next().is_none());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..60, bit in 0_u8..8) {
            let _ = chunks(&bytes);
            for request in SampleResults::new(&bytes).flatten() {
                let _ = request.count();
            }
            let mut stream = stream();
            let at = at % stream.len();
            stream[at] ^= 1 << bit;
            let _ = chunks(&stream);
            // As if whoever broke it had set the checksum right.
            let _ = Frame(Cursor::new(&stream[5..])).each(|series| series.each(|_| Ok(())));
        }
    }
}
