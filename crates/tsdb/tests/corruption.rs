//! Files changed at random: the store opens, tells of it, and never answers what was not stored.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use std::path::{Path, PathBuf};

use support::{
    Machine, Model, append, append_histograms, everything, flat, histogram, more, read, read_more,
    series_labels,
};
use vedette_model::{ReadError, Select, TimeRange};
use vedette_sys::{Fs, Random};

const ROUNDS: u64 = 200;

/// A store with merged segments, fresh ones, and a log.
fn filled(seed: u64) -> (Machine, Model) {
    let machine = Machine::new(seed);
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    for second in 0..45i64 {
        machine.tick(1);
        let row: Vec<(usize, f64)> = (0..5)
            .map(|n| (n, if n == 4 { (second as f64).sin() } else { (second * n as i64) as f64 }))
            .collect();
        append(&store, machine.now_ms(), &row).unwrap();
        for (n, v) in row {
            model.entry(series_labels(n)).or_default().insert(machine.now_ms(), v.to_bits());
        }
        let start_ms = second % 7 / 6;
        append_histograms(&store, machine.now_ms(), start_ms, &[(6, second as u64 + 1)]).unwrap();
        let sum = histogram(second as u64 + 1).sum;
        model.entry(series_labels(6)).or_default().insert(machine.now_ms(), sum.to_bits());
        store.maintain();
    }
    assert!(store.metrics().compactions.get() > 0);
    (machine, model)
}

/// The histograms that are there are those that were stored.
fn check_histograms(store: &vedette_tsdb::Tsdb, found: &Model) {
    let told = read_more(store).unwrap();
    for &time_ms in found.get(&series_labels(6)).into_iter().flat_map(|samples| samples.keys()) {
        let second = (time_ms - support::START_MS) / 1000 - 1;
        let wanted = more(Some(&histogram(second as u64 + 1)), second % 7 / 6);
        assert_eq!(told.get(&(series_labels(6), time_ms)).cloned(), wanted);
    }
}

fn files(machine: &Machine, folder: &str) -> Vec<PathBuf> {
    machine.fs.list(Path::new(folder)).unwrap()
}

#[test]
fn changed_bytes_are_found_out() {
    let (original, model) = filled(1);
    let segments = files(&original, "data/segments");
    let logs: Vec<PathBuf> =
        files(&original, "data/wal").iter().flat_map(|shard| original.fs.list(shard).unwrap()).collect();
    assert!(segments.len() >= 2 && !logs.is_empty());
    let mut opened_whole = 0;
    for seed in 0..ROUNDS {
        let mut random = Random::new(seed);
        let machine = Machine {
            seed,
            fs: vedette_sys::SimFs::new(seed),
            clock: original.clock.clone(),
            config: original.config.clone(),
        };
        machine.fs.create_dir_all(Path::new("data/segments")).unwrap();
        for log in &logs {
            machine.fs.create_dir_all(log.parent().unwrap()).unwrap();
        }
        let damaged_segment = random.one_in(2);
        let all: Vec<&PathBuf> = segments.iter().chain(&logs).collect();
        let candidates = if damaged_segment { &segments } else { &logs };
        let victim = &candidates[random.below(candidates.len() as u64) as usize];
        for path in all {
            let mut bytes = original.fs.read(path).unwrap();
            if path == victim {
                match random.below(4) {
                    0 => bytes.truncate(random.below(bytes.len() as u64) as usize),
                    1 => {
                        let at = random.below(bytes.len() as u64) as usize;
                        bytes.truncate(at);
                        bytes.extend((0..random.below(200)).map(|_| random.next_u64() as u8));
                    }
                    _ => {
                        for _ in 0..1 + random.below(3) {
                            let at = random.below(bytes.len() as u64) as usize;
                            bytes[at] ^= 1 << random.below(8);
                        }
                    }
                }
            }
            machine.fs.put(path, bytes);
        }
        let (store, recovery) = machine.open().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let told =
            !recovery.notes.is_empty() || recovery.wal.dropped_bytes > 0 || recovery.dropped_records > 0;
        match read(&store, &everything()) {
            Ok(found) => {
                assert!(flat(&found).is_subset(&flat(&model)), "seed {seed}: samples that were never stored");
                // A log cut exactly between two records looks like one that ended there.
                let cut_log = !damaged_segment;
                assert!(
                    found == model || told || cut_log,
                    "seed {seed}: samples are missing, and nobody said so"
                );
                opened_whole += u64::from(found == model);
                check_histograms(&store, &found);
            }
            Err(ReadError::Damaged { place }) => assert!(place.contains(".segment"), "{place}"),
            Err(other) => panic!("seed {seed}: {other}"),
        }
        // Damage does not keep the store from going on.
        for _ in 0..40 {
            machine.tick(1);
            let appended = append(&store, machine.now_ms(), &[(1, 1.0), (9, 2.0)]).unwrap();
            assert_eq!(appended.taken, 2, "seed {seed}");
            store.maintain();
        }
        let recent = TimeRange { start_ms: machine.now_ms() - 5_000, end_ms: i64::MAX };
        let found = read(&store, &Select { range: recent, ..everything() }).unwrap();
        assert_eq!(found[&series_labels(9)].len(), 6, "seed {seed}");
        original.clock.set((support::START_MS + 45_000) * 1_000_000);
    }
    assert!(opened_whole < ROUNDS / 2, "the changes hit nothing");
}

#[test]
fn a_damaged_segment_is_set_aside_and_named() {
    let (machine, model) = filled(2);
    let segments = files(&machine, "data/segments");
    let last = segments[segments.len() - 1].clone();
    let length = machine.fs.read(&last).unwrap().len();
    machine.fs.flip_bit(&last, length - 100, 3).unwrap();
    let (store, recovery) = machine.open().unwrap();
    let name = last.file_name().unwrap().to_str().unwrap();
    assert_eq!(recovery.notes.len(), 1);
    assert!(recovery.notes[0].contains(&format!("{name}.damaged")), "{:?}", recovery.notes);
    assert_eq!(store.stats().problems, recovery.notes);
    assert_eq!(store.stats().to_part().health, vedette_model::status::Health::Degraded);
    assert_eq!(store.metrics().segments_damaged.get(), 1);
    let found = flat(&read(&store, &everything()).unwrap());
    let all = flat(&model);
    assert!(found.is_subset(&all) && found.len() < all.len() && found.len() > 50);
    drop(store);
    let (_, again) = machine.open().unwrap();
    assert_eq!(again.notes, Vec::<String>::new());
}

#[test]
fn damage_found_by_a_read_names_the_place_and_stops_merging() {
    let (machine, _) = filled(3);
    let first = files(&machine, "data/segments")[0].clone();
    // Right behind the header stand the directory and the chunks of the first series.
    machine.fs.flip_bit(&first, 40, 1).unwrap();
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes, Vec::<String>::new());
    let error = read(&store, &everything()).unwrap_err();
    assert!(error.to_string().contains(first.file_name().unwrap().to_str().unwrap()), "{error}");
    for _ in 0..120 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(1, 1.0)]).unwrap();
        store.maintain();
    }
    let problems = store.stats().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("is damaged"), "{problems:?}");
    assert!(machine.fs.exists(&first), "a damaged segment must not be merged away");
}

#[test]
fn a_later_format_is_refused_by_name_and_left_alone() {
    let (machine, _) = filled(4);
    let first = files(&machine, "data/segments")[0].clone();
    let mut bytes = machine.fs.read(&first).unwrap();
    bytes[8] = 3;
    let crc = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    machine.fs.put(&first, bytes);
    let error = machine.open().map(drop).unwrap_err();
    assert!(error.to_string().contains("format version 3"), "{error}");
    assert!(machine.fs.exists(&first));
}
