//! Templates: what tells one class of pods from another, before it is compiled.
//!
//! Pods that are equal in all of this are equal in every judgement.

use std::{
    collections::HashSet,
    hash::{Hash, Hasher},
};

use crate::{
    Snapshot,
    cluster::Fate,
    objects::{Container, ContainerStatus, LabelSelector, Pod, Volume},
    select::LabelSet,
};

/// What tells classes apart.
#[derive(Debug, Clone)]
pub(crate) struct Template<'s> {
    pub pod: &'s Pod,
    /// Only labels that some selector asks for.
    pub labels: LabelSet,
    pub fate: Fate,
    /// What containers have, where it is not what they ask for.
    resized: Option<(&'s [ContainerStatus], &'s [ContainerStatus])>,
}

impl<'s> Template<'s> {
    pub fn new(pod: &'s Pod, labels: LabelSet, fate: Fate) -> Self {
        let (spec, status) = (&pod.spec, &pod.status);
        let as_asked = |statuses: &[ContainerStatus], containers: &[Container]| {
            statuses.iter().all(|s| s.is_as_asked(containers))
        };
        let resized = !(as_asked(&status.container_statuses, &spec.containers)
            && as_asked(&status.init_container_statuses, &spec.init_containers));
        let statuses = (status.container_statuses.as_slice(), status.init_container_statuses.as_slice());
        Self { pod, labels, fate, resized: resized.then_some(statuses) }
    }

    pub fn owner(&self) -> Option<&'s str> {
        let owner = self.pod.metadata.owner_references.iter().find(|o| o.controller)?;
        matches!(owner.kind.as_str(), "ReplicaSet" | "StatefulSet" | "ReplicationController")
            .then_some(owner.uid.as_str())
    }

    /// Whether its owner makes it anew only when the old one is surely gone: there is one of each name.
    pub fn keeps_its_place(&self) -> bool {
        let owner = self.pod.metadata.owner_references.iter().find(|o| o.controller);
        owner.is_some_and(|o| o.kind == "StatefulSet")
    }

    fn key(&self) -> impl Hash + Eq + '_ {
        let spec = &self.pod.spec;
        let owner = (self.owner(), self.keeps_its_place());
        let who = (&self.pod.metadata.namespace, &self.labels, self.fate, owner);
        let leaving = self.pod.metadata.deletion_timestamp.is_some();
        let resize = (self.resized, self.pod.status.resize);
        let room = (&spec.containers, &spec.init_containers, &spec.resources, &spec.overhead, resize);
        // Pods of a daemon set each name their own node; that never matters as they are never moved.
        let nodes = (self.fate == Fate::Displaced).then_some((
            &spec.node_selector,
            &spec.affinity.node_affinity,
            &spec.tolerations,
            &spec.topology_spread_constraints,
        ));
        let pods = (&spec.affinity.pod_affinity, &spec.affinity.pod_anti_affinity);
        let is_claimed = |v: &&Volume| v.persistent_volume_claim.is_some() || v.ephemeral.is_some();
        let claims: Vec<_> = spec.volumes.iter().filter(is_claimed).collect();
        let priority = (spec.priority, &spec.priority_class_name);
        (who, leaving, room, nodes, pods, claims, priority, spec.host_network)
    }
}

impl PartialEq for Template<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Template<'_> {}

impl Hash for Template<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// The labels of pods that any selector asks for.
pub(crate) fn selected_keys(snapshot: &Snapshot) -> HashSet<&str> {
    let mut keys = HashSet::new();
    for pod in &snapshot.pods {
        let affinity = &pod.spec.affinity;
        for list in [&affinity.pod_affinity, &affinity.pod_anti_affinity] {
            for term in list.required.iter().chain(list.preferred.iter().map(|p| &p.pod_affinity_term)) {
                add_keys(&mut keys, term.label_selector.as_ref());
                keys.extend(
                    term.match_label_keys.iter().chain(&term.mismatch_label_keys).map(String::as_str),
                );
            }
        }
        for spread in &pod.spec.topology_spread_constraints {
            add_keys(&mut keys, spread.label_selector.as_ref());
            keys.extend(spread.match_label_keys.iter().map(String::as_str));
        }
    }
    keys
}

fn add_keys<'s>(keys: &mut HashSet<&'s str>, selector: Option<&'s LabelSelector>) {
    let Some(selector) = selector else { return };
    keys.extend(selector.match_labels.keys().map(String::as_str));
    keys.extend(selector.match_expressions.iter().map(|e| e.key.as_str()));
}
