//! How far from its own time a step of an expression looks, if that is the same for all steps.

use vedette_model::TimeRange;

use super::steps::Steps;
use crate::{
    EngineConfig,
    ast::{At, Duration, DurationKind, Edges, Expr, ExprKind, Shift, ValueType, VectorSelector},
    function::FunctionId,
};

/// The times at which the samples stand that an expression's value at a time depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Relative to the time of the step; `None` where no sample counts.
    around: Option<Window>,
    /// The same for all steps, because of `@`.
    pinned: Vec<TimeRange>,
}

/// From `before_ms` before a step, which does not count, to `after_ms` after it, which does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    before_ms: i64,
    after_ms: i64,
}

/// What durations and look-backs depend on.
#[derive(Debug, Clone, Copy)]
struct Settings {
    config: EngineConfig,
    step_ms: i64,
}

impl Reach {
    /// `None` where a step's value depends on where the query starts or ends.
    pub fn of(expr: &Expr, config: EngineConfig, step_ms: i64) -> Option<Self> {
        let settings = Settings { config, step_ms };
        match &expr.kind {
            // The value between two samples depends on the next one, however far away it is.
            ExprKind::Vector(selector) if selector.edges == Edges::Smoothed => None,
            ExprKind::Vector(selector) => settings.of_selector(selector, 0),
            ExprKind::Matrix(matrix) => settings.of_selector(&matrix.selector, settings.ms(&matrix.range)?),
            ExprKind::Subquery(subquery) => {
                let inner = Self::of(&subquery.expr, config, step_ms)?;
                let range_ms = settings.ms(&subquery.range)?;
                if let Some(step) = &subquery.step {
                    settings.ms(step)?;
                }
                let around = inner.around.map(|w| Window { before_ms: w.before_ms + range_ms, ..w });
                let mut reach = settings.shifted(around, &subquery.shift)?;
                reach.pinned.extend(inner.pinned);
                Some(reach)
            }
            ExprKind::Call(call) => match call.function.id {
                FunctionId::Start | FunctionId::End | FunctionId::Range => None,
                // It is 0 where there is one step only.
                FunctionId::Step => None,
                // It looks for the series of all sources that the range has.
                FunctionId::Info => None,
                // A parameter that changes is judged over the range as a whole.
                FunctionId::HistogramQuantile
                | FunctionId::HistogramQuantiles
                | FunctionId::QuantileOverTime
                    if !call.args.iter().filter(|a| a.value_type() == ValueType::Scalar).all(is_constant) =>
                {
                    None
                }
                _ => Self::of_children(expr, config, step_ms),
            },
            ExprKind::Aggregate(aggregate) if !aggregate.parameter.iter().all(is_constant) => None,
            _ => Self::of_children(expr, config, step_ms),
        }
    }

    fn of_children(expr: &Expr, config: EngineConfig, step_ms: i64) -> Option<Self> {
        let mut reach = Self::default();
        for child in expr.children() {
            let Self { around, pinned } = Self::of(child, config, step_ms)?;
            reach.pinned.extend(pinned);
            reach.around = match (reach.around, around) {
                (Some(a), Some(b)) => Some(Window {
                    before_ms: a.before_ms.max(b.before_ms),
                    after_ms: a.after_ms.max(b.after_ms),
                }),
                (a, b) => a.or(b),
            };
        }
        Some(reach)
    }

    /// The steps that look at nothing in `changed`, in order.
    pub fn unchanged(&self, steps: Steps, changed: &[TimeRange]) -> Vec<Steps> {
        if self.pinned.iter().any(|range| changed.iter().any(|c| c.overlaps(*range))) {
            return Vec::new();
        }
        let mut runs = vec![steps];
        if let Some(Window { before_ms, after_ms }) = self.around {
            for change in changed {
                let start_ms = change.start_ms.saturating_sub(after_ms);
                let end_ms = change.end_ms.saturating_add(before_ms - 1);
                let left = runs.iter().flat_map(|run| run.around(start_ms, end_ms)).flatten();
                runs = left.collect();
            }
        }
        runs
    }
}

fn is_constant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_constant(inner),
        _ => false,
    }
}

impl Settings {
    fn of_selector(self, selector: &VectorSelector, range_ms: i64) -> Option<Reach> {
        let lookback_ms = self.config.lookback_ms;
        let before_ms = match selector.edges {
            Edges::Plain if range_ms > 0 => range_ms,
            Edges::Plain | Edges::Anchored | Edges::Smoothed => range_ms + lookback_ms,
        };
        let after_ms = if selector.edges == Edges::Smoothed { lookback_ms } else { 0 };
        self.shifted(Some(Window { before_ms, after_ms }), &selector.shift)
    }

    /// The window where `offset` and `@` put it.
    fn shifted(self, around: Option<Window>, shift: &Shift) -> Option<Reach> {
        let offset_ms = match &shift.offset {
            Some(offset) => self.signed_ms(offset)?,
            None => 0,
        };
        let moved =
            around.map(|w| Window { before_ms: w.before_ms + offset_ms, after_ms: w.after_ms - offset_ms });
        match shift.at {
            None => Some(Reach { around: moved, pinned: Vec::new() }),
            Some(At::Time(at_ms)) => {
                let pinned = moved.map(|w| TimeRange {
                    start_ms: at_ms.saturating_sub(w.before_ms),
                    end_ms: at_ms.saturating_add(w.after_ms),
                });
                Some(Reach { around: None, pinned: pinned.into_iter().collect() })
            }
            Some(At::Start | At::End) => None,
        }
    }

    /// A duration above zero; others are errors when the query runs.
    fn ms(self, duration: &Duration) -> Option<i64> {
        self.signed_ms(duration).filter(|ms| *ms > 0)
    }

    /// The milliseconds of a duration that is written down. Those that are calculated are left to
    /// the evaluator.
    fn signed_ms(self, duration: &Duration) -> Option<i64> {
        match &duration.kind {
            DurationKind::Literal(number) => {
                let ms = number.value * 1000.0;
                ((ms - ms.round()).abs() < 1e-6 && ms.abs() < 1e15).then_some(ms.round() as i64)
            }
            DurationKind::Step => Some(self.step_ms),
            DurationKind::Negative(inner) => self.signed_ms(inner).map(|ms| -ms),
            DurationKind::Paren(inner) => self.signed_ms(inner),
            DurationKind::Range
            | DurationKind::MinOf(..)
            | DurationKind::MaxOf(..)
            | DurationKind::Binary(..) => None,
        }
    }
}
