//! The tree of an expression, as `/api/v1/parse_query` gives it: Prometheus' names for its nodes,
//! with the members of each in the order of their names.

use vedette_promql::ast::{
    Aggregate, At, Binary, BinaryOp, Call, Cardinality, Duration, DurationKind, Edges, Expr, ExprKind,
    Matching, Number, Shift, Subquery, UnarySign, ValueType, VectorSelector,
};
use vedette_wire::json::{Object, push_array, push_text_for_html};

/// Appends an expression. A checked tree is not deep, so this may recurse; but not along chains of
/// operators, which may be long.
pub fn push_expr(out: &mut Vec<u8>, expr: &Expr) {
    if matches!(expr.kind, ExprKind::Binary(_)) {
        return push_chain(out, expr);
    }
    let mut object = Object::begin(out);
    match &expr.kind {
        ExprKind::Number(number) => {
            object.text("type", "numberLiteral").text("val", &number.plain());
        }
        ExprKind::String(text) => {
            object.text("type", "stringLiteral").text("val", &text.value);
        }
        ExprKind::Paren(inner) => {
            push_expr(object.member("expr"), inner);
            object.text("type", "parenExpr");
        }
        ExprKind::Unary(sign, inner) => {
            push_expr(object.member("expr"), inner);
            object.text("op", if *sign == UnarySign::Minus { "-" } else { "+" }).text("type", "unaryExpr");
        }
        ExprKind::Binary(_) => unreachable!("BUG: written above"),
        ExprKind::Aggregate(aggregate) => push_aggregate(&mut object, aggregate),
        ExprKind::Call(call) => push_call(&mut object, call),
        ExprKind::Vector(selector) => push_selector(&mut object, selector, None),
        ExprKind::Matrix(matrix) => push_selector(&mut object, &matrix.selector, Some(&matrix.range)),
        ExprKind::Subquery(subquery) => push_subquery(&mut object, subquery),
    }
    object.end();
}

/// Each operation holds the one to its left: the last one begins first and ends last.
fn push_chain(out: &mut Vec<u8>, expr: &Expr) {
    let (first, links) = expr.chain();
    for (binary, _) in links.iter().rev() {
        let mut object = Object::begin(out);
        push_bool(&mut object, "bool", binary.return_bool);
        object.member("lhs");
    }
    push_expr(out, first);
    for (binary, _) in links {
        push_link(Object::resume(out), binary);
    }
}

/// What an operation has after its left side.
fn push_link(mut object: Object<'_>, binary: &Binary) {
    let Binary { op, lhs, rhs, matching, .. } = binary;
    // Between others there is nothing to match.
    let vectors = [lhs, rhs].iter().all(|side| side.value_type() == ValueType::Vector);
    match vectors.then_some(matching) {
        Some(matching) => push_matching(object.member("matching"), matching),
        None => push_null(&mut object, "matching"),
    }
    object.text("op", op.as_str());
    push_expr(object.member("rhs"), rhs);
    object.text("type", "binaryExpr");
    object.end();
}

fn push_matching(out: &mut Vec<u8>, matching: &Matching) {
    let mut object = Object::begin(out);
    object.text(
        "card",
        match matching.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        },
    );
    let mut fill = Object::begin(object.member("fillValues"));
    for (name, value) in [("lhs", matching.fill_left), ("rhs", matching.fill_right)] {
        match value {
            None => push_null(&mut fill, name),
            Some(value) if value.is_finite() => {
                fill.number(name, value);
            }
            // JSON has no such number; Prometheus has no answer here.
            Some(value) => {
                fill.text(name, &Number { value, duration: false }.plain());
            }
        }
    }
    fill.end();
    push_texts(object.member("include"), &matching.include);
    push_texts(object.member("labels"), &matching.labels);
    push_bool(&mut object, "on", matching.on);
    object.end();
}

fn push_aggregate(object: &mut Object<'_>, aggregate: &Aggregate) {
    push_expr(object.member("expr"), &aggregate.expr);
    push_texts(object.member("grouping"), &aggregate.grouping);
    object.text("op", aggregate.op.as_str());
    match &aggregate.parameter {
        Some(parameter) => push_expr(object.member("param"), parameter),
        None => push_null(object, "param"),
    }
    object.text("type", "aggregation");
    push_bool(object, "without", aggregate.without);
}

fn push_call(object: &mut Object<'_>, call: &Call) {
    push_array(object.member("args"), &call.args, push_expr);
    let mut function = Object::begin(object.member("func"));
    push_array(function.member("argTypes"), call.function.args, |out, kind| {
        push_text_for_html(out, kind.as_str());
    });
    function.text("name", call.function.name).text("returnType", call.function.returns.as_str());
    push_integer(&mut function, "variadic", call.function.variadic());
    function.end();
    object.text("type", "call");
}

/// A selector of a range has also a `range`.
fn push_selector(object: &mut Object<'_>, selector: &VectorSelector, range: Option<&Duration>) {
    push_bool(object, "anchored", selector.edges == Edges::Anchored);
    push_array(object.member("matchers"), &selector.matchers, |out, matcher| {
        let mut object = Object::begin(out);
        object.text("name", &matcher.name).text("type", matcher.op.as_str()).text("value", &matcher.value);
        object.end();
    });
    object.text("name", selector.name.as_deref().unwrap_or_default());
    push_duration(object, ["offset", "offsetExpr"], selector.shift.offset.as_ref());
    if let Some(range) = range {
        push_duration(object, ["range", "rangeExpr"], Some(range));
    }
    push_bool(object, "smoothed", selector.edges == Edges::Smoothed);
    push_start_or_end(object, &selector.shift);
    push_timestamp(object, &selector.shift);
    object.text("type", if range.is_some() { "matrixSelector" } else { "vectorSelector" });
}

fn push_subquery(object: &mut Object<'_>, subquery: &Subquery) {
    push_expr(object.member("expr"), &subquery.expr);
    push_duration(object, ["offset", "offsetExpr"], subquery.shift.offset.as_ref());
    push_duration(object, ["range", "rangeExpr"], Some(&subquery.range));
    push_start_or_end(object, &subquery.shift);
    push_duration(object, ["step", "stepExpr"], subquery.step.as_ref());
    push_timestamp(object, &subquery.shift);
    object.text("type", "subquery");
}

fn push_start_or_end(object: &mut Object<'_>, shift: &Shift) {
    match shift.at {
        Some(At::Start) => drop(object.text("startOrEnd", "start")),
        Some(At::End) => drop(object.text("startOrEnd", "end")),
        Some(At::Time(_)) | None => push_null(object, "startOrEnd"),
    }
}

fn push_timestamp(object: &mut Object<'_>, shift: &Shift) {
    match shift.at {
        Some(At::Time(ms)) => push_integer(object, "timestamp", ms),
        Some(At::Start | At::End) | None => push_null(object, "timestamp"),
    }
}

/// A duration is milliseconds under the first name, or to be calculated and under the second.
fn push_duration(object: &mut Object<'_>, [known, calculated]: [&str; 2], duration: Option<&Duration>) {
    let (ms, tree) = match duration {
        None => (0, None),
        Some(Duration { kind: DurationKind::Literal(number), .. }) => (number.as_duration_ms(), None),
        Some(duration) => (0, Some(duration)),
    };
    push_integer(object, known, ms);
    match tree {
        Some(duration) => push_duration_tree(object.member(calculated), duration, false),
        None => push_null(object, calculated),
    }
}

/// A calculation; `wrapped` if it stands in parentheses.
fn push_duration_tree(out: &mut Vec<u8>, duration: &Duration, wrapped: bool) {
    let (left, op, right) = match &duration.kind {
        DurationKind::Paren(inner) => return push_duration_tree(out, inner, true),
        DurationKind::Literal(number) => {
            let mut object = Object::begin(out);
            push_bool(&mut object, "duration", number.duration);
            object.text("type", "numberLiteral").text("val", &number.plain());
            return object.end();
        }
        DurationKind::Step => (None, "step", None),
        DurationKind::Range => (None, "range", None),
        DurationKind::MinOf(a, b) => (Some(a), "min_of", Some(b)),
        DurationKind::MaxOf(a, b) => (Some(a), "max_of", Some(b)),
        DurationKind::Negative(a) => (None, BinaryOp::Sub.as_str(), Some(a)),
        DurationKind::Binary(op, a, b) => (Some(a), op.as_str(), Some(b)),
    };
    let mut object = Object::begin(out);
    let side = |object: &mut Object<'_>, name, side: Option<&Box<Duration>>| match side {
        Some(duration) => push_duration_tree(object.member(name), duration, false),
        None => push_null(object, name),
    };
    side(&mut object, "lhs", left);
    object.text("op", op);
    side(&mut object, "rhs", right);
    object.text("type", "durationExpr");
    push_bool(&mut object, "wrapped", wrapped);
    object.end();
}

fn push_texts(out: &mut Vec<u8>, texts: &[String]) {
    push_array(out, texts, |out, text| push_text_for_html(out, text));
}

fn push_null(object: &mut Object<'_>, name: &str) {
    object.member(name).extend_from_slice(b"null");
}

fn push_bool(object: &mut Object<'_>, name: &str, value: bool) {
    object.member(name).extend_from_slice(if value { b"true" } else { b"false" });
}

fn push_integer(object: &mut Object<'_>, name: &str, value: i64) {
    object.member(name).extend_from_slice(value.to_string().as_bytes());
}
