//! The expression tree. Every node knows its place in the text. A tree that [`crate::parse`]
//! returns is well typed, and at most [`crate::DEPTH_MAX`] levels deep. Down the left side of operators,
//! as in `a + b + c + …`, it may be [`crate::CHAIN_MAX`] nodes deep: what goes through a tree takes such
//! a chain as one level ([`Expr::chain`]) and does not recurse along it.

use vedette_model::Matcher;

use crate::{function::Function, span::Span};

/// An expression.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Debug, Clone)]
pub enum ExprKind {
    /// A number, or a duration in seconds.
    Number(Number),
    /// Text.
    String(Text),
    /// An expression in parentheses.
    Paren(Box<Expr>),
    /// `-x` or `+x`.
    Unary(UnarySign, Box<Expr>),
    /// `x + y` and the like.
    Binary(Box<Binary>),
    /// `sum by (a) (x)` and the like.
    Aggregate(Box<Aggregate>),
    /// `rate(x[5m])` and the like.
    Call(Call),
    /// `up{job="a"}`
    Vector(VectorSelector),
    /// `up{job="a"}[5m]`
    Matrix(Box<MatrixSelector>),
    /// `(x)[1h:1m]`
    Subquery(Box<Subquery>),
}

/// The type of an expression's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number at each time.
    Scalar,
    /// Text.
    String,
    /// One sample of each series.
    Vector,
    /// A range of samples of each series.
    Matrix,
}

impl ValueType {
    /// The name used by the HTTP interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// The name used in messages.
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

/// A number literal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number {
    /// The value; seconds for a duration.
    pub value: f64,
    /// Written as a duration.
    pub duration: bool,
}

impl Number {
    /// As a duration, in whole milliseconds. Prometheus counts nanoseconds, and cuts.
    pub fn as_duration_ms(self) -> i64 {
        (self.value * 1e9).round() as i64 / 1_000_000
    }
}

/// A string literal. Labels hold UTF-8 only, but a literal may spell other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text, with U+FFFD in place of bytes that are no UTF-8.
    pub value: String,
    /// The bytes, if they are no UTF-8.
    pub raw: Option<Box<[u8]>>,
}

impl Text {
    /// Keeps bytes as text.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(value) => Self { value, raw: None },
            Err(e) => {
                let bytes = e.into_bytes();
                Self { value: String::from_utf8_lossy(&bytes).into_owned(), raw: Some(bytes.into()) }
            }
        }
    }

    /// The bytes as written.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.value.as_bytes())
    }
}

/// The sign in front of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnarySign {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words for the signs in `as_str`")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    Greater,
    LessEqual,
    GreaterEqual,
    TrimUpper,
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::Greater => ">",
            Self::LessEqual => "<=",
            Self::GreaterEqual => ">=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

    /// `==`, `<` and the like.
    pub fn is_comparison(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Less | Self::Greater | Self::LessEqual | Self::GreaterEqual
        )
    }

    /// `and`, `or`, `unless`.
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// A binary operation.
#[derive(Debug)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Where the operator stands.
    pub op_span: Span,
    /// Left side.
    pub lhs: Expr,
    /// Right side.
    pub rhs: Expr,
    /// `bool`: a comparison gives 0 and 1 instead of leaving out samples.
    pub return_bool: bool,
    /// How series of two vectors find each other.
    pub matching: Matching,
    /// The type of the answer.
    pub value_type: ValueType,
    /// How many operators there are down the left side, with this one.
    pub operators: u32,
}

impl Binary {
    fn with_left(&self, lhs: Expr) -> Self {
        let Self { op, op_span, return_bool, value_type, operators, .. } = *self;
        let (rhs, matching) = (self.rhs.clone(), self.matching.clone());
        Self { op, op_span, lhs, rhs, return_bool, matching, value_type, operators }
    }
}

impl Clone for Binary {
    fn clone(&self) -> Self {
        let (first, links) = self.lhs.chain();
        let lhs = links.into_iter().fold(first.clone(), |lhs, (binary, span)| Expr {
            kind: ExprKind::Binary(Box::new(binary.with_left(lhs))),
            span,
        });
        self.with_left(lhs)
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let mut lhs = self.take_left();
        while let Some(ExprKind::Binary(binary)) = &mut lhs {
            let next = binary.take_left();
            lhs = next;
        }
    }
}

impl Binary {
    /// Leaves a left side behind that is dropped at once.
    fn take_left(&mut self) -> Option<ExprKind> {
        if !matches!(self.lhs.kind, ExprKind::Binary(_)) {
            return None;
        }
        let nothing = ExprKind::Number(Number { value: 0.0, duration: false });
        Some(std::mem::replace(&mut self.lhs.kind, nothing))
    }
}

/// How many series of each side may have the same matching labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cardinality {
    /// One on each side.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How series of two vectors find each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matching {
    /// How many on each side.
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// `on`, not `ignoring`.
    pub on: bool,
    /// Labels of `group_left` or `group_right`, taken over from the one side.
    pub include: Vec<String>,
    /// Value for a missing left side.
    pub fill_left: Option<f64>,
    /// Value for a missing right side.
    pub fill_right: Option<f64>,
}

/// An aggregation operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of `as_str`")]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// All, in the order in which they are offered to people.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The operator as written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the first argument of `topk(3, x)`, if the operator has one.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => {
                Some(ValueType::Scalar)
            }
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }
}

/// An aggregation.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// The first argument of `topk(3, x)` and the like.
    pub parameter: Option<Expr>,
    /// Labels of the clause.
    pub grouping: Vec<String>,
    /// `without`, not `by`.
    pub without: bool,
}

/// A function call.
#[derive(Debug, Clone)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// Its arguments.
    pub args: Vec<Expr>,
}

/// A fixed time of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the Unix epoch.
    Time(i64),
    /// The query's start.
    Start,
    /// The query's end.
    End,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Default)]
pub struct Shift {
    /// How far back to look.
    pub offset: Option<Duration>,
    /// When to evaluate instead of the query's time.
    pub at: Option<At>,
}

/// How samples at a window's ends are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Edges {
    /// As they are.
    #[default]
    Plain,
    /// The last sample before a window counts as standing at its start, too.
    Anchored,
    /// Values at the ends are interpolated.
    Smoothed,
}

/// Selects series.
#[derive(Debug, Clone)]
pub struct VectorSelector {
    /// The name in front of the braces, if there is one. A name that is quoted in the braces is a
    /// condition like others.
    pub name: Option<String>,
    /// All conditions; that for the name in front of the braces is the last.
    pub matchers: Vec<Matcher>,
    /// `offset` and `@`; those of a range selector stand here too.
    pub shift: Shift,
    /// `anchored`, `smoothed`; those of a range selector stand here too.
    pub edges: Edges,
}

/// Selects series over a range.
#[derive(Debug, Clone)]
pub struct MatrixSelector {
    /// The series.
    pub selector: VectorSelector,
    /// Where the part before the bracket stands.
    pub selector_span: Span,
    /// How far each window reaches back.
    pub range: Duration,
}

/// Evaluates an expression at several times.
#[derive(Debug, Clone)]
pub struct Subquery {
    /// The expression.
    pub expr: Expr,
    /// How far each window reaches back.
    pub range: Duration,
    /// Time between evaluations, if given.
    pub step: Option<Duration>,
    /// `offset` and `@`.
    pub shift: Shift,
}

/// A duration that may have to be calculated when a query runs.
#[derive(Debug, Clone)]
pub struct Duration {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
}

/// The kinds of durations.
#[derive(Debug, Clone)]
pub enum DurationKind {
    /// A number of seconds or a duration literal.
    Literal(Number),
    /// `step()`: the query's step.
    Step,
    /// `range()`: from the query's start to its end.
    Range,
    /// `min_of(a, b)`
    MinOf(Box<Duration>, Box<Duration>),
    /// `max_of(a, b)`
    MaxOf(Box<Duration>, Box<Duration>),
    /// `-a`
    Negative(Box<Duration>),
    /// One of `+ - * / % ^`.
    Binary(BinaryOp, Box<Duration>, Box<Duration>),
    /// A duration in parentheses.
    Paren(Box<Duration>),
}

impl Expr {
    /// The type of the value.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(e) | ExprKind::Unary(_, e) => e.value_type(),
            ExprKind::Binary(b) => b.value_type,
            ExprKind::Aggregate(_) | ExprKind::Vector(_) => ValueType::Vector,
            ExprKind::Call(c) => c.function.returns,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::Matrix,
        }
    }

    /// The expression inside any parentheses.
    pub fn unwrap_parens(&self) -> &Self {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The operand at the left end of a chain of operators, and the operations from there to this one,
    /// each with its place. An expression that is no operation is the operand itself.
    pub fn chain(&self) -> (&Self, Vec<(&Binary, Span)>) {
        let (mut first, mut links) = (self, Vec::new());
        while let ExprKind::Binary(binary) = &first.kind {
            links.push((&**binary, first.span));
            first = &binary.lhs;
        }
        links.reverse();
        (first, links)
    }

    /// The expressions directly below this one, in the order in which they are written; of a chain of
    /// operators all of its operands.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::String(_) | ExprKind::Vector(_) | ExprKind::Matrix(_) => {
                Vec::new()
            }
            ExprKind::Paren(e) | ExprKind::Unary(_, e) => vec![e],
            ExprKind::Binary(_) => {
                let (first, links) = self.chain();
                [first].into_iter().chain(links.into_iter().map(|(b, _)| &b.rhs)).collect()
            }
            ExprKind::Aggregate(a) => a.parameter.iter().chain([&a.expr]).collect(),
            ExprKind::Call(c) => c.args.iter().collect(),
            ExprKind::Subquery(s) => vec![&s.expr],
        }
    }

    /// Calls `visit` on this expression and on all below it, in the order of the text; once for a chain of
    /// operators.
    pub fn walk<'e>(&'e self, visit: &mut dyn FnMut(&'e Self)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// All selectors, with their places.
    pub fn selectors(&self) -> Vec<(&VectorSelector, Span)> {
        let mut found = Vec::new();
        self.walk(&mut |e| match &e.kind {
            ExprKind::Vector(v) => found.push((v, e.span)),
            ExprKind::Matrix(m) => found.push((&m.selector, e.span)),
            _ => {}
        });
        found
    }

    /// The metric names that selectors ask for by `=`, sorted, each once.
    pub fn metric_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .selectors()
            .into_iter()
            .flat_map(|(s, _)| &s.matchers)
            .filter(|m| m.name == vedette_model::METRIC_NAME && m.op == vedette_model::MatchOp::Equal)
            .map(|m| m.value.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
