//! Finds the selectors of whose histograms only count and sum are looked at: buckets need not be
//! carried along, and resets are found out sample by sample while the buckets are there.

use std::collections::HashSet;

use crate::{
    Expr, ExprKind,
    ast::{Binary, BinaryOp},
    function::FunctionId,
};

/// The selectors, by their address.
pub fn selectors(expr: &Expr) -> HashSet<usize> {
    let mut found = HashSet::new();
    visit(expr, false, false, &mut found);
    found
}

/// `totals` says that a function of count and sum stands above, `buckets` that something does which
/// needs the buckets.
fn visit(expr: &Expr, totals: bool, buckets: bool, found: &mut HashSet<usize>) {
    let (mut totals, mut buckets) = (totals, buckets);
    match &expr.kind {
        ExprKind::Vector(selector) if totals && !buckets => {
            found.insert(std::ptr::from_ref(selector).addr());
        }
        ExprKind::Matrix(matrix) if totals && !buckets => {
            found.insert(std::ptr::from_ref(&matrix.selector).addr());
        }
        ExprKind::Subquery(_) => buckets = true,
        ExprKind::Binary(_) => {
            let trims =
                |(binary, _): &(&Binary, _)| matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower);
            buckets |= expr.chain().1.iter().any(trims);
        }
        ExprKind::Call(call) => match call.function.id {
            FunctionId::HistogramCount | FunctionId::HistogramSum | FunctionId::HistogramAvg => totals = true,
            FunctionId::HistogramQuantile
            | FunctionId::HistogramQuantiles
            | FunctionId::HistogramFraction => buckets = true,
            _ => {}
        },
        _ => {}
    }
    for child in expr.children() {
        visit(child, totals, buckets, found);
    }
}
