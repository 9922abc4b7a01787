//! The door: runs a query at one time or over a range of times.

use vedette_model::MetricReader;

use crate::{
    ast::{Expr, ValueType},
    eval::{self, Query},
    limits::{Cancel, Limits, QueryError},
    output::{Answered, Ended, QueryOutput},
};

/// How queries are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// How far back a sample may lie to count as current.
    pub lookback_ms: i64,
    /// Step of subqueries that give none.
    pub subquery_step_ms: i64,
}

impl Default for EngineConfig {
    /// Prometheus' settings.
    fn default() -> Self {
        Self { lookback_ms: 300_000, subquery_step_ms: 60_000 }
    }
}

/// Evaluates queries. Cheap to make, and may be shared by threads.
#[derive(Debug, Clone, Default)]
pub struct Engine {
    config: EngineConfig,
}

/// The farthest time from the Unix epoch that a query may name, in milliseconds: sums of a few
/// such times do not overflow.
const TIME_MS_MAX: i64 = i64::MAX / 8;

impl Engine {
    /// An engine with these settings.
    pub fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// The settings.
    pub fn config(&self) -> EngineConfig {
        self.config
    }

    /// Evaluates at one time.
    pub fn instant(
        &self,
        reader: &dyn MetricReader,
        expr: &Expr,
        time_ms: i64,
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<QueryOutput, QueryError> {
        let query = Query { start_ms: time_ms, end_ms: time_ms, step_ms: 0, config: self.config };
        check_times(&query)?;
        eval::duration::check(expr, &query)?;
        check_edges(expr)?;
        eval::instant(reader, expr, query, limits, cancel)
    }

    /// Evaluates at `start_ms`, `start_ms + step_ms` and so on until `end_ms`; the answer is a matrix.
    pub fn range(
        &self,
        reader: &dyn MetricReader,
        expr: &Expr,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        limits: &Limits,
        cancel: &Cancel,
    ) -> Result<QueryOutput, QueryError> {
        let query = self.check_range(expr, (start_ms, end_ms, step_ms), limits)?;
        eval::range(reader, expr, query, limits, cancel)
    }

    /// As [`Engine::range`], each series handed on as soon as it is known to be the next in order of
    /// the labels, so that an answer is never held as a whole. What was handed on is no answer if an
    /// error follows. Queries that are observed are not for this.
    pub fn range_into(
        &self,
        reader: &dyn MetricReader,
        expr: &Expr,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        limits: &Limits,
        cancel: &Cancel,
        emit: &mut dyn FnMut(Answered<'_>) -> Result<(), QueryError>,
    ) -> Result<Ended, QueryError> {
        let query = self.check_range(expr, (start_ms, end_ms, step_ms), limits)?;
        eval::range_into(reader, expr, query, limits, cancel, emit)
    }

    /// Refuses ranges that cannot be evaluated.
    pub(crate) fn check_range(
        &self,
        expr: &Expr,
        (start_ms, end_ms, step_ms): (i64, i64, i64),
        limits: &Limits,
    ) -> Result<Query, QueryError> {
        let got = expr.value_type();
        if !matches!(got, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::Invalid(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                got.documented()
            )));
        }
        let query = Query { start_ms, end_ms, step_ms, config: self.config };
        check_times(&query)?;
        if end_ms < start_ms {
            return Err(QueryError::Invalid("end timestamp must not be before start time".to_owned()));
        }
        if step_ms <= 0 {
            return Err(QueryError::Invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        let steps = (end_ms - start_ms) / step_ms;
        if u64::try_from(steps).unwrap_or(u64::MAX) > limits.steps_max {
            return Err(QueryError::Invalid(format!(
                "exceeded maximum resolution of {} points per timeseries. Try decreasing the query resolution (?step=XX)",
                grouped(limits.steps_max)
            )));
        }
        eval::duration::check(expr, &query)?;
        check_edges(expr)?;
        Ok(query)
    }
}

/// Prometheus finds these mistakes when it evaluates, not when it parses.
fn check_edges(expr: &Expr) -> Result<(), QueryError> {
    crate::syntax::check_edges(expr).map_or(Ok(()), |reason| Err(QueryError::Execution(reason)))
}

fn check_times(query: &Query) -> Result<(), QueryError> {
    for time in [query.start_ms, query.end_ms, query.step_ms] {
        if time.unsigned_abs() > TIME_MS_MAX.unsigned_abs() {
            return Err(QueryError::Invalid("time out of range".to_owned()));
        }
    }
    Ok(())
}

/// `11000` as `11,000`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
