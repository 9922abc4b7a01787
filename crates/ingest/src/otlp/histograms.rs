//! Histograms of OpenTelemetry as native histograms.

use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMAS, HistogramCounts, NativeHistogram, ResetHint, Span,
};
use vedette_wire::otlp::{Buckets, ExponentialPoint, HistogramPoint};

/// What observations of zero mean where a sender does not say.
const ZERO_THRESHOLD: f64 = 1e-128;
/// A gap of more empty buckets begins a new span.
const GAP_MAX: i64 = 2;

/// The native form of a histogram with exponential buckets. One that is finer than native ones can be
/// is made coarser.
pub fn exponential(point: &ExponentialPoint<'_>, hint: ResetHint) -> Result<NativeHistogram, String> {
    if point.common.has_no_value() {
        return Ok(NativeHistogram::stale());
    }
    let (coarsest, finest) = (i32::from(*EXPONENTIAL_SCHEMAS.start()), i32::from(*EXPONENTIAL_SCHEMAS.end()));
    if point.scale < coarsest {
        return Err(format!("an exponential histogram has the scale {}, below {coarsest}", point.scale));
    }
    let shift = point.scale.saturating_sub(finest).clamp(0, 63);
    let (positive_spans, positive) = sparse(exponential_buckets(&point.positive, shift))?;
    let (negative_spans, negative) = sparse(exponential_buckets(&point.negative, shift))?;
    let is_told = point.zero_threshold.is_finite() && point.zero_threshold > 0.0;
    Ok(NativeHistogram {
        reset_hint: hint,
        schema: point.scale.min(finest) as i8,
        zero_threshold: if is_told { point.zero_threshold } else { ZERO_THRESHOLD },
        sum: point.sum.unwrap_or(0.0),
        positive_spans,
        negative_spans,
        custom_bounds: Vec::new(),
        counts: HistogramCounts::Integer {
            count: point.count,
            zero_count: point.zero_count,
            positive,
            negative,
        },
    })
}

/// Indexes and counts. Bucket 0 of OpenTelemetry begins at 1, that of native histograms ends there.
fn exponential_buckets(buckets: &Buckets, shift: i32) -> impl Iterator<Item = (i64, u64)> + '_ {
    let first = i64::from(buckets.offset);
    (first..).zip(&buckets.counts).map(move |(index, &count)| ((index >> shift) + 1, count))
}

/// The native form of a histogram with bounds of its own.
pub fn custom(point: &HistogramPoint<'_>, hint: ResetHint) -> Result<NativeHistogram, String> {
    if point.common.has_no_value() {
        return Ok(NativeHistogram::stale());
    }
    // Without buckets there is one that has all.
    let whole = [point.count];
    let counts =
        if point.buckets.is_empty() && point.bounds.is_empty() { &whole[..] } else { &point.buckets };
    if counts.len() != point.bounds.len() + 1 {
        return Err(format!("a histogram of {} bounds has {} buckets", point.bounds.len(), counts.len()));
    }
    let (positive_spans, positive) = sparse((0..).zip(counts.iter().copied()))?;
    Ok(NativeHistogram {
        reset_hint: hint,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum: point.sum.unwrap_or(0.0),
        positive_spans,
        negative_spans: Vec::new(),
        custom_bounds: point.bounds.clone(),
        counts: HistogramCounts::Integer {
            count: point.count,
            zero_count: 0,
            positive,
            negative: Vec::new(),
        },
    })
}

/// Spans and counts of buckets that come in order of their indexes, several of one index together.
pub(super) fn sparse(buckets: impl Iterator<Item = (i64, u64)>) -> Result<(Vec<Span>, Vec<u64>), String> {
    let (mut spans, mut counts): (Vec<Span>, Vec<u64>) = (Vec::new(), Vec::new());
    let mut last = None;
    for (index, count) in buckets.filter(|(_, count)| *count > 0) {
        if last == Some(index) {
            if let Some(sum) = counts.last_mut() {
                *sum = sum.checked_add(count).ok_or("a histogram counts more than can be")?;
            }
            continue;
        }
        let gap = last.map_or(index, |last: i64| index - last - 1);
        match spans.last_mut() {
            Some(span) if gap <= GAP_MAX => {
                span.length += gap as u32 + 1;
                counts.extend(std::iter::repeat_n(0, gap as usize));
            }
            _ => {
                let offset = i32::try_from(gap).map_err(|_| "a histogram has a bucket out of range")?;
                spans.push(Span { offset, length: 1 });
            }
        }
        counts.push(count);
        last = Some(index);
    }
    Ok((spans, counts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(scale: i32, offset: i32, counts: &[u64]) -> ExponentialPoint<'static> {
        ExponentialPoint {
            count: counts.iter().sum(),
            scale,
            positive: Buckets { offset, counts: counts.to_vec() },
            ..ExponentialPoint::default()
        }
    }

    fn positive(histogram: &NativeHistogram) -> (Vec<(i32, u32)>, Vec<u64>) {
        let HistogramCounts::Integer { positive, .. } = &histogram.counts else { panic!("floats") };
        (histogram.positive_spans.iter().map(|s| (s.offset, s.length)).collect(), positive.clone())
    }

    #[test]
    fn buckets_move_by_one_and_empty_ones_are_left_out() {
        let made = exponential(&point(0, -2, &[0, 3, 0, 0, 4, 0, 0, 0, 5, 0]), ResetHint::Unknown).unwrap();
        assert_eq!(positive(&made), (vec![(0, 4), (3, 1)], vec![3, 0, 0, 4, 5]));
        made.validate().unwrap();
    }

    #[test]
    fn finer_histograms_are_made_coarser() {
        let made = exponential(&point(10, -3, &[1, 2, 3, 4, 5]), ResetHint::Gauge).unwrap();
        // Buckets -3 to -1 go to the four before index 0, the others to the next four.
        assert_eq!((made.schema, made.reset_hint), (8, ResetHint::Gauge));
        assert_eq!(positive(&made), (vec![(0, 2)], vec![6, 9]));
        let made = exponential(&point(i32::MAX, i32::MAX, &[1, 1]), ResetHint::Unknown).unwrap();
        assert_eq!(positive(&made).1.iter().sum::<u64>(), 2);
        assert!(exponential(&point(-5, 0, &[1]), ResetHint::Unknown).is_err());
        assert!(exponential(&point(0, i32::MAX, &[1]), ResetHint::Unknown).is_err());
    }

    #[test]
    fn bounds_stay_as_they_are() {
        let point = HistogramPoint {
            count: 6,
            sum: Some(9.0),
            buckets: vec![0, 1, 0, 0, 0, 5],
            bounds: vec![1.0, 2.0, 3.0, 4.0, 5.0],
            ..HistogramPoint::default()
        };
        let made = custom(&point, ResetHint::Unknown).unwrap();
        made.validate().unwrap();
        assert_eq!(positive(&made), (vec![(1, 1), (3, 1)], vec![1, 5]));
        let bare = HistogramPoint { count: 3, ..HistogramPoint::default() };
        custom(&bare, ResetHint::Unknown).unwrap().validate().unwrap();
        assert!(custom(&HistogramPoint { bounds: vec![1.0], ..bare }, ResetHint::Unknown).is_err());
    }

    proptest! {
        /// Every observation is in the bucket that a map says.
        #[test]
        fn buckets_hold_what_a_map_holds(
            scale in -4..14_i32,
            offset in -50..50_i32,
            counts in prop::collection::vec(prop_oneof![3 => Just(0_u64), 2 => 1..9_u64], 0..60),
        ) {
            let made = exponential(&point(scale, offset, &counts), ResetHint::Unknown).unwrap();
            made.validate().unwrap();
            let mut expected = std::collections::BTreeMap::new();
            for (index, count) in (i64::from(offset)..).zip(&counts).filter(|(_, c)| **c > 0) {
                let coarse = index.div_euclid(1 << (scale - 8).max(0)) + 1;
                *expected.entry(coarse).or_insert(0) += count;
            }
            let (spans, counts) = positive(&made);
            let mut next = 0_i64;
            let mut found = std::collections::BTreeMap::new();
            let mut counts = counts.into_iter();
            for (offset, length) in spans {
                next += i64::from(offset);
                for _ in 0..length {
                    let count = counts.next().unwrap();
                    if count > 0 {
                        found.insert(next, count);
                    }
                    next += 1;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
