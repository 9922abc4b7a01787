//! Builds trees from tokens. Variables and functions are checked here, so that a misspelt name
//! fails when a rule is loaded and not when it fires.

use std::sync::Arc;

use crate::{
    Error, Functions,
    ast::{Branch, Command, Node, Number, Operand, OperandKind, Pipeline, Tree},
    builtins,
    error::place,
    lexer::{Kind, Token, tokens},
    number,
};

/// Nesting of control structures and parentheses that is taken; more is refused.
const DEPTH_MAX: usize = 60;

/// Parses a text: the tree of the text itself, last, after those it defines.
pub(crate) fn parse(name: &str, text: &str, functions: &dyn Functions) -> Result<Vec<(String, Tree)>, Error> {
    let tokens = tokens(text).map_err(|e| parse_error(name, text, e.position, e.message))?;
    let mut parser = Parser {
        name: Arc::from(name),
        text: Arc::from(text),
        tokens,
        at: 0,
        functions,
        variables: vec!["$".to_owned()],
        loops: 0,
        depth: 0,
        defined: Vec::new(),
    };
    let body = parser.top()?;
    let tree = parser.tree(body);
    let mut trees = parser.defined;
    trees.push((name.to_owned(), tree));
    Ok(trees)
}

fn parse_error(name: &str, text: &str, position: usize, message: String) -> Error {
    let (line, column) = place(text, position);
    Error::Parse { name: name.to_owned(), line, column, message }
}

struct Parser<'a> {
    name: Arc<str>,
    text: Arc<str>,
    tokens: Vec<Token<'a>>,
    at: usize,
    functions: &'a dyn Functions,
    /// Variables in scope, innermost last.
    variables: Vec<String>,
    /// Loops around this place, within one definition.
    loops: usize,
    depth: usize,
    defined: Vec<(String, Tree)>,
}

/// What ended a list of nodes.
enum Stop {
    End,
    Else,
}

impl<'a> Parser<'a> {
    fn tree(&self, body: Vec<Node>) -> Tree {
        Tree { file: self.name.clone(), source: self.text.clone(), body }
    }

    fn error<T>(&self, position: usize, message: impl Into<String>) -> Result<T, Error> {
        Err(parse_error(&self.name, &self.text, position, message.into()))
    }

    fn unexpected<T>(&self, token: &Token<'_>, context: &str) -> Result<T, Error> {
        let what = match token.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Keyword => format!("<{}>", token.text),
            _ => format!("{:?}", token.text),
        };
        self.error(token.position, format!("unexpected {what} in {context}"))
    }

    fn peek(&self) -> &Token<'a> {
        // The last token is `End` and is never passed.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len());
        token
    }

    fn skip_space(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn next_word(&mut self) -> Token<'a> {
        self.skip_space();
        self.next()
    }

    fn enter(&mut self, position: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.error(position, format!("nested deeper than {DEPTH_MAX} levels"));
        }
        Ok(())
    }

    fn top(&mut self) -> Result<Vec<Node>, Error> {
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::End => return Ok(nodes),
                Kind::Text => nodes.push(Node::Text(Arc::from(token.text))),
                _ => {
                    self.skip_space();
                    if self.peek().kind == Kind::Keyword && self.peek().text == "define" {
                        self.next();
                        self.define()?;
                        continue;
                    }
                    match self.action(&token)? {
                        Ok(node) => nodes.push(node),
                        Err(Stop::End) => return self.error(token.position, "unexpected {{end}}"),
                        Err(Stop::Else) => return self.error(token.position, "unexpected {{else}}"),
                    }
                }
            }
        }
    }

    /// Nodes up to `{{end}}` or `{{else}}`. After `else` the rest of that action is still to be read.
    fn list(&mut self, start: usize, what: &str) -> Result<(Vec<Node>, Stop), Error> {
        self.enter(start)?;
        let mut nodes = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                Kind::End => {
                    return self
                        .error(token.position, format!("unexpected EOF: {{{{{what}}}}} has no {{{{end}}}}"));
                }
                Kind::Text => nodes.push(Node::Text(Arc::from(token.text))),
                _ => match self.action(&token)? {
                    Ok(node) => nodes.push(node),
                    Err(stop) => {
                        self.depth -= 1;
                        return Ok((nodes, stop));
                    }
                },
            }
        }
    }

    /// One action after its opening delimiter.
    fn action(&mut self, open: &Token<'_>) -> Result<Result<Node, Stop>, Error> {
        self.skip_space();
        let token = self.peek().clone();
        if token.kind != Kind::Keyword {
            let pipeline = self.pipeline("command", Kind::Close)?;
            return Ok(Ok(Node::Action(pipeline)));
        }
        self.next();
        let position = token.position;
        Ok(Ok(match token.text {
            "end" => {
                self.close("end")?;
                return Ok(Err(Stop::End));
            }
            "else" => return Ok(Err(Stop::Else)),
            "if" => Node::If(self.branch(position, "if")?),
            "with" => Node::With(self.branch(position, "with")?),
            "range" => Node::Range(self.branch(position, "range")?),
            "break" | "continue" => {
                self.close(token.text)?;
                if self.loops == 0 {
                    return self.error(position, format!("{{{{{}}}}} outside {{{{range}}}}", token.text));
                }
                if token.text == "break" { Node::Break } else { Node::Continue }
            }
            "template" => {
                let name = self.template_name("template clause")?;
                self.skip_space();
                let pipeline = match self.peek().kind {
                    Kind::Close => {
                        self.next();
                        None
                    }
                    _ => Some(self.pipeline("template clause", Kind::Close)?),
                };
                Node::Template { position, name, pipeline }
            }
            "block" => {
                let name = self.template_name("block clause")?;
                let pipeline = self.pipeline("block clause", Kind::Close)?;
                self.definition(position, &name, "block")?;
                Node::Template { position, name, pipeline: Some(pipeline) }
            }
            word => return self.error(open.position, format!("unexpected {{{{{word}}}}}")),
        }))
    }

    fn close(&mut self, what: &str) -> Result<(), Error> {
        let token = self.next_word();
        if token.kind == Kind::Close { Ok(()) } else { self.unexpected(&token, what) }
    }

    fn template_name(&mut self, context: &str) -> Result<String, Error> {
        let token = self.next_word();
        match token.kind {
            Kind::Str | Kind::RawStr => match number::unquote(token.text) {
                Some(name) => Ok(name),
                None => self.error(token.position, "invalid syntax in a string"),
            },
            _ => self.unexpected(&token, context),
        }
    }

    fn define(&mut self) -> Result<(), Error> {
        let position = self.peek().position;
        let name = self.template_name("define clause")?;
        self.close("define clause")?;
        self.definition(position, &name, "define")
    }

    /// The body of a definition, which sees none of the variables around it.
    fn definition(&mut self, position: usize, name: &str, what: &str) -> Result<(), Error> {
        let variables = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let loops = std::mem::take(&mut self.loops);
        let (body, stop) = self.list(position, what)?;
        if matches!(stop, Stop::Else) {
            return self.error(position, format!("unexpected {{{{else}}}} in {what} clause"));
        }
        self.variables = variables;
        self.loops = loops;
        let tree = self.tree(body);
        let known = self.defined.iter().any(|(n, t)| n == name && !t.is_blank());
        if known && !tree.is_blank() {
            return self.error(position, format!("template: multiple definition of template {name:?}"));
        }
        if !known {
            self.defined.retain(|(n, _)| n != name);
            self.defined.push((name.to_owned(), tree));
        }
        Ok(())
    }

    fn branch(&mut self, position: usize, what: &'static str) -> Result<Branch, Error> {
        let scope = self.variables.len();
        let pipeline = self.pipeline(what, Kind::Close)?;
        let looping = usize::from(what == "range");
        self.loops += looping;
        let (body, stop) = self.list(position, what)?;
        self.loops -= looping;
        let otherwise = match stop {
            Stop::End => Vec::new(),
            Stop::Else => self.otherwise(position, what)?,
        };
        self.variables.truncate(scope);
        Ok(Branch { position, pipeline, body, otherwise })
    }

    /// What follows `else`: nothing more, or an `if` or `with` of its own that shares the `end`.
    fn otherwise(&mut self, position: usize, what: &'static str) -> Result<Vec<Node>, Error> {
        self.skip_space();
        let token = self.peek().clone();
        let chained = token.kind == Kind::Keyword && token.text == what && matches!(what, "if" | "with");
        if chained {
            self.next();
            self.enter(token.position)?;
            let branch = self.branch(token.position, what)?;
            self.depth -= 1;
            return Ok(vec![if what == "if" { Node::If(branch) } else { Node::With(branch) }]);
        }
        self.close("else")?;
        let (nodes, stop) = self.list(position, what)?;
        match stop {
            Stop::End => Ok(nodes),
            Stop::Else => self.error(position, format!("expected end; found {{{{else}}}} in {what}")),
        }
    }

    /// A pipeline with its declarations, up to and with the closing token.
    fn pipeline(&mut self, context: &'static str, closing: Kind) -> Result<Pipeline, Error> {
        self.skip_space();
        let position = self.peek().position;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek().clone();
            match token.kind {
                kind if kind == closing => {
                    self.next();
                    self.check(position, &commands, context)?;
                    break;
                }
                Kind::Bool
                | Kind::Char
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawStr
                | Kind::Str
                | Kind::Variable
                | Kind::LeftParen => {
                    commands.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { position, variables, assigns, commands })
    }

    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool), Error> {
        let mut names = Vec::new();
        loop {
            let before = self.at;
            self.skip_space();
            let variable = self.peek().clone();
            if variable.kind != Kind::Variable {
                self.at = before;
                return Ok((Vec::new(), false));
            }
            self.next();
            let operator = self.next_word();
            match operator.kind {
                Kind::Declare | Kind::Assign => {
                    let assigns = operator.kind == Kind::Assign;
                    names.push((variable.text.to_owned(), variable.position));
                    if assigns {
                        for (name, position) in &names {
                            self.expect_variable(name, *position)?;
                        }
                    }
                    return Ok((names.into_iter().map(|(n, _)| n).collect(), assigns));
                }
                Kind::Comma if context == "range" && names.is_empty() => {
                    names.push((variable.text.to_owned(), variable.position));
                }
                Kind::Comma => {
                    return self.error(operator.position, format!("too many declarations in {context}"));
                }
                _ if names.is_empty() => {
                    self.at = before;
                    return Ok((Vec::new(), false));
                }
                _ => return self.unexpected(&operator, context),
            }
        }
    }

    fn check(&self, position: usize, commands: &[Command], context: &str) -> Result<(), Error> {
        if commands.is_empty() {
            return self.error(position, format!("missing value for {context}"));
        }
        for (i, command) in commands.iter().enumerate().skip(1) {
            let constant = matches!(
                command.operands[0].kind,
                OperandKind::Bool(_)
                    | OperandKind::Dot
                    | OperandKind::Nil
                    | OperandKind::Number(_)
                    | OperandKind::Str(..)
            );
            if constant {
                let message = format!("non executable command in pipeline stage {}", i + 1);
                return self.error(command.position, message);
            }
        }
        Ok(())
    }

    /// Operands up to a pipe, a closing delimiter or a closing parenthesis.
    fn command(&mut self) -> Result<Command, Error> {
        self.skip_space();
        let position = self.peek().position;
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let token = self.peek().clone();
            match token.kind {
                Kind::Space => {}
                Kind::Pipe => {
                    self.next();
                    self.skip_space();
                    if matches!(self.peek().kind, Kind::Close | Kind::RightParen | Kind::Pipe) {
                        return self.error(token.position, "missing value for command");
                    }
                    break;
                }
                Kind::Close | Kind::RightParen => break,
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if operands.is_empty() {
            return self.error(position, "empty command");
        }
        Ok(Command { position, operands })
    }

    /// A term and the fields chained to it.
    fn operand(&mut self) -> Result<Option<Operand>, Error> {
        let Some(mut operand) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(operand));
        }
        let position = self.peek().position;
        let mut names = Vec::new();
        while self.peek().kind == Kind::Field {
            names.push(self.next().text[1..].to_owned());
        }
        operand = match operand.kind {
            OperandKind::Field(mut fields) => {
                fields.append(&mut names);
                Operand { position, kind: OperandKind::Field(fields) }
            }
            OperandKind::Variable(name, mut fields) => {
                fields.append(&mut names);
                Operand { position, kind: OperandKind::Variable(name, fields) }
            }
            OperandKind::Bool(_)
            | OperandKind::Str(..)
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                return self.error(position, format!("unexpected . after term {:?}", operand.to_string()));
            }
            kind => {
                let inner = Operand { position: operand.position, kind };
                Operand { position, kind: OperandKind::Chain(Box::new(inner), names) }
            }
        };
        Ok(Some(operand))
    }

    fn term(&mut self) -> Result<Option<Operand>, Error> {
        let token = self.peek().clone();
        let position = token.position;
        let kind = match token.kind {
            Kind::Dot => OperandKind::Dot,
            Kind::Nil => OperandKind::Nil,
            Kind::Bool => OperandKind::Bool(token.text == "true"),
            Kind::Field => OperandKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Variable => {
                self.expect_variable(token.text, position)?;
                OperandKind::Variable(token.text.to_owned(), Vec::new())
            }
            Kind::Identifier => {
                let known =
                    builtins::is_builtin(token.text) || self.functions.signature(token.text).is_some();
                if !known {
                    return self.error(position, format!("function {:?} not defined", token.text));
                }
                OperandKind::Function(token.text.to_owned())
            }
            Kind::Number => match number::parse(token.text) {
                Some(n) => OperandKind::Number(n),
                None => return self.error(position, format!("bad number syntax: {:?}", token.text)),
            },
            Kind::Char => match number::unquote_char(token.text) {
                Some(c) => {
                    let int = i64::from(u32::from(c));
                    let (int, float) = (Some(int), Some(int as f64));
                    OperandKind::Number(Number { int, float, text: token.text.to_owned() })
                }
                None => return self.error(position, format!("malformed character constant: {}", token.text)),
            },
            Kind::Str | Kind::RawStr => match number::unquote(token.text) {
                Some(text) => OperandKind::Str(Arc::from(text), token.text.to_owned()),
                None => return self.error(position, "invalid syntax in a string"),
            },
            Kind::LeftParen => {
                self.enter(position)?;
                self.next();
                let pipeline = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.depth -= 1;
                return Ok(Some(Operand { position, kind: OperandKind::Pipeline(Box::new(pipeline)) }));
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(Operand { position, kind }))
    }

    fn expect_variable(&self, name: &str, position: usize) -> Result<(), Error> {
        if self.variables.iter().any(|v| v == name) {
            return Ok(());
        }
        self.error(position, format!("undefined variable {name:?}"))
    }
}
