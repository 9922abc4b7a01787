//! Leaving out samples: a mask is stretches of time, in order, none of which touch.

use vedette_model::{SampleBuffer, TimeRange};

/// Whether a mask covers a time.
pub fn covers(mask: &[TimeRange], time_ms: i64) -> bool {
    let next = mask.partition_point(|r| r.end_ms < time_ms);
    mask.get(next).is_some_and(|r| r.start_ms <= time_ms)
}

/// Whether a mask covers some time of a range.
pub fn overlaps(mask: &[TimeRange], range: TimeRange) -> bool {
    let next = mask.partition_point(|r| r.end_ms < range.start_ms);
    mask.get(next).is_some_and(|r| r.start_ms <= range.end_ms)
}

/// Removes the samples from index `start` on that a mask covers.
pub fn cut_out(mask: &[TimeRange], start: usize, out: &mut SampleBuffer) {
    let (Some(&start_ms), Some(&end_ms)) = (out.times_ms[start..].first(), out.times_ms.last()) else {
        return;
    };
    if !overlaps(mask, TimeRange { start_ms, end_ms }) {
        return;
    }
    let mut mask = mask.iter().peekable();
    let mut kept = start;
    let mut histogram = out.histograms.partition_point(|(i, _)| (*i as usize) < start);
    let mut kept_histograms = histogram;
    for i in start..out.len() {
        let time_ms = out.times_ms[i];
        while mask.next_if(|r| r.end_ms < time_ms).is_some() {}
        let stays = mask.peek().is_none_or(|r| time_ms < r.start_ms);
        let is_histogram = out.histograms.get(histogram).is_some_and(|(at, _)| *at as usize == i);
        if stays {
            out.times_ms[kept] = time_ms;
            out.values[kept] = out.values[i];
            if !out.starts_ms.is_empty() {
                out.starts_ms[kept] = out.starts_ms[i];
            }
            if is_histogram {
                out.histograms.swap(kept_histograms, histogram);
                out.histograms[kept_histograms].0 = kept as u32;
                kept_histograms += 1;
            }
            kept += 1;
        }
        histogram += usize::from(is_histogram);
    }
    out.times_ms.truncate(kept);
    out.values.truncate(kept);
    out.starts_ms.truncate(kept);
    out.histograms.truncate(kept_histograms);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use vedette_model::NativeHistogram;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cut_out_is_what_a_mask_covers(
            samples in proptest::collection::btree_map(0i64..60, any::<(bool, bool)>(), 0..40),
            before in 0usize..4,
            ranges in proptest::collection::btree_map(0i64..70, 0i64..9, 0..5),
        ) {
            let mut mask: Vec<TimeRange> = Vec::new();
            for (start_ms, length) in ranges {
                if mask.last().is_none_or(|r| r.end_ms + 1 < start_ms) {
                    mask.push(TimeRange { start_ms, end_ms: start_ms + length });
                }
            }
            let mut out = SampleBuffer::default();
            let mut wanted = SampleBuffer::default();
            let early = (0..before).map(|i| (i as i64 - 10, (true, i % 2 == 0)));
            for (time, (histogram, started)) in early.chain(samples) {
                let push = |to: &mut SampleBuffer| {
                    if histogram {
                        let h = NativeHistogram { sum: time as f64, ..NativeHistogram::stale() };
                        to.push_histogram(time, Arc::new(h));
                    } else {
                        to.push(time, time as f64);
                    }
                    to.set_last_start(if started { time + 100 } else { 0 });
                };
                push(&mut out);
                prop_assert_eq!(covers(&mask, time), mask.iter().any(|r| r.contains(time)));
                if !mask.iter().any(|r| r.contains(time)) {
                    push(&mut wanted);
                }
            }
            cut_out(&mask, before, &mut out);
            prop_assert_eq!(&out.times_ms, &wanted.times_ms);
            prop_assert_eq!(&out.values, &wanted.values);
            prop_assert_eq!(&out.histograms, &wanted.histograms);
            for i in 0..out.len() {
                prop_assert_eq!(out.start_ms(i), wanted.start_ms(i));
            }
            prop_assert!(out.starts_ms.is_empty() || out.starts_ms.len() == out.len());
        }

        #[test]
        fn covering_is_as_for_each_time(ranges in proptest::collection::btree_map(0i64..30, 0i64..6, 0..4),
            start_ms in -3i64..35, length in 0i64..8) {
            let mut mask: Vec<TimeRange> = Vec::new();
            for (start_ms, length) in ranges {
                if mask.last().is_none_or(|r| r.end_ms + 1 < start_ms) {
                    mask.push(TimeRange { start_ms, end_ms: start_ms + length });
                }
            }
            let range = TimeRange { start_ms, end_ms: start_ms + length };
            prop_assert_eq!(overlaps(&mask, range), (start_ms..=range.end_ms).any(|t| covers(&mask, t)));
        }
    }
}
