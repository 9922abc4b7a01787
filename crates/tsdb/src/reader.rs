//! Reading: head and segments as one.
//!
//! A selection holds the series it found and the segments that were there. Reading a series
//! takes what the head has first and looks for segments sealed since then after that: sealing
//! lets the head forget only what can be read from a segment, so nothing falls between. What
//! both have is read once, as times only grow.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use roaring::RoaringBitmap;
use vedette_model::{
    ChunkSummary, LabelQuery, Labels, Matcher, MetricMetadata, MetricReader, ReadError, SampleBuffer, Select,
    SeriesSet, TimeRange,
};

use crate::{
    SeriesRef, Tsdb,
    head::{Head, ShardIndex, Snapshot},
    postings,
    segment::{Index, Segment},
    store::{SegmentList, Segments},
};

impl MetricReader for Tsdb {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let mut found = Found::default();
        let (listed, segments) = self.find(&select.matchers, select.range, &mut found)?;
        if select.series_max > 0 && found.series.len() > select.series_max {
            return Err(ReadError::TooManySeries { max: select.series_max });
        }
        let mut series = found.series;
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Box::new(Selection {
            head: Arc::clone(&self.head),
            current: Arc::clone(&self.segments),
            listed,
            range: select.range,
            segments,
            series,
        }))
    }

    fn label_names(&self, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        let mut names = BTreeSet::new();
        self.each_source(query, &mut |source, numbers| {
            source.names(&mut |name| {
                if !names.contains(name) {
                    let mut used = false;
                    source.values(name, &mut |_, with_value| used |= !with_value.is_disjoint(numbers));
                    if used {
                        names.insert(name.to_owned());
                    }
                }
            });
        })?;
        Ok(limited(names, query.limit))
    }

    fn label_values(&self, name: &str, query: &LabelQuery) -> Result<Vec<String>, ReadError> {
        let mut values = BTreeSet::new();
        self.each_source(query, &mut |source, numbers| {
            source.values(name, &mut |value, with_value| {
                if !values.contains(value) && !with_value.is_disjoint(numbers) {
                    values.insert(value.to_owned());
                }
            });
        })?;
        Ok(limited(values, query.limit))
    }

    fn series(&self, query: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        let mut found = Found::default();
        for matchers in sets(query) {
            self.find(matchers, query.range, &mut found)?;
        }
        let all: BTreeSet<Labels> = found.series.into_iter().map(|s| s.labels).collect();
        Ok(limited(all, query.limit))
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<MetricMetadata> {
        let metadata = self.metadata.read();
        match family {
            Some(family) => metadata.get(family).cloned().into_iter().collect(),
            None => limited(metadata.values().cloned(), limit),
        }
    }
}

fn limited<T>(all: impl IntoIterator<Item = T>, limit: usize) -> Vec<T> {
    all.into_iter().take(if limit == 0 { usize::MAX } else { limit }).collect()
}

/// No set of matchers means all series.
fn sets(query: &LabelQuery) -> Vec<&[Matcher]> {
    if query.matcher_sets.is_empty() {
        return vec![&[]];
    }
    query.matcher_sets.iter().map(Vec::as_slice).collect()
}

/// An index, of the head or of a segment.
enum IndexSource<'a> {
    Head(&'a ShardIndex<'a>),
    Segment(&'a Index),
}

impl IndexSource<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> RoaringBitmap {
        match self {
            Self::Head(index) => index.overlapping(postings::select(*index, matchers), range),
            Self::Segment(index) => index.overlapping(postings::select(*index, matchers), range),
        }
    }

    fn names(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Head(index) => index.names(each),
            Self::Segment(index) => index.names(each),
        }
    }

    fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        match self {
            Self::Head(index) => index.values(name, each),
            Self::Segment(index) => index.values(name, each),
        }
    }
}

impl Tsdb {
    /// Hands on each index with the numbers of the series that satisfy the query.
    fn each_source(
        &self,
        query: &LabelQuery,
        each: &mut dyn FnMut(&IndexSource<'_>, &RoaringBitmap),
    ) -> Result<(), ReadError> {
        let sets = sets(query);
        let mut visit = |source: &IndexSource<'_>| {
            let mut numbers = RoaringBitmap::new();
            for matchers in &sets {
                numbers |= source.select(matchers, query.range);
            }
            if !numbers.is_empty() {
                each(source, &numbers);
            }
        };
        for shard in self.head.shards() {
            visit(&IndexSource::Head(&shard.index()));
        }
        let listed = Arc::clone(&self.segments.read());
        for segment in segments_in(&listed, query.range) {
            visit(&IndexSource::Segment(&*segment.index()?));
        }
        Ok(())
    }

    /// Adds the series that satisfy the matchers. Returns the list of segments, and those of them that
    /// were looked into.
    fn find(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        found: &mut Found,
    ) -> Result<(Segments, Vec<Sealed>), ReadError> {
        for shard in self.head.shards() {
            let index = shard.index();
            let numbers = IndexSource::Head(&index).select(matchers, range);
            found.series.reserve(numbers.len() as usize);
            for slot in &numbers {
                let place =
                    found.place(index.hash(slot), |l| index.has_labels(slot, l), || index.labels(slot));
                found.series[place].head = Some(index.reference(slot));
            }
        }
        // After the head, so that what is sealed in between is found here.
        let listed = Arc::clone(&self.segments.read());
        let segments = segments_in(&listed, range)
            .map(|s| Ok((Arc::clone(s), s.index()?)))
            .collect::<Result<Vec<_>, ReadError>>()?;
        for ((_, index), position) in segments.iter().zip(0u32..) {
            for number in &IndexSource::Segment(index).select(matchers, range) {
                let hash = index.entry(number).hash;
                let place = found.place(hash, |l| index.has_labels(number, l), || index.labels(number));
                found.series[place].sealed.push((position, number));
            }
        }
        Ok((listed, segments))
    }
}

fn segments_in(list: &[Arc<Segment>], range: TimeRange) -> impl Iterator<Item = &Arc<Segment>> {
    list.iter().filter(move |s| s.footer.range.overlaps(range))
}

/// A segment with its index.
type Sealed = (Arc<Segment>, Arc<Index>);

/// Series found so far, without duplicates.
#[derive(Default)]
struct Found {
    series: Vec<Selected>,
    by_hash: HashMap<u64, Vec<u32>>,
}

struct Selected {
    labels: Labels,
    head: Option<SeriesRef>,
    /// Position of the segment in the selection, and number of the series there.
    sealed: Vec<(u32, u32)>,
}

impl Found {
    fn place(&mut self, hash: u64, same: impl Fn(&Labels) -> bool, labels: impl FnOnce() -> Labels) -> usize {
        let candidates = self.by_hash.entry(hash).or_default();
        if let Some(&known) = candidates.iter().find(|&&n| same(&self.series[n as usize].labels)) {
            return known as usize;
        }
        let place = self.series.len();
        candidates.push(u32::try_from(place).expect("BUG: series limits keep selections below 2^32"));
        self.series.push(Selected { labels: labels(), head: None, sealed: Vec::new() });
        place
    }
}

/// Series of one selection.
struct Selection {
    head: Arc<Head>,
    /// Those there are now.
    current: Arc<SegmentList>,
    /// Those there were when selecting.
    listed: Segments,
    /// What was selected; nothing is read beyond it.
    range: TimeRange,
    /// Those of `listed` in `range`.
    segments: Vec<Sealed>,
    series: Vec<Selected>,
}

impl Selection {
    /// Hands on the parts of a series in segments, in order of time: those known when selecting,
    /// then those sealed since.
    fn each_sealed(
        &self,
        series: usize,
        range: TimeRange,
        each: &mut dyn FnMut(&Segment, &Index, u32) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Selected { labels, sealed, head } = &self.series[series];
        for &(position, number) in sealed {
            let (segment, index) = &self.segments[position as usize];
            each(segment, index, number)?;
        }
        // Samples can only have moved from the head.
        let current = Arc::clone(&self.current.read());
        if head.is_some() && !Arc::ptr_eq(&current, &self.listed) {
            let known = |s: &Segment| self.listed.iter().any(|k| k.id == s.id);
            for segment in segments_in(&current, range).filter(|s| !known(s)) {
                let index = segment.index()?;
                if let Some(number) = index.find(labels) {
                    each(segment, &index, number)?;
                }
            }
        }
        Ok(())
    }

    fn clamp(&self, range: TimeRange) -> TimeRange {
        TimeRange {
            start_ms: range.start_ms.max(self.range.start_ms),
            end_ms: range.end_ms.min(self.range.end_ms),
        }
    }
}

impl SeriesSet for Selection {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.series[series].labels.clone()
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        let (range, start) = (self.clamp(range), out.len());
        let read = self.each_sealed(series, range, &mut |segment, index, number| {
            segment.summaries(index.entry(number).block, range, out)
        });
        let mut overlap = out[start..].windows(2).any(|w| w[0].range.end_ms >= w[1].range.start_ms);
        // Late samples lie between those that are sealed.
        let unsealed_from = self.series[series].head.and_then(|head| self.head.first_ms(head));
        overlap |= out[start..].last().zip(unsealed_from).is_some_and(|(s, first)| s.range.end_ms >= first);
        if read.is_err() || overlap {
            // Without summaries the reader decodes, and is told of the damage.
            out.truncate(start);
        }
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        let range = self.clamp(range);
        let mut unsealed = Snapshot::default();
        if let Some(reference) = self.series[series].head {
            self.head.snapshot(reference, range, &mut unsealed);
        }
        let start = out.len();
        let read = self.each_sealed(series, range, &mut |segment, index, number| {
            segment.read(index.entry(number).block, range, out)
        });
        if let Err(error) = read {
            out.truncate(start);
            return Err(error);
        }
        unsealed.read(range, out);
        settle(out, start);
        Ok(())
    }
}

/// Puts the samples from index `start` on in order of time; of several at one time the first stays.
pub(crate) fn settle(samples: &mut SampleBuffer, start: usize) {
    if samples.times_ms[start..].is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<usize> = (start..samples.len()).collect();
    order.sort_by_key(|&i| samples.times_ms[i]);
    order.dedup_by_key(|i| samples.times_ms[*i]);
    let mut settled = SampleBuffer::default();
    for i in order {
        match samples.histogram(i) {
            Some(histogram) => settled.push_histogram(samples.times_ms[i], Arc::clone(histogram)),
            None => settled.push(samples.times_ms[i], samples.values[i]),
        }
        settled.set_last_start(samples.start_ms(i));
    }
    samples.truncate(start);
    samples.extend_from(&settled);
}
