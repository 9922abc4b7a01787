//! Native histograms in a request.

use vedette_model::{HistogramCounts, HistogramError, NativeHistogram, ResetHint, Span};

use super::{
    DecodeError,
    fields::{Cursor, Value, unzigzag},
};

/// More buckets or spans than this are not even read.
const BUCKETS_MAX: usize = vedette_model::HISTOGRAM_BUCKETS_MAX;

/// A native histogram, not read yet.
#[derive(Debug, Clone, Copy)]
pub struct HistogramMessage<'a>(Cursor<'a>);

/// What is read before it is known whether the counts are whole numbers.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) count_integer: Option<u64>,
    pub(crate) count_float: Option<f64>,
    pub(crate) zero_integer: Option<u64>,
    pub(crate) zero_float: Option<f64>,
    pub(crate) positive_deltas: Vec<i64>,
    pub(crate) negative_deltas: Vec<i64>,
    pub(crate) positive_counts: Vec<f64>,
    pub(crate) negative_counts: Vec<f64>,
}

/// A native histogram as it was sent: whether it contradicts itself is told by
/// [`NativeHistogram::validate`].
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedHistogram {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// Since when it counts, 0 where that is not told, as 1.0 never does.
    pub start_ms: i64,
    /// The histogram; an error here leaves the rest of the request as it is.
    pub histogram: Result<NativeHistogram, HistogramError>,
}

impl<'a> HistogramMessage<'a> {
    /// The message of these bytes.
    pub fn in_bytes(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    pub(super) fn new(message: Cursor<'a>) -> Self {
        Self(message)
    }

    /// The time in milliseconds since the Unix epoch, and the histogram as it was sent: whether it
    /// contradicts itself is told by [`NativeHistogram::validate`]. The inner error is about the
    /// histogram and leaves the rest of the request as it is.
    pub fn decode(self) -> Result<(i64, Result<NativeHistogram, HistogramError>), DecodeError> {
        self.decode_with_start().map(|decoded| (decoded.time_ms, decoded.histogram))
    }

    /// All that it tells.
    pub fn decode_with_start(self) -> Result<DecodedHistogram, DecodeError> {
        let (mut time_ms, mut start_ms) = (0, 0);
        let mut schema = 0_i64;
        let mut parts = Parts::default();
        let mut histogram = NativeHistogram { sum: 0.0, ..NativeHistogram::stale() };
        let mut rest = self.0;
        while !rest.is_at_end() {
            let begin = rest;
            match rest.field()? {
                (1, Value::Varint(count)) => {
                    (parts.count_integer, parts.count_float) = (Some(count), None);
                }
                (2, Value::Fixed64(bits)) => {
                    (parts.count_float, parts.count_integer) = (Some(f64::from_bits(bits)), None);
                }
                (3, Value::Fixed64(bits)) => histogram.sum = f64::from_bits(bits),
                (4, Value::Varint(number)) => schema = unzigzag(number),
                (5, Value::Fixed64(bits)) => histogram.zero_threshold = f64::from_bits(bits),
                (6, Value::Varint(count)) => (parts.zero_integer, parts.zero_float) = (Some(count), None),
                (7, Value::Fixed64(bits)) => {
                    (parts.zero_float, parts.zero_integer) = (Some(f64::from_bits(bits)), None);
                }
                (8, Value::Bytes(span)) => push(&mut histogram.negative_spans, decode_span(span)?, begin)?,
                (9, value) => deltas(&mut parts.negative_deltas, value, begin)?,
                (10, value) => floats(&mut parts.negative_counts, value, begin)?,
                (11, Value::Bytes(span)) => push(&mut histogram.positive_spans, decode_span(span)?, begin)?,
                (12, value) => deltas(&mut parts.positive_deltas, value, begin)?,
                (13, value) => floats(&mut parts.positive_counts, value, begin)?,
                (14, Value::Varint(hint)) => {
                    histogram.reset_hint = match hint {
                        1 => ResetHint::Reset,
                        2 => ResetHint::NotReset,
                        3 => ResetHint::Gauge,
                        _ => ResetHint::Unknown,
                    };
                }
                (15, Value::Varint(time)) => time_ms = time as i64,
                (16, value) => floats(&mut histogram.custom_bounds, value, begin)?,
                (17, Value::Varint(time)) => start_ms = time as i64,
                (1..=16, _) => return Err(begin.error("a field of a histogram has the wrong kind")),
                _ => {}
            }
        }
        let Ok(known) = i8::try_from(schema) else {
            let cut = schema.clamp(i64::from(i8::MIN), i64::from(i8::MAX)) as i8;
            return Ok(DecodedHistogram { time_ms, start_ms, histogram: Err(HistogramError::Schema(cut)) });
        };
        histogram.schema = known;
        let histogram = parts.counts().map(|counts| {
            histogram.counts = counts;
            histogram
        });
        Ok(DecodedHistogram { time_ms, start_ms, histogram })
    }
}

impl Parts {
    pub(crate) fn counts(self) -> Result<HistogramCounts, HistogramError> {
        let is_float = self.count_float.is_some()
            || (self.count_integer.is_none()
                && (self.zero_float.is_some()
                    || !self.positive_counts.is_empty()
                    || !self.negative_counts.is_empty()));
        Ok(if is_float {
            HistogramCounts::Float {
                count: self.count_float.unwrap_or(0.0),
                zero_count: self.zero_float.unwrap_or(0.0),
                positive: self.positive_counts,
                negative: self.negative_counts,
            }
        } else {
            HistogramCounts::Integer {
                count: self.count_integer.unwrap_or(0),
                zero_count: self.zero_integer.unwrap_or(0),
                positive: sum_up(&self.positive_deltas)?,
                negative: sum_up(&self.negative_deltas)?,
            }
        })
    }
}

/// Each delta is the difference to the bucket before.
fn sum_up(deltas: &[i64]) -> Result<Vec<u64>, HistogramError> {
    let mut count = 0_u64;
    deltas
        .iter()
        .map(|&delta| {
            count = count.checked_add_signed(delta).ok_or(HistogramError::NegativeCount)?;
            Ok(count)
        })
        .collect()
}

pub(crate) fn decode_span(message: Cursor<'_>) -> Result<Span, DecodeError> {
    let mut span = Span { offset: 0, length: 0 };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(number)) => {
                span.offset = i32::try_from(unzigzag(number))
                    .map_err(|_| begin.error("a span's offset is out of range"))?;
            }
            (2, Value::Varint(number)) => {
                span.length =
                    u32::try_from(number).map_err(|_| begin.error("a span's length is out of range"))?;
            }
            (1 | 2, _) => return Err(begin.error("a field of a span has the wrong kind")),
            _ => {}
        }
    }
    Ok(span)
}

/// Repeated numbers come packed, or one by one.
pub(crate) fn deltas(out: &mut Vec<i64>, value: Value<'_>, begin: Cursor<'_>) -> Result<(), DecodeError> {
    match value {
        Value::Varint(number) => push(out, unzigzag(number), begin),
        Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                let number = packed.varint()?;
                push(out, unzigzag(number), begin)?;
            }
            Ok(())
        }
        _ => Err(begin.error("a field of a histogram has the wrong kind")),
    }
}

pub(crate) fn floats(out: &mut Vec<f64>, value: Value<'_>, begin: Cursor<'_>) -> Result<(), DecodeError> {
    match value {
        Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                let bits = packed.array()?;
                push(out, f64::from_le_bytes(bits), begin)?;
            }
            Ok(())
        }
        other => match other.as_f64() {
            Some(number) => push(out, number, begin),
            None => Err(begin.error("a field of a histogram has the wrong kind")),
        },
    }
}

pub(crate) fn push<T>(out: &mut Vec<T>, item: T, begin: Cursor<'_>) -> Result<(), DecodeError> {
    if out.len() >= BUCKETS_MAX {
        return Err(begin.error("a histogram has too many buckets"));
    }
    out.push(item);
    Ok(())
}
