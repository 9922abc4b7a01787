//! Type checks and the rules that the grammar cannot say.

use vedette_model::METRIC_NAME;

use super::quote::quote;
use crate::{
    ast::{Binary, Call, Cardinality, Edges, Expr, ExprKind, ValueType, VectorSelector},
    function::FunctionId,
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
    if let ExprKind::Matrix(m) = &expr.unwrap_parens().kind {
        check.edges_without_function(m.selector.edges, expr.span);
    }
}

struct Check<'e> {
    errors: &'e mut Vec<ParseError>,
}

impl Check<'_> {
    fn note(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    fn expect(&mut self, expr: &Expr, expected: ValueType, context: &str) {
        let got = expr.value_type();
        if got != expected {
            let message =
                format!("expected type {} in {context}, got {}", expected.documented(), got.documented());
            self.note(expr.span, message);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if let ExprKind::Call(call) = &expr.kind {
            return self.call(call, expr.span);
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
            ExprKind::Binary(binary) => self.binary(binary),
            ExprKind::Aggregate(aggregate) => {
                self.expect(&aggregate.expr, ValueType::Vector, "aggregation expression");
                if let (Some(parameter), Some(expected)) = (&aggregate.parameter, aggregate.op.parameter()) {
                    self.expect(parameter, expected, "aggregation expression");
                }
            }
            ExprKind::Vector(selector) => {
                self.selector(selector, expr.span);
                if selector.edges == Edges::Anchored {
                    self.note(expr.span, "anchored modifier can only be used with range vector selectors");
                }
            }
            ExprKind::Matrix(matrix) => self.selector(&matrix.selector, matrix.selector_span),
            ExprKind::Subquery(subquery) => {
                let got = subquery.expr.value_type();
                if got != ValueType::Vector {
                    let message = format!(
                        "subquery is only allowed on instant vector, got {} instead",
                        got.documented()
                    );
                    self.note(expr.span, message);
                }
            }
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Paren(_) | ExprKind::Call(_) => {}
        }
    }

    fn selector(&mut self, selector: &VectorSelector, span: Span) {
        if selector.matchers.iter().all(vedette_model::Matcher::matches_empty) {
            self.note(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn binary(&mut self, binary: &Binary) {
        let Binary { op, op_span, lhs, rhs, return_bool, matching } = binary;
        let (left, right) = (lhs.value_type(), rhs.value_type());
        if *return_bool && !op.is_comparison() {
            self.note(*op_span, "bool modifier can only be used on comparison operators");
        }
        if op.is_comparison() && !return_bool && left == ValueType::Scalar && right == ValueType::Scalar {
            self.note(*op_span, "comparisons between scalars must use BOOL modifier");
        }
        if op.is_set() && matching.cardinality != Cardinality::ManyToMany {
            self.note(*op_span, format!("no grouping allowed for {} operation", quote(op.as_str())));
        }
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if filled && op.is_set() {
            self.note(
                *op_span,
                format!("filling in missing series not allowed for {} operation", quote(op.as_str())),
            );
        }
        if matching.on {
            for label in matching.labels.iter().filter(|l| matching.include.contains(l)) {
                let message = format!("label {} must not occur in ON and GROUP clause at once", quote(label));
                self.note(*op_span, message);
            }
        }
        for side in [lhs, rhs] {
            if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
                self.note(side.span, "binary expression must contain only scalar and instant vector types");
            }
        }
        if left == ValueType::Vector && right == ValueType::Vector {
            return;
        }
        if !matching.labels.is_empty() || filled {
            self.note(*op_span, "vector matching only allowed between instant vectors");
        } else if op.is_set() {
            let message =
                format!("set operator {} not allowed in binary scalar expression", quote(op.as_str()));
            self.note(*op_span, message);
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
        for (i, arg) in call.args.iter().enumerate() {
            if function.id == FunctionId::Info && i == 1 {
                self.info_selector(arg);
                continue;
            }
            self.expr(arg);
            if let Some(expected) = function.args.get(i).or(function.args.last().filter(|_| function.repeats))
            {
                self.expect(arg, *expected, &context);
            }
            if let ExprKind::Matrix(matrix) = &arg.unwrap_parens().kind {
                self.edges(function.id, matrix.selector.edges, arg.span, function.name);
            }
        }
    }

    /// The second argument of `info` names labels, not series: it may match the empty string.
    fn info_selector(&mut self, arg: &Expr) {
        match &arg.kind {
            ExprKind::Vector(selector) if selector.name.is_none() => {
                for matcher in selector.matchers.iter().filter(|m| m.name == METRIC_NAME) {
                    if matcher.value.is_empty() {
                        self.note(arg.span, "metric name must not be empty");
                    }
                }
            }
            ExprKind::Vector(_) => {
                self.note(arg.span, "expected label selectors only, got vector selector instead");
            }
            _ => {
                let got = arg.value_type().documented();
                let message = format!(
                    "expected label selectors as the second argument to \"info\" function, got {got}"
                );
                self.note(arg.span, message);
            }
        }
    }

    fn edges(&mut self, function: FunctionId, edges: Edges, span: Span, name: &str) {
        let (word, allowed): (_, &[FunctionId]) = match edges {
            Edges::Plain => return,
            Edges::Anchored => ("anchored", &ANCHORED),
            Edges::Smoothed => ("smoothed", &SMOOTHED),
        };
        if !allowed.contains(&function) {
            self.note(
                span,
                format!("{word} modifier can only be used with: {} - not with {name}", names(allowed)),
            );
        }
    }

    fn edges_without_function(&mut self, edges: Edges, span: Span) {
        if edges != Edges::Plain {
            self.note(
                span,
                "anchored and smoothed range selectors can only be used as a function's argument",
            );
        }
    }
}

fn names(functions: &[FunctionId]) -> String {
    let names: Vec<_> =
        crate::function::FUNCTIONS.iter().filter(|f| functions.contains(&f.id)).map(|f| f.name).collect();
    names.join(", ")
}
