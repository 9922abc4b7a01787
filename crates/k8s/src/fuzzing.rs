//! Doors for the fuzz targets to how lists and watches are cut into objects and to what is kept of pods, and good
//! beginnings. Built only with `--cfg fuzzing` and for tests, which try each beginning and some changes of it.

use serde_json::{Value, json};

pub use crate::identity::history::fuzzing::{record as pod_record, records as pod_records};

use crate::{Error, Event, EventReader, ListEnd, ListReader, objects::Pod};

/// A list behind the size of the pieces in which it arrives. Pieces make no difference, and what all of JSON takes
/// for a list of objects has the same items here.
pub fn list(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else { return };
    let read = items(text, usize::from(*size));
    assert_eq!(read, items(text, text.len()));
    let (items, _) = read;
    assert!(items.iter().map(Vec::len).sum::<usize>() <= text.len());
    for item in &items {
        assert!(item.starts_with(b"{"), "an item is no object");
        // Whether it is one is found out by whoever decodes it.
        let _ = serde_json::from_slice::<Pod>(item);
    }
    // A key may be written with escapes, or stand twice; no API server does so.
    let is_plain = !text.contains(&b'\\') && text.windows(5).filter(|five| five == b"items").count() < 2;
    if let (true, Ok(Value::Object(list))) = (is_plain, serde_json::from_slice::<Value>(text))
        && let Some(Value::Array(expected)) = list.get("items")
        && expected.iter().all(Value::is_object)
    {
        let found: Result<Vec<Value>, _> = items.iter().map(|item| serde_json::from_slice(item)).collect();
        assert_eq!(&found.expect("they are JSON"), expected);
    }
}

/// The items, and how the list ends or why it is none.
fn items(text: &[u8], size: usize) -> (Vec<Vec<u8>>, Result<ListEnd, String>) {
    let (mut reader, mut items) = (ListReader::new(), Vec::new());
    for piece in text.chunks(size.max(1)) {
        let taken = reader.take(piece, |item| {
            items.push(item.to_vec());
            Ok(())
        });
        if let Err(error) = taken {
            return (items, Err(error.told()));
        }
    }
    let end = reader.finish().map_err(|error| error.told());
    (items, end)
}

/// Lists of two pages, and of nothing.
pub fn lists() -> Vec<Vec<u8>> {
    let meta = json!({"resourceVersion": "7", "continue": "next", "remainingItemCount": 1});
    let pod = json!({"metadata": {"name": "a", "namespace": "b", "labels": {"c": "]}\"{["}},
        "spec": {"containers": [{"name": "d", "resources": {"requests": {"cpu": "1m"}}}]},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.0.0.1"}]}});
    let first =
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": [pod, {"metadata": null}]});
    let last = json!({"items": [pod], "kind": "PodList", "metadata": {"resourceVersion": "7"}});
    let texts = [first.to_string(), last.to_string(), r#"{"items":null,"metadata":null}"#.to_owned()];
    texts.map(|text| [b"\x07", text.as_bytes()].concat()).into()
}

/// The events of a watch, behind the size of the pieces in which they arrive. Pieces make no difference.
pub fn events(bytes: &[u8]) {
    let Some((size, text)) = bytes.split_first() else { return };
    let read = told::<Value>(text, usize::from(*size));
    assert_eq!(read, told::<Value>(text, text.len()));
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(read.0.len() < lines, "{} events of {lines} lines", read.0.len());
    assert_eq!(told::<Pod>(text, usize::from(*size)), told::<Pod>(text, text.len()));
}

fn told<O: serde::de::DeserializeOwned>(text: &[u8], size: usize) -> (Vec<Event<O>>, Option<String>) {
    let (mut reader, mut events) = (EventReader::default(), Vec::new());
    for piece in text.chunks(size.max(1)) {
        let taken: Result<(), Error> = reader.take(piece, |event| {
            events.push(event);
            Ok(())
        });
        if let Err(error) = taken {
            return (events, Some(error.told()));
        }
    }
    (events, None)
}

/// A watch with all kinds of events, which is cut off in the middle.
pub fn watches() -> Vec<Vec<u8>> {
    let pod = json!({"metadata": {"name": "a", "namespace": "b"}});
    let mark =
        json!({"metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}});
    let refusal = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "m",
        "details": {"retryAfterSeconds": 3}});
    let line = |kind: &str, object: &Value| format!("{}\n", json!({"type": kind, "object": object}));
    let whole = [
        line("ADDED", &pod),
        line("MODIFIED", &pod),
        line("DELETED", &pod),
        "\n".to_owned(),
        line("BOOKMARK", &mark),
        line("ERROR", &refusal),
        "{\"type\":\"ADDED\",\"obj".to_owned(),
    ]
    .concat();
    vec![[b"\x05", whole.as_bytes()].concat()]
}

#[cfg(test)]
mod tests {
    use vedette_sys::Random;

    use super::*;

    /// Tries it as it is and with changes: bytes, and marks that mean something.
    fn try_with_changes(seed: &[u8], run: fn(&[u8])) {
        const MARKS: &[u8] = b"{}[]\",:\\\n \0";
        run(seed);
        let mut random = Random::new(5);
        let mut below = |n: usize| usize::try_from(random.below(n as u64)).expect("small");
        for _ in 0..2000 {
            let mut changed = seed.to_vec();
            for _ in 0..=below(3) {
                let at = below(changed.len());
                match below(4) {
                    0 => changed[at] = MARKS[below(MARKS.len())],
                    1 => drop(changed.remove(at)),
                    2 => changed.insert(at, MARKS[below(MARKS.len())]),
                    _ => changed[at] = below(256) as u8,
                }
            }
            run(&changed);
        }
    }

    #[test]
    fn lists_are_cut_the_same_whatever_they_are() {
        for seed in lists() {
            assert!(items(&seed[1..], 7).1.is_ok(), "a beginning is a list");
            try_with_changes(&seed, list);
        }
    }

    #[test]
    fn watches_are_cut_the_same_whatever_they_are() {
        for seed in watches() {
            let (events, end) = told::<Pod>(&seed[1..], 5);
            assert_eq!((events.len(), end), (5, None), "a beginning is a watch");
            try_with_changes(&seed, self::events);
        }
    }
}
