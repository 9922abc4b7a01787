//! Reading: head and segments as one.
//!
//! A selection holds the series it found and the segments that were there. Reading a series
//! takes what the head has first and looks for segments sealed since then after that: sealing
//! lets the head forget only what can be read from a segment, so nothing falls between. Of what
//! several have for one time the segment with the lowest rank counts, and the head last.

mod cache;
mod rollups;

use std::{
    cell::RefCell,
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roaring::RoaringBitmap;
use vedette_model::{
    ChangeMark, Changes, ChunkSummary, Exemplar, LabelQuery, Labels, Matcher, MetricMetadata, MetricReader,
    ReadError, RollupSet, SampleBuffer, Select, SeriesSet, Thinning, TimeRange,
};

pub(crate) use cache::SelectionCache;
use cache::State;

use crate::{
    SeriesRef, Store,
    deletions::Deletions,
    exemplars,
    head::{Head, ShardIndex, Snapshot},
    mask,
    overlay::{self, Part},
    postings,
    retention::Retention,
    segment::{Block, Index, Segment, Thin, Walk},
    store::{SegmentList, Segments},
};

impl MetricReader for Store {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let Found { deletions, retention, listed, segments, series } = self.find_again(select);
        // What was found before may not be in the range; the index of what is, unless it is all.
        let is_in =
            |s: &Selected| s.head.is_some() || s.sealed.iter().any(|p| p.1.range.overlaps(select.range));
        let shown = (!series.iter().all(is_in)).then(|| {
            (0u32..).zip(series.iter()).filter(|(_, s)| is_in(s)).map(|(i, _)| i).collect::<Vec<_>>()
        });
        if select.series_max > 0 && shown.as_ref().map_or(series.len(), Vec::len) > select.series_max {
            return Err(ReadError::TooManySeries { max: select.series_max });
        }
        Ok(Box::new(Selection {
            head: Arc::clone(&self.head),
            current: Arc::clone(&self.segments),
            deletions,
            retention,
            listed,
            range: select.range,
            segments,
            series,
            shown,
        }))
    }

    fn rollups(&self, select: &Select, step_ms: i64) -> Result<Option<Box<dyn RollupSet>>, ReadError> {
        self.select_rollups(select, step_ms)
    }

    fn changes(&self, since: Option<ChangeMark>) -> Option<Changes> {
        Some(self.changes_since(since))
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
        let mut all = BTreeSet::new();
        for matchers in sets(query) {
            all.extend(self.find(matchers, query.range).series.iter().map(|s| s.labels.clone()));
        }
        Ok(limited(all, query.limit))
    }

    fn exemplars(&self, query: &LabelQuery) -> Result<Vec<(Labels, Vec<Exemplar>)>, ReadError> {
        let deletions = Arc::clone(&self.deletions.read());
        let retention = self.retention();
        let mut all = BTreeMap::<Labels, Vec<Exemplar>>::new();
        for matchers in sets(query) {
            // The head first, so that what is sealed in between is found in a segment.
            for shard in self.head.shards() {
                let index = shard.index();
                let mut exemplars = Vec::new();
                for slot in postings::select(&index, matchers) {
                    index.exemplars(slot, query.range, &mut exemplars);
                    if !exemplars.is_empty() {
                        let labels = index.labels(slot);
                        let from_ms = retention.hidden_before_of(None, &labels);
                        exemplars.retain(|e| e.time_ms >= from_ms);
                        all.entry(labels).or_default().append(&mut exemplars);
                    }
                }
            }
            let listed = Arc::clone(&self.segments.read());
            for segment in listed.iter().filter(|s| self.may_have_exemplars(&s.footer, query.range)) {
                let index = segment.index();
                let mut walk = index.walk(0);
                let mut exemplars = Vec::new();
                for number in postings::select(index, matchers) {
                    if walk.seek(number).is_none() {
                        break;
                    }
                    segment.exemplars(walk.block, &mut exemplars)?;
                    exemplars.retain(|e| query.range.contains(e.time_ms));
                    if !exemplars.is_empty() {
                        let labels = walk.labels();
                        let mask = deletions.mask_of(segment, &labels);
                        let from_ms = retention.hidden_before_of(Some(segment), &labels);
                        exemplars.retain(|e| e.time_ms >= from_ms && !mask::covers(&mask, e.time_ms));
                        all.entry(labels).or_default().append(&mut exemplars);
                    }
                }
            }
        }
        // A series may satisfy more than one set, and an exemplar be in more than one place.
        all.values_mut().for_each(exemplars::sort);
        all.retain(|_, exemplars| !exemplars.is_empty());
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
    Segment(&'a Segment),
}

impl IndexSource<'_> {
    fn select(&self, matchers: &[Matcher], range: TimeRange) -> RoaringBitmap {
        match self {
            Self::Head(index) => index.overlapping(postings::select(*index, matchers), range),
            Self::Segment(segment) => {
                let index = segment.index();
                index.overlapping(postings::select(index, matchers), range)
            }
        }
    }

    fn names(&self, each: &mut dyn FnMut(&str)) {
        match self {
            Self::Head(index) => index.names(each),
            Self::Segment(segment) => segment.index().names(each),
        }
    }

    fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        match self {
            Self::Head(index) => index.values(name, each),
            Self::Segment(segment) => segment.index().values(name, each),
        }
    }
}

impl Store {
    /// Hands on each index with the numbers of the series that satisfy the query.
    fn each_source(
        &self,
        query: &LabelQuery,
        each: &mut dyn FnMut(&IndexSource<'_>, &RoaringBitmap),
    ) -> Result<(), ReadError> {
        let sets = sets(query);
        let deletions = Arc::clone(&self.deletions.read());
        let retention = self.retention();
        let mut visit = |source: &IndexSource<'_>| {
            let mut numbers = RoaringBitmap::new();
            for matchers in &sets {
                numbers |= source.select(matchers, query.range);
            }
            match source {
                IndexSource::Head(index) => retention.hide_in_head(index, query.range, &mut numbers),
                IndexSource::Segment(segment) => {
                    deletions.hide(segment, &mut numbers);
                    retention.hide(segment, query.range, &mut numbers);
                }
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
            visit(&IndexSource::Segment(segment));
        }
        Ok(())
    }

    /// As [`Store::find`], from the cache if they were found before: then there may be some that have
    /// no sample in the range.
    fn find_again(&self, select: &Select) -> Found {
        let (matchers, range) = (&select.matchers, select.range);
        // A limit counts what is in the range only.
        if select.series_max > 0 {
            return self.find(matchers, range);
        }
        let deletions = Arc::clone(&self.deletions.read());
        let listed = Arc::clone(&self.segments.read());
        let state = State::new(&self.head, deletions, listed);
        if let Some((segments, series)) = self.selections.get(matchers, range, &state) {
            let State { deletions, listed, .. } = state;
            return Found { deletions, retention: self.retention(), listed, segments, series };
        }
        let found = self.find_within(matchers, range, None);
        self.selections.put(matchers, state, &found);
        found
    }

    /// Gives back what the cache holds of segments that are gone.
    pub(crate) fn forget_outdated_selections(&self) {
        let deletions = Arc::clone(&self.deletions.read());
        let listed = Arc::clone(&self.segments.read());
        self.selections.forget_outdated(&State::new(&self.head, deletions, listed));
    }

    /// The series that satisfy the matchers and have samples in `range`, in order of their labels.
    fn find(&self, matchers: &[Matcher], range: TimeRange) -> Found {
        self.find_within(matchers, range, Some(range))
    }

    /// The series in the head and in the segments that `range` touches that satisfy the matchers and
    /// have samples in `samples`. Without that all of them, as what has none now may get some.
    fn find_within(&self, matchers: &[Matcher], range: TimeRange, samples: Option<TimeRange>) -> Found {
        let deletions = Arc::clone(&self.deletions.read());
        let retention = self.retention();
        let mut series = Vec::new();
        for shard in self.head.shards() {
            let index = shard.index();
            let mut numbers = postings::select(&index, matchers);
            if let Some(samples) = samples {
                numbers = index.overlapping(numbers, samples);
                retention.hide_in_head(&index, samples, &mut numbers);
            }
            series.extend(numbers.iter().map(|slot| Selected {
                labels: index.labels(slot),
                head: Some(index.reference(slot)),
                sealed: Vec::new(),
            }));
        }
        series.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        // After the head, so that what is sealed in between is found here.
        let listed = Arc::clone(&self.segments.read());
        let segments: Vec<Arc<Segment>> = segments_in(&listed, range).cloned().collect();
        for (segment, position) in segments.iter().zip(0u32..) {
            let mut numbers = postings::select(segment.index(), matchers);
            deletions.hide(segment, &mut numbers);
            if let Some(samples) = samples {
                numbers = segment.index().overlapping(numbers, samples);
                retention.hide(segment, samples, &mut numbers);
            }
            add_sealed(&mut series, segment.index(), position, &numbers);
        }
        Found { deletions, retention, listed, segments, series: series.into() }
    }
}

fn segments_in(list: &[Arc<Segment>], range: TimeRange) -> impl Iterator<Item = &Arc<Segment>> {
    list.iter().filter(move |s| s.footer.range.overlaps(range))
}

/// What a selection found.
struct Found {
    /// What there was to be left out of the segments.
    deletions: Arc<Deletions>,
    /// What was kept.
    retention: Retention,
    /// All segments there were.
    listed: Segments,
    /// Those that were looked into.
    segments: Vec<Arc<Segment>>,
    series: Arc<[Selected]>,
}

#[derive(Clone)]
struct Selected {
    labels: Labels,
    head: Option<SeriesRef>,
    /// Position of the segment in the selection, and the samples there.
    sealed: Vec<(u32, Block)>,
}

impl Selected {
    /// About how much memory it takes.
    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.labels.heap_bytes() + self.sealed.capacity() * size_of::<(u32, Block)>()
    }
}

/// Adds series of a segment to those found before; both are in order of labels.
fn add_sealed(series: &mut Vec<Selected>, index: &Index, position: u32, numbers: &RoaringBitmap) {
    let mut walk = index.walk(0);
    let mut next = 0;
    let known = series.len();
    for number in numbers {
        if walk.seek(number).is_none() {
            break;
        }
        next += first_not_less(&series[next..known], &walk);
        match series[..known].get_mut(next).filter(|s| walk.compare(&s.labels) == Ordering::Equal) {
            Some(same) => same.sealed.push((position, walk.block)),
            None => {
                series.push(Selected {
                    labels: walk.labels(),
                    head: None,
                    sealed: vec![(position, walk.block)],
                });
            }
        }
    }
    if series.len() > known {
        // Two sorted stretches: this merges them.
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }
}

/// How many of the series come before the one where the walk is. Most often it is the first or
/// the one after it; when few of many are looked for, it is far away.
fn first_not_less(series: &[Selected], walk: &Walk<'_>) -> usize {
    let less = |s: &Selected| walk.compare(&s.labels) == Ordering::Greater;
    let mut step = 1;
    let mut start = 0;
    while series.get(start + step - 1).is_some_and(less) {
        start += step;
        step *= 2;
    }
    let end = series.len().min(start + step);
    start + series[start..end].partition_point(less)
}

/// A window shorter than half an hour seldom holds a whole chunk.
const THINNED_MS_MIN: u64 = 30 * 60_000;

/// Series of one selection.
struct Selection {
    head: Arc<Head>,
    /// Those there are now.
    current: Arc<SegmentList>,
    /// Those there were when selecting.
    deletions: Arc<Deletions>,
    /// That when selecting.
    retention: Retention,
    /// Those there were when selecting.
    listed: Segments,
    /// What was selected; nothing is read beyond it.
    range: TimeRange,
    /// Those of `listed` in `range`.
    segments: Vec<Arc<Segment>>,
    series: Arc<[Selected]>,
    /// Places in `series` of those that are in the selection, unless all are.
    shown: Option<Vec<u32>>,
}

/// Memory that reading uses again and again.
#[derive(Default)]
struct Scratch {
    overlay: overlay::Scratch,
    unsealed: Snapshot,
    probe: SampleBuffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

impl Selection {
    fn series(&self, series: usize) -> &Selected {
        &self.series[self.shown.as_ref().map_or(series, |shown| shown[series] as usize)]
    }

    /// The parts of a series that were sealed when selecting and may have samples in `range`.
    fn parts(&self, series: usize, range: TimeRange) -> Vec<Part<'_>> {
        let Selected { labels, sealed, .. } = self.series(series);
        let sealed = sealed.iter().filter(|(_, block)| block.range.overlaps(range));
        let part = |&(position, block): &(u32, Block)| {
            let segment = &*self.segments[position as usize];
            let mut mask = self.deletions.mask_of(segment, labels);
            self.retention.extend_mask(segment, |name| labels.get(name).unwrap_or(""), &mut mask);
            Part { segment, block, mask }
        };
        sealed.map(part).collect()
    }

    /// The segments of now that may hold samples which were in the head when selecting.
    fn sealed_since(&self, series: usize, range: TimeRange) -> Vec<Arc<Segment>> {
        if self.series(series).head.is_none() {
            return Vec::new();
        }
        let current = self.current.read();
        if Arc::ptr_eq(&current, &self.listed) {
            return Vec::new();
        }
        let current = Arc::clone(&current);
        let known = |id: u64| self.listed.iter().any(|k| k.id == id);
        // What was merged of nothing but known segments holds nothing new.
        let old = |s: &Segment| {
            known(s.id) || (!s.footer.sources.is_empty() && s.footer.sources.iter().all(|&id| known(id)))
        };
        segments_in(&current, range).filter(|s| !old(s)).cloned().collect()
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
        self.shown.as_ref().map_or(self.series.len(), Vec::len)
    }

    fn labels(&self, series: usize) -> Labels {
        self.series(series).labels.clone()
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        let (range, start) = (self.clamp(range), out.len());
        // Chunks reach beyond the range, and so may what lies over them.
        let mut parts = self.parts(series, TimeRange::ALL);
        for cluster in overlay::clusters(&mut parts) {
            // Of samples that several segments have, only reading tells which count.
            let [only] = cluster else { continue };
            let before = out.len();
            if only.segment.summaries(only.block, range, out).is_err() {
                // Without summaries the reader decodes, and is told of the damage.
                out.truncate(start);
                return;
            }
            if !only.mask.is_empty() {
                let whole = out.split_off(before).into_iter();
                out.extend(whole.filter(|summary| !mask::overlaps(&only.mask, summary.range)));
            }
        }
        if let Some(head) = self.series(series).head {
            // The same goes for stretches to which the head has something to add.
            let since = self.sealed_since(series, range);
            let unsealed_from = self.head.first_ms(head);
            let mut at = 0;
            out.retain(|summary| {
                at += 1;
                let alone = || {
                    unsealed_from.is_none_or(|first| first > summary.range.end_ms)
                        && since.iter().all(|s| !s.footer.range.overlaps(summary.range))
                };
                at <= start || alone()
            });
        }
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        self.read_some(series, range, None, out).map(|_| ())
    }

    fn read_thinned(
        &self,
        series: usize,
        range: TimeRange,
        thinning: Thinning,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        self.read_some(series, range, Some(thinning), out)
    }
}

impl Selection {
    fn read_some(
        &self,
        series: usize,
        range: TimeRange,
        thinning: Option<Thinning>,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        let mut range = self.clamp(range);
        // Of the head, and of what was sealed since.
        let kept_from = self.retention.hidden_before_of(None, &self.series(series).labels);
        range.start_ms = range.start_ms.max(kept_from);
        if range.start_ms > range.end_ms {
            return Ok(0);
        }
        let mut scratch = SCRATCH.take();
        let Scratch { overlay: merging, unsealed, probe } = &mut scratch;
        let Selected { labels, head, .. } = self.series(series);
        if let Some(reference) = *head {
            self.head.snapshot(reference, range, unsealed);
        }
        let since = self.sealed_since(series, range);
        let mut parts = self.parts(series, range);
        for segment in &since {
            if let Some(block) = segment.index().find(labels).and_then(|n| segment.index().block(n)) {
                // What was written since selecting holds nothing that was deleted before.
                parts.push(Part { segment, block, mask: Vec::new() });
            }
        }
        let start = out.len();
        // What was sealed since is seldom there for long, and may be what was in the head.
        let is_long = range.end_ms.abs_diff(range.start_ms) >= THINNED_MS_MIN;
        let thin = thinning.filter(|_| is_long && since.is_empty()).map(|thinning| {
            probe.clear();
            if head.is_some() {
                unsealed.read(range, probe);
            }
            Thin { thinning, before_ms: probe.times_ms.first().copied().unwrap_or(i64::MAX) }
        });
        let read = overlay::read_thinned(&mut parts, range, thin, merging, out);
        if read.is_ok() && head.is_some() {
            if out.len() == start {
                unsealed.read(range, out);
            } else {
                overlay::add(merging, out, start, |samples| unsealed.read(range, samples));
            }
        }
        SCRATCH.set(scratch);
        if read.is_err() {
            out.truncate(start);
        }
        read
    }
}
