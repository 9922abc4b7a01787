//! A store in memory, in the plainest way: the reference against which tests of this and other
//! crates read series, and the store of rule unit tests. Not for large data.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{
    ChunkSummary, LabelQuery, Labels, Matcher, MetricMetadata, MetricReader, ReadError, SampleBuffer, Select,
    SeriesSet, TimeRange,
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
        let samples = self.series.entry(labels.clone()).or_default();
        match samples.times_ms.binary_search(&time_ms) {
            Ok(i) => samples.values[i] = value,
            Err(i) => {
                samples.times_ms.insert(i, time_ms);
                samples.values.insert(i, value);
            }
        }
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

struct Selection(Vec<(Labels, SampleBuffer)>);

impl SeriesSet for Selection {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.0[series].0.clone()
    }

    fn summaries(&self, _series: usize, _range: TimeRange, _out: &mut Vec<ChunkSummary>) {}

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let samples = &self.0[series].1;
        let from = samples.times_ms.partition_point(|t| *t < range.start_ms);
        let to = samples.times_ms.partition_point(|t| *t <= range.end_ms).max(from);
        out.times_ms.extend_from_slice(&samples.times_ms[from..to]);
        out.values.extend_from_slice(&samples.values[from..to]);
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
