//! Answers that are handed on series by series, and matches that are read one by one, against
//! evaluating each time by itself, which does neither.

use std::sync::Arc;

use proptest::prelude::*;
use vedette_model::{
    ChunkSummary, HistogramCounts, LabelQuery, Labels, MetricMetadata, MetricReader, NativeHistogram,
    ReadError, SampleBuffer, Select, SeriesSet, TimeRange, stale_nan,
};

use crate::{
    Cancel, Engine, EngineConfig, Limits, QueryError, QueryOutput, Series, Stats, Threads, Value,
    memory::MemoryReader, parse,
};

const STEPS: i64 = 9;

/// Queries whose series come in order, and such whose do not.
const QUERIES: &[&str] = &[
    "m",
    "-m",
    "{__name__=~'m|n'}",
    "rate(m[1m])",
    "sum_over_time({__name__=~'m|n',x=''}[40s])",
    "last_over_time({__name__=~'m|n'}[1m])",
    "abs(m) * 2 > bool 4",
    "m > 10",
    "clamp_max(m, scalar(n{i='1'}))",
    "timestamp(m)",
    "time()",
    "count_values('v', m)",
    "count_values by (odd) ('v', m)",
    "count_values by (odd) ('odd', {__name__=~'m|n'})",
    "count_values without (i) ('odd', m % 2)",
    "count_values without (odd, Z) ('odd', m % 2)",
    "sum by (odd) (m)",
    "topk(2, m)",
    "m - ignoring (x) n",
    "m - on (i) n",
    "m > ignoring (x) n",
    "m == bool ignoring (x) n",
    "m * on (odd) group_left max by (odd) (n)",
    "m * on (i) group_left (x) n",
    "n * on (i) group_right m",
    "rate(m[1m]) / on (i) rate(n[1m])",
    "(m * scalar(n{i='0'})) + on (i) n",
    "m and on (i) n",
    "m and on (odd) n{i='1'}",
    "m{i='1'} and on (odd) n",
    "m unless on (i) n",
    "m{i='1',odd='1'} unless on (i) n",
    "m or n",
    "m or on (i) n",
    "sum_over_time((m - on (i) n)[1m:10s])",
    "label_replace(m, 'i', '', '', '')",
];

/// Series of `m` and `n`, some of which have labels that stand before the name.
fn store(columns: &[Vec<(i64, f64)>]) -> MemoryReader {
    let mut store = MemoryReader::new();
    for (i, column) in columns.iter().enumerate() {
        let (number, odd) = ((i / 2).to_string(), (i / 2 % 2).to_string());
        let name = if i % 2 == 0 { "m" } else { "n" };
        let mut labels = vec![("__name__", name), ("i", &number), ("odd", &odd)];
        if i % 2 == 1 {
            labels.push(("x", "y"));
        }
        if i % 5 == 4 {
            labels.push(("Z", "first"));
        }
        column.iter().for_each(|(time_ms, value)| store.push(&labels, *time_ms, *value));
    }
    store
}

fn columns() -> impl Strategy<Value = Vec<Vec<(i64, f64)>>> {
    let value = prop_oneof![8 => (0..12).prop_map(f64::from), 1 => Just(stale_nan()), 1 => Just(f64::NAN)];
    let column = prop::collection::vec((1000..20_000_i64, value), 0..16);
    let timed = column.prop_map(|gaps| {
        let mut time_ms = 0;
        let mut at = |gap| {
            time_ms += gap;
            time_ms
        };
        gaps.into_iter().map(|(gap, value)| (at(gap), value)).collect::<Vec<_>>()
    });
    prop::collection::vec(timed, 1..9)
}

fn handed_on(store: &MemoryReader, query: &str, times: (i64, i64, i64)) -> Result<Vec<Series>, QueryError> {
    let engine = Engine::new(EngineConfig::default());
    let mut series = Vec::new();
    let expr = parse(query)?;
    engine.range_into(store, &expr, times, &Limits::default(), &Cancel::new(), &mut |answered| {
        series.push(answered.to_series());
        Ok(())
    })?;
    Ok(series)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_handed_on_is_what_each_time_gives(columns in columns(), start in 0..200_000_i64, step in 1..30_000_i64) {
        let store = store(&columns);
        let engine = Engine::new(EngineConfig::default());
        for query in QUERIES {
            let times = (start, start + (STEPS - 1) * step, step);
            let expr = parse(query).expect(query);
            let whole = engine.range(&store, &expr, times, &Limits::default(), &Cancel::new());
            let series = match (handed_on(&store, query, times), whole) {
                (Ok(series), Ok(whole)) => {
                    prop_assert_eq!(format!("{:?}", Value::Matrix(series.clone())), format!("{:?}", whole.value), "{}", query);
                    series
                }
                (Err(one), Err(other)) => {
                    prop_assert_eq!(one.to_string(), other.to_string());
                    continue;
                }
                (one, other) => return Err(TestCaseError::fail(format!("{query}: {one:?} and {other:?}"))),
            };
            prop_assert!(series.windows(2).all(|pair| pair[0].labels < pair[1].labels), "{}", query);
            let mut points = 0;
            for time_ms in (0..STEPS).map(|k| start + k * step) {
                let at = engine.instant(&store, &expr, time_ms, &Limits::default(), &Cancel::new());
                let at = match at.expect(query).value {
                    Value::Vector(samples) => samples.into_iter().map(|s| (s.labels, s.value)).collect(),
                    Value::Scalar { value, .. } => vec![(vedette_model::Labels::empty(), value)],
                    _ => Vec::new(),
                };
                points += at.len();
                for (labels, value) in at {
                    let found = series.iter().find(|s| s.labels == labels);
                    let found = found.and_then(|s| s.points.iter().find(|p| p.time_ms == time_ms));
                    prop_assert!(
                        found.is_some_and(|p| p.value == value || (p.value.is_nan() && value.is_nan())),
                        "{} at {}: {} {} {:?}", query, time_ms, labels, value, found
                    );
                }
            }
            prop_assert_eq!(series.iter().map(|s| s.points.len()).sum::<usize>(), points, "{}", query);
        }
    }
}

/// Series enough for several stretches, some of histograms, some with nothing at all.
fn many_series(seed: u64) -> MemoryReader {
    let mut store = MemoryReader::new();
    let mut random = seed;
    for i in 0..150 {
        let (number, group) = (i.to_string(), (i % 7).to_string());
        let labels = vedette_model::Labels::from_pairs([("__name__", "m"), ("g", &group), ("i", &number)]);
        for time_ms in (0..200_000).step_by(10_000) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match (i % 50, random >> 60) {
                (_, 0) => {}
                (_, 1) => store.push_labels(&labels, time_ms, stale_nan()),
                (49, 8..) => store.push_histogram(&labels, time_ms, Arc::new(histogram(random >> 40))),
                _ => store.push_labels(&labels, time_ms, (random >> 33) as f64 / 1e3),
            }
        }
    }
    store
}

fn histogram(count: u64) -> NativeHistogram {
    let counts =
        HistogramCounts::Integer { count, zero_count: count, positive: Vec::new(), negative: Vec::new() };
    NativeHistogram { sum: count as f64, counts, ..NativeHistogram::stale() }
}

#[test]
fn threads_change_nothing() {
    let engine = Engine::new(EngineConfig::default());
    let threads = Threads::for_work_of(3, 0);
    for query in QUERIES.iter().copied().chain([
        "sum(m)",
        "avg by (g) (rate(m[1m]))",
        "sum_over_time(rate(m[1m])[1m:7s])",
    ]) {
        let store = many_series(query.len() as u64);
        let expr = parse(query).expect(query);
        let of = |cancel: Cancel| {
            let range = engine.range(&store, &expr, (0, 200_000, 5_000), &Limits::default(), &cancel);
            let instant = engine.instant(&store, &expr, 100_000, &Limits::default(), &cancel);
            [range, instant].map(|output| {
                let output = output.map(|o| QueryOutput { stats: Stats { samples_peak: 0, ..o.stats }, ..o });
                format!("{output:?}")
            })
        };
        assert_eq!(of(Cancel::new().with_threads(threads.clone())), of(Cancel::new()), "{query}");
    }
}

/// Chains that are evaluated in parts take no more with threads than without.
#[test]
fn long_chains_take_no_more_with_threads() {
    let (store, engine) = (many_series(7), Engine::new(EngineConfig::default()));
    let limits = Limits { samples_max: 40_000, ..Limits::default() };
    for links in [5, 60] {
        let expr = parse(&format!("m{{i!='49',i!='99',i!='149'}}{}", " + 1".repeat(links))).expect("a query");
        let of = |cancel: Cancel| {
            let output = engine.range(&store, &expr, (0, 200_000, 5_000), &limits, &cancel);
            format!("{:?}", output.expect("few samples").value)
        };
        assert_eq!(of(Cancel::new().with_threads(Threads::for_work_of(2, 0))), of(Cancel::new()), "{links}");
    }
}

/// A store whose reading fails or panics at some series.
struct Broken(MemoryReader, usize, bool);

struct BrokenSet(Box<dyn SeriesSet>, usize, bool);

impl MetricReader for Broken {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        Ok(Box::new(BrokenSet(self.0.select(select)?, self.1, self.2)))
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.0.label_names(query)
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.0.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        self.0.series(query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        self.0.metadata(family, limit)
    }
}

impl SeriesSet for BrokenSet {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.0.labels(series)
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        self.0.summaries(series, range, out);
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        assert!(series != self.1 || !self.2, "series {series} makes the thread panic");
        if series == self.1 {
            return Err(ReadError::TooManySeries { max: series });
        }
        self.0.read(series, range, out)
    }
}

#[test]
fn errors_and_panics_of_threads_reach_who_asked() {
    let engine = Engine::new(EngineConfig::default());
    let threads = Threads::for_work_of(2, 0);
    let expr = parse("sum(rate(m[1m]))").expect("a query");
    for series in [0, 17, 90, 149] {
        for panics in [false, true] {
            let store = Broken(many_series(1), series, panics);
            let cancel = Cancel::new().with_threads(threads.clone());
            let run = || engine.range(&store, &expr, (0, 200_000, 5_000), &Limits::default(), &cancel);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            assert_eq!(outcome.is_err(), panics, "series {series}");
            if let Ok(result) = outcome {
                let error = result.expect_err("a series cannot be read").to_string();
                assert!(error.contains(&series.to_string()), "{error}");
            }
            assert_eq!(threads.take(1).len(), 2, "the threads are free again");
        }
    }
}
