//! Requests and answers on one connection.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use parking_lot::MutexGuard;
use serde_json::{Value, json};

use crate::{Shared, State, query::Query, status, store::key};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Path and query.
    pub target: String,
    /// The header `Accept`.
    pub accept: String,
    /// The token behind `Bearer`.
    pub token: String,
}

const JSON: &str = "application/json";
/// Kinds that a test server does not write.
const UNKNOWN_TYPES: [&str; 1] = ["application/cbor"];

pub(crate) fn serve(stream: TcpStream, shared: &Shared) {
    let Ok(reading) = stream.try_clone() else { return };
    let mut lines = BufReader::new(reading).lines();
    let mut stream = stream;
    while let Some(asked) = read(&mut lines) {
        let mut state = shared.state.lock();
        state.asked.push(asked.clone());
        shared.changed.notify_all();
        if state.behaviour.is_away {
            return;
        }
        if answer(&asked, state, shared, &mut stream).is_err() {
            return;
        }
    }
}

fn read(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Option<Asked> {
    let first = lines.next()?.ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut asked = Asked { target, accept: String::new(), token: String::new() };
    loop {
        let line = lines.next()?.ok()?;
        let Some((name, value)) = line.split_once(':') else { return Some(asked) };
        match name.to_ascii_lowercase().as_str() {
            "accept" => value.trim().clone_into(&mut asked.accept),
            "authorization" => value.trim().trim_start_matches("Bearer ").clone_into(&mut asked.token),
            _ => {}
        }
    }
}

fn answer(
    asked: &Asked,
    mut state: MutexGuard<'_, State>,
    shared: &Shared,
    stream: &mut TcpStream,
) -> std::io::Result<()> {
    let query = Query::parse(&asked.target);
    let is_watch = query.as_ref().is_some_and(|query| query.is("watch"));
    if let Some(query) = &query
        && state.behaviour.is_store_frozen
        && !is_watch
        && query.get("resourceVersion") != Some("0")
    {
        // As a read of a store that does not answer: nothing comes until something changes.
        let epoch = state.epoch;
        while state.epoch == epoch {
            shared.changed.wait(&mut state);
        }
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    if state.behaviour.hangs {
        let epoch = state.epoch;
        while state.epoch == epoch {
            shared.changed.wait(&mut state);
        }
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    let refused = refusal(asked, query.as_ref(), &state);
    if let (Some(query), true, None) = (&query, is_watch, &refused) {
        return watch(query, is_partial(&asked.accept), state, shared, stream);
    }
    let wish = state.behaviour.fails_with.map(|(_, seconds)| seconds).filter(|seconds| *seconds > 0);
    let (code, kind, body) = answer_at_once(asked, &mut state);
    drop(state);
    let wish = wish.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\n{wish}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// The answer to anything but a watch.
pub(crate) fn answer_at_once(asked: &Asked, state: &mut State) -> (u16, String, String) {
    let query = Query::parse(&asked.target);
    let (code, body) = match (refusal(asked, query.as_ref(), state), &query) {
        (Some((code, body)), _) => (code, body),
        (None, None) if let Some((code, body)) = health(asked, state) => {
            return (code, "text/plain; charset=utf-8".to_owned(), body);
        }
        (None, None) if asked.target == "/version" => (200, json!({"major": "1", "gitVersion": "v1.36.0"})),
        (None, None) if let Some(Value::String(text)) = state.answers.get(&asked.target) => {
            return (200, "text/plain; version=0.0.4".to_owned(), text.clone());
        }
        (None, None) if let Some(answer) = state.answers.get(&asked.target) => (200, answer.clone()),
        (None, None) => return (404, "text/plain".to_owned(), "404 page not found\n".to_owned()),
        (None, Some(query)) => match &query.name {
            Some(name) => one(query, name, state),
            None => list(query, is_partial(&asked.accept), state),
        },
    };
    (code, JSON.to_owned(), format!("{body}\n"))
}

/// What the server says of its own health, check by check where it is asked so.
fn health(asked: &Asked, state: &State) -> Option<(u16, String)> {
    let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
    let (name, checks): (_, &[&str]) = match path {
        "/livez" => ("livez", &["ping", "log", "etcd"]),
        "/readyz" => ("readyz", &["ping", "log", "informer-sync", "shutdown"]),
        _ => return None,
    };
    let fails = |check: &&&str| state.behaviour.failing_checks.iter().any(|failing| failing == **check);
    let is_well = !checks.iter().any(|check| fails(&check));
    if is_well && !query.starts_with("verbose") {
        return Some((200, "ok".to_owned()));
    }
    let mut body = String::new();
    for check in checks {
        let line = if fails(&check) {
            format!("[-]{check} failed: reason withheld\n")
        } else {
            format!("[+]{check} ok\n")
        };
        body.push_str(&line);
    }
    body.push_str(&format!("{name} check {}\n", if is_well { "passed" } else { "failed" }));
    Some((if is_well { 200 } else { 500 }, body))
}

fn refusal(asked: &Asked, query: Option<&Query>, state: &State) -> Option<(u16, Value)> {
    let behaviour = &state.behaviour;
    if behaviour.token.as_ref().is_some_and(|token| *token != asked.token) {
        return Some((401, status(401, "Unauthorized", "Unauthorized")));
    }
    if let Some((code, _)) = behaviour.fails_with {
        return Some((code, status(code, "InternalError", "the server is not well")));
    }
    if UNKNOWN_TYPES.contains(&&*asked.accept) {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
            application/vnd.kubernetes.protobuf, application/json;stream=watch, \
            application/vnd.kubernetes.protobuf;stream=watch";
        let mut refused = status(406, "NotAcceptable", message);
        refused["details"] = json!({});
        return Some((406, refused));
    }
    let query = query?;
    let verb = if query.is("watch") { "watch" } else { "list" };
    let plural = query.plural();
    if behaviour.forbidden.iter().any(|(v, resource)| v == verb && resource == plural) {
        let place = match &query.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{plural} is forbidden: User \"system:serviceaccount:a:b\" cannot {verb} resource \"{plural}\" in API \
             group \"\" {place}"
        );
        return Some((403, status(403, "Forbidden", &message)));
    }
    if query.is("watch") && query.get("sendInitialEvents").is_some() && behaviour.knows_no_streaming {
        let message = "ListOptions.meta.k8s.io is invalid: resourceVersionMatch: Forbidden: \
            resourceVersionMatch is forbidden for watch";
        return Some((422, status(422, "Invalid", message)));
    }
    None
}

fn one(query: &Query, name: &str, state: &State) -> (u16, Value) {
    let namespace = query.namespace.as_deref().unwrap_or_default();
    match state.store.get(&query.collection, namespace, name) {
        Some(object) => (200, object.clone()),
        None => {
            let plural = query.plural();
            let mut refused = status(404, "NotFound", &format!("{plural} {name:?} not found"));
            refused["details"] = json!({"name": name, "kind": plural});
            (404, refused)
        }
    }
}

fn list(query: &Query, is_partial: bool, state: &State) -> (u16, Value) {
    let store = &state.store;
    let is_from_memory = query.get("resourceVersion") == Some("0");
    let mut start = (query.collection.clone(), String::new(), String::new());
    let mut version = store.version;
    if let Some(token) = query.get("continue") {
        let read =
            STANDARD_NO_PAD.decode(token).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let Some(token) = read else {
            let message = "invalid continue token: continue key is not valid: invalid character 'Ï' looking for \
                beginning of value";
            return (400, status(400, "BadRequest", message));
        };
        version = token["rv"].as_u64().unwrap_or_default();
        if version < store.oldest {
            let message = "The resourceVersion for the provided list is too old.";
            return (410, status(410, "Expired", message));
        }
        let after = token["start"].as_str().unwrap_or_default().trim_start_matches('/');
        let after = after.trim_end_matches('\0');
        let (namespace, name) = match &query.namespace {
            Some(namespace) => (namespace.as_str(), after),
            None => after.split_once('/').unwrap_or(("", after)),
        };
        start = (query.collection.clone(), namespace.to_owned(), format!("{name}\0"));
    }
    let wished = query.get("limit").and_then(|limit| limit.parse::<usize>().ok()).filter(|limit| *limit > 0);
    let limit = match (wished.filter(|_| !is_from_memory), state.behaviour.page_objects_max) {
        (Some(wished), Some(max)) => wished.min(max),
        (Some(wished), None) => wished,
        (None, _) => usize::MAX,
    };
    let mut all = store.all(&query.collection).filter(|object| query.selects(object));
    let all: Vec<&Value> = all.by_ref().filter(|object| key(&query.collection, object) >= start).collect();
    let mut meta = json!({"resourceVersion": version.to_string()});
    if let Some(rest) = all.len().checked_sub(limit).filter(|rest| *rest > 0) {
        let last = &all[limit - 1]["metadata"];
        let name = last["name"].as_str().unwrap_or_default();
        let start = match (&query.namespace, last["namespace"].as_str()) {
            (None, Some(namespace)) => format!("{namespace}/{name}\0"),
            _ => format!("/{name}\0"),
        };
        // In the order and with the escapes of the real token.
        let token = format!(
            "{{\"v\":\"meta.k8s.io/v1\",\"rv\":{version},\"start\":\"{}\\u0000\"}}",
            start.trim_end_matches('\0')
        );
        meta["continue"] = json!(STANDARD_NO_PAD.encode(token));
        meta["remainingItemCount"] = json!(rest);
    }
    let items: Vec<Value> = all.into_iter().take(limit).map(|object| shown(object, is_partial)).collect();
    let kind =
        if is_partial { "PartialObjectMetadataList".to_owned() } else { kind_of(query.plural()) + "List" };
    (
        200,
        json!({"kind": kind, "apiVersion": version_of(query, is_partial), "metadata": meta, "items": items}),
    )
}

/// Tells events until the watch is over.
fn watch(
    query: &Query,
    is_partial: bool,
    mut state: MutexGuard<'_, State>,
    shared: &Shared,
    stream: &mut TcpStream,
) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut told = 0;
    let mut say = |kind: &str, object: &Value| {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        // In two pieces, as a network cuts.
        let (a, b) = line.as_bytes().split_at(line.len() / 2);
        for piece in [a, b] {
            write!(stream, "{:x}\r\n", piece.len())?;
            stream.write_all(piece)?;
            stream.write_all(b"\r\n")?;
        }
        stream.flush()
    };
    let bookmark = |version: u64, annotations: Value| {
        let mut meta = json!({"resourceVersion": version.to_string()});
        if !annotations.is_null() {
            meta["annotations"] = annotations;
        }
        json!({"kind": kind_of(query.plural()), "apiVersion": version_of(query, false), "metadata": meta})
    };
    let is_streamed = query.is("sendInitialEvents");
    let mut from = query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    if is_streamed && state.behaviour.refuses_streaming {
        say("ERROR", &status(500, "InternalError", "RequestWatchProgress is disabled"))?;
    } else if is_streamed || from == 0 {
        for object in state.store.all(&query.collection).filter(|object| query.selects(object)) {
            say("ADDED", &shown(object, is_partial))?;
        }
        from = state.store.version;
        if is_streamed {
            say("BOOKMARK", &bookmark(from, json!({"k8s.io/initial-events-end": "true"})))?;
        }
    } else if from < state.store.oldest {
        let message = format!("too old resource version: {from} ({})", state.store.oldest);
        say("ERROR", &status(410, "Expired", &message))?;
    }
    let is_over = (is_streamed && state.behaviour.refuses_streaming) || from < state.store.oldest;
    let epoch = state.epoch;
    // Where in the log the watch is.
    let mut place = state.store.log.partition_point(|change| change.version <= from);
    while !is_over && state.epoch == epoch {
        if state.behaviour.watch_events_max.is_some_and(|max| told >= max) {
            break;
        }
        let Some(change) = state.store.log.get(place).cloned() else {
            let waited = shared.changed.wait_for(&mut state, Duration::from_secs(600));
            if waited.timed_out() {
                break;
            }
            continue;
        };
        place += 1;
        if change.kind == "BOOKMARK" {
            if query.is("allowWatchBookmarks") {
                say("BOOKMARK", &bookmark(change.version, Value::Null))?;
                told += 1;
            }
            continue;
        }
        if change.collection != query.collection {
            continue;
        }
        let was = change.before.as_ref().is_some_and(|before| query.selects(before));
        let is = change.kind != "DELETED" && query.selects(&change.object);
        let kind = match (was, is) {
            (false, false) => continue,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        say(kind, &shown(&change.object, is_partial))?;
        told += 1;
    }
    stream.write_all(b"0\r\n\r\n")
}

fn is_partial(accept: &str) -> bool {
    accept.contains("as=PartialObjectMetadata")
}

fn shown(object: &Value, is_partial: bool) -> Value {
    if !is_partial {
        return object.clone();
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn kind_of(plural: &str) -> String {
    let kinds = [
        ("configmaps", "ConfigMap"),
        ("endpoints", "Endpoints"),
        ("endpointslices", "EndpointSlice"),
        ("ingresses", "Ingress"),
        ("jobs", "Job"),
        ("leases", "Lease"),
        ("namespaces", "Namespace"),
        ("nodes", "Node"),
        ("pods", "Pod"),
        ("replicasets", "ReplicaSet"),
        ("services", "Service"),
    ];
    kinds.iter().find(|(known, _)| *known == plural).map_or("Unknown", |(_, kind)| kind).to_owned()
}

fn version_of(query: &Query, is_partial: bool) -> String {
    if is_partial {
        return "meta.k8s.io/v1".to_owned();
    }
    let parts: Vec<&str> = query.collection.trim_matches('/').split('/').collect();
    match *parts {
        ["api", version, _] => version.to_owned(),
        ["apis", group, version, _] => format!("{group}/{version}"),
        _ => String::new(),
    }
}
