//! Reading rollups, and telling where samples have to be read in their place.

use std::{cmp::Ordering, sync::Arc};

use parking_lot::Mutex;
use vedette_model::{
    ChunkSummary, Labels, ReadError, RollupRow, RollupSet, SampleBuffer, Select, SeriesSet, TimeRange,
};

use super::{Found, IndexSource, Selected, Selection, add_sealed, segments_in};
use crate::{
    Store,
    rollup::{codec, rows::end_of},
    segment::{Block, Segment},
};

/// How often selecting begins anew because samples were sealed meanwhile.
const ATTEMPTS_MAX: usize = 8;

impl Store {
    pub(super) fn select_rollups(
        &self,
        select: &Select,
        step_ms: i64,
    ) -> Result<Option<Box<dyn RollupSet>>, ReadError> {
        if self.config.rollups.iter().all(|r| r.step_ms != step_ms) {
            return Ok(None);
        }
        let sealed_until_ms = self.sealed_until_ms.load(std::sync::atomic::Ordering::Acquire);
        let (found, unsealed_ms) = self.find_with_bounds(select);
        let Found { deletions, retention, listed, segments, series: stored } = found;
        let all = Arc::clone(&self.rollups.read());
        let kept_from_ms = self.samples_kept_from_ms();
        let of_step: Vec<Arc<Segment>> =
            all.iter().filter(|f| i64::from(f.footer.step_s) * 1000 == step_ms).cloned().collect();
        let told = told(&of_step, &listed, select.range, (kept_from_ms, sealed_until_ms));
        let files: Vec<Arc<Segment>> = segments_in(&of_step, select.range).cloned().collect();
        let mut rolled = Vec::new();
        for (file, position) in files.iter().zip(0u32..) {
            let mut numbers = IndexSource::Segment(file).select(&select.matchers, select.range);
            deletions.hide(file, &mut numbers);
            retention.hide_rollups(file, select.range, &mut numbers);
            add_sealed(&mut rolled, file.index(), position, &numbers);
        }
        let joined = join(stored.to_vec(), unsealed_ms, rolled);
        let final_ms = files.iter().map(|f| final_until(f).saturating_add(1)).max().unwrap_or(i64::MIN);
        // Older ones in the head come from a replay of the log, and are in rows already.
        let unsealed_ms = joined
            .unsealed_ms
            .into_iter()
            .map(|ms| ms.map(|ms| ms.max(kept_from_ms).max(final_ms)))
            .collect();
        if select.series_max > 0 && joined.stored.len() > select.series_max {
            return Err(ReadError::TooManySeries { max: select.series_max });
        }
        Ok(Some(Box::new(Rolled {
            step_ms,
            told,
            files,
            parts: joined.parts,
            unsealed_ms,
            selection: Selection {
                head: Arc::clone(&self.head),
                current: Arc::clone(&self.segments),
                deletions,
                retention,
                listed,
                range: select.range,
                segments,
                series: joined.stored.into(),
                shown: None,
            },
            scratch: Mutex::default(),
        })))
    }

    /// The series that are stored, and for each the time of its first sample that was not sealed.
    fn find_with_bounds(&self, select: &Select) -> (Found, Vec<Option<i64>>) {
        let mut attempts = 0;
        loop {
            let found = self.find(&select.matchers, select.range);
            let first_ms = |s: &Selected| s.head.and_then(|head| self.head.first_ms(head));
            let unsealed_ms = found.series.iter().map(first_ms).collect();
            // What was sealed in between is in none of the segments found.
            if Arc::ptr_eq(&self.segments.read(), &found.listed) {
                return (found, unsealed_ms);
            }
            attempts += 1;
            if attempts == ATTEMPTS_MAX {
                let none_told = vec![Some(i64::MIN); found.series.len()];
                return (found, none_told);
            }
        }
    }
}

/// Stored series and those of rollups, side by side.
struct Joined {
    stored: Vec<Selected>,
    unsealed_ms: Vec<Option<i64>>,
    /// File of rollups and the rows there.
    parts: Vec<Vec<(u32, Block)>>,
}

/// Joins two lists in order of labels.
fn join(stored: Vec<Selected>, unsealed_ms: Vec<Option<i64>>, rolled: Vec<Selected>) -> Joined {
    let mut joined = Joined { stored: Vec::new(), unsealed_ms: Vec::new(), parts: Vec::new() };
    let mut stored = stored.into_iter().zip(unsealed_ms).peekable();
    let mut rolled = rolled.into_iter().peekable();
    loop {
        let order = match (stored.peek(), rolled.peek()) {
            (Some((a, _)), Some(b)) => a.labels.cmp(&b.labels),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return joined,
        };
        let mine = if order.is_le() { stored.next() } else { None };
        let theirs = if order.is_ge() { rolled.next() } else { None };
        let (labels, parts) = theirs.map_or((None, Vec::new()), |r| (Some(r.labels), r.sealed));
        let only_rolled =
            || Selected { labels: labels.unwrap_or_else(Labels::empty), head: None, sealed: Vec::new() };
        let (series, unsealed_ms) = mine.unwrap_or_else(|| (only_rolled(), None));
        joined.stored.push(series);
        joined.unsealed_ms.push(unsealed_ms);
        joined.parts.push(parts);
    }
}

/// The stretches in `range`, and some beyond it, whose sealed samples the files tell of, in order,
/// neighbours joined. Where there is no file, between two of them or behind the last, and no
/// segment either, it is told that there is nothing.
fn told(
    files: &[Arc<Segment>],
    listed: &[Arc<Segment>],
    range: TimeRange,
    (kept_from_ms, sealed_until_ms): (i64, i64),
) -> Vec<TimeRange> {
    let mut told: Vec<TimeRange> = Vec::new();
    let mut tell = |window: TimeRange, from_ms: i64, sources: &[u64]| {
        if !window.overlaps(range) {
            return;
        }
        let untold = |s: &Arc<Segment>| {
            let TimeRange { start_ms, end_ms } = s.footer.range;
            let range = TimeRange { start_ms: start_ms.max(from_ms), end_ms };
            let is_source = sources.binary_search(&s.id).is_ok();
            (!is_source && range.start_ms <= end_ms && range.overlaps(window)).then_some(range)
        };
        let mut untold: Vec<TimeRange> = listed.iter().filter_map(untold).collect();
        untold.sort_unstable_by_key(|r| r.start_ms);
        let mut next_ms = window.start_ms;
        for TimeRange { start_ms, end_ms } in untold {
            push(&mut told, next_ms, start_ms.saturating_sub(1).min(window.end_ms));
            next_ms = next_ms.max(end_ms.saturating_add(1));
        }
        push(&mut told, next_ms, window.end_ms);
    };
    let mut before_ms = None;
    for file in files {
        let window = TimeRange { start_ms: file.footer.from_ms, end_ms: file.footer.until_ms - 1 };
        if let Some(start_ms) = before_ms.filter(|&before| before < window.start_ms) {
            tell(TimeRange { start_ms, end_ms: window.start_ms - 1 }, i64::MIN, &[]);
        }
        before_ms = Some(file.footer.until_ms);
        // Rows that are final tell of samples that are gone, whatever a replay brings again.
        let old = window.end_ms < kept_from_ms;
        let from_ms = if old { i64::MAX } else { final_until(file).saturating_add(1) };
        tell(window, from_ms, &file.footer.sources);
    }
    if let Some(start_ms) = before_ms.filter(|&before| before < sealed_until_ms) {
        tell(TimeRange { start_ms, end_ms: sealed_until_ms - 1 }, i64::MIN, &[]);
    }
    told
}

/// End of the last step whose row is final, see [`crate::rollup`].
fn final_until(file: &Segment) -> i64 {
    end_of(file.base_ms(), i64::from(file.footer.step_s) * 1000)
}

/// Adds a stretch that is not before the ones there; none if it ends before it begins.
fn push(ranges: &mut Vec<TimeRange>, start_ms: i64, end_ms: i64) {
    if start_ms > end_ms {
        return;
    }
    match ranges.last_mut() {
        Some(last) if last.end_ms.saturating_add(1) >= start_ms => last.end_ms = last.end_ms.max(end_ms),
        _ => ranges.push(TimeRange { start_ms, end_ms }),
    }
}

/// A selection with rollups.
struct Rolled {
    step_ms: i64,
    /// See [`told`].
    told: Vec<TimeRange>,
    files: Vec<Arc<Segment>>,
    parts: Vec<Vec<(u32, Block)>>,
    unsealed_ms: Vec<Option<i64>>,
    selection: Selection,
    scratch: Mutex<Vec<(codec::Scratch, Vec<RollupRow>)>>,
}

impl Rolled {
    /// What does not count of the rows of a series, as it was deleted or is too old by a rule.
    fn hidden(&self, series: usize) -> Vec<TimeRange> {
        let Selection { deletions, retention, series: selected, .. } = &self.selection;
        let labels = &selected[series].labels;
        let value = |name: &str| labels.get(name).unwrap_or("");
        let mut hidden = Vec::new();
        for &(position, _) in &self.parts[series] {
            let file = &self.files[position as usize];
            let mut mask = deletions.mask(file, value);
            retention.extend_mask_of_rollups(value, &mut mask);
            let all = file.footer.range;
            hidden.extend(mask.into_iter().filter(|m| m.overlaps(all)).map(|m| TimeRange {
                start_ms: m.start_ms.max(all.start_ms),
                end_ms: m.end_ms.min(all.end_ms),
            }));
        }
        hidden.sort_unstable_by_key(|h| h.start_ms);
        hidden
    }

    /// The stretches that rows of a series tell of: where a step is hidden in part, samples have to
    /// be read.
    fn told_of(&self, series: usize) -> Vec<TimeRange> {
        let hidden = self.hidden(series);
        let mut told = Vec::with_capacity(self.told.len());
        for stretch in &self.told {
            let mut next_ms = stretch.start_ms;
            for h in hidden.iter().filter(|h| h.overlaps(*stretch)) {
                push(&mut told, next_ms, h.start_ms.saturating_sub(1).min(stretch.end_ms));
                next_ms = next_ms.max(h.end_ms.saturating_add(1));
            }
            push(&mut told, next_ms, stretch.end_ms);
        }
        told
    }

    /// The stretches of `range`, in whole steps, that rows tell of.
    fn whole_steps(&self, series: usize, range: TimeRange) -> Vec<TimeRange> {
        let sealed_until_ms = self.unsealed_ms[series].unwrap_or(i64::MAX);
        let mut whole = Vec::new();
        for told in &self.told_of(series) {
            let start_ms = told.start_ms.max(range.start_ms);
            let end_ms = told.end_ms.min(range.end_ms).min(sealed_until_ms.saturating_sub(1));
            // A step begins after the end of the one before.
            let first_end_ms = end_of(start_ms.saturating_sub(1), self.step_ms).saturating_add(self.step_ms);
            let last_end_ms = end_ms.div_euclid(self.step_ms).saturating_mul(self.step_ms);
            if first_end_ms <= last_end_ms && start_ms <= end_ms {
                push(&mut whole, first_end_ms - self.step_ms + 1, last_end_ms);
            }
        }
        whole
    }

    fn add_rows(
        &self,
        series: usize,
        whole: &[TimeRange],
        (scratch, found): &mut (codec::Scratch, Vec<RollupRow>),
        rows: &mut Vec<RollupRow>,
    ) -> Result<(), ReadError> {
        let start = rows.len();
        for &(position, block) in &self.parts[series] {
            let file = &self.files[position as usize];
            found.clear();
            let bytes = file.block_bytes(block)?;
            codec::decode(bytes, self.step_ms, scratch, found)
                .ok_or_else(|| file.damaged(&format!("series at {}", block.offset)))?;
            for row in found.drain(..) {
                if !whole.iter().any(|w| w.contains(row.end_ms)) {
                    continue;
                }
                // A step at the border of two windows has a row in each.
                match rows[start..].last_mut() {
                    Some(last) if last.end_ms == row.end_ms => last.add(&row),
                    _ => rows.push(row),
                }
            }
        }
        Ok(())
    }
}

impl RollupSet for Rolled {
    fn step_ms(&self) -> i64 {
        self.step_ms
    }

    fn rollups(
        &self,
        series: usize,
        range: TimeRange,
        rows: &mut Vec<RollupRow>,
        raw: &mut Vec<TimeRange>,
    ) -> Result<(), ReadError> {
        let range = self.selection.clamp(range);
        let start = rows.len();
        let whole = self.whole_steps(series, range);
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let added = self.add_rows(series, &whole, &mut scratch, rows);
        self.scratch.lock().push(scratch);
        if let Err(error) = added {
            rows.truncate(start);
            return Err(error);
        }
        let mut next_ms = range.start_ms;
        for w in whole {
            if next_ms < w.start_ms {
                raw.push(TimeRange { start_ms: next_ms, end_ms: w.start_ms - 1 });
            }
            next_ms = w.end_ms.saturating_add(1);
        }
        if next_ms <= range.end_ms {
            raw.push(TimeRange { start_ms: next_ms, end_ms: range.end_ms });
        }
        Ok(())
    }
}

impl SeriesSet for Rolled {
    fn len(&self) -> usize {
        self.selection.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.selection.labels(series)
    }

    fn summaries(&self, series: usize, range: TimeRange, out: &mut Vec<ChunkSummary>) {
        self.selection.summaries(series, range, out);
    }

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        self.selection.read(series, range, out)
    }
}
