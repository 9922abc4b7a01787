//! Answers of range queries, kept for the next time: a dashboard that moves along with the clock
//! asks for the same steps again and again, and for few new ones.
//!
//! Kept are the series of an answer under the expression, the step, where the steps stand, and
//! all settings that an answer depends on. When the query comes again, the store is asked what has
//! changed since ([`MetricReader::changes`]); steps that look at nothing that changed are given
//! again, the others are evaluated and take their places among them. More steps than were asked for
//! are kept on both sides, so that a range may step back. Invariant: the answer is, to the bit, the one that evaluating
//! all steps would give. What [`reach`] cannot place in time is never kept, nor are answers made of
//! native histograms: whether the first of a range is a reset is told by the one before it, so far as
//! it looks. Warnings and infos tell of a whole range: kept steps are used when the evaluated ones
//! tell all that the kept ones may have told.

mod columns;
mod reach;
mod steps;
mod stored;

use std::sync::Arc;

use parking_lot::Mutex;
use vedette_model::{ChangeMark, MetricReader};

use self::{
    columns::Columns,
    reach::Reach,
    steps::Steps,
    stored::{Key, Stored},
};
use crate::{
    Annotation, AnnotationKind, Answered, Cancel, Ended, Engine, Expr, Limits, QueryError, QueryOutput,
    Stats, Value, WriteNumber, eval::ANNOTATIONS_MAX,
};

/// An answer larger than this part of all that may be kept is not kept.
const LARGEST_PART: usize = 4;

/// Of the steps that are there in more pieces than these the longest pieces are used: each gap
/// between them is a query of its own.
const PIECES_MAX: usize = 3;

/// Keeps answers of range queries.
#[derive(Debug)]
pub struct RangeCache {
    bytes_max: usize,
    write: WriteNumber,
    stored: Mutex<Stored>,
}

/// An answer, and how much of it was there.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedOutput {
    /// The answer. Its stats tell what was read for this one.
    pub output: QueryOutput,
    /// Steps that did not have to be evaluated.
    pub steps_reused: u64,
}

/// What looking for an answer gave.
enum Found {
    Answer {
        entry: Arc<Entry>,
        ended: Ended,
        steps_reused: u64,
    },
    /// Neither is it there, nor can it be kept.
    Unfit,
    /// It is to be evaluated, and kept under this.
    Nothing(Key, ChangeMark),
}

/// What the cache did so far, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Queries of which all steps were there.
    pub hits: u64,
    /// Queries of which some steps were there.
    pub partial_hits: u64,
    /// Queries of which no step was there.
    pub misses: u64,
    /// Queries whose answers cannot be kept.
    pub bypassed: u64,
    /// Steps that were there.
    pub steps_reused: u64,
    /// Steps that were evaluated for queries whose answers can be kept.
    pub steps_evaluated: u64,
    /// Answers that had to make room.
    pub evicted: u64,
    /// Answers held.
    pub entries: usize,
    /// Bytes held, about.
    pub bytes: usize,
}

/// An answer as it is kept.
#[derive(Debug, Clone)]
struct Entry {
    steps: Steps,
    /// Steps of the longest range that was asked for.
    longest: u64,
    /// Changes before this are in it.
    mark: ChangeMark,
    series: Columns,
    /// Warnings and infos of these steps, or of more.
    notes: Vec<Annotation>,
}

impl RangeCache {
    /// A cache that holds at most about so many bytes, and hands numbers on as they are written by
    /// `write`.
    pub fn new(bytes_max: usize, write: WriteNumber) -> Self {
        Self { bytes_max, write, stored: Mutex::default() }
    }

    /// Whether answers of an expression can be kept at all: what a step gives must not depend on
    /// where the range begins or ends.
    pub fn fits(expr: &Expr) -> bool {
        Reach::of(expr, crate::EngineConfig::default(), 1).is_some()
    }

    /// What it did and holds.
    pub fn stats(&self) -> CacheStats {
        self.stored.lock().stats()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.stored.lock().clear();
    }

    /// As [`Engine::range`].
    pub fn range(
        &self,
        engine: &Engine,
        reader: &dyn MetricReader,
        expr: &Expr,
        times: (i64, i64, i64),
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<CachedOutput, QueryError> {
        let mut series = Vec::new();
        let (ended, steps_reused) =
            self.range_into(engine, reader, expr, times, (limits, cancel), &mut |answered| {
                series.push(answered.to_series());
                Ok(())
            })?;
        let Ended { warnings, infos, stats } = ended;
        let output = QueryOutput { value: Value::Matrix(series), warnings, infos, stats };
        Ok(CachedOutput { output, steps_reused })
    }

    /// As [`Engine::range_into`]; also gives how many steps did not have to be evaluated. An answer
    /// that is too large to be kept is not held either.
    pub fn range_into(
        &self,
        engine: &Engine,
        reader: &dyn MetricReader,
        expr: &Expr,
        times: (i64, i64, i64),
        (limits, cancel): (&Limits, &Cancel),
        emit: &mut dyn FnMut(Answered<'_>) -> Result<(), QueryError>,
    ) -> Result<(Ended, u64), QueryError> {
        let wanted = Steps::of(times);
        match self.look_up(engine, reader, expr, times, limits, cancel)? {
            Found::Answer { entry, ended, steps_reused } => {
                entry.series.each(entry.steps, wanted, emit)?;
                Ok((ended, steps_reused))
            }
            // Where a query ends beyond its last step shows in `end()`, and in notes of a single step.
            Found::Unfit => Ok((engine.range_into(reader, expr, times, limits, cancel, emit)?, 0)),
            Found::Nothing(key, mark) => {
                let mut kept = Some(Columns::default());
                let ended =
                    engine.range_into(reader, expr, wanted.times(), limits, cancel, &mut |answered| {
                        if let Some(series) = &mut kept
                            && (!series.push(wanted, answered)
                                || series.heap_bytes() > self.bytes_max / LARGEST_PART)
                        {
                            kept = None;
                        }
                        emit(answered)
                    })?;
                self.stored.lock().count(0, wanted.count());
                let notes: Vec<_> = ended.warnings.iter().chain(&ended.infos).cloned().collect();
                match kept {
                    Some(series) if ended.stats.histograms_read == 0 && notes.len() < ANNOTATIONS_MAX => {
                        let (steps, longest) = (wanted, wanted.count());
                        self.keep(key, Arc::new(Entry { steps, longest, mark, series, notes }));
                    }
                    _ => self.stored.lock().forget(&key),
                }
                Ok((ended, 0))
            }
        }
    }

    /// Looks for an answer, evaluates the steps that it lacks and keeps what came of it.
    fn look_up(
        &self,
        engine: &Engine,
        reader: &dyn MetricReader,
        expr: &Expr,
        times: (i64, i64, i64),
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<Found, QueryError> {
        engine.check_range(expr, times, limits)?;
        let wanted = Steps::of(times);
        let bypass = || {
            self.stored.lock().counts.bypassed += 1;
            Ok(Found::Unfit)
        };
        if wanted.count() == 1 {
            return bypass();
        }
        let key = Key::new(expr, wanted, engine.config(), limits);
        let entry = self.stored.lock().find(&key);
        // Before anything is read, so that nothing that changes meanwhile is missed.
        let changes = reader.changes(entry.as_ref().map(|e| e.mark));
        let (Some(changes), Some(reach)) = (changes, Reach::of(expr, engine.config(), wanted.step_ms)) else {
            return bypass();
        };
        let mark = changes.mark;
        let Some(entry) = entry else { return Ok(Found::Nothing(key, mark)) };
        let good = reach.unchanged(entry.steps, &changes.ranges);
        // What is to be told is learned from steps that are evaluated.
        let spared = if entry.notes.is_empty() { 0 } else { wanted.step_ms };
        let gaps = wanted.gaps_beside(&good, wanted.last_ms - spared, PIECES_MAX);
        let evaluated: u64 = gaps.iter().map(|gap| gap.count()).sum();
        if evaluated == wanted.count() {
            return Ok(Found::Nothing(key, mark));
        }
        let mut pieces = Vec::with_capacity(gaps.len());
        let (mut notes, mut stats) = (Vec::new(), Stats::default());
        for gap in gaps {
            let mut series = Columns::default();
            let mut fits = true;
            let ended = engine.range_into(reader, expr, gap.times(), limits, cancel, &mut |answered| {
                fits &= series.push(gap, answered);
                Ok(())
            })?;
            if !fits || ended.stats.histograms_read > 0 {
                return Ok(Found::Nothing(key, mark));
            }
            notes.extend(ended.warnings.into_iter().chain(ended.infos));
            stats = total(stats, ended.stats);
            pieces.push((gap, series));
        }
        notes.sort_by(|a, b| (a.kind, &a.message).cmp(&(b.kind, &b.message)));
        notes.dedup_by(|a, b| same_note(a, b));
        // All that the kept steps may have told of is told by the evaluated ones, too, so that no
        // doubt is left which of it belongs to the kept ones. Some notes count over a whole range,
        // which those of several parts do not.
        let told = entry.notes.iter().all(|kept| notes.iter().any(|n| same_note(kept, n)));
        if !told || (pieces.len() > 1 && !notes.is_empty()) {
            return Ok(Found::Nothing(key, mark));
        }
        let steps_reused = wanted.count() - evaluated;
        let mut entry = {
            let mut stored = self.stored.lock();
            stored.count(steps_reused, evaluated);
            stored.forget_if(&key, &entry);
            entry
        };
        // Nobody else has it, unless it is just being handed on.
        let own = Arc::make_mut(&mut entry);
        own.grow(wanted, &good, pieces, self.write);
        (own.mark, own.notes) = (mark, notes.clone());
        if notes.len() < ANNOTATIONS_MAX {
            self.keep(key, Arc::clone(&entry));
        }
        let (warnings, infos) = notes.into_iter().partition(|n| n.kind == AnnotationKind::Warning);
        Ok(Found::Answer { entry, ended: Ended { warnings, infos, stats }, steps_reused })
    }

    fn keep(&self, key: Key, entry: Arc<Entry>) {
        let bytes = key.heap_bytes() + entry.series.heap_bytes();
        let mut stored = self.stored.lock();
        if bytes <= self.bytes_max / LARGEST_PART {
            stored.keep(key, entry, bytes, self.bytes_max);
        } else {
            stored.forget(&key);
        }
    }
}

impl Entry {
    /// Makes it one that has all wanted steps, the evaluated ones among them, and beside these the
    /// good ones that follow on them: half as many as the longest range that was asked for had.
    fn grow(&mut self, wanted: Steps, good: &[Steps], pieces: Vec<(Steps, Columns)>, write: WriteNumber) {
        self.longest = self.longest.max(wanted.count());
        let steps = wanted.with_neighbours(good, self.longest + self.longest / 2);
        self.series.move_to(self.steps, steps);
        self.series.write(write);
        self.steps = steps;
        for (piece, mut series) in pieces {
            series.write(write);
            self.series.replace(steps, piece, series);
        }
        self.series.drop_empty();
    }
}

fn total(a: Stats, b: Stats) -> Stats {
    Stats {
        series_selected: a.series_selected + b.series_selected,
        samples_read: a.samples_read + b.samples_read,
        histograms_read: a.histograms_read + b.histograms_read,
        samples_peak: a.samples_peak.max(b.samples_peak),
    }
}

fn same_note(a: &Annotation, b: &Annotation) -> bool {
    (a.kind, &a.message) == (b.kind, &b.message)
}
