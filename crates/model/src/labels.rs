//! A label set: sorted, unique names with non-empty values, in one shared allocation.
//!
//! Layout: for each label the name and then the value, each preceded by its length in bytes.
//! The length is itself written as one Unicode scalar (lengths at or above U+D800 skip the
//! surrogate gap), so the whole set is valid UTF-8 and is read without copying or `unsafe`.
//! Equal sets have equal bytes: hashing and comparing for equality work on the buffer.

use std::{cmp::Ordering, fmt, sync::Arc};

/// The label that holds a series' metric name.
pub const METRIC_NAME: &str = "__name__";

/// The longest name or value, in bytes, that a label set can hold; longer text is cut at the
/// last character that fits. Intake limits are far below it.
pub const MAX_LABEL_BYTES: usize = 1_000_000;

const SURROGATES: u32 = 0x800;

/// A sorted set of label names and values. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Self(Arc::from(""))
    }

    /// Builds a set from pairs in any order. Empty values are left out, as an absent label and
    /// an empty one mean the same; of a repeated name the last value stays.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut builder = LabelsBuilder::new();
        for (name, value) in pairs {
            builder.set(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// The value of `name`, or `None` when the set has no such label.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().take_while(|(n, _)| *n <= name).find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The metric name, or an empty string.
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// Names and values in order of the names.
    #[inline]
    pub fn iter(&self) -> Iter<'_> {
        Iter(&self.0)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether the set has no label.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A stable 64-bit hash of the set, equal on every machine and in every release.
    pub fn stable_hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.0.as_bytes())
    }

    /// The set as one string, for use as a key. Its form is private to this crate's release.
    pub fn as_key(&self) -> &str {
        &self.0
    }

    /// Bytes of heap memory that the text of the set takes.
    pub fn heap_bytes(&self) -> usize {
        self.0.len() + 16
    }

    /// A builder that starts from this set.
    pub fn to_builder(&self) -> LabelsBuilder {
        LabelsBuilder { pairs: self.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// The set without the metric name.
    pub fn without_name(&self) -> Self {
        if self.get(METRIC_NAME).is_none() {
            return self.clone();
        }
        Self::from_sorted(self.iter().filter(|(n, _)| *n != METRIC_NAME))
    }

    /// The labels whose names are in `names`.
    pub fn keep(&self, names: &[impl AsRef<str>]) -> Self {
        Self::from_sorted(self.iter().filter(|(n, _)| names.iter().any(|k| k.as_ref() == *n)))
    }

    /// The labels whose names are not in `names`.
    pub fn drop(&self, names: &[impl AsRef<str>]) -> Self {
        Self::from_sorted(self.iter().filter(|(n, _)| names.iter().all(|k| k.as_ref() != *n)))
    }

    /// Builds a set from pairs in order of their names, each name once and no value empty, as
    /// stores keep them; cheaper than [`Labels::from_pairs`].
    pub fn from_sorted<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        // Few sets are longer, so that most take one allocation beside their own.
        let mut text = String::with_capacity(256);
        for (name, value) in pairs {
            push(&mut text, name);
            push(&mut text, value);
        }
        Self(Arc::from(text))
    }
}

fn push(text: &mut String, part: &str) {
    let part = truncate(part);
    text.push(length_to_char(part.len()));
    text.push_str(part);
}

fn truncate(part: &str) -> &str {
    if part.len() <= MAX_LABEL_BYTES {
        return part;
    }
    &part[..part.floor_char_boundary(MAX_LABEL_BYTES)]
}

fn length_to_char(length: usize) -> char {
    let n = u32::try_from(length).expect("BUG: label text is cut to MAX_LABEL_BYTES");
    char::from_u32(if n < 0xD800 { n } else { n + SURROGATES }).expect("BUG: length fits a scalar")
}

fn char_to_length(c: char) -> usize {
    let n = u32::from(c);
    (if n < 0xD800 { n } else { n - SURROGATES }) as usize
}

/// Iterates over a label set in order of the names.
#[derive(Clone)]
pub struct Iter<'a>(&'a str);

#[inline]
fn take<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let first = *rest.as_bytes().first()?;
    // Most names and values are short, and the length of such a one is a single byte.
    if first < 0x80 {
        let end = 1 + usize::from(first);
        let part = &rest[1..end];
        *rest = &rest[end..];
        return Some(part);
    }
    let length = rest.chars().next()?;
    let (part, tail) = rest[length.len_utf8()..].split_at(char_to_length(length));
    *rest = tail;
    Some(part)
}

/// How many bytes two texts begin with alike, or fewer.
fn shared_bytes(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count();
    words * 8
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let name = take(&mut self.0)?;
        let value = take(&mut self.0)?;
        Some((name, value))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Label by label: name first, then value; a set that is a prefix of another comes first.
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        // Series that are compared often differ in one of their last labels only: the labels that
        // lie in what both begin with are gone through without comparing them.
        let shared = shared_bytes(self.0.as_bytes(), other.0.as_bytes());
        let mut rest = self.iter();
        let mut at = 0;
        loop {
            let here = rest.0;
            if rest.next().is_none() {
                break;
            }
            let end = self.0.len() - rest.0.len();
            if end > shared {
                rest = Iter(here);
                break;
            }
            at = end;
        }
        rest.cmp(Iter(&other.0[at..]))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

/// Prometheus' notation: `name{label="value"}`, with names that need it in quotes.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let bare = is_classic_name(name, true);
        if bare {
            f.write_str(name)?;
        }
        let mut first = true;
        let mut separate = |f: &mut fmt::Formatter<'_>| {
            let text = if std::mem::take(&mut first) { "{" } else { ", " };
            f.write_str(text)
        };
        if !name.is_empty() && !bare {
            separate(f)?;
            write_quoted(f, name)?;
        }
        for (n, v) in self.iter().filter(|(n, _)| *n != METRIC_NAME) {
            separate(f)?;
            if is_classic_name(n, false) {
                f.write_str(n)?;
            } else {
                write_quoted(f, n)?;
            }
            f.write_str("=")?;
            write_quoted(f, v)?;
        }
        if !first {
            f.write_str("}")
        } else if name.is_empty() {
            f.write_str("{}")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_classic_name(name: &str, colon: bool) -> bool {
    !name.is_empty()
        && name.bytes().enumerate().all(|(i, b)| {
            b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':') || (i > 0 && b.is_ascii_digit())
        })
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

/// Collects labels in any order.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// An empty builder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        let (name, value) = (truncate(name), truncate(value));
        let place = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name));
        match (place, value.is_empty()) {
            (Ok(i), true) => drop(self.pairs.remove(i)),
            (Ok(i), false) => value.clone_into(&mut self.pairs[i].1),
            (Err(_), true) => {}
            (Err(i), false) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value of `name`, or `None`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Names and values in order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// Removes all labels for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.pairs.retain(|(n, v)| keep(n, v));
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        Labels::from_sorted(self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())))
    }
}

#[cfg(test)]
mod tests;
