//! Reads series: instant selectors, windows of range selectors and of subqueries.

use vedette_model::{Hints, Labels, SampleBuffer, Select, SeriesSet, TimeRange, is_stale};

use super::{
    Evaluator, Result, Sink,
    column::{Grid, NONE, References, Row, is_some},
};
use crate::{
    QueryError,
    ast::{Edges, Expr, ExprKind, MatrixSelector, Subquery, VectorSelector},
    output::{Point, Series},
};

/// Windows of one range selector: for each evaluation the samples in `(end - range, end]`.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    pub range_ms: i64,
    pub references: References,
    pub edges: Edges,
    pub lookback_ms: i64,
}

/// Takes a series' labels, whether its name is to be dropped, and its samples without holes.
pub type WindowSink<'s> = &'s mut dyn FnMut(Labels, bool, &SampleBuffer, &Windows) -> Result<()>;

impl Evaluator<'_> {
    fn select(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
        hints: Hints,
    ) -> Result<Box<dyn SeriesSet>> {
        self.cancel.check()?;
        let select =
            Select { matchers: selector.matchers.clone(), range, hints, series_max: self.limits.series_max };
        let set = self.reader.select(&select)?;
        let mut stats = self.stats.get();
        stats.series_selected += set.len() as u64;
        self.stats.set(stats);
        Ok(set)
    }

    /// Reads a series' samples, without staleness markers if `drop_stale`.
    fn read(
        &self,
        set: &dyn SeriesSet,
        series: usize,
        range: TimeRange,
        drop_stale: bool,
        buffer: &mut SampleBuffer,
    ) -> Result<()> {
        self.cancel.check()?;
        buffer.clear();
        set.read(series, range, buffer)?;
        if !buffer.histograms.is_empty() {
            let what = format!("native histograms, as in {}", set.labels(series));
            return Err(QueryError::Unsupported { what });
        }
        // Only the peak is of interest: the buffer is used again for the next series.
        self.hold(2 * buffer.len())?;
        self.release(2 * buffer.len());
        let mut stats = self.stats.get();
        stats.samples_read += buffer.len() as u64;
        self.stats.set(stats);
        if drop_stale && buffer.values.iter().any(|v| is_stale(*v)) {
            let mut kept = 0;
            for i in 0..buffer.len() {
                if !is_stale(buffer.values[i]) {
                    buffer.times_ms[kept] = buffer.times_ms[i];
                    buffer.values[kept] = buffer.values[i];
                    kept += 1;
                }
            }
            buffer.times_ms.truncate(kept);
            buffer.values.truncate(kept);
        }
        Ok(())
    }

    /// An instant selector: the newest sample within the look-back, or its time if `timestamps`.
    pub fn select_instant(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        timestamps: bool,
        sink: Sink<'_>,
    ) -> Result<()> {
        let references = self.references(&selector.shift, grid)?;
        let lookback_ms = self.query.config.lookback_ms;
        let ahead = if selector.edges == Edges::Smoothed { lookback_ms } else { 0 };
        let range =
            TimeRange { start_ms: references.first() - lookback_ms + 1, end_ms: references.last() + ahead };
        let hints = Hints { step_ms: grid.step_ms, ..Hints::default() };
        let set = self.select(selector, range, hints)?;
        let mut buffer = SampleBuffer::default();
        for series in 0..set.len() {
            self.read(&*set, series, range, selector.edges == Edges::Smoothed, &mut buffer)?;
            if buffer.is_empty() {
                continue;
            }
            let mut column = self.column(grid.count, NONE)?;
            let mut found = false;
            let mut next = 0;
            for (step, out) in column.iter_mut().enumerate() {
                let at = references.at(step);
                while buffer.times_ms.get(next).is_some_and(|t| *t <= at) {
                    next += 1;
                }
                let Some(current) = next.checked_sub(1) else { continue };
                let (time, value) = (buffer.times_ms[current], buffer.values[current]);
                if time <= at - lookback_ms || is_stale(value) {
                    continue;
                }
                found = true;
                *out = if timestamps {
                    time as f64 / 1000.0
                } else if selector.edges == Edges::Smoothed && next < buffer.len() {
                    let (time_after, after) = (buffer.times_ms[next], buffer.values[next]);
                    value + (after - value) * ((at - time) as f64 / (time_after - time) as f64)
                } else {
                    value
                };
            }
            if found {
                sink(Row { labels: set.labels(series), drop_name: false, values: column })?;
            } else {
                self.recycle(column);
            }
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
        match &expr.unwrap_parens().kind {
            ExprKind::Matrix(matrix) => self.matrix_windows(matrix, grid, function, sink),
            ExprKind::Subquery(subquery) => self.subquery_windows(subquery, grid, sink),
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
        let windows = Windows { range_ms, references, edges, lookback_ms };
        let (before, after) = match edges {
            Edges::Plain => (0, 0),
            Edges::Anchored => (lookback_ms, 0),
            Edges::Smoothed => (lookback_ms, lookback_ms),
        };
        let range = TimeRange {
            start_ms: references.first() - range_ms - before + 1,
            end_ms: references.last() + after,
        };
        let hints = Hints { step_ms: grid.step_ms, range_ms, function: Some(function), ..Hints::default() };
        let set = self.select(&matrix.selector, range, hints)?;
        let mut buffer = SampleBuffer::default();
        for series in 0..set.len() {
            self.read(&*set, series, range, true, &mut buffer)?;
            if !buffer.is_empty() {
                sink(set.labels(series), false, &buffer, &windows)?;
            }
        }
        Ok(())
    }

    fn subquery_windows(&self, subquery: &Subquery, grid: &Grid, sink: WindowSink<'_>) -> Result<()> {
        let range_ms = self.positive_ms(&subquery.range)?;
        let step_ms = match &subquery.step {
            Some(step) => self.positive_ms(step)?,
            None => self.query.config.subquery_step_ms.max(1),
        };
        let references = self.references(&subquery.shift, grid)?;
        let windows =
            Windows { range_ms, references, edges: Edges::Plain, lookback_ms: self.query.config.lookback_ms };
        // Evaluations stand at multiples of the step, so that they do not move with the query.
        let start_ms = ((references.first() - range_ms).div_euclid(step_ms) + 1) * step_ms;
        if start_ms > references.last() {
            return Ok(());
        }
        let count = (references.last() - start_ms) / step_ms + 1;
        let count = usize::try_from(count).ok().filter(|n| *n as u64 <= self.limits.samples_max);
        let inner = Grid { start_ms, step_ms, count: count.ok_or(QueryError::TooManySamples)? };
        let mut buffer = SampleBuffer::default();
        self.vector(&subquery.expr, &inner, &mut |row| {
            buffer.clear();
            for (i, v) in row.values.iter().enumerate().filter(|(_, v)| is_some(**v)) {
                buffer.push(inner.time(i), *v);
            }
            self.recycle(row.values);
            if buffer.is_empty() {
                return Ok(());
            }
            self.hold(2 * buffer.len())?;
            self.release(2 * buffer.len());
            sink(row.labels, row.drop_name, &buffer, &windows)
        })
    }

    /// The samples of a range expression that stands alone.
    pub fn raw(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Series>> {
        let mut out: Vec<Series> = Vec::new();
        self.windows(expr, grid, "", &mut |labels, drop_name, samples, windows| {
            let end = windows.references.last();
            let inside = |t: i64| t > end - windows.range_ms && t <= end;
            let points: Vec<Point> = (samples.times_ms.iter().zip(&samples.values))
                .filter(|(t, _)| inside(**t))
                .map(|(t, v)| Point { time_ms: *t, value: *v })
                .collect();
            if points.is_empty() {
                return Ok(());
            }
            self.hold(2 * points.len())?;
            let labels = if drop_name { labels.drop(&super::DESCRIPTIVE) } else { labels };
            out.push(Series { labels, points });
            Ok(())
        })?;
        let mut seen = std::collections::HashSet::new();
        if out.iter().any(|s| !seen.insert(s.labels.clone())) {
            return Err(QueryError::Execution(
                "vector cannot contain metrics with the same labelset".to_owned(),
            ));
        }
        Ok(out)
    }
}
