//! The parser: recursive descent, with precedence climbing for operators. It stops at the first
//! token that does not fit; mistakes that leave the text readable (an unknown function, a wrong
//! number of arguments) are noted and parsing goes on. Types are checked only when nothing is wrong.

use super::{
    check,
    lexer::{Class, Keyword, Kind, Token, tokens},
};
use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Edges, Expr, ExprKind, Matching, Number,
        Shift, Text, UnarySign, VectorSelector,
    },
    function::Function,
    span::{ParseError, ParseErrors, Span},
};
use vedette_model::Matcher;

/// The longest query text, in bytes.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// The deepest expression tree. Parsing, checking, printing and evaluating recurse, and must fit
/// a thread's stack of 2 MiB also in unoptimised builds.
pub const DEPTH_MAX: u32 = 100;

/// Reads and checks a query.
pub fn parse(query: &str) -> Result<Expr, ParseErrors> {
    let mut parser = Parser::new(query)?;
    let Some(parsed) = parser.whole(Parser::expression) else { return Err(ParseErrors(parser.errors)) };
    check::check(&parsed.expr, &mut parser.errors);
    if parser.errors.is_empty() { Ok(parsed.expr) } else { Err(ParseErrors(parser.errors)) }
}

/// Reads a series selector, such as a `match[]` parameter of the HTTP interface.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let expr = parse(text)?;
    match expr.kind {
        ExprKind::Vector(VectorSelector {
            matchers,
            shift: Shift { offset: None, at: None },
            edges: Edges::Plain,
            ..
        }) => Ok(matchers),
        _ => Err(ParseErrors(vec![ParseError {
            span: expr.span,
            message: "expected a series selector".to_owned(),
        }])),
    }
}

/// Parsing cannot go on; what is wrong has been noted.
pub(super) struct Stop;

pub(super) type Parse<T> = Result<T, Stop>;

/// An expression and the depth of its tree.
pub(super) struct Parsed {
    pub expr: Expr,
    pub depth: u32,
}

pub(super) struct Parser<'q> {
    pub query: &'q str,
    tokens: Vec<Token>,
    place: usize,
    nesting: u32,
    pub errors: Vec<ParseError>,
}

/// How tightly operators bind, loosest first.
fn precedence(op: BinaryOp) -> u32 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => POWER,
        _ => 3,
    }
}

/// The precedence of `^`; a sign binds less tightly.
const POWER: u32 = 6;

impl<'q> Parser<'q> {
    fn new(query: &'q str) -> Result<Self, ParseErrors> {
        if query.len() > QUERY_BYTES_MAX {
            let message =
                format!("the query has {} bytes, more than the {QUERY_BYTES_MAX} allowed", query.len());
            let span = Span { start: 0, end: 0, line: 1, column: 1 };
            return Err(ParseErrors(vec![ParseError { span, message }]));
        }
        Ok(Self { query, tokens: tokens(query), place: 0, nesting: 0, errors: Vec::new() })
    }

    /// Applies `rule` to the whole text.
    fn whole(&mut self, rule: fn(&mut Self) -> Parse<Parsed>) -> Option<Parsed> {
        if self.peek() == &Kind::Eof {
            self.note(self.span(), "no expression found in input");
            return None;
        }
        let parsed = rule(self).ok()?;
        if self.peek() != &Kind::Eof {
            let _: Stop = self.unexpected("", "");
            return None;
        }
        self.errors.is_empty().then_some(parsed)
    }

    pub(super) fn peek(&self) -> &Kind {
        &self.tokens[self.place].kind
    }

    fn peek_second(&self) -> Option<&Kind> {
        self.tokens.get(self.place + 1).map(|t| &t.kind)
    }

    pub(super) fn span(&self) -> Span {
        self.tokens[self.place].span
    }

    /// The place of the token that was taken last.
    pub(super) fn last_span(&self) -> Span {
        self.tokens[self.place.saturating_sub(1)].span
    }

    /// Goes past a token. The last one, the end, is never passed.
    pub(super) fn advance(&mut self) -> Span {
        let span = self.span();
        self.place = (self.place + 1).min(self.tokens.len() - 1);
        span
    }

    pub(super) fn take(&mut self, kind: &Kind) -> bool {
        let found = self.peek() == kind;
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn take_keyword(&mut self, keyword: Keyword) -> bool {
        self.take(&Kind::Keyword(keyword))
    }

    pub(super) fn note(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push(ParseError { span, message: message.into() });
    }

    /// Notes that the next token does not fit.
    pub(super) fn unexpected(&mut self, context: &str, expected: &str) -> Stop {
        let token = &self.tokens[self.place];
        let span = token.span;
        let mut message = token.describe(self.query);
        if !matches!(token.kind, Kind::Error(_)) {
            message = format!("unexpected {message}");
            if !context.is_empty() {
                message += &format!(" in {context}");
            }
            if !expected.is_empty() {
                message += &format!(", expected {expected}");
            }
        }
        self.note(span, message);
        Stop
    }

    /// Runs `rule` one level deeper.
    pub(super) fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.nesting >= DEPTH_MAX {
            return Err(self.too_deep());
        }
        self.nesting += 1;
        let result = rule(self);
        self.nesting -= 1;
        result
    }

    fn too_deep(&mut self) -> Stop {
        self.note(self.span(), format!("the expression is nested more than {DEPTH_MAX} levels deep"));
        Stop
    }

    fn grown(&mut self, depth: u32) -> Parse<u32> {
        if depth >= DEPTH_MAX { Err(self.too_deep()) } else { Ok(depth + 1) }
    }

    fn expression(&mut self) -> Parse<Parsed> {
        self.binary(0)
    }

    fn binary(&mut self, loosest: u32) -> Parse<Parsed> {
        let mut lhs = self.signed()?;
        while let Some(op) = self.peek_operator() {
            let binds = precedence(op);
            if binds < loosest {
                break;
            }
            let op_span = self.advance();
            let (return_bool, matching) = self.modifiers(op)?;
            // `^` groups to the right, all others to the left.
            let right_loosest = if op == BinaryOp::Pow { binds } else { binds + 1 };
            let rhs = self.nested(|p| p.binary(right_loosest))?;
            let depth = self.grown(lhs.depth.max(rhs.depth))?;
            let span = lhs.expr.span.to(rhs.expr.span);
            let binary = Binary { op, op_span, lhs: lhs.expr, rhs: rhs.expr, return_bool, matching };
            lhs = Parsed { expr: Expr { kind: ExprKind::Binary(Box::new(binary)), span }, depth };
        }
        Ok(lhs)
    }

    pub(super) fn peek_operator(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            Kind::Add => BinaryOp::Add,
            Kind::Sub => BinaryOp::Sub,
            Kind::Mul => BinaryOp::Mul,
            Kind::Div => BinaryOp::Div,
            Kind::Mod => BinaryOp::Mod,
            Kind::Pow => BinaryOp::Pow,
            Kind::Equal => BinaryOp::Equal,
            Kind::NotEqual => BinaryOp::NotEqual,
            Kind::Less => BinaryOp::Less,
            Kind::Greater => BinaryOp::Greater,
            Kind::LessEqual => BinaryOp::LessEqual,
            Kind::GreaterEqual => BinaryOp::GreaterEqual,
            Kind::TrimUpper => BinaryOp::TrimUpper,
            Kind::TrimLower => BinaryOp::TrimLower,
            Kind::Keyword(Keyword::Atan2) => BinaryOp::Atan2,
            Kind::Keyword(Keyword::And) => BinaryOp::And,
            Kind::Keyword(Keyword::Or) => BinaryOp::Or,
            Kind::Keyword(Keyword::Unless) => BinaryOp::Unless,
            _ => return None,
        })
    }

    /// What may stand between an operator and its right side.
    fn modifiers(&mut self, op: BinaryOp) -> Parse<(bool, Matching)> {
        let mut matching = Matching::default();
        if op.is_set() {
            matching.cardinality = Cardinality::ManyToMany;
        }
        let return_bool = self.take_keyword(Keyword::Bool);
        let on = self.take_keyword(Keyword::On);
        if on || self.take_keyword(Keyword::Ignoring) {
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let left = self.take_keyword(Keyword::GroupLeft);
            if left || self.take_keyword(Keyword::GroupRight) {
                matching.cardinality = if left { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.peek() == &Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let Kind::Keyword(keyword @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            *self.peek()
        {
            // Without a parenthesis it is a metric of that name.
            if self.peek_second() != Some(&Kind::LeftParen) {
                break;
            }
            self.advance();
            let value = self.fill_value()?;
            if keyword != Keyword::FillRight {
                matching.fill_left = Some(value);
            }
            if keyword != Keyword::FillLeft {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    fn fill_value(&mut self) -> Parse<f64> {
        self.advance();
        let negative = self.take(&Kind::Sub);
        if !negative {
            self.take(&Kind::Add);
        }
        let value = match self.peek() {
            Kind::Number(value) => *value,
            Kind::Duration(ms) => *ms as f64 / 1000.0,
            _ => return Err(self.unexpected("fill modifier", "number")),
        };
        self.advance();
        if !self.take(&Kind::RightParen) {
            return Err(self.unexpected("fill modifier", "\")\""));
        }
        Ok(if negative { -value } else { value })
    }

    fn signed(&mut self) -> Parse<Parsed> {
        let sign = match self.peek() {
            Kind::Add => UnarySign::Plus,
            Kind::Sub => UnarySign::Minus,
            _ => return self.operand(),
        };
        let start = self.advance();
        let inner = self.nested(|p| p.binary(POWER))?;
        let span = start.to(inner.expr.span);
        if let ExprKind::Number(Number { value, duration }) = inner.expr.kind {
            let value = if sign == UnarySign::Minus { -value } else { value };
            return Ok(Parsed {
                expr: Expr { kind: ExprKind::Number(Number { value, duration }), span },
                depth: inner.depth,
            });
        }
        let depth = self.grown(inner.depth)?;
        Ok(Parsed { expr: Expr { kind: ExprKind::Unary(sign, Box::new(inner.expr)), span }, depth })
    }

    /// An operand and what follows it: ranges, `offset`, `@`, `anchored`, `smoothed`.
    fn operand(&mut self) -> Parse<Parsed> {
        let mut operand = self.primary()?;
        loop {
            match self.peek() {
                Kind::LeftBracket => {
                    let depth = self.grown(operand.depth)?;
                    operand = Parsed { expr: self.range_or_subquery(operand.expr)?, depth };
                }
                Kind::Keyword(Keyword::Offset) => self.offset(&mut operand.expr)?,
                Kind::At => self.at(&mut operand.expr)?,
                Kind::Keyword(Keyword::Anchored) => self.edges(&mut operand.expr, Edges::Anchored)?,
                Kind::Keyword(Keyword::Smoothed) => self.edges(&mut operand.expr, Edges::Smoothed)?,
                _ => return Ok(operand),
            }
        }
    }

    fn primary(&mut self) -> Parse<Parsed> {
        let leaf = |kind, span| Ok(Parsed { expr: Expr { kind, span }, depth: 1 });
        match self.peek().clone() {
            Kind::Number(value) => leaf(ExprKind::Number(Number { value, duration: false }), self.advance()),
            Kind::Duration(ms) => {
                leaf(ExprKind::Number(Number { value: ms as f64 / 1000.0, duration: true }), self.advance())
            }
            Kind::String(bytes) => leaf(ExprKind::String(Text::from_bytes(bytes)), self.advance()),
            Kind::LeftParen => {
                let start = self.advance();
                let inner = self.nested(Self::expression)?;
                if !self.take(&Kind::RightParen) {
                    return Err(self.unexpected("", ""));
                }
                let depth = self.grown(inner.depth)?;
                let span = start.to(self.last_span());
                Ok(Parsed { expr: Expr { kind: ExprKind::Paren(Box::new(inner.expr)), span }, depth })
            }
            Kind::LeftBrace | Kind::MetricIdentifier => leaf_of(self.vector_selector()?),
            Kind::Identifier => match self.peek_second() {
                Some(Kind::LeftParen) => self.call(),
                _ => leaf_of(self.vector_selector()?),
            },
            Kind::Keyword(keyword) => match (keyword.class(), self.peek_second()) {
                (
                    Class::Aggregator,
                    Some(Kind::LeftParen | Kind::Keyword(Keyword::By | Keyword::Without)),
                ) => self.aggregate(keyword),
                (Class::Preprocessor, Some(Kind::LeftParen)) => self.call(),
                (Class::Reserved, _) => Err(self.unexpected("", "")),
                // `atan2` alone of the operators' words cannot be a name.
                (Class::Operator, _) if keyword == Keyword::Atan2 => Err(self.unexpected("", "")),
                _ => leaf_of(self.vector_selector()?),
            },
            _ => Err(self.unexpected("", "")),
        }
    }

    fn call(&mut self) -> Parse<Parsed> {
        let name_span = self.advance();
        let name = name_span.text(self.query);
        // Words such as `step` may be written in any case.
        let function = Function::find(name).or_else(|| match Keyword::class_of(name) {
            Some(Class::Preprocessor) => Function::find(&name.to_ascii_lowercase()),
            _ => None,
        });
        if function.is_none() {
            self.note(name_span, format!("unknown function with name {}", super::quote::quote(name)));
        }
        let (args, depth) = self.nested(Self::arguments)?;
        let span = name_span.to(self.last_span());
        let depth = self.grown(depth)?;
        let kind = match function {
            Some(function) => ExprKind::Call(Call { function, args }),
            // An error is noted, so nobody sees this stand-in.
            None => ExprKind::Number(Number { value: 0.0, duration: false }),
        };
        Ok(Parsed { expr: Expr { kind, span }, depth })
    }

    /// `(a, b)`
    fn arguments(&mut self) -> Parse<(Vec<Expr>, u32)> {
        let mut args = Vec::new();
        let mut depth = 0;
        if !self.take(&Kind::LeftParen) {
            return Err(self.unexpected("", ""));
        }
        if self.take(&Kind::RightParen) {
            return Ok((args, depth));
        }
        loop {
            let arg = self.expression()?;
            depth = depth.max(arg.depth);
            args.push(arg.expr);
            if self.take(&Kind::RightParen) {
                return Ok((args, depth));
            }
            if !self.take(&Kind::Comma) {
                return Err(self.unexpected("", ""));
            }
            if self.peek() == &Kind::RightParen {
                self.note(self.last_span(), "trailing commas not allowed in function call args");
                return Err(Stop);
            }
        }
    }

    fn aggregate(&mut self, keyword: Keyword) -> Parse<Parsed> {
        let start = self.advance();
        let op = AggregateOp::ALL
            .into_iter()
            .find(|op| op.as_str() == keyword.word())
            .expect("BUG: an aggregator's word without operator");
        let mut clause = self.grouping_clause()?;
        let (mut args, depth) = self.nested(Self::arguments)?;
        if clause.is_none() {
            clause = self.grouping_clause()?;
        }
        let span = start.to(self.last_span());
        let depth = self.grown(depth)?;
        let expected = 1 + usize::from(op.parameter().is_some());
        if args.len() != expected {
            let message = match args.len() {
                0 => "no arguments for aggregate expression provided".to_owned(),
                got => {
                    format!(
                        "wrong number of arguments for aggregate expression provided, expected {expected}, got {got}"
                    )
                }
            };
            self.note(span, message);
            return Err(Stop);
        }
        let expr = args.pop().expect("BUG: arguments were counted");
        let (without, grouping) = clause.unwrap_or_default();
        let aggregate = Aggregate { op, expr, parameter: args.pop(), grouping, without };
        Ok(Parsed { expr: Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), span }, depth })
    }

    /// `by (a)` or `without (a)`; the first part of the answer tells `without`.
    fn grouping_clause(&mut self) -> Parse<Option<(bool, Vec<String>)>> {
        let without = self.take_keyword(Keyword::Without);
        if without || self.take_keyword(Keyword::By) {
            return Ok(Some((without, self.grouping_labels()?)));
        }
        Ok(None)
    }

    /// `(a, "b c")`
    fn grouping_labels(&mut self) -> Parse<Vec<String>> {
        let mut labels = Vec::new();
        if !self.take(&Kind::LeftParen) {
            return Err(self.unexpected("grouping opts", "\"(\""));
        }
        while !self.take(&Kind::RightParen) {
            let span = self.span();
            match self.peek() {
                Kind::Identifier | Kind::Keyword(_) => labels.push(span.text(self.query).to_owned()),
                Kind::String(bytes) => match String::from_utf8(bytes.clone()) {
                    Ok(label) if !label.is_empty() => labels.push(label),
                    _ => {
                        let quoted = super::quote::quote_bytes(bytes);
                        self.note(span, format!("invalid label name for grouping: {quoted}"));
                    }
                },
                // `inf` and `nan` are numbers elsewhere, and labels here.
                Kind::Number(_) if span.text(self.query).bytes().all(|b| b.is_ascii_alphabetic()) => {
                    labels.push(span.text(self.query).to_owned());
                }
                Kind::MetricIdentifier => {
                    let quoted = super::quote::quote(span.text(self.query));
                    self.note(span, format!("invalid label name for grouping: {quoted}"));
                }
                _ => return Err(self.unexpected("grouping opts", "label")),
            }
            self.advance();
            if !self.take(&Kind::Comma) && self.peek() != &Kind::RightParen {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(labels)
    }
}

fn leaf_of(expr: Expr) -> Parse<Parsed> {
    Ok(Parsed { expr, depth: 1 })
}
