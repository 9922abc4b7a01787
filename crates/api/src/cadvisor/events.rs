//! Starts, ends and OOM kills of containers, as cAdvisor tells of them: those that are stored, or with
//! `stream=true` those that come, a JSON document a line.

use std::time::Duration;

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use vedette_eventdb::{Received, Search};
use vedette_model::{Event, EventKind, Fact};
use vedette_wire::number::rfc3339;

use super::{flag, is_within, path};
use crate::{
    answer::{Answer, Body, own},
    own::{Problem, events::unreadable},
    request::Call,
    routes::Handled,
    time::parse_time_ms,
};

/// Events of one answer, where nobody says and at most.
const EVENTS: usize = 10;
const EVENTS_MAX: usize = 1000;
/// How many stored events are looked through for those of one container.
const LOOKED_THROUGH: usize = 10_000;
const PIECES_MAX: usize = 64;
const LOOK: Duration = Duration::from_millis(250);

/// What is asked for.
struct Wanted {
    path: String,
    inside: bool,
    kinds: Vec<EventKind>,
    range_ns: (i64, i64),
    max: usize,
}

/// Version 1.3.
pub fn events(call: Call) -> Handled {
    Box::pin(async move { answer(call).await.unwrap_or_else(Answer::from) })
}

/// Version 2.1: the same.
pub fn events_2(call: Call) -> Handled {
    events(call)
}

async fn answer(call: Call) -> Result<Answer, Problem> {
    let wanted = read(&call)?;
    if flag(&call, "stream")? {
        return stream(&call, wanted);
    }
    let shared = call.shared.clone();
    let run = move |_: &_| {
        let search = Search {
            range_ns: wanted.range_ns,
            kinds: wanted.kinds.clone(),
            limit: LOOKED_THROUGH,
            ..Search::default()
        };
        let found = shared.events().search(&search).map_err(|e| unreadable(&e))?;
        let mut told: Vec<Value> =
            found.events.iter().filter(|event| wanted.fits(event)).take(wanted.max).map(document).collect();
        // Found newest first, told oldest first.
        told.reverse();
        Ok::<_, Problem>(Value::from(told))
    };
    Ok(own(&call.shared.gate.run(&call.client, None, run).await??))
}

/// Reads the parameters. As in cAdvisor, no kind is told unless it is asked for.
fn read(call: &Call) -> Result<Wanted, Problem> {
    let all = flag(call, "all_events")?;
    let mut kinds = Vec::new();
    for (name, kind) in [
        ("oom_kill_events", EventKind::OomKill),
        ("oom_events", EventKind::OomKill),
        ("creation_events", EventKind::ContainerStart),
        ("deletion_events", EventKind::ContainerStop),
    ] {
        if (flag(call, name)? || all) && !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    if kinds.is_empty() {
        return Err(Problem(
            StatusCode::BAD_REQUEST,
            "no kind of event is asked for".to_owned(),
            "Add all_events=true, or creation_events, deletion_events, oom_events, oom_kill_events.",
        ));
    }
    let time = |name: &'static str, otherwise: i64| match call.params.given(name) {
        None => Ok(otherwise),
        Some(text) => parse_time_ms(text)
            .map(|ms| ms.saturating_mul(1_000_000))
            .map_err(|_| Problem::bad(name, text, "Give a time as RFC 3339 has it.")),
    };
    let max = match call.params.given("max_events") {
        None => EVENTS,
        Some(text) => match text.parse::<usize>() {
            Ok(max @ 1..=EVENTS_MAX) => max,
            _ => return Err(Problem::bad("max_events", text, "Give a number from 1 to 1000.")),
        },
    };
    let range_ns = (time("start_time", i64::MIN)?, time("end_time", i64::MAX)?);
    let path = path(call);
    let inside = flag(call, "subcontainers")? || path == "/";
    Ok(Wanted { path, inside, kinds, range_ns, max })
}

impl Wanted {
    fn fits(&self, event: &Event) -> bool {
        let Some(container) = &event.container else { return false };
        let is_it =
            container.cgroup == self.path || (self.inside && is_within(&container.cgroup, &self.path));
        is_it && kind(&event.fact).is_some_and(|kind| self.kinds.contains(&kind))
    }
}

fn kind(fact: &Fact) -> Option<EventKind> {
    match fact {
        Fact::OomKill { .. } => Some(EventKind::OomKill),
        Fact::ContainerStart => Some(EventKind::ContainerStart),
        Fact::ContainerStop => Some(EventKind::ContainerStop),
        _ => None,
    }
}

fn document(event: &Event) -> Value {
    let name = event.container.as_ref().map_or("", |container| container.cgroup.as_str());
    let (kind, data) = match &event.fact {
        Fact::OomKill { .. } => {
            let process = event.process.as_ref();
            let pid = process.map_or(0, |process| process.key.pid);
            (
                "oomKill",
                json!({ "oom": { "pid": pid, "process_name": process.map_or("", |p| p.name.as_str()) } }),
            )
        }
        Fact::ContainerStart => ("containerCreation", json!({})),
        _ => ("containerDeletion", json!({})),
    };
    json!({
        "container_name": name, "timestamp": rfc3339(event.time_ns), "event_type": kind, "event_data": data,
    })
}

fn stream(call: &Call, wanted: Wanted) -> Result<Answer, Problem> {
    let shared = call.shared.clone();
    let entered = shared.metrics.live_readers.enter();
    let max = shared.config.live_readers_max;
    if shared.metrics.live_readers.get() > i64::try_from(max).unwrap_or(i64::MAX) {
        return Err(Problem(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{max} readers watch live events already"),
            "Close some of them.",
        ));
    }
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let subscription = shared.events().subscribe();
    // The store hands events over on a thread that waits. It ends within `LOOK` of its reader.
    tokio::task::spawn_blocking(move || {
        let stopping = shared.stopping.subscribe();
        while !sender.is_closed() && !*stopping.borrow() {
            match subscription.recv_timeout(LOOK) {
                Received::Event(event) if wanted.fits(&event) => {
                    let line = format!("{}\n", document(&event));
                    if sender.blocking_send(Bytes::from(line)).is_err() {
                        break;
                    }
                }
                Received::Event(_) | Received::Timeout => {}
                Received::Closed => break,
            }
            shared.metrics.live_lost.add(subscription.take_missed());
        }
        drop(entered);
    });
    let mut answer = Response::new(Body::Stream(receiver));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
