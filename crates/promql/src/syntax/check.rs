//! Type checks and the rules that the grammar cannot say, in the words and order of Prometheus.

use std::collections::HashSet;

use vedette_model::METRIC_NAME;

use super::{parser::ERRORS_MAX, quote::quote};
use crate::{
    ast::{Aggregate, Binary, Call, Cardinality, Edges, Expr, ExprKind, ValueType, VectorSelector},
    function::{Function, FunctionId},
    span::{ParseError, Span},
};

/// Functions that can be given a range with `anchored`; `smoothed` only with those of the second list.
const ANCHORED: [FunctionId; 5] =
    [FunctionId::Changes, FunctionId::Delta, FunctionId::Increase, FunctionId::Rate, FunctionId::Resets];
const SMOOTHED: [FunctionId; 3] = [FunctionId::Delta, FunctionId::Increase, FunctionId::Rate];

/// Notes every violation in `expr`, inner ones first.
pub(super) fn check(expr: &Expr, errors: &mut Vec<ParseError>) {
    let mut check = Check { errors };
    check.expr(expr);
}

struct Check<'e> {
    errors: &'e mut Vec<ParseError>,
}

impl Check<'_> {
    fn note(&mut self, span: Span, message: impl Into<String>) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ParseError { span, message: message.into() });
        }
    }

    fn expect(&mut self, expr: &Expr, expected: ValueType, context: &str) {
        let got = expr.value_type();
        if got != expected && self.errors.len() < ERRORS_MAX {
            let message =
                format!("expected type {} in {context}, got {}", expected.documented(), got.documented());
            self.note(expr.span, message);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match &expr.kind {
            ExprKind::Call(call) => return self.call(call, expr.span),
            ExprKind::Aggregate(aggregate) => return self.aggregate(aggregate),
            ExprKind::Binary(_) => {
                let (first, links) = expr.chain();
                self.expr(first);
                for (binary, span) in links {
                    self.expr(&binary.rhs);
                    self.binary(binary, span);
                }
                return;
            }
            _ => {}
        }
        for child in expr.children() {
            self.expr(child);
        }
        match &expr.kind {
            ExprKind::Unary(_, inner) => {
                let got = inner.value_type();
                if !matches!(got, ValueType::Scalar | ValueType::Vector) {
                    let message = format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {}",
                        quote(got.documented())
                    );
                    self.note(expr.span, message);
                }
            }
            ExprKind::Vector(selector) => self.selector(selector, expr.span),
            ExprKind::Matrix(matrix) => self.selector(&matrix.selector, matrix.selector_span),
            ExprKind::Subquery(subquery) => {
                let got = subquery.expr.value_type();
                if got != ValueType::Vector {
                    let message =
                        format!("subquery is only allowed on instant vector, got {} instead", got.as_str());
                    self.note(expr.span, message);
                }
            }
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Paren(_) => {}
            ExprKind::Call(_) | ExprKind::Aggregate(_) | ExprKind::Binary(_) => {
                unreachable!("BUG: checked above")
            }
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) {
        self.expr(&aggregate.expr);
        self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression");
        if let (Some(parameter), Some(expected)) = (&aggregate.parameter, aggregate.op.parameter()) {
            self.expr(parameter);
            self.expect(parameter, expected, "aggregation parameter");
        }
    }

    fn selector(&mut self, selector: &VectorSelector, span: Span) {
        self.one_name(selector, span);
        if selector.matchers.iter().all(vedette_model::Matcher::matches_empty) {
            self.note(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    /// A name in front of the braces is the only one; the matcher that it stands for is the last.
    fn one_name(&mut self, selector: &VectorSelector, span: Span) {
        let (Some(name), Some((_, others))) = (&selector.name, selector.matchers.split_last()) else {
            return;
        };
        for other in others.iter().filter(|m| m.name == METRIC_NAME) {
            let (name, value) = (quote(name), quote(&other.value));
            self.note(span, format!("metric name must not be set twice: {name} or {value}"));
        }
    }

    fn binary(&mut self, binary: &Binary, span: Span) {
        let Binary { op, op_span, lhs, rhs, return_bool, matching, .. } = binary;
        let (left, right) = (lhs.value_type(), rhs.value_type());
        if *return_bool && !op.is_comparison() {
            self.note(*op_span, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !return_bool && left == ValueType::Scalar && right == ValueType::Scalar {
            self.note(*op_span, "comparisons between scalars must use BOOL modifier");
        }
        if matching.on {
            let include: HashSet<&String> = matching.include.iter().collect();
            for label in matching.labels.iter().filter(|l| include.contains(l)) {
                let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
                self.note(*op_span, message);
            }
        }
        for side in [lhs, rhs] {
            if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
                self.note(side.span, "binary expression must contain only scalar and instant vector types");
            }
        }
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if left != ValueType::Vector || right != ValueType::Vector {
            if !matching.labels.is_empty() {
                self.note(span, "vector matching only allowed between instant vectors");
            }
            if filled {
                self.note(span, "filling in missing series only allowed between instant vectors");
            }
        } else if op.is_set() {
            if matching.cardinality != Cardinality::ManyToMany {
                self.note(span, format!("no grouping allowed for {} operation", quote(op.as_str())));
                self.note(span, "set operations must always be many-to-many");
            }
            if filled {
                self.note(span, "filling in missing series not allowed for set operators");
            }
        }
        if op.is_set() && (left == ValueType::Scalar || right == ValueType::Scalar) {
            let op = quote(op.as_str());
            self.note(span, format!("set operator {op} not allowed in binary scalar expression"));
        }
    }

    fn call(&mut self, call: &Call, span: Span) {
        let function = call.function;
        let (min, max, got) = (function.args_min(), function.args_max(), call.args.len());
        let wrong_count = match max {
            Some(max) if min == max && got != min => Some(("expected", min)),
            Some(max) if got > max => Some(("expected at most", max)),
            _ if got < min => Some(("expected at least", min)),
            _ => None,
        };
        if let Some((bound, count)) = wrong_count {
            self.note(
                span,
                format!("{bound} {count} argument(s) in call to {}, got {got}", quote(function.name)),
            );
        }
        let context = format!("call to function {}", quote(function.name));
        if function.id == FunctionId::Info
            && let Some(labels) = call.args.get(1)
        {
            self.info_labels(labels, span, &context);
        }
        for (i, arg) in call.args.iter().enumerate() {
            // Of arguments too many nothing is said but that.
            let Some(expected) = function.args.get(i).or(function.args.last().filter(|_| max != Some(min)))
            else {
                break;
            };
            match &arg.kind {
                // It names labels, not series: it may match the empty string.
                ExprKind::Vector(selector) if function.id == FunctionId::Info && i == 1 => {
                    self.one_name(selector, arg.span);
                }
                _ => self.expr(arg),
            }
            self.expect(arg, *expected, &context);
        }
    }

    /// The second argument of `info`.
    fn info_labels(&mut self, labels: &Expr, call: Span, context: &str) {
        let got = labels.value_type();
        if got != ValueType::Vector {
            let got = got.documented();
            self.note(call, format!("expected type instant vector in {context}, got {got}"));
        }
        match &labels.kind {
            ExprKind::Vector(selector) if selector.name.is_none() => {}
            ExprKind::Vector(_) => {
                self.note(labels.span, "expected label selectors only, got vector selector instead");
            }
            _ => self.note(labels.span, "expected label selectors only"),
        }
    }
}

/// What is wrong with the use of `anchored` and `smoothed`. Prometheus takes such queries, and fails
/// to evaluate them.
pub(crate) fn check_edges(expr: &Expr) -> Option<String> {
    let mut wrong = None;
    expr.walk(&mut |e| {
        if let ExprKind::Call(call) = &e.kind {
            for arg in &call.args {
                if let ExprKind::Matrix(matrix) = &arg.unwrap_parens().kind
                    && let Some(reason) = refused_edges(call.function, matrix.selector.edges)
                {
                    wrong.get_or_insert(reason);
                }
            }
        }
    });
    wrong
}

fn refused_edges(function: &Function, edges: Edges) -> Option<String> {
    let (word, allowed): (_, &[FunctionId]) = match edges {
        Edges::Plain => return None,
        Edges::Anchored => ("anchored", &ANCHORED),
        Edges::Smoothed => ("smoothed", &SMOOTHED),
    };
    if allowed.contains(&function.id) {
        return None;
    }
    Some(format!("{word} modifier can only be used with: {} - not with {}", names(allowed), function.name))
}

fn names(functions: &[FunctionId]) -> String {
    let names: Vec<_> =
        crate::function::FUNCTIONS.iter().filter(|f| functions.contains(&f.id)).map(|f| f.name).collect();
    names.join(", ")
}
