//! Several threads for a piece of a query whose series come one by one, each of them from one series
//! of a selector: such series can be evaluated anywhere. They are passed on where the query runs, in
//! the order of the selection, so that the answer is to the last bit what one thread would give.
//!
//! Whoever has nothing to do takes the next stretch of series; who passes on takes part while the
//! next stretch in order is not there yet. Nobody goes further ahead than a few stretches, so that
//! little is held.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use vedette_model::MetricReader;

use super::{
    Evaluator, Query, Result, Selected, Sink,
    annotations::Annotations,
    answer,
    column::{Grid, Row},
};
use crate::{
    Cancel, Limits, Threads,
    ast::{Expr, VectorSelector},
    output::Stats,
};

/// Series that are evaluated before it is known how much there is to do.
const TRIED: usize = 16;
/// Series of a stretch.
const STRETCH: usize = 32;
/// How many stretches each thread may be ahead.
const AHEAD: usize = 4;
/// How long a thread waits for its next stretch.
const IDLE_MAX: Duration = Duration::from_millis(20);

/// What came of a stretch.
struct Stretch {
    rows: Vec<Row>,
    annotations: Annotations,
    stats: Stats,
}

/// The outer error is a panic.
type Outcome = thread::Result<Result<Stretch>>;

/// The piece of a query that is evaluated, and what it takes to do so.
struct Piece<'q> {
    reader: &'q dyn MetricReader,
    query: Query,
    limits: &'q Limits,
    cancel: &'q Cancel,
    totals_only: &'q HashSet<usize>,
    selected: &'q HashMap<usize, Selected>,
    expr: &'q Expr,
    selector: &'q VectorSelector,
    grid: &'q Grid,
    first: usize,
    end: usize,
}

/// What the threads share: whose turn it is, and what came of it.
struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The stretch that is taken next.
    next: usize,
    /// The stretch that is passed on next.
    wanted: usize,
    /// No stretch from this one on is evaluated.
    end: usize,
    ahead_max: usize,
    ready: BTreeMap<usize, Outcome>,
}

/// What the one who passes on does next.
enum Turn {
    PassOn(Box<Outcome>),
    Evaluate(usize),
    End,
}

/// Ends the work however the passing on ends, so that no thread waits for ever.
struct EndOnDrop<'w>(&'w Work);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.lock().end = 0;
        self.0.changed.notify_all();
    }
}

impl State {
    fn take(&mut self) -> Option<usize> {
        let may = self.next < self.end && self.next < self.wanted + self.ahead_max;
        may.then(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

impl Work {
    fn new(stretches: usize, threads: usize) -> Self {
        let (ready, ahead_max) = (BTreeMap::new(), AHEAD * threads);
        let state = State { next: 0, wanted: 0, end: stretches, ahead_max, ready };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a stretch as soon as one may be taken; `None` when none is left, or when who takes the answer
    /// is so slow that the thread is better lent to others.
    fn take(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if let Some(stretch) = state.take() {
                return Some(stretch);
            }
            if state.next >= state.end {
                return None;
            }
            let waited = self.changed.wait_timeout(state, IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
            if waited.1.timed_out() {
                return None;
            }
            state = waited.0;
        }
    }

    fn turn(&self) -> Turn {
        let mut state = self.lock();
        loop {
            let wanted = state.wanted;
            if let Some(outcome) = state.ready.remove(&wanted) {
                state.wanted += 1;
                self.changed.notify_all();
                return Turn::PassOn(Box::new(outcome));
            }
            if wanted >= state.end {
                return Turn::End;
            }
            if let Some(stretch) = state.take() {
                return Turn::Evaluate(stretch);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn put(&self, stretch: usize, outcome: Outcome) {
        let mut state = self.lock();
        if !matches!(outcome, Ok(Ok(_))) {
            // What comes behind it is of no use.
            state.end = state.end.min(stretch + 1);
        }
        state.ready.insert(stretch, outcome);
        self.changed.notify_all();
    }
}

impl Piece<'_> {
    /// Evaluates stretches until none is left.
    fn help(&self, work: &Work) {
        let evaluator = Evaluator::beside(self);
        while let Some(stretch) = work.take() {
            work.put(stretch, self.outcome(&evaluator, stretch));
        }
    }

    fn outcome(&self, evaluator: &Evaluator<'_>, stretch: usize) -> Outcome {
        let from = self.first + stretch * STRETCH;
        let to = (from + STRETCH).min(self.end);
        // Whoever waits for this stretch is to see the panic, not to wait for ever.
        catch_unwind(AssertUnwindSafe(|| evaluator.stretch(self, (from, to))))
    }
}

impl<'q> Evaluator<'q> {
    fn beside(piece: &Piece<'q>) -> Self {
        let totals_only = piece.totals_only.clone();
        let evaluator = Self::with_totals(piece.reader, totals_only, piece.query, piece.limits, piece.cancel);
        evaluator.selected.replace(piece.selected.clone());
        evaluator
    }

    /// Evaluates a piece by several threads, if its series come one by one, there is much to do and
    /// threads are free; `None`, and nothing was passed on, if its series do not.
    pub fn by_threads(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Option<Result<()>> {
        let threads = self.cancel.threads()?;
        if self.only.get().is_some() || self.cancel.observer().is_some() {
            return None;
        }
        let selector = answer::passed(expr).filter(|passed| passed.is_plain)?.selector;
        Some(self.stretches(threads, expr, selector, grid, sink))
    }

    fn stretches(
        &self,
        threads: &Threads,
        expr: &Expr,
        selector: &VectorSelector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<()> {
        let end = self.set_of(expr, selector, grid)?.len();
        let first = end.min(TRIED);
        let read_before = self.stats.get().samples_read;
        self.only_some(expr, selector, (0, first), grid, sink)?;
        if first == end {
            return Ok(());
        }
        let tried = self.stats.get().samples_read - read_before + (first * grid.count) as u64;
        let work_left = (tried / first as u64).saturating_mul((end - first) as u64);
        let taken = threads.take(work_left);
        if taken.is_empty() {
            return self.only_some(expr, selector, (first, end), grid, sink);
        }
        let selected = self.selected.borrow().clone();
        let Self { reader, query, limits, cancel, ref totals_only, .. } = *self;
        let selected = &selected;
        let piece =
            &Piece { reader, query, limits, cancel, totals_only, selected, expr, selector, grid, first, end };
        let work = &Work::new((end - first).div_ceil(STRETCH), taken.len() + 1);
        thread::scope(|scope| {
            let _end = EndOnDrop(work);
            for taken in taken {
                let thread = thread::Builder::new().name("query".to_owned());
                let help = move || {
                    piece.help(work);
                    drop(taken);
                };
                // Without it the others do its part.
                let _ = thread.spawn_scoped(scope, help);
            }
            loop {
                match work.turn() {
                    Turn::PassOn(outcome) => {
                        let stretch = outcome.unwrap_or_else(|panic| resume_unwind(panic))?;
                        self.pass_on(stretch, sink)?;
                    }
                    Turn::Evaluate(stretch) => work.put(stretch, piece.outcome(self, stretch)),
                    Turn::End => return Ok(()),
                }
            }
        })
    }

    /// Evaluates some series. What they take is not counted as this evaluator's samples any longer.
    fn stretch(&self, piece: &Piece<'_>, series: (usize, usize)) -> Result<Stretch> {
        let annotations = self.annotations.take();
        let stats = self.stats.take();
        let live = self.samples_live.get();
        let mut rows = Vec::with_capacity(series.1 - series.0);
        let result = self.only_some(piece.expr, piece.selector, series, piece.grid, &mut |row| {
            rows.push(row);
            Ok(())
        });
        self.samples_live.set(live);
        let annotations = self.annotations.replace(annotations);
        let stats = self.stats.replace(stats);
        result.map(|()| Stretch { rows, annotations, stats })
    }

    fn pass_on(&self, stretch: Stretch, sink: Sink<'_>) -> Result<()> {
        let Stretch { rows, annotations, stats } = stretch;
        self.annotations.absorb(annotations);
        let mut all = self.stats.get();
        all.samples_read += stats.samples_read;
        all.histograms_read += stats.histograms_read;
        all.samples_peak = all.samples_peak.max(stats.samples_peak);
        self.stats.set(all);
        for row in rows {
            self.count_live(row.values.len() + row.histograms.cells())?;
            sink(row)?;
        }
        Ok(())
    }
}
