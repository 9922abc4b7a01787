//! The container runtime interface of Kubernetes: pods, their containers, how often these were
//! made anew.

use std::{collections::HashMap, time::Duration};

use tonic::Status;
use vedette_sys::{Clock, MonotonicTime};

use super::{CONTAINERS_MAX, RuntimeContainer, grpc::Client, let_through};
use crate::container::Layer;

/// Labels that the kubelet puts on what it makes.
pub(super) const POD_NAME: &str = "io.kubernetes.pod.name";
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(super) const POD_UID: &str = "io.kubernetes.pod.uid";
pub(super) const CONTAINER_NAME: &str = "io.kubernetes.container.name";
/// What the container that holds a pod's network is called, as the kubelet's metrics do.
pub(super) const SANDBOX_NAME: &str = "POD";

/// Field numbers are those of `runtime.v1`.
pub(super) mod message {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Version {
        #[prost(string, tag = "2")]
        pub(crate) runtime_name: String,
        #[prost(string, tag = "3")]
        pub(crate) runtime_version: String,
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
        #[prost(string, tag = "2")]
        pub(crate) pod_sandbox_id: String,
        #[prost(message, optional, tag = "3")]
        pub(crate) metadata: Option<ContainerMetadata>,
        #[prost(message, optional, tag = "4")]
        pub(crate) image: Option<Image>,
        #[prost(map = "string, string", tag = "8")]
        pub(crate) labels: HashMap<String, String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ContainerMetadata {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(uint32, tag = "2")]
        pub(crate) attempt: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Image {
        #[prost(string, tag = "1")]
        pub(crate) image: String,
        #[prost(string, tag = "18")]
        pub(crate) user_specified_image: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sandboxes {
        #[prost(message, repeated, tag = "1")]
        pub(crate) items: Vec<Sandbox>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Sandbox {
        #[prost(string, tag = "1")]
        pub(crate) id: String,
        #[prost(message, optional, tag = "2")]
        pub(crate) metadata: Option<SandboxMetadata>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct StatsList {
        #[prost(message, repeated, tag = "1")]
        pub(crate) stats: Vec<ContainerStats>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ContainerStats {
        #[prost(message, optional, tag = "1")]
        pub(crate) attributes: Option<Attributes>,
        #[prost(message, optional, tag = "4")]
        pub(crate) writable_layer: Option<FilesystemUsage>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Attributes {
        #[prost(string, tag = "1")]
        pub(crate) id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct FilesystemUsage {
        #[prost(int64, tag = "1")]
        pub(crate) timestamp: i64,
        #[prost(message, optional, tag = "3")]
        pub(crate) used_bytes: Option<Number>,
        #[prost(message, optional, tag = "4")]
        pub(crate) inodes_used: Option<Number>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Number {
        #[prost(uint64, tag = "1")]
        pub(crate) value: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct SandboxMetadata {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) uid: String,
        #[prost(string, tag = "3")]
        pub(crate) namespace: String,
    }
}

/// What the runtime tells by this interface.
pub(super) struct Cri {
    pub(super) version: String,
    pub(super) containers: Vec<RuntimeContainer>,
}

/// Asks for all pods and containers.
pub(super) async fn list(client: &mut Client, labels: &[String]) -> Result<Cri, Status> {
    let version: message::Version = client.unary("/runtime.v1.RuntimeService/Version", None).await?;
    let sandboxes = client.unary("/runtime.v1.RuntimeService/ListPodSandbox", None).await?;
    let containers = client.unary("/runtime.v1.RuntimeService/ListContainers", None).await?;
    let containers = join(&version.runtime_name, sandboxes, containers, labels);
    Ok(Cri { version: format!("{} {}", version.runtime_name, version.runtime_version), containers })
}

/// Asks for what the runtime has counted of writable layers: it does so by itself from time to time.
pub(super) async fn layers(client: &mut Client, clock: &dyn Clock) -> Result<HashMap<String, Layer>, Status> {
    let stats = client.unary("/runtime.v1.RuntimeService/ListContainerStats", None).await?;
    Ok(layers_of(stats, clock.unix_ns(), clock.monotonic()))
}

/// Sizes of layers by container id. Those that were never counted, which have no time, are left out.
pub(super) fn layers_of(
    stats: message::StatsList,
    now_ns: i64,
    now: MonotonicTime,
) -> HashMap<String, Layer> {
    let layer = |stats: message::ContainerStats| {
        let (id, layer) = (stats.attributes?.id, stats.writable_layer?);
        let age = Duration::from_nanos(now_ns.saturating_sub(layer.timestamp).max(0).unsigned_abs());
        let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let counted = layer.timestamp > 0;
        let told = Layer {
            bytes: layer.used_bytes?.value,
            inodes: layer.inodes_used.map(|n| n.value),
            at: MonotonicTime(now.0.saturating_sub(age_ns)),
        };
        counted.then_some((id, told))
    };
    stats.stats.into_iter().take(CONTAINERS_MAX).filter_map(layer).collect()
}

/// Gives each container the name of its pod.
pub(super) fn join(
    runtime: &str,
    sandboxes: message::Sandboxes,
    containers: message::Containers,
    labels: &[String],
) -> Vec<RuntimeContainer> {
    let pods: HashMap<String, message::SandboxMetadata> = sandboxes
        .items
        .into_iter()
        .take(CONTAINERS_MAX)
        .map(|s| (s.id, s.metadata.unwrap_or_default()))
        .collect();
    let mut out: Vec<RuntimeContainer> = containers
        .containers
        .into_iter()
        .take(CONTAINERS_MAX)
        .map(|mut c| {
            let pod = pods.get(&c.pod_sandbox_id).cloned().unwrap_or_default();
            let metadata = c.metadata.unwrap_or_default();
            let image = c.image.unwrap_or_default();
            let through = let_through(&c.labels, labels);
            let mut label = |name, other: String| {
                if other.is_empty() { c.labels.remove(name).unwrap_or_default() } else { other }
            };
            RuntimeContainer {
                runtime: runtime.to_owned(),
                pod: label(POD_NAME, pod.name),
                namespace: label(POD_NAMESPACE, pod.namespace),
                pod_uid: label(POD_UID, pod.uid),
                pod_container: label(CONTAINER_NAME, metadata.name),
                attempt: Some(metadata.attempt),
                labels: through,
                image: if image.user_specified_image.is_empty() {
                    image.image
                } else {
                    image.user_specified_image
                },
                id: c.id,
                ..RuntimeContainer::default()
            }
        })
        .collect();
    out.extend(pods.into_iter().map(|(id, pod)| RuntimeContainer {
        runtime: runtime.to_owned(),
        id,
        pod: pod.name,
        namespace: pod.namespace,
        pod_uid: pod.uid,
        pod_container: SANDBOX_NAME.to_owned(),
        sandbox: true,
        ..RuntimeContainer::default()
    }));
    out
}
