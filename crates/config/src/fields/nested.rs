//! Mappings below a key, lists of them, and values of any kind.

use super::{Fields, Place, Result, Shown, scalar};
use crate::yaml::{Node, Value};

impl<'a> Fields<'a> {
    /// A mapping below a key, if it is there; `known` is what it is called in errors.
    pub(crate) fn section<T>(
        &mut self,
        key: &str,
        known: &str,
        read: impl FnOnce(&mut Fields<'a>) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let mut inner = Fields::of(self.source, &self.path_of(key), node)?;
        let value = read(&mut inner)?;
        self.show(key, inner.finish(known)?);
        Ok(Some(value))
    }

    /// A mapping below a key; one that is not there has all defaults, and is shown where it has any.
    pub(crate) fn section_or_default<T>(
        &mut self,
        key: &str,
        known: &str,
        read: impl FnOnce(&mut Fields<'a>) -> Result<T>,
    ) -> Result<T> {
        const NOTHING: &Node = &Node { place: Place { line: 1, column: 1 }, value: Value::Null };
        let node = self.node(key).unwrap_or(NOTHING);
        let mut inner = Fields::of(self.source, &self.path_of(key), node)?;
        if !self.has(key) {
            inner.place = self.place;
        }
        let value = read(&mut inner)?;
        match inner.finish(known)? {
            Shown::Map(pairs) if pairs.is_empty() => {}
            shown => self.show(key, shown),
        }
        Ok(value)
    }

    /// A list of mappings; an entry that is empty is refused.
    pub(crate) fn list<T>(
        &mut self,
        key: &str,
        known: &str,
        mut read: impl FnMut(&mut Fields<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let Value::List(items) = &node.value else {
            let reason = format!("here is {}; write a list", node.value.kind());
            return Err(self.source.refuse(node.place, &path, reason));
        };
        let (mut values, mut shown) = (Vec::with_capacity(items.len()), Vec::new());
        for (i, item) in items.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if matches!(item.value, Value::Null) {
                let reason = format!("{known} is empty or null; give it keys or remove the dash");
                return Err(self.source.refuse(item.place, &path, reason));
            }
            let mut inner = Fields::of(self.source, &path, item)?;
            values.push(read(&mut inner)?);
            shown.push(inner.finish(known)?);
        }
        if !shown.is_empty() {
            self.show(key, Shown::List(shown));
        }
        Ok(values)
    }

    /// Mappings by name, in the order of the file.
    pub(crate) fn section_map<T>(
        &mut self,
        key: &str,
        known: &str,
        mut read: impl FnMut(&str, &mut Fields<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let mut inner = Fields::of(self.source, &self.path_of(key), node)?;
        let names: Vec<&str> = inner.pairs.iter().map(|p| p.key).collect();
        let mut values = Vec::with_capacity(names.len());
        for name in names {
            let value = inner.section_or_default(name, known, |fields| read(name, fields))?;
            values.push(value);
        }
        self.show(key, inner.finish(known)?);
        Ok(values)
    }

    /// Values of any kind by name, in the order of the file.
    pub(crate) fn json_map(&mut self, key: &str) -> Result<Vec<(String, serde_json::Value)>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let mut inner = Fields::of(self.source, &self.path_of(key), node)?;
        let mut values = Vec::new();
        for name in inner.keys() {
            let value = inner.node(&name).map_or(serde_json::Value::Null, to_json);
            inner.show(&name, to_shown(&value));
            values.push((name, value));
        }
        self.show(key, inner.finish(key)?);
        Ok(values)
    }
}

/// A value as JSON has it: what stands without quotes may be a number or a truth value.
fn to_json(node: &Node) -> serde_json::Value {
    use serde_json::Value as Json;
    match &node.value {
        Value::Null | Value::NoText => Json::Null,
        Value::Text(text) => Json::from(text.as_str()),
        Value::Plain(text) => scalar::truth(text)
            .map(Json::from)
            .or_else(|| scalar::integer(text).and_then(|n| i64::try_from(n).ok()).map(Json::from))
            .or_else(|| scalar::float(text).filter(|n| n.is_finite()).map(Json::from))
            .unwrap_or_else(|| Json::from(text.as_str())),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(pairs) => {
            let name = |key: &Node| match &key.value {
                Value::Plain(text) | Value::Text(text) => text.clone(),
                _ => String::new(),
            };
            Json::Object(pairs.iter().map(|(key, value)| (name(key), to_json(value))).collect())
        }
    }
}

fn to_shown(value: &serde_json::Value) -> Shown {
    use serde_json::Value as Json;
    match value {
        Json::Null | Json::Bool(_) | Json::Number(_) => Shown::Plain(value.to_string()),
        Json::String(text) => Shown::Text(text.clone()),
        Json::Array(items) => Shown::List(items.iter().map(to_shown).collect()),
        Json::Object(pairs) => Shown::Map(pairs.iter().map(|(k, v)| (k.clone(), to_shown(v))).collect()),
    }
}
