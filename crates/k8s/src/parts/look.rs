//! What the objects of a cluster say of its parts.

use std::sync::Arc;

use crate::{
    Api, Health, Hub, SharedWatch, Shelf, What,
    objects::{ContainerState, EndpointSlice, Node, Object, Pod},
};

use super::{
    judge::View,
    lease::Lease,
    node::NodeSeen,
    workloads::{self, PodSeen, PodsByPart, STUCK},
};

/// The watches that tell of parts.
pub(super) struct Watches {
    pub(super) nodes: Arc<SharedWatch<Node>>,
    pub(super) pods: Vec<Arc<SharedWatch<Pod>>>,
    pub(super) slices: Arc<SharedWatch<EndpointSlice>>,
    pub(super) leases: Arc<SharedWatch<Lease>>,
}

/// The service for names is called so in every cluster, whatever answers.
const DNS_SERVICE: &str = "kubernetes.io/service-name=kube-dns";

impl Watches {
    /// Begins those that nobody else has.
    pub(super) fn begin(hub: &Hub, api: &Arc<Api>) -> Self {
        let within = |namespace: &str| What { namespace: Some(namespace.into()), ..What::default() };
        let pods = workloads::NAMESPACES.iter().map(|namespace| hub.watch(api, within(namespace)));
        let dns = What { labels: DNS_SERVICE.into(), ..within(workloads::SYSTEM_NAMESPACE) };
        Self {
            nodes: hub.watch(api, What::default()),
            pods: pods.collect(),
            slices: hub.watch(api, dns),
            leases: hub.watch(api, within("kube-node-lease")),
        }
    }

    /// What they show now.
    pub(super) fn view(&self) -> View {
        View {
            nodes: known(&self.nodes, |nodes| nodes.iter().map(|(_, node, _)| node_seen(node)).collect()),
            pods: self.pods(),
            dns_addresses: known(&self.slices, dns_addresses),
        }
    }
}

impl Watches {
    /// Of all namespaces together. One that may not be seen is told, but keeps nothing else from being seen.
    fn pods(&self) -> Option<Result<PodsByPart, String>> {
        let mut all = PodsByPart::new();
        for (at, watch) in self.pods.iter().enumerate() {
            match known(watch, pods_seen) {
                Some(Ok(parts)) => {
                    for (part, pods) in parts {
                        all.entry(part).or_default().extend(pods);
                    }
                }
                // The first is where nearly all of it lives.
                other if at == 0 => return other,
                _ => {}
            }
        }
        Some(Ok(all))
    }
}

/// What a watch shows, once it is whole; or the right that it has not.
fn known<O: Object, T>(
    watch: &SharedWatch<O>,
    read: impl FnOnce(&Shelf<O>) -> T,
) -> Option<Result<T, String>> {
    if let Some(reason) = barred(watch.health()) {
        return Some(Err(reason));
    }
    watch.health().state().is_whole.then(|| Ok(read(&watch.objects())))
}

/// Why a watch may not be made, if that is so.
fn barred(health: &Health) -> Option<String> {
    let trouble = health.state().trouble?;
    trouble.missing.is_some().then_some(trouble.text)
}

fn node_seen(node: &Arc<Node>) -> NodeSeen {
    let conditions = node.conditions().iter();
    let conditions = conditions.map(|c| (c.kind.clone(), c.status.clone(), c.reason.clone())).collect();
    NodeSeen { name: node.meta().name.clone(), conditions }
}

fn pods_seen(pods: &Shelf<Pod>) -> PodsByPart {
    let mut parts = PodsByPart::new();
    for (_, pod, _) in pods.iter() {
        let meta = pod.meta();
        // What has ended, or is told to, is no instance any more.
        let is_over = meta.deleted.is_some() || matches!(pod.phase(), "Succeeded" | "Failed");
        if is_over {
            continue;
        }
        if let Some(workload) = workloads::of_labels(|key| meta.labels.get(key)) {
            parts.entry(workload.part).or_default().push(pod_seen(pod));
        }
    }
    parts
}

fn pod_seen(pod: &Pod) -> PodSeen {
    let reason = |state: &ContainerState| match state {
        ContainerState::Waiting { reason } if STUCK.contains(&&**reason) => Some(reason.to_string()),
        _ => None,
    };
    let stuck =
        pod.statuses().find_map(|status| reason(&status.state).map(|why| format!("{} {why}", status.name)));
    PodSeen {
        name: pod.meta().name.clone(),
        node: pod.node_name().into(),
        is_ready: pod.ready() == "true",
        stuck: stuck.unwrap_or_default(),
        restarts: pod.statuses().map(|status| u64::try_from(status.restart_count).unwrap_or(0)).sum(),
    }
}

/// `None` where no slice says that there is a service.
fn dns_addresses(slices: &Shelf<EndpointSlice>) -> Option<usize> {
    // What says nothing of itself is ready, as the API has it.
    let ready = |slice: &EndpointSlice| {
        slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready != Some(false)).count()
    };
    (!slices.is_empty()).then(|| slices.iter().map(|(_, slice, _)| ready(slice)).sum())
}
