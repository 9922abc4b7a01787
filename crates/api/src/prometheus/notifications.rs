//! `/api/v1/notifications` and `/api/v1/notifications/live`: what is wrong with the server now.
//!
//! What Prometheus tells there of itself, the parts of Vedette tell on the status board: each part
//! that fails or works in part is a notification from when it was first seen so until it works.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use vedette_model::status::Health;
use vedette_wire::{
    json::{Object, push_array},
    number::rfc3339,
    prometheus as wire,
};

use super::{give, status::blocking};
use crate::{
    answer::{Answer, Body, text},
    app::Shared,
    request::Call,
    routes::Handled,
};

/// How often a stream looks for what is new.
const LOOK: Duration = Duration::from_secs(1);
/// A reader that takes less than this many at a time is left behind.
const PIECES_MAX: usize = 64;

/// What is wrong, with the time since when.
#[derive(Default)]
pub struct Notifications(Mutex<BTreeMap<String, i64>>);

impl Notifications {
    /// What is wrong now.
    fn active(&self, shared: &Shared) -> BTreeMap<String, i64> {
        let now_ns = shared.app.clock.unix_ns();
        let mut texts = Vec::new();
        let reload = shared.app.program.last_reload();
        if !reload.succeeded {
            texts.push(format!("Configuration reload has failed: {}", reload.error));
        }
        for (name, part) in shared.app.status.all() {
            if matches!(part.health, Health::Failed | Health::Degraded) {
                texts.push(format!("{name}: {}", part.message));
            }
        }
        let mut known = self.0.lock();
        known.retain(|text, _| texts.contains(text));
        for text in texts {
            known.entry(text).or_insert(now_ns);
        }
        known.clone()
    }
}

/// Lists notifications.
pub fn list(call: Call) -> Handled {
    let list = |call: &Call| {
        let active = call.shared.notifications.active(&call.shared);
        Ok(wire::answer(|out| push_array(out, &active, |out, (text, since)| push(out, text, *since, true))))
    };
    Box::pin(async move { give(blocking(call, list).await) })
}

/// Streams notifications as they begin and end, as server-sent events; those that are there come first.
pub fn live(call: Call) -> Handled {
    Box::pin(async move { open(call) })
}

fn open(call: Call) -> Answer {
    let shared = call.shared;
    let entered = shared.metrics.live_readers.enter();
    if shared.metrics.live_readers.get() > i64::try_from(shared.config.live_readers_max).unwrap_or(i64::MAX) {
        // With this a browser does not come again by itself.
        return text(StatusCode::NO_CONTENT, "");
    }
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let stopping = shared.stopping.subscribe();
    tokio::spawn(async move {
        let _entered = entered;
        let mut shown = BTreeMap::new();
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = look.tick() => {}
                () = sender.closed() => return,
            }
            if *stopping.borrow() {
                return;
            }
            let asked = shared.clone();
            let active = tokio::task::spawn_blocking(move || asked.notifications.active(&asked)).await;
            let Ok(active) = active else { return };
            let out = difference(&shown, &active);
            shown = active;
            if !out.is_empty() && sender.send(Bytes::from(out)).await.is_err() {
                return;
            }
        }
    });
    let mut answer = Response::new(Body::Stream(receiver));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// The events that lead from what a reader knows to what is so.
fn difference(shown: &BTreeMap<String, i64>, active: &BTreeMap<String, i64>) -> Vec<u8> {
    let mut out = Vec::new();
    let ended = shown.iter().filter(|(text, _)| !active.contains_key(*text)).map(|line| (line, false));
    let begun = active.iter().filter(|(text, _)| !shown.contains_key(*text)).map(|line| (line, true));
    for ((text, since), is_active) in ended.chain(begun) {
        out.extend_from_slice(b"data: ");
        push(&mut out, text, *since, is_active);
        out.extend_from_slice(b"\n\n");
    }
    out
}

fn push(out: &mut Vec<u8>, text: &str, since_ns: i64, active: bool) {
    let mut object = Object::begin(out);
    object.text("text", text).text("date", &rfc3339(since_ns));
    object.member("active").extend_from_slice(if active { b"true" } else { b"false" });
    object.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_hears_what_begins_and_what_ends() {
        let one = BTreeMap::from([("a".to_owned(), 1_000_000_000), ("b".to_owned(), 0)]);
        let other = BTreeMap::from([("b".to_owned(), 0), ("c\n".to_owned(), 0)]);
        let text = String::from_utf8(difference(&one, &other)).expect("text");
        assert_eq!(
            text,
            "data: {\"text\":\"a\",\"date\":\"1970-01-01T00:00:01Z\",\"active\":false}\n\n\
             data: {\"text\":\"c\\n\",\"date\":\"1970-01-01T00:00:00Z\",\"active\":true}\n\n"
        );
        assert!(difference(&other, &other).is_empty());
    }
}
