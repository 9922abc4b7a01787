//! Writes expressions: on one line (`Display`), or broken where they are long ([`pretty`]).

use std::fmt::{self, Display, Write};

use vedette_model::{METRIC_NAME, MatchOp};

use super::{
    number::{format_duration_ms, format_plain},
    quote::{quote, quote_bytes},
};
use crate::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, DurationKind, Edges, Expr, ExprKind, Number, Shift,
    UnarySign, VectorSelector,
};

/// Longer expressions are broken into lines.
const LINE_CHARS_MAX: usize = 100;

/// Writes an expression for people, broken into lines where it is long.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0);
    out
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    let indent = "  ".repeat(level);
    let line = expr.to_string();
    if line.len() <= LINE_CHARS_MAX {
        out.push_str(&indent);
        out.push_str(&line);
        return;
    }
    match &expr.kind {
        ExprKind::Paren(inner) => {
            *out += &format!("{indent}(\n");
            write_pretty(out, inner, level + 1);
            *out += &format!("\n{indent})");
        }
        ExprKind::Unary(sign, inner) => {
            *out += &format!("{indent}{}", sign_str(*sign));
            let mut text = String::new();
            write_pretty(&mut text, inner, level);
            out.push_str(text.trim_start());
        }
        ExprKind::Binary(b) => {
            write_pretty(out, &b.lhs, level + 1);
            *out += &format!("\n{indent}{}{}\n", b.op.as_str(), Modifiers(b));
            write_pretty(out, &b.rhs, level + 1);
        }
        ExprKind::Aggregate(a) => {
            *out += &format!("{indent}{}(\n", Head(a));
            if let Some(parameter) = &a.parameter {
                write_pretty(out, parameter, level + 1);
                out.push_str(",\n");
            }
            write_pretty(out, &a.expr, level + 1);
            *out += &format!("\n{indent})");
        }
        ExprKind::Call(Call { function, args }) => {
            *out += &format!("{indent}{}(\n", function.name);
            for (i, arg) in args.iter().enumerate() {
                out.push_str(if i > 0 { ",\n" } else { "" });
                write_pretty(out, arg, level + 1);
            }
            *out += &format!("\n{indent})");
        }
        ExprKind::Subquery(s) => {
            write_pretty(out, &s.expr, level);
            *out += &format!("{}{}", Window(&s.range, Some(s.step.as_ref())), s.shift);
        }
        ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {
            *out += &format!("{indent}{line}");
        }
    }
}

fn sign_str(sign: UnarySign) -> &'static str {
    match sign {
        UnarySign::Plus => "+",
        UnarySign::Minus => "-",
    }
}

/// `a, b`
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// `a, "b c"`
struct LabelList<'a>(&'a [String]);

impl Display for LabelList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, label) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            write_label(f, label)?;
        }
        Ok(())
    }
}

fn write_label(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if is_bare(name, false) { f.write_str(name) } else { f.write_str(&quote(name)) }
}

/// Whether a name needs no quotes.
fn is_bare(name: &str, colons: bool) -> bool {
    let mut bytes = name.bytes();
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colons && b == b':');
    bytes.next().is_some_and(letter) && bytes.all(|b| letter(b) || b.is_ascii_digit())
}

/// What stands between an operator and its right side, with a leading blank.
struct Modifiers<'a>(&'a Binary);

impl Display for Modifiers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binary { return_bool, matching: m, .. } = self.0;
        if *return_bool {
            f.write_str(" bool")?;
        }
        let grouped = matches!(m.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
        if !m.labels.is_empty() || m.on || grouped {
            let word = if m.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", LabelList(&m.labels))?;
        }
        if grouped {
            let word = if m.cardinality == Cardinality::ManyToOne { "group_left" } else { "group_right" };
            write!(f, " {word} ({})", LabelList(&m.include))?;
        }
        match (m.fill_left, m.fill_right) {
            (Some(l), Some(r)) if l.to_bits() == r.to_bits() => write!(f, " fill ({})", format_plain(l)),
            (l, r) => {
                if let Some(l) = l {
                    write!(f, " fill_left ({})", format_plain(l))?;
                }
                if let Some(r) = r {
                    write!(f, " fill_right ({})", format_plain(r))?;
                }
                Ok(())
            }
        }
    }
}

/// An aggregation up to its opening parenthesis.
struct Head<'a>(&'a Aggregate);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Aggregate { op, grouping, without, .. } = self.0;
        f.write_str(op.as_str())?;
        if *without {
            write!(f, " without ({}) ", LabelList(grouping))
        } else if !grouping.is_empty() {
            write!(f, " by ({}) ", LabelList(grouping))
        } else {
            Ok(())
        }
    }
}

/// `[5m]`, or with a second part `[5m:1m]`, `[5m:]`.
struct Window<'a>(&'a Duration, Option<Option<&'a Duration>>);

impl Display for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}", WholeDuration(self.0))?;
        if let Some(step) = self.1 {
            f.write_char(':')?;
            if let Some(step) = step {
                write!(f, "{}", WholeDuration(step))?;
            }
        }
        f.write_char(']')
    }
}

/// A duration whose literals are all written with units.
struct WholeDuration<'a>(&'a Duration);

impl Display for WholeDuration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            DurationKind::Literal(n) => f.write_str(&format_duration_ms((n.value * 1000.0) as i64)),
            _ => self.0.fmt(f),
        }
    }
}

impl Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal(n) => n.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::MinOf(a, b) => write!(f, "min_of({a}, {b})"),
            DurationKind::MaxOf(a, b) => write!(f, "max_of({a}, {b})"),
            DurationKind::Negative(d) => write!(f, "-{d}"),
            DurationKind::Positive(d) => write!(f, "+{d}"),
            DurationKind::Binary(op, a, b) => write!(f, "{a} {} {b}", op.as_str()),
            DurationKind::Paren(d) => write!(f, "({d})"),
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.duration {
            return f.write_str(&format_duration_ms((self.value * 1000.0).round() as i64));
        }
        f.write_str(&format_plain(self.value))
    }
}

/// ` @ 1.000 offset 5m`
impl Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Time(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)?;
            }
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
        }
        match &self.offset {
            None => Ok(()),
            Some(offset) => write!(f, " offset {}", WholeDuration(offset)),
        }
    }
}

impl VectorSelector {
    /// `name{a="b"}`, without what follows.
    fn write_series(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = self.name.as_deref().filter(|n| is_bare(n, true));
        f.write_str(bare.unwrap_or(""))?;
        let mut separator = "{";
        if let Some(name) = self.name.as_deref().filter(|_| bare.is_none()) {
            write!(f, "{{{}", quote(name))?;
            separator = ",";
        }
        for m in &self.matchers {
            if self.name.is_some() && m.name == METRIC_NAME && m.op == MatchOp::Equal {
                continue;
            }
            f.write_str(separator)?;
            write_label(f, &m.name)?;
            write!(f, "{}{}", m.op.as_str(), quote(&m.value))?;
            separator = ",";
        }
        match (separator, bare) {
            ("{", Some(_)) => Ok(()),
            ("{", None) => f.write_str("{}"),
            _ => f.write_str("}"),
        }
    }

    fn edges_str(&self) -> &'static str {
        match self.edges {
            Edges::Plain => "",
            Edges::Anchored => " anchored",
            Edges::Smoothed => " smoothed",
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Number(n) => n.fmt(f),
            ExprKind::String(text) => f.write_str(&quote_bytes(text.as_bytes())),
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary(sign, inner) => write!(f, "{}{inner}", sign_str(*sign)),
            ExprKind::Binary(b) => write!(f, "{} {}{} {}", b.lhs, b.op.as_str(), Modifiers(b), b.rhs),
            ExprKind::Aggregate(a) => {
                write!(f, "{}(", Head(a))?;
                if let Some(parameter) = &a.parameter {
                    write!(f, "{parameter}, ")?;
                }
                write!(f, "{})", a.expr)
            }
            ExprKind::Call(Call { function, args }) => write!(f, "{}({})", function.name, List(args)),
            ExprKind::Vector(v) => {
                v.write_series(f)?;
                write!(f, "{}{}", v.edges_str(), v.shift)
            }
            ExprKind::Matrix(m) => {
                m.selector.write_series(f)?;
                write!(f, "{}{}{}", Window(&m.range, None), m.selector.edges_str(), m.selector.shift)
            }
            ExprKind::Subquery(s) => {
                write!(f, "{}{}{}", s.expr, Window(&s.range, Some(s.step.as_ref())), s.shift)
            }
        }
    }
}
