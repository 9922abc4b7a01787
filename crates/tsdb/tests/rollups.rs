//! Rollups against rows made of all samples that were ever stored, through late samples, merges,
//! retention and kills.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test that called it")]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use support::{Machine, Model, START_MS, append, everything, series_labels};
use vedette_model::{MetricReader, RollupRow, SampleBuffer, Select, TimeRange, is_stale, stale_nan};
use vedette_sys::Fs;
use vedette_tsdb::{Rollup, Tsdb};

/// One step divides the windows of 64 s, the other does not.
const STEPS_MS: [i64; 2] = [4_000, 24_000];

fn machine(seed: u64) -> Machine {
    let mut machine = Machine::new(seed);
    machine.config.retention_ms = 150_000;
    machine.config.rollups = STEPS_MS.map(|step_ms| Rollup { step_ms, retention_ms: 100_000_000 }).to_vec();
    machine
}

fn put(store: &Tsdb, model: &mut Model, time_ms: i64, n: usize, value: f64) {
    if append(store, time_ms, &[(n, value)]).unwrap().taken == 1 {
        // Of several values of one time the first counts.
        model.entry(series_labels(n)).or_default().entry(time_ms).or_insert(value.to_bits());
    }
}

fn end_of(time_ms: i64, step_ms: i64) -> i64 {
    (time_ms + step_ms - 1).div_euclid(step_ms) * step_ms
}

/// The row of a step, of samples in order of time.
fn naive(samples: &[(i64, f64)], end_ms: i64, step_ms: i64) -> RollupRow {
    let mut row = RollupRow::empty(end_ms, step_ms);
    let stales: Vec<i64> = samples.iter().filter(|(_, v)| is_stale(*v)).map(|(t, _)| *t).collect();
    (row.stales, row.last_stale_ms) = (stales.len() as u64, stales.last().copied());
    let floats: Vec<(i64, f64)> = samples.iter().copied().filter(|(_, v)| !is_stale(*v)).collect();
    let (Some(first), Some(last)) = (floats.first(), floats.last()) else { return row };
    (row.first_ms, row.first, row.last_ms, row.last) = (first.0, first.1, last.0, last.1);
    row.count = floats.len() as u64;
    row.sum = floats.iter().map(|(_, v)| v).sum();
    row.min = floats.iter().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    row.max = floats.iter().map(|(_, v)| *v).fold(f64::NEG_INFINITY, f64::max);
    for pair in floats.windows(2) {
        row.changes += u64::from(pair[0].1 != pair[1].1);
        if pair[1].1 < pair[0].1 {
            row.resets += 1;
            row.correction += pair[0].1;
        }
    }
    row
}

/// Compares all rollups with the model; gives how many steps are told of.
fn check(store: &Tsdb, model: &Model, step_ms: i64, range: TimeRange) -> usize {
    let gone_ms = START_MS + 2 * STEPS_MS[1];
    let model_end = model.values().filter_map(|s| s.keys().last()).max().copied().unwrap_or(0);
    let select = Select { range, ..everything() };
    let set = store.rollups(&select, step_ms).unwrap().expect("rollups of this step are kept");
    assert_eq!(set.step_ms(), step_ms);
    let mut told = 0;
    for i in 0..set.len() {
        let labels = set.labels(i);
        let samples = &model[&labels];
        let (mut rows, mut raw) = (Vec::new(), Vec::new());
        set.rollups(i, range, &mut rows, &mut raw).unwrap();
        assert!(rows.windows(2).all(|w| w[0].end_ms < w[1].end_ms), "rows are not in order");
        assert!(raw.windows(2).all(|w| w[0].end_ms < w[1].start_ms), "stretches are not in order");
        let is_raw = |of: TimeRange| raw.iter().any(|r| r.overlaps(of));
        let mut wanted = BTreeMap::<i64, Vec<(i64, f64)>>::new();
        for (&time, &bits) in samples.range(range.start_ms..=range.end_ms) {
            let end_ms = end_of(time, step_ms);
            let step = TimeRange { start_ms: end_ms - step_ms + 1, end_ms };
            if is_raw(step) {
                assert!(is_raw(TimeRange { start_ms: time, end_ms: time }), "a step is told in part");
            } else {
                wanted.entry(end_ms).or_default().push((time, f64::from_bits(bits)));
            }
        }
        let wanted: Vec<RollupRow> = wanted.iter().map(|(&end, s)| naive(s, end, step_ms)).collect();
        let text = |row: Option<&RollupRow>| format!("{row:?}");
        for n in 0..rows.len().max(wanted.len()) {
            assert_eq!(
                text(rows.get(n)),
                text(wanted.get(n)),
                "row {n} of {labels}, {raw:?} are told by samples"
            );
        }
        told += rows.len();
        // What rows do not tell of, samples do.
        let mut buffer = SampleBuffer::default();
        for stretch in raw {
            buffer.clear();
            set.read(i, stretch, &mut buffer).unwrap();
            let read: Vec<(i64, u64)> =
                buffer.times_ms.iter().zip(&buffer.values).map(|(t, v)| (*t, v.to_bits())).collect();
            let wanted: Vec<(i64, u64)> =
                samples.range(stretch.start_ms..=stretch.end_ms).map(|(t, v)| (*t, *v)).collect();
            // But for parts of one step, at the end of the range or at the border of a window whose
            // samples are gone.
            let lost: Vec<i64> = wanted.iter().filter(|w| !read.contains(w)).map(|(t, _)| *t).collect();
            assert!(read.iter().all(|r| wanted.contains(r)), "{stretch:?} of {labels}");
            if let (Some(first), Some(last)) = (lost.first(), lost.last())
                && stretch.start_ms > gone_ms
            {
                assert!(
                    last - first < step_ms && *last < model_end - 100_000,
                    "{lost:?} of {labels} in {stretch:?}"
                );
            }
        }
    }
    told
}

#[derive(Debug, Clone)]
enum Op {
    /// Seconds with a sample of each of these series in each, and late ones so many milliseconds back.
    Run {
        seconds: u8,
        series: Vec<(usize, u8)>,
        late: Vec<(usize, i64)>,
    },
    Pause(u64),
    Maintain(u8),
    MergeAll,
    Kill,
}

fn any_op() -> impl Strategy<Value = Op> {
    let series = proptest::collection::vec((0usize..4, any::<u8>()), 1..4);
    let late = proptest::collection::vec((0usize..4, 1i64..29_000), 0..4);
    prop_oneof![
        8 => (1u8..90, series, late).prop_map(|(seconds, series, late)| Op::Run { seconds, series, late }),
        1 => (1u64..200).prop_map(Op::Pause),
        2 => (1u8..9).prop_map(Op::Maintain),
        1 => Just(Op::MergeAll),
        1 => Just(Op::Kill),
    ]
}

fn run(ops: &[Op]) {
    let machine = machine(1);
    let mut store = machine.open().unwrap().0;
    let mut model = Model::new();
    for op in ops {
        match op {
            Op::Run { seconds, series, late } => {
                for second in 0..i64::from(*seconds) {
                    machine.tick(1);
                    for &(n, seed) in series {
                        let value = match i64::from(seed) + second {
                            v if v % 29 == 0 => stale_nan(),
                            v => (v * v % (20 + i64::from(seed))) as f64,
                        };
                        put(&store, &mut model, machine.now_ms(), n, value);
                    }
                    if second % 7 == 0 {
                        store.maintain();
                    }
                }
                for &(n, back) in late {
                    put(&store, &mut model, machine.now_ms() - back, n, back as f64);
                }
            }
            Op::Pause(seconds) => machine.tick(*seconds),
            Op::Maintain(times) => (0..*times).for_each(|_| store.maintain()),
            Op::MergeAll => store.merge_all().unwrap(),
            Op::Kill => {
                drop(store);
                store = machine.open().unwrap().0;
            }
        }
        for step_ms in STEPS_MS {
            check(&store, &model, step_ms, TimeRange { start_ms: START_MS, end_ms: machine.now_ms() });
        }
    }
    let middle = i64::midpoint(START_MS, machine.now_ms()).max(START_MS + 2000);
    check(&store, &model, STEPS_MS[0], TimeRange { start_ms: START_MS + 1234, end_ms: middle });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, max_shrink_iters: 60, ..ProptestConfig::with_cases(48) })]
    #[test]
    fn rows_equal_those_of_all_samples(ops in proptest::collection::vec(any_op(), 1..24)) {
        run(&ops);
    }
}

/// A store with samples of ten minutes, of which rows tell and samples are gone but for the last.
fn long_run(machine: &Machine) -> (Tsdb, Model) {
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    for second in 0..600 {
        machine.tick(1);
        put(&store, &mut model, machine.now_ms(), 1, f64::from(second % 100));
        store.maintain();
    }
    (store, model)
}

#[test]
fn rows_outlive_samples_until_their_own_time_is_over() {
    let mut machine = machine(2);
    machine.config.rollups[1].retention_ms = 300_000;
    let (store, model) = long_run(&machine);
    let all = TimeRange { start_ms: START_MS, end_ms: machine.now_ms() };
    let stats = store.stats();
    assert!(stats.first_ms.unwrap() > START_MS + 300_000, "samples are gone: {stats:?}");
    assert!(check(&store, &model, STEPS_MS[0], all) > 120);
    let first_ms = |store: &Tsdb, step_ms| {
        let set = store.rollups(&Select { range: all, ..everything() }, step_ms).unwrap().unwrap();
        let (mut rows, mut raw) = (Vec::new(), Vec::new());
        set.rollups(0, all, &mut rows, &mut raw).unwrap();
        rows[0].first_ms
    };
    assert_eq!(first_ms(&store, STEPS_MS[0]), START_MS + 1000);
    let first_long = first_ms(&store, STEPS_MS[1]);
    assert!(first_long > START_MS + 200_000 && first_long < machine.now_ms() - 200_000, "{first_long}");
    assert_eq!(store.metrics().rollups_missed.get(), 0);
    // Other steps are not kept.
    assert!(store.rollups(&everything(), 5000).unwrap().is_none());
    drop(store);
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes, Vec::<String>::new());
    assert!(check(&store, &model, STEPS_MS[0], all) > 120);
    // Steps that are not kept any more go.
    drop(store);
    machine.config.rollups.truncate(1);
    let store = machine.open().unwrap().0;
    store.maintain();
    let files = machine.fs.list("data/rollups".as_ref()).unwrap();
    assert_eq!(files.len() as u64, store.stats().rollups);
    assert!(store.stats().rollup_bytes > 0 && check(&store, &model, STEPS_MS[0], all) > 120);
}

#[test]
fn size_limits_rollups_to_their_share() {
    let mut machine = machine(3);
    machine.config.retention_bytes = 20_000;
    let (store, model) = long_run(&machine);
    let stats = store.stats();
    assert!(stats.rollup_bytes <= 5_000 && stats.rollups > 0, "{stats:?}");
    assert!(store.metrics().rollups_removed.get() > 0);
    let made = store.metrics().rollups.get();
    (0..20).for_each(|_| store.maintain());
    assert_eq!(store.metrics().rollups.get(), made, "nothing is made again that was removed");
    check(&store, &model, STEPS_MS[0], TimeRange { start_ms: START_MS, end_ms: machine.now_ms() });
}

#[test]
fn damaged_rollups_are_set_aside_and_made_anew() {
    let mut machine = machine(4);
    machine.config.retention_ms = 100_000_000;
    let (store, model) = long_run(&machine);
    let all = TimeRange { start_ms: START_MS, end_ms: machine.now_ms() };
    let rollups = store.stats().rollups;
    drop(store);
    let files = machine.fs.list("data/rollups".as_ref()).unwrap();
    let mut bytes = machine.fs.read(&files[0]).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    machine.fs.put(&files[0], bytes);
    // In the data, so that it is found when it is read.
    let mut bytes = machine.fs.read(&files[2]).unwrap();
    bytes[30] ^= 1;
    machine.fs.put(&files[2], bytes);
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes.len(), 1, "{:?}", recovery.notes);
    let mut failed = 0;
    for step_ms in STEPS_MS {
        let set = store.rollups(&everything(), step_ms).unwrap().unwrap();
        failed += u32::from(set.rollups(0, all, &mut Vec::new(), &mut Vec::new()).is_err());
    }
    assert_eq!(failed, 1);
    (0..30).for_each(|_| store.maintain());
    assert_eq!(store.stats().rollups, rollups);
    for step_ms in STEPS_MS {
        assert!(check(&store, &model, step_ms, all) > 20);
    }
}

#[test]
fn samples_are_removed_though_rollups_cannot_be_made() {
    let machine = machine(5);
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    for second in 0..50 {
        machine.tick(1);
        put(&store, &mut model, machine.now_ms(), 1, f64::from(second));
        store.maintain();
    }
    // Old at once, and the disk is full but for what the log needs.
    machine.tick(300);
    put(&store, &mut model, machine.now_ms(), 1, 1.0);
    let used: u64 = store.stats().segment_bytes + store.stats().wal_bytes;
    machine.fs.set_capacity(Some(used));
    store.maintain();
    assert_eq!(store.stats().segments, 0, "{:?}", store.stats());
    assert_eq!(store.metrics().rollups_missed.get(), 1);
    assert!(store.stats().problems.iter().any(|p| p.contains("rollup")), "{:?}", store.stats().problems);
}

#[test]
fn a_step_before_an_outage_is_told_as_a_whole() {
    run(&[
        Op::Run { seconds: 61, series: vec![(0, 0)], late: vec![] },
        Op::Run { seconds: 20, series: vec![(0, 0)], late: vec![] },
        Op::Pause(87),
        Op::Run {
            seconds: 83,
            series: vec![(2, 173), (1, 157), (3, 69)],
            late: vec![(0, 12122), (2, 26532)],
        },
    ]);
}
