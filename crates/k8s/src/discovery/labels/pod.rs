//! Pods: a target for each port of each container.

use vedette_model::{ADDRESS_LABEL, LabelsBuilder, TargetGroup};

use super::{View, at, group, namespace_labels, node_labels, object, set};
use crate::objects::{Container, ContainerPort, Object, Pod};

/// A target for each port; for a container that names none, one without a port.
pub(in super::super) fn pod(pod: &Pod, view: &View<'_>) -> TargetGroup {
    let namespace = &pod.meta().namespace;
    // It has no address when it starts or was evicted. Where nodes are chosen, so are pods.
    let is_chosen = !view.nodes_decide || view.node(pod.node_name()).is_some();
    if pod.ip().is_empty() || !is_chosen {
        return TargetGroup::default();
    }
    let mut shared = LabelsBuilder::new();
    set(&mut shared, "namespace", namespace);
    labels(&mut shared, pod, view);
    if view.attach.node {
        node_labels(&mut shared, pod.node_name(), view);
    }
    namespace_labels(&mut shared, namespace, view);
    let mut targets = Vec::new();
    for (container, is_init) in pod.containers() {
        let id = pod.container_id(&container.name, is_init);
        let mut add = |port: Option<&ContainerPort>| {
            let mut target = match port {
                Some(port) => at(pod.ip(), port.container_port),
                None => {
                    let mut target = LabelsBuilder::new();
                    target.set(ADDRESS_LABEL, pod.ip());
                    target
                }
            };
            container_labels(&mut target, container, is_init, port.map(|port| (port, &*port.protocol)));
            set(&mut target, "pod_container_id", id);
            targets.push(target.build());
        };
        if container.ports.is_empty() {
            add(None);
        }
        container.ports.iter().for_each(|port| add(Some(port)));
    }
    group(&shared, targets)
}

/// What is told of a pod wherever it is behind a target.
pub(super) fn labels(labels: &mut LabelsBuilder, pod: &Pod, view: &View<'_>) {
    set(labels, "pod_ip", pod.ip());
    set(labels, "pod_ready", &pod.ready());
    set(labels, "pod_phase", pod.phase());
    set(labels, "pod_node_name", pod.node_name());
    set(labels, "pod_host_ip", pod.host_ip());
    set(labels, "pod_uid", &pod.meta().uid);
    object(labels, "pod", pod.meta());
    let Some(owner) = &pod.meta().controller else { return };
    set(labels, "pod_controller_kind", &owner.kind);
    set(labels, "pod_controller_name", &owner.name);
    let namespace = &pod.meta().namespace;
    match &*owner.kind {
        "ReplicaSet" => {
            let above =
                view.replica_set(namespace, &owner.name).and_then(|set| set.meta().controller.as_ref());
            if let Some(above) = above.filter(|above| &*above.kind == "Deployment") {
                set(labels, "pod_deployment_name", &above.name);
            }
        }
        "Job" => {
            if view.attach.job {
                set(labels, "pod_job_name", &owner.name);
            }
            let above = view.job(namespace, &owner.name).and_then(|job| job.meta().controller.as_ref());
            if let Some(above) = above.filter(|above| &*above.kind == "CronJob") {
                set(labels, "pod_cronjob_name", &above.name);
            }
        }
        _ => {}
    }
}

/// What is told of a container, and of one of its ports with the protocol that is spoken there.
pub(super) fn container_labels(
    labels: &mut LabelsBuilder,
    container: &Container,
    is_init: bool,
    port: Option<(&ContainerPort, &str)>,
) {
    set(labels, "pod_container_name", &container.name);
    set(labels, "pod_container_image", &container.image);
    set(labels, "pod_container_init", if is_init { "true" } else { "false" });
    if let Some((port, protocol)) = port {
        set(labels, "pod_container_port_name", &port.name);
        set(labels, "pod_container_port_number", &port.container_port.to_string());
        set(labels, "pod_container_port_protocol", protocol);
    }
}
