//! The labels `__meta_kubernetes_*` of targets, as Prometheus names them.

mod endpoints;
mod pod;

use vedette_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};

use super::groups::View;
use crate::objects::{Ingress, IngressRule, Meta, Node, Object, Service};

pub(super) use endpoints::{endpoint_slice, endpoints};
pub(super) use pod::pod;

const PREFIX: &str = "__meta_kubernetes_";
const INSTANCE: &str = "instance";
/// The addresses of a node, the best first.
const ADDRESS_KINDS: [&str; 6] =
    ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

/// One target: its kubelet. A node without an address is none.
pub(super) fn node(node: &Node) -> Option<TargetGroup> {
    let address = |kind: &str| node.addresses().iter().find(|address| &*address.kind == kind);
    let best = ADDRESS_KINDS.iter().find_map(|kind| address(kind))?;
    let mut shared = LabelsBuilder::new();
    set(&mut shared, "node_provider_id", node.provider_id());
    for condition in node.conditions() {
        let name = format!("node_condition_{}", sanitized(&condition.kind.to_ascii_lowercase()));
        set(&mut shared, &name, &condition.status.to_ascii_lowercase());
    }
    object(&mut shared, "node", node.meta());
    let mut target = at(&best.address, node.kubelet_port());
    target.set(INSTANCE, &node.meta().name);
    for given in node.addresses() {
        // Of several of one kind the first counts.
        if let Some(first) = address(&given.kind) {
            set(&mut target, &format!("node_address_{}", sanitized(&given.kind)), &first.address);
        }
    }
    Some(group(&shared, vec![target.build()]))
}

/// A target for each port.
pub(super) fn service(service: &Service, view: &View<'_>) -> TargetGroup {
    let (meta, spec) = (service.meta(), &service.spec);
    let mut shared = service_labels(service);
    namespace_labels(&mut shared, &meta.namespace, view);
    let host = format!("{}.{}.svc", meta.name, meta.namespace);
    let targets = spec.ports.iter().map(|port| {
        let mut target = at(&host, port.port);
        set(&mut target, "service_port_name", &port.name);
        set(&mut target, "service_port_number", &port.port.to_string());
        set(&mut target, "service_port_protocol", &port.protocol);
        set(&mut target, "service_type", &spec.kind);
        match &*spec.kind {
            "ExternalName" => set(&mut target, "service_external_name", &spec.external_name),
            _ => set(&mut target, "service_cluster_ip", &spec.cluster_ip),
        }
        if &*spec.kind == "LoadBalancer" {
            set(&mut target, "service_loadbalancer_ip", &spec.load_balancer_ip);
        }
        target.build()
    });
    let targets = targets.collect();
    group(&shared, targets)
}

/// A target for each path.
pub(super) fn ingress(ingress: &Ingress, view: &View<'_>) -> TargetGroup {
    let meta = ingress.meta();
    let mut shared = LabelsBuilder::new();
    set(&mut shared, "namespace", &meta.namespace);
    set(&mut shared, "ingress_class_name", ingress.class().unwrap_or_default());
    object(&mut shared, "ingress", meta);
    namespace_labels(&mut shared, &meta.namespace, view);
    let mut targets = Vec::new();
    for IngressRule { host, paths } in ingress.rules() {
        let is_encrypted = ingress.tls_hosts().any(|pattern| is_host(pattern, host));
        let mut add = |path: &str| {
            let mut target = LabelsBuilder::new();
            target.set(ADDRESS_LABEL, host);
            set(&mut target, "ingress_scheme", if is_encrypted { "https" } else { "http" });
            set(&mut target, "ingress_host", host);
            set(&mut target, "ingress_path", if path.is_empty() { "/" } else { path });
            targets.push(target.build());
        };
        match paths {
            Some(paths) => paths.iter().for_each(|path| add(&path.path)),
            None => add("/"),
        }
    }
    group(&shared, targets)
}

/// Whether a host is the one that is named, where `*` stands for any first part.
fn is_host(pattern: &str, host: &str) -> bool {
    let rest = |host| str::split_once(host, '.').map(|(_, rest)| rest);
    pattern == host || pattern.strip_prefix("*.").is_some_and(|pattern| rest(host) == Some(pattern))
}

fn service_labels(service: &Service) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    set(&mut labels, "namespace", &service.meta().namespace);
    object(&mut labels, "service", service.meta());
    labels
}

/// Name, labels and annotations.
fn object(labels: &mut LabelsBuilder, kind: &str, meta: &Meta) {
    set(labels, &format!("{kind}_name"), &meta.name);
    labels_and_annotations(labels, kind, meta);
}

/// The namespace's name is told by the object in it.
fn namespace_labels(labels: &mut LabelsBuilder, namespace: &str, view: &View<'_>) {
    if let Some(namespace) = view.namespace(namespace) {
        labels_and_annotations(labels, "namespace", namespace.meta());
    }
}

fn node_labels(labels: &mut LabelsBuilder, name: &str, view: &View<'_>) {
    if let Some(node) = view.node(name) {
        object(labels, "node", node.meta());
    }
}

fn labels_and_annotations(labels: &mut LabelsBuilder, kind: &str, meta: &Meta) {
    for (what, pairs) in [("label", &meta.labels), ("annotation", &meta.annotations)] {
        for (name, value) in pairs.iter() {
            let name = sanitized(name);
            set(labels, &format!("{kind}_{what}_{name}"), value);
            set(labels, &format!("{kind}_{what}present_{name}"), "true");
        }
    }
}

fn set(labels: &mut LabelsBuilder, name: &str, value: &str) {
    labels.set(&[PREFIX, name].concat(), value);
}

/// Letters that a name of a label cannot have become lines.
fn sanitized(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn at(host: &str, port: i32) -> LabelsBuilder {
    let mut labels = LabelsBuilder::new();
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    labels.set(ADDRESS_LABEL, &address);
    labels
}

/// The source is filled in by the caller.
fn group(shared: &LabelsBuilder, targets: Vec<Labels>) -> TargetGroup {
    TargetGroup { source: String::new(), targets, labels: shared.build() }
}
