//! The parsed form of a template. Every node can write itself as Go does in its errors.

use std::{fmt, sync::Arc};

/// One text or definition.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Name of the text it stands in, for errors.
    pub(crate) file: Arc<str>,
    /// The whole text, so that positions can be turned into lines.
    pub(crate) source: Arc<str>,
    pub(crate) body: Vec<Node>,
}

impl Tree {
    /// Whether it renders nothing but white space whatever the data.
    pub(crate) fn is_blank(&self) -> bool {
        self.body.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()))
    }
}

#[derive(Debug)]
pub(crate) enum Node {
    Text(Arc<str>),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
    Template { position: usize, name: String, pipeline: Option<Pipeline> },
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) position: usize,
    pub(crate) pipeline: Pipeline,
    pub(crate) body: Vec<Node>,
    pub(crate) otherwise: Vec<Node>,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) position: usize,
    /// Variables that take the result: one, or index and element of a `range`.
    pub(crate) variables: Vec<String>,
    /// `=` instead of `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) position: usize,
    /// Never empty.
    pub(crate) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(crate) struct Operand {
    pub(crate) position: usize,
    pub(crate) kind: OperandKind,
}

#[derive(Debug)]
pub(crate) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Number(Number),
    /// The value, and the literal as written.
    Str(Arc<str>, String),
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`: name with its dollar sign, then fields.
    Variable(String, Vec<String>),
    Function(String),
    /// `(pipeline)`
    Pipeline(Box<Pipeline>),
    /// `(pipeline).a.b` and the like.
    Chain(Box<Operand>, Vec<String>),
}

/// A number literal with every type it can take.
#[derive(Debug, Clone)]
pub(crate) struct Number {
    pub(crate) int: Option<i64>,
    pub(crate) float: Option<f64>,
    pub(crate) text: String,
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = |f: &mut fmt::Formatter<'_>, names: &[String]| {
            names.iter().try_for_each(|name| write!(f, ".{name}"))
        };
        match &self.kind {
            OperandKind::Dot => f.write_str("."),
            OperandKind::Nil => f.write_str("nil"),
            OperandKind::Bool(b) => write!(f, "{b}"),
            OperandKind::Number(n) => f.write_str(&n.text),
            OperandKind::Str(_, literal) => f.write_str(literal),
            OperandKind::Field(names) => fields(f, names),
            OperandKind::Variable(name, names) => {
                f.write_str(name)?;
                fields(f, names)
            }
            OperandKind::Function(name) => f.write_str(name),
            OperandKind::Pipeline(p) => write!(f, "({p})"),
            OperandKind::Chain(inner, names) => {
                write!(f, "{inner}")?;
                fields(f, names)
            }
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, operand) in self.operands.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{operand}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.variables.is_empty() {
            let sign = if self.assigns { "=" } else { ":=" };
            write!(f, "{} {sign} ", self.variables.join(", "))?;
        }
        for (i, command) in self.commands.iter().enumerate() {
            if i > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{command}")?;
        }
        Ok(())
    }
}
