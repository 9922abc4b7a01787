//! A watch as it comes from the network: one event a line.

use std::borrow::Cow;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{Error, Refusal, list::OBJECT_BYTES_MAX, objects::null_as_default};

/// One event.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<O> {
    /// The object is there, new or changed.
    Put(O),
    /// It is gone; this is how it was.
    Remove(O),
    /// All up to this state was told.
    Bookmark {
        /// The state.
        resource_version: Box<str>,
        /// Whether the objects that were there at the beginning are all told now.
        ends_list: bool,
    },
    /// The watch ends, and why.
    Refused(Refusal),
}

/// Puts lines together from the pieces that come.
#[derive(Debug, Default)]
pub struct EventReader {
    rest: Vec<u8>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: Box<str>,
    #[serde(default, deserialize_with = "null_as_default")]
    annotations: Marks,
}

#[derive(Default, Deserialize)]
struct Marks {
    #[serde(rename = "k8s.io/initial-events-end", default)]
    ends_list: Box<str>,
}

impl EventReader {
    /// Takes the next piece and hands on each event that is whole.
    pub fn take<O: DeserializeOwned>(
        &mut self,
        piece: &[u8],
        mut on_event: impl FnMut(Event<O>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut lines = piece.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let Some(mut line) = lines.next() else { return self.keep(first) };
        if self.rest.is_empty() {
            hand_on(first, &mut on_event)?;
        } else {
            self.keep(first)?;
            let whole = std::mem::take(&mut self.rest);
            hand_on(&whole, &mut on_event)?;
        }
        for next in lines {
            hand_on(line, &mut on_event)?;
            line = next;
        }
        self.keep(line)
    }

    fn keep(&mut self, more: &[u8]) -> Result<(), Error> {
        if self.rest.len() + more.len() > OBJECT_BYTES_MAX {
            return Err(Error::Answer("an event is too large".to_owned()));
        }
        self.rest.extend_from_slice(more);
        Ok(())
    }
}

fn hand_on<O: DeserializeOwned>(
    line: &[u8],
    on_event: &mut impl FnMut(Event<O>) -> Result<(), Error>,
) -> Result<(), Error> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let event = decode(line).map_err(|error| Error::Answer(format!("an event: {error}")))?;
    match event {
        Some(event) => on_event(event),
        None => Err(Error::Answer("an event is of an unknown type".to_owned())),
    }
}

fn decode<O: DeserializeOwned>(line: &[u8]) -> Result<Option<Event<O>>, serde_json::Error> {
    let Line { kind, object } = serde_json::from_slice(line)?;
    let object = object.get();
    Ok(Some(match &*kind {
        "ADDED" | "MODIFIED" => Event::Put(serde_json::from_str(object)?),
        "DELETED" => Event::Remove(serde_json::from_str(object)?),
        "BOOKMARK" => {
            let Bookmark { metadata } = serde_json::from_str(object)?;
            let BookmarkMeta { resource_version, annotations } = metadata;
            Event::Bookmark { resource_version, ends_list: &*annotations.ends_list == "true" }
        }
        "ERROR" => Event::Refused(Refusal::of_event(object.as_bytes())?),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(bytes: &[u8], length: usize) -> Result<Vec<Event<Value>>, String> {
        let (mut reader, mut events) = (EventReader::default(), Vec::new());
        for piece in bytes.chunks(length) {
            let taken = reader.take(piece, |event| {
                events.push(event);
                Ok(())
            });
            taken.map_err(|error| error.told())?;
        }
        Ok(events)
    }

    #[test]
    fn events_come_whole_wherever_they_are_cut() {
        let text = concat!(
            r#"{"type":"ADDED","object":{"a":1}}"#,
            "\n\n",
            r#"{"object":{"a":2},"type":"DELETED"}"#,
            "\n",
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","#,
            r#""annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","code":429,"details":{"retryAfterSeconds":3}}}"#,
            "\n",
            r#"{"type":"ADDED","obj"#,
        );
        let refusal =
            Refusal { code: 429, retry_after: Some(std::time::Duration::from_secs(3)), ..Refusal::default() };
        let expected = [
            Event::Put(json!({"a": 1})),
            Event::Remove(json!({"a": 2})),
            Event::Bookmark { resource_version: "9".into(), ends_list: true },
            Event::Refused(refusal),
        ];
        for length in 1..=text.len() {
            assert_eq!(read(text.as_bytes(), length).expect("sound"), expected, "{length}");
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in
            ["x\n", "{}\n", "{\"type\":\"NEW\",\"object\":{}}\n", "{\"type\":\"BOOKMARK\",\"object\":1}\n"]
        {
            assert!(read(text.as_bytes(), 5).is_err(), "{text}");
        }
        assert!(read(&vec![b'x'; OBJECT_BYTES_MAX + 1], 1 << 20).expect_err("long").contains("too large"));
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..80), length in 1_usize..9) {
            let _ = read(&bytes, length);
        }
    }
}
