//! Evaluation, series by series. A vector expression passes its series on one at a time, each
//! with a column of all evaluations, so that `sum(rate(x[5m]))` holds one series and the sum.
//!
//! Invariant: every column that passes has as many values as its grid has times.

mod aggregate;
mod annotations;
mod binary;
mod column;
mod duration;
mod edges;
mod histogram;
mod info;
mod instant;
mod labels;
mod numeric;
mod selector;
mod window;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
};

use vedette_model::{Labels, METRIC_NAME, MetricReader};

use self::{
    annotations::Annotations,
    column::{Grid, NONE, Row, is_some},
};
use crate::{
    Cancel, EngineConfig, Limits, QueryError, QueryOutput,
    ast::{Expr, ExprKind, UnarySign, ValueType},
    function::FunctionId,
    output::{Point, Sample, Series, Stats, Value},
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
    let evaluator = Evaluator::new(reader, query, limits, cancel);
    let time_ms = query.start_ms;
    let grid = Grid { start_ms: time_ms, step_ms: 0, count: 1 };
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
                .map(|r| Sample { labels: r.labels, time_ms, value: r.values[0] })
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
    let evaluator = Evaluator::new(reader, query, limits, cancel);
    let count = usize::try_from((query.end_ms - query.start_ms) / query.step_ms + 1).unwrap_or(0);
    let grid = Grid { start_ms: query.start_ms, step_ms: query.step_ms, count };
    let rows = match expr.value_type() {
        ValueType::Scalar => {
            vec![Row { labels: Labels::empty(), drop_name: false, values: evaluator.scalar(expr, &grid)? }]
        }
        _ => merge(evaluator.rows(expr, &grid)?)?,
    };
    let mut series: Vec<Series> = rows
        .into_iter()
        .map(|row| Series {
            labels: row.labels,
            points: (row.values.iter().enumerate())
                .filter(|(_, v)| is_some(**v))
                .map(|(i, v)| Point { time_ms: grid.time(i), value: *v })
                .collect(),
        })
        .filter(|s| !s.points.is_empty())
        .collect();
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(evaluator.output(Value::Matrix(series)))
}

/// Takes names away that are to be dropped, and joins series that then have the same labels.
fn merge(rows: Vec<Row>) -> Result<Vec<Row>> {
    let renamed = rows.into_iter().map(|mut row| {
        if row.drop_name {
            row.labels = row.labels.drop(&DESCRIPTIVE);
            row.drop_name = false;
        }
        row
    });
    join(renamed.collect())
}

/// Joins series that have the same labels; two samples of one series at one time are an error.
fn join(rows: Vec<Row>) -> Result<Vec<Row>> {
    let mut places: HashMap<Labels, usize> = HashMap::with_capacity(rows.len());
    let mut out: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows {
        let next = out.len();
        let place = *places.entry(row.labels.clone()).or_insert(next);
        if place == next {
            out.push(row);
            continue;
        }
        let earlier = &mut out[place];
        earlier.drop_name |= row.drop_name;
        for (a, b) in earlier.values.iter_mut().zip(row.values).filter(|(_, b)| is_some(*b)) {
            if is_some(*a) {
                return Err(QueryError::Execution(
                    "vector cannot contain metrics with the same labelset".to_owned(),
                ));
            }
            *a = b;
        }
    }
    Ok(out)
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

/// One query's evaluation.
struct Evaluator<'q> {
    reader: &'q dyn MetricReader,
    query: Query,
    limits: &'q Limits,
    cancel: &'q Cancel,
    annotations: Annotations,
    /// Columns that are free to be used again.
    pool: RefCell<Vec<Vec<f64>>>,
    samples_live: Cell<u64>,
    stats: Cell<Stats>,
}

impl<'q> Evaluator<'q> {
    fn new(reader: &'q dyn MetricReader, query: Query, limits: &'q Limits, cancel: &'q Cancel) -> Self {
        Self {
            reader,
            query,
            limits,
            cancel,
            annotations: Annotations::default(),
            pool: RefCell::default(),
            samples_live: Cell::new(0),
            stats: Cell::default(),
        }
    }

    fn output(self, value: Value) -> QueryOutput {
        let (warnings, infos) = self.annotations.finish();
        QueryOutput { value, warnings, infos, stats: self.stats.get() }
    }

    /// Counts samples that are held from now on.
    fn hold(&self, samples: usize) -> Result<()> {
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
        self.samples_live.set(self.samples_live.get().saturating_sub(samples as u64));
    }

    /// A column full of `value`.
    fn column(&self, length: usize, value: f64) -> Result<Vec<f64>> {
        self.cancel.check()?;
        self.hold(length)?;
        let mut column = self.pool.borrow_mut().pop().unwrap_or_default();
        column.clear();
        column.resize(length, value);
        Ok(column)
    }

    /// Gives a column back.
    fn recycle(&self, column: Vec<f64>) {
        self.release(column.len());
        let mut pool = self.pool.borrow_mut();
        if pool.len() < 16 {
            pool.push(column);
        }
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

    /// Evaluates a vector expression.
    fn vector(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        match &expr.kind {
            ExprKind::Paren(inner) | ExprKind::Unary(UnarySign::Plus, inner) => {
                self.vector(inner, grid, sink)
            }
            ExprKind::Unary(UnarySign::Minus, inner) => self.map(inner, grid, sink, |v, _| -v),
            ExprKind::Vector(selector) => self.select_instant(selector, grid, false, sink),
            ExprKind::Binary(binary) => self.binary(binary, grid, sink),
            ExprKind::Aggregate(aggregate) => self.aggregate(aggregate, grid, sink),
            ExprKind::Call(call) => self.call(call, expr.span, grid, sink),
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Matrix(_) | ExprKind::Subquery(_) => {
                unreachable!("BUG: type checks let only vectors through")
            }
        }
    }

    /// Applies `f`, which also gets the evaluation's number, to all values; the names go.
    fn map(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>, f: impl Fn(f64, usize) -> f64) -> Result<()> {
        self.vector(expr, grid, &mut |mut row| {
            for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                *v = f(*v, i);
            }
            row.drop_name = true;
            sink(row)
        })
    }

    /// Evaluates a scalar expression.
    fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        match &expr.kind {
            ExprKind::Number(n) => self.column(grid.count, n.value),
            ExprKind::Paren(inner) | ExprKind::Unary(UnarySign::Plus, inner) => self.scalar(inner, grid),
            ExprKind::Unary(UnarySign::Minus, inner) => {
                let mut column = self.scalar(inner, grid)?;
                column.iter_mut().for_each(|v| *v = -*v);
                Ok(column)
            }
            ExprKind::Binary(b) => {
                let mut lhs = self.scalar(&b.lhs, grid)?;
                let rhs = self.scalar(&b.rhs, grid)?;
                for (l, r) in lhs.iter_mut().zip(&rhs) {
                    *l = binary::scalars(b.op, *l, *r)?;
                }
                self.recycle(rhs);
                Ok(lhs)
            }
            ExprKind::Call(call) => {
                let seconds = |ms: i64| ms as f64 / 1000.0;
                let Query { start_ms, end_ms, step_ms, .. } = self.query;
                match call.function.id {
                    FunctionId::Pi => self.column(grid.count, std::f64::consts::PI),
                    FunctionId::Start => self.column(grid.count, seconds(start_ms)),
                    FunctionId::End => self.column(grid.count, seconds(end_ms)),
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
                                _ if a.is_nan() || b.is_nan() => f64::NAN,
                                FunctionId::MinOf => a.min(*b),
                                _ => a.max(*b),
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
        self.vector(expr, grid, &mut |row| {
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
