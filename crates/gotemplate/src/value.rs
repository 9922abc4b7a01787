//! The values a template works on, with the behaviour of the Go types they stand for.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A value. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Go's nil, or nothing at all.
    #[default]
    Nil,
    /// A `bool`.
    Bool(bool),
    /// An `int`.
    Int(i64),
    /// A `float64`.
    Float(f64),
    /// A `string`.
    Str(Arc<str>),
    /// A slice.
    List(Arc<[Value]>),
    /// A map with string keys.
    Map(Arc<Map>),
    /// A value with fields and methods of its own.
    Object(Arc<dyn Object>),
}

/// A map with string keys, in order of the keys.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// The entries.
    pub entries: BTreeMap<Arc<str>, Value>,
    /// What a missing key gives: the zero value of the element type. `Nil` makes the map Go's
    /// `map[string]interface {}`, an empty string `map[string]string`.
    pub zero: Value,
}

impl Map {
    /// The value of a key, or the zero value.
    pub fn get(&self, key: &str) -> Value {
        self.entries.get(key).unwrap_or(&self.zero).clone()
    }
}

/// A foreign type: a struct, or a named list or map with methods.
pub trait Object: fmt::Debug + Send + Sync {
    /// The type's name as shown in errors and by `%T`.
    fn type_name(&self) -> &str;

    /// The list or map that this object is, besides having methods.
    fn underlying(&self) -> Option<&Value> {
        None
    }

    /// The field of that name, or `None` if the type has none.
    fn field(&self, _name: &str) -> Option<Value> {
        None
    }

    /// Calls a method; `None` if the type has none of that name.
    fn call(&self, _method: &str, _args: &[Value]) -> Option<Result<Value, String>> {
        None
    }

    /// The text by which the object is printed, as of a `String` method.
    fn text(&self) -> Option<String> {
        None
    }

    /// Fields in the order of their declaration, for printing a struct.
    fn fields(&self) -> Vec<(&str, Value)> {
        Vec::new()
    }

    /// Gives access to the concrete type, for functions that take it.
    fn as_any(&self) -> Option<&dyn std::any::Any> {
        None
    }
}

impl Value {
    /// A `map[string]string`.
    pub fn string_map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let entries = pairs.into_iter().map(|(k, v)| (Arc::from(k), Self::from(v))).collect();
        Self::Map(Arc::new(Map { entries, zero: Self::from("") }))
    }

    /// A `map[string]interface {}`.
    pub fn map(pairs: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        Self::Map(Arc::new(Map { entries: pairs.into_iter().collect(), zero: Self::Nil }))
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// An object.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Arc::new(object))
    }

    /// The object as `T`, if it is one and shows itself.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        match self {
            Self::Object(o) => o.as_any()?.downcast_ref(),
            _ => None,
        }
    }

    /// The list or map behind a named type, else the value itself.
    pub fn plain(&self) -> &Value {
        match self {
            Self::Object(o) => o.underlying().unwrap_or(self),
            _ => self,
        }
    }

    /// The items, if the value is a list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self.plain() {
            Self::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries, if the value is a map.
    pub fn as_map(&self) -> Option<&Map> {
        match self.plain() {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text, if the value is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Go's name of the type.
    pub fn type_name(&self) -> String {
        match self {
            Self::Nil => "<nil>".into(),
            Self::Bool(_) => "bool".into(),
            Self::Int(_) => "int".into(),
            Self::Float(_) => "float64".into(),
            Self::Str(_) => "string".into(),
            Self::List(_) => "[]interface {}".into(),
            Self::Map(map) => match map.zero {
                Self::Str(_) => "map[string]string".into(),
                Self::Float(_) => "map[string]float64".into(),
                _ => "map[string]interface {}".into(),
            },
            Self::Object(o) => o.type_name().to_owned(),
        }
    }

    /// Whether `if` and `with` take the value for true: it is not the zero value of its type,
    /// and an object always is.
    pub fn truth(&self) -> bool {
        match self.plain() {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(i) => *i != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.entries.is_empty(),
            Self::Object(_) => true,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(Arc::from(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(Arc::from(text))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
