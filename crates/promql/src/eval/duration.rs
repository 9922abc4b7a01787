//! Calculates durations when a query runs.

use super::{Evaluator, Result};
use crate::{
    QueryError,
    ast::{At, BinaryOp, Duration, DurationKind, Shift},
    eval::column::{Grid, References},
};

impl Evaluator<'_> {
    /// A range or step, which must be above zero, in milliseconds.
    pub fn positive_ms(&self, duration: &Duration) -> Result<i64> {
        let ms = self.duration_ms(duration)?;
        if ms <= 0 {
            let message = format!("{}: parse error: duration must be greater than 0", duration.span);
            return Err(QueryError::Invalid(message));
        }
        Ok(ms)
    }

    /// The times that a selector with this shift looks at.
    pub fn references(&self, shift: &Shift, grid: &Grid) -> Result<References> {
        let offset_ms = match &shift.offset {
            Some(offset) => self.duration_ms(offset)?,
            None => 0,
        };
        let pinned_ms = shift.at.map(|at| match at {
            At::Time(ms) => ms,
            At::Start => self.query.start_ms,
            At::End => self.query.end_ms,
        });
        Ok(References { grid: *grid, offset_ms, pinned_ms })
    }

    fn duration_ms(&self, duration: &Duration) -> Result<i64> {
        let seconds = self.seconds(duration)?;
        if seconds.is_nan() || seconds.abs() > crate::DURATION_SECONDS_MAX {
            return Err(QueryError::Invalid(format!(
                "{}: parse error: duration out of range",
                duration.span
            )));
        }
        // Products of literals such as 0.1 s fall a little short of whole milliseconds.
        let ms = seconds * 1000.0;
        Ok(if (ms - ms.round()).abs() < 1e-6 { ms.round() } else { ms.trunc() } as i64)
    }

    fn seconds(&self, duration: &Duration) -> Result<f64> {
        Ok(match &duration.kind {
            DurationKind::Literal(n) => n.value,
            DurationKind::Step => self.query.step_ms as f64 / 1000.0,
            DurationKind::Range => (self.query.end_ms - self.query.start_ms) as f64 / 1000.0,
            DurationKind::MinOf(a, b) => self.seconds(a)?.min(self.seconds(b)?),
            DurationKind::MaxOf(a, b) => self.seconds(a)?.max(self.seconds(b)?),
            DurationKind::Negative(d) => -self.seconds(d)?,
            DurationKind::Positive(d) | DurationKind::Paren(d) => self.seconds(d)?,
            DurationKind::Binary(op, a, b) => {
                let (a, b) = (self.seconds(a)?, self.seconds(b)?);
                let zero = |what: &str| {
                    QueryError::Invalid(format!("{}: parse error: {what} by zero", duration.span))
                };
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b == 0.0 => return Err(zero("division")),
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod if b == 0.0 => return Err(zero("modulo")),
                    BinaryOp::Mod => a % b,
                    _ => a.powf(b),
                }
            }
        })
    }
}
