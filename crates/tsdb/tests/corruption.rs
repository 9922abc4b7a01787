//! Files changed at random: the store opens, tells of it, and never answers what was not stored.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use std::path::{Path, PathBuf};

use support::{
    Machine, Model, append, append_histograms, everything, flat, histogram, more, read, read_more,
    series_labels,
};
use vedette_model::{MetricReader, ReadError, Select, TimeRange};
use vedette_sys::{Fs, Random};
use vedette_tsdb::{Outcome, Repaired, repair, verify_segments};

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

/// A store of segments that are many pages long.
fn large(seed: u64) -> (Machine, Model) {
    let machine = Machine::new(seed);
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    for second in 0..45i64 {
        machine.tick(1);
        // Values that take all of their eight bytes.
        let row: Vec<(usize, f64)> =
            (0..160).map(|n| (n, ((second * 160 + n as i64) as f64).sin())).collect();
        append(&store, machine.now_ms(), &row).unwrap();
        for (n, v) in row {
            model.entry(series_labels(n)).or_default().insert(machine.now_ms(), v.to_bits());
        }
        store.maintain();
    }
    for segment in files(&machine, "data/segments") {
        assert!(machine.fs.read(&segment).unwrap().len() > 5 * 4096);
    }
    (machine, model)
}

fn repair_all(machine: &Machine, discard: bool) -> (u64, Vec<Repaired>) {
    let mut all = Vec::new();
    let sound = repair(&machine.fs, Path::new("data"), discard, &mut |r| all.push(r)).unwrap();
    (sound, all)
}

fn problems(machine: &Machine) -> Vec<String> {
    let mut all = Vec::new();
    verify_segments(&machine.fs, Path::new("data"), &mut |v| all.extend(v.problems)).unwrap();
    all
}

/// A copy of a machine's files.
fn copy_of(original: &Machine, seed: u64) -> Machine {
    let fs = vedette_sys::SimFs::new(seed);
    for folder in ["data/segments", "data/wal/0", "data/wal/1"] {
        fs.create_dir_all(Path::new(folder)).unwrap();
        for path in files(original, folder) {
            fs.put(&path, original.fs.read(&path).unwrap());
        }
    }
    Machine { seed, fs, clock: original.clock.clone(), config: original.config.clone() }
}

#[test]
fn what_is_sound_verifies_and_needs_no_repair() {
    let (machine, model) = large(10);
    assert_eq!(problems(&machine), Vec::<String>::new());
    let segments = files(&machine, "data/segments");
    let sound = segments.len() + files(&machine, "data/rollups").len();
    assert_eq!(repair_all(&machine, true), (sound as u64, Vec::new()));
    assert_eq!(files(&machine, "data/segments"), segments);
    assert_eq!(read(&machine.open().unwrap().0, &everything()).unwrap(), model);
}

#[test]
fn a_flipped_bit_costs_nothing_wherever_it_is() {
    let (original, model) = large(11);
    let segments = files(&original, "data/segments");
    let length = original.fs.read(&segments[0]).unwrap().len();
    let ends = (0..32).step_by(3).chain((length - 110..length).step_by(4));
    let spread = (0..12).map(|i| 40 + i * (length - 200) / 12);
    for (at, seed) in ends.chain(spread).zip(0..) {
        let machine = copy_of(&original, seed);
        machine.fs.flip_bit(&segments[0], at, (seed % 8) as u8).unwrap();
        assert!(!problems(&machine).is_empty(), "byte {at} is checked by nobody");
        if seed % 3 == 0 {
            // Opening sets some aside.
            drop(machine.open().unwrap());
        }
        let (_, all) = repair_all(&machine, seed % 2 == 0);
        assert_eq!(all.len(), 1, "byte {at}");
        assert!(
            matches!(&all[0].outcome, Outcome::Saved { new: Some(_), flipped: 1, .. }),
            "byte {at}: {:?}",
            all[0].outcome
        );
        assert_eq!((&all[0].lost, all[0].lost_more), (&Vec::new(), 0), "byte {at}");
        assert_eq!(all[0].kept.as_ref().is_some_and(|k| machine.fs.exists(k)), seed % 2 == 1);
        assert_eq!(problems(&machine), Vec::<String>::new());
        let (store, recovery) = machine.open().unwrap();
        assert_eq!(recovery.notes, Vec::<String>::new());
        assert!(read(&store, &everything()).unwrap() == model, "byte {at}");
        assert_eq!(repair_all(&machine, false).1, []);
    }
}

#[test]
fn what_is_not_hit_is_saved_and_the_rest_is_told() {
    let (original, model) = large(12);
    let segments = files(&original, "data/segments");
    let mut saved_in_part = 0;
    for seed in 0..24u64 {
        let mut random = Random::new(seed);
        let machine = copy_of(&original, seed);
        let victim = &segments[random.below(segments.len() as u64) as usize];
        let mut bytes = machine.fs.read(victim).unwrap();
        // Within the data: a page loses more than any checksum can tell.
        let at = random.below(bytes.len() as u64 * 7 / 10) as usize;
        let end = bytes.len().min(at + 1 + random.below(6000) as usize);
        bytes[at..end].iter_mut().for_each(|b| *b = b.wrapping_mul(17).wrapping_add(91));
        machine.fs.put(victim, bytes);
        let told = problems(&machine);
        let (_, all) = repair_all(&machine, false);
        assert_eq!((told.is_empty(), all.len()), (false, 1), "seed {seed}");
        let (store, recovery) = machine.open().unwrap();
        assert_eq!(recovery.notes, Vec::<String>::new());
        assert_eq!(problems(&machine), Vec::<String>::new());
        let found = read(&store, &everything()).unwrap();
        let missing: Vec<_> = flat(&model).difference(&flat(&found)).cloned().collect();
        assert!(flat(&found).is_subset(&flat(&model)), "seed {seed}: samples that were never stored");
        if let Outcome::Saved { samples, .. } = all[0].outcome {
            saved_in_part += u64::from(samples > 0 && !missing.is_empty());
        }
        // Whatever is missing was told.
        for (labels, time, _) in &missing {
            let is_told = all[0].lost.iter().any(|lost| {
                lost.labels.as_ref().is_none_or(|l| l == labels)
                    && lost.range.is_none_or(|r| r.contains(*time))
            });
            assert!(is_told, "seed {seed}: {labels:?} at {time} is missing, and nobody said so");
        }
        // What lies on other pages is there: two pages at most, and what shares them, were hit.
        if all[0].lost.iter().all(|lost| lost.labels.is_some()) {
            let series: std::collections::BTreeSet<_> = missing.iter().map(|(l, ..)| l).collect();
            assert!(series.len() < 100, "seed {seed}: {} series", series.len());
        }
        assert!(machine.fs.exists(all[0].kept.as_ref().unwrap()));
    }
    assert!(saved_in_part > 15, "{saved_in_part}");
}

#[test]
fn a_segment_cut_short_is_kept_and_told_of() {
    let (machine, model) = large(13);
    let victim = files(&machine, "data/segments")[0].clone();
    let mut bytes = machine.fs.read(&victim).unwrap();
    bytes.truncate(bytes.len() / 2);
    machine.fs.put(&victim, bytes.clone());
    drop(machine.open().unwrap());
    let (sound, all) = repair_all(&machine, false);
    let rollups = files(&machine, "data/rollups").len();
    assert_eq!(sound as usize + 1, files(&machine, "data/segments").len() + rollups);
    assert!(matches!(all[0].outcome, Outcome::Hopeless(reason) if reason.contains("damaged or missing")));
    assert_eq!(all[0].lost, [vedette_tsdb::Lost { labels: None, range: None, samples: None }]);
    assert_eq!(machine.fs.read(all[0].kept.as_ref().unwrap()).unwrap(), bytes);
    let found = read(&machine.open().unwrap().0, &everything()).unwrap();
    assert!(flat(&found).is_subset(&flat(&model)) && !found.is_empty());
    assert_eq!(repair_all(&machine, true).1[0].kept, None);
    assert_eq!(repair_all(&machine, true).1, []);
}

#[test]
fn a_crash_while_repairing_loses_nothing() {
    let (original, model) = large(14);
    let victim = files(&original, "data/segments")[0].clone();
    let segments = files(&original, "data/segments").len();
    for seed in 0..14 {
        let machine = copy_of(&original, seed);
        machine.fs.flip_bit(&victim, 5000, 1).unwrap();
        machine.fs.crash_at(machine.fs.operations() + 1 + seed / 2);
        let repaired = repair(&machine.fs, Path::new("data"), seed % 2 == 0, &mut |_| {});
        assert!(machine.fs.crashed() || repaired.is_ok());
        machine.fs.power_loss();
        let opened = seed % 3 == 0;
        if opened {
            drop(machine.open().unwrap());
        }
        repair_all(&machine, false);
        let (store, _) = machine.open().unwrap();
        assert!(read(&store, &everything()).unwrap() == model, "seed {seed}");
        assert_eq!(store.stats().segments, segments as u64, "seed {seed}");
        assert_eq!(problems(&machine), Vec::<String>::new());
    }
}

#[test]
fn repair_does_not_bring_back_what_was_deleted() {
    let (machine, mut model) = large(15);
    let (store, _) = machine.open().unwrap();
    let matchers = vec![vedette_model::Matcher::equal("group", "a")];
    store.delete_series(std::slice::from_ref(&matchers), TimeRange::ALL).unwrap();
    drop(store);
    model.retain(|labels, _| labels.get("group") != Some("a"));
    let victim = files(&machine, "data/segments")[0].clone();
    let length = machine.fs.read(&victim).unwrap().len();
    machine.fs.flip_bit(&victim, length - 100, 3).unwrap();
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes.len(), 1);
    // What waits set aside keeps the deletion on the list.
    store.clean_deleted().unwrap();
    assert!(machine.fs.exists(Path::new("data/deletions")));
    drop(store);
    repair_all(&machine, true);
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes, Vec::<String>::new());
    assert!(read(&store, &everything()).unwrap() == model);
}

#[test]
fn the_time_that_others_count_from_is_checked() {
    let (machine, model) = large(16);
    let first = files(&machine, "data/segments")[0].clone();
    machine.fs.flip_bit(&first, 17, 3).unwrap();
    let (store, _) = machine.open().unwrap();
    let set = store.select(&everything()).unwrap();
    for series in 0..set.len() {
        let mut out = vedette_model::SampleBuffer::default();
        if set.read(series, TimeRange::ALL, &mut out).is_ok() {
            let all = &model[&set.labels(series)];
            assert!(out.times_ms.iter().all(|t| all.contains_key(t)), "samples of another time");
        }
    }
}
