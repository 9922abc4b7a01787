//! Nodes and namespaces.

use serde::Deserialize;

use super::{Amounts, Meta, Object, Resource, images::ImageNames, lenient::parts, null_as_default, time};

/// A machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Node {
    metadata: Meta,
    #[serde(default)]
    pub(crate) spec: NodeSpec,
    #[serde(default)]
    pub(crate) status: NodeStatus,
}

parts! {
    /// What is wished of a machine.
    NodeSpec {
        #[serde(rename = "providerID")]
        provider_id: Box<str>,
        unschedulable: bool,
        #[serde(rename = "podCIDR")]
        pod_cidr: Box<str>,
        #[serde(rename = "podCIDRs")]
        pod_cidrs: Box<[Box<str>]>,
        taints: Box<[Taint]>,
    }

    /// How a machine is.
    NodeStatus {
        addresses: Box<[NodeAddress]>,
        conditions: Box<[Condition]>,
        daemon_endpoints: DaemonEndpoints,
        capacity: Amounts,
        allocatable: Amounts,
        node_info: NodeInfo,
        images: ImageNames,
    }

    /// Where the programs of a machine listen.
    DaemonEndpoints {
        kubelet_endpoint: DaemonEndpoint,
    }

    /// Where a program listens.
    DaemonEndpoint {
        #[serde(rename = "Port")]
        port: i32,
    }

    /// What keeps pods away.
    Taint {
        key: Box<str>,
        value: Box<str>,
        effect: Box<str>,
    }

    /// What a machine runs.
    NodeInfo {
        architecture: Box<str>,
        kernel_version: Box<str>,
        operating_system: Box<str>,
        os_image: Box<str>,
        container_runtime_version: Box<str>,
        kubelet_version: Box<str>,
        #[serde(rename = "systemUUID")]
        system_uuid: Box<str>,
    }

    /// How a namespace is.
    NamespaceStatus {
        phase: Box<str>,
        conditions: Box<[Condition]>,
    }
}

/// A way to a machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NodeAddress {
    /// Which, as `InternalIP`.
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// The address.
    pub address: Box<str>,
}

/// Something that holds of an object, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// What, as `Ready`.
    #[serde(rename = "type", default, deserialize_with = "null_as_default")]
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: Box<str>,
    /// Why, in one word.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reason: Box<str>,
    /// Since when, in seconds since 1970.
    #[serde(rename = "lastTransitionTime", default, deserialize_with = "time")]
    pub last_transition: Option<i64>,
}

/// A space for names. All its annotations are kept, as targets may have them as labels.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Namespace {
    metadata: Meta,
    #[serde(default, deserialize_with = "null_as_default")]
    pub(crate) status: NamespaceStatus,
}

impl Node {
    /// How the cloud calls it.
    pub fn provider_id(&self) -> &str {
        &self.spec.provider_id
    }

    /// The ways to it.
    pub fn addresses(&self) -> &[NodeAddress] {
        &self.status.addresses
    }

    /// What holds of it.
    pub fn conditions(&self) -> &[Condition] {
        &self.status.conditions
    }

    /// Which digests name the images that it has.
    pub(crate) fn images(&self) -> &ImageNames {
        &self.status.images
    }

    /// What decides which of the images of one name it pulls, and which of their digests it tells: runtime, system
    /// and architecture.
    pub(crate) fn platform(&self) -> (&str, &str, &str) {
        let info = &self.status.node_info;
        let runtime = info.container_runtime_version.split("://").next().unwrap_or_default();
        (runtime, &info.operating_system, &info.architecture)
    }

    /// Where its kubelet listens.
    pub fn kubelet_port(&self) -> i32 {
        self.status.daemon_endpoints.kubelet_endpoint.port
    }
}

impl Object for Node {
    const RESOURCE: Resource = Resource { is_namespaced: false, ..Resource::core("nodes") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Object for Namespace {
    const RESOURCE: Resource = Resource { is_namespaced: false, ..Resource::core("namespaces") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
