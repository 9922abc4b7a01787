//! A list as it comes from the network, cut into its items without holding the whole.
//!
//! Only braces, brackets and quotation marks are looked at here; whether an item is sound JSON is found
//! out by whoever decodes it. What stands beside the items is kept and decoded at the end.

use serde::Deserialize;

use crate::{Error, objects::null_as_default};

/// The store behind an API server takes no object of more than a few MiB.
pub(crate) const OBJECT_BYTES_MAX: usize = 16 << 20;
/// What stands beside the items is short.
const ENVELOPE_BYTES_MAX: usize = 1 << 20;

/// Cuts a list into items.
#[derive(Debug, Default)]
pub struct ListReader {
    /// How many braces and brackets are open.
    depth: usize,
    in_text: bool,
    is_escaped: bool,
    in_items: bool,
    is_over: bool,
    /// Whether the string that is being read may be the key of the items: its beginning in `envelope`.
    text_from: usize,
    /// Whether the last string at the top was the key of the items.
    is_items_key: bool,
    /// What has come of an item that goes on in the next piece.
    item: Vec<u8>,
    envelope: Vec<u8>,
}

/// What a list says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListEnd {
    /// The state of the cluster that the list shows.
    pub resource_version: String,
    /// By what the next page is asked for; empty after the last.
    pub next_page: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
    #[serde(deserialize_with = "null_as_default")]
    metadata: ListMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    #[serde(deserialize_with = "null_as_default")]
    resource_version: String,
    #[serde(deserialize_with = "null_as_default")]
    r#continue: String,
}

impl ListReader {
    /// Nothing has come yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece and hands on each item that is whole.
    pub fn take(
        &mut self,
        piece: &[u8],
        mut on_item: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        // Where in this piece the item, or what stands beside items, begins that is being read.
        let mut from = 0;
        for (at, &byte) in piece.iter().enumerate() {
            if self.in_text {
                if self.is_escaped {
                    self.is_escaped = false;
                } else if byte == b'\\' {
                    self.is_escaped = true;
                } else if byte == b'"' {
                    self.in_text = false;
                    if self.depth == 1 {
                        self.envelope.extend_from_slice(&piece[from..=at]);
                        from = at + 1;
                        self.is_items_key = &self.envelope[self.text_from..] == b"\"items\"";
                    }
                }
                continue;
            }
            match byte {
                b'"' => {
                    self.in_text = true;
                    if self.is_between_items() {
                        return Err(broken("an item is no object"));
                    }
                    if self.depth == 1 {
                        self.envelope.extend_from_slice(&piece[from..at]);
                        from = at;
                        self.text_from = self.envelope.len();
                    }
                }
                b'{' | b'[' => {
                    if self.is_over {
                        return Err(broken("something stands behind the list"));
                    }
                    if self.is_between_items() {
                        if byte == b'[' {
                            return Err(broken("an item is no object"));
                        }
                        from = at;
                    }
                    self.depth += 1;
                    if self.depth == 2 && byte == b'[' && self.is_items_key {
                        self.envelope.extend_from_slice(&piece[from..=at]);
                        self.in_items = true;
                        from = at + 1;
                    }
                }
                b'}' | b']' => {
                    let Some(depth) = self.depth.checked_sub(1) else {
                        return Err(broken("a bracket closes nothing"));
                    };
                    self.depth = depth;
                    if self.in_items && depth == 2 {
                        self.hand_on(&piece[from..=at], &mut on_item)?;
                        from = at + 1;
                    } else if self.in_items && depth == 1 {
                        self.in_items = false;
                        from = at;
                    }
                    self.is_over = depth == 0;
                }
                b',' if self.depth == 1 => self.is_items_key = false,
                _ if self.is_between_items() && !is_filler(byte) => {
                    return Err(broken("an item is no object"));
                }
                _ if self.is_over && !byte.is_ascii_whitespace() => {
                    return Err(broken("something stands behind the list"));
                }
                _ => {}
            }
        }
        let rest = &piece[from.min(piece.len())..];
        let (into, limit) = match (self.in_items, self.is_between_items()) {
            (_, true) => return Ok(()),
            (true, _) => (&mut self.item, OBJECT_BYTES_MAX),
            (false, _) => (&mut self.envelope, ENVELOPE_BYTES_MAX),
        };
        if into.len() + rest.len() > limit {
            return Err(broken("an object is too large"));
        }
        into.extend_from_slice(rest);
        Ok(())
    }

    /// What the list says of itself, once all of it has come.
    pub fn finish(self) -> Result<ListEnd, Error> {
        if !self.is_over {
            return Err(Error::Silence("the answer of the API server ends in the middle of a list"));
        }
        let envelope: Envelope =
            serde_json::from_slice(&self.envelope).map_err(|error| broken(&error.to_string()))?;
        let ListMeta { resource_version, r#continue: next_page } = envelope.metadata;
        Ok(ListEnd { resource_version, next_page })
    }

    fn is_between_items(&self) -> bool {
        self.in_items && self.depth == 2
    }

    fn hand_on(
        &mut self,
        end: &[u8],
        on_item: &mut impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.item.is_empty() {
            return on_item(end);
        }
        if self.item.len() + end.len() > OBJECT_BYTES_MAX {
            return Err(broken("an object is too large"));
        }
        self.item.extend_from_slice(end);
        let done = on_item(&self.item);
        self.item.clear();
        // One object of many MiB must not be remembered for ever.
        self.item.shrink_to(64 << 10);
        done
    }
}

fn is_filler(byte: u8) -> bool {
    byte == b',' || byte.is_ascii_whitespace()
}

fn broken(what: &str) -> Error {
    Error::Answer(what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The items and the end of a list that comes in pieces of this length.
    fn read(bytes: &[u8], length: usize) -> Result<(Vec<Value>, ListEnd), String> {
        let (mut reader, mut items) = (ListReader::new(), Vec::new());
        for piece in bytes.chunks(length) {
            let taken = reader.take(piece, |item| {
                items.push(serde_json::from_slice(item).map_err(|e| Error::Answer(e.to_string()))?);
                Ok(())
            });
            taken.map_err(|e| e.to_string())?;
        }
        Ok((items, reader.finish().map_err(|e| e.to_string())?))
    }

    #[test]
    fn items_come_one_by_one_wherever_they_are_cut() {
        let items = json!([
            {"a": "x\"]}{[\\", "b": [[{"items": [1]}]], "c": {}},
            {"items": [{"metadata": {"continue": "no"}}]},
            {"é": "ü"},
        ]);
        let meta = json!({"resourceVersion": "7", "continue": "next", "items": [1, {"x": 2}]});
        for list in [
            json!({"kind": "L", "metadata": meta, "items": items}),
            json!({"items": items, "kind": "items", "more": ["items", [1]], "metadata": meta}),
        ] {
            for text in [list.to_string(), serde_json::to_string_pretty(&list).expect("JSON") + "\n"] {
                for length in 1..=text.len() {
                    let (found, end) = read(text.as_bytes(), length).expect("sound");
                    assert_eq!(Value::from(found), items, "{length}");
                    assert_eq!((&*end.resource_version, &*end.next_page), ("7", "next"));
                }
            }
        }
        for empty in [r#"{"items":null,"metadata":null}"#, r#"{"items":[]}"#, "{}"] {
            assert_eq!(read(empty.as_bytes(), 3), Ok((vec![], ListEnd::default())));
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (text, words) in [
            (r#"{"items":[1]}"#, "no object"),
            (r#"{"items":["a"]}"#, "no object"),
            (r#"{"items":[[{}]]}"#, "no object"),
            (r#"{"items":[{}]"#, "middle"),
            (r#"{"items":[{"a":"#, "middle"),
            ("", "middle"),
            ("}", "closes nothing"),
            ("{} {}", "behind"),
            ("{}x", "behind"),
        ] {
            let error = read(text.as_bytes(), 2).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        let huge = format!(r#"{{"items":[{{"a":"{}"}}]}}"#, "x".repeat(OBJECT_BYTES_MAX));
        let refused = read(huge.as_bytes(), 1 << 20).map(|_| "taken");
        assert!(refused.expect_err("refused").contains("too large"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(text in "[\\[\\]{}\":,items\\\\ a1]{0,60}", length in 1_usize..20) {
            let ours = read(text.as_bytes(), length);
            // What serde takes as a list of objects gives the same items here.
            if let Ok(Value::Object(list)) = serde_json::from_str::<Value>(&text)
                && text.matches("items").count() < 2
                && let Some(Value::Array(items)) = list.get("items")
                && items.iter().all(Value::is_object)
            {
                prop_assert_eq!(&ours.expect("sound").0, items);
            }
        }
    }
}
