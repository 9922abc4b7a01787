//! What the tests of the store share: a simulated machine, and a model that is obviously right.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use vedette_model::{
    Hints, HistogramCounts, Labels, MatchOp, Matcher, MetricReader, NativeHistogram, ReadError, SampleBuffer,
    Select, Span, TimeRange,
};
use vedette_sys::{Clock, ManualClock, SimFs};
use vedette_tsdb::{Appended, Config, Error, Flush, HistogramSample, Recovery, RefRow, SeriesRef, Tsdb};

/// When the simulated machines start; a multiple of all spans used.
pub const START_MS: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;

/// A machine with a store.
pub struct Machine {
    pub seed: u64,
    pub fs: SimFs,
    pub clock: ManualClock,
    pub config: Config,
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        let config = Config {
            flush: Flush::Interval(Duration::from_secs(2)),
            segment_span_ms: 8_000,
            compaction_spans_ms: vec![16_000, 64_000],
            retention_ms: 3_600_000,
            out_of_order_ms: 30_000,
            shards: 2,
            ..Config::new("data")
        };
        Self { seed, fs: SimFs::new(seed), clock: ManualClock::at(START_MS * 1_000_000), config }
    }

    pub fn open(&self) -> Result<(Tsdb, Recovery), Error> {
        Tsdb::open(self.config.clone(), Arc::new(self.fs.clone()), Arc::new(self.clock.clone()))
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    pub fn tick(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

/// Times and value bits of each series.
pub type Model = BTreeMap<Labels, BTreeMap<i64, u64>>;

pub fn series_labels(n: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", if n.is_multiple_of(2) { "even" } else { "odd" }),
        ("n", &n.to_string()),
        ("group", ["", "a", "b"][n % 3]),
    ])
}

/// Appends one row of these series.
pub fn append(store: &Tsdb, time_ms: i64, samples: &[(usize, f64)]) -> Result<Appended, Error> {
    let refs: Vec<SeriesRef> =
        samples.iter().map(|(n, _)| store.series(&series_labels(*n))).collect::<Result<_, _>>()?;
    let values: Vec<f64> = samples.iter().map(|(_, v)| *v).collect();
    store.append(&[RefRow::new(time_ms, &refs, &values)])
}

pub fn everything() -> Select {
    Select { matchers: Vec::new(), range: TimeRange::ALL, hints: Hints::default(), series_max: 0 }
}

/// All samples of a selection of a store at rest, checked for order and for agreement with its
/// summaries.
pub fn read(store: &Tsdb, select: &Select) -> Result<Model, ReadError> {
    read_checked(store, select, true)
}

/// All samples of a selection, checked for order.
pub fn read_growing(store: &Tsdb, select: &Select) -> Result<Model, ReadError> {
    read_checked(store, select, false)
}

fn read_checked(store: &Tsdb, select: &Select, at_rest: bool) -> Result<Model, ReadError> {
    let set = store.select(select)?;
    let mut model = Model::new();
    let mut before: Option<Labels> = None;
    for i in 0..set.len() {
        let labels = set.labels(i);
        assert!(before.as_ref().is_none_or(|b| *b < labels), "series are not in order");
        let mut out = SampleBuffer::default();
        set.read(i, select.range, &mut out)?;
        assert!(out.times_ms.windows(2).all(|w| w[0] < w[1]), "times do not grow");
        if at_rest {
            check_summaries(&*set, i, select.range, &out);
        }
        let samples: BTreeMap<i64, u64> =
            out.times_ms.iter().zip(&out.values).map(|(&t, v)| (t, v.to_bits())).collect();
        if !samples.is_empty() {
            model.insert(labels.clone(), samples);
        }
        before = Some(labels);
    }
    Ok(model)
}

fn check_summaries(set: &dyn vedette_model::SeriesSet, i: usize, range: TimeRange, samples: &SampleBuffer) {
    let mut summaries = Vec::new();
    set.summaries(i, range, &mut summaries);
    assert!(summaries.windows(2).all(|w| w[0].range.end_ms < w[1].range.start_ms), "summaries overlap");
    let inside =
        summaries.iter().filter(|s| range.start_ms <= s.range.start_ms && s.range.end_ms <= range.end_ms);
    for summary in inside.filter(|s| !s.special) {
        let values: Vec<f64> = samples
            .times_ms
            .iter()
            .zip(&samples.values)
            .filter(|(t, _)| summary.range.contains(**t))
            .map(|(_, v)| *v)
            .collect();
        assert_eq!(summary.count, values.len() as u64);
        assert_eq!(summary.first.to_bits(), values[0].to_bits());
        assert_eq!(summary.last.to_bits(), values[values.len() - 1].to_bits());
        assert_eq!(summary.max, values.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        assert_eq!(summary.resets as usize, values.windows(2).filter(|w| w[1] < w[0]).count());
    }
}

/// The part of a model that a selection asks for.
pub fn expected(model: &Model, matchers: &[Matcher], range: TimeRange) -> Model {
    model
        .iter()
        .filter(|(l, _)| matchers.iter().all(|m| m.matches(l.get(&m.name).unwrap_or(""))))
        .map(|(l, samples)| {
            (l.clone(), samples.iter().filter(|(t, _)| range.contains(**t)).map(|(t, v)| (*t, *v)).collect())
        })
        .filter(|(_, s): &(Labels, BTreeMap<i64, u64>)| !s.is_empty())
        .collect()
}

/// Samples as a flat set.
pub fn flat(model: &Model) -> BTreeSet<(Labels, i64, u64)> {
    model.iter().flat_map(|(l, s)| s.iter().map(|(t, v)| (l.clone(), *t, *v))).collect()
}

/// A histogram of one of a few layouts, whose counts tell `value`.
pub fn histogram(value: u64) -> NativeHistogram {
    if value == 0 {
        return NativeHistogram::stale();
    }
    let buckets = 1 + value % 3;
    let positive: Vec<u64> = (0..buckets).map(|bucket| value * (bucket + 1)).collect();
    NativeHistogram {
        schema: 2,
        sum: value as f64 / 4.0,
        positive_spans: vec![Span { offset: -1, length: buckets as u32 }],
        counts: HistogramCounts::Integer {
            count: positive.iter().sum(),
            zero_count: 0,
            positive,
            negative: Vec::new(),
        },
        ..NativeHistogram::stale()
    }
}

/// Appends histograms of these series at one time, with a start timestamp.
pub fn append_histograms(
    store: &Tsdb,
    time_ms: i64,
    start_ms: i64,
    samples: &[(usize, u64)],
) -> Result<Appended, Error> {
    let samples: Vec<_> = samples.iter().map(|&(n, value)| (n, Arc::new(histogram(value)))).collect();
    let with_refs = samples.iter().map(|(n, histogram)| {
        let reference = store.series(&series_labels(*n))?;
        Ok(HistogramSample { reference, time_ms, start_ms, histogram })
    });
    store.append_histograms(&with_refs.collect::<Result<Vec<_>, Error>>()?)
}

/// What samples have beside their value, as text: the histogram, the start timestamp.
pub type More = BTreeMap<(Labels, i64), String>;

/// The text of [`More`]; `None` for a float of which nothing else is known.
pub fn more(histogram: Option<&NativeHistogram>, start_ms: i64) -> Option<String> {
    (histogram.is_some() || start_ms != 0).then(|| format!("{histogram:?} since {start_ms}"))
}

/// What all samples of a store have beside their value.
pub fn read_more(store: &Tsdb) -> Result<More, ReadError> {
    let set = store.select(&everything())?;
    let mut found = More::new();
    for i in 0..set.len() {
        let mut out = SampleBuffer::default();
        set.read(i, TimeRange::ALL, &mut out)?;
        for (at, &time_ms) in out.times_ms.iter().enumerate() {
            if let Some(text) = more(out.histogram(at).map(|h| &**h), out.start_ms(at)) {
                found.insert((set.labels(i), time_ms), text);
            }
        }
    }
    Ok(found)
}

/// A stretch of time that begins so long after the machine started.
pub fn range(start: i64, length: i64) -> TimeRange {
    TimeRange { start_ms: START_MS + start, end_ms: START_MS + start + length }
}

/// Takes out of a model what is deleted of the store.
pub fn delete(model: &mut Model, matcher_sets: &[Vec<Matcher>], range: TimeRange) {
    for matchers in matcher_sets {
        for labels in expected(model, matchers, TimeRange::ALL).into_keys() {
            model.get_mut(&labels).expect("listed").retain(|time, _| !range.contains(*time));
        }
    }
}

/// A store with merged segments, fresh ones, and samples in the head.
pub fn filled(seed: u64) -> (Machine, Tsdb, Model) {
    let machine = Machine::new(seed);
    let store = machine.open().expect("opens").0;
    let mut model = Model::new();
    for second in 0..45i64 {
        machine.tick(1);
        for n in 0..6 {
            append(&store, machine.now_ms(), &[(n, second as f64)]).expect("appends");
            model.entry(series_labels(n)).or_default().insert(machine.now_ms(), (second as f64).to_bits());
        }
        store.maintain();
    }
    assert!(store.metrics().compactions.get() > 0);
    (machine, store, model)
}

/// Every series.
pub fn all() -> Matcher {
    Matcher::new(MatchOp::Regex, "__name__", ".+").expect("valid")
}
