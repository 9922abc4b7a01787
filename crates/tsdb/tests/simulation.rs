//! A machine that fails at every single write: killed, without power, with a failing or a full
//! disk. What was acknowledged comes back, what was not may.
//!
//! `VEDETTE_SIM_SEEDS` sets the number of seeds for a longer run.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use support::{
    Machine, Model, More, append, append_histograms, everything, flat, histogram, more, read, read_more,
    series_labels,
};
use vedette_model::{Labels, MetricKind, MetricMetadata, MetricReader};
use vedette_sys::Random;
use vedette_tsdb::{Error, Tsdb};

const TICKS: u64 = 30;

/// Milliseconds between acknowledging and the sync that follows at the latest: the flush
/// interval and the tick in which it runs out.
const UNSYNCED_MS: i64 = 3_000;

type Samples = BTreeSet<(Labels, i64, u64)>;

/// What the workload got acknowledged before it was stopped.
#[derive(Default)]
struct Told {
    acknowledged: Samples,
    /// When those that came late were acknowledged; the others were at their time.
    late_at: BTreeMap<(Labels, i64, u64), i64>,
    /// Rows of appends that failed: they may be there in whole or in part after a crash.
    doubtful: Samples,
    /// Histograms and start timestamps of both.
    more: More,
}

fn seeds() -> u64 {
    std::env::var("VEDETTE_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// Runs the workload until its end or the crash of the machine.
fn work(machine: &Machine, store: &Tsdb, random: &mut Random, ticks: u64, told: &mut Told) {
    for _ in 0..ticks {
        machine.tick(1);
        let count = 1 + random.below(8) as usize;
        let first = random.below(4) as usize;
        let row: Vec<(usize, f64)> = (first..first + count)
            .map(|n| (n, if random.one_in(3) { random.unit() } else { random.below(9) as f64 }))
            .collect();
        let time = machine.now_ms();
        let samples = row.iter().map(|(n, v)| (series_labels(*n), time, v.to_bits()));
        match append(store, time, &row) {
            Ok(appended) => {
                assert_eq!(appended.taken, row.len() as u64);
                told.acknowledged.extend(samples);
            }
            Err(Error::Append(_)) => told.doubtful.extend(samples),
            Err(other) => panic!("{other}"),
        }
        if random.one_in(4) {
            // At a time that no other sample has; told again it has the same value.
            let time = time - 500 - 1000 * random.below(20) as i64;
            let n = random.below(6) as usize;
            let value = (time % 1000 + n as i64) as f64;
            let sample = (series_labels(n), time, value.to_bits());
            match append(store, time, &[(n, value)]) {
                Ok(appended) => {
                    assert_eq!(appended.taken + appended.duplicate, 1);
                    told.late_at.insert(sample.clone(), machine.now_ms());
                    told.acknowledged.insert(sample);
                }
                Err(Error::Append(_)) => {
                    told.doubtful.insert(sample);
                }
                Err(other) => panic!("{other}"),
            }
        }
        if random.one_in(3) {
            work_on_histograms(machine, store, random, told);
        }
        if random.one_in(10) {
            let family = format!("family_{}", random.below(4));
            store.put_metadata(&[MetricMetadata {
                family,
                kind: MetricKind::Gauge,
                unit: String::new(),
                help: random.below(9).to_string(),
            }]);
        }
        store.maintain();
        if machine.fs.crashed() {
            return;
        }
    }
}

/// Appends histograms to series that have nothing else.
fn work_on_histograms(machine: &Machine, store: &Tsdb, random: &mut Random, told: &mut Told) {
    let row: Vec<(usize, u64)> = (20..22).map(|n| (n, 1 + random.below(50))).collect();
    let (time, start_ms) = (machine.now_ms(), random.below(2) as i64 * 5);
    let samples = row.iter().map(|&(n, v)| (series_labels(n), time, histogram(v).sum.to_bits()));
    told.more.extend(row.iter().filter_map(|&(n, value)| {
        Some(((series_labels(n), time), more(Some(&histogram(value)), start_ms)?))
    }));
    match append_histograms(store, time, start_ms, &row) {
        Ok(appended) => {
            assert_eq!(appended.taken, 2);
            told.acknowledged.extend(samples);
        }
        Err(Error::Append(_)) => told.doubtful.extend(samples),
        Err(other) => panic!("{other}"),
    }
}

/// Every sample of the series of histograms is the histogram that it was, since when it was.
fn check_histograms(store: &Tsdb, told: &Told, what: &str) {
    let samples = flat(&read(store, &everything()).unwrap());
    let found = read_more(store).unwrap();
    for (labels, time_ms, _) in samples.into_iter().filter(|s| (20..22).any(|n| s.0 == series_labels(n))) {
        let key = (labels, time_ms);
        assert_eq!(found.get(&key), told.more.get(&key), "{what}: {key:?}");
    }
}

/// How many changing operations the whole workload makes.
fn operations(machine: &Machine) -> u64 {
    let store = machine.open().unwrap().0;
    work(machine, &store, &mut Random::new(machine.seed), TICKS, &mut Told::default());
    let m = store.metrics();
    assert!(m.seals.get() > 2 && m.compactions.get() > 0, "the workload reaches too little: {m:?}");
    machine.fs.operations()
}

fn assert_contains(found: &Samples, wanted: &Samples, what: &str) {
    let missing: Vec<_> = wanted.difference(found).collect();
    assert!(
        missing.is_empty(),
        "{what}: {} of {} are missing: {:?}",
        missing.len(),
        wanted.len(),
        missing[0]
    );
}

/// Crashes at each operation in turn; `restart` starts the machine again and says what may be
/// missing then.
fn crash_everywhere(restart: impl Fn(&Machine, &Told) -> Samples) {
    for seed in 0..seeds() {
        for operation in 1..=operations(&Machine::new(seed)) {
            let what = format!("seed {seed}, crash at operation {operation}");
            let machine = Machine::new(seed);
            machine.fs.crash_at(operation);
            let mut told = Told::default();
            let mut random = Random::new(seed);
            if let Ok((store, _)) = machine.open() {
                work(&machine, &store, &mut random, TICKS, &mut told);
            }
            assert!(machine.fs.crashed(), "{what}");
            let must_be_there = restart(&machine, &told);
            let (store, _) = machine.open().unwrap_or_else(|e| panic!("{what}: {e}"));
            let found = flat(&read(&store, &everything()).unwrap());
            assert_contains(&found, &must_be_there, &what);
            let known: Samples = told.acknowledged.union(&told.doubtful).cloned().collect();
            assert!(found.is_subset(&known), "{what}: samples that were never appended");
            check_histograms(&store, &told, &what);
            // The machine is as good as new.
            let mut later = Told::default();
            work(&machine, &store, &mut random, 12, &mut later);
            assert!(later.doubtful.is_empty(), "{what}");
            drop(store);
            machine.fs.restart();
            let (store, recovery) = machine.open().unwrap();
            assert_eq!(recovery.dropped_records, 0, "{what}");
            let found_later = flat(&read(&store, &everything()).unwrap());
            assert_contains(&found_later, &found, &what);
            assert_contains(&found_later, &later.acknowledged, &what);
        }
    }
}

#[test]
fn a_kill_at_any_write_loses_nothing_acknowledged() {
    crash_everywhere(|machine, told| {
        machine.fs.restart();
        told.acknowledged.clone()
    });
}

#[test]
fn a_loss_of_power_at_any_write_loses_no_more_than_the_flush_interval() {
    crash_everywhere(|machine, told| {
        machine.fs.power_loss();
        let synced_ms = machine.now_ms() - UNSYNCED_MS;
        let at = |sample: &(Labels, i64, u64)| told.late_at.get(sample).copied().unwrap_or(sample.1);
        told.acknowledged.iter().filter(|sample| at(sample) <= synced_ms).cloned().collect()
    });
}

#[test]
fn an_error_at_any_write_is_told_and_overcome() {
    for (seed, shards) in (0..seeds()).flat_map(|seed| [(seed, 1), (seed, 3)]) {
        let machine_of = || {
            let mut machine = Machine::new(seed);
            machine.config.shards = shards;
            machine
        };
        for operation in 1..=operations(&machine_of()) {
            let what = format!("seed {seed}, {shards} shards, error at operation {operation}");
            let machine = machine_of();
            machine.fs.fail_at(operation);
            let mut told = Told::default();
            let mut random = Random::new(seed);
            let Ok((store, _)) = machine.open() else { continue };
            work(&machine, &store, &mut random, TICKS, &mut told);
            let check = |store: &Tsdb, told: &Told| {
                let found = flat(&read(store, &everything()).unwrap());
                assert_contains(&found, &told.acknowledged, &what);
                let known: Samples = told.acknowledged.union(&told.doubtful).cloned().collect();
                // Of a failed append other shards may have taken their part.
                assert!(found.is_subset(if shards == 1 { &told.acknowledged } else { &known }), "{what}");
                check_histograms(store, told, &what);
            };
            check(&store, &told);
            // Long enough for the pause after a failure to pass.
            work(&machine, &store, &mut random, 30, &mut told);
            assert_eq!(store.stats().problems, Vec::<String>::new(), "{what}");
            assert!(store.stats().wal_bytes < 20_000, "{what}");
            drop(store);
            machine.fs.restart();
            let (store, recovery) = machine.open().unwrap();
            assert_eq!(recovery.dropped_records, 0, "{what}");
            check(&store, &told);
        }
    }
}

#[test]
fn a_full_disk_refuses_samples_and_heals_by_itself() {
    for seed in 0..seeds() * 4 {
        let machine = Machine::new(seed);
        let store = machine.open().unwrap().0;
        let mut random = Random::new(seed);
        let mut told = Told::default();
        work(&machine, &store, &mut random, 30 + seed, &mut told);
        assert!(told.doubtful.is_empty());
        let before = told.acknowledged.clone();
        machine.fs.set_capacity(Some(1));
        let error = append(&store, machine.now_ms() + 1, &[(1, 4.0)]).unwrap_err();
        assert!(error.is_full(), "{error}");
        work(&machine, &store, &mut random, 25, &mut told);
        assert_eq!(told.acknowledged, before, "samples taken without room for them");
        let stats = store.stats();
        assert!(stats.append_fails && !stats.problems.is_empty());
        assert_eq!(stats.to_part().health, vedette_model::status::Health::Failed);
        assert_eq!(flat(&read(&store, &everything()).unwrap()), before, "reading goes on");
        // It opens on a full disk, too.
        drop(store);
        machine.fs.restart();
        let store = machine.open().unwrap().0;
        assert_eq!(flat(&read(&store, &everything()).unwrap()), before);
        assert!(append(&store, machine.now_ms() + 1, &[(1, 4.0)]).is_err());
        machine.fs.set_capacity(None);
        let mut later = Told::default();
        work(&machine, &store, &mut random, 40, &mut later);
        assert!(later.doubtful.is_empty());
        assert!(!store.stats().append_fails);
        assert_eq!(store.stats().problems, Vec::<String>::new());
        let found = flat(&read(&store, &everything()).unwrap());
        assert_contains(&found, &before, "after healing");
        assert_contains(&found, &later.acknowledged, "after healing");
    }
}

#[test]
fn a_refused_row_is_not_a_duplicate_when_it_comes_again() {
    let machine = Machine::new(1);
    let store = machine.open().unwrap().0;
    let now = machine.now_ms();
    let row = [(1, 4.0), (2, 5.0)];
    assert_eq!(append(&store, now, &[(1, 3.0)]).unwrap().taken, 1);
    machine.fs.set_capacity(Some(1));
    for _ in 0..3 {
        assert!(append(&store, now + 1, &row).unwrap_err().is_full());
    }
    machine.fs.set_capacity(None);
    assert_eq!(append(&store, now + 1, &row).unwrap().taken, 2);
    assert_eq!(append(&store, now + 1, &row).unwrap().duplicate, 2);
    drop(store);
    let found = read(&machine.open().unwrap().0, &everything()).unwrap();
    assert_eq!(found[&series_labels(1)].len(), 2);
    assert_eq!(found[&series_labels(2)].len(), 1);
}

#[test]
fn everything_is_the_same_after_an_orderly_end_and_a_loss_of_power() {
    let machine = Machine::new(1);
    let store = machine.open().unwrap().0;
    let mut told = Told::default();
    work(&machine, &store, &mut Random::new(1), 50, &mut told);
    store.close().unwrap();
    let metadata = store.metadata(None, 0);
    assert!(!metadata.is_empty());
    drop(store);
    machine.fs.power_loss();
    let store = machine.open().unwrap().0;
    let found: Model = read(&store, &everything()).unwrap();
    assert_eq!(flat(&found), told.acknowledged);
    assert_eq!(store.metadata(None, 0), metadata);
}
