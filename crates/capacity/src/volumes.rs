//! What the claims of a pod mean for where it may run.

use std::collections::HashMap;

use crate::{
    Error, Snapshot,
    class::ATTACHED,
    cluster::Cluster,
    nodes::NodeSet,
    objects::{Claim, PersistentVolume, Pod, StorageClass},
    select::{self, NodeView},
};

/// Labels of volumes that say where they can be reached; the last two are what the first two were called before.
const ZONE_LABELS: [&str; 4] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];

/// What the claims of a pod mean.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The nodes that reach all its volumes; absent: all.
    pub nodes: Option<NodeSet>,
    /// Volumes that are attached, and the resource that each takes one of.
    pub attaches: Vec<(u32, u16)>,
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

    pub fn of(&mut self, pod: &'s Pod, cluster: &mut Cluster, snapshot: &Snapshot) -> Result<Found, String> {
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
            let reached = reached(volume, cluster, snapshot)?;
            keep(&mut found.nodes, reached);
            if let Some(csi) = &volume.spec.csi {
                let id = cluster.names.id(&format!("{}\n{}", csi.driver, csi.volume_handle));
                let resource = cluster.resource(&format!("{ATTACHED}{}", csi.driver));
                if !found.attaches.contains(&(id, resource)) {
                    found.attaches.push((id, resource));
                }
            }
        }
        Ok(found)
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
        if class.allowed_topologies.is_empty() {
            return;
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
        let nodes = NodeSet::of(snapshot.nodes.len(), |n| {
            let labels = &cluster.node_labels[n];
            terms.iter().any(|term| {
                term.iter()
                    .all(|(key, values)| select::value(labels, *key).is_some_and(|v| values.contains(&v)))
            })
        });
        keep(&mut found.nodes, nodes);
    }
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
