//! Services, where they lead, and ingresses with their classes.

use serde::{Deserialize, Deserializer};

use super::{
    Meta, Object, Pairs, Resource,
    lenient::{Named, objects, parts},
    null_as_default,
};

/// A name and an address for pods.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Service {
    metadata: Meta,
    /// What is wished.
    #[serde(default, deserialize_with = "null_as_default")]
    pub spec: ServiceSpec,
    #[serde(default, deserialize_with = "null_as_default")]
    status: ServiceStatus,
}

/// What is wished of a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// As `ClusterIP`.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub kind: Box<str>,
    /// Its address.
    #[serde(rename = "clusterIP", deserialize_with = "null_as_default")]
    pub cluster_ip: Box<str>,
    /// The name that it stands for.
    #[serde(deserialize_with = "null_as_default")]
    pub external_name: Box<str>,
    /// The address of its load balancer.
    #[serde(rename = "loadBalancerIP", deserialize_with = "null_as_default")]
    pub load_balancer_ip: Box<str>,
    /// As `Cluster` or `Local`.
    #[serde(deserialize_with = "null_as_default")]
    pub external_traffic_policy: Box<str>,
    /// Addresses from outside that lead to it.
    #[serde(rename = "externalIPs", deserialize_with = "null_as_default")]
    pub external_ips: Box<[Box<str>]>,
    /// As `PreferDualStack`.
    #[serde(deserialize_with = "null_as_default")]
    pub ip_family_policy: Box<str>,
    /// As `IPv4`, the most important first.
    #[serde(deserialize_with = "null_as_default")]
    pub ip_families: Box<[Box<str>]>,
    /// Where it listens.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Box<[ServicePort]>,
}

parts! {
    ServiceStatus {
        load_balancer: LoadBalancer,
    }

    LoadBalancer {
        ingress: Box<[LoadBalancerIngress]>,
    }

    /// A way that a load balancer leads in by.
    LoadBalancerIngress {
        ip: Box<str>,
        hostname: Box<str>,
    }
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// A name, perhaps.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Box<str>,
    /// The port.
    #[serde(deserialize_with = "null_as_default")]
    pub port: i32,
    /// `TCP` and the like.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Box<str>,
}

/// An object that an address belongs to.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// As `Pod`.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: Box<str>,
    /// Where it lives.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: Box<str>,
    /// Its name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Box<str>,
}

/// The addresses behind a service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Endpoints {
    metadata: Meta,
    /// Addresses that share ports.
    #[serde(default, deserialize_with = "null_as_default")]
    pub subsets: Box<[Subset]>,
}

/// Addresses that share ports.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Those that take work.
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Box<[Address]>,
    /// Those that do not.
    #[serde(deserialize_with = "null_as_default")]
    pub not_ready_addresses: Box<[Address]>,
    /// Their ports.
    #[serde(deserialize_with = "null_as_default")]
    pub ports: Box<[EndpointPort]>,
}

/// An address behind a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Address {
    /// The address.
    #[serde(deserialize_with = "null_as_default")]
    pub ip: Box<str>,
    /// A name, perhaps.
    #[serde(deserialize_with = "null_as_default")]
    pub hostname: Box<str>,
    /// The machine.
    pub node_name: Option<Box<str>>,
    /// Whose it is.
    pub target_ref: Option<TargetRef>,
}

/// A port behind a service.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// A name, perhaps.
    #[serde(deserialize_with = "null_as_default")]
    pub name: Box<str>,
    /// The port.
    #[serde(deserialize_with = "null_as_default")]
    pub port: i32,
    /// `TCP` and the like.
    #[serde(deserialize_with = "null_as_default")]
    pub protocol: Box<str>,
}

/// Some of the addresses behind a service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    metadata: Meta,
    /// As `IPv4`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub address_type: Box<str>,
    /// The addresses.
    #[serde(default, deserialize_with = "null_as_default")]
    pub endpoints: Box<[SliceEndpoint]>,
    /// Their ports.
    #[serde(default, deserialize_with = "null_as_default")]
    pub ports: Box<[SlicePort]>,
}

/// An address in a slice.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SliceEndpoint {
    /// Ways to the same.
    #[serde(deserialize_with = "null_as_default")]
    pub addresses: Box<[Box<str>]>,
    /// How it is.
    #[serde(deserialize_with = "null_as_default")]
    pub conditions: SliceConditions,
    /// A name, perhaps.
    pub hostname: Option<Box<str>>,
    /// The machine.
    pub node_name: Option<Box<str>>,
    /// The zone.
    pub zone: Option<Box<str>>,
    /// Whose it is.
    pub target_ref: Option<TargetRef>,
    /// For whom it is best.
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) hints: Hints,
    /// What an older version tells of the place.
    pub deprecated_topology: Pairs,
}

parts! {
    Hints {
        for_zones: Box<[Named]>,
    }
}

/// How an address in a slice is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct SliceConditions {
    /// Whether it takes work.
    pub ready: Option<bool>,
    /// Whether it does work.
    pub serving: Option<bool>,
    /// Whether it is about to end.
    pub terminating: Option<bool>,
}

/// A port in a slice.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SlicePort {
    /// A name, perhaps.
    pub name: Option<Box<str>>,
    /// The port; all where there is none.
    pub port: Option<i32>,
    /// `TCP` and the like.
    pub protocol: Option<Box<str>>,
    /// As `https`.
    pub app_protocol: Option<Box<str>>,
}

/// A way into the cluster by HTTP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ingress {
    metadata: Meta,
    #[serde(default, deserialize_with = "null_as_default")]
    spec: IngressSpec,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct IngressSpec {
    ingress_class_name: Option<Box<str>>,
    #[serde(deserialize_with = "null_as_default")]
    tls: Box<[IngressTls]>,
    #[serde(deserialize_with = "null_as_default")]
    rules: Box<[IngressRule]>,
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
struct IngressTls {
    #[serde(deserialize_with = "null_as_default")]
    hosts: Box<[Box<str>]>,
    #[serde(rename = "secretName", deserialize_with = "null_as_default")]
    secret_name: Box<str>,
}

/// What is served under a name.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct IngressRule {
    /// The name.
    #[serde(deserialize_with = "null_as_default")]
    pub host: Box<str>,
    /// The paths, if it tells any.
    #[serde(rename = "http", deserialize_with = "paths")]
    pub paths: Option<Box<[IngressPath]>>,
}

/// A path, and where it leads.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressPath {
    /// The path.
    #[serde(deserialize_with = "null_as_default")]
    pub path: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) path_type: Box<str>,
    #[serde(deserialize_with = "null_as_default")]
    pub(crate) backend: IngressBackend,
}

parts! {
    /// Where a path leads: one of these.
    IngressBackend {
        service: Option<Box<BackendService>>,
        resource: Option<Box<BackendResource>>,
    }

    BackendService {
        name: Box<str>,
        port: BackendPort,
    }

    /// 0 where the port has a name instead.
    BackendPort {
        number: i64,
    }

    BackendResource {
        api_group: Box<str>,
        kind: Box<str>,
        name: Box<str>,
    }
}

type Paths = Option<Box<[IngressPath]>>;

fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Paths, D::Error> {
    #[derive(Deserialize)]
    struct Http {
        #[serde(default, deserialize_with = "null_as_default")]
        paths: Box<[IngressPath]>,
    }
    Ok(Option::<Http>::deserialize(from)?.map(|http| http.paths))
}

impl Service {
    /// The ways that load balancers lead in by.
    pub(crate) fn load_balancers(&self) -> &[LoadBalancerIngress] {
        &self.status.load_balancer.ingress
    }
}

impl Ingress {
    /// Who serves it.
    pub fn class(&self) -> Option<&str> {
        self.spec.ingress_class_name.as_deref()
    }

    /// What is served.
    pub fn rules(&self) -> &[IngressRule] {
        &self.spec.rules
    }

    /// The names that are encrypted, and the secret with the certificate of each.
    pub(crate) fn tls_secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.spec.tls.iter().flat_map(|tls| tls.hosts.iter().map(|host| (&**host, &*tls.secret_name)))
    }

    /// The names that are encrypted, with `*` for any first part.
    pub fn tls_hosts(&self) -> impl Iterator<Item = &str> {
        self.spec.tls.iter().flat_map(|tls| tls.hosts.iter().map(|host| &**host))
    }
}

impl Object for Service {
    const RESOURCE: Resource = Resource::core("services");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Object for Endpoints {
    const RESOURCE: Resource = Resource::core("endpoints");

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Object for EndpointSlice {
    const RESOURCE: Resource = Resource { group: "discovery.k8s.io", ..Resource::core("endpointslices") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Object for Ingress {
    const RESOURCE: Resource = Resource { group: "networking.k8s.io", ..Resource::core("ingresses") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

objects! {
    /// Who serves ingresses.
    IngressClass at Resource {
        group: "networking.k8s.io", is_namespaced: false, ..Resource::core("ingressclasses")
    } => {
        spec: IngressClassSpec,
    }
}

parts! {
    IngressClassSpec {
        controller: Box<str>,
    }
}
