//! Which buckets the histograms of one chunk have.

use std::sync::Arc;

use vedette_model::{CUSTOM_BUCKETS_SCHEMA, HistogramCounts, NativeHistogram, Span};

use super::bits::{BitReader, BitWriter};

/// What all histograms of a chunk have in common. Their buckets are told by index, growing.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub schema: i8,
    pub zero_threshold: f64,
    pub custom_bounds: Vec<f64>,
    pub positive: Vec<i64>,
    pub negative: Vec<i64>,
}

impl Layout {
    pub fn of(histogram: &NativeHistogram) -> Self {
        Self {
            schema: histogram.schema,
            zero_threshold: histogram.zero_threshold,
            custom_bounds: histogram.custom_bounds.clone(),
            positive: indexes(&histogram.positive_spans),
            negative: indexes(&histogram.negative_spans),
        }
    }

    /// Whether the buckets of both mean the same.
    pub fn is_comparable(a: &NativeHistogram, b: &NativeHistogram) -> bool {
        a.schema == b.schema
            && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
            && a.custom_bounds == b.custom_bounds
    }

    /// Takes the buckets of a comparable histogram in too.
    pub fn extend(&mut self, histogram: &NativeHistogram) {
        union(&mut self.positive, &histogram.positive_spans);
        union(&mut self.negative, &histogram.negative_spans);
    }

    pub fn buckets(&self) -> usize {
        self.positive.len() + self.negative.len()
    }
}

/// The index of each bucket.
pub fn indexes(spans: &[Span]) -> Vec<i64> {
    each_index(spans).collect()
}

pub fn each_index(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut next = 0i64;
    spans.iter().flat_map(move |span| {
        let start = next + i64::from(span.offset);
        next = start + i64::from(span.length);
        start..next
    })
}

fn union(kept: &mut Vec<i64>, spans: &[Span]) {
    if each_index(spans).all(|index| kept.binary_search(&index).is_ok()) {
        return;
    }
    kept.extend(each_index(spans));
    kept.sort_unstable();
    kept.dedup();
}

fn spans(indexes: &[i64]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut end = 0i64;
    for &index in indexes {
        match spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            // Indexes came from offsets of 32 bits each; the gap between two fits them again,
            // as a sound histogram has no more than 100,000 buckets.
            _ => spans.push(Span { offset: (index - end) as i32, length: 1 }),
        }
        end = index + 1;
    }
    spans
}

/// The counts of a histogram, one for each of `indexes`, which holds all that it has.
pub fn spread<T: Copy + Default>(own: &[Span], counts: &[T], indexes: &[i64], out: &mut Vec<T>) {
    let mut have = each_index(own).zip(counts).peekable();
    for &index in indexes {
        let count = have.next_if(|(i, _)| *i == index).map_or_else(T::default, |(_, count)| *count);
        out.push(count);
    }
}

pub fn write(layout: &Layout, out: &mut BitWriter) {
    write_zero_threshold(layout.zero_threshold, out);
    out.put_varbit_int(i64::from(layout.schema));
    for side in [&layout.positive, &layout.negative] {
        let spans = spans(side);
        out.put_varbit_uint(spans.len() as u64);
        for span in spans {
            out.put_varbit_uint(u64::from(span.length));
            out.put_varbit_int(i64::from(span.offset));
        }
    }
    if layout.schema == CUSTOM_BUCKETS_SCHEMA {
        out.put_varbit_uint(layout.custom_bounds.len() as u64);
        for &bound in &layout.custom_bounds {
            write_bound(bound, out);
        }
    }
}

/// Layout as read, with spans.
#[derive(Debug)]
pub struct ReadLayout {
    pub schema: i8,
    pub zero_threshold: f64,
    pub custom_bounds: Vec<f64>,
    pub positive: Vec<Span>,
    pub negative: Vec<Span>,
}

pub fn read(bits: &mut BitReader<'_>) -> Option<ReadLayout> {
    let zero_threshold = read_zero_threshold(bits)?;
    let schema = i8::try_from(bits.varbit_int()?).ok()?;
    let positive = read_spans(bits)?;
    let negative = read_spans(bits)?;
    let mut custom_bounds = Vec::new();
    if schema == CUSTOM_BUCKETS_SCHEMA {
        let count = bits.varbit_uint()?;
        // Each takes a bit or more.
        if count > bits.remaining() as u64 {
            return None;
        }
        for _ in 0..count {
            custom_bounds.push(read_bound(bits)?);
        }
    }
    Some(ReadLayout { schema, zero_threshold, custom_bounds, positive, negative })
}

fn read_spans(bits: &mut BitReader<'_>) -> Option<Vec<Span>> {
    let count = bits.varbit_uint()?;
    if count > bits.remaining() as u64 / 2 {
        return None;
    }
    (0..count)
        .map(|_| {
            let length = u32::try_from(bits.varbit_uint()?).ok()?;
            Some(Span { length, offset: i32::try_from(bits.varbit_int()?).ok()? })
        })
        .collect()
}

/// Powers of two from 2^-243 to 2^10 take one byte, other thresholds nine.
fn write_zero_threshold(value: f64, out: &mut BitWriter) {
    if value == 0.0 && value.is_sign_positive() {
        return out.put(0, 8);
    }
    let (mantissa, exponent) = (value.to_bits() << 12, (value.to_bits() >> 52) as i64 - 1023);
    if mantissa == 0 && (-243..=10).contains(&exponent) {
        return out.put((exponent + 244) as u64, 8);
    }
    out.put(255, 8);
    out.put_f64(value);
}

fn read_zero_threshold(bits: &mut BitReader<'_>) -> Option<f64> {
    Some(match bits.get(8)? {
        0 => 0.0,
        255 => bits.f64()?,
        byte => f64::from_bits((byte + 1023 - 244) << 52),
    })
}

/// Bounds are mostly short decimals: thousandths are written as whole numbers.
fn write_bound(bound: f64, out: &mut BitWriter) {
    let thousandths = bound * 1000.0;
    let short = (0.0..=BOUND_THOUSANDTHS_MAX).contains(&thousandths)
        && thousandths.trunc() == thousandths
        && (thousandths / 1000.0).to_bits() == bound.to_bits();
    if short {
        return out.put_varbit_uint(thousandths as u64 + 1);
    }
    out.put(0, 1);
    out.put_f64(bound);
}

fn read_bound(bits: &mut BitReader<'_>) -> Option<f64> {
    Some(match bits.varbit_uint()? {
        0 => bits.f64()?,
        thousandths => (thousandths - 1) as f64 / 1000.0,
    })
}

const BOUND_THOUSANDTHS_MAX: f64 = 33_554_430.0;

/// Whether counting began anew between two comparable histograms.
pub fn is_reset(before: &NativeHistogram, after: &NativeHistogram) -> bool {
    use HistogramCounts::{Float, Integer};
    match (&before.counts, &after.counts) {
        (
            Integer { count: a, zero_count: az, positive: ap, negative: an },
            Integer { count: b, zero_count: bz, positive: bp, negative: bn },
        ) => {
            b < a
                || bz < az
                || side_is_reset(&before.positive_spans, ap, &after.positive_spans, bp)
                || side_is_reset(&before.negative_spans, an, &after.negative_spans, bn)
        }
        (
            Float { count: a, zero_count: az, positive: ap, negative: an },
            Float { count: b, zero_count: bz, positive: bp, negative: bn },
        ) => {
            b < a
                || bz < az
                || side_is_reset(&before.positive_spans, ap, &after.positive_spans, bp)
                || side_is_reset(&before.negative_spans, an, &after.negative_spans, bn)
        }
        _ => true,
    }
}

fn side_is_reset<T: Copy + Default + PartialOrd>(
    a: &[Span],
    a_counts: &[T],
    b: &[Span],
    b_counts: &[T],
) -> bool {
    let mut after = each_index(b).zip(b_counts).peekable();
    each_index(a).zip(a_counts).any(|(index, &count)| {
        while after.next_if(|(i, _)| *i < index).is_some() {}
        let now = after.next_if(|(i, _)| *i == index).map_or_else(T::default, |(_, n)| *n);
        now < count
    })
}

/// The histogram at an index, without taking part in its count.
pub fn at(histograms: &[(u32, Arc<NativeHistogram>)], index: usize) -> Option<&NativeHistogram> {
    let found = histograms.binary_search_by_key(&index, |(i, _)| *i as usize).ok()?;
    Some(&histograms[found].1)
}
