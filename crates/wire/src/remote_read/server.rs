//! The side that is asked: reading requests, writing answers.

use vedette_model::MatchOp;

use crate::remote_write::{
    DecodeError,
    encode::{put_bytes, put_labels, put_number, put_varint},
    fields::{Cursor, Value},
};

/// More queries in one request are refused.
const QUERIES_MAX: usize = 1_000;
/// More matchers or labels to group by in one query are refused.
const PARTS_MAX: usize = 1_000;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadRequest<'a> {
    /// The queries; each has an answer of its own.
    pub queries: Vec<ReadQuery<'a>>,
    /// The kinds of answers that are understood, the most wanted first; kinds that are not known here
    /// are among them by their number.
    pub accepted: Vec<u64>,
}

/// A kind of answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerKind {
    /// All samples in one message.
    Samples,
    /// Chunks in frames.
    Chunks,
}

/// Which series over which time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadQuery<'a> {
    /// First millisecond since the Unix epoch.
    pub start_ms: i64,
    /// Last millisecond.
    pub end_ms: i64,
    /// All must hold.
    pub matchers: Vec<ReadMatcher<'a>>,
    /// What will be done with the samples.
    pub hints: Option<ReadHints<'a>>,
}

/// A condition on one label; whether a pattern is one was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadMatcher<'a> {
    /// The comparison.
    pub op: MatchOp,
    /// The label.
    pub name: &'a str,
    /// The value or pattern.
    pub value: &'a str,
}

/// What will be done with the samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadHints<'a> {
    /// Step between evaluations, 0 for a single one.
    pub step_ms: i64,
    /// The function or aggregation applied first; empty for none.
    pub function: &'a str,
    /// The time of interest, which may be narrower than the query's.
    pub start_ms: i64,
    /// See `start_ms`.
    pub end_ms: i64,
    /// Labels of a `by` or `without` clause.
    pub grouping: Vec<&'a str>,
    /// Whether `grouping` is a `by` clause.
    pub by: bool,
    /// Width of the range selector, 0 for an instant selector.
    pub range_ms: i64,
}

/// An encoded chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMessage<'a> {
    /// Time of the first sample.
    pub start_ms: i64,
    /// Time of the last sample.
    pub end_ms: i64,
    /// Prometheus' number of the encoding.
    pub encoding: u8,
    /// The chunk.
    pub data: &'a [u8],
}

impl<'a> ReadRequest<'a> {
    /// Reads a request, its compression undone.
    pub fn decode(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut request = Self::default();
        let mut rest = Cursor::new(message);
        while !rest.is_at_end() {
            let begin = rest;
            match rest.field()? {
                (1, Value::Bytes(query)) => {
                    if request.queries.len() >= QUERIES_MAX {
                        return Err(begin.error("a request has too many queries"));
                    }
                    request.queries.push(decode_query(query)?);
                }
                (2, Value::Varint(kind)) => push_kind(&mut request.accepted, kind, begin)?,
                (2, Value::Bytes(mut kinds)) => {
                    while !kinds.is_at_end() {
                        let kind = kinds.varint()?;
                        push_kind(&mut request.accepted, kind, begin)?;
                    }
                }
                (1 | 2, _) => return Err(begin.error("a field of a request has the wrong kind")),
                _ => {}
            }
        }
        Ok(request)
    }

    /// The most wanted kind of answer that is known; who names none wants samples.
    pub fn answer_kind(&self) -> Option<AnswerKind> {
        if self.accepted.is_empty() {
            return Some(AnswerKind::Samples);
        }
        self.accepted.iter().find_map(|kind| match kind {
            0 => Some(AnswerKind::Samples),
            1 => Some(AnswerKind::Chunks),
            _ => None,
        })
    }
}

fn push_kind(kinds: &mut Vec<u64>, kind: u64, begin: Cursor<'_>) -> Result<(), DecodeError> {
    if kinds.len() >= PARTS_MAX {
        return Err(begin.error("a request accepts too many kinds of answers"));
    }
    kinds.push(kind);
    Ok(())
}

fn decode_query(message: Cursor<'_>) -> Result<ReadQuery<'_>, DecodeError> {
    let mut query = ReadQuery::default();
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(time)) => query.start_ms = time as i64,
            (2, Value::Varint(time)) => query.end_ms = time as i64,
            (3, Value::Bytes(matcher)) => {
                if query.matchers.len() >= PARTS_MAX {
                    return Err(begin.error("a query has too many matchers"));
                }
                query.matchers.push(decode_matcher(matcher)?);
            }
            (4, Value::Bytes(hints)) => query.hints = Some(decode_hints(hints)?),
            (1..=4, _) => return Err(begin.error("a field of a query has the wrong kind")),
            _ => {}
        }
    }
    Ok(query)
}

fn decode_matcher(message: Cursor<'_>) -> Result<ReadMatcher<'_>, DecodeError> {
    let mut matcher = ReadMatcher { op: MatchOp::Equal, name: "", value: "" };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(op)) => {
                matcher.op = match op {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err(begin.error("a matcher has a type that is not known")),
                };
            }
            (2, Value::Bytes(name)) => matcher.name = text(name)?,
            (3, Value::Bytes(value)) => matcher.value = text(value)?,
            (1..=3, _) => return Err(begin.error("a field of a matcher has the wrong kind")),
            _ => {}
        }
    }
    Ok(matcher)
}

fn decode_hints(message: Cursor<'_>) -> Result<ReadHints<'_>, DecodeError> {
    let mut hints = ReadHints::default();
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(step)) => hints.step_ms = step as i64,
            (2, Value::Bytes(function)) => hints.function = text(function)?,
            (3, Value::Varint(time)) => hints.start_ms = time as i64,
            (4, Value::Varint(time)) => hints.end_ms = time as i64,
            (5, Value::Bytes(label)) => {
                if hints.grouping.len() >= PARTS_MAX {
                    return Err(begin.error("hints name too many labels"));
                }
                hints.grouping.push(text(label)?);
            }
            (6, Value::Varint(by)) => hints.by = by != 0,
            (7, Value::Varint(range)) => hints.range_ms = range as i64,
            (1..=7, _) => return Err(begin.error("a field of hints has the wrong kind")),
            _ => {}
        }
    }
    Ok(hints)
}

fn text(bytes: Cursor<'_>) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes.bytes()).map_err(|_| bytes.error("a text is not valid UTF-8"))
}

/// Appends the answer to one query to an answer with samples: a message as
/// [`crate::remote_write::Encoder`] makes it of series.
pub fn push_result(answer: &mut Vec<u8>, series: &[u8]) {
    put_bytes(answer, 1, series);
}

/// Writes frames: each holds chunks of one series.
///
/// A frame is its length, its checksum (which the caller's function makes, CRC-32C) and its message.
#[derive(Debug, Clone, Default)]
pub struct FrameWriter {
    labels: Vec<u8>,
    series: Vec<u8>,
    chunks: usize,
    message: Vec<u8>,
    scratch: Vec<u8>,
}

impl FrameWriter {
    /// Begins a series; the labels of all its frames.
    pub fn begin_series<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.labels.clear();
        put_labels(&mut self.labels, &mut self.scratch, labels);
        self.begin_frame();
    }

    fn begin_frame(&mut self) {
        self.series.clear();
        self.series.extend_from_slice(&self.labels);
        self.chunks = 0;
    }

    /// Adds a chunk; gives how many bytes the frame has by now.
    pub fn chunk(&mut self, chunk: ChunkMessage<'_>) -> usize {
        self.scratch.clear();
        put_number(&mut self.scratch, 1, chunk.start_ms as u64);
        put_number(&mut self.scratch, 2, chunk.end_ms as u64);
        put_number(&mut self.scratch, 3, u64::from(chunk.encoding));
        put_bytes(&mut self.scratch, 4, chunk.data);
        put_bytes(&mut self.series, 2, &self.scratch);
        self.chunks += 1;
        self.series.len()
    }

    /// Ends a frame that has chunks: appends it to `out`. The next one is of the same series.
    pub fn end_frame(&mut self, query: usize, checksum: impl FnOnce(&[u8]) -> u32, out: &mut Vec<u8>) {
        if self.chunks == 0 {
            return;
        }
        self.message.clear();
        put_bytes(&mut self.message, 1, &self.series);
        put_number(&mut self.message, 2, query as u64);
        put_varint(out, self.message.len() as u64);
        out.extend_from_slice(&checksum(&self.message).to_be_bytes());
        out.extend_from_slice(&self.message);
        self.begin_frame();
    }
}
