//! Writes expressions: on one line (`Display`), or broken where they are long ([`pretty`]).

use std::fmt::{self, Display, Write};

use vedette_model::Matcher;

use super::{
    number::{format_duration_ms, format_fill, format_plain},
    quote::{quote, quote_bytes},
};
use crate::ast::{
    Aggregate, At, Binary, Call, Cardinality, Duration, DurationKind, Edges, Expr, ExprKind, Number, Shift,
    UnarySign, ValueType, VectorSelector,
};

/// Longer expressions are broken into lines.
const LINE_CHARS_MAX: usize = 100;

/// Lines of deeper levels begin where those of this one do: of long chains of operators little but
/// blanks would be written.
const INDENTED_LEVELS_MAX: usize = 256;

/// Writes an expression for people, broken into lines where it is long.
pub fn pretty(expr: &Expr) -> String {
    let mut out = String::new();
    write_pretty(&mut out, expr, 0);
    out
}

fn write_pretty(out: &mut String, expr: &Expr, level: usize) {
    let indent = indent(level);
    let line = expr.to_string();
    if line.len() <= LINE_CHARS_MAX {
        // Prometheus does not indent subqueries that fit.
        out.push_str(if matches!(expr.kind, ExprKind::Subquery(_)) { "" } else { &indent });
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
        ExprKind::Binary(_) => write_chain(out, expr, level),
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

fn indent(level: usize) -> String {
    "  ".repeat(level.min(INDENTED_LEVELS_MAX))
}

/// Breaks a chain of operators at its right end first.
fn write_chain(out: &mut String, expr: &Expr, level: usize) {
    let (first, links) = expr.chain();
    let mut line = first.to_string();
    let mut joined = 0;
    if line.len() <= LINE_CHARS_MAX {
        for (binary, _) in &links {
            let link = Link(binary).to_string();
            if line.len() + link.len() > LINE_CHARS_MAX {
                break;
            }
            line += &link;
            joined += 1;
        }
    }
    let inner = level + links.len() - joined;
    if joined > 0 {
        *out += &format!("{}{line}", indent(inner));
    } else {
        write_pretty(out, first, inner);
    }
    for (i, (binary, _)) in links[joined..].iter().enumerate() {
        let level = inner - 1 - i;
        *out += &format!("\n{}{}{}\n", indent(level), binary.op.as_str(), Modifiers(binary));
        write_pretty(out, &binary.rhs, level + 1);
    }
}

/// ` + b`: an operator and its right side.
struct Link<'a>(&'a Binary);

impl Display for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " {}{} {}", self.0.op.as_str(), Modifiers(self.0), self.0.rhs)
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
    if is_bare(name) { f.write_str(name) } else { f.write_str(&quote(name)) }
}

/// `a="b"`
fn matcher_text(matcher: &Matcher) -> String {
    let name = if is_bare(&matcher.name) { matcher.name.clone() } else { quote(&matcher.name) };
    format!("{name}{}{}", matcher.op.as_str(), quote(&matcher.value))
}

/// Whether a name needs no quotes.
fn is_bare(name: &str) -> bool {
    let mut bytes = name.bytes();
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
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
            // Empty clauses are allowed, and mean nothing, where there is nothing to match.
            if [&self.0.lhs, &self.0.rhs].iter().any(|side| side.value_type() != ValueType::Vector) {
                return Ok(());
            }
            let word = if m.on { "on" } else { "ignoring" };
            write!(f, " {word} ({})", LabelList(&m.labels))?;
        }
        if grouped {
            let word = if m.cardinality == Cardinality::ManyToOne { "group_left" } else { "group_right" };
            write!(f, " {word} ({})", LabelList(&m.include))?;
        }
        match (m.fill_left, m.fill_right) {
            // Two that are no number are not the same.
            (Some(l), Some(r)) if l == r => write!(f, " fill ({})", format_fill(l)),
            (l, r) => {
                if let Some(l) = l {
                    write!(f, " fill_left ({})", format_fill(l))?;
                }
                if let Some(r) = r {
                    write!(f, " fill_right ({})", format_fill(r))?;
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
            DurationKind::Literal(n) => f.write_str(&format_duration_ms(n.as_duration_ms())),
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
            DurationKind::Binary(op, a, b) => write!(f, "{a} {} {b}", op.as_str()),
            DurationKind::Paren(d) => write!(f, "({d})"),
        }
    }
}

impl Number {
    /// The number without unit and exponent.
    pub fn plain(self) -> String {
        format_plain(self.value)
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.duration {
            return f.write_str(&format_duration_ms(self.as_duration_ms()));
        }
        f.write_str(&format_plain(self.value))
    }
}

/// ` @ 1.000 offset 5m`
impl Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", WrittenAt(self), WrittenOffset(self))
    }
}

/// ` @ 1.000`
struct WrittenAt<'a>(&'a Shift);

impl Display for WrittenAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.at {
            None => Ok(()),
            Some(At::Time(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)
            }
            Some(At::Start) => f.write_str(" @ start()"),
            Some(At::End) => f.write_str(" @ end()"),
        }
    }
}

/// ` offset 5m`
struct WrittenOffset<'a>(&'a Shift);

impl Display for WrittenOffset<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.offset {
            None => Ok(()),
            Some(Duration { kind: DurationKind::Literal(Number { value: 0.0, .. }), .. }) => Ok(()),
            Some(offset) => write!(f, " offset {}", WholeDuration(offset)),
        }
    }
}

impl VectorSelector {
    /// `name{a="b"}`, without what follows.
    fn write_series(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_deref().unwrap_or(""))?;
        // The matcher of the name in front of the braces is the last.
        let others = self.matchers.len() - usize::from(self.name.is_some()).min(self.matchers.len());
        let mut texts: Vec<String> = self.matchers[..others].iter().map(matcher_text).collect();
        texts.sort_unstable();
        if texts.is_empty() && self.name.is_some() { Ok(()) } else { write!(f, "{{{}}}", texts.join(",")) }
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
            ExprKind::Binary(_) => {
                let (first, links) = self.chain();
                first.fmt(f)?;
                links.iter().try_for_each(|(binary, _)| Link(binary).fmt(f))
            }
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
                write!(f, "{}{}{}", WrittenAt(&v.shift), v.edges_str(), WrittenOffset(&v.shift))
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
