//! YAML as a tree in which everything knows its place.
//!
//! Scalars keep the text that was written, since what it means depends on the key: `1.10` is a
//! label value of four letters and a number elsewhere, as in Go's YAML packages, for which the
//! peers' files are written. Of several documents the first counts. Aliases are copied, so the
//! size of the tree is bounded, as are its depth and the file.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use crate::Error;

/// The largest file that is read.
pub(crate) const FILE_BYTES_MAX: usize = 16 << 20;

const NODES_MAX: usize = 1_000_000;
const DEPTH_MAX: usize = 100;

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

impl Node {
    /// The text of a key.
    fn name(&self) -> Option<String> {
        match &self.value {
            Value::Plain(text) | Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    /// Text without quotes, which may be a number or a truth value too.
    Plain(String),
    /// Text that is nothing else.
    Text(String),
    /// Bytes that are no text.
    NoText,
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Value {
    /// What stands there, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Plain(_) | Self::Text(_) => "a single value",
            Self::NoText => "bytes that are no text in UTF-8",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Reads the first document of a file; an empty file is a null.
pub(crate) fn read(file: &str, text: &str) -> Result<Node, Error> {
    let refuse = |place: Place, reason: String| Error::Value {
        file: file.to_owned(),
        line: place.line,
        column: place.column,
        key: String::new(),
        reason,
    };
    let start = Place { line: 1, column: 1 };
    if text.len() > FILE_BYTES_MAX {
        let reason = format!("the file has {} bytes, more than {FILE_BYTES_MAX}", text.len());
        return Err(refuse(start, reason));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder =
        Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, depth: 0 };
    match builder.document() {
        Ok(node) => Ok(node.unwrap_or(Node { place: start, value: Value::Null })),
        Err((place, reason)) => Err(refuse(place, reason)),
    }
}

type Failure = (Place, String);

struct Builder<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// Nodes that have an anchor, and how many nodes each is.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    depth: usize,
}

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Failure> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd | Event::DocumentEnd, _) => return Ok(None),
                (event, place) => return self.node(event, place).map(Some),
            }
        }
    }

    /// The next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Place), Failure> {
        loop {
            match self.parser.next_event() {
                None => return Ok((Event::StreamEnd, Place::default())),
                Some(Err(error)) => {
                    let mark = error.marker();
                    return Err((place(mark.line(), mark.col()), error.info()));
                }
                Some(Ok((Event::Comment(..), _))) => {}
                Some(Ok((event, span))) => return Ok((event, place(span.start.line(), span.start.col()))),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place) -> Result<Node, Failure> {
        let before = self.nodes;
        self.count(1, place)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(text.into_owned(), style, tag.as_deref()).map_err(|r| (place, r))?, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.nested(place, Self::list)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.nested(place, Self::map)?, anchor),
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err((place, "an alias names an anchor that holds it".to_owned()));
                };
                let (node, size) = (node.clone(), *size);
                self.count(size, place)?;
                return Ok(node);
            }
            _ => return Err((place, "a value is missing".to_owned())),
        };
        let node = Node { place, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), Failure> {
        self.nodes += nodes;
        if self.nodes > NODES_MAX {
            return Err((place, format!("the file has more than {NODES_MAX} values, aliases included")));
        }
        Ok(())
    }

    fn nested(
        &mut self,
        place: Place,
        read: fn(&mut Self) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err((place, format!("more than {DEPTH_MAX} levels lie in each other")));
        }
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, Failure> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, place) => items.push(self.node(event, place)?),
            }
        }
    }

    fn map(&mut self) -> Result<Value, Failure> {
        let mut pairs = Vec::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => break,
                (event, place) => self.node(event, place)?,
            };
            let (event, place) = self.next()?;
            let value = self.node(event, place)?;
            if matches!(&key.value, Value::Plain(text) if text == "<<") {
                merge(value, &mut merged)?;
            } else {
                pairs.push((key, value));
            }
        }
        // What is written beside a merge key goes before what the key brings.
        let mut known: HashSet<String> = if merged.is_empty() {
            HashSet::new()
        } else {
            pairs.iter().filter_map(|(k, _)| k.name()).collect()
        };
        for (key, value) in merged {
            if key.name().is_none_or(|name| known.insert(name)) {
                pairs.push((key, value));
            }
        }
        Ok(Value::Map(pairs))
    }
}

fn merge(from: Node, into: &mut Vec<(Node, Node)>) -> Result<(), Failure> {
    match from.value {
        Value::Map(pairs) => into.extend(pairs),
        Value::List(nodes) => {
            for node in nodes {
                merge(node, into)?;
            }
        }
        other => return Err((from.place, format!("'<<' takes a mapping, not {}", other.kind()))),
    }
    Ok(())
}

/// Lines are counted from 1, columns from 0.
fn place(line: usize, column: usize) -> Place {
    Place { line: line.max(1), column: column + 1 }
}

fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    match tag.and_then(core_tag) {
        Some("binary") => {
            let bytes =
                base64(&text).ok_or_else(|| "the !!binary value contains invalid base64".to_owned())?;
            return Ok(String::from_utf8(bytes).map_or(Value::NoText, Value::Text));
        }
        Some("str") => return Ok(Value::Text(text)),
        Some("null") => return Ok(Value::Null),
        _ => {}
    }
    Ok(match style {
        ScalarStyle::Plain if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        ScalarStyle::Plain => Value::Plain(text),
        _ => Value::Text(text),
    })
}

/// The name of a tag of YAML's own: `!!binary` or its whole URI.
fn core_tag(tag: &Tag) -> Option<&str> {
    const CORE: &str = "tag:yaml.org,2002:";
    match (tag.handle(), tag.suffix()) {
        (CORE | "!!", suffix) => Some(suffix),
        ("", uri) => uri.strip_prefix(CORE),
        _ => None,
    }
}

/// Base64 with padding, line breaks between.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let padding = digits.iter().rev().take_while(|b| **b == b'=').count();
    let mut out = Vec::with_capacity(digits.len() / 4 * 3);
    let (mut bits, mut number) = (0, 0u32);
    for digit in &digits[..digits.len() - padding.min(2)] {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        number = (number << 6) | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from((number >> bits) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests;
