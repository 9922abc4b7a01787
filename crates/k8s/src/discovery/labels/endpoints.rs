//! Addresses behind services, as endpoints and as slices of them. A pod among them is told with all its
//! labels, and its ports that no service names are targets as well.

use vedette_model::{ADDRESS_LABEL, Labels, LabelsBuilder, TargetGroup};

use super::{View, at, group, namespace_labels, node_labels, object, pod, service_labels, set};
use crate::objects::{
    Address, EndpointPort, EndpointSlice, Endpoints, Object, Pod, Service, SliceEndpoint, SlicePort,
    TargetRef,
};

/// By which a slice names its service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A target for each address and port.
pub(in super::super) fn endpoints(endpoints: &Endpoints, view: &View<'_>) -> TargetGroup {
    let meta = endpoints.meta();
    let service = view.service(&meta.namespace, &meta.name);
    let mut shared = service.map_or_else(LabelsBuilder::new, service_labels);
    set(&mut shared, "namespace", &meta.namespace);
    object(&mut shared, "endpoints", meta);
    namespace_labels(&mut shared, &meta.namespace, view);
    let mut targets = Targets::new(view);
    for subset in &endpoints.subsets {
        for port in &subset.ports {
            for address in &subset.addresses {
                targets.add_address(address, port, true);
            }
            for address in &subset.not_ready_addresses {
                targets.add_address(address, port, false);
            }
        }
    }
    group(&shared, targets.finish())
}

/// A target for each address and port of the first family of addresses.
pub(in super::super) fn endpoint_slice(slice: &EndpointSlice, view: &View<'_>) -> TargetGroup {
    let meta = slice.meta();
    let name = meta.labels.get(SERVICE_NAME);
    let service = name.and_then(|name| view.service(&meta.namespace, name));
    let mut shared = service.map_or_else(LabelsBuilder::new, service_labels);
    set(&mut shared, "namespace", &meta.namespace);
    set(&mut shared, "endpointslice_address_type", &slice.address_type);
    object(&mut shared, "endpointslice", meta);
    namespace_labels(&mut shared, &meta.namespace, view);
    if service.is_some_and(|service| is_second_family(service, slice)) {
        return group(&shared, Vec::new());
    }
    let mut targets = Targets::new(view);
    for endpoint in &slice.endpoints {
        for port in &slice.ports {
            for address in &endpoint.addresses {
                targets.add_endpoint(address, endpoint, port);
            }
        }
    }
    group(&shared, targets.finish())
}

/// Whether the same endpoints are told by another slice, with the addresses that matter more.
fn is_second_family(service: &Service, slice: &EndpointSlice) -> bool {
    let is_dual = matches!(&*service.spec.ip_family_policy, "PreferDualStack" | "RequireDualStack");
    let first = service.spec.ip_families.first();
    is_dual && first.is_some_and(|first| *first != slice.address_type)
}

/// One object can name tens of millions of targets, and nobody has as many.
const TARGETS_MAX: usize = 100_000;

/// The targets so far, and which pods are among them.
struct Targets<'a, 'v> {
    view: &'a View<'v>,
    targets: Vec<Labels>,
    /// Each pod with the ports under which services know it.
    pods: Vec<(&'a Pod, Vec<i32>)>,
}

impl<'a, 'v> Targets<'a, 'v> {
    fn new(view: &'a View<'v>) -> Self {
        Self { view, targets: Vec::new(), pods: Vec::new() }
    }

    fn add_address(&mut self, address: &Address, port: &EndpointPort, is_ready: bool) {
        let mut target = at(&address.ip, port.port);
        set(&mut target, "endpoint_port_name", &port.name);
        set(&mut target, "endpoint_port_protocol", &port.protocol);
        set(&mut target, "endpoint_ready", flag(is_ready));
        set(&mut target, "endpoint_hostname", &address.hostname);
        set(&mut target, "endpoint_node_name", address.node_name.as_deref().unwrap_or_default());
        let of = address.target_ref.as_ref();
        if let Some(of) = of {
            set(&mut target, "endpoint_address_target_kind", &of.kind);
            set(&mut target, "endpoint_address_target_name", &of.name);
        }
        let on = address.node_name.as_deref().or_else(|| node_of(of));
        self.add(target, of, on, Some(port.port), Some(&port.protocol));
    }

    fn add_endpoint(&mut self, address: &str, endpoint: &SliceEndpoint, port: &SlicePort) {
        let mut target = match port.port {
            Some(port) => at(address, port),
            None => {
                let mut target = LabelsBuilder::new();
                target.set(ADDRESS_LABEL, address);
                target
            }
        };
        let number = port.port.map(|port| port.to_string());
        let conditions = endpoint.conditions;
        for (name, value) in [
            ("port_name", port.name.as_deref()),
            ("port_protocol", port.protocol.as_deref()),
            ("port", number.as_deref()),
            ("port_app_protocol", port.app_protocol.as_deref()),
            ("endpoint_conditions_ready", conditions.ready.map(flag)),
            ("endpoint_conditions_serving", conditions.serving.map(flag)),
            ("endpoint_conditions_terminating", conditions.terminating.map(flag)),
            ("endpoint_hostname", endpoint.hostname.as_deref()),
            ("endpoint_node_name", endpoint.node_name.as_deref()),
            ("endpoint_zone", endpoint.zone.as_deref()),
            ("address_target_kind", endpoint.target_ref.as_ref().map(|of| &*of.kind)),
            ("address_target_name", endpoint.target_ref.as_ref().map(|of| &*of.name)),
        ] {
            set(&mut target, &format!("endpointslice_{name}"), value.unwrap_or_default());
        }
        for (name, value) in endpoint.deprecated_topology.iter() {
            let name = super::sanitized(name);
            set(&mut target, &format!("endpointslice_endpoint_topology_{name}"), value);
            set(&mut target, &format!("endpointslice_endpoint_topology_present_{name}"), "true");
        }
        let of = endpoint.target_ref.as_ref();
        let on = node_of(of).or(endpoint.node_name.as_deref());
        self.add(target, of, on, port.port, None);
    }

    /// Adds what is known of the node and the pod. `protocol` is that of the port where the container's own
    /// does not count.
    fn add(
        &mut self,
        mut target: LabelsBuilder,
        of: Option<&TargetRef>,
        on: Option<&str>,
        port: Option<i32>,
        protocol: Option<&str>,
    ) {
        let view = self.view;
        if let Some(node) = on.filter(|_| view.attach.node) {
            node_labels(&mut target, node, view);
        }
        let found = of.filter(|of| &*of.kind == "Pod").and_then(|of| view.pod(&of.namespace, &of.name));
        if let Some(found) = found {
            pod::labels(&mut target, found, view);
            for (container, is_init) in found.containers() {
                if let Some(own) = container.ports.iter().find(|own| Some(own.container_port) == port) {
                    let protocol = protocol.unwrap_or(&own.protocol);
                    pod::container_labels(&mut target, container, is_init, Some((own, protocol)));
                }
            }
            let place = self.pods.iter().position(|(known, _)| std::ptr::eq(*known, found));
            let place = place.unwrap_or_else(|| {
                self.pods.push((found, Vec::new()));
                self.pods.len() - 1
            });
            self.pods[place].1.extend(port);
        }
        if self.targets.len() < TARGETS_MAX {
            self.targets.push(target.build());
        }
    }

    /// Adds the ports of pods that no service names.
    fn finish(mut self) -> Vec<Labels> {
        for (found, known) in &self.pods {
            if found.ip().is_empty() {
                continue;
            }
            for (container, is_init) in found.containers() {
                for port in container.ports.iter().filter(|port| !known.contains(&port.container_port)) {
                    let mut target = at(found.ip(), port.container_port);
                    pod::container_labels(&mut target, container, is_init, Some((port, &port.protocol)));
                    pod::labels(&mut target, found, self.view);
                    self.targets.push(target.build());
                }
            }
        }
        self.targets
    }
}

/// The node that an address itself belongs to.
fn node_of(of: Option<&TargetRef>) -> Option<&str> {
    of.filter(|of| &*of.kind == "Node").map(|of| &*of.name)
}

fn flag(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}
