//! Which labels make the store grow, for those who ask over HTTP.
//!
//! Counts of the head come from its index, not from its series: asking costs as much as going
//! through all label pairs once. The values of one label name at a time are copied, as the same
//! value may stand in several shards and no two of them are locked together.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    sync::{Arc, atomic::Ordering},
};

use vedette_model::{HeadFigures, METRIC_NAME, SegmentFigures, StoreFigures, TimeRange};

use crate::Tsdb;

impl StoreFigures for Tsdb {
    fn head_figures(&self, limit: usize) -> HeadFigures {
        let mut names = BTreeSet::new();
        for shard in self.head.shards() {
            shard.index().names(&mut |name| {
                names.insert(name.to_owned());
            });
        }
        let mut label_pairs = 0;
        let [mut by_metric, mut by_values, mut by_bytes, mut by_pair] = [(); 4].map(|()| Largest::new(limit));
        for name in names {
            let mut series_of = HashMap::<String, u64>::new();
            for shard in self.head.shards() {
                shard.index().values(&name, &mut |value, series| match series_of.get_mut(value) {
                    Some(count) => *count += series.len(),
                    None => drop(series_of.insert(value.to_owned(), series.len())),
                });
            }
            label_pairs += series_of.len() as u64;
            by_values.offer(series_of.len() as u64, || name.clone());
            by_bytes.offer(series_of.iter().map(|(v, n)| v.len() as u64 * n).sum(), || name.clone());
            for (value, count) in series_of {
                by_pair.offer(count, || format!("{name}={value}"));
                if name == METRIC_NAME {
                    by_metric.offer(count, || value);
                }
            }
        }
        let (first_ms, last_ms) =
            (self.head_first_ms.load(Ordering::Acquire), self.head_last_ms.load(Ordering::Acquire));
        let series = self.head.len() as u64;
        HeadFigures {
            series,
            label_pairs,
            // What is not sealed is one stream for each series.
            chunks: series,
            range: (first_ms <= last_ms).then_some(TimeRange { start_ms: first_ms, end_ms: last_ms }),
            series_by_metric: by_metric.take(),
            values_by_name: by_values.take(),
            bytes_by_name: by_bytes.take(),
            series_by_pair: by_pair.take(),
        }
    }

    fn segment_figures(&self) -> Vec<SegmentFigures> {
        let segments = Arc::clone(&self.segments.read());
        let figures = |s: &Arc<crate::segment::Segment>| SegmentFigures {
            id: s.id,
            range: s.footer.range,
            samples: s.footer.samples,
            series: s.footer.series,
            bytes: s.bytes,
        };
        segments.iter().map(figures).collect()
    }
}

/// The lines with the largest numbers; of equal ones the first by name.
struct Largest {
    limit: usize,
    /// The line that goes first is on top.
    lines: BinaryHeap<(Reverse<u64>, String)>,
}

impl Largest {
    fn new(limit: usize) -> Self {
        Self { limit, lines: BinaryHeap::new() }
    }

    /// Keeps the line if it is among the largest.
    fn offer(&mut self, count: u64, name: impl FnOnce() -> String) {
        if self.lines.len() >= self.limit && self.lines.peek().is_none_or(|(least, _)| count < least.0) {
            return;
        }
        self.lines.push((Reverse(count), name()));
        if self.lines.len() > self.limit {
            self.lines.pop();
        }
    }

    fn take(self) -> Vec<(String, u64)> {
        self.lines.into_sorted_vec().into_iter().map(|(count, name)| (name, count.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use vedette_model::Labels;
    use vedette_sys::{ManualClock, RealFs};

    use super::*;
    use crate::Config;

    fn naive(all: &[Labels], limit: usize) -> HeadFigures {
        let mut counts: [BTreeMap<String, u64>; 4] = Default::default();
        let mut pairs = BTreeSet::new();
        for labels in all {
            for (name, value) in labels {
                pairs.insert((name, value));
                *counts[2].entry(name.to_owned()).or_default() += value.len() as u64;
                *counts[3].entry(format!("{name}={value}")).or_default() += 1;
                if name == METRIC_NAME {
                    *counts[0].entry(value.to_owned()).or_default() += 1;
                }
            }
        }
        for (name, _) in &pairs {
            *counts[1].entry((*name).to_owned()).or_default() += 1;
        }
        let [series_by_metric, values_by_name, bytes_by_name, series_by_pair] = counts.map(|counts| {
            let mut lines: Vec<(String, u64)> = counts.into_iter().collect();
            lines.sort_by_key(|(name, count)| (Reverse(*count), name.clone()));
            lines.truncate(limit);
            lines
        });
        HeadFigures {
            series: all.len() as u64,
            label_pairs: pairs.len() as u64,
            chunks: all.len() as u64,
            range: None,
            series_by_metric,
            values_by_name,
            bytes_by_name,
            series_by_pair,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn figures_are_those_of_counting(
            rows in prop::collection::btree_set(("[a-d]{1,2}", "[a-c]{1,3}", prop::option::of("[x-z]{1,2}")), 0..60),
            limit in 0usize..8,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let clock = Arc::new(ManualClock::at(0));
            let (store, _) = Tsdb::open(Config::new(folder.path()), Arc::new(RealFs), clock).expect("opens");
            let mut all = BTreeSet::new();
            for (metric, job, extra) in rows {
                let mut pairs = vec![(METRIC_NAME, metric.as_str()), ("job", job.as_str())];
                pairs.extend(extra.as_deref().map(|extra| ("extra", extra)));
                let labels = Labels::from_pairs(pairs);
                store.series(&labels).expect("takes it");
                all.insert(labels);
            }
            let all: Vec<Labels> = all.into_iter().collect();
            prop_assert_eq!(store.head_figures(limit), naive(&all, limit));
        }
    }
}
