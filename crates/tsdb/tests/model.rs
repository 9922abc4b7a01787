//! The store against a sorted map, through random appends, sealing, merging, retention, kills.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use support::{
    Machine, Model, More, START_MS, append, everything, expected, flat, histogram, more, read, read_growing,
    read_more, series_labels,
};
use vedette_model::{
    Exemplar, LabelQuery, Labels, MatchOp, Matcher, MetricKind, MetricMetadata, MetricReader, SampleBuffer,
    Select, Thinning, TimeRange, stale_nan,
};
use vedette_sys::{Clock, Fs};
use vedette_tsdb::{
    Appended, ExemplarSample, HistogramSample, RefRow, RefusedMetric, SeriesLimit, SeriesRef, Tsdb,
};

#[derive(Debug, Clone)]
enum Op {
    /// A row of some series, this many milliseconds from the present.
    Append {
        offset_ms: i64,
        samples: Vec<(usize, f64)>,
        start_ms: i64,
    },
    Histograms {
        offset_ms: i64,
        samples: Vec<(usize, u64)>,
        start_ms: i64,
    },
    /// Series, time, value, trace.
    Exemplars(Vec<(usize, i64, i64, u8)>),
    Tick(u64),
    Maintain,
    /// Ends the process; the next one has this many shards.
    Kill(usize),
    Read {
        matchers: Vec<Matcher>,
        start: i64,
        length: i64,
    },
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0i64..5).prop_map(|v| v as f64),
        2 => (0i64..5000).prop_map(|v| v as f64 / 100.0),
        1 => any::<f64>(),
        1 => Just(stale_nan()),
        1 => Just(-0.0),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![12 => Just(0i64), 3 => -40_000i64..3_000, 1 => -4_000i64..0, 1 => Just(700_000i64), 1 => Just(-4_000_000i64)].boxed();
    let samples = prop_oneof![
        4 => proptest::collection::vec(any_value(), 8)
            .prop_map(|v| v.into_iter().enumerate().collect::<Vec<_>>()),
        1 => proptest::collection::vec((0usize..12, any_value()), 0..6),
    ];
    // Some series have floats only, some histograms only, some both.
    let histograms = proptest::collection::vec((6usize..12, 0u64..5), 0..5);
    let start = prop_oneof![3 => Just(0i64), 2 => Just(START_MS - 1), 1 => Just(-5i64)];
    let op = prop_oneof![
        Just(MatchOp::Equal),
        Just(MatchOp::NotEqual),
        Just(MatchOp::Regex),
        Just(MatchOp::NotRegex)
    ];
    let matcher = (
        op,
        proptest::sample::select(vec!["__name__", "n", "group", "absent"]),
        proptest::sample::select(vec!["", "even", "odd", "3", "1|2|11", "a", ".*", ".+", "[ab]?", "1.*"]),
    )
        .prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("valid"));
    prop_oneof![
        12 => (offset.clone(), samples, start.clone())
            .prop_map(|(offset_ms, samples, start_ms)| Op::Append { offset_ms, samples, start_ms }),
        6 => (offset, histograms, start)
            .prop_map(|(offset_ms, samples, start_ms)| Op::Histograms { offset_ms, samples, start_ms }),
        3 => proptest::collection::vec((0usize..6, -25_000i64..500, 0i64..2, 0u8..3), 1..4)
            .prop_map(Op::Exemplars),
        10 => (1u64..4).prop_map(Op::Tick),
        1 => (20u64..60).prop_map(Op::Tick),
        6 => Just(Op::Maintain),
        1 => (1usize..4).prop_map(Op::Kill),
        2 => (proptest::collection::vec(matcher, 0..3), -20_000i64..400_000, 0i64..100_000)
            .prop_map(|(matchers, start, length)| Op::Read { matchers, start, length }),
    ]
}

/// `VEDETTE_MODEL_CASES` sets the number of cases for a longer run.
fn cases() -> u32 {
    std::env::var("VEDETTE_MODEL_CASES").ok().and_then(|s| s.parse().ok()).unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equals_a_sorted_map(
        ops in proptest::collection::vec(any_op(), 1..250),
        retention_s in prop_oneof![Just(3600i64), Just(60)],
        window_s in prop_oneof![3 => Just(30i64), 1 => Just(0)],
    ) {
        let mut machine = Machine::new(1);
        machine.config.retention_ms = retention_s * 1000;
        machine.config.out_of_order_ms = window_s * 1000;
        let mut store = machine.open().expect("opens").0;
        let mut model = Naive::default();
        for op in ops {
            match op {
                Op::Append { offset_ms, samples, start_ms } => {
                    let samples: Vec<_> = samples
                        .into_iter()
                        .map(|(n, value)| Naively { n, bits: value.to_bits(), histogram: None, start_ms })
                        .collect();
                    model.append(&machine, &store, offset_ms, samples)?;
                }
                Op::Histograms { offset_ms, samples, start_ms } => {
                    let samples: Vec<_> = samples
                        .into_iter()
                        .map(|(n, value)| {
                            let bits = histogram(value).sum.to_bits();
                            Naively { n, bits, histogram: Some(value), start_ms }
                        })
                        .collect();
                    model.append(&machine, &store, offset_ms, samples)?;
                }
                Op::Exemplars(exemplars) => {
                    for (n, offset_ms, value, trace) in exemplars {
                        let labels = Labels::from_pairs([("trace_id", trace.to_string())]);
                        let time_ms = machine.now_ms() + offset_ms;
                        let exemplar = Exemplar { labels, value: value as f64, time_ms };
                        model.append_exemplar(&store, n, exemplar)?;
                    }
                }
                Op::Tick(seconds) => machine.tick(seconds),
                Op::Maintain => store.maintain(),
                Op::Kill(shards) => {
                    drop(store);
                    machine.config.shards = shards;
                    machine.fs.restart();
                    let (opened, recovery) = machine.open().expect("opens again");
                    prop_assert_eq!(&recovery.notes, &Vec::<String>::new());
                    prop_assert_eq!(recovery.dropped_records, 0);
                    store = opened;
                }
                Op::Read { matchers, start, length } => {
                    let start_ms = START_MS + start;
                    let range = TimeRange { start_ms, end_ms: start_ms + length };
                    let oldest = machine.now_ms() - machine.config.retention_ms;
                    check(&store, &model.samples, &matchers, range, oldest)?;
                    model.check_exemplars(&store, &matchers, range, oldest)?;
                    check_thinned(&store, &matchers, TimeRange { start_ms, end_ms: i64::MAX })?;
                }
            }
        }
        let oldest = machine.now_ms() - machine.config.retention_ms;
        check(&store, &model.samples, &[], TimeRange::ALL, oldest)?;
        check_labels(&store, &model, oldest)?;
        check_thinned(&store, &[], TimeRange::ALL)?;
        model.check_more(&store, oldest)?;
        model.check_exemplars(&store, &[], TimeRange::ALL, oldest)?;
        prop_assert_eq!(store.stats().problems, Vec::<String>::new());
    }
}

/// All that was ever stored.
#[derive(Default)]
struct Naive {
    samples: Model,
    more: More,
    exemplars: BTreeMap<Labels, Vec<Exemplar>>,
}

/// A sample that is appended.
struct Naively {
    n: usize,
    bits: u64,
    histogram: Option<u64>,
    start_ms: i64,
}

impl Naive {
    /// Appends samples of one time, all of one kind, to the store and here.
    fn append(
        &mut self,
        machine: &Machine,
        store: &Tsdb,
        offset_ms: i64,
        mut samples: Vec<Naively>,
    ) -> Result<(), TestCaseError> {
        let time = machine.now_ms() + offset_ms;
        let stats = store.stats();
        let sealed = stats.sealed_until_ms.unwrap_or(i64::MIN);
        let newest = stats.last_ms.unwrap_or(i64::MIN).min(machine.now_ms());
        let late_from = newest.saturating_sub(machine.config.out_of_order_ms);
        let has_window = machine.config.out_of_order_ms > 0;
        // Of what is sealed the store does not see at once that it is there.
        samples.retain(|s| {
            time >= sealed || self.samples.get(&series_labels(s.n)).is_none_or(|m| !m.contains_key(&time))
        });
        let appended = append_naively(store, time, &samples);
        let mut wanted = Appended::default();
        for Naively { n, bits, histogram: value, start_ms } in samples {
            let labels = series_labels(n);
            let kept = self.samples.entry(labels.clone()).or_default();
            let is_late = time < sealed || kept.last_key_value().is_some_and(|(t, _)| time <= *t);
            let told = value.map(histogram);
            let text = more(told.as_ref(), start_ms);
            let before = self.more.get(&(labels.clone(), time));
            // A start timestamp makes no other sample of it.
            let kind = |text: Option<&String>| {
                text.filter(|t| t.starts_with("Some")).map(|t| t.split(" since ").next().map(str::to_owned))
            };
            match kept.get(&time) {
                _ if offset_ms > 600_000 => wanted.future += 1,
                _ if offset_ms < -machine.config.retention_ms => wanted.too_old += 1,
                Some(there) if *there == bits && kind(before) == kind(text.as_ref()) => wanted.duplicate += 1,
                Some(_) => wanted.conflicting += 1,
                None if is_late && !has_window && time >= sealed => wanted.out_of_order += 1,
                None if is_late && (!has_window || time < late_from) => wanted.too_old += 1,
                None => {
                    kept.insert(time, bits);
                    self.more.extend(text.map(|text| ((labels, time), text)));
                    wanted.taken += 1;
                }
            }
        }
        prop_assert_eq!(appended, wanted);
        Ok(())
    }

    /// Appends an exemplar to the store, and here if it was taken.
    fn append_exemplar(&mut self, store: &Tsdb, n: usize, exemplar: Exemplar) -> Result<(), TestCaseError> {
        let reference = store.series(&series_labels(n)).expect("there is room");
        let sample = ExemplarSample { reference, exemplar: &exemplar };
        let appended = store.append_exemplars(&[sample]).expect("appends");
        let kept = self.exemplars.entry(series_labels(n)).or_default();
        let is_newer = kept.iter().all(|k| k.time_ms < exemplar.time_ms);
        let sealed = store.stats().sealed_until_ms.unwrap_or(i64::MIN);
        if appended.taken == 1 {
            if !kept.contains(&exemplar) {
                kept.push(exemplar);
            }
        } else if appended.duplicate == 1 {
            prop_assert!(kept.contains(&exemplar), "{:?} {:?}", exemplar, kept);
        } else if appended.out_of_order == 1 {
            prop_assert!(!is_newer, "{:?} {:?}", exemplar, kept);
        } else {
            prop_assert_eq!(appended, Appended { too_old: 1, ..Appended::default() });
            prop_assert!(exemplar.time_ms < sealed - 8_000);
        }
        Ok(())
    }

    /// Young histograms and start timestamps are there as they came, and no others.
    fn check_more(&self, store: &Tsdb, oldest_ms: i64) -> Result<(), TestCaseError> {
        let found = read_more(store).expect("reads");
        let young = |more: &More| -> More {
            more.iter().filter(|((_, t), _)| *t >= oldest_ms).map(|(k, v)| (k.clone(), v.clone())).collect()
        };
        prop_assert_eq!(young(&found), young(&self.more));
        prop_assert!(found.iter().all(|(key, text)| self.more.get(key) == Some(text)));
        Ok(())
    }

    fn check_exemplars(
        &self,
        store: &Tsdb,
        matchers: &[Matcher],
        range: TimeRange,
        oldest_ms: i64,
    ) -> Result<(), TestCaseError> {
        let query = LabelQuery { matcher_sets: vec![matchers.to_vec()], range, limit: 0 };
        let found = store.exemplars(&query).expect("reads");
        prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        let mut all = BTreeSet::new();
        for (labels, exemplars) in found {
            let kept = &self.exemplars[&labels];
            prop_assert!(exemplars.is_sorted_by(|a, b| a.time_ms <= b.time_ms));
            for exemplar in exemplars {
                prop_assert!(kept.contains(&exemplar) && range.contains(exemplar.time_ms));
                prop_assert!(all.insert(format!("{labels} {exemplar:?}")), "{:?} comes twice", exemplar);
            }
        }
        for (labels, kept) in &self.exemplars {
            let asked = matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")));
            for exemplar in kept.iter().filter(|e| asked && range.contains(e.time_ms)) {
                let text = format!("{labels} {exemplar:?}");
                prop_assert!(exemplar.time_ms < oldest_ms || all.contains(&text), "{} is missing", text);
            }
        }
        Ok(())
    }
}

fn append_naively(store: &Tsdb, time_ms: i64, samples: &[Naively]) -> Appended {
    let reference = |s: &Naively| store.series(&series_labels(s.n)).expect("there is room");
    if samples.iter().any(|s| s.histogram.is_some()) {
        let histograms: Vec<_> = samples.iter().map(|s| histogram(s.histogram.unwrap_or(0)).into()).collect();
        let with_refs = samples.iter().zip(&histograms).map(|(s, histogram)| HistogramSample {
            reference: reference(s),
            time_ms,
            start_ms: s.start_ms,
            histogram,
        });
        return store.append_histograms(&with_refs.collect::<Vec<_>>()).expect("appends");
    }
    let refs: Vec<SeriesRef> = samples.iter().map(reference).collect();
    let values: Vec<f64> = samples.iter().map(|s| f64::from_bits(s.bits)).collect();
    let starts: Vec<i64> = samples.iter().map(|s| s.start_ms).collect();
    let row = RefRow::new(time_ms, &refs, &values);
    let row = if starts.iter().any(|&s| s != 0) { row.with_starts(&starts) } else { row };
    store.append(&[row]).expect("appends")
}

/// Everything within retention is there, and nothing that was never stored.
fn check(
    store: &vedette_tsdb::Tsdb,
    model: &Model,
    matchers: &[Matcher],
    range: TimeRange,
    oldest_ms: i64,
) -> Result<(), TestCaseError> {
    let found = read(store, &Select { matchers: matchers.to_vec(), range, ..everything() }).expect("reads");
    let all = expected(model, matchers, range);
    let young = TimeRange { start_ms: range.start_ms.max(oldest_ms), ..range };
    prop_assert_eq!(expected(&found, &[], young), expected(model, matchers, young));
    prop_assert!(flat(&found).is_subset(&flat(&all)));
    Ok(())
}

/// What is left of a window when samples stand for others tells the same as all of it.
fn check_thinned(store: &Tsdb, matchers: &[Matcher], range: TimeRange) -> Result<(), TestCaseError> {
    let set = store.select(&Select { matchers: matchers.to_vec(), range, ..everything() }).expect("selects");
    let ends = |b: &SampleBuffer| {
        let at = |i: usize| b.times_ms.get(i).map(|time_ms| (*time_ms, b.values[i].to_bits()));
        [at(0), at(b.len().wrapping_sub(1))]
    };
    let best = |b: &SampleBuffer, better: fn(f64, f64) -> f64| b.values.iter().copied().reduce(better);
    let falls = |b: &SampleBuffer| {
        let pairs = b.values.windows(2).filter(|pair| pair[1] < pair[0]);
        pairs.map(|pair| (pair[0].to_bits(), pair[1].to_bits())).collect::<Vec<_>>()
    };
    for series in 0..set.len() {
        let mut whole = SampleBuffer::default();
        set.read(series, range, &mut whole).expect("reads");
        for thinning in ALL_THINNINGS {
            let mut thin = SampleBuffer::default();
            let left_out = set.read_thinned(series, range, thinning, &mut thin).expect("reads");
            prop_assert_eq!(thin.len() as u64 + left_out, whole.len() as u64, "{:?}", thinning);
            prop_assert!(thin.times_ms.is_sorted_by(|a, b| a < b), "{:?}", thinning);
            prop_assert_eq!(&thin.histograms.len(), &whole.histograms.len(), "{:?}", thinning);
            match thinning {
                Thinning::First => prop_assert_eq!(ends(&thin)[0], ends(&whole)[0]),
                Thinning::Last => prop_assert_eq!(ends(&thin)[1], ends(&whole)[1]),
                Thinning::Least => prop_assert_eq!(
                    best(&thin, f64::min).map(f64::to_bits),
                    best(&whole, f64::min).map(f64::to_bits)
                ),
                Thinning::Greatest => prop_assert_eq!(
                    best(&thin, f64::max).map(f64::to_bits),
                    best(&whole, f64::max).map(f64::to_bits)
                ),
                Thinning::Ends => prop_assert_eq!(ends(&thin), ends(&whole)),
                Thinning::EndsOfGrowth => {
                    prop_assert_eq!((ends(&thin), falls(&thin)), (ends(&whole), falls(&whole)));
                }
                Thinning::Any => prop_assert_eq!(thin.is_empty(), whole.is_empty()),
            }
        }
    }
    Ok(())
}

const ALL_THINNINGS: [Thinning; 7] = [
    Thinning::First,
    Thinning::Last,
    Thinning::Least,
    Thinning::Greatest,
    Thinning::Ends,
    Thinning::EndsOfGrowth,
    Thinning::Any,
];

fn check_labels(store: &Tsdb, naive: &Naive, oldest_ms: i64) -> Result<(), TestCaseError> {
    let model = &naive.samples;
    let young = TimeRange { start_ms: oldest_ms, end_ms: i64::MAX };
    let sets = [vec![Matcher::equal("group", "a")], vec![Matcher::equal("n", "3")]];
    let query = LabelQuery { matcher_sets: sets.to_vec(), range: TimeRange::ALL, limit: 0 };
    let wanted = |model: &Model| -> BTreeSet<_> {
        sets.iter().flat_map(|m| expected(model, m, young).into_keys()).collect()
    };
    let series: BTreeSet<_> = MetricReader::series(store, &query).expect("lists").into_iter().collect();
    let (wanted, all) = (wanted(model), series.clone());
    prop_assert!(wanted.is_subset(&series));
    // A segment tells of a series that it has only exemplars of, too.
    prop_assert!(all.iter().all(|l| model.contains_key(l) || naive.exemplars.contains_key(l)));
    let names: BTreeSet<String> =
        all.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>()).collect();
    prop_assert_eq!(store.label_names(&query).expect("lists"), names.into_iter().collect::<Vec<_>>());
    let values: BTreeSet<String> = all.iter().filter_map(|l| Some(l.get("n")?.to_owned())).collect();
    prop_assert_eq!(store.label_values("n", &query).expect("lists"), values.into_iter().collect::<Vec<_>>());
    Ok(())
}

#[test]
fn samples_move_through_head_segments_and_merged_segments_unchanged() {
    let machine = Machine::new(2);
    let mut store = machine.open().unwrap().0;
    let mut model = Model::new();
    for second in 0..300i64 {
        machine.tick(1);
        let samples: Vec<(usize, f64)> = (0..9).map(|n| (n, (second * n as i64) as f64 / 4.0)).collect();
        assert_eq!(append(&store, machine.now_ms(), &samples).unwrap().taken, 9);
        for (n, v) in samples {
            model.entry(series_labels(n)).or_default().insert(machine.now_ms(), v.to_bits());
        }
        store.maintain();
        if second == 150 {
            drop(store);
            store = machine.open().unwrap().0;
        }
    }
    assert_eq!(read(&store, &everything()).unwrap(), model);
    let stats = store.stats();
    let spans = store.metrics();
    assert!(stats.segments >= 4 && stats.segments <= 10, "{stats:?}");
    assert!(spans.compactions.get() >= 5 && spans.seals.get() >= 15, "{spans:?}");
    assert!(stats.wal_bytes < 40_000, "the log is not cut: {stats:?}");
    assert!(stats.segment_bytes < 300 * 9 * 8, "{stats:?}");
}

#[test]
fn a_selection_stays_good_while_the_head_is_sealed_and_merged() {
    let machine = Machine::new(3);
    let store = machine.open().unwrap().0;
    let mut model = Model::new();
    let mut add = |store: &vedette_tsdb::Tsdb, seconds: u64| {
        for _ in 0..seconds {
            machine.tick(1);
            append(store, machine.now_ms(), &[(1, 5.0), (2, 6.5)]).unwrap();
            for (n, v) in [(1, 5.0f64), (2, 6.5)] {
                model.entry(series_labels(n)).or_default().insert(machine.now_ms(), v.to_bits());
            }
        }
        model.clone()
    };
    let before = add(&store, 11);
    let range = TimeRange { start_ms: START_MS, end_ms: machine.now_ms() };
    let set = store.select(&Select { range, ..everything() }).unwrap();
    for _ in 0..12 {
        add(&store, 9);
        store.maintain();
    }
    assert!(store.metrics().compactions.get() > 1);
    for i in 0..set.len() {
        let mut out = vedette_model::SampleBuffer::default();
        set.read(i, range, &mut out).unwrap();
        let wanted: Vec<i64> = before[&set.labels(i)].keys().copied().collect();
        assert_eq!(out.times_ms, wanted);
    }
}

#[test]
fn idle_series_leave_and_come_back() {
    let machine = Machine::new(4);
    let store = machine.open().unwrap().0;
    let gone = store.series(&series_labels(7)).unwrap();
    append(&store, machine.now_ms(), &[(7, 1.0), (8, 1.0)]).unwrap();
    for _ in 0..60 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(8, 1.0)]).unwrap();
        store.maintain();
    }
    assert_eq!(store.stats().head_series, 1);
    let refs = [gone];
    let row = RefRow::new(machine.now_ms() + 1, &refs, &[2.0]);
    assert_eq!(store.append(&[row]).unwrap().unknown, [gone]);
    let again = store.series(&series_labels(7)).unwrap();
    assert_ne!(again, gone);
    assert_eq!(store.append(&[RefRow { refs: &[again], ..row }]).unwrap().taken, 1);
    let model = read(&store, &everything()).unwrap();
    assert_eq!(model[&series_labels(7)].len(), 2);
}

#[test]
fn limits_refuse_what_is_new_and_keep_what_is_there() {
    let mut machine = Machine::new(5);
    machine.config.series_max = 2;
    let store = machine.open().unwrap().0;
    append(&store, machine.now_ms(), &[(1, 1.0), (2, 1.0)]).unwrap();
    let error = append(&store, machine.now_ms() + 1, &[(3, 1.0)]).unwrap_err();
    let wanted = RefusedMetric { name: "odd".to_owned(), limit: SeriesLimit::Store, refused: 1 };
    assert!(
        matches!(&error, vedette_tsdb::Error::SeriesLimit { limit: SeriesLimit::Store, max: 2, name } if name == "odd"),
        "{error}"
    );
    assert_eq!(store.stats().refused_most, [wanted]);
    assert_eq!(append(&store, machine.now_ms() + 1, &[(1, 1.0), (2, 1.0)]).unwrap().taken, 2);
    assert_eq!(store.stats().series_refused, 1);
    assert!(store.stats().to_part().message.contains("refused"));
    let long = vedette_model::Labels::from_pairs([("a", "x".repeat(100_000))]);
    assert!(matches!(store.series(&long), Err(vedette_tsdb::Error::Invalid { .. })));
    assert!(matches!(
        store.series(&vedette_model::Labels::empty()),
        Err(vedette_tsdb::Error::Invalid { .. })
    ));
    let reference = store.series(&series_labels(1)).unwrap();
    let refs = [reference];
    let row = RefRow::new(machine.now_ms() + 2, &refs, &[]);
    assert!(matches!(store.append(&[row]), Err(vedette_tsdb::Error::Invalid { .. })));
    let select = Select { series_max: 1, ..everything() };
    assert!(matches!(store.select(&select), Err(vedette_model::ReadError::TooManySeries { max: 1 })));
}

#[test]
fn memory_metrics_and_targets_have_limits_of_their_own() {
    let mut machine = Machine::new(14);
    machine.config.head_bytes_max = 400_000;
    machine.config.metric_series_max = 300;
    machine.config.target_series_max = 50;
    machine.config.tenant_series_max = 5;
    machine.config.tenant_label = "org".to_owned();
    let store = machine.open().unwrap().0;
    let labels = |metric: &str, instance: usize, n: usize| {
        let (instance, n) = (instance.to_string(), n.to_string());
        Labels::from_pairs([("__name__", metric), ("job", "j"), ("instance", &instance), ("n", &n)])
    };
    let limit_of = |labels: &Labels| match store.series(labels) {
        Ok(_) => None,
        Err(vedette_tsdb::Error::SeriesLimit { limit, .. }) => Some(limit),
        Err(other) => panic!("{other}"),
    };
    let count = |limits: &[Option<SeriesLimit>], limit| limits.iter().filter(|l| **l == limit).count();
    let target: Vec<_> = (0..60).map(|n| limit_of(&labels("a", 0, n))).collect();
    assert_eq!(count(&target, None), 50);
    assert_eq!(count(&target, Some(SeriesLimit::Target)), 10);
    let metric: Vec<_> = (0..300).map(|n| limit_of(&labels("a", 1 + n % 10, n))).collect();
    assert_eq!(count(&metric, None), 250);
    assert_eq!(count(&metric, Some(SeriesLimit::Metric)), 50);
    let of_tenant = |n: usize| Labels::from_pairs([("__name__", "t"), ("org", "x"), ("n", &n.to_string())]);
    let tenant: Vec<_> = (0..7).map(|n| limit_of(&of_tenant(n))).collect();
    assert_eq!((count(&tenant, None), count(&tenant, Some(SeriesLimit::Tenant))), (5, 2));
    let memory: Vec<_> =
        (0..5000).map(|n| limit_of(&labels(&format!("m{}", n / 100), 100 + n / 40, n))).collect();
    let room = count(&memory, None);
    assert!((500..2000).contains(&room), "{room}");
    assert_eq!(count(&memory, Some(SeriesLimit::Memory)), 5000 - room);
    // What is there goes on, and what ends makes room.
    let there = store.series(&labels("a", 0, 1)).unwrap();
    let stats = store.stats();
    assert!(stats.head_bytes < 600_000, "{stats:?}");
    assert_eq!(stats.series_refused, 62 + 5000 - room as u64);
    assert_eq!(stats.refused_most.len(), 10);
    assert!(stats.to_part().message.contains("m"), "{:?}", stats.to_part());
    for _ in 0..60 {
        machine.tick(1);
        store.append(&[RefRow::new(machine.now_ms(), &[there], &[1.0])]).unwrap();
        store.maintain();
    }
    assert_eq!(store.stats().head_series, 1);
    assert_eq!(limit_of(&labels("new", 7, 7)), None);
}

#[test]
fn several_rows_of_one_append_are_judged_one_after_the_other() {
    let machine = Machine::new(6);
    let store = machine.open().unwrap().0;
    let (a, b) = (store.series(&series_labels(1)).unwrap(), store.series(&series_labels(2)).unwrap());
    let now = machine.now_ms();
    let row = RefRow::new;
    let (refs, twice) = ([a, b], [a, a]);
    let appended = store
        .append(&[
            row(now, &refs, &[1.0, 2.0]),
            row(now, &refs, &[1.0, 3.0]),
            row(now + 5, &twice, &[1.0, 1.0]),
            row(now + 4, &refs, &[9.0, 9.0]),
            row(now + 4, &refs, &[9.0, 8.0]),
        ])
        .unwrap();
    let wanted = Appended { taken: 5, duplicate: 3, conflicting: 2, ..Appended::default() };
    assert_eq!(appended, wanted);
    drop(store);
    let model = read(&machine.open().unwrap().0, &everything()).unwrap();
    let times: Vec<i64> = model[&series_labels(1)].keys().copied().collect();
    assert_eq!(times, [now, now + 4, now + 5]);
    assert_eq!(
        model[&series_labels(2)].values().copied().collect::<Vec<_>>(),
        [2.0f64.to_bits(), 9.0f64.to_bits()]
    );
}

#[test]
fn a_log_of_an_earlier_release_is_refused_by_name() {
    let machine = Machine::new(11);
    drop(machine.open().unwrap());
    machine.fs.put("data/wal/0000000001.log".as_ref(), vec![1, 2, 3]);
    let Err(error) = machine.open() else { panic!("opened") };
    assert!(
        matches!(&error, vedette_tsdb::Error::Older { path } if path.ends_with("0000000001.log")),
        "{error}"
    );
}

#[test]
fn logs_of_shards_that_are_no_more_are_kept_until_they_are_sealed() {
    let mut machine = Machine::new(12);
    machine.config.shards = 4;
    let store = machine.open().unwrap().0;
    let row: Vec<(usize, f64)> = (0..20).map(|n| (n, n as f64)).collect();
    append(&store, machine.now_ms(), &row).unwrap();
    drop(store);
    let before = machine.fs.list("data/wal/3".as_ref()).unwrap();
    machine.config.shards = 1;
    for seconds in [1, 1, 20] {
        machine.tick(seconds);
        let (store, recovery) = machine.open().unwrap();
        assert!(recovery.samples >= 20, "{recovery:?}");
        append(&store, machine.now_ms(), &row).unwrap();
        assert!(machine.fs.exists(&before[0]));
        assert_eq!(read(&store, &everything()).unwrap().len(), 20);
        if seconds == 20 {
            store.maintain();
        }
    }
    assert!(!machine.fs.exists(&before[0]));
    let store = machine.open().unwrap().0;
    let found = read(&store, &everything()).unwrap();
    assert!(found.len() == 20 && found.values().all(|samples| samples.len() == 4), "{found:?}");
}

#[test]
fn late_samples_are_sealed_into_a_segment_of_their_own() {
    let machine = Machine::new(13);
    let mut store = machine.open().unwrap().0;
    let mut model = Model::new();
    let start = machine.now_ms();
    for second in 0..60i64 {
        machine.tick(1);
        // In order, a little late, and later than what is sealed.
        for (n, back) in [(1, 0), (2, 0), (2, 700), (1, 20_500), (3, 29_900)] {
            let time = start + second * 1000 + 1000 - back;
            let appended = append(&store, time, &[(n, second as f64)]).unwrap();
            assert_eq!(appended, Appended { taken: 1, ..Appended::default() }, "{second} {n} {back}");
            model.entry(series_labels(n)).or_default().insert(time, (second as f64).to_bits());
        }
        store.maintain();
        assert_eq!(read(&store, &everything()).unwrap(), model, "second {second}");
        if second % 17 == 0 {
            drop(store);
            store = machine.open().unwrap().0;
        }
    }
    let too_late = append(&store, machine.now_ms() - 30_001, &[(1, 1.0)]).unwrap();
    assert_eq!(too_late.too_old, 1);
}

#[test]
fn late_samples_on_both_sides_of_a_window_are_merged_into_both() {
    let mut machine = Machine::new(15);
    machine.config.out_of_order_ms = 200_000;
    let store = machine.open().unwrap().0;
    let span = *machine.config.compaction_spans_ms.last().unwrap();
    let boundary = (machine.now_ms() + 20_000).div_euclid(span) * span + span;
    let mut model = Model::new();
    let mut put = |time: i64, n: usize| {
        assert_eq!(append(&store, time, &[(n, time as f64)]).unwrap().taken, 1, "{time}");
        model.entry(series_labels(n)).or_default().insert(time, (time as f64).to_bits());
    };
    while machine.now_ms() < boundary + span + 20_000 {
        machine.tick(1);
        put(machine.now_ms(), 1);
        store.maintain();
    }
    // In one seal, of one series.
    (-9..9).for_each(|i| put(boundary + i * 1000 + 500, 2));
    for _ in 0..2 * span / 1000 {
        machine.tick(1);
        put(machine.now_ms(), 1);
        store.maintain();
    }
    store.merge_all().unwrap();
    assert_eq!(read(&store, &everything()).unwrap(), model);
    let stats = store.stats();
    let windows =
        (stats.last_ms.unwrap().div_euclid(span) - stats.first_ms.unwrap().div_euclid(span)) as u64 + 1;
    assert!(stats.segments <= windows, "{} segments in {windows} windows", stats.segments);
}

#[test]
fn exemplars_are_kept_where_no_sample_is() {
    let machine = Machine::new(16);
    let mut store = machine.open().unwrap().0;
    let exemplar =
        Exemplar { labels: Labels::from_pairs([("trace_id", "a")]), value: 1.0, time_ms: machine.now_ms() };
    let reference = store.series(&series_labels(1)).unwrap();
    let sample = ExemplarSample { reference, exemplar: &exemplar };
    assert_eq!(store.append_exemplars(&[sample]).unwrap().taken, 1);
    let query = LabelQuery { matcher_sets: vec![vec![]], range: TimeRange::ALL, limit: 0 };
    for seconds in [70, 3, 60, 70, 200] {
        machine.tick(seconds);
        append(&store, machine.now_ms(), &[(2, 1.0)]).unwrap();
        store.maintain();
        let found = store.exemplars(&query).unwrap();
        assert_eq!(found, [(series_labels(1), vec![exemplar.clone()])], "after {seconds} s");
        drop(store);
        store = machine.open().unwrap().0;
    }
    let narrow = TimeRange { start_ms: exemplar.time_ms, end_ms: exemplar.time_ms };
    store.merge_all().unwrap();
    assert_eq!(store.exemplars(&LabelQuery { range: narrow, ..query }).unwrap().len(), 1);
    assert_eq!(store.stats().first_ms, Some(START_MS + 70_000));
    let mut problems = Vec::new();
    vedette_tsdb::verify_segments(&machine.fs, "data".as_ref(), &mut |v| problems.extend(v.problems))
        .unwrap();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn metadata_survives_kills_and_the_cutting_of_the_log() {
    let machine = Machine::new(7);
    let mut store = machine.open().unwrap().0;
    let of = |family: &str, help: &str| MetricMetadata {
        family: family.to_owned(),
        kind: MetricKind::Counter,
        unit: String::new(),
        help: help.to_owned(),
    };
    store.put_metadata(&[of("b", "old"), of("a", "first")]);
    store.put_metadata(&[of("b", "new")]);
    for i in 0..80 {
        machine.tick(1);
        append(&store, machine.now_ms(), &[(1, 1.0)]).unwrap();
        store.maintain();
        if i % 30 == 0 {
            drop(store);
            store = machine.open().unwrap().0;
        }
    }
    assert_eq!(store.metadata(None, 0), [of("a", "first"), of("b", "new")]);
    assert_eq!(store.metadata(None, 1), [of("a", "first")]);
    assert_eq!(store.metadata(Some("b"), 0), [of("b", "new")]);
    assert_eq!(store.metadata(Some("c"), 0), []);
}

#[test]
fn size_removes_the_oldest_and_a_leap_of_the_clock_removes_nothing() {
    let mut machine = Machine::new(8);
    machine.config.retention_bytes = 12_000;
    let store = machine.open().unwrap().0;
    for i in 0..400 {
        machine.tick(1);
        let noise = |n: usize| (n, f64::from(i).sin() * n as f64);
        append(&store, machine.now_ms(), &(1..6).map(noise).collect::<Vec<_>>()).unwrap();
        store.maintain();
    }
    let stats = store.stats();
    assert!(stats.segment_bytes + stats.wal_bytes <= 16_000, "{stats:?}");
    assert!(store.metrics().segments_removed.get() > 0);
    assert!(stats.first_ms.unwrap() > START_MS + 60_000, "{stats:?}");
    machine.clock.advance(Duration::from_secs(10 * 365 * 86_400));
    store.maintain();
    assert_eq!(store.stats().segments, stats.segments);
    assert!(machine.clock.unix_ms() > START_MS);
}

#[test]
fn readers_in_other_threads_see_a_growing_prefix() {
    let machine = Machine::new(9);
    let store = machine.open().unwrap().0;
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while seen < 200 {
                let found = read_growing(&store, &everything()).unwrap();
                let times: Vec<i64> =
                    found.get(&series_labels(1)).into_iter().flatten().map(|(t, _)| *t).collect();
                let whole: Vec<i64> = (1..=times.len() as i64).map(|i| START_MS + i * 1000).collect();
                assert_eq!(times, whole);
                assert!(times.len() >= seen, "{} after {seen}", times.len());
                seen = times.len();
            }
        });
        for _ in 0..200 {
            machine.tick(1);
            append(&store, machine.now_ms(), &[(1, 1.0), (2, 2.0)]).unwrap();
            store.maintain();
        }
        reader.join().unwrap();
    });
}
