//! A store in memory, in the plainest way: the reference against which tests of this and other
//! crates read series, and the store of rule unit tests. Not for large data.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vedette_model::{
    ChunkSummary, LabelQuery, Labels, Matcher, MetricMetadata, MetricReader, NativeHistogram, ReadError,
    SampleBuffer, Select, SeriesSet, Thinning, TimeRange,
};

/// Series and their samples, sorted by labels.
#[derive(Debug, Clone, Default)]
pub struct MemoryReader {
    series: BTreeMap<Labels, SampleBuffer>,
    metadata: Vec<MetricMetadata>,
}

impl MemoryReader {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sample; of several at one time the last stays.
    pub fn push(&mut self, labels: &[(&str, &str)], time_ms: i64, value: f64) {
        self.push_labels(&Labels::from_pairs(labels.iter().copied()), time_ms, value);
    }

    /// Adds a sample; of several at one time the last stays.
    pub fn push_labels(&mut self, labels: &Labels, time_ms: i64, value: f64) {
        self.put(labels, time_ms, 0, Ok(value));
    }

    /// Adds a native histogram; of several samples at one time the last stays.
    pub fn push_histogram(&mut self, labels: &Labels, time_ms: i64, histogram: Arc<NativeHistogram>) {
        self.put(labels, time_ms, 0, Err(histogram));
    }

    /// Adds a sample that counts since `start_ms`, 0 where that is not known.
    pub fn push_since(
        &mut self,
        labels: &Labels,
        time_ms: i64,
        start_ms: i64,
        value: Result<f64, Arc<NativeHistogram>>,
    ) {
        self.put(labels, time_ms, start_ms, value);
    }

    fn put(
        &mut self,
        labels: &Labels,
        time_ms: i64,
        start_ms: i64,
        value: Result<f64, Arc<NativeHistogram>>,
    ) {
        let samples = self.series.entry(labels.clone()).or_default();
        let mut later = SampleBuffer::default();
        if samples.times_ms.last().is_some_and(|last| *last >= time_ms) {
            let kept = samples.times_ms.partition_point(|t| *t < time_ms);
            later = samples.clone();
            later.cut_to(TimeRange { start_ms: time_ms + 1, end_ms: i64::MAX }, 0);
            samples.truncate(kept);
        }
        match value {
            Ok(value) => samples.push(time_ms, value),
            Err(histogram) => samples.push_histogram(time_ms, histogram),
        }
        samples.set_last_start(start_ms);
        samples.extend_from(&later);
    }

    /// Adds what is known of a metric family.
    pub fn put_metadata(&mut self, metadata: MetricMetadata) {
        self.metadata.push(metadata);
        self.metadata.sort_by(|a, b| a.family.cmp(&b.family));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.series.clear();
        self.metadata.clear();
    }

    /// All series and their samples, sorted by labels.
    pub fn iter(&self) -> impl Iterator<Item = (&Labels, &SampleBuffer)> {
        self.series.iter()
    }

    fn matching(&self, query: &LabelQuery) -> impl Iterator<Item = &Labels> {
        self.series
            .iter()
            .filter(|(_, samples)| samples.times_ms.iter().any(|t| query.range.contains(*t)))
            .map(|(labels, _)| labels)
            .filter(|labels| {
                query.matcher_sets.is_empty() || query.matcher_sets.iter().any(|set| satisfies(labels, set))
            })
    }
}

fn satisfies(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
}

fn limited<T>(mut items: Vec<T>, limit: usize) -> Vec<T> {
    if limit > 0 {
        items.truncate(limit);
    }
    items
}

/// Samples of a stretch that may be left out; few, so that tests have several.
const STRETCH: usize = 3;

/// What is known of a stretch of plain numbers.
fn stretch_of(samples: &SampleBuffer, from: usize, to: usize) -> Option<ChunkSummary> {
    let values = &samples.values[from..to];
    let is_plain =
        |i: usize| !samples.values[i].is_nan() && samples.histogram(i).is_none() && samples.start_ms(i) == 0;
    let (first, last) = (*values.first()?, *values.last()?);
    (from..to).all(is_plain).then(|| ChunkSummary {
        range: TimeRange { start_ms: samples.times_ms[from], end_ms: samples.times_ms[to - 1] },
        count: values.len() as u64,
        sum: values.iter().sum(),
        min: values.iter().copied().fold(first, f64::min),
        max: values.iter().copied().fold(first, f64::max),
        first,
        last,
        resets: values.windows(2).filter(|pair| pair[1] < pair[0]).count() as u32,
        special: false,
    })
}

struct Selection(Vec<(Labels, SampleBuffer)>);

impl SeriesSet for Selection {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.0[series].0.clone()
    }

    fn summaries(&self, _series: usize, _range: TimeRange, _out: &mut Vec<ChunkSummary>) {}

    fn read_thinned(
        &self,
        series: usize,
        range: TimeRange,
        thinning: Thinning,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        let mut all = SampleBuffer::default();
        self.read(series, range, &mut all)?;
        let mut left_out = 0;
        for from in (0..all.len()).step_by(STRETCH) {
            let to = (from + STRETCH).min(all.len());
            let stretch = stretch_of(&all, from, to);
            match stretch.and_then(|stretch| thinning.of(&stretch, out)) {
                Some(left) => left_out += left,
                None => {
                    let (start_ms, end_ms) = (all.times_ms[from], all.times_ms[to - 1]);
                    self.read(series, TimeRange { start_ms, end_ms }, out)?;
                }
            }
        }
        Ok(left_out)
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let samples = &self.0[series].1;
        let from = samples.times_ms.partition_point(|t| *t < range.start_ms);
        let to = samples.times_ms.partition_point(|t| *t <= range.end_ms).max(from);
        let first = samples.histograms.partition_point(|(i, _)| (*i as usize) < from);
        let mut histograms = samples.histograms[first..].iter().peekable();
        for i in from..to {
            match histograms.next_if(|(at, _)| *at as usize == i) {
                Some((_, histogram)) => out.push_histogram(samples.times_ms[i], Arc::clone(histogram)),
                None => out.push(samples.times_ms[i], samples.values[i]),
            }
            out.set_last_start(samples.start_ms(i));
        }
        Ok(())
    }
}

impl MetricReader for MemoryReader {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let found: Vec<_> = self
            .series
            .iter()
            .filter(|(labels, _)| satisfies(labels, &select.matchers))
            .map(|(labels, samples)| (labels.clone(), samples.clone()))
            .collect();
        if select.series_max > 0 && found.len() > select.series_max {
            return Err(ReadError::TooManySeries { max: select.series_max });
        }
        Ok(Box::new(Selection(found)))
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        let names: BTreeSet<String> = self
            .matching(query)
            .flat_map(|l| l.iter().map(|(n, _)| n.to_owned()).collect::<Vec<_>>())
            .collect();
        Ok(limited(names.into_iter().collect(), query.limit))
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        let values: BTreeSet<String> =
            self.matching(query).filter_map(|l| l.get(name).map(str::to_owned)).collect();
        Ok(limited(values.into_iter().collect(), query.limit))
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        Ok(limited(self.matching(query).cloned().collect(), query.limit))
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        let known = self.metadata.iter().filter(|m| family.is_none_or(|f| f == m.family));
        limited(known.cloned().collect(), limit)
    }
}
