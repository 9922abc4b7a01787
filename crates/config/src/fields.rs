//! The keys of one mapping: each is asked for by name and kind, and what nobody asked for is
//! refused.
//!
//! Asking also notes how the value is shown, so that a key is declared in one place for reading,
//! its default and showing. A key whose value is null counts as absent.

mod nested;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use vedette_model::NameScheme;

use crate::{
    Error, Secret, scalar,
    shown::{HIDDEN, Shown},
    yaml::{Node, Place, Value},
};

/// What does not change within a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The name of the file, for errors.
    pub(crate) file: &'a str,
    /// The folder that relative paths start from.
    pub(crate) folder: &'a Path,
}

impl Source<'_> {
    pub(crate) fn refuse(&self, place: Place, key: &str, reason: impl Into<String>) -> Error {
        Error::Value {
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            key: key.to_owned(),
            reason: reason.into(),
        }
    }

    /// A path as written, below the folder of the file.
    pub(crate) fn below(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// The keys of a mapping, on the way through them.
pub(crate) struct Fields<'a> {
    source: Source<'a>,
    path: String,
    place: Place,
    pairs: Vec<Pair<'a>>,
    /// Where each key is among the pairs.
    index: HashMap<&'a str, usize>,
    shown: Vec<(String, Shown)>,
}

struct Pair<'a> {
    key: &'a str,
    place: Place,
    value: &'a Node,
    used: bool,
}

impl<'a> Fields<'a> {
    /// The keys of `node`, which is found at `path`. A null has none.
    pub(crate) fn of(source: Source<'a>, path: &str, node: &'a Node) -> Result<Self> {
        let mut pairs: Vec<Pair<'a>> = Vec::new();
        let mut index = HashMap::new();
        match &node.value {
            Value::Null => {}
            Value::Map(entries) => {
                for (key, value) in entries {
                    let (Value::Plain(name) | Value::Text(name)) = &key.value else {
                        let reason = format!("a key is {}; write a name", key.value.kind());
                        return Err(source.refuse(key.place, path, reason));
                    };
                    if let Some(first) = index.insert(name.as_str(), pairs.len()) {
                        let first: &Pair<'_> = &pairs[first];
                        let reason =
                            format!("the key {name:?} is there twice, first in line {}", first.place.line);
                        return Err(source.refuse(key.place, path, reason));
                    }
                    pairs.push(Pair { key: name, place: key.place, value, used: false });
                }
            }
            other => {
                let reason = format!("here is {}; write a mapping of keys", other.kind());
                return Err(source.refuse(node.place, path, reason));
            }
        }
        Ok(Self { source, path: path.to_owned(), place: node.place, pairs, index, shown: Vec::new() })
    }

    pub(crate) fn source(&self) -> Source<'a> {
        self.source
    }

    /// The way to a key of this mapping.
    pub(crate) fn path_of(&self, key: &str) -> String {
        match (self.path.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => self.path.clone(),
            (false, false) => format!("{}.{key}", self.path),
        }
    }

    /// An error at a key, or at the mapping where the key is not there.
    pub(crate) fn refuse(&self, key: &str, reason: impl Into<String>) -> Error {
        let place = self.pair(key).map_or(self.place, |p| p.place);
        self.source.refuse(place, &self.path_of(key), reason)
    }

    fn pair(&self, key: &str) -> Option<&Pair<'a>> {
        self.index.get(key).map(|i| &self.pairs[*i])
    }

    /// Whether the key is there, null or not.
    pub(crate) fn is_there(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// Whether the key is there and not null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.pair(key).is_some_and(|p| !matches!(p.value.value, Value::Null))
    }

    /// Refuses more than one of `keys`, and tells whether there is one.
    pub(crate) fn at_most_one(&self, keys: &[&str]) -> Result<bool> {
        let mut there = keys.iter().filter(|key| self.has(key));
        match (there.next(), there.next()) {
            (Some(_), Some(second)) => {
                Err(self.refuse(second, format!("only one of {} may be given", and_list(keys))))
            }
            (first, _) => Ok(first.is_some()),
        }
    }

    /// Refuses a mapping without the key, or with an empty text.
    pub(crate) fn require(&self, keys: &[&str]) -> Result<()> {
        for key in keys {
            let empty = |p: &Pair<'_>| match &p.value.value {
                Value::Null => true,
                Value::Plain(text) | Value::Text(text) => text.is_empty(),
                Value::List(items) => items.is_empty(),
                _ => false,
            };
            if self.pair(key).is_none_or(empty) {
                return Err(self.refuse(key, format!("{key} is missing or empty; it is required")));
            }
        }
        Ok(())
    }

    /// The node of a key that is there and not null.
    pub(crate) fn node(&mut self, key: &str) -> Option<&'a Node> {
        let pair = &mut self.pairs[*self.index.get(key)?];
        pair.used = true;
        (!matches!(pair.value.value, Value::Null)).then_some(pair.value)
    }

    /// Notes how a key is shown.
    pub(crate) fn show(&mut self, key: &str, shown: Shown) {
        self.shown.push((key.to_owned(), shown));
    }

    /// Shows texts in place of what was noted for the key last.
    pub(crate) fn show_again(&mut self, key: &str, texts: Vec<String>) {
        if !texts.is_empty() {
            self.replace_shown(key, Shown::List(texts.into_iter().map(Shown::Text).collect()));
        }
    }

    /// Shows something in place of what was noted for the key.
    pub(crate) fn replace_shown(&mut self, key: &str, shown: Shown) {
        self.shown.retain(|(k, _)| k != key);
        self.show(key, shown);
    }

    /// The line where the mapping begins.
    pub(crate) fn line(&self) -> usize {
        self.place.line
    }

    /// An error at a line of a file that may be another one.
    pub(crate) fn refuse_at(&self, line: usize, file: &str, path: &str, reason: String) -> Error {
        Source { file, folder: self.source.folder }.refuse(Place { line, column: 1 }, path, reason)
    }

    /// How all keys are shown that were asked for, if nothing is left.
    pub(crate) fn finish(self, known: &str) -> Result<Shown> {
        if let Some(pair) = self.pairs.iter().find(|p| !p.used) {
            let reason = format!("{known} has no key {:?}; remove it or mend its name", pair.key);
            return Err(self.source.refuse(pair.place, &self.path_of(pair.key), reason));
        }
        Ok(Shown::Map(self.shown))
    }

    // Text.

    /// The text of a key, shown where it is there.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let text = self.text_of(key, node)?.to_owned();
        self.show(key, Shown::Text(text.clone()));
        Ok(Some(text))
    }

    /// The text of a key or a default, shown unless it is empty.
    pub(crate) fn text_or(&mut self, key: &str, default: &str) -> Result<String> {
        let text = match self.node(key) {
            Some(node) => self.text_of(key, node)?.to_owned(),
            None => default.to_owned(),
        };
        if !text.is_empty() {
            self.show(key, Shown::Text(text.clone()));
        }
        Ok(text)
    }

    /// One of some words.
    pub(crate) fn word(&mut self, key: &str, default: &str, words: &[&str]) -> Result<String> {
        let text = self.text_or(key, default)?;
        if words.contains(&text.as_str()) {
            return Ok(text);
        }
        Err(self.refuse(key, format!("unknown {key} {text:?}; use one of {}", or_list(words))))
    }

    /// A text that is never shown.
    pub(crate) fn secret(&mut self, key: &str) -> Result<Option<Secret>> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let text = self.text_of(key, node)?.to_owned();
        if !text.is_empty() {
            self.show(key, Shown::Text(HIDDEN.to_owned()));
        }
        Ok(Some(Secret::new(text)))
    }

    /// A path, from the folder of the file.
    pub(crate) fn path(&mut self, key: &str) -> Result<Option<PathBuf>> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let text = self.text_of(key, node)?;
        if text.is_empty() {
            return Ok(None);
        }
        let path = self.source.below(text);
        self.show(key, Shown::Text(path.display().to_string()));
        Ok(Some(path))
    }

    /// A list of texts, shown where it is not empty.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Vec<String>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let Value::List(items) = &node.value else {
            // One text may stand for a list of one, as in Go.
            return match &node.value {
                Value::Map(_) => Err(self.refuse(key, "here is a mapping; write a list")),
                _ => {
                    let text = self.text_of(key, node)?.to_owned();
                    self.show(key, Shown::List(vec![Shown::Text(text.clone())]));
                    Ok(vec![text])
                }
            };
        };
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            texts.push(match item.value {
                Value::Null => String::new(),
                _ => self.text_of(&format!("{key}[{i}]"), item)?.to_owned(),
            });
        }
        if !texts.is_empty() {
            self.show(key, Shown::List(texts.iter().map(|t| Shown::Text(t.clone())).collect()));
        }
        Ok(texts)
    }

    /// The names of all keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.pairs.iter().map(|p| p.key.to_owned()).collect()
    }

    /// Whether a key is absent, null or an empty text.
    pub(crate) fn text_is_empty(&mut self, key: &str) -> bool {
        match self.node(key).map(|node| &node.value) {
            None => true,
            Some(Value::Plain(text) | Value::Text(text)) => text.is_empty(),
            Some(_) => false,
        }
    }

    /// A list of texts that are never shown.
    pub(crate) fn secrets(&mut self, key: &str) -> Result<Vec<Secret>> {
        let texts = self.texts(key)?;
        self.show_again(key, vec![HIDDEN.to_owned(); texts.len()]);
        Ok(texts.into_iter().map(Secret::new).collect())
    }

    /// A list of paths, from the folder of the file.
    pub(crate) fn paths(&mut self, key: &str) -> Result<Vec<PathBuf>> {
        let names = self.texts(key)?;
        Ok(self.paths_of(key, &names))
    }

    /// Paths that were read as texts, from the folder of the file.
    pub(crate) fn paths_of(&mut self, key: &str, names: &[String]) -> Vec<PathBuf> {
        let paths: Vec<PathBuf> = names.iter().map(|name| self.source.below(name)).collect();
        self.show_again(key, paths.iter().map(|p| p.display().to_string()).collect());
        paths
    }

    /// Lists of texts by name, in the order of the file.
    pub(crate) fn texts_map(&mut self, key: &str) -> Result<Vec<(String, Vec<String>)>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let mut inner = Fields::of(self.source, &self.path_of(key), node)?;
        let mut lists = Vec::new();
        for name in inner.keys() {
            let texts = inner.texts(&name)?;
            lists.push((name, texts));
        }
        self.show(key, inner.finish(key)?);
        Ok(lists)
    }

    /// Texts by name, in order of the names, shown where there are any.
    pub(crate) fn text_map(&mut self, key: &str) -> Result<Vec<(String, String)>> {
        let Some(node) = self.node(key) else { return Ok(Vec::new()) };
        let path = self.path_of(key);
        let mut inner = Fields::of(self.source, &path, node)?;
        let names: Vec<&str> = inner.pairs.iter().map(|p| p.key).collect();
        let mut texts = Vec::with_capacity(names.len());
        for name in names {
            let value = inner.node(name);
            let text = value.map_or(Ok(""), |node| inner.text_of(name, node))?;
            texts.push((name.to_owned(), text.to_owned()));
        }
        texts.sort();
        if !texts.is_empty() {
            let pairs = texts.iter().map(|(n, t)| (n.clone(), Shown::Text(t.clone()))).collect();
            self.show(key, Shown::Map(pairs));
        }
        Ok(texts)
    }

    /// Labels by name, in order of the names, with names that `scheme` takes.
    pub(crate) fn label_map(&mut self, key: &str, scheme: NameScheme) -> Result<Vec<(String, String)>> {
        if let Some(Node { value: Value::Map(entries), .. }) = self.node(key) {
            let path = self.path_of(key);
            for (name, value) in entries {
                let reason = match (&name.value, &value.value) {
                    (Value::NoText, _) => {
                        "the bytes of the key are no text, so not a valid label name".into()
                    }
                    (Value::Plain(n) | Value::Text(n), _) if !scheme.takes_label(n) => {
                        format!("{n:?} is not a valid label name under the scheme {}", scheme.as_str())
                    }
                    (Value::Null, _) => "an empty text is not a valid label name".into(),
                    (Value::Plain(n) | Value::Text(n), Value::NoText) => {
                        format!("the bytes of {n} are no text, so not a valid label value")
                    }
                    _ => continue,
                };
                return Err(self.source.refuse(name.place, &path, reason));
            }
        }
        self.text_map(key)
    }

    /// The text of a node.
    pub(crate) fn text_of(&self, key: &str, node: &'a Node) -> Result<&'a str> {
        match &node.value {
            Value::Plain(text) | Value::Text(text) => Ok(text),
            Value::Null => Ok(""),
            other => {
                let reason = format!("here is {}; write a text", other.kind());
                Err(self.source.refuse(node.place, &self.path_of(key), reason))
            }
        }
    }

    // Single values of other kinds.

    /// A truth value that is always shown.
    pub(crate) fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        let value = self.truth(key)?.unwrap_or(default);
        self.show(key, Shown::Plain(value.to_string()));
        Ok(value)
    }

    /// A truth value that is shown where it is true.
    pub(crate) fn switch(&mut self, key: &str, default: bool) -> Result<bool> {
        let value = self.truth(key)?.unwrap_or(default);
        if value {
            self.show(key, Shown::Plain(value.to_string()));
        }
        Ok(value)
    }

    fn truth(&mut self, key: &str) -> Result<Option<bool>> {
        self.plain(key, "true or false", scalar::truth)
    }

    /// A whole number, shown unless it is 0.
    pub(crate) fn integer(&mut self, key: &str, default: i64) -> Result<i64> {
        let value = self
            .plain(key, "a whole number", |text| i64::try_from(scalar::integer(text)?).ok())?
            .unwrap_or(default);
        if value != 0 {
            self.show(key, Shown::Plain(value.to_string()));
        }
        Ok(value)
    }

    /// A whole number that is not below zero, shown unless it is 0.
    pub(crate) fn count(&mut self, key: &str, default: u64) -> Result<u64> {
        let value = self
            .plain(key, "a whole number, 0 or more", |text| u64::try_from(scalar::integer(text)?).ok())?
            .unwrap_or(default);
        if value != 0 {
            self.show(key, Shown::Plain(value.to_string()));
        }
        Ok(value)
    }

    /// A port.
    pub(crate) fn port(&mut self, key: &str, default: u16) -> Result<u16> {
        let value = self
            .plain(key, "a port from 0 to 65535", |text| u16::try_from(scalar::integer(text)?).ok())?
            .unwrap_or(default);
        self.show(key, Shown::Plain(value.to_string()));
        Ok(value)
    }

    /// A number, shown unless it is 0.
    pub(crate) fn float(&mut self, key: &str, default: f64) -> Result<f64> {
        let value = self.plain(key, "a number", scalar::float)?.unwrap_or(default);
        if value != 0.0 {
            self.show(key, Shown::Plain(value.to_string()));
        }
        Ok(value)
    }

    /// A duration, shown unless it is 0.
    pub(crate) fn duration(&mut self, key: &str, default: Duration) -> Result<Duration> {
        let value = match self.node(key) {
            None => default,
            Some(node) => {
                let text = self.text_of(key, node)?;
                scalar::duration(text).ok_or_else(|| {
                    let reason = format!("{text:?} is no duration; write for example 500ms, 15s, 1h30m, 7d");
                    self.refuse(key, reason)
                })?
            }
        };
        if !value.is_zero() {
            self.show(key, Shown::Text(scalar::duration_text(value)));
        }
        Ok(value)
    }

    /// A duration for which 0 means the default.
    pub(crate) fn duration_set(&mut self, key: &str, default: Duration) -> Result<Duration> {
        let given = self.duration(key, default)?;
        if given.is_zero() {
            self.show(key, Shown::Text(scalar::duration_text(default)));
            return Ok(default);
        }
        Ok(given)
    }

    /// A size in bytes, shown unless it is 0.
    pub(crate) fn size(&mut self, key: &str, default: i64) -> Result<i64> {
        let value = match self.node(key) {
            None => default,
            Some(node) => {
                let text = self.text_of(key, node)?;
                scalar::size(text).ok_or_else(|| {
                    self.refuse(key, format!("{text:?} is no size; write for example 512KB, 15MB, 1GB"))
                })?
            }
        };
        if value != 0 {
            self.show(key, Shown::Text(scalar::size_text(value)));
        }
        Ok(value)
    }

    /// A value that may not stand in quotes.
    fn plain<T>(&mut self, key: &str, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let Some(node) = self.node(key) else { return Ok(None) };
        let found = match &node.value {
            Value::Plain(text) => match read(text) {
                Some(value) => return Ok(Some(value)),
                None => format!("{text:?} is not {what}"),
            },
            Value::Text(text) => format!("{text:?} stands in quotes; write {what}"),
            other => format!("here is {}; write {what}", other.kind()),
        };
        Err(self.source.refuse(node.place, &self.path_of(key), found))
    }
}

/// `a, b and c`
pub(crate) fn and_list(words: &[&str]) -> String {
    joined(words, "and")
}

/// `a, b or c`
pub(crate) fn or_list(words: &[&str]) -> String {
    joined(words, "or")
}

fn joined(words: &[&str], last: &str) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [front @ .., end] => format!("{} {last} {end}", front.join(", ")),
    }
}
