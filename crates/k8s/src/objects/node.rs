//! Nodes and namespaces.

use serde::Deserialize;

use super::{Meta, Object, Resource, null_as_default};

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    metadata: Meta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Spec {
    #[serde(rename = "providerID", default)]
    provider_id: Box<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default, deserialize_with = "null_as_default")]
    addresses: Box<[NodeAddress]>,
    #[serde(default, deserialize_with = "null_as_default")]
    conditions: Box<[Condition]>,
    #[serde(default)]
    daemon_endpoints: DaemonEndpoints,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DaemonEndpoints {
    #[serde(default)]
    kubelet_endpoint: DaemonEndpoint,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct DaemonEndpoint {
    #[serde(rename = "Port", default)]
    port: i32,
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
    #[serde(rename = "type")]
    pub kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: Box<str>,
    /// Why, in one word.
    #[serde(default, deserialize_with = "null_as_default")]
    pub reason: Box<str>,
}

/// A space for names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Namespace {
    metadata: Meta,
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
    const RESOURCE: Resource =
        Resource { is_namespaced: false, is_metadata_only: true, ..Resource::core("namespaces") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}
