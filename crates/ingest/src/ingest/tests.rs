use std::{collections::BTreeMap, path::Path, time::Duration};

use proptest::prelude::*;
use vedette_eventdb::{CataloguePlace, Search};
use vedette_model::{
    Event, Exemplar, ExemplarSample, Fact, Hints, HistogramSample, Host, Labels, MetricKind, MetricMetadata,
    MetricReader, NativeHistogram, Process, Row, SampleBuffer, Samples, Select, SeriesDefinition, TimeRange,
    is_stale, stale_nan, telemetry::Family,
};
use vedette_sys::{Fs, ManualClock, RealFs, SimFs};

use super::*;
use crate::origin::Window;

const START_MS: i64 = 1_700_000_000_000;

struct Rig {
    ingest: Ingest,
    tsdb: Arc<Tsdb>,
    events: Arc<EventDb>,
    clock: ManualClock,
    seq: u64,
}

fn rig(fs: Arc<dyn Fs>, folder: &Path, catalogue: CataloguePlace, config: Config) -> Rig {
    let clock = ManualClock::at(START_MS * 1_000_000);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let tsdb_config =
        vedette_tsdb::Config { series_max: 40, ..vedette_tsdb::Config::new(folder.join("tsdb")) };
    let (tsdb, _) = Tsdb::open(tsdb_config, fs.clone(), shared.clone()).unwrap();
    let events_config =
        vedette_eventdb::Config { catalogue, ..vedette_eventdb::Config::new(folder.join("events")) };
    let (events, _) = EventDb::open(events_config, fs, shared.clone()).unwrap();
    let (tsdb, events) = (Arc::new(tsdb), Arc::new(events));
    let ingest = Ingest::new(config, tsdb.clone(), events.clone(), shared);
    Rig { ingest, tsdb, events, clock, seq: 0 }
}

fn real(folder: &tempfile::TempDir) -> Rig {
    rig(Arc::new(RealFs), folder.path(), CataloguePlace::File, Config::default())
}

fn sim(fs: &SimFs) -> Rig {
    rig(Arc::new(fs.clone()), Path::new("/data"), CataloguePlace::Memory, Config::default())
}

fn origin(epoch: u64) -> Origin {
    Origin { tenant: "default".into(), cluster: "c".into(), source: "node-1/agent".into(), epoch }
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name), ("job", "test")])
}

fn define(series: u32, name: &str) -> SeriesDefinition {
    SeriesDefinition { series, labels: labels(name) }
}

fn row(time_ms: i64, samples: &[(u32, f64)]) -> Row {
    let (series, values) = samples.iter().copied().unzip();
    Row { time_ms, series, values, ..Row::default() }
}

impl Rig {
    fn send(&mut self, samples: Samples) -> Result<(), Rejected> {
        self.seq += 1;
        self.send_as(self.seq, samples)
    }

    fn send_as(&self, seq: u64, samples: Samples) -> Result<(), Rejected> {
        self.ingest.accept(&Batch { origin: origin(1), seq, payload: Payload::Samples(samples) })
    }

    fn send_events(&self, seq: u64, events: Vec<Event>) -> Result<(), Rejected> {
        self.ingest.accept(&Batch { origin: origin(1), seq, payload: Payload::Events(events) })
    }

    fn now_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    /// All samples by metric name; a staleness marker is `None`.
    fn stored(&self) -> BTreeMap<String, Vec<(i64, Option<f64>)>> {
        let range = TimeRange::ALL;
        let select = Select { matchers: vec![], range, hints: Hints::default(), series_max: 0 };
        let set = self.tsdb.select(&select).unwrap();
        let mut stored = BTreeMap::new();
        for series in 0..set.len() {
            let mut samples = SampleBuffer::default();
            set.read(series, range, &mut samples).unwrap();
            let pairs = samples.times_ms.iter().zip(&samples.values);
            let pairs: Vec<_> = pairs.map(|(t, v)| (*t, (!is_stale(*v)).then_some(*v))).collect();
            if !pairs.is_empty() {
                stored.insert(set.labels(series).metric_name().to_owned(), pairs);
            }
        }
        stored
    }

    fn metric(&self, name: &str, label: &str) -> f64 {
        struct Wanted<'a>(&'a str, &'a str, f64);
        impl MetricVisitor for Wanted<'_> {
            fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
                let same = labels.first().map_or(self.1.is_empty(), |(_, v)| *v == self.1);
                if family.name == self.0 && same {
                    self.2 = value;
                }
            }
        }
        let mut wanted = Wanted(name, label, f64::NAN);
        self.ingest.visit(&mut wanted);
        wanted.2
    }
}

fn event(time_ns: i64, word: &str) -> Event {
    Event {
        id: 0,
        time_ns,
        host: Arc::new(Host { name: "h".into(), id: String::new(), boot_id: String::new() }),
        container: None,
        process: Some(Arc::new(Process {
            name: "bash".into(),
            args: vec![word.into()],
            ..Process::default()
        })),
        fact: Fact::Exit { code: 0, signal: false },
    }
}

#[test]
fn samples_go_in_by_number_and_come_out_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let metadata = MetricMetadata {
        family: "a".into(),
        kind: MetricKind::Gauge,
        unit: String::new(),
        help: "A.".into(),
    };
    rig.send(Samples {
        defined: vec![define(0, "a"), define(7, "b")],
        rows: vec![row(t, &[(0, 1.0), (7, 2.0)])],
        metadata: vec![metadata.clone()],
        ..Samples::default()
    })
    .unwrap();
    rig.send(Samples { rows: vec![row(t + 1, &[(7, 3.0)]), row(t + 2, &[(0, 4.0)])], ..Samples::default() })
        .unwrap();
    let expected = BTreeMap::from([
        ("a".to_owned(), vec![(t, Some(1.0)), (t + 2, Some(4.0))]),
        ("b".to_owned(), vec![(t, Some(2.0)), (t + 1, Some(3.0))]),
    ]);
    assert_eq!(rig.stored(), expected);
    assert_eq!(rig.tsdb.metadata(None, 0), [metadata]);
    assert_eq!(rig.ingest.stats(), Stats { samples: 4, origins: 1, ..Stats::default() });
}

#[test]
fn an_unknown_number_is_asked_for_and_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let rows = vec![row(t, &[(0, 1.0), (1, 2.0)])];
    let batch = Samples { defined: vec![define(0, "a")], rows: rows.clone(), ..Samples::default() };
    assert_eq!(rig.send_as(1, batch), Err(Rejected::UnknownSeries(1)));
    assert!(rig.stored().is_empty());
    // The definition of 0 went with the batch that was not taken.
    let batch = Samples { defined: vec![define(1, "b")], rows: rows.clone(), ..Samples::default() };
    assert_eq!(rig.send_as(1, batch), Err(Rejected::UnknownSeries(0)));
    let batch = Samples { defined: vec![define(0, "a"), define(1, "b")], rows, ..Samples::default() };
    assert_eq!(rig.send_as(1, batch), Ok(()));
    assert_eq!(rig.stored().len(), 2);
    rig.seq = 1;
    // A new epoch knows no number of the one before.
    let batch = Samples { rows: vec![row(t + 1, &[(0, 1.0)])], ..Samples::default() };
    let batch = Batch { origin: origin(2), seq: 1, payload: Payload::Samples(batch) };
    assert_eq!(rig.ingest.accept(&batch), Err(Rejected::UnknownSeries(0)));
    assert_eq!(rig.metric("vedette_ingest_batches_total", "unknown_series"), 3.0);
}

#[test]
fn a_repeated_batch_is_acknowledged_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let rig = real(&folder);
    let now = rig.clock.unix_ns();
    for _ in 0..3 {
        rig.send_events(5, vec![event(now, "x")]).unwrap();
    }
    rig.send_events(4, vec![event(now, "y")]).unwrap();
    rig.send_events(6, vec![]).unwrap();
    assert_eq!(rig.events.search(&Search::default()).unwrap().events.len(), 1, "4 is before the first seen");
    assert_eq!(rig.ingest.stats().duplicate_batches, 3);
    let mut other = origin(1);
    other.source = "node-2/agent".into();
    rig.ingest
        .accept(&Batch { origin: other, seq: 5, payload: Payload::Events(vec![event(now, "z")]) })
        .unwrap();
    assert_eq!(rig.events.search(&Search::default()).unwrap().events.len(), 2);
    rig.send_events(80, vec![]).unwrap();
    assert_eq!(rig.ingest.stats().missing_batches, 10, "7 to 16 are out of the window of 64");
}

#[test]
fn retired_series_end_with_a_marker_and_their_numbers_are_free() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let defined = vec![define(0, "a"), define(1, "b"), define(2, "c")];
    rig.send(Samples { defined, rows: vec![row(t, &[(0, 1.0), (1, 1.0), (2, 1.0)])], ..Samples::default() })
        .unwrap();
    // 1 ends; 2 ends and its number is given to d at once; 3 lives and ends in this batch.
    rig.send(Samples {
        defined: vec![define(2, "d"), define(3, "e")],
        retired: vec![1, 2, 3, 99],
        rows: vec![row(t + 5, &[(3, 9.0)]), row(t + 10, &[(0, 2.0), (2, 4.0)])],
        ..Samples::default()
    })
    .unwrap();
    let stored = rig.stored();
    assert_eq!(stored["a"], [(t, Some(1.0)), (t + 10, Some(2.0))]);
    assert_eq!(stored["b"], [(t, Some(1.0)), (t + 10, None)]);
    assert_eq!(stored["c"], [(t, Some(1.0)), (t + 10, None)]);
    assert_eq!(stored["d"], [(t + 10, Some(4.0))]);
    assert_eq!(stored["e"], [(t + 5, Some(9.0)), (t + 10, None)]);
    for number in [1, 3] {
        let rows = vec![row(t + 20, &[(number, 1.0)])];
        let answer = rig.send_as(rig.seq + 1, Samples { rows, ..Samples::default() });
        assert_eq!(answer, Err(Rejected::UnknownSeries(number)));
    }
    rig.send(Samples { rows: vec![row(t + 20, &[(2, 5.0)])], ..Samples::default() }).unwrap();
    rig.clock.advance(Duration::from_millis(30));
    rig.send(Samples { retired: vec![0], ..Samples::default() }).unwrap();
    assert_eq!(rig.stored()["a"][2], (t + 30, None), "without rows the marker is of now");
    assert_eq!(rig.metric("vedette_ingest_stale_markers_total", ""), 4.0);
}

#[test]
fn wrong_batches_and_samples_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    for (batch, word) in [
        (
            Samples {
                rows: vec![Row { time_ms: t, series: vec![0], values: vec![], ..Row::default() }],
                ..Samples::default()
            },
            "has 0 values",
        ),
        (Samples { defined: vec![define(u32::MAX, "a")], ..Samples::default() }, "is not below"),
    ] {
        let answer = rig.send_as(1, batch);
        assert!(matches!(&answer, Err(Rejected::Invalid(text)) if text.contains(word)), "{answer:?}");
    }
    for source in ["", &"x".repeat(300)] {
        let mut origin = origin(1);
        origin.source = source.to_owned();
        let answer = rig.ingest.accept(&Batch { origin, seq: 1, payload: Payload::Events(vec![]) });
        assert!(matches!(answer, Err(Rejected::Invalid(_))));
    }
    let many: Vec<_> = (0..70).map(|n| (format!("l{n}"), "v".to_owned())).collect();
    let mut named = many;
    named.push(("__name__".into(), "many".into()));
    let bad = [
        Labels::from_pairs([("job", "nameless")]),
        Labels::from_pairs(named),
        Labels::from_pairs([("__name__", "long"), ("l", &"v".repeat(9000))]),
        Labels::from_pairs([("__name__", "long"), (&"n".repeat(2000), "v")]),
        Labels::from_pairs([("__name__", "empty"), ("", "v")]),
    ];
    let mut defined: Vec<_> =
        (1..).zip(bad).map(|(series, labels)| SeriesDefinition { series, labels }).collect();
    defined.push(define(0, "good"));
    let all: Vec<_> = (0..6).map(|n| (n, 1.0)).collect();
    rig.send(Samples { defined, rows: vec![row(t, &all)], ..Samples::default() }).unwrap();
    let rows = vec![
        row(t + 3_600_000, &[(0, 1.0)]),
        row(t - 40 * 24 * 3_600_000, &[(0, 1.0)]),
        row(t, &[(0, 2.0)]),
        row(t, &[(0, 1.0)]),
    ];
    rig.send(Samples { rows, ..Samples::default() }).unwrap();
    assert_eq!(rig.stored(), BTreeMap::from([("good".to_owned(), vec![(t, Some(1.0))])]));
    for (reason, count) in [("labels", 5.0), ("future", 1.0), ("too_old", 1.0), ("out_of_order", 1.0)] {
        assert_eq!(rig.metric("vedette_ingest_rejected_samples_total", reason), count, "{reason}");
    }
    assert_eq!(rig.metric("vedette_ingest_duplicate_samples_total", ""), 1.0);
    assert_eq!(rig.metric("vedette_ingest_batches_total", "invalid"), 4.0);
}

#[test]
fn a_full_store_refuses_new_series_only_and_tries_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let defined: Vec<_> = (0..50).map(|n| define(n, &format!("m{n}"))).collect();
    let all: Vec<_> = (0..50).map(|n| (n, 1.0)).collect();
    rig.send(Samples { defined, rows: vec![row(t, &all)], ..Samples::default() }).unwrap();
    assert_eq!(rig.ingest.stats().samples, 40);
    rig.send(Samples { rows: vec![row(t + 1, &all)], ..Samples::default() }).unwrap();
    assert_eq!(rig.ingest.stats().samples, 80);
    assert_eq!(rig.metric("vedette_ingest_rejected_samples_total", "series_limit"), 20.0);
}

#[test]
fn histograms_are_stored_also_after_silence() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let first = rig.now_ms();
    let histogram = Arc::new(NativeHistogram { sum: 0.0, ..NativeHistogram::stale() });
    let sample =
        |series, time_ms| HistogramSample { time_ms, series, start_ms: 0, histogram: histogram.clone() };
    rig.send(Samples {
        defined: vec![define(0, "h")],
        histograms: vec![sample(0, first)],
        ..Samples::default()
    })
    .unwrap();
    for _ in 0..60 {
        rig.clock.advance(Duration::from_secs(300));
        rig.tsdb.maintain();
    }
    let last = rig.now_ms();
    rig.send(Samples { histograms: vec![sample(0, last)], ..Samples::default() }).unwrap();
    let unknown = Samples { histograms: vec![sample(7, last)], ..Samples::default() };
    assert_eq!(rig.send_as(rig.seq + 1, unknown), Err(Rejected::UnknownSeries(7)));
    let select = Select {
        matchers: vec![vedette_model::Matcher::equal("__name__", "h")],
        range: TimeRange::ALL,
        hints: Hints::default(),
        series_max: 0,
    };
    let set = rig.tsdb.select(&select).unwrap();
    let mut got = SampleBuffer::default();
    set.read(0, TimeRange::ALL, &mut got).unwrap();
    assert_eq!(got.times_ms, [first, last]);
    assert_eq!(got.histograms, [(0, histogram.clone()), (1, histogram)]);
}

#[test]
fn markers_end_only_what_did_not_go_on_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let newest = |time_ms, samples: &[(u32, f64)]| Row { newest_only: true, ..row(time_ms, samples) };
    let stale = stale_nan();
    rig.send(Samples {
        defined: vec![define(0, "a"), define(1, "b")],
        // A zero before the first sample is taken, and one that comes too late is not.
        rows: vec![newest(t - 10, &[(0, 0.0)]), row(t, &[(0, 1.0), (1, 1.0)]), newest(t - 5, &[(1, 0.0)])],
        ..Samples::default()
    })
    .unwrap();
    // The series goes on under another number; the first ends at the same time, and before.
    rig.send(Samples {
        defined: vec![define(2, "a")],
        released: vec![0],
        rows: vec![
            row(t + 10, &[(2, 2.0)]),
            newest(t + 10, &[(2, stale), (1, stale)]),
            newest(t + 5, &[(2, stale)]),
        ],
        ..Samples::default()
    })
    .unwrap();
    let stored = rig.stored();
    assert_eq!(stored["a"], [(t - 10, Some(0.0)), (t, Some(1.0)), (t + 10, Some(2.0))]);
    assert_eq!(stored["b"], [(t, Some(1.0)), (t + 10, None)]);
    assert_eq!(rig.ingest.stats().rejected_samples, 0);
    // What was released is free.
    let rows = vec![row(t + 20, &[(0, 1.0)])];
    assert_eq!(rig.send_as(3, Samples { rows, ..Samples::default() }), Err(Rejected::UnknownSeries(0)));
    let samples = Samples {
        defined: vec![define(0, "c")],
        released: vec![0, 1],
        rows: vec![row(t + 20, &[(0, 3.0)])],
        ..Samples::default()
    };
    rig.send(samples).unwrap();
    assert_eq!(rig.stored()["c"], [(t + 20, Some(3.0))]);
}

#[test]
fn start_timestamps_and_exemplars_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let t = rig.now_ms();
    let exemplar = |time_ms, value| ExemplarSample {
        series: 1,
        exemplar: Exemplar { labels: Labels::from_pairs([("trace", "x")]), value, time_ms },
    };
    rig.send(Samples {
        defined: vec![define(0, "a"), define(1, "b")],
        rows: vec![
            row(t - 1, &[(0, 0.5)]),
            Row { starts_ms: vec![0, t - 100], ..row(t, &[(0, 1.0), (1, 2.0)]) },
        ],
        exemplars: vec![exemplar(t, 1.0), exemplar(t - 5, 2.0)],
        ..Samples::default()
    })
    .unwrap();
    let select = Select { matchers: vec![], range: TimeRange::ALL, hints: Hints::default(), series_max: 0 };
    let set = rig.tsdb.select(&select).unwrap();
    for series in 0..set.len() {
        let mut got = SampleBuffer::default();
        set.read(series, TimeRange::ALL, &mut got).unwrap();
        let last = got.starts_ms.last().copied().unwrap_or(0);
        assert_eq!(last, if set.labels(series).metric_name() == "b" { t - 100 } else { 0 });
    }
    assert_eq!(rig.metric("vedette_ingest_exemplars_total", ""), 1.0);
    assert_eq!(rig.metric("vedette_ingest_rejected_exemplars_total", ""), 1.0);
    let rows = vec![Row { starts_ms: vec![1], ..row(t + 1, &[(0, 1.0), (1, 2.0)]) }];
    let refused = rig.send_as(2, Samples { rows, ..Samples::default() });
    assert!(matches!(refused, Err(Rejected::Invalid(text)) if text.contains("start timestamps")));
}

#[test]
fn silent_series_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = real(&folder);
    let first = rig.now_ms();
    rig.send(Samples {
        defined: vec![define(0, "a"), define(1, "b")],
        rows: vec![row(first, &[(0, 1.0), (1, 1.0)])],
        ..Samples::default()
    })
    .unwrap();
    let mut expected = vec![(first, Some(1.0))];
    // Far longer than the store keeps a silent series in memory.
    for step in 0..60 {
        rig.clock.advance(Duration::from_secs(300));
        rig.tsdb.maintain();
        let t = rig.now_ms();
        let samples = if step == 59 { vec![(0, 3.0), (1, 2.0)] } else { vec![(1, 2.0)] };
        rig.send(Samples { rows: vec![row(t, &samples)], ..Samples::default() }).unwrap();
    }
    expected.push((rig.now_ms(), Some(3.0)));
    assert_eq!(rig.stored()["a"], expected);
    assert_eq!(rig.ingest.stats().rejected_samples, 0);
}

#[test]
fn events_beyond_the_limits_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let rig = real(&folder);
    let now = rig.clock.unix_ns();
    let events = vec![
        event(now, "good"),
        event(now + 3600 * 1_000_000_000, "future"),
        event(-1, "before the epoch"),
        event(now, &"x".repeat(300 << 10)),
    ];
    rig.send_events(1, events).unwrap();
    let found = rig.events.search(&Search::default()).unwrap().events;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].process.as_ref().unwrap().args, ["good"]);
    assert_eq!(rig.ingest.stats().rejected_events, 3);
    for reason in ["future", "too_old", "size"] {
        assert_eq!(rig.metric("vedette_ingest_rejected_events_total", reason), 1.0, "{reason}");
    }
}

/// The disk fills up: batches are refused, and the same batches are taken once, when there is room.
#[test]
fn a_full_disk_is_retried() {
    let fs = SimFs::new(1);
    let rig = sim(&fs);
    let (t, now) = (rig.now_ms(), rig.clock.unix_ns());
    fs.set_capacity(Some(0));
    let samples =
        Samples { defined: vec![define(0, "a")], rows: vec![row(t, &[(0, 1.0)])], ..Samples::default() };
    for _ in 0..3 {
        let answers = [rig.send_as(1, samples.clone()), rig.send_events(2, vec![event(now, "x")])];
        for answer in answers {
            assert!(matches!(&answer, Err(Rejected::Retry(text)) if text.contains("write")), "{answer:?}");
        }
    }
    assert_eq!(rig.ingest.stats().retries, 6);
    fs.set_capacity(None);
    rig.send_as(1, samples).unwrap();
    rig.send_events(2, vec![event(now, "x")]).unwrap();
    assert_eq!(rig.stored()["a"], [(t, Some(1.0))]);
    assert_eq!(rig.events.search(&Search::default()).unwrap().events.len(), 1);
}

#[test]
fn the_sender_that_was_silent_for_longest_is_forgotten() {
    let fs = SimFs::new(1);
    let config = Config { origins_max: 2 * RECENT_SENDERS, ..Config::default() };
    let rig = rig(Arc::new(fs), Path::new("/data"), CataloguePlace::Memory, config);
    let send = |source: &str, seq| {
        let origin = Origin { source: source.into(), ..origin(1) };
        rig.ingest.accept(&Batch { origin, seq, payload: Payload::Events(vec![]) }).unwrap();
    };
    let others: Vec<String> = (2..2 * RECENT_SENDERS).map(|n| n.to_string()).collect();
    for source in ["a", "b"].into_iter().chain(others.iter().map(String::as_str)).chain(["a", "new"]) {
        send(source, 1);
    }
    let stats = rig.ingest.stats();
    assert_eq!((stats.origins, stats.duplicate_batches), (2 * RECENT_SENDERS as u64, 1));
    send("a", 1);
    assert_eq!(rig.ingest.stats().duplicate_batches, 2, "a is remembered");
    send("b", 1);
    assert_eq!(rig.ingest.stats().duplicate_batches, 2, "b is not");
}

#[derive(Debug, Clone)]
enum Step {
    Send { define: Vec<(u32, u8)>, retire: Vec<u32>, use_: Vec<u32> },
    Repeat,
    Restart,
    Full,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 0_u32..6;
    let send = (
        prop::collection::vec((number.clone(), 0_u8..8), 0..3),
        prop::collection::vec(number.clone(), 0..2),
        prop::collection::vec(number, 0..5),
    );
    let step = prop_oneof![
        8 => send.prop_map(|(define, retire, use_)| Step::Send { define, retire, use_ }),
        1 => Just(Step::Repeat),
        1 => Just(Step::Restart),
        1 => Just(Step::Full),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Numbers are defined, retired and used at random, batches repeated, the door made anew,
    /// the disk full: the store holds what a plain map from numbers to names says.
    #[test]
    fn the_store_holds_what_a_plain_map_says(script in steps()) {
        let fs = SimFs::new(1);
        let mut rig = sim(&fs);
        let mut names: BTreeMap<u32, String> = BTreeMap::new();
        let mut expected: BTreeMap<String, BTreeMap<i64, Option<f64>>> = BTreeMap::new();
        let mut last = None;
        let mut full = false;
        for (n, step) in (0_u32..).zip(script) {
            rig.clock.advance(Duration::from_millis(10));
            let t = rig.now_ms();
            match step {
                Step::Repeat => {
                    if let Some((seq, batch)) = &last {
                        prop_assert_eq!(rig.send_as(*seq, Samples::clone(batch)), Ok(()));
                    }
                }
                Step::Restart => {
                    let Rig { tsdb, events, clock, .. } = &rig;
                    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
                    rig.ingest = Ingest::new(Config::default(), tsdb.clone(), events.clone(), clock);
                    names.clear();
                    last = None;
                }
                Step::Full => full = true,
                Step::Send { define: mut defined, retire, mut use_ } => {
                    defined.sort_unstable();
                    defined.dedup_by_key(|d| d.0);
                    // A series has one number at a time, and one sample in a row.
                    let taken = |names: &BTreeMap<u32, String>, name: &str| names.values().any(|n| n == name);
                    let mut after = names.clone();
                    let mut given: Vec<(u32, String)> = Vec::new();
                    for (number, name) in defined {
                        let name = format!("m{name}");
                        if !taken(&after, &name) {
                            after.insert(number, name.clone());
                            given.push((number, name));
                        }
                    }
                    let mut retire = retire;
                    retire.sort_unstable();
                    retire.dedup();
                    use_.sort_unstable();
                    use_.dedup();
                    // A series that ends has no sample at the time of its end.
                    use_.retain(|u| !retire.contains(u));
                    let samples: Vec<_> = use_.iter().map(|u| (*u, f64::from(n))).collect();
                    let batch = Samples {
                        defined: given.iter().map(|(number, name)| define(*number, name)).collect(),
                        retired: retire.clone(),
                        rows: vec![row(t, &samples)],
                        ..Samples::default()
                    };
                    let unknown = use_.iter().find(|u| !after.contains_key(u));
                    if let Some(unknown) = unknown {
                        prop_assert_eq!(rig.send_as(rig.seq + 1, batch), Err(Rejected::UnknownSeries(*unknown)));
                        continue;
                    }
                    if std::mem::take(&mut full) {
                        fs.set_capacity(Some(0));
                        let answer = rig.send_as(rig.seq + 1, batch.clone());
                        prop_assert!(matches!(answer, Ok(()) | Err(Rejected::Retry(_))), "{:?}", answer);
                        fs.set_capacity(None);
                    }
                    prop_assert_eq!(rig.send(batch.clone()), Ok(()));
                    last = Some((rig.seq, batch));
                    let mut put = |name: &str, value| {
                        expected.entry(name.to_owned()).or_default().entry(t).or_insert(value);
                    };
                    for (number, value) in samples {
                        put(&after[&number], Some(value));
                    }
                    for number in retire {
                        let replaced = names.get(&number).filter(|old| after.get(&number) != Some(*old));
                        if let Some(old) = replaced {
                            put(old, None);
                        } else if let Some(name) = after.remove(&number) {
                            put(&name, None);
                        }
                    }
                    names = after;
                }
            }
        }
        let expected: BTreeMap<_, Vec<_>> =
            expected.into_iter().map(|(name, samples)| (name, samples.into_iter().collect())).collect();
        prop_assert_eq!(rig.stored(), expected);
    }

    /// The window agrees with a set, for numbers that come nearly in order.
    #[test]
    fn the_window_agrees_with_a_set(start in 0_u64..1000, jumps in prop::collection::vec((0_u64..5, 0_u64..60), 1..200)) {
        let mut window = Window::default();
        let mut taken = std::collections::BTreeSet::new();
        let mut highest = start;
        let mut missing = window.take(start);
        taken.insert(start);
        for (ahead, back) in jumps {
            highest += ahead;
            let seq = highest.saturating_sub(if ahead == 0 { back } else { 0 });
            prop_assert_eq!(window.has(seq), seq < start || taken.contains(&seq), "{}", seq);
            missing += window.take(seq);
            taken.insert(seq);
        }
        let closed = highest.saturating_sub(63);
        let never = (start..closed).filter(|seq| !taken.contains(seq)).count() as u64;
        prop_assert_eq!(missing, never);
        prop_assert!(window.has(0) || start == 0 && highest < 64);
        let far = highest + 10_000;
        let open = (closed.max(start)..=highest).filter(|seq| !taken.contains(seq)).count() as u64;
        prop_assert_eq!(window.take(far), open + 9_999 - 63);
        prop_assert!(window.has(far) && !window.has(far - 1) && window.has(far - 64));
    }
}
