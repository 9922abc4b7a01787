use proptest::prelude::*;
use vedette_model::{RollupRow, SampleBuffer, histogram_may_reset, is_stale, stale_nan, value_changes};

use super::{
    codec,
    rows::{end_of, roll},
};
use crate::chunk::tests::any_samples;

const STEP_MS: i64 = 20_000;

/// A row as text, as NaN is not equal to itself.
fn told(row: &RollupRow) -> String {
    let bits = [row.sum, row.min, row.max, row.first, row.last, row.correction].map(f64::to_bits);
    format!("{row:?} {bits:x?}")
}

fn all_told(rows: &[RollupRow]) -> Vec<String> {
    rows.iter().map(told).collect()
}

/// As its documentation says, sample by sample.
fn naive(samples: &SampleBuffer, end_ms: i64) -> RollupRow {
    let mut row = RollupRow::empty(end_ms, STEP_MS);
    let inside: Vec<usize> = (0..samples.len())
        .filter(|&i| (end_ms - STEP_MS + 1..=end_ms).contains(&samples.times_ms[i]))
        .collect();
    let stale = |i: &usize| is_stale(samples.values[*i]);
    row.stales = inside.iter().filter(|i| stale(i)).count() as u64;
    row.last_stale_ms = inside.iter().rfind(|i| stale(i)).map(|&i| samples.times_ms[i]);
    let told: Vec<usize> = inside.into_iter().filter(|i| !stale(i)).collect();
    if let (Some(&first), Some(&last)) = (told.first(), told.last()) {
        (row.first_ms, row.last_ms) = (samples.times_ms[first], samples.times_ms[last]);
        row.start_ms = samples.start_ms(last);
    }
    let histograms: Vec<_> = told.iter().filter_map(|&i| samples.histogram(i)).collect();
    if let (Some(first), Some(last)) = (histograms.first(), histograms.last()) {
        row.histograms = Some(Box::new(vedette_model::RollupHistograms {
            count: histograms.len() as u64,
            resets: histograms.windows(2).filter(|w| histogram_may_reset(w[0], w[1])).count() as u64,
            first: std::sync::Arc::clone(first),
            last: std::sync::Arc::clone(last),
        }));
    }
    let floats: Vec<f64> =
        told.iter().filter(|&&i| samples.histogram(i).is_none()).map(|&i| samples.values[i]).collect();
    if let (Some(&first), Some(&last)) = (floats.first(), floats.last()) {
        (row.first, row.last) = (first, last);
        row.count = floats.len() as u64;
        row.sum = crate::chunk::summarize(&vec![0; floats.len()], &floats).sum;
        row.min = floats.iter().copied().fold(first, f64::min);
        row.max = floats.iter().copied().fold(first, f64::max);
        for pair in floats.windows(2) {
            row.resets += u64::from(pair[1] < pair[0]);
            row.correction += if pair[1] < pair[0] { pair[0] } else { 0.0 };
            row.changes += u64::from(value_changes(pair[0], pair[1]));
        }
    }
    row
}

fn rolled(samples: &SampleBuffer) -> Vec<RollupRow> {
    let mut rows = Vec::new();
    roll(samples, STEP_MS, &mut rows);
    rows
}

proptest! {
    #[test]
    fn rows_tell_what_is_in_their_steps(samples in any_samples()) {
        let rows = rolled(&samples);
        let mut ends: Vec<i64> = samples.times_ms.iter().map(|&t| end_of(t, STEP_MS)).collect();
        ends.dedup();
        let wanted: Vec<String> = ends.iter().map(|&end_ms| told(&naive(&samples, end_ms))).collect();
        prop_assert_eq!(all_told(&rows), wanted);
    }

    #[test]
    fn rows_of_parts_add_up_to_that_of_the_whole(samples in any_samples(), at in any::<prop::sample::Index>()) {
        let at = at.index(samples.len());
        let (mut before, mut after) = (samples.clone(), SampleBuffer::default());
        after.extend_from(&samples);
        let border_ms = samples.times_ms[at];
        before.cut_to(vedette_model::TimeRange { start_ms: i64::MIN, end_ms: border_ms }, 0);
        after.cut_to(vedette_model::TimeRange { start_ms: border_ms + 1, end_ms: i64::MAX }, 0);
        let mut parts = rolled(&before);
        for row in rolled(&after) {
            match parts.last_mut() {
                Some(last) if last.end_ms == row.end_ms => last.add(&row),
                _ => parts.push(row),
            }
        }
        let whole = rolled(&samples);
        prop_assert_eq!(parts.len(), whole.len());
        for (part, whole) in parts.iter_mut().zip(&whole) {
            // Sums are rounded once more, and so are corrections, whose order is another.
            let near = |a: f64, b: f64| a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()) || !(a - b).is_finite();
            prop_assert!(near(part.correction, whole.correction), "{part:?} {whole:?}");
            (part.sum, part.correction) = (whole.sum, whole.correction);
            prop_assert_eq!(told(part), told(whole));
        }
    }

    #[test]
    fn what_is_encoded_comes_back(samples in any_samples()) {
        let (rows, mut block, mut scratch) = (rolled(&samples), Vec::new(), codec::Scratch::default());
        codec::encode(&rows, STEP_MS, &mut scratch, &mut block);
        let mut back = Vec::new();
        prop_assert_eq!(codec::decode(&block, STEP_MS, &mut scratch, &mut back), Some(()));
        prop_assert_eq!(all_told(&back), all_told(&rows));
        block.push(0);
        prop_assert_eq!(codec::decode(&block, STEP_MS, &mut scratch, &mut back), None);
        prop_assert_eq!(back.len(), rows.len());
    }

    #[test]
    fn a_changed_block_never_panics(
        samples in any_samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        length in any::<prop::sample::Index>(),
    ) {
        let (mut block, mut scratch) = (Vec::new(), codec::Scratch::default());
        codec::encode(&rolled(&samples), STEP_MS, &mut scratch, &mut block);
        for (place, byte) in changes {
            let i = place.index(block.len());
            block[i] = byte;
        }
        let mut back = Vec::new();
        let _ = codec::decode(&block, STEP_MS, &mut scratch, &mut back);
        let _ = codec::decode(&block[..length.index(block.len())], STEP_MS, &mut scratch, &mut back);
    }

    #[test]
    fn garbage_never_panics(block in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = codec::decode(&block, STEP_MS, &mut codec::Scratch::default(), &mut Vec::new());
    }
}

#[test]
fn a_dull_series_costs_a_few_bytes() {
    let mut samples = SampleBuffer::default();
    for i in 0..5760 {
        samples.push(1_700_006_400_000 + i * 15_000, 1024.0);
    }
    let (mut rows, mut block) = (Vec::new(), Vec::new());
    roll(&samples, 300_000, &mut rows);
    assert_eq!(rows.len(), 289, "one of them ends where the day begins");
    codec::encode(&rows[1..], 300_000, &mut codec::Scratch::default(), &mut block);
    assert!(block.len() < 60, "{}", block.len());
}

#[test]
fn steps_hold_their_end_and_not_their_start() {
    let mut samples = SampleBuffer::default();
    for (time, value) in [(-20_000, 1.0), (-19_999, 2.0), (0, 3.0), (1, 1.0), (5, stale_nan()), (20_000, 9.0)]
    {
        samples.push(time, value);
    }
    let rows = rolled(&samples);
    let told: Vec<(i64, u64, f64, u64)> =
        rows.iter().map(|r| (r.end_ms, r.count, r.last - r.first + r.correction, r.stales)).collect();
    assert_eq!(told, [(-20_000, 1, 0.0, 0), (0, 2, 1.0, 0), (20_000, 2, 8.0, 1)]);
}
