//! What the simulation found in the store, each told as shortly as it can be.

use std::time::Duration;

use vedette_model::{MetricKind, MetricMetadata, MetricReader};
use vedette_sys::Fs;
use vedette_tsdb::{Appended, Config, Error, Flush, RefRow, SeriesRef, Tsdb};

use crate::engine::{
    Case, Fault,
    machine::{Machine, SERIES, labels, read},
    run,
};

/// A machine with so many shards, which syncs every second.
fn machine(shards: usize) -> Machine {
    let mut machine = Machine::new(1);
    machine.config = Config {
        flush: Flush::Interval(Duration::from_secs(1)),
        retention_ms: 3_600_000,
        out_of_order_ms: 20_000,
        series_max: 100,
        shards,
        ..machine.config
    };
    machine
}

fn open(machine: &Machine) -> Tsdb {
    machine.open().unwrap().0
}

/// Appends a row of all series at the present time.
fn append(machine: &Machine, store: &Tsdb, value: f64) -> Result<Appended, Error> {
    let refs: Vec<SeriesRef> = (0..SERIES).map(|n| store.series(&labels(n))).collect::<Result<_, _>>()?;
    store.append(&[RefRow::new(machine.now_ms(), &refs, &[value; SERIES])])
}

fn samples(store: &Tsdb) -> usize {
    read(store).unwrap().found.len()
}

/// The least that is there after any of many losses of power.
fn samples_after_power_loss(machine: &Machine) -> usize {
    let left = (0..16).map(|seed| {
        let machine = machine.fork(seed);
        machine.fs.power_loss();
        samples(&open(&machine))
    });
    left.min().unwrap()
}

#[test]
fn what_a_kill_left_unsynced_is_synced_though_nothing_is_appended() {
    for shards_later in [3, 1] {
        let mut machine = machine(3);
        let store = open(&machine);
        assert_eq!(append(&machine, &store, 1.0).unwrap().taken, SERIES as u64);
        drop(store);
        machine.fs.restart();
        machine.config.shards = shards_later;
        let store = open(&machine);
        let orderly = machine.fork(0);
        for _ in 0..3 {
            machine.tick_ms(1_000);
            store.maintain();
        }
        assert_eq!(samples_after_power_loss(&machine), SERIES, "{shards_later} shards");
        let store = open(&orderly);
        store.close().unwrap();
        assert_eq!(samples_after_power_loss(&orderly), SERIES, "{shards_later} shards, closed");
    }
}

#[test]
fn sources_go_only_when_the_name_of_what_replaces_them_is_synced() {
    let work = |machine: &Machine| {
        let Ok((store, _)) = machine.open() else { return };
        for _ in 0..12 {
            machine.tick_ms(1_500);
            let _ = append(machine, &store, 1.0);
            store.maintain();
        }
        let _ = store.close();
    };
    let whole = machine(1);
    work(&whole);
    let all = samples(&open(&whole));
    for operation in 1..=whole.fs.operations() {
        let machine = machine(1);
        machine.fs.crash_at(operation);
        work(&machine);
        machine.fs.restart();
        let before = samples(&open(&machine));
        // It may be the loss of power right after that takes a name.
        machine.tick_ms(2_000);
        let store = open(&machine);
        assert!(store.stats().segment_samples <= before as u64, "sources stay beside what replaces them");
        store.close().unwrap();
        drop(store);
        assert!(before <= all);
        assert_eq!(samples_after_power_loss(&machine), before, "crash at {operation}");
    }
}

#[test]
fn the_value_that_came_first_stays_through_merges_of_late_segments() {
    let machine = machine(1);
    let store = open(&machine);
    let start_ms = machine.now_ms();
    let tell = |n: usize, time_ms: i64, value: f64| {
        let series = store.series(&labels(n)).unwrap();
        assert_eq!(store.append(&[RefRow::new(time_ms, &[series], &[value])]).unwrap().taken, 1);
    };
    let go_on_until = |seconds: i64| {
        while machine.now_ms() < start_ms + seconds * 1_000 {
            machine.tick_ms(1_000);
            tell(0, machine.now_ms(), 1.0);
            store.maintain();
        }
    };
    go_on_until(13);
    // Late samples of two windows that are merged apart, so that their segment has to wait.
    tell(1, start_ms + 7_000, 1.0);
    tell(1, start_ms + 9_000, 1.0);
    go_on_until(18);
    // Another value, for the first window alone, which is merged with older segments at once.
    tell(1, start_ms + 7_000, 2.0);
    go_on_until(60);
    assert!(store.metrics().compactions.get() > 3);
    assert_eq!(read(&store).unwrap().found[&(1, start_ms + 7_000)], 1.0_f64.to_bits());
}

#[test]
fn metadata_survives_a_torn_checkpoint() {
    let metadata = MetricMetadata {
        family: "family".into(),
        kind: MetricKind::Gauge,
        unit: String::new(),
        help: "help".into(),
    };
    let work = |machine: &Machine| {
        let Ok((store, _)) = machine.open() else { return };
        store.put_metadata(std::slice::from_ref(&metadata));
        store.maintain();
        for _ in 0..8 {
            machine.tick_ms(1_000);
            let _ = append(machine, &store, 1.0);
            store.maintain();
        }
    };
    let whole = machine(2);
    work(&whole);
    for (operation, chance) in (1..=whole.fs.operations()).flat_map(|n| (0..4).map(move |c| (n, c))) {
        let mut machine = machine(2);
        machine.fs = vedette_sys::SimFs::new(chance);
        machine.fs.crash_at(operation);
        work(&machine);
        machine.fs.restart();
        let store = open(&machine);
        let before = store.metadata(None, 0);
        // Nothing is written to the log that holds the metadata, and all in it is sealed.
        let of_second = (0..SERIES).map(|n| store.series(&labels(n)).unwrap()).find(|r| r.0 >> 56 == 1);
        for _ in 0..8 {
            machine.tick_ms(1_000);
            let row = [RefRow::new(machine.now_ms(), of_second.as_slice(), &[2.0])];
            let _ = store.append(&row).unwrap();
            store.maintain();
        }
        drop(store);
        assert_eq!(open(&machine).metadata(None, 0), before, "crash at {operation}");
    }
}

#[test]
fn a_segment_that_could_not_be_finished_leaves_no_file() {
    let work = |machine: &Machine| {
        let store = open(machine);
        for _ in 0..30 {
            machine.tick_ms(1_500);
            let _ = append(machine, &store, 1.0);
            store.maintain();
        }
        let files = machine.fs.files();
        let written = files.iter().filter(|f| f.starts_with("data/segments")).count();
        (store.stats().segments, written as u64, files)
    };
    let whole = machine(1);
    let (segments, written, _) = work(&whole);
    assert!(segments > 1 && segments == written);
    let opened = machine(1);
    open(&opened);
    for operation in opened.fs.operations() + 1..=whole.fs.operations() {
        let machine = machine(1);
        machine.fs.fail_at(operation);
        let (segments, written, files) = work(&machine);
        assert_eq!(segments, written, "error at operation {operation}: {files:?}");
    }
}

#[test]
fn a_refused_row_is_not_a_duplicate_when_it_comes_again() {
    let machine = machine(2);
    let store = open(&machine);
    append(&machine, &store, 1.0).unwrap();
    machine.fs.set_capacity(Some(1));
    machine.tick_ms(1);
    for _ in 0..3 {
        assert!(append(&machine, &store, 2.0).unwrap_err().is_full());
    }
    let stats = store.stats();
    assert!(stats.append_fails && store.metrics().append_failures.get() == 3);
    assert_eq!(stats.to_part().health, vedette_model::status::Health::Failed);
    machine.fs.set_capacity(None);
    assert_eq!(append(&machine, &store, 2.0).unwrap().taken, SERIES as u64);
    assert_eq!(append(&machine, &store, 2.0).unwrap().duplicate, SERIES as u64);
    assert!(!store.stats().append_fails);
    drop(store);
    assert_eq!(samples(&open(&machine)), 2 * SERIES);
}

#[test]
fn a_store_on_a_full_disk_opens_and_answers() {
    let machine = machine(2);
    let store = open(&machine);
    append(&machine, &store, 1.0).unwrap();
    drop(store);
    machine.fs.set_capacity(Some(1));
    machine.fs.restart();
    let store = open(&machine);
    assert_eq!(samples(&store), SERIES);
    machine.tick_ms(1);
    assert!(append(&machine, &store, 2.0).unwrap_err().is_full());
    assert!(store.metadata(None, 0).is_empty() && machine.fs.exists("data/wal".as_ref()));
}

#[test]
fn a_sample_in_order_does_not_pass_a_late_one_that_only_the_log_brought() {
    // Sealing failed, so that after a restart nothing tells that the time was sealed.
    run(Case { seed: 700_178, fault: Fault::Error, place: 22 }).unwrap();
}

#[test]
fn a_rollup_that_was_missed_is_no_lasting_trouble() {
    run(Case { seed: 700_205, fault: Fault::Error, place: 143 }).unwrap();
}

#[test]
fn a_part_of_a_cut_that_could_not_be_removed_does_not_pass_for_all_of_it() {
    // The second of two segments failed and stayed, the first was removed, the store opened again.
    run(Case { seed: 60, fault: Fault::Error, place: 46 }).unwrap();
}
