//! The shape of an answer: which members there are and of what kind, whatever their values.

use std::collections::BTreeMap;

use serde_json::Value;

/// Members whose own members are data, not shape.
const MAPS: [&str; 7] =
    ["annotations", "labels", "discoveredLabels", "droppedTargetCounts", "metric", "output", "target"];

/// A value without what changes from time to time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// No value, or a list without elements: it fits anything.
    Any,
    Flag,
    Number,
    Text,
    /// By name: what it is, and whether all of the merged objects have it.
    Object(BTreeMap<String, (Shape, bool)>),
    /// Any names with values of one shape.
    Map(Box<Shape>),
    List(Box<Shape>),
    /// Values of different kinds in a place: Prometheus has none, so two such never fit.
    Mixed,
}

impl Shape {
    /// The shape of `value`; with `map` its members are data.
    pub fn of(value: &Value, map: bool) -> Self {
        match value {
            Value::Null => Self::Any,
            Value::Bool(_) => Self::Flag,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            // A point: time and value.
            Value::Array(items) if matches!(items.as_slice(), [Value::Number(_), Value::String(_)]) => {
                Self::List(Box::new(Self::Number))
            }
            Value::Array(items) => {
                Self::List(Box::new(Self::merged(items.iter().map(|v| Self::of(v, false)))))
            }
            Value::Object(members) if map => {
                Self::Map(Box::new(Self::merged(members.values().map(|v| Self::of(v, v.is_object())))))
            }
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(name, v)| (name.clone(), (Self::of(v, MAPS.contains(&name.as_str())), true)))
                    .collect(),
            ),
        }
    }

    fn merged(shapes: impl Iterator<Item = Self>) -> Self {
        shapes.fold(Self::Any, Self::merge)
    }

    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, other) | (other, Self::Any) => other,
            (Self::Object(a), Self::Object(b)) => {
                let mut all = BTreeMap::new();
                for name in a.keys().chain(b.keys()) {
                    let both = match (a.get(name), b.get(name)) {
                        (Some((x, p)), Some((y, q))) => (x.clone().merge(y.clone()), *p && *q),
                        (Some((x, _)), None) | (None, Some((x, _))) => (x.clone(), false),
                        (None, None) => continue,
                    };
                    all.insert(name.clone(), both);
                }
                Self::Object(all)
            }
            (Self::Map(a), Self::Map(b)) => Self::Map(Box::new(a.merge(*b))),
            (Self::List(a), Self::List(b)) => Self::List(Box::new(a.merge(*b))),
            (a, b) if a == b => a,
            _ => Self::Mixed,
        }
    }

    /// Where an answer of ours does not fit theirs: what they always have we have, and nothing that
    /// they never have.
    pub fn misfits(ours: &Self, theirs: &Self, place: &str, found: &mut Vec<String>) {
        match (ours, theirs) {
            (Self::Any, _) | (_, Self::Any) => {}
            (Self::Object(a), Self::Object(b)) => {
                for (name, (shape, always)) in b {
                    match a.get(name) {
                        Some((own, _)) => Self::misfits(own, shape, &format!("{place}.{name}"), found),
                        None if *always => found.push(format!("{place}.{name} is missing")),
                        None => {}
                    }
                }
                let more = a.keys().filter(|name| !b.contains_key(*name));
                found.extend(more.map(|name| format!("{place}.{name} is not theirs")));
            }
            (Self::Map(a), Self::Map(b)) | (Self::List(a), Self::List(b)) => {
                Self::misfits(a, b, &format!("{place}[]"), found);
            }
            (a, b) if a == b => {}
            (a, b) => found.push(format!("{place} is {a:?}, theirs is {b:?}")),
        }
    }
}

#[test]
fn shapes_tell_what_is_missing_and_what_is_too_much() {
    let misfits = |ours: &str, theirs: &str| {
        let shape = |text: &str| Shape::of(&serde_json::from_str(text).expect("JSON"), false);
        let mut found = Vec::new();
        Shape::misfits(&shape(ours), &shape(theirs), "", &mut found);
        found
    };
    let none: [&str; 0] = [];
    assert_eq!(misfits(r#"{"a":[{"b":1,"c":"x"}]}"#, r#"{"a":[{"b":2},{"b":3,"c":"y"}]}"#), none);
    assert_eq!(misfits(r#"{"a":[]}"#, r#"{"a":[1]}"#), none);
    assert_eq!(misfits(r#"{"labels":{"x":"1"}}"#, r#"{"labels":{"y":"2"}}"#), none);
    assert_eq!(misfits(r#"{"a":1}"#, r#"{"a":1,"b":2}"#), [".b is missing"]);
    assert_eq!(misfits(r#"{"a":1,"b":2}"#, r#"{"a":1}"#), [".b is not theirs"]);
    assert_eq!(misfits(r#"{"a":[{"v":1}]}"#, r#"{"a":[{"v":"1"}]}"#).len(), 1);
}
