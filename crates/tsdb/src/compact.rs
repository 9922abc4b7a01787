//! Compaction: small segments are merged into larger ones.
//!
//! Invariant: a segment goes only after the one that replaces it is synced under its final name.

mod pieces;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::{Arc, atomic::Ordering},
};

use pieces::{Found, Step};
use vedette_model::{Exemplar, ReadError, SampleBuffer, TimeRange};

use crate::{
    Store,
    chunk::Effort,
    deletions::Deletions,
    maintain::{Maintenance, StepError},
    mask,
    overlay::{self, Part},
    retention::Retention,
    segment::{Block, Chunk, Piece, Segment, SegmentWriter, Walk},
    store::segments_folder,
};

/// What comes late to a window that was merged before is merged into it once it has this share
/// of its bytes, or this many segments: each merge writes all of the window anew.
const LATE_SHARE: u64 = 8;
const LATE_SEGMENTS: usize = 8;

/// Segments merged at a time.
pub(crate) const SOURCES_MAX: usize = 1024;

/// Series between two times that the memory of what was merged already is given back.
pub(crate) const SERIES_PER_RELEASE: usize = 8192;

impl Store {
    /// Merges the first group of segments that fill a longer span together.
    pub(crate) fn compact(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        match self.compactable() {
            Some(group) => self.merge(maintenance, &group),
            None => Ok(()),
        }
    }

    /// Merges all segments of each of the longest spans, whether the span is over or not.
    pub(crate) fn merge_windows(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let Some(&span) = self.config.compaction_spans_ms.last() else { return Ok(()) };
        let segments = Arc::clone(&self.segments.read());
        for mut group in windows(&segments, span).into_values() {
            leave_out_of_turn(&mut group, &segments);
            if group.len() < 2 {
                continue;
            }
            for part in group.chunks(SOURCES_MAX) {
                self.merge(maintenance, part)?;
            }
        }
        Ok(())
    }

    /// Writes a segment of what these hold and nobody deleted, in their place; none where nothing
    /// is left.
    pub(crate) fn merge(
        &self,
        maintenance: &mut Maintenance,
        group: &[Arc<Segment>],
    ) -> Result<(), StepError> {
        let from_ms = group.iter().map(|s| s.footer.from_ms).min().unwrap_or(i64::MIN);
        let until_ms = group.iter().map(|s| s.footer.until_ms).max().unwrap_or(i64::MAX);
        let sources: Vec<u64> = group.iter().map(|s| s.id).collect();
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let mut writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Small).map_err(write_error)?;
        writer.set_rank(group.iter().map(|s| s.footer.rank).min().unwrap_or(id));
        let merged = self.write_segment(writer, id, (from_ms, until_ms), sources.clone(), |writer| {
            let deletions = Arc::clone(&self.deletions.read());
            let left_out = LeftOut { deletions: &deletions, retention: self.retention(), for_rollups: false };
            let (mut merge, texts) = Merge::new(group, left_out);
            writer.set_symbols(texts);
            writer.expect_series(group.iter().map(|s| s.footer.series).max().unwrap_or(0) as usize);
            let mut done = 0;
            while merge.next()? {
                let Merge { labels, pieces, samples, exemplars, .. } = &merge;
                writer.add_pieces(labels, pieces, samples, exemplars)?.map_err(write_error)?;
                self.take_turn(done);
                done += 1;
                if done.is_multiple_of(SERIES_PER_RELEASE) {
                    group.iter().for_each(|s| s.release());
                }
            }
            Ok(())
        });
        group.iter().for_each(|s| s.release());
        if !matches!(merged, Ok(Some(_))) {
            maintenance.give_up_segment(&folder, id);
        }
        let merged = merged?;
        self.publish(|segments| {
            segments.retain(|s| !sources.contains(&s.id));
            segments.extend(merged.map(Arc::new));
        });
        self.metrics.compactions.inc();
        self.remove_files(maintenance, group)
    }

    fn compactable(&self) -> Option<Vec<Arc<Segment>>> {
        let segments = Arc::clone(&self.segments.read());
        let sealed_until = self.sealed_until_ms.load(Ordering::Acquire);
        for &span in &self.config.compaction_spans_ms {
            let over = |window: i64| {
                let end = window.checked_add(1).and_then(|w| w.checked_mul(span));
                end.is_some_and(|end| end <= sealed_until)
            };
            let mut groups =
                windows(&segments, span).into_iter().filter(|(w, _)| over(*w)).map(|(_, mut group)| {
                    leave_out_of_turn(&mut group, &segments);
                    group
                });
            if let Some(mut group) = groups.find(|g| is_worth_merging(g)) {
                group.truncate(SOURCES_MAX);
                return Some(group);
            }
        }
        None
    }
}

/// The sound segments that lie in one window of a span each.
fn windows(segments: &[Arc<Segment>], span: i64) -> BTreeMap<i64, Vec<Arc<Segment>>> {
    let mut windows = BTreeMap::<i64, Vec<Arc<Segment>>>::new();
    for segment in segments.iter().filter(|s| !s.damaged.load(Ordering::Relaxed)) {
        let window = segment.footer.from_ms.div_euclid(span);
        if (segment.footer.until_ms - 1).div_euclid(span) == window {
            windows.entry(window).or_default().push(Arc::clone(segment));
        }
    }
    windows
}

/// Leaves those segments out of a group that would overtake others: what is merged has the lowest
/// rank of all, and must not win over a segment that is not merged with it, came before, and may
/// hold another value for the same time. They are merged in a longer window.
fn leave_out_of_turn(group: &mut Vec<Arc<Segment>>, segments: &[Arc<Segment>]) {
    loop {
        let Some(least) = group.iter().map(|s| s.footer.rank).min() else { return };
        let overtakes = |segment: &Arc<Segment>| {
            segments.iter().any(|other| {
                (least..segment.footer.rank).contains(&other.footer.rank)
                    && other.footer.range.overlaps(segment.footer.range)
                    && group.iter().all(|member| member.id != other.id)
            })
        };
        let Some(place) = group.iter().position(overtakes) else { return };
        group.remove(place);
    }
}

pub(crate) fn is_worth_merging(group: &[Arc<Segment>]) -> bool {
    let largest = group.iter().map(|s| s.bytes).max().unwrap_or(0);
    let others = group.iter().map(|s| s.bytes).sum::<u64>() - largest;
    group.len() > 1 && (others >= largest / LATE_SHARE || group.len() > LATE_SEGMENTS)
}

/// Goes through several segments series by series. Labels are compared as symbols of a table that
/// all share, so that no text is looked at after the tables were joined.
pub(crate) struct Merge<'a> {
    left_out: LeftOut<'a>,
    sources: Vec<Source<'a>>,
    pub(crate) parts: Vec<Part<'a>>,
    found: Vec<Found<'a>>,
    steps: Vec<Step<'a>>,
    scratch: overlay::Scratch,
    /// Labels, samples and exemplars of the series that came last; what of its samples has to be
    /// encoded anew is in `samples`.
    pub(crate) labels: Vec<(u32, u32)>,
    pieces: Vec<Piece<'a>>,
    samples: SampleBuffer,
    exemplars: Vec<Exemplar>,
}

/// What is not merged.
pub(crate) struct LeftOut<'a> {
    pub deletions: &'a Deletions,
    pub retention: Retention,
    /// Whether rollups are made: these outlive samples that are too old.
    pub for_rollups: bool,
}

struct Source<'a> {
    segment: &'a Segment,
    walk: Walk<'a>,
    /// For each symbol of the segment its number in the joined table.
    symbols: Vec<u32>,
    /// Labels of the next series; none is left when this is not.
    labels: Vec<(u32, u32)>,
    block: Option<Block>,
}

impl<'a> Merge<'a> {
    /// Also gives the joined table of symbols.
    pub(crate) fn new(segments: &'a [Arc<Segment>], left_out: LeftOut<'a>) -> (Self, Vec<Box<str>>) {
        let (texts, tables) = join_symbols(segments);
        let sources = segments.iter().zip(tables).map(|(segment, symbols)| {
            let walk = segment.index().walk(0);
            let mut source = Source { segment, walk, symbols, labels: Vec::new(), block: None };
            source.advance();
            source
        });
        let merge = Self {
            left_out,
            sources: sources.collect(),
            parts: Vec::new(),
            found: Vec::new(),
            steps: Vec::new(),
            scratch: overlay::Scratch::default(),
            labels: Vec::new(),
            pieces: Vec::new(),
            samples: SampleBuffer::default(),
            exemplars: Vec::new(),
        };
        (merge, texts)
    }

    /// Goes to the next series, if there is one, and finds its labels and parts.
    pub(crate) fn next_series(&mut self) -> bool {
        let Some(least) = self.sources.iter().filter(|s| s.block.is_some()).map(|s| &s.labels).min() else {
            return false;
        };
        self.labels.clone_from(least);
        self.parts.clear();
        for source in &mut self.sources {
            if let Some(block) = source.block
                && source.labels == self.labels
            {
                let mask = source.mask(&self.left_out);
                self.parts.push(Part { segment: source.segment, block, mask });
                source.advance();
            }
        }
        true
    }

    /// Goes to the next series, if there is one, and merges what its parts hold.
    fn next(&mut self) -> Result<bool, ReadError> {
        if !self.next_series() {
            return Ok(false);
        }
        self.found.clear();
        self.pieces.clear();
        self.samples.clear();
        self.exemplars.clear();
        for Part { segment, block, mask } in &self.parts {
            let segment: &'a Segment = segment;
            let (found, start) = (&mut self.found, self.exemplars.len());
            let each = |chunk: Chunk<'a>| {
                let masked = mask::overlaps(mask, chunk.summary.range);
                found.push(Found { segment, chunk, masked });
            };
            segment.walk(*block, each, &mut self.exemplars)?;
            if self.exemplars[start..].iter().any(|e| mask::covers(mask, e.time_ms)) {
                let added = self.exemplars.split_off(start);
                self.exemplars.extend(added.into_iter().filter(|e| !mask::covers(mask, e.time_ms)));
            }
        }
        self.exemplars.sort_by_key(|e| e.time_ms);
        self.exemplars.dedup();
        pieces::plan(&mut self.found, &mut self.steps);
        for step in self.steps.drain(..) {
            self.pieces.push(match step {
                Step::Copy(Found { segment, chunk, .. }) => Piece::Chunk(segment, chunk),
                Step::Read(range, _) => {
                    let start = self.samples.len();
                    overlay::read(&mut self.parts, range, &mut self.scratch, &mut self.samples)?;
                    Piece::Samples(start..self.samples.len())
                }
            });
        }
        Ok(true)
    }
}

impl Source<'_> {
    /// What is left out of the series that it stands at.
    fn mask(&self, left_out: &LeftOut<'_>) -> Vec<TimeRange> {
        let value = |name: &str| self.walk.pairs().find(|(n, _)| *n == name).map_or("", |(_, value)| value);
        let mut mask = left_out.deletions.mask(self.segment, value);
        if left_out.for_rollups {
            left_out.retention.extend_mask_of_rollups(value, &mut mask);
        } else {
            left_out.retention.extend_mask(self.segment, value, &mut mask);
        }
        mask
    }

    fn advance(&mut self) {
        self.block = self.walk.advance().map(|_| self.walk.block);
        let table = &self.symbols;
        let number = |symbol: u32| table.get(symbol as usize).copied().unwrap_or(0);
        self.labels.truncate(self.walk.shared);
        let new = self.walk.symbols().skip(self.labels.len());
        self.labels.extend(new.map(|(name, value)| (number(name), number(value))));
    }
}

/// The symbols of all segments, in order, and for each segment the places of its own among them.
fn join_symbols(segments: &[Arc<Segment>]) -> (Vec<Box<str>>, Vec<Vec<u32>>) {
    let indexes: Vec<_> = segments.iter().map(|s| s.index()).collect();
    let mut tables: Vec<Vec<u32>> =
        indexes.iter().map(|i| Vec::with_capacity(i.symbols() as usize)).collect();
    let mut texts: Vec<Box<str>> = Vec::new();
    let sources = indexes.iter().enumerate().filter(|(_, index)| index.symbols() > 0);
    let mut next: BinaryHeap<Reverse<(&str, usize)>> =
        sources.map(|(source, index)| Reverse((index.symbol(0), source))).collect();
    while let Some(Reverse((text, source))) = next.pop() {
        if texts.last().is_none_or(|last| **last != *text) {
            texts.push(text.into());
        }
        tables[source].push(texts.len() as u32 - 1);
        let place = tables[source].len() as u32;
        if place < indexes[source].symbols() {
            next.push(Reverse((indexes[source].symbol(place), source)));
        }
    }
    (texts, tables)
}

#[cfg(test)]
mod tests;
