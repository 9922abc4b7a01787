//! How a native histogram is told: whole, or by the one before it in its series. Records of the
//! WAL, which must be read without others, hold whole ones; the streams of the head both.
//!
//! Fast rather than small, as are [`super::values`]. Invariants: what is read is what was
//! written, bit by bit; damaged bytes give `None`, never a panic and never a histogram of more
//! than [`HISTOGRAM_BUCKETS_MAX`] buckets of a kind.

use vedette_model::{HISTOGRAM_BUCKETS_MAX, HistogramCounts, NativeHistogram, ResetHint, Span};

use super::values::{self, Coded, SAME};
use crate::bytes::{Cursor, put_signed, put_varint};

const HINTS: [ResetHint; 4] = [ResetHint::Unknown, ResetHint::Reset, ResetHint::NotReset, ResetHint::Gauge];
const HINT: u8 = 3;
/// The counts are floats.
const FLOAT: u8 = 1 << 2;
/// Buckets, and what each count is told by, are those of the histogram before.
const GOES_ON: u8 = 1 << 3;

/// Appends a histogram, told by the one before if their buckets are the same.
pub fn encode(before: Option<&NativeHistogram>, histogram: &NativeHistogram, out: &mut Vec<u8>) {
    let before = before.filter(|b| crate::chunk::histograms::same_layout(b, histogram));
    let is_float = matches!(histogram.counts, HistogramCounts::Float { .. });
    let hint = HINTS.iter().position(|&h| h == histogram.reset_hint).unwrap_or(0) as u8;
    let flag = |is: bool, flag: u8| if is { flag } else { 0 };
    out.push(hint | flag(is_float, FLOAT) | flag(before.is_some(), GOES_ON));
    if before.is_none() {
        put_layout(histogram, out);
    }
    put_value(before.map_or(0, |b| b.sum.to_bits()), histogram.sum.to_bits(), out);
    put_counts(before.map(|b| &b.counts), &histogram.counts, out);
}

/// Reads histograms of one series, each of which may be told by the one before.
#[derive(Debug, Default)]
pub struct Reader {
    last: Option<NativeHistogram>,
    words: Vec<u64>,
}

impl Reader {
    /// Forgets what was read, and keeps some memory.
    pub fn clear(&mut self) {
        self.last = None;
    }

    /// The histogram read last.
    pub fn last(&self) -> Option<&NativeHistogram> {
        self.last.as_ref()
    }

    /// Gives the histogram read last away.
    pub fn into_last(self) -> Option<NativeHistogram> {
        self.last
    }

    /// Reads the next histogram; after `None`, which is given for damaged bytes, a whole one must
    /// come.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Option<&NativeHistogram> {
        let before = self.last.take();
        let head = cursor.byte()?;
        if head > HINT | FLOAT | GOES_ON {
            return None;
        }
        let is_float = head & FLOAT != 0;
        let mut histogram = if head & GOES_ON == 0 {
            let histogram = read_layout(cursor, is_float)?;
            let (positive, negative) = lengths(&histogram.counts);
            self.words.clear();
            self.words.resize(2 + positive + negative, 0);
            histogram
        } else {
            before.filter(|b| matches!(b.counts, HistogramCounts::Float { .. }) == is_float)?
        };
        histogram.reset_hint = HINTS[usize::from(head & HINT)];
        histogram.sum = f64::from_bits(read_value(cursor, histogram.sum.to_bits())?);
        self.read_words(cursor, is_float)?;
        set_words(&mut histogram.counts, &self.words);
        Some(self.last.insert(histogram))
    }

    fn read_words(&mut self, cursor: &mut Cursor<'_>, is_float: bool) -> Option<()> {
        let mut at = 0;
        while at < self.words.len() {
            // In both kinds a first byte of 0 begins a run of words that stay.
            let mut ahead = cursor.clone();
            if ahead.byte()? == 0 {
                *cursor = ahead;
                let run = usize::try_from(cursor.varint()?).ok()?.checked_add(1)?;
                at = at.checked_add(run).filter(|&end| end <= self.words.len())?;
                continue;
            }
            let word = &mut self.words[at];
            *word = if is_float {
                read_value(cursor, *word)?
            } else {
                word.wrapping_add(cursor.signed()? as u64)
            };
            at += 1;
        }
        Some(())
    }
}

fn put_layout(histogram: &NativeHistogram, out: &mut Vec<u8>) {
    out.push(histogram.schema as u8);
    out.extend_from_slice(&histogram.zero_threshold.to_bits().to_le_bytes());
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_signed(out, i64::from(span.offset));
            put_varint(out, u64::from(span.length));
        }
    }
    put_varint(out, histogram.custom_bounds.len() as u64);
    for bound in &histogram.custom_bounds {
        out.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
    let (positive, negative) = lengths(&histogram.counts);
    put_varint(out, positive as u64);
    put_varint(out, negative as u64);
}

/// A histogram of these buckets, all of whose counts are 0.
fn read_layout(cursor: &mut Cursor<'_>, is_float: bool) -> Option<NativeHistogram> {
    let mut histogram = NativeHistogram {
        schema: cursor.byte()? as i8,
        zero_threshold: f64::from_bits(cursor.u64()?),
        sum: 0.0,
        ..NativeHistogram::stale()
    };
    for spans in [&mut histogram.positive_spans, &mut histogram.negative_spans] {
        for _ in 0..cursor.count(2)? {
            let offset = i32::try_from(cursor.signed()?).ok()?;
            spans.push(Span { offset, length: cursor.varint_u32()? });
        }
    }
    for _ in 0..cursor.count(8)? {
        histogram.custom_bounds.push(f64::from_bits(cursor.u64()?));
    }
    let mut buckets = || usize::try_from(cursor.varint()?).ok().filter(|&n| n <= HISTOGRAM_BUCKETS_MAX);
    let (positive, negative) = (buckets()?, buckets()?);
    histogram.counts = if is_float {
        HistogramCounts::Float {
            count: 0.0,
            zero_count: 0.0,
            positive: vec![0.0; positive],
            negative: vec![0.0; negative],
        }
    } else {
        HistogramCounts::Integer {
            count: 0,
            zero_count: 0,
            positive: vec![0; positive],
            negative: vec![0; negative],
        }
    };
    Some(histogram)
}

fn put_value(base: u64, bits: u64, out: &mut Vec<u8>) {
    let coded = values::encode(base, bits);
    out.push(coded.code);
    out.extend_from_slice(&coded.payload.to_le_bytes()[..coded.bytes()]);
}

fn read_value(cursor: &mut Cursor<'_>, base: u64) -> Option<u64> {
    let code = cursor.byte().filter(|&code| code < 16)?;
    let bytes = cursor.take(values::payload_bytes(code))?;
    let payload = bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte));
    Some(values::decode(base, Coded { code, payload }))
}

/// The counts: of whole ones the total first, less what the buckets hold together, so that it is
/// mostly 0; that of the zero bucket; those of the buckets.
fn put_counts(before: Option<&HistogramCounts>, counts: &HistogramCounts, out: &mut Vec<u8>) {
    let mut same = 0;
    match counts {
        HistogramCounts::Integer { count, zero_count, positive, negative } => {
            let rest = count.wrapping_sub(in_buckets(*zero_count, positive, negative));
            let (first, base_p, base_n) = match before {
                Some(HistogramCounts::Integer { count, zero_count, positive, negative }) => {
                    let rest = count.wrapping_sub(in_buckets(*zero_count, positive, negative));
                    ([rest, *zero_count], &positive[..], &negative[..])
                }
                _ => ([0; 2], &[][..], &[][..]),
            };
            put_whole(&first, &[rest, *zero_count], &mut same, out);
            put_whole(base_p, positive, &mut same, out);
            put_whole(base_n, negative, &mut same, out);
        }
        HistogramCounts::Float { count, zero_count, positive, negative } => {
            let (first, base_p, base_n) = match before {
                Some(HistogramCounts::Float { count, zero_count, positive, negative }) => {
                    ([*count, *zero_count], &positive[..], &negative[..])
                }
                _ => ([0.0; 2], &[][..], &[][..]),
            };
            put_floats(&first, &[*count, *zero_count], &mut same, out);
            put_floats(base_p, positive, &mut same, out);
            put_floats(base_n, negative, &mut same, out);
        }
    }
    put_same(&mut same, out);
}

/// Appends whole numbers, told by those before or by 0; `same` counts those that wait to be told
/// as a run.
fn put_whole(bases: &[u64], counts: &[u64], same: &mut u64, out: &mut Vec<u8>) {
    for (i, &count) in counts.iter().enumerate() {
        let base = bases.get(i).copied().unwrap_or(0);
        if count == base {
            *same += 1;
        } else {
            put_same(same, out);
            put_signed(out, count.wrapping_sub(base) as i64);
        }
    }
}

/// As [`put_whole`], for floats.
fn put_floats(bases: &[f64], counts: &[f64], same: &mut u64, out: &mut Vec<u8>) {
    for (i, count) in counts.iter().enumerate() {
        let base = bases.get(i).map_or(0, |b| b.to_bits());
        if count.to_bits() == base {
            *same += 1;
        } else {
            put_same(same, out);
            put_value(base, count.to_bits(), out);
        }
    }
}

fn put_same(same: &mut u64, out: &mut Vec<u8>) {
    if *same > 0 {
        out.push(SAME);
        put_varint(out, *same - 1);
        *same = 0;
    }
}

fn lengths(counts: &HistogramCounts) -> (usize, usize) {
    match counts {
        HistogramCounts::Integer { positive, negative, .. } => (positive.len(), negative.len()),
        HistogramCounts::Float { positive, negative, .. } => (positive.len(), negative.len()),
    }
}

fn set_words(counts: &mut HistogramCounts, words: &[u64]) {
    let buckets = &words[2..];
    match counts {
        HistogramCounts::Integer { count, zero_count, positive, negative } => {
            let (p, n) = buckets.split_at(positive.len());
            positive.copy_from_slice(p);
            negative.copy_from_slice(n);
            *zero_count = words[1];
            *count = words[0].wrapping_add(in_buckets(*zero_count, positive, negative));
        }
        HistogramCounts::Float { count, zero_count, positive, negative } => {
            (*count, *zero_count) = (f64::from_bits(words[0]), f64::from_bits(words[1]));
            for (count, &word) in positive.iter_mut().chain(negative).zip(buckets) {
                *count = f64::from_bits(word);
            }
        }
    }
}

fn in_buckets(zero_count: u64, positive: &[u64], negative: &[u64]) -> u64 {
    positive.iter().chain(negative).fold(zero_count, |sum, &n| sum.wrapping_add(n))
}

#[cfg(test)]
mod tests;
