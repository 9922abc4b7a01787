//! Series of the store with samples on top that are not written yet: a rule sees what the rules
//! before it in its group gave.

use std::{collections::BTreeMap, sync::Arc};

use vedette_model::{
    ChunkSummary, LabelQuery, Labels, MetricMetadata, MetricReader, ReadError, SampleBuffer, Select,
    SeriesSet, TimeRange,
};

use crate::evaluate::Given;

/// A store and the newest samples of some series, one for each series, all later than what the
/// store has of them.
pub(crate) struct Overlay<'a> {
    base: &'a dyn MetricReader,
    fresh: BTreeMap<Labels, (i64, Given)>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(base: &'a dyn MetricReader) -> Self {
        Self { base, fresh: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, labels: &Labels, time_ms: i64, given: Given) {
        self.fresh.insert(labels.clone(), (time_ms, given));
    }
}

type MergedSeries = (Labels, Option<usize>, Option<(i64, Given)>);

/// Series of the base by number, or of the overlay alone, in order of their labels.
struct Merged {
    /// Each with its number in the base and its fresh sample, where it has them.
    series: Vec<MergedSeries>,
    base: Box<dyn SeriesSet>,
}

impl SeriesSet for Merged {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.series[series].0.clone()
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        // Summaries must cover every sample, so a series with a fresh one has none.
        if let (_, Some(base), None) = self.series[series] {
            self.base.summaries(base, range, out);
        }
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let (_, base, fresh) = &self.series[series];
        if let Some(base) = base {
            self.base.read(*base, range, out)?;
        }
        if let Some((time_ms, given)) = fresh.as_ref().filter(|(t, _)| range.contains(*t)) {
            if out.times_ms.last() == Some(time_ms) {
                out.truncate(out.len() - 1);
            }
            if out.times_ms.last().is_none_or(|t| t < time_ms) {
                match &given.histogram {
                    Some(histogram) => out.push_histogram(*time_ms, Arc::clone(histogram)),
                    None => out.push(*time_ms, given.value),
                }
            }
        }
        Ok(())
    }
}

impl MetricReader for Overlay<'_> {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let base = self.base.select(select)?;
        let matches = |labels: &Labels| {
            select.matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or_default()))
        };
        let mut fresh: BTreeMap<&Labels, (i64, Given)> =
            self.fresh.iter().filter(|(labels, _)| matches(labels)).map(|(l, s)| (l, s.clone())).collect();
        if fresh.is_empty() {
            return Ok(base);
        }
        let mut series: Vec<_> = (0..base.len())
            .map(|i| {
                let labels = base.labels(i);
                let sample = fresh.remove(&labels);
                (labels, Some(i), sample)
            })
            .collect();
        series.extend(fresh.into_iter().map(|(labels, sample)| (labels.clone(), None, Some(sample))));
        series.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(Box::new(Merged { base, series }))
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.base.label_names(query)
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        self.base.label_values(name, query)
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        self.base.series(query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        self.base.metadata(family, limit)
    }
}
