//! The life of data against a sorted map: appends, deletions, retention, sealing, merging,
//! snapshots, kills, in random order.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    sync::mpsc::channel,
};

use proptest::prelude::*;
use support::{
    Machine, Model, START_MS, all, append, delete, everything, expected, filled, flat, range, read,
    series_labels,
};
use vedette_model::{LabelQuery, Labels, MatchOp, Matcher, MetricReader, Select, TimeRange};
use vedette_sys::Fs;
use vedette_tsdb::{RetentionRule, Tsdb};

#[derive(Debug, Clone)]
enum Op {
    /// A row of some series, this many milliseconds from the present.
    Append {
        offset_ms: i64,
        samples: Vec<(usize, u8)>,
    },
    Tick(u64),
    Maintain,
    Merge,
    Delete {
        matcher_sets: Vec<Vec<Matcher>>,
        start: i64,
        length: i64,
    },
    Clean,
    Snapshot {
        skip_head: bool,
    },
    /// Ends the process; the next one has this many shards.
    Kill(usize),
    Read {
        matchers: Vec<Matcher>,
        start: i64,
        length: i64,
    },
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let op =
        proptest::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let name = proptest::sample::select(vec!["__name__", "n", "group", "absent"]);
    let value = proptest::sample::select(vec!["", "even", "odd", "3", "1|2|5", "a", ".*", ".+", "[ab]?"]);
    (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).unwrap())
}

fn any_range() -> impl Strategy<Value = (i64, i64)> {
    prop_oneof![
        3 => (-20_000i64..200_000, 0i64..60_000),
        1 => Just((-1_000_000_000, 2_000_000_000)),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![10 => Just(0i64), 3 => (-29i64..0).prop_map(|s| s * 1000)];
    let row = prop_oneof![
        4 => proptest::collection::vec(0u8..9, 6).prop_map(|v| v.into_iter().enumerate().collect::<Vec<_>>()),
        1 => proptest::collection::vec((0usize..8, 0u8..9), 0..4),
    ];
    let sets = proptest::collection::vec(proptest::collection::vec(any_matcher(), 1..3), 1..3);
    let delete = |(matcher_sets, (start, length))| Op::Delete { matcher_sets, start, length };
    let read = |(matchers, (start, length))| Op::Read { matchers, start, length };
    prop_oneof![
        12 => (offset, row).prop_map(|(offset_ms, samples)| Op::Append { offset_ms, samples }),
        9 => (1u64..4).prop_map(Op::Tick),
        1 => (20u64..60).prop_map(Op::Tick),
        1 => Just(Op::Tick(301)),
        7 => Just(Op::Maintain),
        1 => Just(Op::Merge),
        3 => (sets, any_range()).prop_map(delete),
        1 => Just(Op::Clean),
        1 => any::<bool>().prop_map(|skip_head| Op::Snapshot { skip_head }),
        1 => (1usize..4).prop_map(Op::Kill),
        3 => (proptest::collection::vec(any_matcher(), 0..3), any_range()).prop_map(read),
    ]
}

/// `VEDETTE_MODEL_CASES` sets the number of cases for a longer run.
fn cases() -> u32 {
    std::env::var("VEDETTE_MODEL_CASES").ok().and_then(|s| s.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_sorted_map(ops in proptest::collection::vec(any_op(), 1..200), has_rules in any::<bool>()) {
        let mut machine = Machine::new(1);
        machine.config.retention_ms = 30 * 24 * 3_600_000;
        if has_rules {
            machine.config.retention_ms = 60_000;
            machine.config.retention_rules = rules();
        }
        let mut newest_ms = i64::MIN;
        let mut store = machine.open().unwrap().0;
        let mut model = Model::new();
        let mut snapshots = Vec::new();
        for op in ops {
            match op {
                Op::Append { offset_ms, samples } => {
                    put(&store, &mut model, machine.now_ms() + offset_ms, &samples)?;
                    newest_ms = newest_ms.max(machine.now_ms() + offset_ms);
                }
                Op::Tick(seconds) => machine.tick(seconds),
                Op::Maintain => store.maintain(),
                Op::Merge => store.merge_all().unwrap(),
                Op::Delete { matcher_sets, start, length } => {
                    store.delete_series(&matcher_sets, range(start, length)).unwrap();
                    delete(&mut model, &matcher_sets, range(start, length));
                    check(&store, &model, &[], TimeRange::ALL, &kept(&machine, newest_ms))?;
                }
                Op::Clean => {
                    store.clean_deleted().unwrap();
                    if !has_rules {
                        check_series(&store, &model)?;
                    }
                    prop_assert_eq!(store.clean_deleted().unwrap(), 0);
                }
                Op::Snapshot { skip_head } => {
                    let folder = format!("snapshots/{}", snapshots.len());
                    store.snapshot(folder.as_ref(), skip_head).unwrap();
                    snapshots.push((folder, skip_head, model.clone()));
                }
                Op::Kill(shards) => {
                    drop(store);
                    machine.config.shards = shards;
                    machine.fs.restart();
                    let (opened, recovery) = machine.open().unwrap();
                    prop_assert_eq!(&recovery.notes, &Vec::<String>::new());
                    store = opened;
                }
                Op::Read { matchers, start, length } => {
                    check(&store, &model, &matchers, range(start, length), &kept(&machine, newest_ms))?;
                }
            }
        }
        check(&store, &model, &[], TimeRange::ALL, &kept(&machine, newest_ms))?;
        store.clean_deleted().unwrap();
        check(&store, &model, &[], TimeRange::ALL, &kept(&machine, newest_ms))?;
        if !has_rules {
            check_series(&store, &model)?;
        }
        prop_assert_eq!(store.stats().problems, Vec::<String>::new());
        for (folder, skip_head, model) in snapshots {
            machine.config.folder = folder.into();
            let (store, recovery) = machine.open().unwrap();
            prop_assert_eq!(&recovery.notes, &Vec::<String>::new());
            if skip_head {
                prop_assert_eq!(recovery.samples, 0);
                let found = flat(&read(&store, &everything()).unwrap());
                prop_assert!(found.is_subset(&flat(&model)));
            } else {
                check(&store, &model, &[], TimeRange::ALL, &kept(&machine, newest_ms))?;
            }
            // It is a store like any other.
            let found = read(&store, &everything()).unwrap();
            store.clean_deleted().unwrap();
            store.maintain();
            if !has_rules {
                prop_assert_eq!(read(&store, &everything()).unwrap(), found);
            }
        }
    }
}

/// Appends sample by sample; the model gets what the store says that it took.
fn put(store: &Tsdb, model: &mut Model, time_ms: i64, samples: &[(usize, u8)]) -> Result<(), TestCaseError> {
    for &(n, value) in samples {
        let kept = model.entry(series_labels(n)).or_default();
        let sealed = store.stats().sealed_until_ms.unwrap_or(i64::MIN);
        if time_ms < sealed && kept.contains_key(&time_ms) {
            // Of what is sealed the store does not see at once that it is there.
            continue;
        }
        let bits = f64::from(value).to_bits();
        let appended = append(store, time_ms, &[(n, f64::from(value))]).unwrap();
        let there = kept.get(&time_ms).copied();
        match there {
            Some(there) if there == bits => prop_assert_eq!(appended.duplicate, 1),
            Some(_) => prop_assert_eq!(appended.conflicting, 1),
            None => {
                prop_assert_eq!(appended.duplicate + appended.conflicting, 0);
                if appended.taken == 1 {
                    kept.insert(time_ms, bits);
                }
            }
        }
    }
    Ok(())
}

/// How long series are kept in the tests that have rules: the first that fits counts.
fn rules() -> Vec<RetentionRule> {
    let rule = |matchers, seconds: i64| RetentionRule { matchers, retention_ms: seconds * 1000 };
    vec![
        rule(vec![Matcher::equal("n", "4")], 1000),
        rule(vec![Matcher::equal("group", "a")], 20),
        rule(
            vec![Matcher::equal("__name__", "odd"), Matcher::new(MatchOp::NotEqual, "n", "5").unwrap()],
            300,
        ),
    ]
}

/// What retention leaves.
struct Kept {
    rules: Vec<RetentionRule>,
    retention_ms: i64,
    newest_ms: i64,
    now_ms: i64,
}

fn kept(machine: &Machine, newest_ms: i64) -> Kept {
    let config = &machine.config;
    let (rules, retention_ms) = (config.retention_rules.clone(), config.retention_ms);
    Kept { rules, retention_ms, newest_ms, now_ms: machine.now_ms() }
}

impl Kept {
    fn rule(&self, labels: &Labels) -> Option<&RetentionRule> {
        let fits = |m: &Matcher| m.matches(labels.get(&m.name).unwrap_or(""));
        self.rules.iter().find(|r| r.matchers.iter().all(fits))
    }

    /// Samples from here on must be there.
    fn must_from_ms(&self, labels: &Labels) -> i64 {
        let retention_ms = self.rule(labels).map_or(self.retention_ms, |r| r.retention_ms);
        self.newest_ms.min(self.now_ms).saturating_sub(retention_ms)
    }

    /// Samples before this must not be there; the newest one that is left is `last_ms`.
    fn never_before_ms(&self, labels: &Labels, last_ms: i64) -> i64 {
        self.rule(labels).map_or(i64::MIN, |r| last_ms.min(self.now_ms).saturating_sub(r.retention_ms))
    }
}

fn check(
    store: &Tsdb,
    model: &Model,
    matchers: &[Matcher],
    range: TimeRange,
    kept: &Kept,
) -> Result<(), TestCaseError> {
    let found = read(store, &Select { matchers: matchers.to_vec(), range, ..everything() }).unwrap();
    let wanted = expected(model, matchers, range);
    if kept.rules.is_empty() {
        prop_assert_eq!(found, wanted);
        return Ok(());
    }
    prop_assert!(flat(&found).is_subset(&flat(&wanted)));
    let last_ms = model.values().filter_map(|s| s.keys().next_back()).max().copied().unwrap_or(i64::MIN);
    for (labels, samples) in &wanted {
        let found = found.get(labels);
        for (time, bits) in samples {
            let there = found.and_then(|f| f.get(time));
            prop_assert!(there.is_none_or(|b| b == bits));
            if *time >= kept.must_from_ms(labels) {
                prop_assert!(there.is_some(), "{labels:?} at {time} is gone too early");
            }
            if *time < kept.never_before_ms(labels, last_ms) {
                prop_assert!(there.is_none(), "{labels:?} at {time} is too old");
            }
        }
    }
    Ok(())
}

/// No series is told of that has no sample.
fn check_series(store: &Tsdb, model: &Model) -> Result<(), TestCaseError> {
    let query = LabelQuery { matcher_sets: Vec::new(), range: TimeRange::ALL, limit: 0 };
    let series = MetricReader::series(store, &query).unwrap();
    let wanted: Vec<_> = expected(model, &[], TimeRange::ALL).into_keys().collect();
    prop_assert_eq!(series, wanted);
    Ok(())
}

#[test]
fn what_was_asked_for_before_is_found_with_what_came_since() {
    let machine = Machine::new(3);
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    let add = |model: &mut Model, series: &[usize]| {
        for &n in series {
            let value = n as f64 + 0.5;
            assert_eq!(append(&store, machine.now_ms(), &[(n, value)]).unwrap().taken, 1);
            model.entry(series_labels(n)).or_default().insert(machine.now_ms(), value.to_bits());
        }
    };
    let even = vec![Matcher::equal("__name__", "even")];
    let ask = |model: &Model| {
        for matchers in [vec![], even.clone(), vec![all()]] {
            // The second time from what was found the first time.
            for _ in 0..2 {
                let found = read(&store, &Select { matchers: matchers.clone(), ..everything() }).unwrap();
                assert_eq!(found, expected(model, &matchers, TimeRange::ALL));
            }
        }
    };
    for round in 0..6 {
        add(&mut model, &[0, 1, 2, 3]);
        ask(&model);
        machine.tick(3);
        store.maintain();
        ask(&model);
        add(&mut model, &[4 + round]);
        ask(&model);
        // Everything is sealed, and series that were silent leave.
        machine.tick(40);
        store.maintain();
        ask(&model);
        if round == 3 {
            store.delete_series(std::slice::from_ref(&even), TimeRange::ALL).unwrap();
            delete(&mut model, std::slice::from_ref(&even), TimeRange::ALL);
            ask(&model);
            store.clean_deleted().unwrap();
            ask(&model);
        }
        machine.tick(1);
        store.merge_all().unwrap();
        ask(&model);
    }
}

#[test]
fn what_is_deleted_stays_deleted_and_makes_room() {
    let (machine, store, mut model) = filled(1);
    let bytes = store.stats().segment_bytes;
    let sets = [vec![Matcher::equal("__name__", "even")]];
    let deleted = store.delete_series(&sets, TimeRange::ALL).unwrap();
    assert!(deleted.segments > 1, "{deleted:?}");
    assert_eq!(deleted.head_series, 3);
    delete(&mut model, &sets, TimeRange::ALL);
    assert_eq!(read(&store, &everything()).unwrap(), expected(&model, &[], TimeRange::ALL));
    // Nothing but deleted samples: not told of before the segments are written anew either.
    let query = LabelQuery { matcher_sets: sets.to_vec(), range: TimeRange::ALL, limit: 0 };
    assert_eq!(MetricReader::series(&store, &query).unwrap(), []);
    assert_eq!(store.label_values("n", &query).unwrap(), Vec::<String>::new());
    assert_eq!(store.stats().segment_bytes, bytes);
    assert_eq!(store.clean_deleted().unwrap(), deleted.segments);
    assert!(store.stats().segment_bytes < bytes);
    assert!(machine.fs.exists("data/deletions".as_ref()), "the log still has deleted samples");
    // Twice sealed, the log has none of them any more.
    for _ in 0..30 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(1, 1.0), (2, 2.0)]).unwrap();
        store.maintain();
    }
    assert!(!machine.fs.exists("data/deletions".as_ref()), "a deletion that is carried out is kept");
    assert_eq!(read(&store, &everything()).unwrap()[&series_labels(2)].len(), 30);
}

#[test]
fn maintenance_carries_deletions_out() {
    let (machine, store, mut model) = filled(2);
    let sets = [vec![all()]];
    store.delete_series(&sets, TimeRange::ALL).unwrap();
    delete(&mut model, &sets, TimeRange::ALL);
    for _ in 0..310 {
        machine.tick(1);
        store.maintain();
    }
    assert_eq!(store.stats().segments, 0);
    assert_eq!(read(&store, &everything()).unwrap(), Model::new());
    assert_eq!(store.stats().problems, Vec::<String>::new());
    drop(store);
    machine.fs.restart();
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.samples, 0, "what was deleted came back from the log");
    assert_eq!(read(&store, &everything()).unwrap(), Model::new());
}

#[test]
fn what_is_sealed_leaves_the_log_at_once() {
    for ahead in [0, 1] {
        let machine = Machine::new(22);
        let store = machine.open().unwrap().0;
        let span_ms = machine.config.segment_span_ms;
        let mut seen = 0;
        for second in 0..100 {
            machine.tick(1);
            let now_ms = machine.now_ms();
            append(&store, now_ms, &std::array::from_fn::<_, 8, _>(|n| (n, f64::from(second)))).unwrap();
            if ahead > 0 {
                // What comes from a clock that is ahead ends no span, and keeps a file for one more.
                append(&store, now_ms + span_ms, &[(8, f64::from(second))]).unwrap();
            }
            store.maintain();
            let sealed = store.stats().sealed_until_ms == Some(now_ms / span_ms * span_ms);
            for shard in ["data/wal/0", "data/wal/1"] {
                let files = machine.fs.list(std::path::Path::new(shard)).unwrap().len();
                let most = if sealed { 1 + ahead } else { 2 + ahead };
                assert!(files <= most, "{files} files at second {second} in {shard}");
                seen += usize::from(sealed);
            }
        }
        assert!(seen > 100, "sealed {seen} times");
        drop(store);
        let (store, recovery) = machine.open().unwrap();
        assert!(recovery.samples <= 9 * 8 + 2 * 8, "{} samples", recovery.samples);
        assert_eq!(
            read(&store, &everything()).unwrap().values().map(|s| s.len()).sum::<usize>(),
            800 + 100 * ahead
        );
    }
}

#[test]
fn a_query_that_began_before_still_sees_sealed_samples() {
    let (machine, store, model) = filled(3);
    let sealed = TimeRange { start_ms: START_MS, end_ms: store.stats().sealed_until_ms.unwrap() - 1 };
    let begun = store.select(&Select { range: sealed, ..everything() }).unwrap();
    store.delete_series(&[vec![all()]], TimeRange::ALL).unwrap();
    store.clean_deleted().unwrap();
    let mut out = vedette_model::SampleBuffer::default();
    begun.read(0, sealed, &mut out).unwrap();
    assert_eq!(out.len(), expected(&model, &[], sealed)[&begun.labels(0)].len());
    drop(machine);
}

#[test]
fn a_crash_at_any_write_leaves_all_or_nothing_of_a_deletion() {
    for seed in 0..60 {
        let (machine, store, model) = filled(seed);
        let sets = [vec![Matcher::equal("group", "a")], vec![Matcher::equal("n", "3")]];
        let part = range(10_000, 25_000);
        let mut without = model.clone();
        delete(&mut without, &sets, part);
        machine.fs.crash_at(machine.fs.operations() + 1 + seed % 30);
        let deleted = store.delete_series(&sets, part);
        let cleaned = deleted.as_ref().ok().map(|_| store.clean_deleted());
        assert!(machine.fs.crashed() || cleaned.is_some_and(|c| c.is_ok()), "seed {seed}");
        drop(store);
        if seed % 2 == 0 {
            machine.fs.restart();
        } else {
            machine.fs.power_loss();
        }
        let (store, recovery) = machine.open().unwrap();
        // A loss of power may tear the end of the log, where nothing was synced yet.
        let is_torn = |note: &String| seed % 2 == 1 && deleted.is_err() && note.contains("/wal/");
        assert!(recovery.notes.iter().all(is_torn), "seed {seed}: {:?}", recovery.notes);
        // What a loss of power took from the end of the log was not deleted.
        let kept = |model: &Model| {
            let end_ms = if seed % 2 == 0 || deleted.is_ok() { i64::MAX } else { START_MS + 42_000 };
            expected(model, &[], TimeRange { start_ms: i64::MIN, end_ms })
        };
        let found = kept(&read(&store, &everything()).unwrap());
        assert!(
            found == kept(&without) || (deleted.is_err() && found == kept(&model)),
            "seed {seed}: neither all nor nothing was deleted"
        );
    }
}

#[test]
fn a_full_disk_refuses_a_deletion_and_changes_nothing() {
    let (machine, store, model) = filled(4);
    machine.fs.set_capacity(Some(0));
    let error = store.delete_series(&[vec![all()]], TimeRange::ALL).unwrap_err();
    assert!(error.to_string().contains("cannot write the list of deletions in data"), "{error}");
    assert_eq!(read(&store, &everything()).unwrap(), model);
    machine.fs.set_capacity(None);
    store.delete_series(&[vec![all()]], TimeRange::ALL).unwrap();
    assert_eq!(read(&store, &everything()).unwrap(), Model::new());
}

#[test]
fn each_series_is_kept_as_long_as_its_rule_says() {
    let mut machine = Machine::new(20);
    machine.config.retention_ms = 60_000;
    machine.config.retention_rules = rules();
    let store = machine.open().unwrap().0;
    for second in 0..400i64 {
        machine.tick(1);
        let row: Vec<(usize, f64)> = (0..6).map(|n| (n, second as f64)).collect();
        append(&store, machine.now_ms(), &row).unwrap();
        store.maintain();
    }
    let now = machine.now_ms();
    let found = read(&store, &everything()).unwrap();
    let first = |n: usize| (now - found[&series_labels(n)].first_key_value().unwrap().0) / 1000;
    // Series 4 is of group `a` too, but its own rule comes first. Series 3 and 5 are odd.
    assert_eq!([first(4), first(1), first(3)], [399, 20, 300]);
    // Those without a rule go with their segments, of which the longest are of 64 seconds.
    for n in [0, 2, 5] {
        assert!((60..=60 + 64).contains(&first(n)), "{n}: {}", first(n));
    }
    // In what is old there is nothing but series 3 and 4, later only 4.
    let count = |start: i64, end: i64| {
        let range = TimeRange { start_ms: now - end * 1000, end_ms: now - start * 1000 };
        let query = LabelQuery { matcher_sets: Vec::new(), range, limit: 0 };
        MetricReader::series(&store, &query).unwrap().len()
    };
    assert_eq!([count(0, 10), count(140, 290), count(370, 400)], [6, 2, 1]);
    // On the disk too, but for the segments of which a part is old.
    let stats = store.stats();
    let until_ms = stats.sealed_until_ms.unwrap() - 1;
    let shown = flat(&expected(&found, &[], TimeRange { start_ms: i64::MIN, end_ms: until_ms })).len() as u64;
    assert!(stats.segment_samples < shown + 2 * 64, "{} on the disk, {shown} shown", stats.segment_samples);
    assert_eq!(stats.problems, Vec::<String>::new());
    // At rest nothing is written again.
    let done = store.metrics().compactions.get();
    (0..20).for_each(|_| store.maintain());
    assert_eq!(store.metrics().compactions.get(), done);
    assert!(done < 250, "{done} merges in 50 spans");
}

#[test]
fn rules_hold_after_a_restart_and_go_with_the_configuration() {
    let mut machine = Machine::new(21);
    let store = machine.open().unwrap().0;
    for second in 0..120i64 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(0, second as f64), (1, second as f64)]).unwrap();
        store.maintain();
    }
    drop(store);
    machine.config.retention_rules =
        vec![RetentionRule { matchers: vec![Matcher::equal("group", "a")], retention_ms: 30_000 }];
    let store = machine.open().unwrap().0;
    let count = |store: &Tsdb, n| read(store, &everything()).unwrap()[&series_labels(n)].len();
    assert_eq!([count(&store, 0), count(&store, 1)], [120, 31]);
    let query = LabelQuery { matcher_sets: Vec::new(), range: range(0, 20_000), limit: 0 };
    assert_eq!(MetricReader::series(&store, &query).unwrap(), [series_labels(0)]);
    assert_eq!(store.label_values("n", &query).unwrap(), ["0"]);
    drop(store);
    machine.config.retention_rules.clear();
    let store = machine.open().unwrap().0;
    assert_eq!(count(&store, 1), 120, "nothing was written anew yet");
}

#[test]
fn what_names_nothing_is_refused() {
    let (_machine, store, model) = filled(5);
    for (sets, range) in [
        (vec![], TimeRange::ALL),
        (vec![vec![]], TimeRange::ALL),
        (vec![vec![all()]], TimeRange { start_ms: 2, end_ms: 1 }),
    ] {
        let error = store.delete_series(&sets, range).unwrap_err();
        assert!(error.to_string().contains("nothing was deleted"), "{error}");
    }
    assert_eq!(read(&store, &everything()).unwrap(), model);
}

#[test]
fn a_damaged_list_of_deletions_is_told_and_set_aside() {
    let (machine, store, _) = filled(6);
    store.delete_series(&[vec![all()]], range(0, 5_000)).unwrap();
    drop(store);
    machine.fs.flip_bit("data/deletions".as_ref(), 20, 1).unwrap();
    let (store, recovery) = machine.open().unwrap();
    assert_eq!(recovery.notes.len(), 1);
    assert!(recovery.notes[0].contains("delete them again"), "{:?}", recovery.notes);
    assert!(machine.fs.exists("data/deletions.damaged".as_ref()));
    assert_eq!(store.stats().problems, recovery.notes);
}

#[test]
fn who_asks_before_the_log_is_replayed_waits_for_all_of_it() {
    let (machine, store, mut model) = filled(7);
    drop(store);
    machine.tick(1);
    let (fs, clock) = (Arc::new(machine.fs.clone()), Arc::new(machine.clock.clone()));
    let (store, opening) = Tsdb::begin(machine.config.clone(), fs, clock).unwrap();
    assert!(opening.log_bytes() > 0);
    assert_eq!(store.metrics().samples_appended.get(), 0);
    let now_ms = machine.now_ms();
    let before_now = Select { range: TimeRange { start_ms: i64::MIN, end_ms: now_ms - 1 }, ..everything() };
    std::thread::scope(|scope| {
        let (asks, asked) = channel();
        let writer_asks = asks.clone();
        let (store, before_now) = (&store, &before_now);
        let reader = scope.spawn(move || {
            asks.send(()).unwrap();
            read(store, before_now).unwrap()
        });
        let writer = scope.spawn(move || {
            writer_asks.send(()).unwrap();
            append(store, now_ms, &[(0, 7.0), (17, 8.0)]).unwrap()
        });
        (0..2).for_each(|_| asked.recv().unwrap());
        assert!(!reader.is_finished() && !writer.is_finished());
        let recovery = opening.finish();
        assert_eq!((recovery.series, recovery.notes), (6, Vec::new()));
        assert_eq!(reader.join().unwrap(), model);
        assert_eq!(writer.join().unwrap().taken, 2);
    });
    for (n, value) in [(0, 7.0f64), (17, 8.0)] {
        model.entry(series_labels(n)).or_default().insert(now_ms, value.to_bits());
    }
    assert_eq!(read(&store, &everything()).unwrap(), model);
}

#[test]
fn nobody_waits_for_a_store_that_was_given_up() {
    let machine = Machine::new(8);
    let (fs, clock) = (Arc::new(machine.fs.clone()), Arc::new(machine.clock.clone()));
    let (store, opening) = Tsdb::begin(machine.config.clone(), fs, clock).unwrap();
    drop(opening);
    assert!(catch_unwind(AssertUnwindSafe(|| store.stats())).is_err());
}
