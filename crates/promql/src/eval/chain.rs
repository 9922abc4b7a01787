//! Long chains of operators, `a + b + c + …`: evaluated from their left end on, so that the stack
//! does not grow with them.
//!
//! Of a chain with more than [`CHAIN_DEPTH`] operators each longer part is evaluated for itself, and
//! its series wait for the operation that has this part on its left side, which is next.

use super::{
    Evaluator, Result,
    column::{Grid, Row},
    operator,
};
use crate::{
    Span,
    ast::{Binary, Expr, ExprKind, ValueType},
    syntax::CHAIN_DEPTH,
};

/// Series of a part of a chain, which is known by its address.
pub(super) type Waiting = (usize, Vec<Row>);

fn address(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

impl Evaluator<'_> {
    /// Evaluates what stands on the left side of an operation before the operation itself, where the
    /// chain is long.
    pub fn climb(&self, binary: &Binary, grid: &Grid) -> Result<()> {
        let lhs = &binary.lhs;
        if binary.operators <= CHAIN_DEPTH || self.is_waiting(lhs) {
            return Ok(());
        }
        let mut parts = Vec::new();
        let mut part = lhs;
        while let ExprKind::Binary(below) = &part.kind
            && below.operators >= CHAIN_DEPTH
            && below.value_type == ValueType::Vector
        {
            parts.push(part);
            part = &below.lhs;
        }
        for part in parts.into_iter().rev() {
            let rows = self.rows(part, grid)?;
            self.waiting.borrow_mut().push((address(part), rows));
        }
        Ok(())
    }

    fn is_waiting(&self, expr: &Expr) -> bool {
        self.waiting.borrow().last().is_some_and(|(waits, _)| *waits == address(expr))
    }

    /// The series of a part that was evaluated before.
    pub fn waiting(&self, expr: &Expr) -> Option<Vec<Row>> {
        self.is_waiting(expr).then(|| self.waiting.borrow_mut().pop()).flatten().map(|(_, rows)| rows)
    }

    /// A chain of operators of scalars.
    pub fn scalar_chain(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>> {
        let (first, links) = expr.chain();
        let mut lhs = self.scalar(first, grid)?;
        for (binary, span) in links {
            lhs = self.scalar_link(binary, span, lhs, grid)?;
        }
        Ok(lhs)
    }

    fn scalar_link(&self, binary: &Binary, span: Span, mut lhs: Vec<f64>, grid: &Grid) -> Result<Vec<f64>> {
        let mut visit = self.cancel.observer().map(|observer| observer.enter(span));
        let rhs = self.scalar(&binary.rhs, grid)?;
        for (l, r) in lhs.iter_mut().zip(&rhs) {
            *l = operator::scalars(binary.op, *l, *r)?;
        }
        self.recycle(rhs);
        if let Some(visit) = &mut visit {
            visit.pass(lhs.len(), size_of_val(lhs.as_slice()), || ());
        }
        Ok(lhs)
    }
}
