//! The block of one series in a segment: its chunks, each with a head that says when it is and
//! sums it up, one behind the other.
//!
//! Heads are as short as what they tell is dull: a constant series with regular times is told by
//! its head alone. Times that are not regular stand in columns of their own, which the series of
//! a target share.

use vedette_model::{ChunkSummary, Exemplar, Labels, TimeRange, is_stale};

use crate::{
    bytes::{Cursor, put_signed, put_text, put_varint},
    chunk::{SAMPLES_MAX, summarize_constant, times, values},
};

const CONSTANT: u8 = 0;
const FLOATS: u8 = 1;
const HISTOGRAMS: u8 = 2;
const EXEMPLARS: u8 = 3;
const KIND: u8 = 3;
/// The times are in a column.
const COLUMN: u8 = 1 << 2;
const STARTS: u8 = 1 << 3;
const SPECIAL: u8 = 1 << 4;
/// The numbers of the summary, or the constant, are decimals of one exponent.
const DECIMAL: u8 = 1 << 5;
const MIN_IS_FIRST: u8 = 1 << 6;
const MAX_IS_LAST: u8 = 1 << 7;

/// When the samples of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Every so many milliseconds.
    Regular { first_ms: i64, step_ms: u64 },
    /// As the column at this place of the file says.
    Column { first_ms: i64, last_ms: i64, offset: u64 },
}

/// What the samples of a chunk are.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// The same value all the time.
    Constant(f64),
    /// A column of values.
    Floats(&'a [u8]),
    /// Histograms of one layout.
    Histograms(&'a [u8]),
}

/// One chunk as it stands in the file, not decoded.
#[derive(Debug, Clone)]
pub struct Chunk<'a> {
    pub count: usize,
    pub times: Times,
    pub starts: Option<&'a [u8]>,
    pub body: Body<'a>,
    pub summary: ChunkSummary,
}

impl<'a> Chunk<'a> {
    /// Whether it holds nothing but floats of which it is not known since when they count.
    pub fn is_plain(&self) -> bool {
        self.starts.is_none() && !matches!(self.body, Body::Histograms(_))
    }

    /// The chunk as it is written once more.
    pub fn copied(&self) -> NewChunk<'a> {
        NewChunk {
            count: self.count,
            times: self.times,
            starts: self.starts.unwrap_or_default(),
            body: self.body,
            summary: self.summary,
            exponent: match self.body {
                Body::Floats(payload) => values::shared_exponent(payload),
                _ => None,
            },
        }
    }
}

/// What is to be written of a chunk, its times told apart.
pub struct NewChunk<'a> {
    pub count: usize,
    pub times: Times,
    pub starts: &'a [u8],
    pub body: Body<'a>,
    pub summary: ChunkSummary,
    /// The exponent of the values, if they are decimals.
    pub exponent: Option<u8>,
}

/// Appends a chunk to a block that begins at `block_offset`. `before_ms` is the last time of the
/// chunk before, or the base of the segment.
pub fn put_chunk(chunk: &NewChunk<'_>, block_offset: u64, before_ms: i64, out: &mut Vec<u8>) {
    let NewChunk { count, times, starts, body, summary: s, exponent } = chunk;
    let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
    let whole = |v: f64| values::mantissa(v, exponent.unwrap_or(0));
    let decimals = match (exponent, [s.first, s.last, s.min, s.max].map(whole)) {
        (Some(e), [Some(first), Some(last), Some(min), Some(max)]) => Some((*e, first, last, min, max)),
        _ => None,
    };
    let mut head = match (times, starts.is_empty()) {
        (Times::Regular { .. }, true) => 0,
        (Times::Regular { .. }, false) => STARTS,
        (Times::Column { .. }, true) => COLUMN,
        (Times::Column { .. }, false) => COLUMN | STARTS,
    };
    head |= match body {
        Body::Constant(v) => CONSTANT | if whole(*v).is_some() { DECIMAL } else { 0 },
        Body::Floats(_) => {
            let flag = |is: bool, flag: u8| if is { flag } else { 0 };
            FLOATS
                | flag(s.special, SPECIAL)
                | flag(decimals.is_some(), DECIMAL)
                | flag(same(s.min, s.first), MIN_IS_FIRST)
                | flag(same(s.max, s.last), MAX_IS_LAST)
        }
        Body::Histograms(_) => HISTOGRAMS,
    };
    out.push(head);
    put_varint(out, *count as u64);
    match times {
        Times::Regular { first_ms, step_ms } => {
            put_signed(out, first_ms.wrapping_sub(before_ms));
            if *count > 1 {
                put_varint(out, *step_ms);
            }
        }
        Times::Column { first_ms, last_ms, offset } => {
            put_signed(out, first_ms.wrapping_sub(before_ms));
            put_varint(out, last_ms.wrapping_sub(*first_ms) as u64);
            put_varint(out, block_offset - offset);
        }
    }
    if !starts.is_empty() {
        put_bytes(out, starts);
    }
    match body {
        Body::Constant(v) => match whole(*v) {
            Some(mantissa) => put_signed(out, mantissa),
            None => out.extend_from_slice(&v.to_bits().to_le_bytes()),
        },
        Body::Floats(payload) => {
            if s.special {
                put_varint(out, s.count);
            }
            out.extend_from_slice(&s.sum.to_bits().to_le_bytes());
            match decimals {
                Some((exponent, first, last, min, max)) => {
                    out.push(exponent);
                    put_signed(out, first);
                    put_signed(out, last.wrapping_sub(first));
                    if head & MIN_IS_FIRST == 0 {
                        put_signed(out, first.wrapping_sub(min));
                    }
                    if head & MAX_IS_LAST == 0 {
                        put_signed(out, max.wrapping_sub(last));
                    }
                }
                None => {
                    let told = [(s.first, 0), (s.last, 0), (s.min, MIN_IS_FIRST), (s.max, MAX_IS_LAST)];
                    for (value, known) in told {
                        if head & known == 0 {
                            out.extend_from_slice(&value.to_bits().to_le_bytes());
                        }
                    }
                }
            }
            put_varint(out, u64::from(s.resets));
            put_bytes(out, payload);
        }
        Body::Histograms(payload) => {
            put_varint(out, s.count);
            put_bytes(out, payload);
        }
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends exemplars to a block.
pub fn put_exemplars(exemplars: &[Exemplar], base_ms: i64, out: &mut Vec<u8>) {
    out.push(EXEMPLARS);
    let mut bytes = Vec::new();
    let mut before = base_ms;
    for exemplar in exemplars {
        put_signed(&mut bytes, exemplar.time_ms.wrapping_sub(before));
        bytes.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_varint(&mut bytes, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            put_text(&mut bytes, name);
            put_text(&mut bytes, value);
        }
        before = exemplar.time_ms;
    }
    put_bytes(out, &bytes);
}

/// Goes through the chunks of a block.
pub struct Chunks<'a> {
    cursor: Cursor<'a>,
    offset: u64,
    before_ms: i64,
    base_ms: i64,
    first: bool,
    exemplars: Option<&'a [u8]>,
}

impl<'a> Chunks<'a> {
    /// A block at `offset` of a file.
    pub fn new(block: &'a [u8], offset: u64, base_ms: i64) -> Self {
        Self { cursor: Cursor::new(block), offset, before_ms: base_ms, base_ms, first: true, exemplars: None }
    }

    /// The next chunk, `Some(None)` at the end, `None` when the block is damaged.
    pub fn next(&mut self) -> Option<Option<Chunk<'a>>> {
        loop {
            if self.cursor.remaining() == 0 {
                return Some(None);
            }
            let head = self.cursor.byte()?;
            if head & KIND == EXEMPLARS {
                let length = usize::try_from(self.cursor.varint()?).ok()?;
                self.exemplars = Some(self.cursor.take(length)?);
                continue;
            }
            let chunk = self.chunk(head)?;
            let range = chunk.summary.range;
            // Chunks follow each other in time.
            if range.end_ms < range.start_ms || (!self.first && range.start_ms <= self.before_ms) {
                return None;
            }
            (self.before_ms, self.first) = (range.end_ms, false);
            return Some(Some(chunk));
        }
    }

    /// Bytes not gone through yet.
    pub fn remaining(&self) -> usize {
        self.cursor.remaining()
    }

    /// Appends the exemplars of the block, once all chunks were gone through.
    pub fn exemplars(&self, out: &mut Vec<Exemplar>) -> Option<()> {
        let mut cursor = Cursor::new(self.exemplars.unwrap_or_default());
        let mut time_ms = self.base_ms;
        while cursor.remaining() > 0 {
            time_ms = time_ms.wrapping_add(cursor.signed()?);
            let value = f64::from_bits(cursor.u64()?);
            let count = cursor.count(2)?;
            let pairs = (0..count).map(|_| Some((cursor.text()?, cursor.text()?)));
            let pairs: Vec<(&str, &str)> = pairs.collect::<Option<_>>()?;
            out.push(Exemplar { labels: Labels::from_pairs(pairs), value, time_ms });
        }
        Some(())
    }

    fn chunk(&mut self, head: u8) -> Option<Chunk<'a>> {
        let cursor = &mut self.cursor;
        let count = usize::try_from(cursor.varint()?).ok().filter(|n| (1..=SAMPLES_MAX).contains(n))?;
        let first_ms = self.before_ms.wrapping_add(cursor.signed()?);
        let (times, end_ms) = if head & COLUMN != 0 {
            let last_ms = first_ms.wrapping_add(cursor.varint()? as i64);
            let offset = self.offset.checked_sub(cursor.varint()?)?;
            (Times::Column { first_ms, last_ms, offset }, last_ms)
        } else {
            let step_ms = if count > 1 { cursor.varint()?.max(1) } else { 0 };
            let span = step_ms.checked_mul(count as u64 - 1)?;
            (Times::Regular { first_ms, step_ms }, first_ms.wrapping_add(span as i64))
        };
        let range = TimeRange { start_ms: first_ms, end_ms };
        let starts = if head & STARTS != 0 { Some(take_bytes(cursor)?) } else { None };
        let (body, summary) = match head & KIND {
            CONSTANT => {
                let value = if head & DECIMAL != 0 {
                    values::decimal(cursor.signed()?, 0)?
                } else {
                    f64::from_bits(cursor.u64()?)
                };
                (Body::Constant(value), summarize_constant(range, count, value))
            }
            FLOATS => floats(cursor, head, range, count)?,
            _ => {
                let summary = summarize_constant(range, count, f64::NAN);
                let summary = ChunkSummary { count: cursor.varint()?, ..summary };
                (Body::Histograms(take_bytes(cursor)?), summary)
            }
        };
        Some(Chunk { count, times, starts, body, summary })
    }
}

fn floats<'a>(
    cursor: &mut Cursor<'a>,
    head: u8,
    range: TimeRange,
    count: usize,
) -> Option<(Body<'a>, ChunkSummary)> {
    let special = head & SPECIAL != 0;
    let count = if special { cursor.varint()? } else { count as u64 };
    let sum = f64::from_bits(cursor.u64()?);
    let (first, last, min, max);
    if head & DECIMAL != 0 {
        let exponent = cursor.byte()?;
        let first_mantissa = cursor.signed()?;
        let last_mantissa = first_mantissa.wrapping_add(cursor.signed()?);
        first = values::decimal(first_mantissa, exponent)?;
        last = values::decimal(last_mantissa, exponent)?;
        min = match head & MIN_IS_FIRST {
            0 => values::decimal(first_mantissa.wrapping_sub(cursor.signed()?), exponent)?,
            _ => first,
        };
        max = match head & MAX_IS_LAST {
            0 => values::decimal(last_mantissa.wrapping_add(cursor.signed()?), exponent)?,
            _ => last,
        };
    } else {
        let mut get = |known: u8, else_value: f64| {
            Some(if head & known == 0 { f64::from_bits(cursor.u64()?) } else { else_value })
        };
        first = get(0, 0.0)?;
        last = get(0, 0.0)?;
        min = get(MIN_IS_FIRST, first)?;
        max = get(MAX_IS_LAST, last)?;
    }
    let resets = cursor.varint_u32()?;
    let summary = ChunkSummary { range, count, sum, min, max, first, last, resets, special };
    Some((Body::Floats(take_bytes(cursor)?), summary))
}

fn take_bytes<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let length = usize::try_from(cursor.varint()?).ok()?;
    cursor.take(length)
}

/// Summary of histograms: how many there are that do not end the series. All else must be decoded.
pub fn summarize_histograms(range: TimeRange, sums: &[f64]) -> ChunkSummary {
    let counted = sums.iter().filter(|s| !is_stale(**s)).count() as u64;
    ChunkSummary { count: counted, ..summarize_constant(range, sums.len(), f64::NAN) }
}

impl Times {
    /// Regular if the times are so; else `None`, and a column is needed.
    pub fn regular(times_ms: &[i64]) -> Option<Self> {
        times::regular_step(times_ms).map(|step_ms| Self::Regular { first_ms: times_ms[0], step_ms })
    }
}
