//! Pods.

use serde::{Deserialize, Deserializer};

use super::{Condition, Meta, Object, Resource, null_as_default};

/// Containers that live together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pod {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: Box<str>,
    #[serde(default)]
    service_account_name: Box<str>,
    #[serde(default)]
    host_network: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    containers: Box<[Container]>,
    #[serde(default, deserialize_with = "null_as_default")]
    init_containers: Box<[Container]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    phase: Box<str>,
    #[serde(rename = "podIP", default)]
    pod_ip: Box<str>,
    #[serde(rename = "podIPs", default, deserialize_with = "null_as_default")]
    pod_ips: Box<[PodIp]>,
    #[serde(rename = "hostIP", default)]
    host_ip: Box<str>,
    #[serde(default, deserialize_with = "null_as_default")]
    conditions: Box<[Condition]>,
    #[serde(default, deserialize_with = "null_as_default")]
    container_statuses: Box<[ContainerStatus]>,
    #[serde(default, deserialize_with = "null_as_default")]
    init_container_statuses: Box<[ContainerStatus]>,
    #[serde(default, deserialize_with = "null_as_default")]
    ephemeral_container_statuses: Box<[ContainerStatus]>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct PodIp {
    #[serde(default)]
    ip: Box<str>,
}

/// A container as it is wished.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Container {
    /// Its name.
    pub name: Box<str>,
    /// Its image.
    #[serde(default)]
    pub image: Box<str>,
    /// Where it listens.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ports: Box<[ContainerPort]>,
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
    #[serde(rename = "containerID", default)]
    pub container_id: Box<str>,
    /// How often it has started again.
    #[serde(default, deserialize_with = "null_as_default")]
    pub restart_count: i32,
    /// How it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub state: ContainerState,
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ContainerState {
    /// That is not known, or is not looked at.
    #[default]
    Unknown,
    /// Not yet, or not again.
    Waiting {
        /// Why, in one word.
        reason: Box<str>,
    },
}

impl<'de> Deserialize<'de> for ContainerState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wire {
            waiting: Option<Waiting>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Waiting {
            #[serde(deserialize_with = "null_as_default")]
            reason: Box<str>,
        }
        Ok(match Wire::deserialize(from)?.waiting {
            Some(Waiting { reason }) => Self::Waiting { reason },
            None => Self::Unknown,
        })
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

    /// The id of a container.
    pub fn container_id(&self, name: &str, is_init: bool) -> &str {
        let status = &self.status;
        let all = if is_init { &status.init_container_statuses } else { &status.container_statuses };
        all.iter().find(|status| &*status.name == name).map_or("", |status| &status.container_id)
    }

    /// How all its containers are.
    pub fn statuses(&self) -> impl Iterator<Item = &ContainerStatus> {
        let Status { container_statuses, init_container_statuses, ephemeral_container_statuses, .. } =
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

    /// `true`, `false` or `unknown`.
    pub fn ready(&self) -> String {
        let found = self.status.conditions.iter().find(|condition| &*condition.kind == "Ready");
        found.map_or("unknown".to_owned(), |condition| condition.status.to_ascii_lowercase())
    }
}

impl Object for Pod {
    const RESOURCE: Resource = Resource::core("pods");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
