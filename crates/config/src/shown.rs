//! The configuration as it is shown: with all defaults, and without secrets.

use std::fmt::Write as _;

/// What stands in place of a secret.
pub(crate) const HIDDEN: &str = "<secret>";

/// A part of a shown configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Text, which gets quotes where it could be taken for something else.
    Text(String),
    /// A number or a truth value.
    Plain(String),
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
}

impl Shown {
    /// What stands at a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The part as YAML.
    pub(crate) fn to_yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(pairs) if pairs.is_empty() => out.push_str("{}\n"),
            _ => self.write(&mut out, 0),
        }
        out
    }

    fn write(&self, out: &mut String, indent: usize) {
        match self {
            Self::Text(text) => push_text(out, text),
            Self::Plain(text) => out.push_str(text),
            Self::List(items) => {
                for item in items {
                    let _ = write!(out, "{:indent$}- ", "");
                    item.write_inner(out, indent + 2);
                }
            }
            Self::Map(pairs) => {
                for (key, value) in pairs {
                    let _ = write!(out, "{:indent$}", "");
                    push_text(out, key);
                    out.push(':');
                    value.write_after_key(out, indent);
                }
            }
        }
    }

    /// After `key:`; lists stand at the key's own column.
    fn write_after_key(&self, out: &mut String, indent: usize) {
        match self {
            Self::List(items) if items.is_empty() => out.push_str(" []\n"),
            Self::Map(pairs) if pairs.is_empty() => out.push_str(" {}\n"),
            Self::List(_) => {
                out.push('\n');
                self.write(out, indent);
            }
            Self::Map(_) => {
                out.push('\n');
                self.write(out, indent + 2);
            }
            single => {
                out.push(' ');
                single.write(out, indent);
                out.push('\n');
            }
        }
    }

    /// After `- `: the first line is begun already.
    fn write_inner(&self, out: &mut String, indent: usize) {
        let mut inner = String::new();
        match self {
            Self::List(items) if items.is_empty() => inner.push_str("[]\n"),
            Self::Map(pairs) if pairs.is_empty() => inner.push_str("{}\n"),
            Self::Text(_) | Self::Plain(_) => {
                self.write(&mut inner, indent);
                inner.push('\n');
            }
            _ => self.write(&mut inner, indent),
        }
        out.push_str(inner.trim_start_matches(' '));
    }
}

fn push_text(out: &mut String, text: &str) {
    let plain = |c: char| c.is_alphanumeric() || "_-./$()+<>^|;=~%@\\".contains(c);
    let is_plain = text.chars().all(plain)
        && text.starts_with(|c: char| c.is_alphanumeric() || "_/$(<^".contains(c))
        && crate::scalar::integer(text).is_none()
        && crate::scalar::float(text).is_none()
        && crate::scalar::truth(text).is_none()
        && !matches!(text, "null" | "Null" | "NULL" | "~" | "<<");
    if is_plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || c == '\u{feff}' || ('\u{2028}'..='\u{2029}').contains(&c) => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::{self, Node, Value};

    fn tree(node: &Node) -> Shown {
        match &node.value {
            Value::Null => Shown::Text("null!".into()),
            Value::Plain(t) | Value::Text(t) => Shown::Text(t.clone()),
            Value::NoText => Shown::Text("bytes!".into()),
            Value::List(items) => Shown::List(items.iter().map(tree).collect()),
            Value::Map(pairs) => {
                let key = |k: &Node| match tree(k) {
                    Shown::Text(t) => t,
                    other => panic!("{other:?}"),
                };
                Shown::Map(pairs.iter().map(|(k, v)| (key(k), tree(v))).collect())
            }
        }
    }

    fn any() -> impl Strategy<Value = Shown> {
        let text = "\\PC{0,6}|[a-z:# \\n\"'-]{0,6}|null|yes|1.5|\\u{1}";
        let leaf = text.prop_map(Shown::Text);
        leaf.prop_recursive(3, 20, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Shown::List),
                proptest::collection::btree_map(text, inner, 0..4)
                    .prop_map(|map| Shown::Map(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(shown in any()) {
            let shown = Shown::Map(vec![("k".into(), shown)]);
            let text = shown.to_yaml();
            let read = yaml::read("f", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            prop_assert_eq!(tree(&read), shown, "{}", text);
        }
    }
}
