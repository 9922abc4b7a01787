//! The series that satisfy one of several selectors, each once, in order of their labels.

use vedette_model::{
    ChunkSummary, Hints, Labels, Matcher, MetricReader, ReadError, SampleBuffer, Select, SeriesSet, TimeRange,
};

/// Series of a store.
pub struct Selected {
    sets: Vec<Box<dyn SeriesSet>>,
    /// Set and number of each series; empty when there is one set, whose order it is.
    order: Vec<(usize, usize)>,
}

impl std::fmt::Debug for Selected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Selected").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Selected {
    /// Finds the series that satisfy all matchers of any set; no set means all series.
    pub fn find(
        reader: &dyn MetricReader,
        matcher_sets: &[Vec<Matcher>],
        range: TimeRange,
    ) -> Result<Self, ReadError> {
        let select = |matchers: &Vec<Matcher>| {
            let matchers = matchers.clone();
            reader.select(&Select { matchers, range, hints: Hints::default(), series_max: 0 })
        };
        if matcher_sets.len() <= 1 {
            let sets = vec![select(matcher_sets.first().unwrap_or(&Vec::new()))?];
            return Ok(Self { sets, order: Vec::new() });
        }
        let sets = matcher_sets.iter().map(select).collect::<Result<Vec<_>, _>>()?;
        let mut all: Vec<(Labels, usize, usize)> = Vec::new();
        for (set, series) in sets.iter().enumerate() {
            all.extend((0..series.len()).map(|i| (series.labels(i), set, i)));
        }
        all.sort_unstable();
        all.dedup_by(|a, b| a.0 == b.0);
        Ok(Self { sets, order: all.into_iter().map(|(_, set, i)| (set, i)).collect() })
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        match &*self.sets {
            [one] => one.len(),
            _ => self.order.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels of a series.
    pub fn labels(&self, series: usize) -> Labels {
        let (set, number) = self.place(series);
        self.sets[set].labels(number)
    }

    /// Appends the samples of a series.
    pub fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let (set, number) = self.place(series);
        self.sets[set].read(number, range, out)
    }

    /// Appends the summaries of a series.
    pub fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        let (set, number) = self.place(series);
        self.sets[set].summaries(number, range, out);
    }

    fn place(&self, series: usize) -> (usize, usize) {
        self.order.get(series).copied().unwrap_or((0, series))
    }
}
