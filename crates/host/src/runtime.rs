//! What container runtimes tell of their containers: names, images, pods, first processes.
//!
//! Each socket has a task that connects, asks, listens for events and asks again. It is never
//! waited for: what it finds out it sends, and every answer has a deadline. A runtime that goes
//! away takes nothing with it; what it said last stays true of the containers that still run.

mod containerd;
mod cri;
mod grpc;

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

use crate::{file::read_once, parse};

/// How often a runtime is asked although nothing happened.
const ASK_INTERVAL: Duration = Duration::from_secs(30);
/// How long to wait before asking a runtime again that is not there or did not answer.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Shortest time between two questions, so that a burst of containers costs a few and not hundreds.
const QUIET_INTERVAL: Duration = Duration::from_millis(100);
/// Events that wait to be taken.
const EVENTS_MAX: usize = 256;
/// A namespace or a runtime with more containers than this is not believed.
pub(crate) const CONTAINERS_MAX: usize = 50_000;

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
    OomKill { container_id: String },
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

/// Asks one runtime for as long as the task lives.
pub(crate) async fn ask_on(
    socket: PathBuf,
    proc_root: PathBuf,
    timeout: Duration,
    poke: Arc<Notify>,
    tell: mpsc::Sender<Told>,
) {
    loop {
        let state = if std::fs::exists(&socket).unwrap_or(false) {
            match session(&socket, &proc_root, timeout, &poke, &tell).await {
                Ok(never) => match never {},
                Err(reason) => SocketState::Fails(reason),
            }
        } else {
            SocketState::Absent
        };
        if tell.send(Told::State { socket: socket.clone(), state }).await.is_err() {
            return;
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

enum Never {}

/// Connects and asks until something fails.
async fn session(
    socket: &Path,
    proc_root: &Path,
    timeout: Duration,
    poke: &Notify,
    tell: &mpsc::Sender<Told>,
) -> Result<Never, String> {
    let mut client = grpc::Client::connect(socket, timeout).await?;
    let (heard, mut events) = mpsc::channel(EVENTS_MAX);
    // Ends with this session, as the set is dropped with it.
    let mut listening = JoinSet::new();
    listening.spawn(containerd::listen(client.clone(), heard));
    let stopped = |_| "the reader has stopped".to_owned();
    loop {
        let (version, update) = ask(&mut client, proc_root).await?;
        let state = SocketState::Answers(version);
        tell.send(Told::State { socket: socket.to_owned(), state }).await.map_err(stopped)?;
        tell.send(Told::Update { socket: socket.to_owned(), update }).await.map_err(stopped)?;
        let again = tokio::time::sleep(ASK_INTERVAL);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                () = poke.notified() => break,
                Some(event) = events.recv() => match event {
                    containerd::Event::Oom(container_id) => {
                        tell.send(Told::OomKill { container_id }).await.map_err(stopped)?;
                    }
                    containerd::Event::Changed => break,
                    containerd::Event::Other => {}
                },
                Some(ended) = listening.join_next() => {
                    return Err(ended.unwrap_or_else(|e| format!("listening for events failed: {e}")));
                }
            }
        }
        // What happens in this time is in the answer too.
        tokio::time::sleep(QUIET_INTERVAL).await;
    }
}

/// Asks for everything, in both languages; a runtime need not speak both.
async fn ask(client: &mut grpc::Client, proc_root: &Path) -> Result<(String, RuntimeUpdate), String> {
    let own = containerd::list(client).await;
    let cri = cri::list(client).await;
    let ((version, mut update), cri) = match (own, cri) {
        (Ok((version, update)), cri) => ((version, update), cri.ok()),
        (Err(own), Ok(cri)) if own.code() == Code::Unimplemented => {
            ((cri.version.clone(), RuntimeUpdate::default()), Some(cri))
        }
        (Err(own), _) => return Err(describe(&own)),
    };
    if let Some(cri) = cri {
        merge(&mut update.containers, cri.containers);
    }
    let mut buffer = crate::file::Buffer::new();
    for container in &mut update.containers {
        let Some(pid) = container.pid else { continue };
        let path = proc_root.join(pid.to_string()).join("cgroup");
        let text = read_once(&path, &mut buffer).unwrap_or_default();
        container.cgroup = parse::cgroup_path(text).map(str::to_owned);
    }
    Ok((version, update))
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
        known.attempt = told.attempt;
        known.sandbox |= told.sandbox;
    }
}

fn describe(status: &tonic::Status) -> String {
    format!("{}: {}", status.code().description(), status.message())
}

#[cfg(test)]
mod tests;
