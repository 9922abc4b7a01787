//! The parser: recursive descent, with precedence climbing for operators. It stops at the first
//! token that does not fit; mistakes that leave the text readable (an unknown function, a wrong
//! number of arguments) are noted and parsing goes on. Types are checked only when nothing is wrong.

use super::{
    check,
    lexer::{Class, Keyword, Kind, Lexer, Token},
};
use crate::{
    ast::{
        Aggregate, AggregateOp, Binary, BinaryOp, Call, Cardinality, Edges, Expr, ExprKind, Matching, Number,
        Shift, Text, UnarySign, ValueType, VectorSelector,
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

/// The most operators in a row, as in `a + b + c`. They take [`CHAIN_DEPTH`] levels at most.
pub const CHAIN_MAX: u32 = 10_000;

/// The evaluator recurses over so many operators in a row; what is left of them is evaluated before.
pub(crate) const CHAIN_DEPTH: u32 = 8;

/// More mistakes are not told; answers tell the first only.
pub(super) const ERRORS_MAX: usize = 100;

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
    lexer: Lexer<'q>,
    token: Token,
    /// The token after that.
    second: Token,
    /// The place of the token before.
    last: Span,
    nesting: u32,
    /// Aggregations around this place.
    aggregations: u32,
    /// What the regular expressions so far cost.
    pub pattern_cost: usize,
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
        let mut lexer = Lexer::new(query);
        let (token, second) = (lexer.next(), lexer.next());
        Ok(Self {
            query,
            lexer,
            last: token.span,
            token,
            second,
            nesting: 0,
            aggregations: 0,
            pattern_cost: 0,
            errors: Vec::new(),
        })
    }

    /// Applies `rule` to the whole text.
    fn whole(&mut self, rule: fn(&mut Self) -> Parse<Parsed>) -> Option<Parsed> {
        if self.peek() == &Kind::Eof {
            // Prometheus knows a place only where there is text.
            let line = u32::from(!self.query.is_empty());
            self.note(Span { start: 0, end: 0, line, column: line }, "no expression found in input");
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
        &self.token.kind
    }

    pub(super) fn peek_second(&self) -> Option<&Kind> {
        (!self.at_last()).then_some(&self.second.kind)
    }

    fn at_last(&self) -> bool {
        matches!(self.token.kind, Kind::Eof | Kind::Error(_))
    }

    pub(super) fn span(&self) -> Span {
        self.token.span
    }

    /// The place of the token that was taken last.
    pub(super) fn last_span(&self) -> Span {
        self.last
    }

    /// Goes past a token. The last one, the end, is never passed.
    pub(super) fn advance(&mut self) -> Span {
        let span = self.span();
        if !self.at_last() {
            self.last = span;
            let next = self.lexer.next();
            self.token = std::mem::replace(&mut self.second, next);
        }
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
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(ParseError { span, message: message.into() });
        }
    }

    /// Notes that the next token does not fit.
    pub(super) fn unexpected(&mut self, context: &str, expected: &str) -> Stop {
        let token = &self.token;
        let span = token.span;
        let mut message = token.describe(self.query);
        if !matches!(token.kind, Kind::Error(_)) {
            let context = if context.is_empty() && self.aggregations > 0 { "aggregation" } else { context };
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

    pub(super) fn too_deep(&mut self) -> Stop {
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
        let Parsed { expr: mut lhs, mut depth } = self.signed()?;
        let (mut deepest, mut operators) = (depth, 0);
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
            operators += 1;
            if operators > CHAIN_MAX {
                self.note(op_span, format!("there are more than {CHAIN_MAX} operators in a row"));
                return Err(Stop);
            }
            deepest = deepest.max(rhs.depth);
            depth = self.grown(deepest + operators.min(CHAIN_DEPTH) - 1)?;
            let span = lhs.span.to(rhs.expr.span);
            let value_type = match (lhs.value_type(), rhs.expr.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            };
            let rhs = rhs.expr;
            let binary = Binary { op, op_span, lhs, rhs, return_bool, matching, value_type, operators };
            lhs = Expr { kind: ExprKind::Binary(Box::new(binary)), span };
        }
        Ok(Parsed { expr: lhs, depth })
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
                if self.peek() == &Kind::LeftParen || !self.at_right_side() {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        match *self.peek() {
            Kind::Keyword(Keyword::Fill) => {
                let value = self.fill_value()?;
                (matching.fill_left, matching.fill_right) = (Some(value), Some(value));
            }
            Kind::Keyword(Keyword::FillLeft) => {
                matching.fill_left = Some(self.fill_value()?);
                if self.peek() == &Kind::Keyword(Keyword::FillRight) {
                    matching.fill_right = Some(self.fill_value()?);
                }
            }
            Kind::Keyword(Keyword::FillRight) => {
                matching.fill_right = Some(self.fill_value()?);
                if self.peek() == &Kind::Keyword(Keyword::FillLeft) {
                    matching.fill_left = Some(self.fill_value()?);
                }
            }
            _ => {}
        }
        Ok((return_bool, matching))
    }

    /// Whether the right side of an operator, or `fill`, can begin here.
    fn at_right_side(&self) -> bool {
        match self.peek() {
            Kind::Keyword(keyword) => keyword.class() != Class::Reserved && *keyword != Keyword::Atan2,
            Kind::Identifier
            | Kind::MetricIdentifier
            | Kind::String(_)
            | Kind::Number(_)
            | Kind::Duration(_)
            | Kind::LeftParen
            | Kind::LeftBrace
            | Kind::Add
            | Kind::Sub => true,
            _ => false,
        }
    }

    /// `fill(0)`; the parenthesis is there, or it would be a metric's name.
    fn fill_value(&mut self) -> Parse<f64> {
        self.advance();
        self.advance();
        let negative = self.take(&Kind::Sub);
        if !negative {
            self.take(&Kind::Add);
        }
        let value = match self.peek() {
            Kind::Number(value) => *value,
            Kind::Duration(ms) => *ms as f64 / 1000.0,
            _ => return Err(self.unexpected("", "")),
        };
        self.advance();
        if !self.take(&Kind::RightParen) {
            return Err(self.unexpected("", ""));
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
        let (args, depth) = self.nested(Self::arguments)?;
        let function = Function::find(name);
        if function.is_none() {
            self.note(name_span, format!("unknown function with name {}", super::quote::quote(name)));
        }
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
            if !self.at_right_side() && !matches!(self.peek(), Kind::Error(_)) {
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
        self.aggregations += 1;
        let mut clause = self.grouping_clause()?;
        let (mut args, depth) = self.nested(Self::arguments)?;
        if clause.is_none() {
            clause = self.grouping_clause()?;
        }
        self.aggregations -= 1;
        // What comes next was looked at, to know that no clause follows.
        if clause.is_none() && matches!(self.peek(), Kind::Error(_)) {
            return Err(self.unexpected("", ""));
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
                Kind::Identifier | Kind::MetricIdentifier | Kind::Keyword(_) => {
                    labels.push(span.text(self.query).to_owned());
                }
                Kind::String(bytes) => match String::from_utf8(bytes.clone()) {
                    Ok(label) if !label.is_empty() => labels.push(label),
                    _ => {
                        let quoted = super::quote::quote_bytes(bytes);
                        self.note(span, format!("invalid label name for grouping: {quoted}"));
                    }
                },
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
