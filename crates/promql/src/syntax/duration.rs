//! Durations in brackets and after `offset`: numbers of seconds, duration literals, and
//! calculations with them.

use super::{
    lexer::{Keyword, Kind},
    parser::{Parse, Parser},
};
use crate::{
    ast::{BinaryOp, Duration, DurationKind, Number},
    span::Span,
};

/// The precedence of `^`; a sign binds less tightly.
const POWER: u32 = 3;

fn precedence(op: BinaryOp) -> Option<u32> {
    match op {
        BinaryOp::Add | BinaryOp::Sub => Some(1),
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod => Some(2),
        BinaryOp::Pow => Some(POWER),
        _ => None,
    }
}

impl Parser<'_> {
    /// A duration in brackets: any calculation.
    pub(super) fn duration(&mut self, context: &str, expected: &str) -> Parse<Duration> {
        self.nested(|p| p.duration_binary(0, context, expected))
    }

    /// A duration after `offset`: a calculation begins with a parenthesis or with two signs, and what
    /// follows others belongs to the expression.
    pub(super) fn offset_duration(&mut self) -> Parse<Duration> {
        const EXPECTED: &str = "number, duration, step(), or range()";
        let is_sign = |kind: &Kind| matches!(kind, Kind::Add | Kind::Sub);
        if self.peek() == &Kind::LeftParen || is_sign(self.peek()) && self.peek_second().is_some_and(is_sign)
        {
            return self.duration("offset", EXPECTED);
        }
        self.duration_signed(None, "offset", EXPECTED)
    }

    /// Notes a literal that is not above zero; what is calculated is judged when the query runs.
    pub(super) fn must_be_positive(&mut self, duration: &Duration) {
        if let DurationKind::Literal(Number { value, .. }) = duration.kind
            && (value.is_nan() || value <= 0.0)
        {
            self.note(duration.span, "duration must be greater than 0");
        }
    }

    fn duration_binary(&mut self, loosest: u32, context: &str, expected: &str) -> Parse<Duration> {
        let mut lhs = self.duration_signed(Some(POWER), context, expected)?;
        let mut chain = 0;
        while let Some(op) = self.peek_operator()
            && let Some(binds) = precedence(op)
            && binds >= loosest
        {
            let op_span = self.advance();
            chain += 1;
            if chain > super::DEPTH_MAX {
                return Err(self.too_deep());
            }
            let right_loosest = if op == BinaryOp::Pow { binds } else { binds + 1 };
            let rhs = self.nested(|p| p.duration_binary(right_loosest, context, expected))?;
            if let DurationKind::Literal(Number { value: 0.0, .. }) = rhs.kind {
                // A divisor that is calculated is judged when the query runs.
                match op {
                    BinaryOp::Div => self.note(op_span, "division by zero"),
                    BinaryOp::Mod => self.note(op_span, "modulo by zero"),
                    _ => {}
                }
            }
            let span = lhs.span.to(rhs.span);
            lhs = Duration { kind: DurationKind::Binary(op, Box::new(lhs), Box::new(rhs)), span };
        }
        Ok(lhs)
    }

    /// A duration with signs in front; `operators` is the loosest operator that binds tighter
    /// than the sign, if operators may follow.
    fn duration_signed(&mut self, operators: Option<u32>, context: &str, expected: &str) -> Parse<Duration> {
        let negative = match self.peek() {
            Kind::Sub => true,
            Kind::Add => false,
            _ => return self.duration_primary(context, expected),
        };
        let start = self.advance();
        let inner = self.nested(|p| match operators {
            Some(loosest) => p.duration_binary(loosest, context, expected),
            None => p.duration_signed(None, context, expected),
        })?;
        let span = start.to(inner.span);
        let kind = match (inner.kind, negative) {
            (DurationKind::Literal(Number { value, duration }), true) => {
                DurationKind::Literal(Number { value: -value, duration })
            }
            // A plus means nothing.
            (kind, false) => kind,
            (kind, true) => DurationKind::Negative(Box::new(Duration { kind, span: inner.span })),
        };
        Ok(Duration { kind, span })
    }

    fn duration_primary(&mut self, context: &str, expected: &str) -> Parse<Duration> {
        let start = self.span();
        let kind = match *self.peek() {
            Kind::Number(value) => {
                self.advance();
                self.in_range(value, start);
                DurationKind::Literal(Number { value, duration: false })
            }
            Kind::Duration(ms) => {
                self.advance();
                DurationKind::Literal(Number { value: ms as f64 / 1000.0, duration: true })
            }
            Kind::LeftParen => {
                self.advance();
                let inner = self.duration(context, expected)?;
                if !self.take(&Kind::RightParen) {
                    return Err(self.unexpected(context, expected));
                }
                // Around a literal and around others, parentheses mean nothing.
                if matches!(inner.kind, DurationKind::Literal(_) | DurationKind::Paren(_)) {
                    return Ok(inner);
                }
                DurationKind::Paren(Box::new(inner))
            }
            Kind::Keyword(keyword @ (Keyword::Step | Keyword::Range)) => {
                self.advance();
                if !self.take(&Kind::LeftParen) || !self.take(&Kind::RightParen) {
                    return Err(self.unexpected(context, expected));
                }
                if keyword == Keyword::Step { DurationKind::Step } else { DurationKind::Range }
            }
            Kind::Keyword(keyword @ (Keyword::MinOf | Keyword::MaxOf)) => {
                self.advance();
                if !self.take(&Kind::LeftParen) {
                    return Err(self.unexpected(context, expected));
                }
                let first = self.duration(context, expected)?;
                if !self.take(&Kind::Comma) {
                    return Err(self.unexpected(context, expected));
                }
                let second = self.duration(context, expected)?;
                if !self.take(&Kind::RightParen) {
                    return Err(self.unexpected(context, expected));
                }
                let (first, second) = (Box::new(first), Box::new(second));
                match keyword {
                    Keyword::MinOf => DurationKind::MinOf(first, second),
                    _ => DurationKind::MaxOf(first, second),
                }
            }
            _ => return Err(self.unexpected(context, expected)),
        };
        Ok(Duration { kind, span: start.to(self.last_span()) })
    }

    fn in_range(&mut self, seconds: f64, span: Span) {
        if !seconds.is_finite() || seconds.abs() > crate::DURATION_SECONDS_MAX {
            self.note(span, "duration out of range");
        }
    }
}
