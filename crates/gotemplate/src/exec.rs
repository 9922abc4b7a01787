//! Walks a parsed template over a value. Every node costs a step, every string its length; what
//! exceeds the limits ends the execution with an error.

use std::sync::Arc;

use crate::{
    Error, Functions, Limits, Param, Signature, Template, Value,
    ast::{Branch, Command, Node, Operand, OperandKind, Pipeline, Tree},
    builtins,
    error::place,
    format,
};

pub(crate) fn execute(
    set: &Template,
    name: &str,
    data: &Value,
    functions: &dyn Functions,
    limits: &Limits,
) -> Result<String, Error> {
    let tree = set.tree(name).ok_or_else(|| Error::Unknown(name.to_owned()))?;
    let mut state = State {
        set,
        functions,
        limits,
        tree: tree.clone(),
        name: name.to_owned(),
        variables: vec![("$".to_owned(), data.clone())],
        out: String::new(),
        steps: 0,
        depth: 0,
    };
    let tree = tree.clone();
    state.list(data, &tree.body)?;
    Ok(state.out)
}

struct State<'a> {
    set: &'a Template,
    functions: &'a dyn Functions,
    limits: &'a Limits,
    /// The definition being executed.
    tree: Arc<Tree>,
    name: String,
    variables: Vec<(String, Value)>,
    out: String,
    steps: u64,
    depth: usize,
}

/// How a list of nodes ended.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Flow {
    Normal,
    Break,
    Continue,
}

impl State<'_> {
    fn error<T>(&self, position: usize, context: &str, message: impl Into<String>) -> Result<T, Error> {
        let (line, column) = place(&self.tree.source, position);
        Err(Error::Execute {
            name: self.tree.file.to_string(),
            line,
            column,
            executing: self.name.clone(),
            context: context.to_owned(),
            message: message.into(),
        })
    }

    fn step(&mut self, cost: usize, position: usize) -> Result<(), Error> {
        self.steps += 1 + (cost / 64) as u64;
        if self.steps > self.limits.steps_max {
            let message = format!("the template takes more than {} steps", self.limits.steps_max);
            return self.error(position, "", message);
        }
        Ok(())
    }

    fn enter(&mut self, position: usize) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > self.limits.depth_max {
            let message = format!("exceeded maximum template depth ({})", self.limits.depth_max);
            return self.error(position, "", message);
        }
        Ok(())
    }

    fn write(&mut self, text: &str, position: usize) -> Result<(), Error> {
        if self.out.len() + text.len() > self.limits.output_bytes_max {
            let message = format!("the output is longer than {} bytes", self.limits.output_bytes_max);
            return self.error(position, "", message);
        }
        self.out.push_str(text);
        Ok(())
    }

    fn list(&mut self, dot: &Value, nodes: &[Node]) -> Result<Flow, Error> {
        for node in nodes {
            let flow = self.node(dot, node)?;
            if flow != Flow::Normal {
                return Ok(flow);
            }
        }
        Ok(Flow::Normal)
    }

    fn node(&mut self, dot: &Value, node: &Node) -> Result<Flow, Error> {
        match node {
            Node::Text(text) => {
                self.step(text.len(), 0)?;
                self.write(text, 0)?;
            }
            Node::Action(pipeline) => {
                let value = self.pipeline(dot, pipeline)?;
                if pipeline.variables.is_empty() {
                    self.print(&value, pipeline.position)?;
                }
            }
            Node::If(branch) => return self.condition(dot, branch, false),
            Node::With(branch) => return self.condition(dot, branch, true),
            Node::Range(branch) => return self.range(dot, branch),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
            Node::Template { position, name, pipeline } => {
                self.template(dot, *position, name, pipeline.as_ref())?;
            }
        }
        Ok(Flow::Normal)
    }

    fn print(&mut self, value: &Value, position: usize) -> Result<(), Error> {
        match value {
            Value::Nil => self.write("<no value>", position),
            Value::Str(text) => self.write(text, position),
            other => match format::sprint(std::slice::from_ref(other), self.limits.output_bytes_max) {
                Ok(text) => self.write(&text, position),
                Err(e) => self.error(position, "", e.to_string()),
            },
        }
    }

    fn condition(&mut self, dot: &Value, branch: &Branch, with: bool) -> Result<Flow, Error> {
        self.enter(branch.position)?;
        let scope = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let flow = match (value.truth(), with) {
            (true, true) => self.list(&value, &branch.body)?,
            (true, false) => self.list(dot, &branch.body)?,
            (false, _) => self.list(dot, &branch.otherwise)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &Branch) -> Result<Flow, Error> {
        self.enter(branch.position)?;
        let scope = self.variables.len();
        let value = self.pipeline(dot, &branch.pipeline)?;
        let mark = self.variables.len();
        let mut turns = 0u64;
        let mut ended = false;
        let mut turn = |state: &mut Self, index: Value, element: Value| -> Result<bool, Error> {
            turns += 1;
            state.step(0, branch.position)?;
            state.loop_variables(&branch.pipeline, index, element.clone(), mark);
            let flow = state.list(&element, &branch.body)?;
            state.variables.truncate(mark);
            ended = flow == Flow::Break;
            Ok(!ended)
        };
        match value.plain() {
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if !turn(self, Value::Int(i64::try_from(i).unwrap_or(i64::MAX)), item.clone())? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    if !turn(self, Value::Str(key.clone()), item.clone())? {
                        break;
                    }
                }
            }
            Value::Int(n) => {
                if branch.pipeline.variables.len() > 1 {
                    let message = format!("can't use {n} to iterate over more than one variable");
                    return self.error(branch.position, &branch.pipeline.to_string(), message);
                }
                for i in 0..*n {
                    if !turn(self, Value::Int(i), Value::Int(i))? {
                        break;
                    }
                }
            }
            Value::Nil => {}
            other => {
                let shown = format::sprint(std::slice::from_ref(other), 200).unwrap_or_default();
                let context = branch.pipeline.to_string();
                return self.error(
                    branch.pipeline.position,
                    &context,
                    format!("range can't iterate over {shown}"),
                );
            }
        }
        let flow = if turns == 0 { self.list(dot, &branch.otherwise)? } else { Flow::Normal };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(flow)
    }

    /// Gives the loop's variables their values: the element alone, or index and element.
    fn loop_variables(&mut self, pipeline: &Pipeline, index: Value, element: Value, mark: usize) {
        let values = match pipeline.variables.len() {
            0 => return,
            1 => vec![element],
            _ => vec![index, element],
        };
        if pipeline.assigns {
            for (name, value) in pipeline.variables.iter().zip(values) {
                self.assign(name, value);
            }
        } else {
            let first = mark - pipeline.variables.len();
            for (slot, value) in self.variables[first..mark].iter_mut().zip(values) {
                slot.1 = value;
            }
        }
    }

    fn template(
        &mut self,
        dot: &Value,
        position: usize,
        name: &str,
        pipeline: Option<&Pipeline>,
    ) -> Result<(), Error> {
        let data = match pipeline {
            Some(p) => self.pipeline(dot, p)?,
            None => Value::Nil,
        };
        let Some(tree) = self.set.tree(name).cloned() else {
            let context = format!("{{{{template {name:?}}}}}");
            return self.error(position, &context, format!("template {name:?} not defined"));
        };
        self.enter(position)?;
        let caller = std::mem::replace(&mut self.tree, tree.clone());
        let caller_name = std::mem::replace(&mut self.name, name.to_owned());
        let variables = std::mem::replace(&mut self.variables, vec![("$".to_owned(), data.clone())]);
        self.list(&data, &tree.body)?;
        self.tree = caller;
        self.name = caller_name;
        self.variables = variables;
        self.depth -= 1;
        Ok(())
    }

    fn assign(&mut self, name: &str, value: Value) {
        if let Some(slot) = self.variables.iter_mut().rev().find(|(n, _)| n == name) {
            slot.1 = value;
        }
    }

    fn pipeline(&mut self, dot: &Value, pipeline: &Pipeline) -> Result<Value, Error> {
        self.enter(pipeline.position)?;
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipeline.variables {
            if pipeline.assigns {
                self.assign(name, value.clone());
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        self.depth -= 1;
        Ok(value)
    }

    /// `last` is the result of the command before, handed over as the last argument.
    fn command(&mut self, dot: &Value, command: &Command, last: Option<Value>) -> Result<Value, Error> {
        self.step(0, command.position)?;
        let first = &command.operands[0];
        let args = &command.operands[1..];
        match &first.kind {
            OperandKind::Function(name) => self.function(dot, name, command, args, last),
            OperandKind::Field(names) => self.fields(dot, dot.clone(), names, first, args, last.as_ref()),
            OperandKind::Variable(name, names) if !names.is_empty() => {
                let value = self.variable(name);
                self.fields(dot, value, names, first, args, last.as_ref())
            }
            OperandKind::Chain(inner, names) => {
                let value = self.operand(dot, inner)?;
                self.fields(dot, value, names, first, args, last.as_ref())
            }
            OperandKind::Pipeline(_) | OperandKind::Variable(..) => {
                if !args.is_empty() || last.is_some() {
                    return self.not_a_function(first);
                }
                self.operand(dot, first)
            }
            _ if !args.is_empty() || last.is_some() => self.not_a_function(first),
            OperandKind::Nil => self.error(first.position, "nil", "nil is not a command"),
            _ => self.operand(dot, first),
        }
    }

    fn not_a_function(&self, operand: &Operand) -> Result<Value, Error> {
        let text = operand.to_string();
        self.error(operand.position, &text, format!("can't give argument to non-function {text}"))
    }

    fn variable(&self, name: &str) -> Value {
        self.variables.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default()
    }

    /// The value of an operand that stands as an argument or alone.
    fn operand(&mut self, dot: &Value, operand: &Operand) -> Result<Value, Error> {
        self.step(0, operand.position)?;
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(b) => Ok(Value::Bool(*b)),
            OperandKind::Str(text, _) => Ok(Value::Str(text.clone())),
            OperandKind::Number(n) => match (n.int, n.float) {
                (Some(i), _) if n.text.starts_with('\'') || !crate::number::is_float_form(&n.text) => {
                    Ok(Value::Int(i))
                }
                (_, Some(f)) => Ok(Value::Float(f)),
                _ => self.error(operand.position, &n.text, format!("{} overflows int", n.text)),
            },
            OperandKind::Field(names) => self.fields(dot, dot.clone(), names, operand, &[], None),
            OperandKind::Variable(name, names) => {
                let value = self.variable(name);
                self.fields(dot, value, names, operand, &[], None)
            }
            OperandKind::Chain(inner, names) => {
                let value = self.operand(dot, inner)?;
                self.fields(dot, value, names, operand, &[], None)
            }
            OperandKind::Pipeline(p) => self.pipeline(dot, p),
            OperandKind::Function(name) => {
                let command = Command { position: operand.position, operands: Vec::new() };
                self.function(dot, name, &command, &[], None)
            }
        }
    }

    /// Follows a chain of fields; arguments are for the last one, which must then be a method.
    fn fields(
        &mut self,
        dot: &Value,
        mut value: Value,
        names: &[String],
        operand: &Operand,
        args: &[Operand],
        last: Option<&Value>,
    ) -> Result<Value, Error> {
        for (i, name) in names.iter().enumerate() {
            let is_last = i + 1 == names.len();
            if i > 0 && matches!(value, Value::Nil) {
                let message = format!("nil pointer evaluating interface {{}}.{name}");
                return self.error(operand.position, &operand.to_string(), message);
            }
            let mut given = Vec::new();
            if is_last {
                for arg in args {
                    given.push(self.operand(dot, arg)?);
                }
                given.extend(last.cloned());
            }
            value = self.field(&value, name, operand, &given)?;
        }
        Ok(value)
    }

    fn field(
        &mut self,
        value: &Value,
        name: &str,
        operand: &Operand,
        args: &[Value],
    ) -> Result<Value, Error> {
        self.step(0, operand.position)?;
        let fail =
            |state: &Self, message: String| state.error(operand.position, &operand.to_string(), message);
        if let Value::Object(object) = value {
            match object.call(name, args) {
                Some(Ok(result)) => return self.checked(result, operand.position),
                Some(Err(message)) => return fail(self, format!("error calling {name}: {message}")),
                None => {}
            }
        }
        let found = match (value, value.plain()) {
            // Without data every field is without value.
            (Value::Nil, _) => Some(Value::Nil),
            (_, Value::Map(map)) => Some(map.get(name)),
            (Value::Object(object), _) => object.field(name),
            _ => None,
        };
        match found {
            Some(_) if !args.is_empty() => fail(self, format!("{name} is not a method but has arguments")),
            Some(found) => Ok(found),
            None => fail(self, format!("can't evaluate field {name} in type {}", value.type_name())),
        }
    }

    fn function(
        &mut self,
        dot: &Value,
        name: &str,
        command: &Command,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let context = if command.operands.is_empty() { name.to_owned() } else { command.to_string() };
        let position = command.position;
        let builtin = builtins::signature(name);
        let Some(signature) = builtin.or_else(|| self.functions.signature(name)) else {
            return self.error(position, &context, format!("{name:?} is not a defined function"));
        };
        self.check_count(name, &signature, args.len() + usize::from(last.is_some()), position, &context)?;
        if matches!(name, "and" | "or") && builtin.is_some() {
            return self.logic(dot, name == "and", args, last);
        }
        let mut values = Vec::with_capacity(args.len() + 1);
        for (i, arg) in args.iter().enumerate() {
            values.push(self.argument(dot, arg, signature.param(i))?);
        }
        if let Some(last) = last {
            let param = signature.param(args.len());
            if let Some(message) = mismatch(&last, param) {
                return self.error(position, &context, message);
            }
            values.push(last);
        }
        let result = if builtin.is_some() {
            builtins::call(name, &values, self.limits.output_bytes_max)
        } else {
            self.functions.call(name, &values)
        };
        match result {
            Ok(value) => self.checked(value, position),
            Err(message) => self.error(position, &context, format!("error calling {name}: {message}")),
        }
    }

    /// Charges for a computed value and refuses one that is too long.
    fn checked(&mut self, value: Value, position: usize) -> Result<Value, Error> {
        let bytes = match &value {
            Value::Str(text) => text.len(),
            Value::List(items) => items.len() * 16,
            _ => 0,
        };
        if bytes > self.limits.output_bytes_max {
            let message = format!("a value is longer than {} bytes", self.limits.output_bytes_max);
            return self.error(position, "", message);
        }
        self.step(bytes, position)?;
        Ok(value)
    }

    fn check_count(
        &self,
        name: &str,
        signature: &Signature,
        given: usize,
        position: usize,
        context: &str,
    ) -> Result<(), Error> {
        let wanted = signature.params.len();
        if signature.variadic {
            let least = wanted - 1;
            if given < least {
                let message = format!("wrong number of args for {name}: want at least {least} got {given}");
                return self.error(position, context, message);
            }
        } else if given != wanted {
            let message = format!("wrong number of args for {name}: want {wanted} got {given}");
            return self.error(position, context, message);
        }
        Ok(())
    }

    /// `and` gives the first false argument, `or` the first true one, else the last; later ones
    /// are not evaluated.
    fn logic(
        &mut self,
        dot: &Value,
        and: bool,
        args: &[Operand],
        last: Option<Value>,
    ) -> Result<Value, Error> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.operand(dot, arg)?;
            if value.truth() != and {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    fn argument(&mut self, dot: &Value, operand: &Operand, param: Param) -> Result<Value, Error> {
        let text = || operand.to_string();
        let expected = |state: &Self, what: &str| {
            state.error(operand.position, &text(), format!("expected {what}; found {}", text()))
        };
        match (&operand.kind, param) {
            (OperandKind::Number(n), Param::Float) => match n.float {
                Some(f) => Ok(Value::Float(f)),
                None => expected(self, "float"),
            },
            (OperandKind::Number(n), Param::Int) => match n.int {
                Some(i) => Ok(Value::Int(i)),
                None => expected(self, "integer"),
            },
            (OperandKind::Number(_) | OperandKind::Bool(_), Param::Str) => expected(self, "string"),
            (OperandKind::Str(..) | OperandKind::Bool(_), Param::Int) => expected(self, "integer"),
            (OperandKind::Str(..) | OperandKind::Bool(_), Param::Float) => expected(self, "float"),
            (OperandKind::Nil, Param::Str | Param::Int | Param::Float) => {
                self.error(operand.position, "nil", format!("cannot assign nil to {}", param_name(param)))
            }
            _ => {
                let value = self.operand(dot, operand)?;
                match mismatch(&value, param) {
                    Some(message) => self.error(operand.position, &text(), message),
                    None => Ok(value),
                }
            }
        }
    }
}

fn param_name(param: Param) -> &'static str {
    match param {
        Param::Any => "interface {}",
        Param::Str => "string",
        Param::Int => "int",
        Param::Float => "float64",
    }
}

/// What is wrong when a computed value is handed to a parameter.
fn mismatch(value: &Value, param: Param) -> Option<String> {
    let fits = match (param, value) {
        (Param::Any, _)
        | (Param::Str, Value::Str(_))
        | (Param::Int, Value::Int(_))
        | (Param::Float, Value::Float(_)) => true,
        (_, Value::Nil) => return Some(format!("invalid value; expected {}", param_name(param))),
        _ => false,
    };
    (!fits)
        .then(|| format!("wrong type for value; expected {}; got {}", param_name(param), value.type_name()))
}
