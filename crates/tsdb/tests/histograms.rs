//! Histograms, start timestamps and exemplars as users see them: what is taken, what is refused
//! and why, what comes back.

#![expect(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod support;

use std::sync::Arc;

use support::{
    Machine, append, append_histograms, everything, histogram, more, read, read_more, series_labels,
};
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Exemplar, LabelQuery, Labels, Matcher, MetricReader, NativeHistogram, TimeRange,
    stale_nan,
};
use vedette_tsdb::{Appended, Error, ExemplarSample, HistogramSample, RefRow, Tsdb};

fn exemplar(time_ms: i64, trace: &str) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value: 0.25, time_ms }
}

fn append_exemplars(store: &Tsdb, n: usize, exemplars: &[Exemplar]) -> Result<Appended, Error> {
    let reference = store.series(&series_labels(n))?;
    let samples = exemplars.iter().map(|exemplar| ExemplarSample { reference, exemplar });
    store.append_exemplars(&samples.collect::<Vec<_>>())
}

fn exemplars(store: &Tsdb, n: usize, range: TimeRange) -> Vec<Exemplar> {
    let matchers = vec![Matcher::equal("n", n.to_string())];
    let query = LabelQuery { matcher_sets: vec![matchers.clone(), matchers], range, limit: 0 };
    let found = store.exemplars(&query).unwrap();
    assert!(found.len() <= 1);
    found.into_iter().flat_map(|(_, exemplars)| exemplars).collect()
}

fn taken(taken: u64) -> Appended {
    Appended { taken, ..Appended::default() }
}

#[test]
fn a_series_may_have_floats_and_histograms_and_either_marker_ends_it() {
    let machine = Machine::new(1);
    let mut store = machine.open().unwrap().0;
    let now = machine.now_ms();
    assert_eq!(append(&store, now, &[(1, 1.0), (2, 1.0)]).unwrap(), taken(2));
    assert_eq!(append_histograms(&store, now + 1, 0, &[(1, 7), (2, 7)]).unwrap(), taken(2));
    assert_eq!(append(&store, now + 2, &[(1, stale_nan())]).unwrap(), taken(1));
    assert_eq!(append_histograms(&store, now + 2, 0, &[(2, 0)]).unwrap(), taken(1));
    for attempt in 0..3 {
        let found = read(&store, &everything()).unwrap();
        for n in [1, 2] {
            let bits = [1.0f64.to_bits(), histogram(7).sum.to_bits(), stale_nan().to_bits()];
            assert_eq!(found[&series_labels(n)].values().copied().collect::<Vec<_>>(), bits, "{attempt}");
        }
        let told = read_more(&store).unwrap();
        let of = |n: usize, time_ms: i64| told.get(&(series_labels(n), time_ms)).cloned();
        assert_eq!(of(1, now + 1), more(Some(&histogram(7)), 0));
        assert_eq!((of(1, now), of(1, now + 2)), (None, None));
        assert_eq!(of(2, now + 2), more(Some(&NativeHistogram::stale()), 0));
        match attempt {
            0 => {
                drop(store);
                store = machine.open().unwrap().0;
            }
            _ => {
                // Sealed, they leave at once, as they have ended.
                machine.tick(20);
                append(&store, machine.now_ms(), &[(5, 1.0)]).unwrap();
                store.maintain();
                assert_eq!(store.stats().head_series, 1);
            }
        }
    }
}

#[test]
fn histograms_are_judged_as_floats_are() {
    let machine = Machine::new(2);
    let store = machine.open().unwrap().0;
    let now = machine.now_ms();
    let judge = |time_ms: i64, value: u64| append_histograms(&store, time_ms, 0, &[(1, value)]).unwrap();
    let none = Appended::default;
    assert_eq!(judge(now, 5), taken(1));
    assert_eq!(judge(now, 5), Appended { duplicate: 1, ..none() });
    assert_eq!(judge(now, 6), Appended { conflicting: 1, ..none() });
    assert_eq!(judge(now - 10, 6), taken(1));
    assert_eq!(judge(now - 10, 6), Appended { duplicate: 1, ..none() });
    assert_eq!(judge(now - 10, 8), Appended { conflicting: 1, ..none() });
    assert_eq!(judge(now - 31_000, 6), Appended { too_old: 1, ..none() });
    assert_eq!(judge(now - 4_000_000, 6), Appended { too_old: 1, ..none() });
    assert_eq!(judge(now + 700_000, 6), Appended { future: 1, ..none() });
    let sum = histogram(5).sum;
    assert_eq!(append(&store, now, &[(1, sum)]).unwrap(), Appended { conflicting: 1, ..none() });
    // The last one is known again when it is sealed.
    machine.tick(20);
    append(&store, machine.now_ms(), &[(2, 1.0)]).unwrap();
    store.maintain();
    assert!(store.stats().sealed_until_ms.unwrap() > now);
    assert_eq!(
        append_histograms(&store, now, 0, &[(1, 5)]).unwrap(),
        Appended { duplicate: 1, ..none() },
        "of what is sealed"
    );
    let refs = [store.series(&series_labels(1)).unwrap()];
    let sound = Arc::new(histogram(5));
    let unknown = vedette_tsdb::SeriesRef(refs[0].0 | 1 << 40);
    let sample = HistogramSample { reference: unknown, time_ms: now, start_ms: 0, histogram: &sound };
    assert_eq!(store.append_histograms(&[sample]).unwrap().unknown, [unknown]);
    let broken = Arc::new(NativeHistogram { schema: CUSTOM_BUCKETS_SCHEMA, ..histogram(5) });
    let sample = HistogramSample { reference: refs[0], histogram: &broken, ..sample };
    assert!(matches!(store.append_histograms(&[sample]), Err(Error::Invalid { .. })));
    let row = RefRow::new(machine.now_ms(), &refs, &[1.0]).with_starts(&[1, 2]);
    assert!(matches!(store.append(&[row]), Err(Error::Invalid { .. })));
}

#[test]
fn start_timestamps_are_told_anew_in_every_file_of_the_log() {
    let machine = Machine::new(3);
    let mut store = machine.open().unwrap().0;
    let mut wanted = support::More::new();
    for second in 0..40i64 {
        machine.tick(1);
        let refs = [1, 2, 3].map(|n| store.series(&series_labels(n)).unwrap());
        let starts = [7, if second % 10 < 5 { 0 } else { second / 10 }, 0];
        let values = [second as f64, 1.0, 2.0];
        let row = RefRow::new(machine.now_ms(), &refs, &values);
        assert_eq!(store.append(&[row.with_starts(&starts)]).unwrap(), taken(3));
        for (n, start_ms) in [1, 2, 3].into_iter().zip(starts) {
            wanted.extend(more(None, start_ms).map(|text| ((series_labels(n), machine.now_ms()), text)));
        }
        if second % 3 == 0 {
            store.maintain();
        }
        if second % 11 == 10 {
            drop(store);
            store = machine.open().unwrap().0;
        }
        assert_eq!(read_more(&store).unwrap(), wanted, "second {second}");
    }
    assert!(store.stats().wal_bytes < 10_000, "{:?}", store.stats());
}

#[test]
fn exemplars_move_from_the_head_into_segments_and_are_seen_once() {
    let mut machine = Machine::new(4);
    let mut store = machine.open().unwrap().0;
    let (mut wanted, mut compactions) = (Vec::new(), 0);
    for second in 0..60i64 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(1, second as f64)]).unwrap();
        let new = exemplar(machine.now_ms() - 700, &second.to_string());
        // Sources show an exemplar until they have another.
        for attempt in 0..2 {
            let appended = append_exemplars(&store, 1, std::slice::from_ref(&new)).unwrap();
            assert_eq!((appended.taken, appended.duplicate), (1 - attempt, attempt));
        }
        wanted.push(new);
        store.maintain();
        if second % 17 == 0 {
            compactions += store.metrics().compactions.get();
            drop(store);
            machine.config.shards = 1 + second as usize % 3;
            store = machine.open().unwrap().0;
        }
        assert_eq!(exemplars(&store, 1, TimeRange::ALL), wanted, "second {second}");
    }
    assert!(compactions > 0);
    for known in &wanted {
        let range = TimeRange { start_ms: known.time_ms, end_ms: known.time_ms };
        assert_eq!(exemplars(&store, 1, range), std::slice::from_ref(known));
    }
    assert_eq!(exemplars(&store, 2, TimeRange::ALL), []);
}

#[test]
fn exemplars_have_limits_and_each_refused_one_is_counted() {
    let mut machine = Machine::new(5);
    machine.config.exemplars_max = 3;
    machine.config.shards = 1;
    let store = machine.open().unwrap().0;
    let now = machine.now_ms();
    append(&store, now, &[(1, 1.0), (2, 1.0)]).unwrap();
    let batch: Vec<Exemplar> = (0..4).map(|i| exemplar(now + i, "a")).collect();
    let wanted = Appended { limited: 1, ..taken(3) };
    assert_eq!(append_exemplars(&store, 1, &batch).unwrap(), wanted);
    let one = |exemplar: Exemplar| append_exemplars(&store, 2, &[exemplar]).unwrap();
    assert_eq!(one(exemplar(now, "a")), Appended { limited: 1, ..Appended::default() });
    assert_eq!(one(exemplar(now, &"x".repeat(5000))), Appended { limited: 1, ..Appended::default() });
    assert_eq!(one(exemplar(now + 700_000, "a")), Appended { future: 1, ..Appended::default() });
    assert_eq!(one(exemplar(now - 4_000_000, "a")), Appended { too_old: 1, ..Appended::default() });
    machine.tick(20);
    append(&store, machine.now_ms(), &[(1, 1.0), (2, 1.0)]).unwrap();
    store.maintain();
    assert_eq!(one(exemplar(now - 100_000, "a")), Appended { too_old: 1, ..Appended::default() });
    assert_eq!(one(exemplar(machine.now_ms(), "a")), taken(1), "sealing makes room");
    let m = store.metrics();
    assert_eq!((m.exemplars_appended.get(), m.exemplars_rejected.get()), (4, 6));
    assert_eq!(exemplars(&store, 1, TimeRange::ALL), batch[..3]);
}

#[test]
fn late_exemplars_are_sealed_with_later_samples_and_found_at_their_time() {
    let machine = Machine::new(6);
    let mut store = machine.open().unwrap().0;
    let now = machine.now_ms();
    append(&store, now, &[(1, 1.0)]).unwrap();
    machine.tick(20);
    append(&store, machine.now_ms(), &[(1, 1.0)]).unwrap();
    store.maintain();
    // As old as may be beside what was just sealed.
    let late = exemplar(store.stats().sealed_until_ms.unwrap() - 29_999, "late");
    assert_eq!(append_exemplars(&store, 1, std::slice::from_ref(&late)).unwrap(), taken(1));
    for attempt in 0..6 {
        drop(store);
        store = machine.open().unwrap().0;
        assert_eq!(exemplars(&store, 1, TimeRange::ALL), std::slice::from_ref(&late), "{attempt}");
        let range = TimeRange { start_ms: late.time_ms, end_ms: late.time_ms };
        assert_eq!(exemplars(&store, 1, range), std::slice::from_ref(&late), "{attempt}");
        machine.tick(20);
        if attempt % 2 == 1 {
            append(&store, machine.now_ms(), &[(1, 1.0)]).unwrap();
        }
        store.maintain();
    }
}

#[test]
fn what_a_full_disk_refused_can_come_again() {
    let machine = Machine::new(7);
    let store = machine.open().unwrap().0;
    let now = machine.now_ms();
    // Both shards have a file.
    assert_eq!(append(&store, now - 50, &[(1, 1.0), (2, 1.0)]).unwrap(), taken(2));
    assert_eq!(append_histograms(&store, now, 5, &[(1, 3)]).unwrap(), taken(1));
    assert_eq!(append_exemplars(&store, 1, &[exemplar(now, "a")]).unwrap(), taken(1));
    machine.fs.set_capacity(Some(1));
    for value in [4, 6] {
        let error = append_histograms(&store, now + 1, 9, &[(1, value), (2, value)]).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(append_exemplars(&store, 1, &[exemplar(now + 1, "b")]).unwrap_err().is_full());
        assert!(append_histograms(&store, now - 5, 9, &[(1, 3)]).unwrap_err().is_full());
    }
    assert_eq!(exemplars(&store, 1, TimeRange::ALL), [exemplar(now, "a")]);
    machine.fs.set_capacity(None);
    assert_eq!(append_histograms(&store, now + 1, 0, &[(1, 5), (2, 5)]).unwrap(), taken(2));
    assert_eq!(append_histograms(&store, now - 5, 0, &[(1, 8)]).unwrap(), taken(1));
    assert_eq!(append_exemplars(&store, 1, &[exemplar(now + 1, "b")]).unwrap(), taken(1));
    for store in [store, machine.open().unwrap().0] {
        let told = read_more(&store).unwrap();
        let of = |n: usize, time_ms: i64| told.get(&(series_labels(n), time_ms)).cloned();
        assert_eq!(of(1, now), more(Some(&histogram(3)), 5));
        assert_eq!(of(1, now + 1), more(Some(&histogram(5)), 0));
        assert_eq!(of(1, now - 5), more(Some(&histogram(8)), 0));
        assert_eq!(of(2, now + 1), more(Some(&histogram(5)), 0));
        assert_eq!(told.len(), 4);
        assert_eq!(exemplars(&store, 1, TimeRange::ALL), [exemplar(now, "a"), exemplar(now + 1, "b")]);
    }
}
