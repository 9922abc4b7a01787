use std::collections::BTreeMap;

use proptest::prelude::*;
use vedette_model::{SampleBuffer, stale_nan};

use super::*;

const SPAN_MS: i64 = 1000;

fn rules(time_ms: i64, sealed_until_ms: i64) -> Rules {
    let span_start_ms = time_ms.div_euclid(SPAN_MS).saturating_mul(SPAN_MS);
    Rules { sealed_until_ms, late_from_ms: Some(-5_000_000), span_start_ms, epoch: 1 }
}

/// Claims one row, and stores it or takes it back.
fn append(
    samples: &mut Samples,
    time_ms: i64,
    row: &[(u32, f64)],
    sealed_until_ms: i64,
    written: bool,
) -> Appended {
    let row: Vec<_> = row.iter().map(|&(slot, value)| (SeriesRef::new(0, slot, 0), value)).collect();
    let (mut buffer, mut claims, mut appended) =
        (RowBuffer::default(), Claims::default(), Appended::default());
    let rules = rules(time_ms, sealed_until_ms);
    samples.claim(time_ms, &row, &[], &rules, &mut buffer, &mut claims, &mut appended);
    if written {
        samples.store(&claims);
    } else {
        samples.disclaim(&claims);
    }
    appended
}

fn read(samples: &Samples, slot: u32, range: TimeRange) -> Vec<(i64, u64)> {
    let (mut snapshot, mut out) = (Snapshot::default(), SampleBuffer::default());
    samples.snapshot(slot, range, &mut snapshot);
    snapshot.read(range, &mut out);
    out.times_ms.iter().zip(&out.values).map(|(&t, v)| (t, v.to_bits())).collect()
}

fn with_series(count: u32) -> Samples {
    let mut samples = Samples::default();
    (0..count).for_each(|slot| assert_eq!(samples.begin_series(slot), 0));
    samples
}

#[derive(Debug, Clone)]
enum Op {
    Row { step: i64, values: Vec<(u32, f64)>, written: bool },
    Seal { back: i64 },
}

fn any_op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![4 => (0i64..3).prop_map(|v| v as f64), 1 => any::<f64>(), 1 => Just(stale_nan())];
    let step =
        prop_oneof![8 => Just(100i64), 1 => -900i64..900, 1 => Just(5_000_000_000i64), 1 => Just(-3000i64)];
    prop_oneof![
        12 => (step, proptest::collection::vec((0u32..4, value), 1..5), proptest::bool::weighted(0.9))
            .prop_map(|(step, values, written)| Op::Row { step, values, written }),
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
        let mut model: Vec<BTreeMap<i64, u64>> = vec![BTreeMap::new(); 4];
        // What each series had before it was sealed.
        let mut last: Vec<Option<i64>> = vec![None; 4];
        let (mut time, mut sealed, mut times) = (0i64, i64::MIN, vec![0]);
        for op in ops {
            match op {
                Op::Row { step, values, written } => {
                    time += step;
                    times.push(time);
                    let appended = append(&mut samples, time, &values, sealed, written);
                    let mut wanted = Appended::default();
                    let before = model.clone();
                    for (slot, value) in values {
                        let kept = &mut model[slot as usize];
                        match kept.get(&time) {
                            Some(bits) if *bits == value.to_bits() => wanted.duplicate += 1,
                            Some(_) => wanted.conflicting += 1,
                            None => {
                                kept.insert(time, value.to_bits());
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
                    samples.end_sealing(true, true);
                    for slot in 0..4u32 {
                        let kept = &mut model[slot as usize];
                        last[slot as usize] = kept.keys().next_back().copied().or(last[slot as usize]);
                        samples.truncate_before(slot, until);
                        kept.retain(|t, _| *t >= until);
                    }
                }
            }
            for slot in 0..4u32 {
                let kept: Vec<_> = model[slot as usize].iter().map(|(t, b)| (*t, *b)).collect();
                prop_assert_eq!(read(&samples, slot, TimeRange::ALL), kept);
            }
        }
        let at = |i: usize| times[i.min(times.len() - 1)];
        let range = TimeRange { start_ms: at(from), end_ms: at(from + length) };
        for slot in 0..4u32 {
            let kept: Vec<_> = model[slot as usize].iter().map(|(t, b)| (*t, *b)).collect();
            let wanted: Vec<_> = kept.iter().copied().filter(|(t, _)| range.contains(*t)).collect();
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
        assert_eq!(append(&mut samples, i * 10, &[(0, 5.0)], i64::MIN, true).taken, 1);
    }
    assert_eq!(empty, 0);
    let series = samples.series[0];
    assert!(series.older.len() + series.running.len() < 80, "{series:?}");
    assert_eq!(read(&samples, 0, TimeRange::ALL).len(), 4000);
}

#[test]
fn a_series_leaves_when_it_has_ended_or_stayed_silent() {
    let mut samples = with_series(4);
    append(&mut samples, 10, &[(0, 1.0), (1, stale_nan()), (3, 1.0)], i64::MIN, true);
    let done = |samples: &mut Samples| (0..4).map(|slot| samples.is_done(slot)).collect::<Vec<_>>();
    assert_eq!(done(&mut samples), [false; 4]);
    (0..4).for_each(|slot| samples.truncate_before(slot, 1000));
    // The one that ended leaves at once, the new one has been asked before.
    assert_eq!(done(&mut samples), [false, true, true, false]);
    append(&mut samples, 1010, &[(3, 1.0)], 1000, true);
    (0..4).for_each(|slot| samples.truncate_before(slot, 2000));
    assert_eq!(done(&mut samples), [true, true, true, false]);
}
