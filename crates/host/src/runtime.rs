//! What container runtimes tell of their containers: names, images, pods, first processes.
//!
//! Each socket has a task that connects, asks, listens for events and asks again. It is never
//! waited for: what it finds out it sends, and every answer has a deadline. A runtime that goes
//! away takes nothing with it; what it said last stays true of the containers that still run.

mod containerd;
mod cri;
mod crio;
mod engine;
mod grpc;
mod http;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tonic::Code;
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use crate::{
    config::fits_any,
    container::{Layer, hex_id},
    file::{Buffer, read_once},
    parse,
};

/// Time between two questions for the sizes of writable layers.
const LAYERS_INTERVAL: Duration = Duration::from_secs(45);
/// Shortest time between two questions, so that a burst of containers costs a few and not hundreds.
const QUIET_INTERVAL: Duration = Duration::from_millis(100);
/// After an answer it rests so many times as long as that took.
const REST_FACTOR: u32 = 10;
/// Events that wait to be taken.
const EVENTS_MAX: usize = 256;
/// A namespace or a runtime with more containers than this is not believed.
pub(crate) const CONTAINERS_MAX: usize = 50_000;
/// Labels and variables of one container that are let through, and characters of each.
pub(crate) const LABELS_MAX: usize = 32;
const LABEL_CHARS_MAX: usize = 512;

/// A container as its runtime tells of it. What it does not tell is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RuntimeContainer {
    pub(crate) runtime: String,
    pub(crate) id: String,
    /// The runtime's own name where it has one beside the id.
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) pod: String,
    pub(crate) namespace: String,
    pub(crate) pod_container: String,
    pub(crate) pod_uid: String,
    /// How often the pod's container was made before.
    pub(crate) attempt: Option<u32>,
    /// It only holds the pod's network.
    pub(crate) sandbox: bool,
    pub(crate) pid: Option<u32>,
    /// Labels that the configuration lets through, under the names that their series have.
    pub(crate) labels: Vec<(String, String)>,
    /// The cgroup of its first process.
    pub(crate) cgroup: Option<String>,
}

/// All that one runtime tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RuntimeUpdate {
    pub(crate) containers: Vec<RuntimeContainer>,
    /// Namespaces of containerd, below which it makes cgroups by default.
    pub(crate) namespaces: Vec<String>,
}

/// What a task finds out.
#[derive(Debug)]
pub(crate) enum Told {
    /// All of its containers.
    Update { socket: PathBuf, update: RuntimeUpdate },
    /// The kernel killed a process of this container for want of memory.
    OomKill { socket: PathBuf, container_id: String },
    /// A process of this container ended, perhaps the last one.
    Exit { container_id: String },
    /// What it has counted of writable layers, by container id.
    Layers(HashMap<String, Layer>),
    /// How it stands with the socket.
    State { socket: PathBuf, state: SocketState },
}

/// How it stands with a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketState {
    /// Nobody has made it: this runtime is not on this machine, or not yet.
    Absent,
    /// It answers, with a name and version.
    Answers(String),
    /// It is there, but does not answer.
    Fails(String),
}

/// What an event means to us.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// Containers came, changed or went: ask.
    Changed,
    /// The kernel killed a process of this container for want of memory.
    Oom(String),
    /// A process of this container ended.
    Exit(String),
    /// Nothing.
    Other,
}

/// How runtimes are asked.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) proc_root: PathBuf,
    pub(crate) timeout: Duration,
    /// How often a runtime is asked although nothing happened.
    pub(crate) interval: Duration,
    /// How long to wait before asking a runtime again that is not there or did not answer.
    pub(crate) retry: Duration,
    /// Patterns of the labels that are let through.
    pub(crate) labels: Arc<[String]>,
}

/// Asks one runtime for as long as the task lives.
pub(crate) async fn ask_on(socket: PathBuf, asker: Asker, poke: Arc<Notify>, tell: mpsc::Sender<Told>) {
    loop {
        let state = if std::fs::exists(&socket).unwrap_or(false) {
            match session(&socket, &asker, &poke, &tell).await {
                Ok(never) => match never {},
                Err(reason) => SocketState::Fails(reason),
            }
        } else {
            SocketState::Absent
        };
        if tell.send(Told::State { socket: socket.clone(), state }).await.is_err() {
            return;
        }
        tokio::time::sleep(asker.retry).await;
    }
}

enum Never {}

/// Connects and asks until something fails.
async fn session(
    socket: &Path,
    asker: &Asker,
    poke: &Notify,
    tell: &mpsc::Sender<Told>,
) -> Result<Never, String> {
    let (mut peer, first) = Peer::open(socket, asker).await?;
    let mut first = Some(first);
    let mut layers_asked: Option<MonotonicTime> = None;
    let (heard, mut events) = mpsc::channel(EVENTS_MAX);
    // Ends with this session, as the set is dropped with it.
    let mut listening = JoinSet::new();
    peer.listen(&mut listening, asker, heard);
    let stopped = |_| "the reader has stopped".to_owned();
    loop {
        let begin = SystemClock.monotonic();
        let (version, update) = match first.take() {
            Some(answer) => answer,
            None => peer.ask(asker).await?,
        };
        let took = SystemClock.monotonic().since(begin);
        let state = SocketState::Answers(version);
        tell.send(Told::State { socket: socket.to_owned(), state }).await.map_err(stopped)?;
        tell.send(Told::Update { socket: socket.to_owned(), update }).await.map_err(stopped)?;
        let now = SystemClock.monotonic();
        if layers_asked.is_none_or(|last| now.since(last) >= LAYERS_INTERVAL) {
            layers_asked = Some(now);
            // A runtime that has no such counts leaves them to us.
            if let Some(layers) = peer.layers().await {
                tell.send(Told::Layers(layers)).await.map_err(stopped)?;
            }
        }
        let again = tokio::time::sleep(asker.interval);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                () = poke.notified() => break,
                Some(event) = events.recv() => match event {
                    Event::Oom(container_id) => {
                        let socket = socket.to_owned();
                        tell.send(Told::OomKill { socket, container_id }).await.map_err(stopped)?;
                    }
                    Event::Exit(container_id) => {
                        tell.send(Told::Exit { container_id }).await.map_err(stopped)?;
                        break;
                    }
                    Event::Changed => break,
                    Event::Other => {}
                },
                Some(ended) = listening.join_next() => {
                    return Err(ended.unwrap_or_else(|e| format!("listening for events failed: {e}")));
                }
            }
        }
        // What happens in this time is in the answer too. Where much is there, asking is not to be all that
        // is done.
        tokio::time::sleep(QUIET_INTERVAL.max(took * REST_FACTOR)).await;
    }
}

/// A version, and all that the runtime tells.
type Answer = (String, RuntimeUpdate);

/// Who is at the other end of a socket, by the language that it speaks.
enum Peer {
    /// containerd, CRI-O and all else that speaks CRI.
    Grpc { socket: PathBuf, timeout: Duration, client: Box<grpc::Client>, crio: crio::Infos },
    /// Docker and Podman.
    Engine(engine::Engine),
}

impl Peer {
    /// Finds out what is spoken, by a first question in each language: the likelier first.
    async fn open(socket: &Path, asker: &Asker) -> Result<(Self, Answer), String> {
        let name = socket.to_string_lossy();
        let (grpc, http) = if name.contains("docker.sock") || name.contains("podman") {
            let http = match Self::open_engine(socket, asker).await {
                Ok(opened) => return Ok(opened),
                Err(reason) => reason,
            };
            (Self::open_grpc(socket, asker).await, Err(http))
        } else {
            let grpc = match Self::open_grpc(socket, asker).await {
                Ok(opened) => return Ok(opened),
                Err(reason) => reason,
            };
            (Err(grpc), Self::open_engine(socket, asker).await)
        };
        match (grpc, http) {
            (Ok(opened), _) | (_, Ok(opened)) => Ok(opened),
            (Err(grpc), Err(http)) => Err(format!("by gRPC {grpc}; by HTTP {http}")),
        }
    }

    async fn open_grpc(socket: &Path, asker: &Asker) -> Result<(Self, Answer), String> {
        let client = Box::new(grpc::Client::connect(socket, asker.timeout).await?);
        let (socket, timeout) = (socket.to_owned(), asker.timeout);
        let mut peer = Self::Grpc { socket, timeout, client, crio: crio::Infos::default() };
        let answer = peer.ask(asker).await?;
        Ok((peer, answer))
    }

    async fn open_engine(socket: &Path, asker: &Asker) -> Result<(Self, Answer), String> {
        let mut peer = Self::Engine(engine::Engine::open(socket, asker).await?);
        let answer = peer.ask(asker).await?;
        Ok((peer, answer))
    }

    /// Asks for everything.
    async fn ask(&mut self, asker: &Asker) -> Result<Answer, String> {
        match self {
            Self::Grpc { socket, timeout, client, crio } => {
                let (version, mut update) = ask(client, asker).await?;
                let of_crio = |c: &RuntimeContainer| c.runtime == crio::RUNTIME_NAME;
                if update.containers.first().is_some_and(of_crio) {
                    crio.add(socket, *timeout, &mut update.containers).await;
                }
                find_cgroups(&mut update, asker);
                Ok((version, update))
            }
            Self::Engine(engine) => {
                let update = engine.list().await?;
                Ok((engine.version(), update))
            }
        }
    }

    /// What the runtime has counted of writable layers, if it does.
    async fn layers(&mut self) -> Option<HashMap<String, Layer>> {
        match self {
            Self::Grpc { client, .. } => cri::layers(client, &SystemClock).await.ok(),
            Self::Engine(engine) => engine.layers(LAYERS_INTERVAL).await,
        }
    }

    /// Begins to listen for events.
    fn listen(&self, tasks: &mut JoinSet<String>, asker: &Asker, tell: mpsc::Sender<Event>) {
        match self {
            Self::Grpc { client, .. } => tasks.spawn(containerd::listen(grpc::Client::clone(client), tell)),
            Self::Engine(engine) => {
                tasks.spawn(engine::listen(engine.socket().to_owned(), asker.timeout, tell))
            }
        };
    }
}

/// Asks in both languages of gRPC; a runtime need not speak both.
async fn ask(client: &mut grpc::Client, asker: &Asker) -> Result<Answer, String> {
    let own = match containerd::list(client, &asker.labels).await {
        Ok(own) => Some(own),
        Err(status) if status.code() == Code::Unimplemented => None,
        Err(status) => return Err(describe(&status)),
    };
    let cri = cri::list(client, &asker.labels).await;
    match (own, cri) {
        (Some((version, mut update)), cri) => {
            if let Ok(cri) = cri {
                merge(&mut update.containers, cri.containers);
            }
            Ok((version, update))
        }
        (None, Ok(cri)) => {
            let update = RuntimeUpdate { containers: cri.containers, ..RuntimeUpdate::default() };
            Ok((cri.version, update))
        }
        (None, Err(status)) => Err(describe(&status)),
    }
}

/// Finds the cgroups of first processes.
fn find_cgroups(update: &mut RuntimeUpdate, asker: &Asker) {
    let mut buffer = Buffer::new();
    for container in &mut update.containers {
        let Some(pid) = container.pid else { continue };
        container.cgroup = cgroup_of(asker, pid, &container.id, &mut buffer);
        if container.cgroup.is_none() && hex_id(&container.id).is_some() {
            container.pid = None;
        }
    }
}

/// The cgroup of a container's first process. A runtime may tell of a process that has ended, whose
/// number another one has by now: where the container's id names its cgroup, it must be that one.
fn cgroup_of(asker: &Asker, pid: u32, id: &str, buffer: &mut Buffer) -> Option<String> {
    let path = asker.proc_root.join(pid.to_string()).join("cgroup");
    let cgroup = parse::cgroup_path(read_once(&path, buffer).ok()?)?;
    (hex_id(id).is_none() || cgroup.contains(id)).then(|| cgroup.to_owned())
}

/// Adds what CRI knows to what containerd's own API told. CRI knows pods and attempts better.
fn merge(own: &mut Vec<RuntimeContainer>, cri: Vec<RuntimeContainer>) {
    let places: HashMap<String, usize> = own.iter().enumerate().map(|(i, c)| (c.id.clone(), i)).collect();
    for told in cri {
        let Some(&i) = places.get(&told.id) else {
            own.push(told);
            continue;
        };
        let known = &mut own[i];
        let fill = |to: &mut String, from: String| {
            if !from.is_empty() {
                *to = from;
            }
        };
        fill(&mut known.pod, told.pod);
        fill(&mut known.namespace, told.namespace);
        fill(&mut known.pod_container, told.pod_container);
        fill(&mut known.pod_uid, told.pod_uid);
        // CRI may tell an image by its digest only, where containerd knows its name.
        if known.image.is_empty() {
            known.image = told.image;
        }
        if !told.labels.is_empty() {
            known.labels = told.labels;
        }
        known.attempt = told.attempt;
        known.sandbox |= told.sandbox;
    }
}

/// Labels of a container that fit the patterns, under the names that their series have.
fn let_through(labels: &HashMap<String, String>, patterns: &[String]) -> Vec<(String, String)> {
    let mut through: Vec<(String, String)> = labels
        .iter()
        .filter(|(name, _)| fits_any(patterns, name))
        .map(|(name, value)| (series_label("container_label_", name), bounded(value)))
        .collect();
    through.sort_unstable();
    through.dedup_by(|a, b| a.0 == b.0);
    through.truncate(LABELS_MAX);
    through
}

/// The name of a series' label: what cannot stand in one becomes an underscore.
pub(crate) fn series_label(prefix: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    prefix.chars().chain(name.chars().take(LABEL_CHARS_MAX).map(plain)).collect()
}

/// The beginning of a text that is too long for a label.
pub(crate) fn bounded(text: &str) -> String {
    text.chars().take(LABEL_CHARS_MAX).collect()
}

fn describe(status: &tonic::Status) -> String {
    format!("{}: {}", status.code().description(), status.message())
}

#[cfg(test)]
mod tests;
