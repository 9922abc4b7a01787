//! What the objects of a cluster say of its parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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
    /// Which parts had pods in each of the namespaces.
    had: Vec<BTreeSet<&'static str>>,
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
            had: vec![BTreeSet::new(); workloads::NAMESPACES.len()],
        }
    }

    /// What they show now.
    pub(super) fn view(&mut self) -> View {
        let namespaces = self.pods.iter().map(|watch| known(watch, pods_seen));
        let (pods, barred) = together(namespaces, &mut self.had);
        View {
            nodes: known(&self.nodes, |nodes| nodes.iter().map(|(_, node, _)| node_seen(node)).collect()),
            pods,
            dns_addresses: known(&self.slices, dns_addresses),
            barred,
        }
    }
}

/// The pods of all namespaces together. One that may not be seen keeps nothing else from being seen, but of the
/// parts that had pods there it is told: they are not gone.
fn together(
    namespaces: impl Iterator<Item = Option<Result<PodsByPart, String>>>,
    had: &mut [BTreeSet<&'static str>],
) -> (Option<Result<PodsByPart, String>>, BTreeMap<&'static str, String>) {
    let (mut all, mut barred) = (PodsByPart::new(), BTreeMap::new());
    for (at, (namespace, had)) in namespaces.zip(had).enumerate() {
        match namespace {
            Some(Ok(parts)) => {
                had.extend(parts.keys());
                for (part, pods) in parts {
                    all.entry(part).or_default().extend(pods);
                }
            }
            // The first is where nearly all of it lives.
            other if at == 0 => return (other, barred),
            Some(Err(reason)) => barred.extend(had.iter().map(|part| (*part, reason.clone()))),
            None => {}
        }
    }
    (Some(Ok(all)), barred)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_of_a_namespace_that_may_not_be_seen_any_more_are_not_gone() {
        let reason = || Some(Err("the account may not list pods".to_owned()));
        let some = |parts: &[&'static str]| {
            Some(Ok(parts.iter().map(|part| (*part, vec![PodSeen::default()])).collect::<PodsByPart>()))
        };
        let mut had = vec![BTreeSet::new(); 3];
        let mut look = |namespaces: [Option<Result<PodsByPart, String>>; 3]| {
            let (pods, barred) = together(namespaces.into_iter(), &mut had);
            let parts = pods.map(|pods| pods.map(|pods| pods.into_keys().collect::<Vec<_>>()));
            (parts, barred.into_keys().collect::<Vec<_>>())
        };
        // One that never could be seen is nothing.
        let told = look([some(&["coredns"]), some(&["calico-node", "calico-typha"]), reason()]);
        assert_eq!(told, (Some(Ok(vec!["calico-node", "calico-typha", "coredns"])), vec![]));
        let told = look([some(&["coredns"]), reason(), None]);
        assert_eq!(told, (Some(Ok(vec!["coredns"])), vec!["calico-node", "calico-typha"]));
        assert_eq!(look([None, some(&[]), None]), (None, vec![]));
        assert!(look([reason(), some(&[]), None]).0.is_some_and(|pods| pods.is_err()));
        // Gone is gone, where it may be seen.
        assert_eq!(look([some(&["coredns"]), some(&[]), None]), (Some(Ok(vec!["coredns"])), vec![]));
    }
}
