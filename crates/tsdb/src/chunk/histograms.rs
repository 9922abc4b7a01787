//! Native histograms of one layout: what their buckets are stands there once, then every count
//! is a column over the samples.
//!
//! Histograms of another schema, zero threshold, spans or bounds begin a new chunk.

use std::sync::Arc;

use vedette_model::{HISTOGRAM_BUCKETS_MAX, HistogramCounts, NativeHistogram, ResetHint, Span};

use super::{Effort, ints, values};
use crate::bytes::{Cursor, put_signed, put_varint};

const INTEGER: u8 = 0;
const FLOAT: u8 = 1;

/// Counts in one chunk of more than one sample, so that a damaged one cannot ask for much memory.
pub const CELLS_MAX: usize = 1 << 18;

/// Memory that encoding and decoding use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    whole: Vec<i64>,
    floats: Vec<f64>,
}

/// Whether two histograms can stand in one chunk.
pub fn same_layout(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let (a_float, a_positive, a_negative) = shape(a);
    let (b_float, b_positive, b_negative) = shape(b);
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a_float == b_float
        && (a_positive, a_negative) == (b_positive, b_negative)
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_bounds.len() == b.custom_bounds.len()
        && a.custom_bounds.iter().zip(&b.custom_bounds).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// How many such histograms fit one chunk.
pub fn samples_max(histogram: &NativeHistogram) -> usize {
    let (_, positive, negative) = shape(histogram);
    (CELLS_MAX / (positive + negative).max(1)).max(1)
}

fn shape(histogram: &NativeHistogram) -> (bool, usize, usize) {
    match &histogram.counts {
        HistogramCounts::Integer { positive, negative, .. } => (false, positive.len(), negative.len()),
        HistogramCounts::Float { positive, negative, .. } => (true, positive.len(), negative.len()),
    }
}

/// Appends histograms of one layout, of which there is at least one.
pub fn encode(
    histograms: &[(u32, Arc<NativeHistogram>)],
    effort: Effort,
    scratch: &mut Scratch,
    values: &mut values::Scratch,
    out: &mut Vec<u8>,
) {
    let layout = &*histograms[0].1;
    let (float, positive, negative) = shape(layout);
    out.push(if float { FLOAT } else { INTEGER });
    out.push(layout.schema as u8);
    out.extend_from_slice(&layout.zero_threshold.to_bits().to_le_bytes());
    for spans in [&layout.positive_spans, &layout.negative_spans] {
        put_varint(out, spans.len() as u64);
        for span in spans {
            put_signed(out, i64::from(span.offset));
            put_varint(out, u64::from(span.length));
        }
    }
    put_varint(out, layout.custom_bounds.len() as u64);
    for bound in &layout.custom_bounds {
        out.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
    put_varint(out, positive as u64);
    put_varint(out, negative as u64);
    let Scratch { whole, floats } = scratch;
    fill(whole, histograms, |h| hint_code(h.reset_hint));
    ints::encode(whole, effort, &mut values.ints, out);
    fill(floats, histograms, |h| h.sum);
    values::encode(floats, effort, values, out);
    if float {
        let mut column = |of: &dyn Fn(&FloatCounts<'_>) -> f64| {
            fill(floats, histograms, |h| FloatCounts::of(h).map_or(0.0, |c| of(&c)));
            values::encode(floats, effort, values, out);
        };
        column(&|c| c.count);
        column(&|c| c.zero_count);
        (0..positive).for_each(|i| column(&|c| c.positive[i]));
        (0..negative).for_each(|i| column(&|c| c.negative[i]));
    } else {
        let mut column = |of: &dyn Fn(&WholeCounts<'_>) -> u64| {
            fill(whole, histograms, |h| WholeCounts::of(h).map_or(0, |c| of(&c) as i64));
            ints::encode(whole, effort, &mut values.ints, out);
        };
        // The total follows from the others, but where NaN was observed.
        column(&|c| c.count.wrapping_sub(c.in_buckets()));
        column(&|c| c.zero_count);
        (0..positive).for_each(|i| column(&|c| c.positive[i]));
        (0..negative).for_each(|i| column(&|c| c.negative[i]));
    }
}

/// Appends `count` histograms, the first of them with number `first`; `None` when the bytes are
/// damaged.
pub fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    first: u32,
    scratch: &mut Scratch,
    values: &mut values::Scratch,
    out: &mut Vec<(u32, Arc<NativeHistogram>)>,
) -> Option<()> {
    let kind = cursor.byte()?;
    let layout = Layout {
        schema: cursor.byte()? as i8,
        zero_threshold: f64::from_bits(cursor.u64()?),
        positive_spans: decode_spans(cursor)?,
        negative_spans: decode_spans(cursor)?,
        custom_bounds: {
            let n = cursor.count(8)?;
            (0..n).map(|_| cursor.u64().map(f64::from_bits)).collect::<Option<_>>()?
        },
    };
    let (positive, negative) = (cursor.count(1)?, cursor.count(1)?);
    if positive.max(negative) > HISTOGRAM_BUCKETS_MAX
        || (count > 1 && count.checked_mul(positive + negative)? > CELLS_MAX)
    {
        return None;
    }
    let Scratch { whole, floats } = scratch;
    ints::decode(cursor, count, &mut values.ints, whole)?;
    let hints: Vec<ResetHint> = whole.iter().map(|&code| hint_of(code)).collect::<Option<_>>()?;
    floats.clear();
    values::decode(cursor, count, values, floats)?;
    let sums = floats.clone();
    let counts: Vec<HistogramCounts> = match kind {
        INTEGER => {
            let mut column = |cursor: &mut Cursor<'_>| {
                ints::decode(cursor, count, &mut values.ints, whole)?;
                Some(whole.iter().map(|&v| v as u64).collect::<Vec<u64>>())
            };
            let (counts, zeros) = (column(cursor)?, column(cursor)?);
            let mut rows: Vec<[Vec<u64>; 2]> =
                (0..count).map(|_| [Vec::with_capacity(positive), Vec::with_capacity(negative)]).collect();
            for bucket in 0..positive + negative {
                for (row, value) in rows.iter_mut().zip(column(cursor)?) {
                    row[usize::from(bucket >= positive)].push(value);
                }
            }
            rows.into_iter()
                .zip(counts.into_iter().zip(zeros))
                .map(|([positive, negative], (rest, zero_count))| {
                    let parts =
                        WholeCounts { count: 0, zero_count, positive: &positive, negative: &negative };
                    let count = rest.wrapping_add(parts.in_buckets());
                    HistogramCounts::Integer { count, zero_count, positive, negative }
                })
                .collect()
        }
        FLOAT => {
            let mut column = |cursor: &mut Cursor<'_>| {
                floats.clear();
                values::decode(cursor, count, values, floats)?;
                Some(floats.clone())
            };
            let (counts, zeros) = (column(cursor)?, column(cursor)?);
            let mut rows: Vec<[Vec<f64>; 2]> =
                (0..count).map(|_| [Vec::with_capacity(positive), Vec::with_capacity(negative)]).collect();
            for bucket in 0..positive + negative {
                for (row, value) in rows.iter_mut().zip(column(cursor)?) {
                    row[usize::from(bucket >= positive)].push(value);
                }
            }
            rows.into_iter()
                .zip(counts.into_iter().zip(zeros))
                .map(|([positive, negative], (count, zero_count))| HistogramCounts::Float {
                    count,
                    zero_count,
                    positive,
                    negative,
                })
                .collect()
        }
        _ => return None,
    };
    for (number, ((counts, reset_hint), sum)) in (first..).zip(counts.into_iter().zip(hints).zip(sums)) {
        let Layout { schema, zero_threshold, positive_spans, negative_spans, custom_bounds } = layout.clone();
        let histogram = NativeHistogram {
            reset_hint,
            schema,
            zero_threshold,
            sum,
            positive_spans,
            negative_spans,
            custom_bounds,
            counts,
        };
        out.push((number, Arc::new(histogram)));
    }
    Some(())
}

#[derive(Clone)]
struct Layout {
    schema: i8,
    zero_threshold: f64,
    positive_spans: Vec<Span>,
    negative_spans: Vec<Span>,
    custom_bounds: Vec<f64>,
}

fn decode_spans(cursor: &mut Cursor<'_>) -> Option<Vec<Span>> {
    let n = cursor.count(2)?;
    (0..n)
        .map(|_| Some(Span { offset: i32::try_from(cursor.signed()?).ok()?, length: cursor.varint_u32()? }))
        .collect()
}

fn fill<T>(out: &mut Vec<T>, histograms: &[(u32, Arc<NativeHistogram>)], of: impl Fn(&NativeHistogram) -> T) {
    out.clear();
    out.extend(histograms.iter().map(|(_, h)| of(h)));
}

fn hint_code(hint: ResetHint) -> i64 {
    match hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    }
}

fn hint_of(code: i64) -> Option<ResetHint> {
    Some(match code {
        0 => ResetHint::Unknown,
        1 => ResetHint::Reset,
        2 => ResetHint::NotReset,
        3 => ResetHint::Gauge,
        _ => return None,
    })
}

struct WholeCounts<'a> {
    count: u64,
    zero_count: u64,
    positive: &'a [u64],
    negative: &'a [u64],
}

impl<'a> WholeCounts<'a> {
    fn of(histogram: &'a NativeHistogram) -> Option<Self> {
        match &histogram.counts {
            HistogramCounts::Integer { count, zero_count, positive, negative } => {
                Some(Self { count: *count, zero_count: *zero_count, positive, negative })
            }
            HistogramCounts::Float { .. } => None,
        }
    }

    fn in_buckets(&self) -> u64 {
        self.positive.iter().chain(self.negative).fold(self.zero_count, |sum, &n| sum.wrapping_add(n))
    }
}

struct FloatCounts<'a> {
    count: f64,
    zero_count: f64,
    positive: &'a [f64],
    negative: &'a [f64],
}

impl<'a> FloatCounts<'a> {
    fn of(histogram: &'a NativeHistogram) -> Option<Self> {
        match &histogram.counts {
            HistogramCounts::Float { count, zero_count, positive, negative } => {
                Some(Self { count: *count, zero_count: *zero_count, positive, negative })
            }
            HistogramCounts::Integer { .. } => None,
        }
    }
}
