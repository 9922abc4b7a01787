//! Docker's interface, which Podman speaks too, with one of its own beside it that tells of pods.
//!
//! Docker lists no processes: each container is looked at by itself, again only when its process is
//! another. Sizes of writable layers are asked for only where the engine keeps them in a way that our
//! own count does not know, as it counts them without rest.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use http_body_util::BodyExt;
use serde::{Deserialize, Deserializer};
use tokio::sync::mpsc;
use vedette_sys::{Clock, MonotonicTime, SystemClock};

use super::{
    Asker, CONTAINERS_MAX, Event, RuntimeContainer, RuntimeUpdate,
    cri::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID, SANDBOX_NAME},
    http::{Connection, is_plain},
    let_through,
};
use crate::{container::Layer, file::Buffer};

/// Tells a pod's network holder from its containers, where Kubernetes works with Docker.
const KIND: &str = "io.kubernetes.docker.type";
/// Events of containers alone.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D";
/// Longer events are not believed: they carry all labels of a container.
const EVENT_BYTES_MAX: usize = 1 << 20;
/// Containers that are looked at by themselves at once; the others come with the next question.
const INSPECTED_MAX: usize = 500;
/// A container of which the engine did not tell in time is asked for again after so long: the others are
/// told without it.
const STUCK_REST: Duration = Duration::from_secs(600);
/// Sizes are asked for again after so many times as long as the answer took.
const SIZES_REST_FACTOR: u32 = 20;
/// The version of Podman's own interface where it does not say which it speaks.
const LIBPOD_VERSION: &str = "4.0.0";

/// The documents, as far as they are needed. What is `null` is taken for absent, as both write it.
pub(super) mod message {
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Version {
        #[serde(deserialize_with = "or_default")]
        pub(crate) version: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) components: Vec<Component>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Component {
        #[serde(deserialize_with = "or_default")]
        pub(crate) name: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) details: Details,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(crate) struct Details {
        #[serde(rename = "APIVersion", deserialize_with = "or_default")]
        pub(crate) api_version: String,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Info {
        #[serde(deserialize_with = "or_default")]
        pub(crate) driver: String,
    }

    /// One of a list: Docker's and Podman's differ in that the latter tells of pods and processes.
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Container {
        #[serde(deserialize_with = "or_default")]
        pub(crate) id: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) names: Vec<String>,
        #[serde(deserialize_with = "or_default")]
        pub(crate) image: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) labels: HashMap<String, String>,
        /// Below zero where the driver cannot tell.
        pub(crate) size_rw: Option<i64>,
        pub(crate) pid: Option<i64>,
        #[serde(deserialize_with = "or_default")]
        pub(crate) pod: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) pod_name: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) is_infra: bool,
        pub(crate) size: Option<Size>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    pub(crate) struct Size {
        pub(crate) rw_size: Option<i64>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Inspected {
        #[serde(deserialize_with = "or_default")]
        pub(crate) state: State,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct State {
        pub(crate) pid: i64,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, rename_all = "PascalCase")]
    pub(crate) struct Told {
        #[serde(deserialize_with = "or_default")]
        pub(crate) action: String,
        #[serde(deserialize_with = "or_default")]
        pub(crate) actor: Actor,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    pub(crate) struct Actor {
        #[serde(rename = "ID", deserialize_with = "or_default")]
        pub(crate) id: String,
    }

    fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or_default())
    }
}

/// One engine, and what is known of it.
pub(super) struct Engine {
    socket: PathBuf,
    asker: Asker,
    runtime: &'static str,
    version: String,
    /// What stands before the paths of Podman's own interface.
    libpod: Option<String>,
    /// It keeps writable layers in a way that only it knows.
    counts_layers: bool,
    /// First processes with their cgroups, by container.
    processes: HashMap<String, (u32, String)>,
    /// Containers for which no answer came, and when they were asked for.
    stuck: HashMap<String, MonotonicTime>,
    sizes_due: Option<MonotonicTime>,
}

impl Engine {
    /// Finds out who answers.
    pub(super) async fn open(socket: &Path, asker: &Asker) -> Result<Self, String> {
        let mut connection = Connection::open(socket, asker.timeout).await?;
        let version: message::Version = connection.get("/version").await.map_err(|f| f.reason)?;
        let info: message::Info = connection.get("/info").await.map_err(|f| f.reason)?;
        let podman = version.components.iter().find(|c| c.name.starts_with("Podman"));
        let libpod = podman.map(|engine| {
            let said = &engine.details.api_version;
            format!("/v{}/libpod", if is_plain(said) { said } else { LIBPOD_VERSION })
        });
        Ok(Self {
            socket: socket.to_owned(),
            asker: asker.clone(),
            runtime: if libpod.is_some() { "podman" } else { "docker" },
            version: super::bounded(&version.version),
            libpod,
            counts_layers: !info.driver.is_empty() && !info.driver.contains("overlay"),
            processes: HashMap::new(),
            stuck: HashMap::new(),
            sizes_due: None,
        })
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn version(&self) -> String {
        format!("{} {}", self.runtime, self.version)
    }

    /// Asks for the containers that run.
    pub(super) async fn list(&mut self) -> Result<RuntimeUpdate, String> {
        let mut connection = Connection::open(&self.socket, self.asker.timeout).await?;
        let listed: Vec<message::Container> =
            connection.get(&self.path("/containers/json")).await.map_err(|f| f.reason)?;
        let mut containers = join(self.runtime, listed, &self.asker.labels);
        self.find_processes(&mut connection, &mut containers).await?;
        Ok(RuntimeUpdate { containers, namespaces: Vec::new() })
    }

    /// Gives each container its first process and the cgroup of that.
    async fn find_processes(
        &mut self,
        connection: &mut Connection,
        containers: &mut [RuntimeContainer],
    ) -> Result<(), String> {
        let mut buffer = Buffer::new();
        let mut before = std::mem::take(&mut self.processes);
        let mut inspected = 0;
        // All together, so that slow answers do not add up.
        let begin = SystemClock.monotonic();
        let timeout = self.asker.timeout;
        let in_time = || SystemClock.monotonic().since(begin) < timeout;
        self.stuck.retain(|id, asked| {
            begin.since(*asked) < STUCK_REST && containers.iter().any(|container| container.id == *id)
        });
        for container in containers {
            let mut cgroup_of = |pid| super::cgroup_of(&self.asker, pid, &container.id, &mut buffer);
            let known = before.remove(&container.id);
            let known = known.filter(|(pid, cgroup)| cgroup_of(*pid).as_ref() == Some(cgroup));
            let found = match (known, container.pid) {
                (_, Some(pid)) => cgroup_of(pid).map(|cgroup| (pid, cgroup)),
                (Some(known), None) => Some(known),
                (None, None)
                    if inspected < INSPECTED_MAX && in_time() && !self.stuck.contains_key(&container.id) =>
                {
                    inspected += 1;
                    let path = format!("/containers/{}/json", container.id);
                    match connection.get::<message::Inspected>(&path).await {
                        Ok(inspected) => first_process(inspected.state.pid)
                            .and_then(|pid| cgroup_of(pid).map(|cgroup| (pid, cgroup))),
                        // It has gone since it was listed.
                        Err(failure) if failure.status.is_some() => None,
                        Err(_) => {
                            self.stuck.insert(container.id.clone(), SystemClock.monotonic());
                            *connection = Connection::open(&self.socket, timeout).await?;
                            None
                        }
                    }
                }
                (None, None) => None,
            };
            container.pid = found.as_ref().map(|(pid, _)| *pid);
            container.cgroup = found.as_ref().map(|(_, cgroup)| cgroup.clone());
            if let Some(found) = found {
                self.processes.insert(container.id.clone(), found);
            }
        }
        Ok(())
    }

    /// Asks for the sizes of writable layers, where they are wanted and due.
    pub(super) async fn layers(&mut self, interval: Duration) -> Option<HashMap<String, Layer>> {
        let begin = SystemClock.monotonic();
        if !self.counts_layers || self.sizes_due.is_some_and(|due| begin < due) {
            return None;
        }
        let mut connection = Connection::open(&self.socket, self.asker.timeout).await.ok()?;
        let listed = connection.get(&self.path("/containers/json?size=true")).await;
        let end = SystemClock.monotonic();
        let rest = interval.max(end.since(begin) * SIZES_REST_FACTOR);
        let rest_ns = u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX);
        self.sizes_due = Some(MonotonicTime(end.0.saturating_add(rest_ns)));
        Some(layers_of(listed.ok()?, end))
    }

    fn path(&self, path: &str) -> String {
        format!("{}{path}", self.libpod.as_deref().unwrap_or_default())
    }
}

/// Listens for events and passes on those that mean something, for as long as anybody wants
/// them. Ends with the reason.
pub(super) async fn listen(socket: PathBuf, timeout: Duration, tell: mpsc::Sender<Event>) -> String {
    let body = match Connection::open(&socket, timeout).await {
        // The connection is kept for as long as its answer is read.
        Ok(mut connection) => connection.stream(EVENTS).await.map(|body| (connection, body)),
        Err(reason) => return reason,
    };
    let (_connection, mut body) = match body {
        Ok(both) => both,
        Err(failure) => return failure.reason,
    };
    let mut waiting = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = match frame {
            Ok(frame) => frame.into_data().unwrap_or_default(),
            Err(error) => return super::grpc::innermost(&error),
        };
        waiting.extend_from_slice(&data);
        while let Some(end) = waiting.iter().position(|&b| b == b'\n') {
            let event = meaning(&waiting[..end]);
            waiting.drain(..=end);
            if event != Event::Other && tell.send(event).await.is_err() {
                return "nobody listens".to_owned();
            }
        }
        if waiting.len() > EVENT_BYTES_MAX {
            return format!("an event of it is longer than {EVENT_BYTES_MAX} bytes");
        }
    }
    "it closed the stream of events".to_owned()
}

pub(super) fn meaning(line: &[u8]) -> Event {
    let Ok(message::Told { action, actor: message::Actor { id } }) = serde_json::from_slice(line) else {
        return Event::Other;
    };
    match action.as_str() {
        "oom" => Event::Oom(id),
        "die" | "died" => Event::Exit(id),
        "start" | "restart" | "rename" | "update" => Event::Changed,
        _ => Event::Other,
    }
}

/// Takes a list of either interface.
pub(super) fn join(
    runtime: &str,
    listed: Vec<message::Container>,
    labels: &[String],
) -> Vec<RuntimeContainer> {
    let container = |mut c: message::Container| {
        let through = let_through(&c.labels, labels);
        let mut label = |name| c.labels.remove(name).unwrap_or_default();
        let own_pod = !c.pod_name.is_empty();
        let sandbox = c.is_infra || label(KIND) == "podsandbox";
        // A container has further names where others are linked to it: `/other/alias`.
        let name = c.names.iter().map(|n| n.trim_start_matches('/')).find(|n| !n.contains('/'));
        let name = super::bounded(name.unwrap_or_default());
        let in_pod = label(CONTAINER_NAME);
        let pod_container = match (sandbox, in_pod.is_empty() && own_pod) {
            (true, _) => SANDBOX_NAME.to_owned(),
            (false, true) => name.clone(),
            (false, false) => in_pod,
        };
        RuntimeContainer {
            runtime: runtime.to_owned(),
            pod: if own_pod { c.pod_name } else { label(POD_NAME) },
            namespace: label(POD_NAMESPACE),
            pod_uid: if own_pod { c.pod } else { label(POD_UID) },
            pod_container,
            name,
            sandbox,
            image: super::bounded(&c.image),
            labels: through,
            pid: c.pid.and_then(first_process),
            id: c.id,
            ..RuntimeContainer::default()
        }
    };
    listed.into_iter().take(CONTAINERS_MAX).filter(|c| is_plain(&c.id)).map(container).collect()
}

/// Sizes of layers by container id, out of a list that has them.
pub(super) fn layers_of(listed: Vec<message::Container>, now: MonotonicTime) -> HashMap<String, Layer> {
    let layer = |c: message::Container| {
        let bytes = u64::try_from(c.size_rw.or(c.size.and_then(|size| size.rw_size))?).ok()?;
        Some((c.id, Layer { bytes, inodes: None, at: now }))
    };
    listed.into_iter().take(CONTAINERS_MAX).filter_map(layer).collect()
}

fn first_process(pid: i64) -> Option<u32> {
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}
