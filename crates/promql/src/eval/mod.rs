//! Evaluation, series by series. A vector expression passes its series on one at a time, each
//! with a column of all evaluations, so that `sum(rate(x[5m]))` holds one series and the sum.
//!
//! Invariant: every column that passes has as many values as its grid has times.

mod aggregate;
mod annotations;
mod answer;
mod binary;
mod calendar;
mod chain;
mod classic;
mod column;
mod count_values;
pub(crate) mod duration;
mod edges;
mod histogram;
mod histogram_rate;
mod histogram_sums;
mod info;
mod instant;
mod join;
mod labels;
mod mixed;
mod notes;
pub(crate) mod numeric;
mod operator;
mod parallel;
mod raw;
mod samples;
mod selector;
mod smoothed;
mod starts;
#[cfg(test)]
mod tests;
mod totals;
mod window;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    sync::Arc,
};

use vedette_model::{Labels, METRIC_NAME, MetricReader, SeriesSet, TimeRange};

use self::{
    annotations::Annotations,
    answer::Promise,
    column::{Grid, Row},
    join::{join, join_sorted, merge},
    notes::Notes,
    samples::Samples,
    selector::Take,
};
use crate::{
    Cancel, EngineConfig, Limits, QueryError, QueryOutput,
    ast::{Expr, ExprKind, UnarySign, ValueType, VectorSelector},
    function::FunctionId,
    output::{Ended, Point, Sample, Series, Stats, Value},
    span::Span,
};

pub(crate) use self::{
    annotations::ANNOTATIONS_MAX,
    answer::Emit,
    column::{NONE, is_some},
};

/// When to evaluate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query {
    pub start_ms: i64,
    pub end_ms: i64,
    pub step_ms: i64,
    pub config: EngineConfig,
}

/// Labels that describe the values of a series, and that go when the values change their meaning.
const DESCRIPTIVE: [&str; 3] = [METRIC_NAME, "__type__", "__unit__"];

/// About what a series takes beside its values: its row, its labels, what allocating costs.
const ROW_BYTES: u64 = 256;

type Result<T> = std::result::Result<T, QueryError>;

/// Takes the series of a vector, one by one.
type Sink<'s> = &'s mut dyn FnMut(Row) -> Result<()>;

pub(crate) fn instant(
    reader: &dyn MetricReader,
    expr: &Expr,
    query: Query,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<QueryOutput> {
    let evaluator = Evaluator::new(reader, expr, query, limits, cancel);
    let time_ms = query.start_ms;
    let grid = Grid { start_ms: time_ms, step_ms: 0, count: 1, end_ms: time_ms };
    let value = match expr.value_type() {
        ValueType::Scalar => {
            let value = evaluator.scalar(expr, &grid)?[0];
            Value::Scalar { time_ms, value }
        }
        ValueType::String => Value::String { time_ms, value: string(expr)?.to_owned() },
        ValueType::Vector => {
            let rows = merge(evaluator.rows(expr, &grid)?)?;
            let samples = rows
                .into_iter()
                .filter(|r| is_some(r.values[0]))
                .map(|r| {
                    let histogram = r.histograms.get(0).map(Arc::clone);
                    let value = histogram.as_ref().map_or(r.values[0], |h| h.sum);
                    Sample { labels: r.labels, time_ms, value, histogram }
                })
                .collect();
            Value::Vector(samples)
        }
        ValueType::Matrix => {
            let mut series = evaluator.raw(expr, &grid)?;
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            Value::Matrix(series)
        }
    };
    Ok(evaluator.output(value))
}

pub(crate) fn range(
    reader: &dyn MetricReader,
    expr: &Expr,
    query: Query,
    limits: &Limits,
    cancel: &Cancel,
) -> Result<QueryOutput> {
    let evaluator = Evaluator::new(reader, expr, query, limits, cancel);
    let grid = range_grid(&query);
    let mut series = Vec::new();
    if expr.value_type() == ValueType::Scalar {
        let values = evaluator.scalar(expr, &grid)?;
        series.extend(evaluator.series(Row::floats(Labels::empty(), false, values), &grid)?);
    } else {
        evaluator.unordered(expr, &grid, &mut |row| {
            series.extend(evaluator.series(row, &grid)?);
            Ok(())
        })?;
    }
    let sort = || {
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        join_sorted(series)
    };
    let series = match cancel.observer() {
        Some(observer) => observer.sorting(sort),
        None => sort(),
    }?;
    Ok(evaluator.output(Value::Matrix(series)))
}

/// As [`range`], the series handed on one by one in order of their labels.
pub(crate) fn range_into(
    reader: &dyn MetricReader,
    expr: &Expr,
    query: Query,
    limits: &Limits,
    cancel: &Cancel,
    emit: Emit<'_>,
) -> Result<Ended> {
    let evaluator = Evaluator::new(reader, expr, query, limits, cancel);
    evaluator.series_of(expr, &range_grid(&query), emit)?;
    let (warnings, infos) = evaluator.annotations.finish();
    Ok(Ended { warnings, infos, stats: evaluator.stats.get() })
}

fn range_grid(query: &Query) -> Grid {
    let Query { start_ms, end_ms, step_ms, .. } = *query;
    let count = usize::try_from((end_ms - start_ms) / step_ms + 1).unwrap_or(0);
    Grid { start_ms, step_ms, count, end_ms }
}

/// The text of a string literal, which may stand in parentheses.
fn string(expr: &Expr) -> Result<&str> {
    match &expr.unwrap_parens().kind {
        ExprKind::String(text) => Ok(&text.value),
        _ => unreachable!("BUG: only literals are strings"),
    }
}

/// The text of a string literal that names a label; `what` says which, for the error.
fn label_name<'e>(expr: &'e Expr, what: &str) -> Result<&'e str> {
    match &expr.unwrap_parens().kind {
        ExprKind::String(text) if text.raw.is_none() && !text.value.is_empty() => Ok(&text.value),
        ExprKind::String(text) => Err(QueryError::Execution(format!(
            "invalid {what}: {}",
            String::from_utf8_lossy(text.as_bytes())
        ))),
        _ => unreachable!("BUG: only literals are strings"),
    }
}

/// What a selector found over a time.
type Selected = (TimeRange, Arc<dyn SeriesSet>);

/// One query's evaluation.
struct Evaluator<'q> {
    reader: &'q dyn MetricReader,
    query: Query,
    limits: &'q Limits,
    cancel: &'q Cancel,
    annotations: Annotations,
    /// Columns that are free to be used again.
    pool: RefCell<Vec<Vec<f64>>>,
    /// Parts of long chains of operators.
    waiting: RefCell<Vec<chain::Waiting>>,
    samples_live: Cell<u64>,
    stats: Cell<Stats>,
    /// The selectors of whose histograms only count and sum are looked at.
    totals_only: HashSet<usize>,
    /// Whether the answer's series come in order.
    promise: Cell<Promise>,
    /// The selector of which only the series from one place to another are evaluated.
    only: Cell<Option<(usize, usize, usize)>>,
    /// What such selectors found over which time.
    selected: RefCell<HashMap<usize, Selected>>,
    /// Memory for samples that nobody uses.
    samples: Cell<Samples>,
}

impl<'q> Evaluator<'q> {
    fn new(
        reader: &'q dyn MetricReader,
        expr: &'q Expr,
        query: Query,
        limits: &'q Limits,
        cancel: &'q Cancel,
    ) -> Self {
        Self::with_totals(reader, totals::selectors(expr), query, limits, cancel)
    }

    fn with_totals(
        reader: &'q dyn MetricReader,
        totals_only: HashSet<usize>,
        query: Query,
        limits: &'q Limits,
        cancel: &'q Cancel,
    ) -> Self {
        Self {
            totals_only,
            reader,
            query,
            limits,
            cancel,
            annotations: Annotations::default(),
            pool: RefCell::default(),
            waiting: RefCell::default(),
            samples_live: Cell::new(0),
            stats: Cell::default(),
            promise: Cell::new(Promise::None),
            only: Cell::new(None),
            selected: RefCell::default(),
            samples: Cell::default(),
        }
    }

    fn output(self, value: Value) -> QueryOutput {
        let (warnings, infos) = self.annotations.finish();
        QueryOutput { value, warnings, infos, stats: self.stats.get() }
    }

    /// Counts samples that are held from now on.
    fn hold(&self, samples: usize) -> Result<()> {
        self.count_live(samples)?;
        self.cancel.hold_bytes(8 * samples as u64)
    }

    /// Counts samples whose memory is counted already.
    fn count_live(&self, samples: usize) -> Result<()> {
        let live = self.samples_live.get() + samples as u64;
        self.samples_live.set(live);
        let mut stats = self.stats.get();
        stats.samples_peak = stats.samples_peak.max(live);
        self.stats.set(stats);
        if live > self.limits.samples_max {
            return Err(QueryError::TooManySamples);
        }
        Ok(())
    }

    fn release(&self, samples: usize) {
        self.cancel.release_bytes(8 * samples as u64);
        self.samples_live.set(self.samples_live.get().saturating_sub(samples as u64));
    }

    /// A column full of `value`.
    fn column(&self, length: usize, value: f64) -> Result<Vec<f64>> {
        self.cancel.check()?;
        self.hold(length)?;
        self.cancel.hold_bytes(ROW_BYTES)?;
        let mut column = self.pool.borrow_mut().pop().unwrap_or_default();
        column.clear();
        column.resize(length, value);
        Ok(column)
    }

    /// Gives a column back.
    fn recycle(&self, column: Vec<f64>) {
        self.release(column.len());
        self.cancel.release_bytes(ROW_BYTES);
        let mut pool = self.pool.borrow_mut();
        if pool.len() < 16 {
            pool.push(column);
        }
    }

    /// Gives a row's column back.
    fn recycle_row(&self, row: Row) {
        self.release(row.histograms.cells());
        self.recycle(row.values);
    }

    /// Makes holes of a row's histograms.
    fn drop_histograms(&self, row: &mut Row) {
        if !row.histograms.is_empty() {
            let dropped = row.take_histograms();
            self.release(dropped.cells());
        }
    }

    /// Tells about histograms of the metric `name` at a piece of the query.
    fn notes<'n>(&'n self, span: Span, name: &'n str) -> Notes<'n> {
        Notes { annotations: &self.annotations, span, name }
    }

    /// Whether only count and sum of the histograms that a selector finds are looked at.
    fn reads_only_totals(&self, selector: &VectorSelector) -> bool {
        !self.totals_only.is_empty() && self.totals_only.contains(&std::ptr::from_ref(selector).addr())
    }

    /// All series of a vector expression.
    fn rows(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        self.vector(expr, grid, &mut |row| {
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }

    /// Like [`Self::vector`], for who sorts what comes.
    fn unordered(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let expr = if self.cancel.observer().is_some() { expr } else { expr.unwrap_parens() };
        match &expr.kind {
            _ if self.cancel.observer().is_some() => self.vector(expr, grid, sink),
            ExprKind::Binary(binary) => self.binary(binary, grid, sink),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, expr.span, grid, sink),
            _ => self.vector(expr, grid, sink),
        }
    }

    /// What is answered of a row, if it has any sample. The column goes back at once, as few of
    /// many evaluations may have one.
    fn series(&self, mut row: Row, grid: &Grid) -> Result<Option<Series>> {
        let histograms = row.take_histograms();
        let count = row.values.iter().filter(|v| is_some(**v)).count();
        let mut points = Vec::with_capacity(count);
        points.extend(
            (row.values.iter().enumerate())
                .filter(|(_, v)| is_some(**v))
                .map(|(i, v)| Point { time_ms: grid.time(i), value: *v }),
        );
        self.recycle(row.values);
        if points.is_empty() && histograms.is_empty() {
            return Ok(None);
        }
        self.hold(count)?;
        self.cancel.hold_bytes(ROW_BYTES + 8 * count as u64)?;
        let labels = if row.drop_name { row.labels.drop(&DESCRIPTIVE) } else { row.labels };
        let histograms = histograms.iter().map(|(i, h)| (grid.time(i), Arc::clone(h))).collect();
        Ok(Some(Series { labels, points, histograms }))
    }

    /// Evaluates a vector expression.
    fn vector(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        if let Some(rows) = self.waiting(expr) {
            return rows.into_iter().try_for_each(sink);
        }
        if let Some(result) = self.by_threads(expr, grid, sink) {
            return result;
        }
        let Some(observer) = self.cancel.observer() else { return self.vector_of(expr, grid, sink) };
        let mut visit = observer.enter(expr.span);
        self.vector_of(expr, grid, &mut |row| {
            let samples = row.values.iter().filter(|v| is_some(**v)).count();
            visit.pass(samples, size_of_val(row.values.as_slice()), || sink(row))
        })
    }

    fn vector_of(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnarySign::Plus, inner) => {
                self.vector(inner, grid, sink)
            }
            ExprKind::Unary(UnarySign::Minus, inner) => self.vector(inner, grid, &mut |mut row| {
                row.values.iter_mut().filter(|v| is_some(**v)).for_each(|v| *v = -*v);
                row.histograms.map(|_, h| {
                    let mut negative = h.clone();
                    negative.multiply(-1.0);
                    Some(negative)
                });
                row.drop_name = true;
                sink(row)
            }),
            ExprKind::Vector(selector) => self.select_instant(selector, expr.span, grid, Take::Value, sink),
            // Its series come in the order of the vector's.
            ExprKind::Binary(binary) if answer::vector_beside_scalar(binary).is_some() => {
                self.binary(binary, grid, sink)
            }
            ExprKind::Binary(binary) => self.in_order(sink, |sink| self.binary(binary, grid, sink)),
            ExprKind::Aggregate(aggregate) => {
                self.in_order(sink, |sink| self.aggregate(aggregate, expr.span, grid, sink))
            }
            ExprKind::Call(call) => self.call(call, expr.span, grid, sink),
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                unreachable!("BUG: type checks let only vectors through")
            }
        }
    }

    /// Passes series on in order of their labels. Groups and matches come in the order in which they
    /// first appear, which depends on where the range begins; sums of their values in the last bit,
    /// and choices among equal ones, must not.
    fn in_order(&self, sink: Sink<'_>, produce: impl FnOnce(Sink<'_>) -> Result<()>) -> Result<()> {
        if self.query.step_ms == 0 {
            return produce(sink);
        }
        let mut rows = Vec::new();
        produce(&mut |row| {
            rows.push(row);
            Ok(())
        })?;
        rows.sort_by(|a, b| a.labels.cmp(&b.labels));
        rows.into_iter().try_for_each(sink)
    }

    /// Applies `f`, which also gets the evaluation's number, to all floats; histograms are left
    /// out, the names go.
    fn map(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>, f: impl Fn(f64, usize) -> f64) -> Result<()> {
        self.vector(expr, grid, &mut |mut row| {
            self.drop_histograms(&mut row);
            for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                *v = f(*v, i);
            }
            row.drop_name = true;
            sink(row)
        })
    }

    /// Evaluates a scalar expression.
    fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        let observer = self.cancel.observer().filter(|_| !matches!(expr.kind, ExprKind::Binary(_)));
        let Some(observer) = observer else { return self.scalar_of(expr, grid) };
        let mut visit = observer.enter(expr.span);
        let column = self.scalar_of(expr, grid)?;
        Ok(visit.pass(column.len(), size_of_val(column.as_slice()), || column))
    }

    fn scalar_of(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        match &expr.kind {
            ExprKind::Number(n) => self.column(grid.count, n.value),
            ExprKind::Paren(inner) | ExprKind::Unary(UnarySign::Plus, inner) => self.scalar(inner, grid),
            ExprKind::Unary(UnarySign::Minus, inner) => {
                let mut column = self.scalar(inner, grid)?;
                column.iter_mut().for_each(|v| *v = -*v);
                Ok(column)
            }
            ExprKind::Binary(_) => self.scalar_chain(expr, grid),
            ExprKind::Call(call) => {
                let seconds = |ms: i64| ms as f64 / 1000.0;
                let Query { start_ms, end_ms, step_ms, .. } = self.query;
                match call.function.id {
                    FunctionId::Pi => self.column(grid.count, std::f64::consts::PI),
                    FunctionId::Start => self.column(grid.count, seconds(start_ms)),
                    FunctionId::End => self.column(grid.count, seconds(end_ms)),
                    // One evaluation has no step.
                    FunctionId::Step if start_ms == end_ms => self.column(grid.count, 0.0),
                    FunctionId::Step => self.column(grid.count, seconds(step_ms)),
                    FunctionId::Range => self.column(grid.count, seconds(end_ms - start_ms)),
                    FunctionId::Time => {
                        let mut column = self.column(grid.count, 0.0)?;
                        column.iter_mut().enumerate().for_each(|(i, v)| *v = seconds(grid.time(i)));
                        Ok(column)
                    }
                    FunctionId::MinOf | FunctionId::MaxOf => {
                        let mut first = self.scalar(&call.args[0], grid)?;
                        let second = self.scalar(&call.args[1], grid)?;
                        for (a, b) in first.iter_mut().zip(&second) {
                            *a = match call.function.id {
                                FunctionId::MinOf => numeric::min(*a, *b),
                                _ => numeric::max(*a, *b),
                            };
                        }
                        self.recycle(second);
                        Ok(first)
                    }
                    FunctionId::Scalar => self.only_value(&call.args[0], grid),
                    _ => unreachable!("BUG: {} does not return a scalar", call.function.name),
                }
            }
            _ => unreachable!("BUG: type checks let only scalars through"),
        }
    }

    /// `scalar(v)`: the value where there is exactly one, else NaN.
    fn only_value(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        let mut column = self.column(grid.count, NONE)?;
        self.vector(expr, grid, &mut |mut row| {
            self.drop_histograms(&mut row);
            for (only, v) in column.iter_mut().zip(&row.values).filter(|(_, v)| is_some(**v)) {
                *only = if is_some(*only) { f64::NAN } else { *v };
            }
            self.recycle(row.values);
            Ok(())
        })?;
        for v in &mut column {
            if !is_some(*v) {
                *v = f64::NAN;
            }
        }
        Ok(column)
    }
}
