//! Series selectors and what may follow an operand: `{…}`, `[5m]`, `[1h:1m]`, `offset`, `@`,
//! `anchored`, `smoothed`.

use vedette_model::{METRIC_NAME, MatchOp, Matcher};

use super::{
    lexer::{Keyword, Kind},
    parser::{Parse, Parser, Stop},
    quote::quote_bytes,
};
use crate::{
    ast::{At, Edges, Expr, ExprKind, MatrixSelector, Shift, Subquery, VectorSelector},
    span::Span,
};

/// What all regular expressions of a query may cost together, about the states of their automata.
/// Those are built when they are first needed, and nothing stops the building.
const PATTERN_COST_MAX: usize = 1_500_000;

impl Parser<'_> {
    /// `name`, `name{…}` or `{…}`
    pub(super) fn vector_selector(&mut self) -> Parse<Expr> {
        let start = self.span();
        let mut selector =
            VectorSelector { name: None, matchers: Vec::new(), shift: Shift::default(), edges: Edges::Plain };
        if self.peek() != &Kind::LeftBrace {
            selector.name = Some(self.advance().text(self.query).to_owned());
        }
        if self.take(&Kind::LeftBrace) {
            self.matchers(&mut selector)?;
        }
        let span = start.to(self.last_span());
        if let Some(name) = &selector.name {
            selector.matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        Ok(Expr { kind: ExprKind::Vector(selector), span })
    }

    /// What stands between braces, and the closing brace.
    fn matchers(&mut self, selector: &mut VectorSelector) -> Parse<()> {
        while !self.take(&Kind::RightBrace) {
            self.matcher(selector)?;
            if !self.take(&Kind::Comma) && self.peek() != &Kind::RightBrace {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(())
    }

    fn matcher(&mut self, selector: &mut VectorSelector) -> Parse<()> {
        let start = self.span();
        let (name, quoted) = match self.peek() {
            Kind::Identifier => (start.text(self.query).to_owned(), false),
            Kind::String(bytes) => match String::from_utf8(bytes.clone()) {
                Ok(name) => (name, true),
                Err(_) => {
                    let message = format!("invalid label name {}", quote_bytes(bytes));
                    self.note(start, message);
                    return Err(Stop);
                }
            },
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek() {
            Kind::Assign => MatchOp::Equal,
            Kind::NotEqual => MatchOp::NotEqual,
            Kind::RegexMatch => MatchOp::Regex,
            Kind::RegexNotMatch => MatchOp::NotRegex,
            // A quoted name alone is the metric's.
            _ if quoted => {
                selector.matchers.push(Matcher::equal(METRIC_NAME, name));
                return Ok(());
            }
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.advance();
        let value = match self.peek() {
            Kind::String(bytes) => match String::from_utf8(bytes.clone()) {
                Ok(value) => value,
                Err(_) => {
                    let message = format!("label value {} is not valid UTF-8", quote_bytes(bytes));
                    self.note(self.span(), message);
                    return Err(Stop);
                }
            },
            _ => return Err(self.unexpected("label matching", "string")),
        };
        let end = self.advance();
        match Matcher::new(op, name, value) {
            Ok(matcher) => {
                self.pattern_cost += matcher.cost();
                if self.pattern_cost > PATTERN_COST_MAX {
                    self.note(start.to(end), "the regular expressions of the query are too large together");
                    return Err(Stop);
                }
                selector.matchers.push(matcher);
            }
            Err(e) => self.note(start.to(end), e.to_string()),
        }
        Ok(())
    }

    /// `[5m]` or `[1h:1m]` after `operand`.
    pub(super) fn range_or_subquery(&mut self, operand: Expr) -> Parse<Expr> {
        let bracket = self.advance();
        let range = self.duration("subquery or range selector", "number, duration, step(), or range()")?;
        if matches!(self.peek(), Kind::RightBracket | Kind::Colon) {
            self.must_be_positive(&range);
        }
        if self.take(&Kind::RightBracket) {
            let span = operand.span.to(self.last_span());
            let selector_span = operand.span;
            let ExprKind::Vector(selector) = operand.kind else {
                self.note(bracket.to(span), "ranges only allowed for vector selectors");
                return Err(Stop);
            };
            if selector.shift.offset.is_some() {
                self.note(bracket, "no offset modifiers allowed before range");
            } else if let Some(At::Time(_)) = selector.shift.at {
                self.note(bracket, "no @ modifiers allowed before range");
            }
            let matrix = MatrixSelector { selector, selector_span, range };
            return Ok(Expr { kind: ExprKind::Matrix(Box::new(matrix)), span });
        }
        if !self.take(&Kind::Colon) {
            return Err(self.unexpected("subquery or range", "\":\" or \"]\""));
        }
        let mut step = None;
        if self.peek() != &Kind::RightBracket {
            let duration =
                self.duration("subquery selector", "number, duration, step(), range(), or \"]\"")?;
            step = Some(duration);
        }
        if self.peek() != &Kind::RightBracket {
            return Err(self.unexpected("subquery selector", "\"]\""));
        }
        step.iter().for_each(|step| self.must_be_positive(step));
        self.advance();
        let span = operand.span.to(self.last_span());
        let subquery = Subquery { expr: operand, range, step, shift: Shift::default() };
        Ok(Expr { kind: ExprKind::Subquery(Box::new(subquery)), span })
    }

    /// `offset 5m`
    pub(super) fn offset(&mut self, operand: &mut Expr) -> Parse<()> {
        self.advance();
        let duration = self.offset_duration()?;
        let operand_span = operand.span;
        operand.span = operand_span.to(self.last_span());
        match shift_of(operand) {
            None => self.note(
                operand_span,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(Shift { offset: Some(_), .. }) => self.note(operand_span, "offset may not be set multiple times"),
            Some(shift) => shift.offset = Some(duration),
        }
        Ok(())
    }

    /// `@ 1609746000`, `@ start()`, `@ end()`
    pub(super) fn at(&mut self, operand: &mut Expr) -> Parse<()> {
        self.advance();
        let at = match *self.peek() {
            Kind::Keyword(keyword @ (Keyword::Start | Keyword::End)) => {
                self.advance();
                if !self.take(&Kind::LeftParen) || !self.take(&Kind::RightParen) {
                    return Err(self.unexpected("@", "timestamp"));
                }
                if keyword == Keyword::Start { At::Start } else { At::End }
            }
            _ => At::Time(self.timestamp(operand.span)?),
        };
        let operand_span = operand.span;
        operand.span = operand_span.to(self.last_span());
        match shift_of(operand) {
            None => self.note(
                operand_span,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            Some(Shift { at: Some(_), .. }) => self.note(operand_span, "@ <timestamp> may not be set multiple times"),
            Some(shift) => shift.at = Some(at),
        }
        Ok(())
    }

    /// The time after `@`; `operand` is where a time without sense is told.
    fn timestamp(&mut self, operand: Span) -> Parse<i64> {
        let negative = self.take(&Kind::Sub);
        if !negative {
            self.take(&Kind::Add);
        }
        let seconds = match self.peek() {
            Kind::Number(value) => *value,
            Kind::Duration(ms) => *ms as f64 / 1000.0,
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        self.advance();
        let seconds = if negative { -seconds } else { seconds };
        let ms = (seconds * 1000.0).round();
        // The bounds keep every sum of times in a query far from overflow.
        if !seconds.is_finite() || ms.abs() >= (i64::MAX / 8) as f64 {
            let shown = if seconds.is_finite() {
                format!("{seconds:.6}")
            } else {
                crate::syntax::number::format_general(seconds)
            };
            self.note(operand, format!("timestamp out of bounds for @ modifier: {shown}"));
            return Ok(0);
        }
        Ok(ms as i64)
    }

    /// `anchored` or `smoothed`
    pub(super) fn edges(&mut self, operand: &mut Expr, edges: Edges) -> Parse<()> {
        let word = self.advance().text(self.query).to_ascii_lowercase();
        let operand_span = operand.span;
        operand.span = operand_span.to(self.last_span());
        let selector = match &mut operand.kind {
            ExprKind::Vector(v) => v,
            ExprKind::Matrix(m) => &mut m.selector,
            ExprKind::Subquery(_) => {
                self.note(operand_span, format!("{word} modifier is not supported for subqueries"));
                return Ok(());
            }
            _ => {
                self.note(operand_span, format!("{word} modifier not implemented"));
                return Ok(());
            }
        };
        if ![Edges::Plain, edges].contains(&selector.edges) {
            self.note(operand_span, "anchored and smoothed modifiers cannot be used together");
        }
        selector.edges = edges;
        Ok(())
    }
}

fn shift_of(expr: &mut Expr) -> Option<&mut Shift> {
    match &mut expr.kind {
        ExprKind::Vector(v) => Some(&mut v.shift),
        ExprKind::Matrix(m) => Some(&mut m.selector.shift),
        ExprKind::Subquery(s) => Some(&mut s.shift),
        _ => None,
    }
}
