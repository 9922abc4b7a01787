//! Lowering the resolution of native histograms, for the limits of a job.

use vedette_model::{EXPONENTIAL_SCHEMAS, HistogramCounts, NativeHistogram, Span};

/// The finest schema whose buckets grow at least by this factor.
pub(crate) fn schema_max(bucket_factor_min: f64) -> i8 {
    let factor = if bucket_factor_min <= 1.0 { 1.002_71 } else { bucket_factor_min };
    let schema = (-factor.log2().log2()).floor();
    schema.clamp(f64::from(*EXPONENTIAL_SCHEMAS.start()), f64::from(*EXPONENTIAL_SCHEMAS.end())) as i8
}

/// Number of buckets.
pub(crate) fn buckets(histogram: &NativeHistogram) -> usize {
    match &histogram.counts {
        HistogramCounts::Integer { positive, negative, .. } => positive.len() + negative.len(),
        HistogramCounts::Float { positive, negative, .. } => positive.len() + negative.len(),
    }
}

/// Merges buckets until there are at most `max`. False where that cannot be.
pub(crate) fn fit(histogram: &mut NativeHistogram, max: usize) -> bool {
    while buckets(histogram) > max {
        if !EXPONENTIAL_SCHEMAS.contains(&histogram.schema)
            || histogram.schema == *EXPONENTIAL_SCHEMAS.start()
        {
            return false;
        }
        reduce(histogram, histogram.schema - 1);
    }
    true
}

/// Brings an exponential histogram to a coarser schema.
pub(crate) fn reduce(histogram: &mut NativeHistogram, schema: i8) {
    if !EXPONENTIAL_SCHEMAS.contains(&histogram.schema) || schema >= histogram.schema {
        return;
    }
    let shift = u32::from((histogram.schema - schema).unsigned_abs());
    match &mut histogram.counts {
        HistogramCounts::Integer { positive, negative, .. } => {
            merge(&mut histogram.positive_spans, positive, shift);
            merge(&mut histogram.negative_spans, negative, shift);
        }
        HistogramCounts::Float { positive, negative, .. } => {
            merge(&mut histogram.positive_spans, positive, shift);
            merge(&mut histogram.negative_spans, negative, shift);
        }
    }
    histogram.schema = schema;
}

/// Bucket `i` ends at `base^i`: so with a base squared `shift` times it lies in that of `i / 2^shift`,
/// rounded up.
fn merge<T: Copy + std::ops::AddAssign>(spans: &mut Vec<Span>, counts: &mut Vec<T>, shift: u32) {
    let mut merged: Vec<(i64, T)> = Vec::with_capacity(counts.len());
    let mut index = 0_i64;
    let mut rest = counts.iter();
    for span in spans.iter() {
        index += i64::from(span.offset);
        for count in rest.by_ref().take(span.length as usize) {
            let target = ((index - 1) >> shift) + 1;
            match merged.last_mut() {
                Some((last, sum)) if *last == target => *sum += *count,
                _ => merged.push((target, *count)),
            }
            index += 1;
        }
    }
    spans.clear();
    counts.clear();
    let mut end = 0;
    for (target, count) in merged {
        match spans.last_mut().filter(|_| end == target) {
            Some(span) => span.length += 1,
            // Offsets shrink with the resolution, so they fit as before.
            None => spans.push(Span { offset: i32::try_from(target - end).unwrap_or(i32::MAX), length: 1 }),
        }
        end = target + 1;
        counts.push(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vedette_model::ResetHint;

    use super::*;

    fn histogram(schema: i8, offset: i32, gap: u32, positive: Vec<u64>) -> NativeHistogram {
        let half = positive.len() / 2;
        let lengths = [half as u32, (positive.len() - half) as u32];
        NativeHistogram {
            reset_hint: ResetHint::Unknown,
            schema,
            zero_threshold: 0.0,
            sum: 1.0,
            positive_spans: vec![
                Span { offset, length: lengths[0] },
                Span { offset: gap as i32, length: lengths[1] },
            ],
            negative_spans: Vec::new(),
            custom_bounds: Vec::new(),
            counts: HistogramCounts::Integer {
                count: positive.iter().sum(),
                zero_count: 0,
                positive,
                negative: Vec::new(),
            },
        }
    }

    /// Counts below each power of the coarse base.
    fn below(histogram: &NativeHistogram, schema: i8, bound: i64) -> u64 {
        let HistogramCounts::Integer { positive, .. } = &histogram.counts else { unreachable!() };
        let fine_bound = bound << (histogram.schema - schema);
        let mut index = 0_i64;
        let mut rest = positive.iter();
        let mut sum = 0;
        for span in &histogram.positive_spans {
            index += i64::from(span.offset);
            for count in rest.by_ref().take(span.length as usize) {
                sum += if index <= fine_bound { *count } else { 0 };
                index += 1;
            }
        }
        sum
    }

    proptest! {
        #[test]
        fn what_lies_below_a_bound_stays_below(
            from in -3..=8_i8, by in 1..4_i8, offset in -40..40_i32, gap in 0..9_u32,
            positive in proptest::collection::vec(0..9_u64, 0..60),
        ) {
            let to = (from - by).max(-4);
            let fine = histogram(from, offset, gap, positive);
            let mut coarse = fine.clone();
            reduce(&mut coarse, to);
            prop_assert_eq!(coarse.validate(), Ok(()));
            prop_assert!(buckets(&coarse) <= buckets(&fine));
            for bound in -50..100 {
                prop_assert_eq!(below(&fine, to, bound), below(&coarse, to, bound), "{}", bound);
            }
        }
    }

    #[test]
    fn limits_choose_the_schema() {
        for (factor, schema) in [(0.0, 8), (1.002, 8), (1.1, 2), (1.5, 0), (2.0, 0), (4.0, -1), (1e9, -4)] {
            assert_eq!(schema_max(factor), schema, "{factor}");
        }
        let mut many = histogram(3, -10, 1, vec![1; 64]);
        assert!(fit(&mut many, 10));
        assert!(buckets(&many) <= 10 && many.schema < 3);
        assert!(!fit(&mut histogram(-4, -10, 1, vec![1; 64]), 10));
    }
}
