//! Calculates durations when a query runs. All are calculated once before anything is evaluated,
//! so that one that makes no sense is told of in any case; from then on none fails.

use super::{Evaluator, Query, Result};
use crate::{
    QueryError,
    ast::{At, BinaryOp, Duration, DurationKind, Expr, ExprKind, Shift},
    eval::column::{Grid, References},
};

/// Calculates all durations of an expression, in Prometheus' order.
pub(crate) fn check(expr: &Expr, query: &Query) -> Result<()> {
    let mut outcome = Ok(());
    expr.walk(&mut |e| {
        if outcome.is_ok() {
            outcome = check_own(e, query);
        }
    });
    outcome
}

fn check_own(expr: &Expr, query: &Query) -> Result<()> {
    let offset = |shift: &Shift| shift.offset.as_ref().map_or(Ok(0), |d| query.any_ms(d)).map(drop);
    match &expr.kind {
        ExprKind::Vector(selector) => offset(&selector.shift),
        ExprKind::Matrix(matrix) => {
            query.positive_ms(&matrix.range)?;
            offset(&matrix.selector.shift)
        }
        ExprKind::Subquery(subquery) => {
            offset(&subquery.shift)?;
            subquery.step.iter().try_for_each(|step| query.positive_ms(step).map(drop))?;
            query.positive_ms(&subquery.range).map(drop)
        }
        _ => Ok(()),
    }
}

impl Evaluator<'_> {
    /// A range or step, which must be above zero, in milliseconds.
    pub fn positive_ms(&self, duration: &Duration) -> Result<i64> {
        self.query.positive_ms(duration)
    }

    /// The times that a selector with this shift looks at.
    pub fn references(&self, shift: &Shift, grid: &Grid) -> Result<References> {
        let offset_ms = match &shift.offset {
            Some(offset) => self.query.any_ms(offset)?,
            None => 0,
        };
        let pinned_ms = shift.at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.query.start_ms,
            At::End => self.query.end_ms,
        });
        Ok(References { grid: *grid, offset_ms, pinned_ms })
    }
}

impl Query {
    /// A duration above zero. What is less than a millisecond is no time at all.
    fn positive_ms(&self, duration: &Duration) -> Result<i64> {
        let seconds = self.seconds(duration)?;
        if seconds.is_finite() && seconds <= 0.0 {
            return Err(error(duration, "duration must be greater than 0"));
        }
        whole_ms(duration, seconds)
    }

    /// A duration of either sign.
    fn any_ms(&self, duration: &Duration) -> Result<i64> {
        whole_ms(duration, self.seconds(duration)?)
    }

    fn seconds(&self, duration: &Duration) -> Result<f64> {
        Ok(match &duration.kind {
            DurationKind::Literal(n) => n.value,
            DurationKind::Step => self.step_ms as f64 / 1000.0,
            DurationKind::Range => (self.end_ms - self.start_ms) as f64 / 1000.0,
            DurationKind::MinOf(a, b) => self.seconds(a)?.min(self.seconds(b)?),
            DurationKind::MaxOf(a, b) => self.seconds(a)?.max(self.seconds(b)?),
            DurationKind::Negative(d) => -self.seconds(d)?,
            DurationKind::Paren(d) => self.seconds(d)?,
            DurationKind::Binary(op, a, b) => {
                let (a, b) = (self.seconds(a)?, self.seconds(b)?);
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => return Err(error(duration, "division by zero")),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if b == 0.0 => return Err(error(duration, "modulo by zero")),
                    BinaryOp::Mod => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }
}

fn whole_ms(duration: &Duration, seconds: f64) -> Result<i64> {
    if !seconds.is_finite() {
        return Err(error(duration, "duration is NaN or infinite"));
    }
    if seconds.abs() > crate::DURATION_SECONDS_MAX {
        return Err(error(duration, "duration is out of range"));
    }
    // What is written counts to the nanosecond, what is calculated is cut.
    Ok(match duration.kind {
        DurationKind::Literal(_) => ((seconds * 1e9).round() / 1e6).trunc() as i64,
        _ => (seconds * 1000.0) as i64,
    })
}

/// Prometheus tells of a calculated duration by its first byte and the one after its last, from 0.
fn error(duration: &Duration, problem: &str) -> QueryError {
    let (start, end) = bytes(duration);
    QueryError::Invalid(format!("{start}:{end}: {problem}"))
}

/// Where a calculation stands, without what encloses it.
fn bytes(duration: &Duration) -> (u32, u32) {
    match &duration.kind {
        DurationKind::Literal(_) | DurationKind::Step | DurationKind::Range => {
            (duration.span.start, duration.span.end)
        }
        DurationKind::Paren(inner) => bytes(inner),
        DurationKind::Negative(inner) => (duration.span.start, bytes(inner).1),
        DurationKind::MinOf(a, b) | DurationKind::MaxOf(a, b) | DurationKind::Binary(_, a, b) => {
            (bytes(a).0, bytes(b).1)
        }
    }
}
