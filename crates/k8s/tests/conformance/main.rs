//! Replays answers of a real API server that were recorded, through the real client.
//!
//! `VEDETTE_CONFORMANCE_DIR` is the folder; without it `../shared/conformance/k8s-recordings` beside the
//! project is read, where it is. Every file is a case, or is named with the reason why it is none:
//!
//! * a list gives the objects that a plain reading of its JSON gives, however it is cut;
//! * a refusal is told with code, reason and message;
//! * a watch leaves those objects that its events leave;
//! * what is no answer to a question of ours is refused and does no harm;
//! * the API server of our tests gives the same answers to the same questions.
//!
//! Failures are named, the last line counts.

mod replay;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use tokio::runtime::Handle;
use vedette_config::HttpClient;
use vedette_http_client::{Options, ProxyEnvironment};
use vedette_k8s::{
    Api, Connection, Error, Event, EventReader, Hub, ListReader, Timing, What,
    objects::{Meta, Object, Resource},
};
use vedette_sys::SystemClock;
use vedette_test_apiserver::ApiServer;

use replay::Replay;

/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(60);

/// Files that are no answers to an API client, and what they are for.
const OTHERS: [(&str, &str); 4] = [
    ("README.md", "it says what is here"),
    ("index.json", "it says what is here"),
    ("apiserver_metrics.prom.gz", "an exposition, which is scraped and not asked for here"),
    ("audit-1500-events.jsonl.gz", "a log of the server, which no client asks for"),
];

/// The kind of objects that were recorded.
#[derive(Debug, PartialEq, Eq, Deserialize)]
struct ConfigMap {
    metadata: Meta,
}

impl Object for ConfigMap {
    const RESOURCE: Resource = Resource {
        group: "",
        version: "v1",
        plural: "configmaps",
        is_namespaced: true,
        is_metadata_only: false,
    };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// What `index.json` says of a file.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    file: String,
    path: String,
    accept: String,
    status: u16,
}

type Outcome = Result<(), String>;

fn main() -> ExitCode {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/k8s-recordings");
    let folder = std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|d| !d.is_empty());
    let folder = folder.map_or(shared, PathBuf::from);
    let Ok(index) = std::fs::read(folder.join("index.json")) else {
        println!("{} is not there: the suite is skipped", folder.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let (passed, failed) = runtime.block_on(run(&folder, &index));
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn run(folder: &Path, index: &[u8]) -> (usize, usize) {
    let index: Value = serde_json::from_slice(index).expect("an index");
    let entries: Vec<Entry> = serde_json::from_value(index["entries"].clone()).expect("entries");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    let mut judge = |name: &str, outcome: Outcome| match outcome {
        Ok(()) => passed += 1,
        Err(why) => {
            failed += 1;
            println!("FAILED {name}: {why}");
        }
    };
    for file in &files {
        if let Some((_, why)) = OTHERS.iter().find(|(other, _)| other == file) {
            println!("no case: {file}: {why}");
            continue;
        }
        let bytes = std::fs::read(folder.join(file)).expect("a file that can be read");
        let entry = entries.iter().find(|entry| entry.file == *file);
        let outcome = match file.as_str() {
            name if name.ends_with(".jsonl") => watch(name, &bytes).await,
            _ => answer(entry, &bytes).await,
        };
        judge(file, outcome);
    }
    for entry in entries.iter().filter(|entry| !entry.file.is_empty()) {
        let is_there = |file: &String| *file == entry.file || *file == format!("{}.gz", entry.file);
        if !files.iter().any(is_there) {
            judge(&entry.file, Err("the index names it, and it is not there".to_owned()));
        }
    }
    judge("double", double(folder, &entries));
    (passed, failed)
}

/// An answer that is no watch, to a client that asked for a list.
async fn answer(entry: Option<&Entry>, bytes: &[u8]) -> Outcome {
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    // Answers that the index does not name tell their code themselves.
    let told = parsed.as_ref().filter(|body| body["kind"] == "Status").and_then(|body| body["code"].as_u64());
    let code = entry.map(|entry| entry.status).filter(|code| *code > 0);
    let code = code.or(told.and_then(|code| u16::try_from(code).ok())).unwrap_or(200);
    let replay = Replay::start(vec![(code, bytes.to_vec())]);
    let api = Api::new(connection(&replay), options());
    let path = entry.map_or("/", |entry| entry.path.as_str());
    let accept = entry.map_or("application/json", |entry| entry.accept.as_str());
    let asked = api.get(if path.is_empty() { "/" } else { path }, accept, SOON).await;
    match asked {
        Err(Error::Refused(refusal)) => {
            let body = parsed.unwrap_or_default();
            let message = body["message"].as_str().map_or_else(
                || String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().to_owned(),
                str::to_owned,
            );
            let reason = body["reason"].as_str().unwrap_or_default();
            // In one line, as it goes into logs.
            let message = message.replace(char::is_control, " ");
            let is_told = (refusal.code, &*refusal.reason, &*refusal.message) == (code, reason, &*message);
            let error = Error::Refused(refusal);
            check(is_told && error.is_expired() == (code == 410), || format!("{error:?}"))
        }
        Err(error) => Err(error.told()),
        Ok(response) => {
            let body = response.bytes().await.map_err(|error| error.to_string())?;
            check(code < 400 && *body == *bytes, || "the body is another".to_owned())?;
            list(&body, parsed.as_ref())
        }
    }
}

/// A list gives its objects; anything else gives none, or is refused.
fn list(bytes: &[u8], parsed: Option<&Value>) -> Outcome {
    let expected = parsed.and_then(|list| list["items"].as_array());
    for length in [1, 7, 64, usize::MAX] {
        let (mut reader, mut found) = (ListReader::new(), Vec::new());
        let mut taken = Ok(());
        for piece in bytes.chunks(length.min(bytes.len()).max(1)) {
            taken = taken.and_then(|()| {
                reader.take(piece, |item| {
                    let object: Value =
                        serde_json::from_slice(item).map_err(|e| Error::Answer(e.to_string()))?;
                    found.push(object);
                    Ok(())
                })
            });
        }
        let end = taken.and_then(|()| reader.finish());
        match (parsed, expected) {
            (Some(list), Some(items)) => {
                let end = end.map_err(|error| error.told())?;
                check(found == *items, || format!("cut at {length}: {} objects", found.len()))?;
                let text = |name: &str| list["metadata"][name].as_str().unwrap_or_default();
                let is_end =
                    end.resource_version == text("resourceVersion") && end.next_page == text("continue");
                check(is_end, || format!("{end:?}"))?;
                // Those that are what a client keeps are decoded into it.
                for item in items.iter().filter(|item| item["metadata"]["name"].is_string()) {
                    let object: ConfigMap =
                        serde_json::from_value(item.clone()).map_err(|error| error.to_string())?;
                    check(
                        *object.metadata.name == *item["metadata"]["name"].as_str().unwrap_or_default(),
                        || format!("{object:?}"),
                    )?;
                }
            }
            (Some(_), None) => check(found.is_empty(), || "there are no objects in it".to_owned())?,
            (None, _) => check(end.is_err(), || "it is taken for a list".to_owned())?,
        }
    }
    Ok(())
}

/// A stream of events: read in pieces of any length, and by a whole client.
async fn watch(name: &str, bytes: &[u8]) -> Outcome {
    let lines: Vec<Value> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect::<Result<_, _>>()
        .map_err(|error| error.to_string())?;
    for length in [1, 5, 100, bytes.len()] {
        let (mut reader, mut told) = (EventReader::default(), Vec::new());
        for piece in bytes.chunks(length) {
            let taken = reader.take(piece, |event: Event<ConfigMap>| {
                told.push(match event {
                    Event::Put(_) => "put",
                    Event::Remove(_) => "DELETED",
                    Event::Bookmark { .. } => "BOOKMARK",
                    Event::Refused(refusal) if refusal.code == 410 => "ERROR",
                    Event::Refused(_) => "another error",
                });
                Ok(())
            });
            taken.map_err(|error| error.told())?;
        }
        let expected: Vec<&str> = lines
            .iter()
            .map(|line| match line["type"].as_str().unwrap_or_default() {
                "ADDED" | "MODIFIED" => "put",
                other => other,
            })
            .collect();
        check(told == expected, || format!("cut at {length}: {told:?}"))?;
    }
    // By the client: the recorded stream, before it a list where the stream is none, and after it a list
    // where it says that the state is gone.
    const EMPTY: &[u8] = br#"{"metadata": {"resourceVersion": "2"}, "items": []}"#;
    const AFTER: &[u8] =
        br#"{"metadata": {"resourceVersion": "999"}, "items": [{"metadata": {"name": "after"}}]}"#;
    let refused = (422, b"{}".to_vec());
    let (answers, expected): (Vec<(u16, Vec<u8>)>, Vec<&str>) = match name {
        "watch_list_initial_events.jsonl" => {
            (vec![(200, bytes.to_vec())], vec!["cm0", "cm1", "cm2", "cm3", "cm4", "cm5", "cm6"])
        }
        "watch_410_gone.jsonl" => (
            vec![refused, (200, EMPTY.to_vec()), (200, bytes.to_vec()), (200, AFTER.to_vec())],
            vec!["after"],
        ),
        _ => (vec![refused, (200, EMPTY.to_vec()), (200, bytes.to_vec())], vec![]),
    };
    let count = answers.len();
    let replay = Replay::start(answers);
    let timing = Timing { retry_first: Duration::from_millis(1), ..Timing::default() };
    let hub = Hub::new(Handle::current(), options(), timing);
    let api = hub.cluster(connection(&replay));
    let watched = hub.watch::<ConfigMap>(&api, What::default());
    let is_done = || watched.health().state().is_whole && replay.asked().len() > count;
    for _ in 0..6000 {
        if is_done() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    check(is_done(), || format!("{:?}: {:?}", watched.health().state(), replay.asked()))?;
    let have: Vec<String> = watched.objects().iter().map(|(_, o, _)| o.metadata.name.to_string()).collect();
    check(have == expected, || format!("{have:?}"))?;
    // The next question goes on where the stream ended.
    let next = replay.asked().last().cloned().unwrap_or_default();
    let last = lines.last().and_then(|line| line["object"]["metadata"]["resourceVersion"].as_str());
    let from = format!(
        "resourceVersion={}",
        if name == "watch_410_gone.jsonl" { "999" } else { last.unwrap_or("?") }
    );
    check(next.contains(&from), || format!("{next} does not go on from {from}"))
}

/// The API server of our tests gives the answers that were recorded.
fn double(folder: &Path, entries: &[Entry]) -> Outcome {
    let read = |file: &str| -> Result<Value, String> {
        let bytes = std::fs::read(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("{file}: {error}"))
    };
    let server = ApiServer::start();
    for item in read("list_rv0.json")?["items"].as_array().into_iter().flatten() {
        server.put_recorded("/api/v1/configmaps", item.clone());
    }
    let mut compared = 0;
    for file in [
        "list_rv0.json",
        "list_page1.json",
        "list_page2.json",
        "list_badcontinue.json",
        "list_selector.json",
        "list_partial.json",
        "list_cbor.bin",
        "err404.json",
    ] {
        let Some(entry) = entries.iter().find(|entry| entry.file == file) else { continue };
        let (code, _, body) = server.answer(&entry.path, &entry.accept);
        let ours: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let same = code == entry.status && ours == read(file)?;
        check(same, || format!("{file}: the answer of the double is {code} {ours}"))?;
        compared += 1;
    }
    server.compact();
    let page2 = entries.iter().find(|entry| entry.file == "list_page2.json").map(|entry| entry.path.as_str());
    let (code, _, body) = server.answer(page2.unwrap_or_default(), "application/json");
    let ours: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    check(code == 410 && ours == read("list_410_expired.json")?, || format!("410: {code} {ours}"))?;
    server.behave(|behaviour| behaviour.token = Some("t".to_owned()));
    let (code, _, body) = server.answer("/api/v1/pods", "application/json");
    let ours: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    check(code == 401 && ours == read("err401.json")?, || format!("401: {code} {ours}"))?;
    check(compared == 8, || format!("only {compared} answers are compared"))
}

fn connection(replay: &Replay) -> Connection {
    Connection::to(replay.url().parse().expect("a URL"), HttpClient::default())
}

fn options() -> Options {
    Options {
        user_agent: "Vedette/test".into(),
        unix_socket: None,
        proxy_environment: ProxyEnvironment::default(),
        clock: Arc::new(SystemClock),
    }
}

fn check(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds { Ok(()) } else { Err(why()) }
}
