//! What the claims of a pod mean for where it may run.

use std::collections::{HashMap, HashSet};

use crate::{
    Error, Snapshot,
    class::ATTACHED,
    cluster::{Cluster, pod_name},
    nodes::NodeSet,
    objects::{Claim, ClaimSpec, Entries, PersistentVolume, Pod, StorageClass, Volume},
    select::{self, NodeView, at},
};

/// Labels of volumes that say where they can be reached; the last two are what the first two were called before.
const ZONE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// Annotations of the class of claims that name none; the second is what the first was called before.
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Whether an annotation of a storage class says whether claims that name no class get it. No other annotation of
/// these is judged.
pub fn says_default_class(annotation: &str) -> bool {
    DEFAULT_CLASS.contains(&annotation)
}

/// What the claims of a pod mean.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The nodes that reach all its volumes; absent: all.
    pub nodes: Option<NodeSet>,
    /// Volumes that are attached, and the resource that each takes one of, in the order of resources.
    pub attaches: Vec<(u32, u16)>,
    /// Volumes that are made with each pod and removed with it, as amounts of the resource that they take.
    pub made_with_it: Vec<(u16, i64)>,
    /// Claims that one pod at a time may use.
    pub exclusive: Vec<u32>,
    /// Why it can run nowhere.
    pub never: Option<String>,
}

/// Claims, volumes and classes by name.
pub(crate) struct Volumes<'s> {
    claims: HashMap<(&'s str, &'s str), &'s Claim>,
    volumes: HashMap<&'s str, &'s PersistentVolume>,
    classes: HashMap<&'s str, &'s StorageClass>,
    /// The class of claims that name none.
    default_class: Option<&'s StorageClass>,
    /// Drivers of which some node attaches only so many volumes. The others need no counting.
    limited: HashSet<&'s str>,
    exclusive: HashMap<(&'s str, &'s str), u32>,
    unknown: usize,
}

impl<'s> Volumes<'s> {
    pub fn new(snapshot: &'s Snapshot) -> Result<Self, Error> {
        let mut claims = HashMap::new();
        for claim in &snapshot.claims {
            let (namespace, name) = (namespace(&claim.metadata.namespace), claim.metadata.name.as_str());
            if claims.insert((namespace, name), claim).is_some() {
                return Err(Error::Twice { object: format!("claim {namespace}/{name}") });
            }
        }
        Ok(Self {
            claims,
            volumes: snapshot.volumes.iter().map(|v| (v.metadata.name.as_str(), v)).collect(),
            classes: snapshot.storage_classes.iter().map(|c| (c.metadata.name.as_str(), c)).collect(),
            default_class: snapshot.storage_classes.iter().find(|c| {
                DEFAULT_CLASS.iter().any(|a| c.metadata.annotations.get(*a).is_some_and(|v| v == "true"))
            }),
            limited: snapshot
                .csi_nodes
                .iter()
                .flat_map(|node| &node.spec.drivers)
                .filter(|driver| driver.allocatable.as_ref().is_some_and(|a| a.count.is_some()))
                .map(|driver| driver.name.as_str())
                .collect(),
            exclusive: HashMap::new(),
            unknown: 0,
        })
    }

    /// How many claims are for one pod at a time.
    pub fn exclusive_claims(&self) -> usize {
        self.exclusive.len()
    }

    /// What could not be judged.
    pub fn note(&self) -> Option<String> {
        (self.unknown > 0).then(|| {
            format!(
                "{} claims of pods, or their volumes, are not in the snapshot: where those volumes can be reached is \
                 not judged; add persistentvolumeclaims, persistentvolumes and storageclasses",
                self.unknown
            )
        })
    }

    /// How many conditions of its volumes, or of the classes that make them, are held against each node.
    pub fn conditions(&self, pod: &Pod) -> usize {
        let of_class =
            |name: &str| self.classes.get(name).map_or(0, |class| class.allowed_topologies.entries());
        let of_claim = |name: &str| {
            let Some(claim) = self.claims.get(&(namespace(&pod.metadata.namespace), name)) else { return 0 };
            match self.volumes.get(claim.spec.volume_name.as_str()) {
                Some(volume) => conditions(volume),
                None => of_class(&claim.spec.storage_class_name),
            }
        };
        let of_volume = |volume: &Volume| {
            let claimed =
                volume.persistent_volume_claim.as_ref().map_or(0, |claim| of_claim(&claim.claim_name));
            let made =
                volume.ephemeral.as_ref().map(|made| &made.volume_claim_template.spec.storage_class_name);
            let made = made.map_or(0, |name| match name.as_str() {
                "" => self.default_class.map_or(0, |class| class.allowed_topologies.entries()),
                name => of_class(name),
            });
            claimed.saturating_add(made)
        };
        pod.spec.volumes.iter().map(of_volume).fold(0, usize::saturating_add)
    }

    pub fn of(&mut self, pod: &'s Pod, cluster: &mut Cluster, snapshot: &Snapshot) -> Result<Found, Error> {
        let mut found = Found::default();
        for name in pod.spec.volumes.iter().filter_map(|v| v.persistent_volume_claim.as_ref()) {
            let key = (namespace(&pod.metadata.namespace), name.claim_name.as_str());
            let Some(&claim) = self.claims.get(&key) else {
                if self.claims.is_empty() {
                    self.unknown += 1;
                } else {
                    found.never = Some(format!("its claim {:?} does not exist", name.claim_name));
                }
                continue;
            };
            if claim.spec.access_modes.iter().any(|m| m == "ReadWriteOncePod") {
                let next =
                    u32::try_from(self.exclusive.len()).expect("BUG: more claims than a snapshot can hold");
                found.exclusive.push(*self.exclusive.entry(key).or_insert(next));
            }
            if claim.spec.volume_name.is_empty() {
                self.unbound(claim, &mut found, cluster, snapshot);
                continue;
            }
            let Some(&volume) = self.volumes.get(claim.spec.volume_name.as_str()) else {
                if self.volumes.is_empty() {
                    self.unknown += 1;
                } else {
                    found.never = Some(format!("its volume {:?} does not exist", claim.spec.volume_name));
                }
                continue;
            };
            let reached = reached(volume, cluster, snapshot);
            keep(&mut found.nodes, reached.map_err(at(|| format!("pod {}", pod_name(pod))))?);
            let csi = volume.spec.csi.as_ref();
            if let Some(csi) = csi.filter(|csi| self.limited.contains(csi.driver.as_str())) {
                let id = cluster.names.id(&format!("{}\n{}", csi.driver, csi.volume_handle));
                let resource = cluster.resource(&format!("{ATTACHED}{}", csi.driver))?;
                found.attaches.push((id, resource));
            }
        }
        found.attaches.sort_unstable_by_key(|(id, resource)| (*resource, *id));
        found.attaches.dedup();
        for volume in pod.spec.volumes.iter().filter_map(|v| v.ephemeral.as_ref()) {
            self.made_with_it(&volume.volume_claim_template.spec, &mut found, cluster, snapshot)?;
        }
        Ok(found)
    }

    /// A pod that is made anew has a new claim of its own, which is bound to nothing yet: it takes one volume of its
    /// driver wherever the pod comes to run. The volume of the old one goes with it, and nobody else uses that; so
    /// the claim of each pod need not be looked up.
    fn made_with_it(
        &mut self,
        claim: &ClaimSpec,
        found: &mut Found,
        cluster: &mut Cluster,
        snapshot: &Snapshot,
    ) -> Result<(), Error> {
        let class = match claim.storage_class_name.as_str() {
            "" => self.default_class,
            name => self.classes.get(name).copied(),
        };
        let Some(class) = class else {
            self.unknown += 1;
            return Ok(());
        };
        if let Some(nodes) = made_on(class, cluster, snapshot) {
            keep(&mut found.nodes, nodes);
        }
        if self.limited.contains(class.provisioner.as_str()) {
            let resource = cluster.resource(&format!("{ATTACHED}{}", class.provisioner))?;
            match found.made_with_it.iter_mut().find(|(r, _)| *r == resource) {
                Some((_, volumes)) => *volumes += 1,
                None => found.made_with_it.push((resource, 1)),
            }
        }
        Ok(())
    }

    /// A claim without a volume gets one where the pod is placed, if its class waits for that.
    fn unbound(&mut self, claim: &Claim, found: &mut Found, cluster: &mut Cluster, snapshot: &Snapshot) {
        let Some(class) = self.classes.get(claim.spec.storage_class_name.as_str()) else {
            self.unknown += 1;
            return;
        };
        if class.volume_binding_mode != "WaitForFirstConsumer" {
            found.never = Some(format!("its claim {:?} has no volume yet", claim.metadata.name));
            return;
        }
        if let Some(nodes) = made_on(class, cluster, snapshot) {
            keep(&mut found.nodes, nodes);
        }
    }
}

/// The nodes on which volumes of the class can be made; absent: all.
fn made_on(class: &StorageClass, cluster: &mut Cluster, snapshot: &Snapshot) -> Option<NodeSet> {
    if class.allowed_topologies.is_empty() {
        return None;
    }
    let names = &mut cluster.names;
    let terms: Vec<Vec<(u32, Vec<u32>)>> = class
        .allowed_topologies
        .iter()
        .map(|t| {
            t.match_label_expressions
                .iter()
                .map(|e| (names.id(&e.key), e.values.iter().map(|v| names.id(v)).collect()))
                .collect()
        })
        .collect();
    Some(NodeSet::of(snapshot.nodes.len(), |n| {
        let labels = &cluster.node_labels[n];
        terms.iter().any(|term| {
            term.iter().all(|(key, values)| select::value(labels, *key).is_some_and(|v| values.contains(&v)))
        })
    }))
}

fn namespace(name: &str) -> &str {
    if name.is_empty() { "default" } else { name }
}

fn keep(nodes: &mut Option<NodeSet>, also: NodeSet) {
    match nodes {
        Some(nodes) => nodes.keep(&also),
        None => *nodes = Some(also),
    }
}

/// How many conditions say which nodes reach a volume; at least one.
fn conditions(volume: &PersistentVolume) -> usize {
    let zones = ZONE_LABELS.iter().filter_map(|label| volume.metadata.labels.get(*label));
    let zones = zones.map(|names| 1 + names.matches("__").count());
    1 + volume.spec.node_affinity.entries() + zones.sum::<usize>()
}

/// The nodes that reach a volume: by its node affinity and by its labels of zones.
fn reached(volume: &PersistentVolume, cluster: &mut Cluster, snapshot: &Snapshot) -> Result<NodeSet, String> {
    let names = &mut cluster.names;
    let required = volume.spec.node_affinity.required.as_ref();
    let terms = required
        .map(|r| select::node_terms(r, names))
        .transpose()
        .map_err(|problem| format!("volume {:?}: {problem}", volume.metadata.name))?;
    let keys = ZONE_LABELS.map(|k| names.id(k));
    let mut zones: Vec<([u32; 2], Vec<u32>)> = Vec::new();
    for (place, label) in ZONE_LABELS.iter().enumerate() {
        if let Some(value) = volume.metadata.labels.get(*label) {
            // A volume of several zones names them all in one value.
            // A node that has not the old label is known by the new one.
            zones.push(([keys[place], keys[place % 2]], value.split("__").map(|v| names.id(v)).collect()));
        }
    }
    Ok(NodeSet::of(snapshot.nodes.len(), |n| {
        let node =
            NodeView { labels: &cluster.node_labels[n], name: cluster.names.find(&cluster.node_names[n]) };
        let has_zone = keys.iter().any(|k| select::value(node.labels, *k).is_some());
        let in_zone = |(keys, values): &([u32; 2], Vec<u32>)| {
            let value = keys.iter().find_map(|key| select::value(node.labels, *key));
            value.is_some_and(|v| values.contains(&v))
        };
        terms.as_ref().is_none_or(|t| t.iter().any(|t| t.selects(&node, &cluster.names)))
            && (!has_zone || zones.iter().all(in_zone))
    }))
}
