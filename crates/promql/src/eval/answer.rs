//! Hands the series of a range query on, one by one and in order of their labels. Where the order
//! is known before anything is read each goes as soon as it is there; else all are held until the
//! last has come, one number for a sample.

use vedette_model::{Labels, SeriesSet};

use super::{
    DESCRIPTIVE, Evaluator, ROW_BYTES, Result, calendar,
    column::{Grid, Row, is_some},
    instant::math,
    join::join_sorted,
};
use crate::{
    ast::{Binary, Expr, ExprKind, UnarySign, ValueType, VectorSelector},
    function::FunctionId,
    output::{Answered, Points, Series},
    syntax::CHAIN_DEPTH,
};

/// Takes the series of an answer.
pub type Emit<'e> = &'e mut dyn FnMut(Answered<'_>) -> Result<()>;

/// Below this many samples it does not matter whether they are held. Tests have few.
const SAMPLES_HELD: usize = if cfg!(test) { 0 } else { 1 << 15 };

/// Whether so many samples are better not held.
pub fn are_many(samples: usize) -> bool {
    samples > SAMPLES_HELD
}

/// A piece of a query whose series come one by one, each of them from one series of a selector.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'e> {
    pub selector: &'e VectorSelector,
    /// Whether the name goes on the way.
    pub drops_name: bool,
    /// Whether nothing beside the selector is to be evaluated but numbers.
    pub is_plain: bool,
}

/// What a query's outermost node may promise: its series come in order, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// It need not be looked at.
    None,
    /// The node at this address is to promise it if it can.
    Wanted {
        place: usize,
        drops_name: bool,
    },
    Given,
}

/// A series that waits for its turn.
enum Held {
    Column(Row),
    /// What has few samples.
    Series(Series),
}

impl Held {
    fn labels(&self) -> &Labels {
        match self {
            Self::Column(row) => &row.labels,
            Self::Series(series) => &series.labels,
        }
    }
}

/// Which selector's series an expression passes on, if each of its series comes from one of them.
pub fn passed(expr: &Expr) -> Option<Passed<'_>> {
    use FunctionId as F;
    match &expr.kind {
        ExprKind::Paren(inner) | ExprKind::Unary(UnarySign::Plus, inner) => passed(inner),
        ExprKind::Unary(_, inner) => passed(inner).map(|p| Passed { drops_name: true, ..p }),
        ExprKind::Vector(selector) => Some(Passed { selector, drops_name: false, is_plain: true }),
        // Longer chains are evaluated in parts, which wait for each other.
        ExprKind::Binary(binary) if binary.operators > CHAIN_DEPTH => None,
        ExprKind::Binary(binary) => {
            let vector = passed(vector_beside_scalar(binary)?)?;
            let drops_name = vector.drops_name || super::binary::changes_meaning(binary);
            let is_plain = vector.is_plain && [&binary.lhs, &binary.rhs].into_iter().all(is_no_query);
            Some(Passed { drops_name, is_plain, ..vector })
        }
        ExprKind::Call(call) => {
            let id = call.function.id;
            let first = call.args.first()?;
            let is_plain = call.args.iter().all(is_no_query);
            let passed = |inner| passed(inner).map(|p| Passed { is_plain: p.is_plain && is_plain, ..p });
            if math(id).is_some() || calendar::function(id).is_some() {
                return Some(Passed { drops_name: true, ..passed(first)? });
            }
            match id {
                F::Round | F::Clamp | F::ClampMin | F::ClampMax | F::Timestamp => {
                    Some(Passed { drops_name: true, ..passed(first)? })
                }
                F::AbsentOverTime => None,
                _ => {
                    let range = call.args.iter().find(|a| a.value_type() == ValueType::Matrix)?;
                    let ExprKind::Matrix(matrix) = &range.unwrap_parens().kind else { return None };
                    let drops_name = !matches!(id, F::LastOverTime | F::FirstOverTime);
                    Some(Passed { selector: &matrix.selector, drops_name, is_plain })
                }
            }
        }
        _ => None,
    }
}

/// A number, or what is no scalar.
fn is_no_query(expr: &Expr) -> bool {
    expr.value_type() != ValueType::Scalar || matches!(expr.unwrap_parens().kind, ExprKind::Number(_))
}

/// The vector of an operation on a vector and a scalar.
pub fn vector_beside_scalar(binary: &Binary) -> Option<&Expr> {
    match (binary.lhs.value_type(), binary.rhs.value_type()) {
        (ValueType::Vector, ValueType::Scalar) => Some(&binary.lhs),
        (ValueType::Scalar, ValueType::Vector) => Some(&binary.rhs),
        _ => None,
    }
}

/// Whether no two sets are equal and each is above the one before it.
pub fn ascends(sets: impl Iterator<Item = Labels>, drops_name: bool) -> bool {
    let mut last: Option<Labels> = None;
    for labels in sets {
        let is_above = last.is_none_or(|last| {
            let left = |(name, _): &(&str, &str)| !drops_name || !DESCRIPTIVE.contains(name);
            last.iter().filter(left).lt(labels.iter().filter(left))
        });
        if !is_above {
            return false;
        }
        last = Some(labels);
    }
    true
}

/// Tells the pieces of a query apart.
pub fn address<T>(piece: &T) -> usize {
    std::ptr::from_ref(piece).addr()
}

impl Evaluator<'_> {
    /// All series of a range query.
    pub fn series_of(&self, expr: &Expr, grid: &Grid, emit: Emit<'_>) -> Result<()> {
        if expr.value_type() == ValueType::Scalar {
            let values = self.scalar(expr, grid)?;
            return self.emit(Row::floats(Labels::empty(), false, values), grid, emit);
        }
        let inner = expr.unwrap_parens();
        self.promise.set(match (passed(inner), &inner.kind) {
            (Some(Passed { selector, drops_name, .. }), _) => {
                Promise::Wanted { place: address(selector), drops_name }
            }
            (None, ExprKind::Binary(binary)) => {
                Promise::Wanted { place: address(&**binary), drops_name: false }
            }
            (None, ExprKind::Aggregate(aggregate)) => {
                Promise::Wanted { place: address(&**aggregate), drops_name: false }
            }
            _ => Promise::None,
        });
        let mut held: Vec<Held> = Vec::new();
        self.unordered(inner, grid, &mut |row| {
            if self.promise.get() == Promise::Given {
                return self.emit(row, grid, emit);
            }
            held.extend(self.held(row, grid)?);
            Ok(())
        })?;
        held.sort_by(|a, b| a.labels().cmp(b.labels()));
        let mut held = held.into_iter().peekable();
        while let Some(next) = held.next() {
            if held.peek().is_none_or(|after| after.labels() != next.labels()) {
                match next {
                    Held::Column(row) => self.emit(row, grid, emit)?,
                    Held::Series(series) => emit(series.as_answered())?,
                }
                continue;
            }
            let labels = next.labels().clone();
            let same = std::iter::from_fn(|| held.next_if(|h| *h.labels() == labels));
            let parts = std::iter::once(next).chain(same).map(|held| match held {
                Held::Column(row) => {
                    self.series(row, grid).map(|series| series.expect("BUG: it has samples"))
                }
                Held::Series(series) => Ok(series),
            });
            for series in join_sorted(parts.collect::<Result<Vec<_>>>()?)? {
                emit(series.as_answered())?;
            }
        }
        Ok(())
    }

    /// Promises that the series of the node at `place` come in order, if that is wanted.
    pub fn promise<T>(&self, place: &T) {
        if self.is_order_wanted(place, usize::MAX).is_some() {
            self.promise.set(Promise::Given);
        }
    }

    /// Whether the series of the node at `place` are to come in order, and are many samples; then
    /// also whether their names go.
    pub fn is_order_wanted<T>(&self, place: &T, samples: usize) -> Option<bool> {
        match self.promise.get() {
            Promise::Wanted { place: wanted, drops_name } if wanted == address(place) => {
                are_many(samples).then_some(drops_name)
            }
            _ => None,
        }
    }

    /// Promises that a selector's series come in order, if that is wanted and so.
    pub fn promise_order(&self, selector: &VectorSelector, set: &dyn SeriesSet, grid: &Grid) {
        let samples = set.len().saturating_mul(grid.count);
        if let Some(drops_name) = self.is_order_wanted(selector, samples)
            && ascends((0..set.len()).map(|series| set.labels(series)), drops_name)
        {
            self.promise.set(Promise::Given);
        }
    }

    fn emit(&self, mut row: Row, grid: &Grid, emit: Emit<'_>) -> Result<()> {
        let histograms = row.take_histograms();
        if histograms.is_empty() && row.is_empty() {
            self.recycle(row.values);
            return Ok(());
        }
        let labels = if row.drop_name { row.labels.drop(&DESCRIPTIVE) } else { row.labels };
        let timed: Vec<_> = histograms.iter().map(|(i, h)| (grid.time(i), h.clone())).collect();
        let points = Points::Steps { start_ms: grid.start_ms, step_ms: grid.step_ms, values: &row.values };
        emit(Answered { labels: &labels, points, histograms: &timed })?;
        self.release(histograms.cells());
        self.recycle(row.values);
        Ok(())
    }

    fn held(&self, mut row: Row, grid: &Grid) -> Result<Option<Held>> {
        let count = row.values.iter().filter(|v| is_some(**v)).count();
        if count * 2 < grid.count || !row.histograms.is_empty() {
            return Ok(self.series(row, grid)?.map(Held::Series));
        }
        if row.drop_name {
            row.labels = row.labels.drop(&DESCRIPTIVE);
            row.drop_name = false;
        }
        self.cancel.hold_bytes(ROW_BYTES)?;
        Ok(Some(Held::Column(row)))
    }
}
