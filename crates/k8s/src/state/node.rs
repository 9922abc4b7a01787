//! Nodes.

use super::{
    Family, Head,
    Kind::{self, Gauge, Info, StateSet},
    Rows, Stateful, annotations, conditions, created, deleted, labels, resources,
};
use crate::objects::{Amounts, Node, Object as _};

const fn family(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    rows: fn(&Node, &mut Rows<'_>),
) -> Family<Node> {
    Family { name, help, kind, rows }
}

/// What stands before the role in a label that names one.
const ROLE: &str = "node-role.kubernetes.io/";

impl Stateful for Node {
    const FAMILIES: &'static [Family<Self>] = &[
        family(
            "kube_node_annotations",
            Gauge,
            "Kubernetes annotations converted to Prometheus labels.",
            annotations,
        ),
        family("kube_node_created", Gauge, "Unix creation timestamp", created),
        family("kube_node_deletion_timestamp", Gauge, "Unix deletion timestamp", deleted),
        family("kube_node_info", Info, "What a node is and runs.", info),
        family("kube_node_labels", Gauge, "Kubernetes labels converted to Prometheus labels.", labels),
        family("kube_node_role", Gauge, "A role of a node.", |node, rows| {
            for role in node.meta().labels.iter().filter_map(|(name, _)| name.strip_prefix(ROLE)) {
                rows.row(&[("role", role)], 1.0);
            }
        }),
        family(
            "kube_node_spec_pod_cidrs",
            Info,
            "Ranges that addresses of a node's pods are of.",
            |node, rows| {
                for range in &node.spec.pod_cidrs {
                    rows.row(&[("pod_cidr", range)], 1.0);
                }
            },
        ),
        family("kube_node_spec_taint", Gauge, "A taint of a node.", |node, rows| {
            for taint in &node.spec.taints {
                rows.row(&[("key", &taint.key), ("value", &taint.value), ("effect", &taint.effect)], 1.0);
            }
        }),
        family("kube_node_spec_unschedulable", Gauge, "Whether a node takes no new pods.", |node, rows| {
            rows.row(&[], f64::from(node.spec.unschedulable));
        }),
        family("kube_node_status_addresses", Info, "An address of a node.", |node, rows| {
            for address in node.addresses() {
                rows.row(&[("type", &address.kind), ("address", &address.address)], 1.0);
            }
        }),
        family(
            "kube_node_status_allocatable",
            Gauge,
            "How much of a resource of a node pods may take.",
            |node, rows| amounts(&node.status.allocatable, rows),
        ),
        family("kube_node_status_capacity", Gauge, "How much of a resource a node has.", |node, rows| {
            amounts(&node.status.capacity, rows);
        }),
        family(
            "kube_node_status_condition",
            StateSet,
            "Conditions of a node: 1 for the status that each has.",
            |node, rows| conditions(&node.status.conditions, rows),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("node", &self.meta().name);
    }
}

fn info(node: &Node, rows: &mut Rows<'_>) {
    let info = &node.status.node_info;
    // Of several the last, as kube-state-metrics tells it; the others are addresses of their own.
    let internal = node.addresses().iter().rfind(|address| &*address.kind == "InternalIP");
    let labels = [
        ("kernel_version", &*info.kernel_version),
        ("os_image", &info.os_image),
        ("container_runtime_version", &info.container_runtime_version),
        ("kubelet_version", &info.kubelet_version),
        // Nodes no longer tell it; this is what the peer says.
        ("kubeproxy_version", "deprecated"),
        ("provider_id", node.provider_id()),
        ("pod_cidr", &node.spec.pod_cidr),
        ("system_uuid", &info.system_uuid),
        ("internal_ip", internal.map_or("", |address| &address.address)),
    ];
    rows.row(&labels, 1.0);
}

fn amounts(amounts: &Amounts, rows: &mut Rows<'_>) {
    resources::each(amounts, true, |resource, unit, value| {
        rows.row(&[("resource", resource), ("unit", unit)], value);
    });
}
