//! Functions: how callers offer theirs, and those of the language itself.

use std::cmp::Ordering;

use crate::{
    Value,
    escape::{html, js, url_query},
    format,
};

/// What a function's parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Param {
    /// Anything.
    Any,
    /// A string.
    Str,
    /// An int.
    Int,
    /// A float64; integer literals are taken too.
    Float,
}

/// The parameters of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// In order.
    pub params: &'static [Param],
    /// The last parameter may be given any number of times, also not at all.
    pub variadic: bool,
}

impl Signature {
    /// A fixed list of parameters.
    pub const fn fixed(params: &'static [Param]) -> Self {
        Self { params, variadic: false }
    }

    /// A list whose last parameter repeats.
    pub const fn variadic(params: &'static [Param]) -> Self {
        Self { params, variadic: true }
    }

    /// The parameter that the argument at `place` is for.
    pub(crate) fn param(&self, place: usize) -> Param {
        self.params.get(place).or(self.params.last()).copied().unwrap_or(Param::Any)
    }
}

/// Functions that templates may call beside those of the language. Names must be the same at
/// parsing and at execution.
pub trait Functions {
    /// The parameters of a function, or `None` if there is none of that name.
    fn signature(&self, name: &str) -> Option<Signature>;

    /// Calls a function with arguments that fit its signature.
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String>;
}

/// No functions but those of the language.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFunctions;

impl Functions for NoFunctions {
    fn signature(&self, _name: &str) -> Option<Signature> {
        None
    }

    fn call(&self, name: &str, _args: &[Value]) -> Result<Value, String> {
        Err(format!("function {name:?} not defined"))
    }
}

const MANY: Signature = Signature::variadic(&[Param::Any]);

/// The parameters of the language's functions. `and` and `or` are evaluated by the executor,
/// which stops at the deciding argument.
pub(crate) fn signature(name: &str) -> Option<Signature> {
    Some(match name {
        "and" | "or" => Signature::variadic(&[Param::Any, Param::Any]),
        "not" | "len" => Signature::fixed(&[Param::Any]),
        "index" | "slice" | "call" | "eq" => Signature::variadic(&[Param::Any, Param::Any]),
        "ne" | "lt" | "le" | "gt" | "ge" => Signature::fixed(&[Param::Any, Param::Any]),
        "printf" => Signature::variadic(&[Param::Str, Param::Any]),
        "print" | "println" | "html" | "js" | "urlquery" => MANY,
        _ => return None,
    })
}

pub(crate) fn is_builtin(name: &str) -> bool {
    signature(name).is_some()
}

pub(crate) fn call(name: &str, args: &[Value], bytes_max: usize) -> Result<Value, String> {
    let text = |result: Result<String, format::TooLong>| result.map_err(|e| e.to_string());
    match (name, args) {
        ("not", [v]) => Ok(Value::Bool(!v.truth())),
        ("len", [v]) => len(v),
        ("index", [v, keys @ ..]) => index(v, keys),
        ("slice", [v, bounds @ ..]) => slice(v, bounds),
        ("call", [Value::Nil, ..]) => Err("call of nil".into()),
        ("call", [v, ..]) => Err(format!("non-function of type {}", v.type_name())),
        ("printf", [Value::Str(format), rest @ ..]) => {
            Ok(text(format::sprintf(format, rest, bytes_max))?.into())
        }
        ("print", args) => Ok(text(format::sprint(args, bytes_max))?.into()),
        ("println", args) => Ok(text(format::sprintln(args, bytes_max))?.into()),
        ("html", args) => Ok(html(&joined(args, bytes_max)?).into()),
        ("js", args) => Ok(js(&joined(args, bytes_max)?).into()),
        ("urlquery", args) => Ok(url_query(&joined(args, bytes_max)?).into()),
        ("eq", [_]) => Err("missing argument for comparison".into()),
        ("eq", [first, rest @ ..]) => {
            for other in rest {
                if equal(first, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        ("ne", [a, b]) => Ok(Value::Bool(!equal(a, b)?)),
        ("lt", [a, b]) => Ok(Value::Bool(less(a, b)?)),
        ("le", [a, b]) => Ok(Value::Bool(less(a, b)? || equal(a, b)?)),
        ("gt", [a, b]) => Ok(Value::Bool(!(less(a, b)? || equal(a, b)?))),
        ("ge", [a, b]) => Ok(Value::Bool(!less(a, b)?)),
        _ => Err(format!("wrong arguments for {name}")),
    }
}

fn joined(args: &[Value], bytes_max: usize) -> Result<String, String> {
    match args {
        [Value::Str(text)] => Ok(text.to_string()),
        _ => format::sprint(args, bytes_max).map_err(|e| e.to_string()),
    }
}

fn count(length: usize) -> Value {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn len(value: &Value) -> Result<Value, String> {
    match value.plain() {
        Value::Str(text) => Ok(count(text.len())),
        Value::List(items) => Ok(count(items.len())),
        Value::Map(map) => Ok(count(map.entries.len())),
        Value::Nil => Err("len of nil pointer".into()),
        other => Err(format!("len of type {}", other.type_name())),
    }
}

fn place(value: &Value, length: usize, end_included: bool) -> Result<usize, String> {
    let place = match value {
        Value::Int(i) => *i,
        Value::Nil => return Err("cannot index slice/array with nil".into()),
        other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    match usize::try_from(place) {
        Ok(p) if p < length || (end_included && p == length) => Ok(p),
        _ => Err(format!("index out of range: {place}")),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, String> {
    let mut value = value.clone();
    for key in keys {
        value = match value.plain() {
            Value::List(items) => items[place(key, items.len(), false)?].clone(),
            Value::Str(text) => Value::Int(i64::from(text.as_bytes()[place(key, text.len(), false)?])),
            Value::Map(map) => match key {
                Value::Str(key) => map.get(key),
                Value::Nil => return Err("value is nil; should be of type string".into()),
                other => return Err(format!("value has type {}; should be string", other.type_name())),
            },
            Value::Nil => return Err("index of untyped nil".into()),
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    if bounds.len() > 3 {
        return Err(format!("too many slice indexes: {}", bounds.len()));
    }
    let length = match value.plain() {
        Value::Str(_) if bounds.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Str(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Nil => return Err("slice of untyped nil".into()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut places = [0, length];
    for (i, bound) in bounds.iter().enumerate() {
        let at = place(bound, length, true)?;
        if let Some(place) = places.get_mut(i) {
            *place = at;
        } else if at < places[1] {
            return Err(format!("invalid slice index: {} > {at}", places[1]));
        }
    }
    let [from, to] = places;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match value.plain() {
        Value::Str(text) => String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into(),
        Value::List(items) => Value::List(items[from..to].into()),
        other => other.clone(),
    })
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    Ok(match (a.plain(), b.plain()) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(_) | Value::Map(_), Value::Nil) | (Value::Nil, Value::List(_) | Value::Map(_)) => false,
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
            let other = if matches!(a.plain(), Value::List(_) | Value::Map(_)) { a } else { b };
            return Err(format!("non-comparable type {}", other.type_name()));
        }
        (Value::Object(a), Value::Object(b)) if a.type_name() == b.type_name() => {
            match (a.text(), b.text()) {
                (Some(a), Some(b)) => a == b,
                _ => std::sync::Arc::ptr_eq(a, b),
            }
        }
        (Value::Nil, _) | (_, Value::Nil) => false,
        _ => return Err(INCOMPATIBLE.into()),
    })
}

fn less(a: &Value, b: &Value) -> Result<bool, String> {
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Greater),
        (Value::Str(a), Value::Str(b)) => a.cmp(b),
        (
            Value::Int(_) | Value::Float(_) | Value::Str(_),
            Value::Int(_) | Value::Float(_) | Value::Str(_),
        ) => {
            return Err(INCOMPATIBLE.into());
        }
        _ => return Err("invalid type for comparison".into()),
    };
    Ok(order == Ordering::Less)
}
