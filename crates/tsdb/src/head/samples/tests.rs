use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use vedette_model::{NativeHistogram, SampleBuffer, stale_nan};

use super::*;

const SPAN_MS: i64 = 1000;

fn rules(time_ms: i64, sealed_until_ms: i64) -> Rules {
    let span_start_ms = time_ms.div_euclid(SPAN_MS).saturating_mul(SPAN_MS);
    Rules { sealed_until_ms, late_from_ms: Some(-5_000_000), span_start_ms, epoch: 1 }
}

/// Samples of one time: slot, value, start timestamp.
type Row<'a> = &'a [(u32, f64, i64)];

fn histogram(sum: f64) -> NativeHistogram {
    NativeHistogram { sum, ..NativeHistogram::stale() }
}

/// Claims one row of floats or of histograms, and stores it or takes it back.
fn append(
    samples: &mut Samples,
    time_ms: i64,
    row: Row<'_>,
    are_histograms: bool,
    sealed_until_ms: i64,
    written: bool,
) -> Appended {
    let (mut claims, mut appended) = (Claims::default(), Appended::default());
    let rules = rules(time_ms, sealed_until_ms);
    let reference = |slot| SeriesRef::new(0, slot, 0);
    if are_histograms {
        let mut records = WholeBuffer::default();
        for &(slot, sum, start_ms) in row {
            let histogram = Arc::new(histogram(sum));
            let reference = reference(slot);
            let sample = HistogramSample { reference, time_ms, start_ms, histogram: &histogram };
            samples.claim_histogram(&sample, &rules, &mut records, &mut claims, &mut appended);
        }
    } else {
        let starts: Vec<i64> = row.iter().map(|r| r.2).collect();
        let starts = if starts.iter().any(|&s| s != 0) { &starts[..] } else { &[] };
        let floats: Vec<_> = row.iter().map(|&(slot, value, _)| (reference(slot), value)).collect();
        let mut buffer = RowBuffer::default();
        samples.claim(time_ms, &floats, starts, &rules, &mut buffer, &mut claims, &mut appended);
    }
    if written {
        samples.store(&claims);
    } else {
        samples.disclaim(&claims);
    }
    appended
}

/// Time, bits, start timestamp, and whether it is a histogram.
type Told = (i64, u64, i64, bool);

fn read(samples: &Samples, slot: u32, range: TimeRange) -> Vec<Told> {
    let (mut snapshot, mut out) = (Snapshot::default(), SampleBuffer::default());
    samples.snapshot(slot, range, &mut snapshot);
    snapshot.read(range, &mut out);
    let told = |i: usize| {
        let bits = out.values[i].to_bits();
        if let Some(found) = out.histogram(i) {
            assert_eq!(format!("{found:?}"), format!("{:?}", histogram(f64::from_bits(bits))));
        }
        (out.times_ms[i], bits, out.start_ms(i), out.histogram(i).is_some())
    };
    (0..out.len()).map(told).collect()
}

fn with_series(count: u32) -> Samples {
    let mut samples = Samples::default();
    (0..count).for_each(|slot| assert_eq!(samples.begin_series(slot), 0));
    samples
}

#[derive(Debug, Clone)]
enum Op {
    Row { step: i64, row: Vec<(u32, f64, i64)>, are_histograms: bool, written: bool },
    Seal { back: i64 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![4 => (0i64..3).prop_map(|v| v as f64), 1 => any::<f64>(), 1 => Just(stale_nan())];
    let step =
        prop_oneof![8 => Just(100i64), 1 => -900i64..900, 1 => Just(5_000_000_000i64), 1 => Just(-3000i64)];
    let start = prop_oneof![2 => Just(0i64), 1 => Just(-7i64), 1 => Just(9i64)];
    let row = proptest::collection::vec((0u32..4, value, start), 1..5);
    prop_oneof![
        12 => (step, row, proptest::bool::weighted(0.3), proptest::bool::weighted(0.9))
            .prop_map(|(step, row, are_histograms, written)| Op::Row { step, row, are_histograms, written }),
        1 => (0i64..2500).prop_map(|back| Op::Seal { back }),
    ]
}

proptest! {
    #[test]
    fn equals_a_sorted_map(
        ops in proptest::collection::vec(any_op(), 1..400),
        from in 0usize..400,
        length in 0usize..400,
    ) {
        let mut samples = with_series(4);
        let mut model: Vec<BTreeMap<i64, Told>> = vec![BTreeMap::new(); 4];
        // What each series had before it was sealed.
        let mut last: Vec<Option<i64>> = vec![None; 4];
        let (mut time, mut sealed, mut times) = (0i64, i64::MIN, vec![0]);
        for op in ops {
            match op {
                Op::Row { step, row, are_histograms, written } => {
                    time += step;
                    times.push(time);
                    let appended = append(&mut samples, time, &row, are_histograms, sealed, written);
                    let mut wanted = Appended::default();
                    let before = model.clone();
                    for (slot, value, start_ms) in row {
                        let kept = &mut model[slot as usize];
                        let bits = value.to_bits();
                        match kept.get(&time) {
                            Some(k) if (k.1, k.3) == (bits, are_histograms) => wanted.duplicate += 1,
                            Some(_) => wanted.conflicting += 1,
                            None => {
                                kept.insert(time, (time, bits, start_ms, are_histograms));
                                wanted.taken += 1;
                            }
                        }
                    }
                    // At the very time of a sample that is sealed there may be a judgement.
                    if last.iter().flatten().all(|l| *l != time) {
                        prop_assert_eq!(appended, wanted);
                    } else if appended != wanted {
                        break;
                    }
                    if !written {
                        model = before;
                    }
                }
                Op::Seal { back } => {
                    let until = (time - back).div_euclid(SPAN_MS) * SPAN_MS;
                    if until < sealed {
                        continue;
                    }
                    sealed = until;
                    samples.begin_sealing(until);
                    samples.end_sealing(true);
                    for slot in 0..4u32 {
                        let kept = &mut model[slot as usize];
                        last[slot as usize] = kept.keys().next_back().copied().or(last[slot as usize]);
                        samples.truncate_before(slot, until);
                        kept.retain(|t, _| *t >= until);
                    }
                }
            }
            for slot in 0..4u32 {
                let kept: Vec<_> = model[slot as usize].values().copied().collect();
                prop_assert_eq!(read(&samples, slot, TimeRange::ALL), kept);
            }
        }
        let at = |i: usize| times[i.min(times.len() - 1)];
        let range = TimeRange { start_ms: at(from), end_ms: at(from + length) };
        for slot in 0..4u32 {
            let kept = model[slot as usize].values();
            let wanted: Vec<_> = kept.copied().filter(|told| range.contains(told.0)).collect();
            prop_assert!(wanted.is_empty() || samples.overlaps(slot, range));
            prop_assert_eq!(read(&samples, slot, range), wanted);
        }
    }
}

#[test]
fn without_a_window_late_samples_are_refused() {
    let mut samples = with_series(1);
    let row = [(SeriesRef::new(0, 0, 0), 1.0)];
    let (mut buffer, mut claims) = (RowBuffer::default(), Claims::default());
    let mut claim = |time_ms, sealed_until_ms, late_from_ms| {
        let mut appended = Appended::default();
        let rules = Rules { late_from_ms, ..rules(time_ms, sealed_until_ms) };
        claims.clear();
        samples.claim(time_ms, &row, &[], &rules, &mut buffer, &mut claims, &mut appended);
        samples.store(&claims);
        appended
    };
    assert_eq!(claim(5000, 0, None).taken, 1);
    assert_eq!(claim(5000, 0, None).duplicate, 1);
    assert_eq!(claim(4000, 0, None).out_of_order, 1);
    assert_eq!(claim(4000, 4500, None).too_old, 1);
    assert_eq!(claim(4000, 4500, Some(4001)).too_old, 1);
    assert_eq!(claim(4000, 4500, Some(4000)).taken, 1);
}

#[test]
fn a_constant_regular_series_needs_a_block_a_span() {
    let mut samples = with_series(1);
    let empty = samples.blocks.heap_bytes();
    for i in 0..4000 {
        assert_eq!(append(&mut samples, i * 10, &[(0, 5.0, 0)], false, i64::MIN, true).taken, 1);
    }
    assert_eq!(empty, 0);
    let series = samples.series[0];
    assert!(series.older.len() + series.running.len() < 80, "{series:?}");
    assert_eq!(read(&samples, 0, TimeRange::ALL).len(), 4000);
}

#[test]
fn a_series_leaves_when_it_has_ended_or_stayed_silent() {
    let mut samples = with_series(4);
    append(&mut samples, 10, &[(0, 1.0, 0), (3, 1.0, 0)], false, i64::MIN, true);
    append(&mut samples, 10, &[(1, stale_nan(), 0)], true, i64::MIN, true);
    let done = |samples: &mut Samples| (0..4).map(|slot| samples.is_done(slot)).collect::<Vec<_>>();
    assert_eq!(done(&mut samples), [false; 4]);
    (0..4).for_each(|slot| samples.truncate_before(slot, 1000));
    // The one that ended leaves at once, the new one has been asked before.
    assert_eq!(done(&mut samples), [false, true, true, false]);
    append(&mut samples, 1010, &[(3, 1.0, 5)], true, 1000, true);
    (0..4).for_each(|slot| samples.truncate_before(slot, 2000));
    assert_eq!(done(&mut samples), [true, true, true, false]);
}

#[test]
fn the_tables_beside_the_streams_are_empty_when_their_series_have_left() {
    let mut samples = with_series(2);
    for time in 0..50 {
        append(&mut samples, time * 100, &[(0, time as f64, 0), (1, 1.0, 3)], true, i64::MIN, true);
        append(&mut samples, time * 100 + 1, &[(0, 1.0, time % 3)], false, i64::MIN, true);
        append(&mut samples, time * 100 - 50, &[(1, 1.0, 1)], true, i64::MIN, true);
    }
    let exemplar = Exemplar { labels: vedette_model::Labels::empty(), value: 1.0, time_ms: 3 };
    samples.exemplars.push(1, &exemplar, 9);
    let (used, empty) = (samples.used_bytes(), with_series(2).used_bytes());
    assert!(used > empty + 2000, "{used} {empty}");
    (0..2).for_each(|slot| assert!(!samples.is_done(slot)));
    (0..2).for_each(|slot| assert!(samples.end_series(slot)));
    assert_eq!(samples.blocks.used_bytes() + samples.late.more_bytes(), 0);
    (0..2).for_each(|slot| assert_eq!(samples.begin_series(slot), 1));
    (0..2).for_each(|slot| assert_eq!(read(&samples, slot, TimeRange::ALL), []));
    assert!(!samples.exemplars.has(1));
}
