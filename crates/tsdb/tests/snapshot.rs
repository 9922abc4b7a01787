//! Snapshots: complete under their name or not there, with what was there at one moment.

mod support;

use support::{all, append, delete, everything, expected, filled, range, read, series_labels};
use vedette_model::{Matcher, Select, TimeRange};
use vedette_sys::Fs;
use vedette_tsdb::Tsdb;

#[test]
fn a_snapshot_has_what_was_there_at_one_moment() {
    let (mut machine, store, model) = filled(7);
    let sets = [vec![Matcher::equal("n", "1")]];
    store.delete_series(&sets, range(3_000, 1_000_000)).unwrap();
    let mut model = model;
    delete(&mut model, &sets, range(3_000, 1_000_000));
    let whole = store.snapshot("a/whole".as_ref(), false).unwrap();
    let sealed = store.snapshot("a/sealed".as_ref(), true).unwrap();
    assert_eq!(whole.segments, store.stats().segments);
    assert_eq!((whole.segments, whole.bytes_copied, sealed.log_files), (sealed.segments, 0, 0));
    assert!(whole.log_files >= 2 && sealed.bytes < whole.bytes);
    let error = store.snapshot("a/whole".as_ref(), false).unwrap_err();
    assert!(error.to_string().contains("a/whole is there already"), "{error}");
    // What the store does later does not show.
    let until_ms = store.stats().sealed_until_ms.unwrap();
    store.delete_series(&[vec![all()]], TimeRange::ALL).unwrap();
    store.clean_deleted().unwrap();
    machine.tick(1);
    append(&store, machine.now_ms(), &[(1, 1.0)]).unwrap();
    for (folder, end_ms) in [("a/whole", i64::MAX), ("a/sealed", until_ms - 1)] {
        machine.config.folder = folder.into();
        let (copy, recovery) = machine.open().unwrap();
        assert_eq!(recovery.notes, Vec::<String>::new());
        let found = read(&copy, &everything()).unwrap();
        assert_eq!(found, expected(&model, &[], TimeRange { start_ms: i64::MIN, end_ms }), "{folder}");
        machine.tick(1);
        assert_eq!(append(&copy, machine.now_ms(), &[(1, 5.0)]).unwrap().taken, 1);
        drop(copy);
        // A deletion from before does not reach into the log that begins anew.
        let found = read(&machine.open().unwrap().0, &everything()).unwrap();
        assert_eq!(found[&series_labels(1)].last_key_value(), Some((&machine.now_ms(), &5f64.to_bits())));
    }
}

#[test]
fn where_no_second_name_can_be_given_files_are_copied() {
    let (mut copied, mut refused) = (0, 0);
    for n in 1..40 {
        let (mut machine, store, model) = filled(8);
        let folder = std::path::Path::new("snapshots/one");
        machine.fs.fail_at(machine.fs.operations() + n);
        match store.snapshot(folder, false) {
            Ok(made) => {
                copied += u64::from(made.bytes_copied > 0);
                machine.config.folder = folder.to_owned();
                machine.fs.power_loss();
                assert_eq!(read(&machine.open().unwrap().0, &everything()).unwrap(), model, "{n}");
            }
            Err(_) => {
                refused += 1;
                let left = machine.fs.list("snapshots".as_ref()).unwrap_or_default();
                assert_eq!(left, Vec::<std::path::PathBuf>::new(), "{n}");
                assert_eq!(read(&store, &everything()).unwrap(), model, "{n}");
            }
        }
    }
    assert!(copied >= 5 && refused >= 3, "{copied} {refused}");
}

#[test]
fn a_crash_leaves_no_part_of_a_snapshot_under_its_name() {
    let mut complete = 0;
    for seed in 0..60 {
        let (mut machine, store, model) = filled(seed);
        let folder = std::path::Path::new("snapshots/one");
        machine.fs.crash_at(machine.fs.operations() + 1 + seed);
        let made = store.snapshot(folder, false);
        assert!(machine.fs.crashed() || made.is_ok());
        drop(store);
        machine.fs.power_loss();
        let there = machine.fs.exists(folder);
        assert!(there || made.is_err(), "seed {seed}");
        let original = machine.config.folder.clone();
        if there {
            machine.config.folder = folder.to_owned();
            assert_eq!(read(&machine.open().unwrap().0, &everything()).unwrap(), model, "seed {seed}");
            complete += 1;
        } else {
            // What was left half made is in nobody's way.
            machine.config.folder = original;
            let store = machine.open().unwrap().0;
            store.snapshot(folder, false).unwrap();
            assert_eq!(machine.fs.list("snapshots".as_ref()).unwrap(), [folder]);
        }
    }
    assert!((10..50).contains(&complete), "{complete}");
}

#[test]
fn appends_deletions_snapshots_and_maintenance_go_on_side_by_side() {
    const ROWS: i64 = 300;
    let (mut machine, store, _) = filled(30);
    let row: Vec<(usize, f64)> = (10..22).map(|n| (n, 1.5)).collect();
    let (begin_ms, done) = (machine.now_ms(), std::sync::atomic::AtomicBool::new(false));
    let is_over = || done.load(std::sync::atomic::Ordering::Acquire);
    let snapshots = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over() {
                store.maintain();
            }
        });
        scope.spawn(|| {
            while !is_over() {
                store.delete_series(&[vec![Matcher::equal("group", "a")]], TimeRange::ALL).unwrap();
                store.clean_deleted().unwrap();
            }
        });
        let snapshots = scope.spawn(|| {
            let mut count = 0;
            while !is_over() {
                store.snapshot(format!("snapshots/{count}").as_ref(), false).unwrap();
                count += 1;
            }
            count
        });
        for i in 1..=ROWS {
            machine.tick(1);
            assert_eq!(append(&store, begin_ms + i * 1000, &row).unwrap().taken, 12);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        snapshots.join().unwrap()
    });
    assert!(snapshots > 0);
    let times = |store: &Tsdb, n: usize| -> Vec<i64> {
        let found = read(
            store,
            &Select { range: TimeRange { start_ms: begin_ms + 1, end_ms: i64::MAX }, ..everything() },
        );
        found.unwrap().get(&series_labels(n)).map(|s| s.keys().copied().collect()).unwrap_or_default()
    };
    let all: Vec<i64> = (1..=ROWS).map(|i| begin_ms + i * 1000).collect();
    for n in (10..22).filter(|n| n % 3 != 1) {
        assert!(times(&store, n) == all, "series {n}");
    }
    for snapshot in (0..snapshots).step_by(1 + snapshots / 10) {
        machine.config.folder = format!("snapshots/{snapshot}").into();
        let (copy, recovery) = machine.open().unwrap();
        assert_eq!(recovery.notes, Vec::<String>::new());
        // Of each series all up to some time, of all about the same.
        let counts: Vec<usize> = (10..22)
            .filter(|n| n % 3 != 1)
            .map(|n| {
                let times = times(&copy, n);
                assert!(all.starts_with(&times), "series {n}");
                times.len()
            })
            .collect();
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}
