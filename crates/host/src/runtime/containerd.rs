//! containerd's own API: it knows containers that no kubelet made, and the first process of each.

use std::collections::HashMap;

use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::{
    CONTAINERS_MAX, Event, RuntimeContainer, RuntimeUpdate,
    cri::{CONTAINER_NAME, POD_NAME, POD_NAMESPACE, POD_UID, SANDBOX_NAME},
    describe,
    grpc::Client,
    let_through,
};

/// Tells a pod's network holder from its containers.
const KIND: &str = "io.cri-containerd.kind";
/// The name that nerdctl gives.
const NERDCTL_NAME: &str = "nerdctl/name";
/// More namespaces than this are not asked for.
const NAMESPACES_MAX: usize = 64;

/// Field numbers are those of `containerd.services.*.v1`.
pub(super) mod message {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Version {
        #[prost(string, tag = "1")]
        pub(crate) version: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Namespaces {
        #[prost(message, repeated, tag = "1")]
        pub(crate) namespaces: Vec<Namespace>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Namespace {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Containers {
        #[prost(message, repeated, tag = "1")]
        pub(crate) containers: Vec<Container>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Container {
        #[prost(string, tag = "1")]
        pub(crate) id: String,
        #[prost(map = "string, string", tag = "2")]
        pub(crate) labels: HashMap<String, String>,
        #[prost(string, tag = "3")]
        pub(crate) image: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Tasks {
        #[prost(message, repeated, tag = "1")]
        pub(crate) tasks: Vec<Task>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Task {
        #[prost(string, tag = "1")]
        pub(crate) container_id: String,
        #[prost(string, tag = "2")]
        pub(crate) id: String,
        #[prost(uint32, tag = "3")]
        pub(crate) pid: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Envelope {
        #[prost(string, tag = "3")]
        pub(crate) topic: String,
        #[prost(message, optional, tag = "4")]
        pub(crate) event: Option<Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Any {
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TaskExit {
        #[prost(string, tag = "1")]
        pub(crate) container_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TaskOom {
        #[prost(string, tag = "1")]
        pub(crate) container_id: String,
    }
}

/// Listens for events and passes on those that mean something, for as long as anybody wants
/// them. The answer's head comes with the first event, which may be long in coming, so nobody
/// else should wait for this. Ends with the reason, and never where the runtime has no events.
pub(super) async fn listen(mut client: Client, tell: mpsc::Sender<Event>) -> String {
    let stream = client.stream("/containerd.services.events.v1.Events/Subscribe").await;
    let mut stream: Streaming<message::Envelope> = match stream {
        Ok(stream) => stream,
        Err(status) if status.code() == Code::Unimplemented => std::future::pending().await,
        Err(status) => return describe(&status),
    };
    loop {
        match stream.message().await {
            Ok(Some(envelope)) => match meaning(&envelope) {
                Event::Other => {}
                event => {
                    if tell.send(event).await.is_err() {
                        return "nobody listens".to_owned();
                    }
                }
            },
            Ok(None) => return "it closed the stream of events".to_owned(),
            // Not all say so in the head of their answer.
            Err(status) if status.code() == Code::Unimplemented => std::future::pending().await,
            Err(status) => return describe(&status),
        }
    }
}

fn meaning(envelope: &message::Envelope) -> Event {
    match envelope.topic.as_str() {
        "/tasks/oom" => {
            let value = envelope.event.as_ref().map(|e| e.value.as_slice()).unwrap_or_default();
            match <message::TaskOom as prost::Message>::decode(value) {
                Ok(oom) => Event::Oom(oom.container_id),
                Err(_) => Event::Other,
            }
        }
        "/tasks/exit" => {
            let value = envelope.event.as_ref().map(|e| e.value.as_slice()).unwrap_or_default();
            match <message::TaskExit as prost::Message>::decode(value) {
                Ok(exit) => Event::Exit(exit.container_id),
                Err(_) => Event::Changed,
            }
        }
        "/tasks/start" | "/containers/create" | "/containers/update" | "/namespaces/create" => Event::Changed,
        _ => Event::Other,
    }
}

/// Asks for the containers of all namespaces.
pub(super) async fn list(client: &mut Client, labels: &[String]) -> Result<(String, RuntimeUpdate), Status> {
    let version: message::Version =
        client.unary("/containerd.services.version.v1.Version/Version", None).await?;
    let spaces: message::Namespaces =
        client.unary("/containerd.services.namespaces.v1.Namespaces/List", None).await?;
    let mut update = RuntimeUpdate::default();
    for space in spaces.namespaces.into_iter().take(NAMESPACES_MAX) {
        let name = Some(space.name.as_str());
        let containers: message::Containers =
            client.unary("/containerd.services.containers.v1.Containers/List", name).await?;
        let tasks: message::Tasks = client.unary("/containerd.services.tasks.v1.Tasks/List", name).await?;
        update.containers.extend(join(containers, tasks, labels));
        update.namespaces.push(space.name);
    }
    Ok((format!("containerd {}", version.version), update))
}

/// Gives each container its first process.
pub(super) fn join(
    containers: message::Containers,
    tasks: message::Tasks,
    labels: &[String],
) -> Vec<RuntimeContainer> {
    let pids: HashMap<String, u32> = tasks
        .tasks
        .into_iter()
        .take(CONTAINERS_MAX)
        .map(|t| (if t.id.is_empty() { t.container_id } else { t.id }, t.pid))
        .collect();
    let container = |mut c: message::Container| {
        let through = let_through(&c.labels, labels);
        let mut label = |name| c.labels.remove(name).unwrap_or_default();
        let sandbox = label(KIND) == "sandbox";
        let pod_container = label(CONTAINER_NAME);
        let (pod, name) = (label(POD_NAME), label(NERDCTL_NAME));
        RuntimeContainer {
            runtime: "containerd".to_owned(),
            namespace: label(POD_NAMESPACE),
            pod_uid: label(POD_UID),
            pod_container: if sandbox { SANDBOX_NAME.to_owned() } else { pod_container },
            pod,
            name,
            sandbox,
            image: c.image,
            labels: through,
            pid: pids.get(&c.id).copied().filter(|pid| *pid != 0),
            id: c.id,
            ..RuntimeContainer::default()
        }
    };
    // One without a task does not run.
    containers.containers.into_iter().take(CONTAINERS_MAX).map(container).collect()
}
