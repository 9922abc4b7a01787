//! Pods.

use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::{
    Amounts, Condition, Meta, Object, Resource,
    lenient::{Time, parts},
    null_as_default,
    powers::Powers,
    time,
};

/// Containers that live together.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Pod {
    metadata: Meta,
    #[serde(default)]
    pub(crate) spec: PodSpec,
    #[serde(default)]
    pub(crate) status: PodStatus,
}

parts! {
    /// What is wished of a pod.
    PodSpec {
        node_name: Box<str>,
        service_account_name: Box<str>,
        host_network: bool,
        #[serde(rename = "hostPID")]
        host_pid: bool,
        #[serde(rename = "hostIPC")]
        host_ipc: bool,
        /// What all its containers are given.
        #[serde(rename = "securityContext")]
        powers: Powers,
        priority_class_name: Box<str>,
        restart_policy: Box<str>,
        runtime_class_name: Box<str>,
        scheduler_name: Box<str>,
        overhead: Amounts,
        tolerations: Box<[Toleration]>,
        volumes: Volumes,
        resource_claims: Box<[ResourceClaim]>,
        containers: Box<[Container]>,
        init_containers: Box<[Container]>,
        ephemeral_containers: Box<[Container]>,
    }

    /// How a pod is.
    PodStatus {
        phase: Box<str>,
        reason: Box<str>,
        qos_class: Box<str>,
        start_time: Time,
        #[serde(rename = "podIP")]
        pod_ip: Box<str>,
        #[serde(rename = "podIPs")]
        pod_ips: Box<[PodIp]>,
        #[serde(rename = "hostIP")]
        host_ip: Box<str>,
        conditions: Box<[Condition]>,
        container_statuses: Box<[ContainerStatus]>,
        init_container_statuses: Box<[ContainerStatus]>,
        ephemeral_container_statuses: Box<[ContainerStatus]>,
        resource_claim_statuses: Box<[ResourceClaim]>,
    }

    /// An address of a pod.
    PodIp {
        ip: Box<str>,
    }

    /// A taint that a pod bears.
    Toleration {
        key: Box<str>,
        operator: Box<str>,
        value: Box<str>,
        effect: Box<str>,
        toleration_seconds: Option<i64>,
    }

    /// A device that a pod claims.
    ResourceClaim {
        name: Box<str>,
        resource_claim_name: Box<str>,
        resource_claim_template_name: Box<str>,
    }
}

/// The volumes of a pod that are of use.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Volumes {
    /// Those that are claimed.
    pub(crate) claims: Box<[ClaimVolume]>,
    /// Those that say what the pod may do, or what it brings; hardly any pod has one.
    pub(crate) noted: Box<[NotedVolume]>,
}

/// A volume that is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotedVolume {
    /// A path of the machine.
    HostPath(Box<str>),
    /// An image.
    Image(Box<str>),
}

/// A volume of a pod that is claimed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClaimVolume {
    pub(crate) name: Box<str>,
    /// The claim; none where it is made for the pod and goes with it.
    pub(crate) claim: Option<Box<str>>,
    pub(crate) read_only: bool,
}

/// A container as it is wished.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// Its image.
    #[serde(default)]
    pub image: Box<str>,
    /// Where it listens.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ports: Box<[ContainerPort]>,
    /// What it asks for, and how much it may take.
    #[serde(default, deserialize_with = "null_as_default")]
    pub resources: Resources,
    /// Whether it starts again by itself, where that differs from its pod.
    #[serde(default, deserialize_with = "null_as_default")]
    pub restart_policy: Box<str>,
    /// What it is given beyond the usual.
    #[serde(rename = "securityContext", default, deserialize_with = "null_as_default")]
    pub(crate) powers: Powers,
}

/// What a container asks for, and how much it may take.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What it asks for.
    pub requests: Amounts,
    /// How much it may take.
    pub limits: Amounts,
}

/// Where a container listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// A name, perhaps.
    #[serde(default)]
    pub name: Box<str>,
    /// The port.
    #[serde(default)]
    pub container_port: i32,
    /// `TCP` and the like.
    #[serde(default)]
    pub protocol: Box<str>,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// Its name.
    pub name: Box<str>,
    /// Its id with the runtime before it, as `containerd://…`; empty until it runs.
    #[serde(rename = "containerID", default, deserialize_with = "null_as_default")]
    pub container_id: Box<str>,
    /// Its image, as the runtime calls it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub image: Box<str>,
    /// What tells this image from all others.
    #[serde(rename = "imageID", default, deserialize_with = "null_as_default")]
    pub image_id: Box<str>,
    /// Whether it takes work.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ready: bool,
    /// How often it has started again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub restart_count: i32,
    /// How it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub state: ContainerState,
    /// How it was before it started the last time.
    #[serde(default, deserialize_with = "null_as_default")]
    pub last_state: ContainerState,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ContainerState {
    /// That is not known.
    #[default]
    Unknown,
    /// Not yet, or not again.
    Waiting {
        /// Why, in one word.
        reason: Box<str>,
    },
    /// It runs.
    Running {
        /// Since when, in seconds since 1970.
        started: Option<i64>,
    },
    /// It ran.
    Terminated(Box<Terminated>),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// Why, in one word.
    #[serde(deserialize_with = "null_as_default")]
    pub reason: Box<str>,
    /// What it left.
    #[serde(deserialize_with = "null_as_default")]
    pub exit_code: i32,
    /// Since when it ran, in seconds since 1970.
    #[serde(rename = "startedAt", deserialize_with = "time")]
    pub started: Option<i64>,
    /// When it ended, in seconds since 1970.
    #[serde(rename = "finishedAt", deserialize_with = "time")]
    pub finished: Option<i64>,
}

impl ContainerState {
    /// How it ended, if it did.
    pub fn terminated(&self) -> Option<&Terminated> {
        if let Self::Terminated(terminated) = self { Some(terminated) } else { None }
    }
}

impl<'de> Deserialize<'de> for ContainerState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wire {
            waiting: Option<Waiting>,
            running: Option<Running>,
            terminated: Option<Box<Terminated>>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Waiting {
            #[serde(deserialize_with = "null_as_default")]
            reason: Box<str>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Running {
            #[serde(rename = "startedAt", deserialize_with = "time")]
            started: Option<i64>,
        }
        Ok(match Wire::deserialize(from)? {
            Wire { running: Some(running), .. } => Self::Running { started: running.started },
            Wire { terminated: Some(terminated), .. } => Self::Terminated(terminated),
            Wire { waiting: Some(waiting), .. } => Self::Waiting { reason: waiting.reason },
            _ => Self::Unknown,
        })
    }
}

impl<'de> Deserialize<'de> for Volumes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Volume {
            #[serde(deserialize_with = "null_as_default")]
            name: Box<str>,
            persistent_volume_claim: Option<Claim>,
            ephemeral: Option<IgnoredAny>,
            host_path: Option<HostPath>,
            image: Option<Image>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Claim {
            #[serde(deserialize_with = "null_as_default")]
            claim_name: Box<str>,
            #[serde(deserialize_with = "null_as_default")]
            read_only: bool,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct HostPath {
            #[serde(deserialize_with = "null_as_default")]
            path: Box<str>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Image {
            #[serde(deserialize_with = "null_as_default")]
            reference: Box<str>,
        }
        let (mut claims, mut noted) = (Vec::new(), Vec::new());
        for volume in Vec::<Volume>::deserialize(from)? {
            let name = volume.name;
            if let Some(Claim { claim_name, read_only }) = volume.persistent_volume_claim {
                claims.push(ClaimVolume { name, claim: Some(claim_name), read_only });
            } else if volume.ephemeral.is_some() {
                claims.push(ClaimVolume { name, claim: None, read_only: false });
            }
            noted.extend(volume.host_path.map(|host| NotedVolume::HostPath(host.path)));
            noted.extend(volume.image.map(|image| NotedVolume::Image(image.reference)));
        }
        Ok(Self { claims: claims.into_boxed_slice(), noted: noted.into_boxed_slice() })
    }
}

impl Pod {
    /// The machine that it runs on; empty until it is placed.
    pub fn node_name(&self) -> &str {
        &self.spec.node_name
    }

    /// The account that it acts as.
    pub fn service_account(&self) -> &str {
        &self.spec.service_account_name
    }

    /// Whether its addresses are those of its machine.
    pub fn is_on_host_network(&self) -> bool {
        self.spec.host_network
    }

    /// Its containers, and whether each is one of those that run before the others.
    pub fn containers(&self) -> impl Iterator<Item = (&Container, bool)> {
        let plain = self.spec.containers.iter().map(|container| (container, false));
        plain.chain(self.spec.init_containers.iter().map(|container| (container, true)))
    }

    /// All its containers: those that run before the others, and those that were put into it later, included.
    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Container> {
        self.containers().map(|(container, _)| container).chain(&self.spec.ephemeral_containers)
    }

    /// All images that it brings: those of its containers, and those that are volumes.
    pub(crate) fn images(&self) -> impl Iterator<Item = &str> {
        let mounted = self.spec.volumes.noted.iter().filter_map(|volume| match volume {
            NotedVolume::Image(reference) => Some(&**reference),
            NotedVolume::HostPath(_) => None,
        });
        self.all_containers().map(|container| &*container.image).chain(mounted)
    }

    /// Whether the API server only mirrors what a file on the machine wishes.
    pub(crate) fn is_mirror(&self) -> bool {
        self.metadata.annotations.get("kubernetes.io/config.mirror").is_some()
    }

    /// The id of a container.
    pub fn container_id(&self, name: &str, is_init: bool) -> &str {
        let status = &self.status;
        let all = if is_init { &status.init_container_statuses } else { &status.container_statuses };
        all.iter().find(|status| &*status.name == name).map_or("", |status| &status.container_id)
    }

    /// How all its containers are.
    pub fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        let PodStatus { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } =
            &self.status;
        container_statuses.iter().chain(init_container_statuses).chain(ephemeral_container_statuses)
    }

    /// Whether it runs, as `Running`.
    pub fn phase(&self) -> &str {
        &self.status.phase
    }

    /// Its first address; empty until it has one.
    pub fn ip(&self) -> &str {
        &self.status.pod_ip
    }

    /// All its addresses.
    pub fn ips(&self) -> impl Iterator<Item = &str> {
        let others = self.status.pod_ips.iter().map(|pod_ip| &*pod_ip.ip).filter(|ip| *ip != self.ip());
        std::iter::once(self.ip()).chain(others).filter(|ip| !ip.is_empty())
    }

    /// The address of its machine.
    pub fn host_ip(&self) -> &str {
        &self.status.host_ip
    }

    /// One of the things that hold of it, or do not.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| &*condition.kind == kind)
    }

    /// `true`, `false` or `unknown`.
    pub fn ready(&self) -> String {
        self.condition("Ready")
            .map_or("unknown".to_owned(), |condition| condition.status.to_ascii_lowercase())
    }
}

impl Object for Pod {
    const RESOURCE: Resource = Resource::core("pods");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
