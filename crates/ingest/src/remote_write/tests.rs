use std::{collections::BTreeMap, path::Path, time::Duration};

use proptest::prelude::*;
use vedette_eventdb::{CataloguePlace, EventDb};
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Hints, HistogramCounts, LabelQuery, Labels, MetricKind, MetricReader,
    SampleBuffer, Select, Span, TimeRange,
    telemetry::{Family, MetricSource, MetricVisitor},
};
use vedette_sys::{Clock, ManualClock, SimFs};
use vedette_wire::remote_write::Encoder;

use vedette_model::{Exemplar, MetricMetadata, NativeHistogram};
use vedette_tsdb::Tsdb;

use super::*;
use crate::{Ingest, intake::*};

pub(crate) const START_MS: i64 = 1_700_000_000_000;
const SERIES_MAX: usize = 40;

pub(crate) struct Rig {
    pub ingest: Ingest,
    pub tsdb: Arc<Tsdb>,
    clock: ManualClock,
    fs: SimFs,
}

pub(crate) fn rig() -> Rig {
    rig_with(Config::default())
}

pub(crate) fn rig_with(config: Config) -> Rig {
    let fs = SimFs::new(1);
    let clock = ManualClock::at(START_MS * 1_000_000);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let tsdb_config =
        vedette_tsdb::Config { series_max: SERIES_MAX, ..vedette_tsdb::Config::new(Path::new("/tsdb")) };
    let (tsdb, _) = Tsdb::open(tsdb_config, Arc::new(fs.clone()), shared.clone()).unwrap();
    let events_config = vedette_eventdb::Config {
        catalogue: CataloguePlace::Memory,
        ..vedette_eventdb::Config::new(Path::new("/events"))
    };
    let (events, _) = EventDb::open(events_config, Arc::new(fs.clone()), shared.clone()).unwrap();
    let tsdb = Arc::new(tsdb);
    let ingest = Ingest::new(config, tsdb.clone(), Arc::new(events), shared);
    Rig { ingest, tsdb, clock, fs }
}

/// A request of series: labels, and times with values.
type Series<'a> = (&'a [(&'a str, &'a str)], &'a [(i64, f64)]);

fn message(series: &[Series<'_>]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (labels, samples) in series {
        encoder.begin_series(labels.iter().copied());
        for (time_ms, value) in *samples {
            encoder.sample(START_MS + time_ms, *value);
        }
        encoder.end_series();
    }
    encoder.message().to_vec()
}

pub(crate) fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).unwrap()
}

impl Rig {
    fn send(&self, series: &[Series<'_>]) -> Result<Written, WriteError> {
        self.ingest.receiver().remote_write(&compress(&message(series)))
    }

    /// All samples, by labels; times from the start.
    pub fn stored(&self) -> BTreeMap<String, Vec<(i64, f64)>> {
        let range = TimeRange::ALL;
        let select = Select { matchers: vec![], range, hints: Hints::default(), series_max: 0 };
        let set = self.tsdb.select(&select).unwrap();
        let read = |series| {
            let mut samples = SampleBuffer::default();
            set.read(series, range, &mut samples).unwrap();
            let times = samples.times_ms.iter().map(|t| t - START_MS);
            let samples: Vec<_> = times.zip(samples.values.iter().copied()).collect();
            (set.labels(series).to_string(), samples)
        };
        (0..set.len()).map(read).filter(|(_, samples)| !samples.is_empty()).collect()
    }

    /// All histograms of a series.
    pub fn histograms(&self, labels: &[(&str, &str)]) -> Vec<(i64, NativeHistogram)> {
        let matchers =
            labels.iter().map(|(name, value)| vedette_model::Matcher::equal(*name, *value)).collect();
        let range = TimeRange::ALL;
        let set =
            self.tsdb.select(&Select { matchers, range, hints: Hints::default(), series_max: 0 }).unwrap();
        let mut samples = SampleBuffer::default();
        set.read(0, range, &mut samples).unwrap();
        samples
            .histograms
            .iter()
            .map(|(at, histogram)| (samples.times_ms[*at as usize], NativeHistogram::clone(histogram)))
            .collect()
    }

    /// Since when the samples of a metric count.
    pub fn starts(&self, name: &str) -> Vec<i64> {
        let matchers = vec![vedette_model::Matcher::equal("__name__", name)];
        let select = Select { matchers, range: TimeRange::ALL, hints: Hints::default(), series_max: 0 };
        let mut samples = SampleBuffer::default();
        self.tsdb.select(&select).unwrap().read(0, TimeRange::ALL, &mut samples).unwrap();
        (0..samples.len()).map(|i| samples.start_ms(i)).collect()
    }

    pub fn metric(&self, name: &str, label: &str) -> f64 {
        struct Wanted<'a>(&'a str, &'a str, f64);
        impl MetricVisitor for Wanted<'_> {
            fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
                if family.name == self.0 && labels.first().map_or("", |(_, v)| v) == self.1 {
                    self.2 = value;
                }
            }
        }
        let mut wanted = Wanted(name, label, f64::NAN);
        self.ingest.visit(&mut wanted);
        wanted.2
    }

    pub fn parsed(&self) -> f64 {
        self.metric("vedette_ingest_remote_write_series_parsed_total", "")
    }
}

const A: &[(&str, &str)] = &[("__name__", "a"), ("job", "x")];
const B: &[(&str, &str)] = &[("__name__", "b"), ("job", "x")];

fn all(samples: u64) -> Result<Written, WriteError> {
    Ok(Written { samples, ..Written::default() })
}

fn refused(result: Result<Written, WriteError>) -> (u64, String) {
    let written = result.unwrap();
    (written.samples, written.refused.unwrap())
}

#[test]
fn samples_are_stored_and_labels_are_parsed_once() {
    let rig = rig();
    assert_eq!(rig.send(&[(A, &[(0, 1.0)]), (B, &[(0, 2.0)])]), all(2));
    assert_eq!(rig.send(&[(A, &[(10, 3.0)]), (B, &[(15, 4.0)])]), all(2));
    assert_eq!(rig.parsed(), 2.0);
    // Sent once more because the answer was lost on its way.
    assert_eq!(rig.send(&[(A, &[(10, 3.0)]), (B, &[(15, 4.0)])]), all(2));
    let expected = BTreeMap::from([
        (r#"a{job="x"}"#.to_owned(), vec![(0, 1.0), (10, 3.0)]),
        (r#"b{job="x"}"#.to_owned(), vec![(0, 2.0), (15, 4.0)]),
    ]);
    assert_eq!(rig.stored(), expected);
    assert_eq!(rig.metric("vedette_ingest_samples_total", ""), 4.0);
    assert_eq!(rig.metric("vedette_ingest_duplicate_samples_total", ""), 2.0);
    assert_eq!(rig.metric("vedette_ingest_remote_write_requests_total", "stored"), 3.0);
    assert_eq!(rig.metric("vedette_ingest_remote_write_series", ""), 2.0);
}

#[test]
fn other_orders_of_the_same_labels_are_the_same_series() {
    let rig = rig();
    let turned: &[_] = &[("job", "x"), ("none", ""), ("__name__", "a")];
    assert_eq!(rig.send(&[(A, &[(0, 1.0)]), (turned, &[(5, 2.0)])]), all(2));
    assert_eq!(rig.stored(), BTreeMap::from([(r#"a{job="x"}"#.to_owned(), vec![(0, 1.0), (5, 2.0)])]));
}

#[test]
fn several_samples_of_each_series_go_in_by_time() {
    let rig = rig();
    let times: Vec<_> = (0..50).map(|n| (n * 10, n as f64)).collect();
    assert_eq!(rig.send(&[(A, &times), (B, &times)]), all(100));
    assert!(rig.stored().values().all(|samples| *samples == times));
}

#[test]
fn what_is_refused_is_told_and_the_rest_is_stored() {
    let rig = rig();
    rig.send(&[(A, &[(100, 1.0)])]).unwrap();
    let day = 86_400_000;
    for (step, (series, words)) in (0..).zip([
        ((A, &[(100, 2.0)][..]), "1 out of order"),
        ((A, &[(day, 2.0)]), "1 too far in the future"),
        ((A, &[(-30 * day, 2.0)]), "1 too old"),
        ((&[("job", "x")], &[(0, 1.0), (1, 1.0)]), "2 with invalid labels; the first: a series has no label"),
        ((&[("__name__", "c"), ("a", "1"), ("a", "2")], &[(0, 1.0)]), r#""c" has the label "a" twice"#),
        ((&[("__name__", "c"), ("", "1")], &[(0, 1.0)]), "has a label without a name"),
        ((&[("__name__", "")], &[(0, 1.0)]), "has no label __name__"),
    ]) {
        let (samples, text) = refused(rig.send(&[(B, &[(step, 5.0)]), series]));
        assert!(text.contains(words), "{text}");
        assert_eq!(samples, 1, "{text}");
    }
    let long = &*"v".repeat(9000);
    let names: Vec<_> = (0..70).map(|n| format!("n{n:02}")).collect();
    let mut many: Vec<_> = names.iter().map(|n| (n.as_str(), "v")).collect();
    many.insert(0, ("__name__", "m"));
    let invalid: [&[(&str, &str)]; 3] = [&[("__name__", long)], &[("__name__", "c"), (long, "v")], &many];
    for labels in invalid {
        let (_, text) = refused(rig.send(&[(labels, &[(0, 1.0)])]));
        assert!(text.contains("more than") && text.len() < 400, "{text}");
    }
    let invalid = rig.metric("vedette_ingest_rejected_samples_total", "labels");
    assert_eq!(invalid, 8.0);
    // What is refused is not remembered as known.
    assert_eq!(rig.metric("vedette_ingest_remote_write_series", ""), 2.0);
}

#[test]
fn text_that_is_not_utf8_costs_its_series_only() {
    let rig = rig();
    let mut bytes = message(&[(&[("__name__", "zz")], &[(0, 1.0)]), (A, &[(0, 1.0)])]);
    let at = bytes.windows(2).position(|w| w == b"zz").unwrap();
    bytes[at] = 0xff;
    let (samples, text) = refused(rig.ingest.receiver().remote_write(&compress(&bytes)));
    assert_eq!(samples, 1);
    assert!(text.contains("1 with invalid labels") && text.contains("not valid UTF-8"), "{text}");
}

#[test]
fn labels_that_look_like_samples_are_labels() {
    let rig = rig();
    let value = String::from_utf8(vec![b'x', 0x12, 7, 0x10, 1, 1, 1, 1, 1, 1]).unwrap();
    let odd: &[(&str, &str)] = &[("__name__", "odd"), ("z", &value)];
    // Without a sample it is a series of which nothing is told.
    assert_eq!(rig.send(&[(A, &[(0, 1.0)]), (odd, &[])]), all(1));
    assert_eq!(rig.send(&[(A, &[(5, 1.0)]), (odd, &[(5, 0.0)]), (B, &[(5, 0.0)])]), all(3));
    assert_eq!(rig.send(&[(odd, &[]), (A, &[(10, 1.0)])]), all(1));
    assert_eq!(rig.stored().values().map(Vec::len).collect::<Vec<_>>(), [3, 1, 1]);
}

#[test]
fn a_broken_message_stores_nothing() {
    let rig = rig();
    let mut bytes = message(&[(A, &[(0, 1.0)]), (B, &[(0, 1.0)])]);
    bytes.pop();
    let Err(WriteError::Malformed(text)) = rig.ingest.receiver().remote_write(&compress(&bytes)) else {
        panic!()
    };
    assert!(text.contains("at byte"), "{text}");
    let Err(WriteError::Malformed(text)) = rig.ingest.receiver().remote_write(b"\x0aplain") else { panic!() };
    assert!(text.contains("Snappy"), "{text}");
    assert!(rig.stored().is_empty());
    assert_eq!(rig.metric("vedette_ingest_remote_write_requests_total", "malformed"), 2.0);
    assert_eq!(rig.send(&[]), all(0));
}

#[test]
fn a_claim_of_size_is_refused_before_it_is_believed() {
    let rig = rig_with(Config { message_bytes_max: 1000, ..Config::default() });
    // 4 GiB less one byte, in five bytes.
    let result = rig.ingest.receiver().remote_write(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(matches!(result, Err(WriteError::TooLarge(_))), "{result:?}");
    assert!(matches!(
        rig.ingest.receiver().remote_write(&compress(&[0; 1001])),
        Err(WriteError::TooLarge(_))
    ));
    assert!(matches!(rig.ingest.receiver().remote_write(&[0xff; 20]), Err(WriteError::Malformed(_))));
}

#[test]
fn a_full_store_refuses_new_series_only() {
    let rig = rig();
    let names: Vec<_> = (0..SERIES_MAX + 5).map(|n| format!("s{n:02}")).collect();
    let labels: Vec<_> = names.iter().map(|n| [("__name__", n.as_str())]).collect();
    let series = |time_ms| labels.iter().map(move |l| (&l[..], [(time_ms, 1.0)])).collect::<Vec<_>>();
    for time_ms in [0, 10] {
        let samples = series(time_ms);
        let samples: Vec<Series<'_>> = samples.iter().map(|(l, s)| (*l, &s[..])).collect();
        let (stored, text) = refused(rig.send(&samples));
        assert_eq!(stored, SERIES_MAX as u64);
        assert!(text.contains("5 of new series beyond the limit") && text.contains("40 series"), "{text}");
    }
}

#[test]
fn a_full_disk_is_retried() {
    let rig = rig();
    rig.send(&[(A, &[(0, 1.0)])]).unwrap();
    rig.fs.set_capacity(Some(0));
    let result = rig.send(&[(A, &[(10, 2.0)]), (B, &[(10, 2.0)])]);
    assert!(
        matches!(&result, Err(WriteError::Retry(text)) if text.contains("write-ahead log")),
        "{result:?}"
    );
    rig.fs.set_capacity(None);
    assert_eq!(rig.send(&[(A, &[(10, 2.0)]), (B, &[(10, 2.0)])]), all(2));
    assert_eq!(rig.stored()[r#"a{job="x"}"#], [(0, 1.0), (10, 2.0)]);
}

#[test]
fn a_series_that_was_silent_is_found_again() {
    let rig = rig();
    rig.send(&[(A, &[(0, 1.0)]), (B, &[(0, 1.0)])]).unwrap();
    // B goes on until A is retired.
    let hour = 3_600_000;
    let mut time_ms = 0;
    while rig.tsdb.stats().head_series > 1 {
        time_ms += 60_000;
        assert!(time_ms < 100 * hour, "the store retires nothing");
        rig.clock.advance(Duration::from_secs(60));
        rig.tsdb.maintain();
        assert_eq!(rig.send(&[(B, &[(time_ms, 2.0)])]), all(1));
    }
    let parsed = rig.parsed();
    let series: &[Series<'_>] = &[(A, &[(time_ms + 5, 7.0)]), (B, &[(time_ms + 5, 8.0)])];
    assert_eq!(rig.send(series), all(2));
    assert_eq!(rig.parsed(), parsed + 1.0);
    assert_eq!(rig.stored()[r#"a{job="x"}"#], [(0, 1.0), (time_ms + 5, 7.0)]);
    assert_eq!(rig.send(&[(A, &[(time_ms + 6, 7.0)])]), all(1));
    assert_eq!(rig.parsed(), parsed + 1.0);
}

fn whole_histogram(count: u64) -> NativeHistogram {
    NativeHistogram {
        sum: count as f64,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        counts: HistogramCounts::Integer {
            count,
            zero_count: 0,
            positive: vec![count - 1, 1],
            negative: Vec::new(),
        },
        ..NativeHistogram::stale()
    }
}

#[test]
fn histograms_exemplars_and_metadata_are_stored() {
    let rig = rig();
    let metadata =
        MetricMetadata { family: "a".into(), kind: MetricKind::Gauge, unit: "s".into(), help: "A.".into() };
    let sound = whole_histogram(5);
    let broken =
        NativeHistogram { schema: CUSTOM_BUCKETS_SCHEMA, custom_bounds: vec![2.0, 1.0], ..sound.clone() };
    let mut encoder = Encoder::default();
    let labels = Labels::from_pairs([("trace_id", "1")]);
    let exemplar = Exemplar { labels, value: 1.0, time_ms: START_MS - 5 };
    encoder.begin_series(A.iter().copied()).sample(START_MS, 1.0).exemplar(&exemplar).end_series();
    encoder
        .begin_series(B.iter().copied())
        .histogram(START_MS, &sound)
        .histogram(START_MS, &broken)
        .histogram(START_MS + 10, &NativeHistogram::stale())
        .end_series();
    encoder.metadata(&metadata);
    let request = compress(encoder.message());
    for attempt in 1..=2 {
        let written = rig.ingest.receiver().remote_write(&request).unwrap();
        assert_eq!((written.samples, written.histograms), (3, 2));
        assert_eq!(written.exemplars, u64::from(attempt == 1), "what comes again is there");
        let text = written.refused.unwrap();
        assert!(text.contains("1 that are no valid histograms") && text.contains("custom bounds"), "{text}");
        assert_eq!(rig.metric("vedette_ingest_rejected_samples_total", "histogram"), f64::from(attempt));
    }
    assert_eq!(rig.metric("vedette_ingest_exemplars_total", ""), 1.0);
    assert_eq!(rig.metric("vedette_ingest_rejected_exemplars_total", ""), 0.0);
    assert_eq!(rig.tsdb.metadata(None, 0), [metadata]);
    let stored = rig.histograms(B);
    assert_eq!(stored.len(), 2);
    assert_eq!(stored[0], (START_MS, sound));
    assert!(stored[1].1.is_stale());
    let query = LabelQuery { matcher_sets: vec![], range: TimeRange::ALL, limit: 0 };
    assert_eq!(
        rig.tsdb.exemplars(&query).unwrap(),
        [(Labels::from_pairs(A.iter().copied()), vec![exemplar])]
    );
}

#[test]
fn histograms_and_exemplars_of_refused_series_are_counted() {
    let rig = rig();
    let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, time_ms: START_MS };
    let mut encoder = Encoder::default();
    for n in 0..SERIES_MAX + 3 {
        let n = n.to_string();
        let labels = [("__name__", "many"), ("n", n.as_str())];
        let histogram = whole_histogram(5);
        encoder.begin_series(labels).histogram(START_MS, &histogram).exemplar(&exemplar).end_series();
    }
    let mut histogram = whole_histogram(6);
    encoder.begin_series([("__name__", "many"), ("n", "1")]).histogram(START_MS, &histogram).end_series();
    histogram.sum = 7.0;
    let written = rig.ingest.receiver().remote_write(&compress(encoder.message())).unwrap();
    assert_eq!((written.histograms, written.exemplars), (SERIES_MAX as u64, SERIES_MAX as u64));
    let text = written.refused.unwrap();
    assert!(text.contains("3 of new series beyond the limit") && text.contains("another value"), "{text}");
    assert_eq!(rig.metric("vedette_ingest_rejected_samples_total", "series_limit"), 3.0);
    assert_eq!(rig.metric("vedette_ingest_rejected_samples_total", "out_of_order"), 1.0);
    assert_eq!(rig.metric("vedette_ingest_rejected_exemplars_total", ""), 3.0);
}

#[test]
fn histograms_and_exemplars_of_retired_series_are_stored_again() {
    let rig = rig();
    let send = |time_ms: i64| {
        let exemplar = Exemplar { labels: Labels::empty(), value: 1.0, time_ms: START_MS + time_ms };
        let mut encoder = Encoder::default();
        let series = encoder.begin_series(A.iter().copied());
        series.histogram(START_MS + time_ms, &whole_histogram(5)).exemplar(&exemplar).end_series();
        rig.ingest.receiver().remote_write(&compress(encoder.message())).unwrap()
    };
    assert_eq!((send(0).histograms, rig.parsed()), (1, 1.0));
    let mut time_ms = 0;
    while rig.tsdb.stats().head_series != 1 || rig.stored().len() != 2 {
        time_ms += 600_000;
        assert!(time_ms < 360_000_000, "the store retires nothing");
        rig.clock.advance(Duration::from_secs(600));
        rig.tsdb.maintain();
        assert_eq!(rig.send(&[(B, &[(time_ms, 2.0)])]), all(1));
    }
    let written = send(time_ms);
    assert_eq!((written.histograms, written.exemplars, written.refused), (1, 1, None));
    assert_eq!(rig.histograms(A).len(), 2);
}

#[test]
fn requests_run_side_by_side() {
    let rig = rig();
    std::thread::scope(|scope| {
        for sender in 0..4 {
            let rig = &rig;
            scope.spawn(move || {
                let names: Vec<_> = (0..8).map(|n| format!("s{sender}_{n}")).collect();
                let labels: Vec<_> = names.iter().map(|n| [("__name__", n.as_str())]).collect();
                for time_ms in 0..50 {
                    let samples = [(time_ms, time_ms as f64)];
                    let series: Vec<Series<'_>> = labels.iter().map(|l| (&l[..], &samples[..])).collect();
                    assert_eq!(rig.send(&series), all(8));
                }
            });
        }
    });
    let stored = rig.stored();
    assert_eq!(stored.len(), 32);
    assert!(stored.values().all(|samples| samples.len() == 50));
    assert_eq!(rig.parsed(), 32.0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever order series, times and repeats come in: the store holds what a map holds in which
    /// the first value of a time stays.
    #[test]
    fn the_store_holds_what_a_map_holds(
        requests in prop::collection::vec(prop::collection::vec((0..6_usize, 0..40_i64), 0..30), 1..8),
    ) {
        let rig = rig();
        let names = ["m0", "m1", "m2", "m3", "m4", "m5"];
        let mut model: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        for (n, request) in requests.iter().enumerate() {
            // Each sample in a series of its own, sorted by time, as one sender does.
            let mut request = request.clone();
            request.sort_by_key(|(_, time)| *time);
            let labels = names.map(|name| [("__name__", name)]);
            let samples: Vec<_> = request.iter().map(|(_, t)| [(n as i64 * 25 + t, *t as f64)]).collect();
            let series: Vec<Series<'_>> =
                request.iter().zip(&samples).map(|((name, _), s)| (&labels[*name][..], &s[..])).collect();
            let written = rig.send(&series).unwrap();
            let mut stored = 0;
            for ((name, _), [sample]) in request.iter().zip(&samples) {
                let held = model.entry(names[*name].to_owned()).or_default();
                stored += u64::from(*held.entry(sample.0).or_insert(sample.1) == sample.1);
            }
            prop_assert_eq!(written.samples, stored);
            prop_assert_eq!(written.refused.is_some(), stored < request.len() as u64);
        }
        let model: BTreeMap<String, Vec<_>> =
            model.into_iter().map(|(name, samples)| (name, samples.into_iter().collect())).collect();
        prop_assert_eq!(rig.stored(), model);
    }

    #[test]
    fn garbage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let rig = rig();
        let mut broken = message(&[(A, &[(0, 1.0), (5, 2.0)]), (B, &[(0, 1.0)])]);
        for (place, byte) in changes {
            let place = place.index(broken.len());
            broken[place] = byte;
        }
        let _ = rig.ingest.receiver().remote_write(&compress(&broken));
        let _ = rig.ingest.receiver().remote_write(&bytes);
        let mut body = compress(&broken);
        body.truncate(bytes.len());
        let _ = rig.ingest.receiver().remote_write(&body);
    }
}
