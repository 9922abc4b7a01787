//! Reads series: instant selectors, windows of range selectors and of subqueries.

use std::{ops::Range, sync::Arc};

use vedette_model::{Hints, Labels, ResetHint, Select, SeriesSet, Thinning, TimeRange, is_stale};

use super::{
    Evaluator, Result, Sink,
    answer::address,
    column::{Grid, HISTOGRAM, Histograms, NONE, References, Row, is_some},
    samples::Samples,
    window::Slide,
};
use crate::{
    QueryError,
    ast::{Edges, Expr, ExprKind, MatrixSelector, Subquery, VectorSelector},
    span::Span,
};

/// Windows of one range selector: for each evaluation the samples in `(end - range, end]`.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub range_ms: i64,
    pub references: References,
    pub edges: Edges,
    pub lookback_ms: i64,
    /// Samples of the only window that were not read, as others stand for them.
    pub left_out: u64,
}

/// Which samples tell what a function makes of a window. Of sums it would be the rounding that differs.
fn thinning_of(function: &str) -> Option<Thinning> {
    Some(match function {
        "first_over_time" => Thinning::First,
        "last_over_time" => Thinning::Last,
        "min_over_time" => Thinning::Least,
        "max_over_time" => Thinning::Greatest,
        "delta" => Thinning::Ends,
        "rate" | "increase" | "resets" => Thinning::EndsOfGrowth,
        "count_over_time" | "present_over_time" | "absent_over_time" => Thinning::Any,
        _ => return None,
    })
}

/// Takes a series' labels, whether its name is to be dropped, and its samples without holes.
pub type WindowSink<'s> = &'s mut dyn FnMut(Labels, bool, &Samples, &Windows) -> Result<()>;

/// What an instant selector gives of its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    Value,
    /// The time in seconds.
    Time,
    /// Since when the sample counts, in seconds, 0 where that is not known.
    Start,
    /// The time, of floats only: a histogram is no info metric.
    InfoTime,
}

impl Evaluator<'_> {
    /// The series of a selector, once for all its evaluations if only some are evaluated at a time.
    fn select(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: Hints,
    ) -> Result<Arc<dyn SeriesSet>> {
        let place = address(selector);
        if let Some((_, set)) = self.selected.borrow().get(&place).filter(|(of, _)| *of == range) {
            return Ok(Arc::clone(set));
        }
        let set: Arc<dyn SeriesSet> = Arc::from(self.select_anew(selector, range, hints)?);
        if self.only.get().is_some_and(|(only, _, _)| only == place) {
            self.selected.borrow_mut().insert(place, (range, Arc::clone(&set)));
        }
        Ok(set)
    }

    /// The places in its set of those series of a selector that are to be evaluated.
    fn places(&self, selector: &VectorSelector, set: &dyn SeriesSet) -> Range<usize> {
        match self.only.get() {
            Some((only, from, to)) if only == address(selector) => from..to.min(set.len()),
            _ => 0..set.len(),
        }
    }

    /// The series that a piece of a query passes on, without reading any; see [`super::answer::passed`].
    pub fn set_of(&self, expr: &Expr, selector: &VectorSelector, grid: &Grid) -> Result<Arc<dyn SeriesSet>> {
        self.only_some(expr, selector, (0, 0), grid, &mut |_| Ok(()))?;
        let set = self.selected.borrow().get(&address(selector)).map(|(_, set)| Arc::clone(set));
        Ok(set.expect("BUG: whose selector was evaluated was selected"))
    }

    /// What a piece of a query makes of one series of its selector.
    pub fn row_of(
        &self,
        expr: &Expr,
        selector: &VectorSelector,
        series: usize,
        grid: &Grid,
    ) -> Result<Option<Row>> {
        let mut found = None;
        self.only_some(expr, selector, (series, series + 1), grid, &mut |row| {
            found = Some(row);
            Ok(())
        })?;
        Ok(found)
    }

    /// Evaluates a piece of a query for some series of its selector only.
    pub fn only_some(
        &self,
        expr: &Expr,
        selector: &VectorSelector,
        (from, to): (usize, usize),
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<()> {
        self.only.set(Some((address(selector), from, to)));
        let result = self.vector(expr, grid, sink);
        self.only.set(None);
        result
    }

    fn select_anew(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: Hints,
    ) -> Result<Box<dyn SeriesSet>> {
        self.cancel.check()?;
        let select =
            Select { matchers: selector.matchers.clone(), range, hints, series_max: self.limits.series_max };
        let observer = self.cancel.observer();
        let set = match observer {
            Some(observer) => observer.preparing(|| self.reader.select(&select))?,
            None => self.reader.select(&select)?,
        };
        if let Some(observer) = observer {
            observer.selected(set.len());
        }
        let mut stats = self.stats.get();
        stats.series_selected += set.len() as u64;
        self.stats.set(stats);
        Ok(set)
    }

    /// Reads a series' samples, without staleness markers if `drop_stale`, and of histograms count
    /// and sum only if `bare`.
    fn read(
        &self,
        set: &dyn SeriesSet,
        series: usize,
        range: TimeRange,
        (drop_stale, bare): (bool, bool),
        samples: &mut Samples,
    ) -> Result<()> {
        self.cancel.check()?;
        samples.clear();
        set.read(series, range, &mut samples.columns)?;
        if !samples.columns.histograms.is_empty() {
            self.read_histograms(set, series, range, samples)?;
        }
        if let Some(observer) = self.cancel.observer() {
            observer.read(samples.columns.len(), 8 * samples.cells().max(2 * samples.columns.len()));
        }
        // Only the peak is of interest: the buffer is used again for the next series.
        let cells = if samples.histograms.is_empty() { 2 * samples.columns.len() } else { samples.cells() };
        self.hold(cells)?;
        self.release(cells);
        let mut stats = self.stats.get();
        stats.samples_read += samples.columns.len() as u64;
        stats.histograms_read += samples.histograms.len() as u64;
        self.stats.set(stats);
        if drop_stale {
            samples.drop_stale();
        }
        if bare && !samples.histograms.is_empty() {
            samples.drop_buckets();
        }
        Ok(())
    }

    /// Reads those samples that stand for all of a window, and tells how many were left out; `None` where
    /// all are needed.
    fn read_thinned(
        &self,
        set: &dyn SeriesSet,
        series: usize,
        range: TimeRange,
        thinning: Thinning,
        samples: &mut Samples,
    ) -> Result<Option<u64>> {
        self.cancel.check()?;
        samples.clear();
        let left_out = set.read_thinned(series, range, thinning, &mut samples.columns)?;
        if !samples.columns.histograms.is_empty() || !samples.columns.starts_ms.is_empty() {
            return Ok(None);
        }
        let cells = 2 * samples.columns.len();
        self.hold(cells)?;
        self.release(cells);
        let mut stats = self.stats.get();
        stats.samples_read += samples.columns.len() as u64 + left_out;
        self.stats.set(stats);
        samples.drop_stale();
        Ok(Some(left_out))
    }

    fn read_histograms(
        &self,
        set: &dyn SeriesSet,
        series: usize,
        range: TimeRange,
        samples: &mut Samples,
    ) -> Result<()> {
        let error = |(time_ms, e): (i64, vedette_model::HistogramError)| {
            QueryError::Execution(format!("{} at {time_ms}: {e}", set.labels(series)))
        };
        // Whether the first one goes on is told by the one before it.
        let mut before = Samples::default();
        if samples.columns.histograms[0].0 == 0 && range.start_ms > i64::MIN {
            let end_ms = range.start_ms - 1;
            let start_ms = end_ms.saturating_sub(self.query.config.lookback_ms);
            set.read(series, TimeRange { start_ms, end_ms }, &mut before.columns)?;
            let last = before.columns.len().saturating_sub(1);
            if before.columns.histogram(last).is_none() {
                before.clear();
            }
            before.take_histograms(None).map_err(error)?;
        }
        let before = before.histograms.last().filter(|(i, _)| *i as usize + 1 == before.columns.len());
        samples.take_histograms(before.map(|(_, h)| &**h)).map_err(error)
    }

    /// An instant selector: the newest sample within the look-back, or what `take` says of it.
    pub fn select_instant(
        &self,
        selector: &VectorSelector,
        span: Span,
        grid: &Grid,
        take: Take,
        sink: Sink<'_>,
    ) -> Result<()> {
        let references = self.references(&selector.shift, grid)?;
        let lookback_ms = self.query.config.lookback_ms;
        let smoothed = selector.edges == Edges::Smoothed && take == Take::Value;
        let ahead = if smoothed { lookback_ms } else { 0 };
        let range =
            TimeRange { start_ms: references.first() - lookback_ms + 1, end_ms: references.last() + ahead };
        let hints = Hints { step_ms: grid.step_ms, ..Hints::default() };
        let set = self.select(selector, range, hints)?;
        self.promise_order(selector, &*set, grid);
        let bare = self.reads_only_totals(selector);
        let mut samples = self.samples.take();
        for series in self.places(selector, &*set) {
            self.read(&*set, series, range, (smoothed, bare), &mut samples)?;
            if samples.is_empty() {
                continue;
            }
            let mut values = self.column(grid.count, NONE)?;
            let mut histograms = Histograms::default();
            if smoothed && !samples.histograms.is_empty() {
                let labels = set.labels(series);
                let notes = self.notes(span, labels.metric_name());
                super::smoothed::at_times(
                    &samples,
                    &references,
                    lookback_ms,
                    &notes,
                    &mut values,
                    &mut histograms,
                );
            } else if smoothed {
                super::smoothed::floats_at_times(&samples.columns, &references, lookback_ms, &mut values);
            } else if samples.histograms.is_empty() {
                self.newest(&samples, &references, take, &mut values, |_, _| Ok(()))?;
            } else {
                self.newest(&samples, &references, take, &mut values, |step, current| {
                    let Some(histogram) = samples.histogram(current) else { return Ok(()) };
                    match take {
                        Take::Value => histograms.push(step, Arc::clone(histogram)),
                        Take::InfoTime => {
                            return Err(QueryError::Execution(format!(
                                "this should be an info metric, with float samples: {}",
                                set.labels(series)
                            )));
                        }
                        Take::Time | Take::Start => {}
                    }
                    Ok(())
                })?;
                for (step, _) in histograms.iter() {
                    values[step] = HISTOGRAM;
                }
            }
            let row = Row { labels: set.labels(series), drop_name: false, values, histograms };
            if row.is_empty() {
                self.recycle(row.values);
            } else {
                self.hold(row.histograms.cells())?;
                if let Some(observer) = self.cancel.observer() {
                    let steps = row.values.iter().enumerate().filter(|(_, v)| is_some(**v));
                    steps.for_each(|(step, _)| {
                        observer.looked_at(step, row.histograms.get(step).map_or(1, |h| h.cells() / 2));
                    });
                }
                sink(row)?;
            }
        }
        self.samples.set(samples);
        Ok(())
    }

    /// Looks up the newest sample of each time; `found` is told evaluation and index of each.
    fn newest(
        &self,
        samples: &Samples,
        references: &References,
        take: Take,
        column: &mut [f64],
        mut found: impl FnMut(usize, usize) -> Result<()>,
    ) -> Result<()> {
        let lookback_ms = self.query.config.lookback_ms;
        let buffer = &samples.columns;
        let mut next = 0;
        for (step, out) in column.iter_mut().enumerate() {
            let at = references.at(step);
            while buffer.times_ms.get(next).is_some_and(|t| *t <= at) {
                next += 1;
            }
            let Some(current) = next.checked_sub(1) else { continue };
            let (time, value) = (buffer.times_ms[current], buffer.values[current]);
            if time <= at - lookback_ms || (is_stale(value) && samples.histogram(current).is_none()) {
                continue;
            }
            *out = match take {
                Take::Value => value,
                Take::Time | Take::InfoTime => time as f64 / 1000.0,
                Take::Start => buffer.start_ms(current) as f64 / 1000.0,
            };
            found(step, current)?;
        }
        Ok(())
    }

    /// Windows over a range selector or a subquery; `function` is what will be applied to them.
    pub fn windows(
        &self,
        expr: &Expr,
        grid: &Grid,
        function: &'static str,
        sink: WindowSink<'_>,
    ) -> Result<()> {
        let expr = expr.unwrap_parens();
        let Some(observer) = self.cancel.observer() else {
            return self.windows_of(expr, grid, function, sink);
        };
        let mut visit = observer.enter(expr.span);
        self.windows_of(expr, grid, function, &mut |labels, drop_name, samples, windows| {
            let mut slide = Slide::new(windows, &samples.columns);
            for step in 0..grid.count {
                let (low, high) = slide.at(step);
                observer.looked_at(step, high - low);
            }
            visit.pass(samples.columns.len(), 0, || sink(labels, drop_name, samples, windows))
        })
    }

    fn windows_of(
        &self,
        expr: &Expr,
        grid: &Grid,
        function: &'static str,
        sink: WindowSink<'_>,
    ) -> Result<()> {
        match &expr.kind {
            ExprKind::Matrix(matrix) => self.matrix_windows(matrix, grid, function, sink),
            ExprKind::Subquery(subquery) => {
                let Some(observer) = self.cancel.observer() else {
                    return self.subquery_windows(subquery, grid, sink);
                };
                let inside = observer.subquery();
                self.subquery_windows(subquery, grid, &mut |labels, drop_name, samples, windows| {
                    inside.outside(|| sink(labels, drop_name, samples, windows))
                })
            }
            _ => unreachable!("BUG: type checks let only ranges through"),
        }
    }

    fn matrix_windows(
        &self,
        matrix: &MatrixSelector,
        grid: &Grid,
        function: &'static str,
        sink: WindowSink<'_>,
    ) -> Result<()> {
        let range_ms = self.positive_ms(&matrix.range)?;
        let references = self.references(&matrix.selector.shift, grid)?;
        let lookback_ms = self.query.config.lookback_ms;
        let edges = matrix.selector.edges;
        let windows = Windows { range_ms, references, edges, lookback_ms, left_out: 0 };
        let (before, after) = windows.outside();
        let range = TimeRange {
            start_ms: references.first() - range_ms - before + 1,
            end_ms: references.last() + after,
        };
        let hints = Hints { step_ms: grid.step_ms, range_ms, function: Some(function), ..Hints::default() };
        let set = self.select(&matrix.selector, range, hints)?;
        self.promise_order(&matrix.selector, &*set, grid);
        let bare = self.reads_only_totals(&matrix.selector);
        let is_one_window = grid.count == 1 && edges == Edges::Plain && self.cancel.observer().is_none();
        let thinning = thinning_of(function).filter(|_| is_one_window);
        let mut samples = self.samples.take();
        for series in self.places(&matrix.selector, &*set) {
            let thinned = match thinning {
                Some(thinning) => self.read_thinned(&*set, series, range, thinning, &mut samples)?,
                None => None,
            };
            if thinned.is_none() {
                self.read(&*set, series, range, (true, bare), &mut samples)?;
            }
            let windows = Windows { left_out: thinned.unwrap_or(0), ..windows };
            if !samples.is_empty() {
                sink(set.labels(series), false, &samples, &windows)?;
            }
        }
        self.samples.set(samples);
        Ok(())
    }

    fn subquery_windows(&self, subquery: &Subquery, grid: &Grid, sink: WindowSink<'_>) -> Result<()> {
        let range_ms = self.positive_ms(&subquery.range)?;
        // Less than a millisecond is no step, as if none were given.
        let given_ms = subquery.step.as_ref().map_or(Ok(0), |step| self.positive_ms(step))?;
        let step_ms = if given_ms > 0 { given_ms } else { self.query.config.subquery_step_ms.max(1) };
        let references = self.references(&subquery.shift, grid)?;
        let windows = Windows {
            range_ms,
            references,
            edges: Edges::Plain,
            lookback_ms: self.query.config.lookback_ms,
            left_out: 0,
        };
        // Evaluations stand at multiples of the step, so that they do not move with the query.
        let start_ms = ((references.first() - range_ms).div_euclid(step_ms) + 1) * step_ms;
        if start_ms > references.last() {
            return Ok(());
        }
        let count = (references.last() - start_ms) / step_ms + 1;
        let count = usize::try_from(count).ok().filter(|n| *n as u64 <= self.limits.samples_max);
        let count = count.ok_or(QueryError::TooManySamples)?;
        let inner = Grid { start_ms, step_ms, count, end_ms: references.last() };
        let mut samples = Samples::default();
        self.vector(&subquery.expr, &inner, &mut |mut row| {
            samples.clear();
            let mut histograms = std::mem::take(&mut row.histograms);
            // A sample that steps over others, or that stands for several steps, says nothing of
            // the one before it.
            histograms.map(|_, h| {
                let hint = if h.hint == ResetHint::Gauge { h.hint } else { ResetHint::Unknown };
                Some(h.with_hint(hint))
            });
            for (i, v) in row.values.iter().enumerate().filter(|(_, v)| is_some(**v)) {
                match histograms.get(i) {
                    Some(histogram) => samples.push_histogram(inner.time(i), Arc::clone(histogram)),
                    None => samples.columns.push(inner.time(i), *v),
                }
            }
            self.release(histograms.cells());
            self.recycle(row.values);
            if samples.is_empty() {
                return Ok(());
            }
            self.hold(samples.cells())?;
            self.release(samples.cells());
            sink(row.labels, row.drop_name, &samples, &windows)
        })
    }
}

impl Windows {
    /// How far before and after a window samples are of interest.
    pub fn outside(&self) -> (i64, i64) {
        match self.edges {
            Edges::Plain => (0, 0),
            Edges::Anchored => (self.lookback_ms, 0),
            Edges::Smoothed => (self.lookback_ms, self.lookback_ms),
        }
    }

    /// The same windows with what is of interest outside of them.
    pub fn widened(&self) -> Self {
        let (before, after) = self.outside();
        let mut wide = *self;
        wide.range_ms += before + after;
        wide.references.offset_ms -= after;
        wide
    }
}
