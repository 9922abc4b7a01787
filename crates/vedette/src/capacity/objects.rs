//! The objects of a cluster by which its capacity is judged, as they are listed and watched: of each only what
//! is judged is kept, shared by the watch and by the snapshot that is judged.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::value::RawValue;
use vedette_capacity::{
    Snapshot,
    objects::{
        Claim, CsiNode, DisruptionBudget, Namespace, Node, PersistentVolume, Pod, PriorityClass, StorageClass,
    },
};
use vedette_k8s::objects::{Meta, Object, Resource};

/// A kind of objects that is judged.
pub trait Kind: DeserializeOwned + Send + Sync + 'static {
    /// How it is listed.
    const RESOURCE: Resource;
    /// Whether nothing can be judged without it.
    const IS_NEEDED: bool = false;

    /// Lets go of what is not judged.
    fn trim(&mut self) {}

    /// What changes when something changes that is judged.
    fn print(&self) -> u64;

    /// Adds it to what is judged.
    fn add(self: Arc<Self>, snapshot: &mut Snapshot);
}

/// An object as it is kept.
pub struct Kept<K> {
    meta: Meta,
    /// The object.
    pub object: Arc<K>,
    /// See [`Kind::print`].
    pub print: u64,
}

impl<'de, K: Kind> Deserialize<'de> for Kept<K> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            metadata: HeadMeta,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct HeadMeta {
            name: Box<str>,
            #[serde(default)]
            namespace: Box<str>,
            #[serde(default)]
            uid: Box<str>,
            #[serde(default)]
            resource_version: Box<str>,
        }
        let text = <&RawValue>::deserialize(from)?.get();
        // Labels and owners stand in the object itself; they are not kept twice.
        let HeadMeta { name, namespace, uid, resource_version } =
            serde_json::from_str::<Head>(text).map_err(D::Error::custom)?.metadata;
        let mut object: K = serde_json::from_str(text).map_err(D::Error::custom)?;
        object.trim();
        let meta = Meta { name, namespace, uid, resource_version, ..Meta::default() };
        Ok(Self { meta, print: object.print(), object: Arc::new(object) })
    }
}

impl<K: Kind> Object for Kept<K> {
    const RESOURCE: Resource = K::RESOURCE;

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn print_of(object: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    hasher.finish()
}

const fn resource(group: &'static str, plural: &'static str, is_namespaced: bool) -> Resource {
    Resource { group, version: "v1", plural, is_namespaced, is_metadata_only: false }
}

impl Kind for Pod {
    const RESOURCE: Resource = resource("", "pods", true);
    const IS_NEEDED: bool = true;

    fn trim(&mut self) {
        self.metadata.annotations.retain(|name, _| name == MIRROR);
        // Containers that have what they ask for, which is nearly always so.
        let (spec, status) = (&self.spec, &mut self.status);
        for (statuses, containers) in [
            (&mut status.container_statuses, &spec.containers),
            (&mut status.init_container_statuses, &spec.init_containers),
        ] {
            statuses.retain(|s| !s.is_as_asked(containers));
            statuses.shrink_to_fit();
        }
    }

    fn print(&self) -> u64 {
        print_of(self)
    }

    fn add(self: Arc<Self>, snapshot: &mut Snapshot) {
        snapshot.pods.push(self);
    }
}

/// By which a pod is known that a file on its node describes.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// A node, and what tells of its outages.
#[derive(Debug)]
pub struct Machine {
    /// As it is judged.
    pub node: Node,
    /// Since when it is ready or not, in milliseconds since the epoch.
    pub changed_ms: Option<i64>,
    /// When its kubelet was last heard of.
    pub heard_ms: Option<i64>,
    /// What tells one start of the machine from the next.
    pub boot_id: String,
}

impl Machine {
    /// Whether it is not ready as nothing is heard of it.
    pub fn is_silent(&self) -> bool {
        self.node.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "Unknown")
    }
}

impl<'de> Deserialize<'de> for Machine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wire {
            status: Option<Status>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Status {
            conditions: Option<Vec<Condition>>,
            node_info: Option<NodeInfo>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Condition {
            r#type: String,
            last_transition_time: Option<String>,
            last_heartbeat_time: Option<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct NodeInfo {
            #[serde(rename = "bootID")]
            boot_id: Option<String>,
        }
        let text = <&RawValue>::deserialize(from)?.get();
        let node = serde_json::from_str(text).map_err(D::Error::custom)?;
        let status = serde_json::from_str::<Wire>(text).map_err(D::Error::custom)?.status.unwrap_or_default();
        let ready = status.conditions.unwrap_or_default().into_iter().find(|c| c.r#type == "Ready");
        let ready = ready.unwrap_or_default();
        let time = |text: Option<String>| text?.parse().ok().map(jiff::Timestamp::as_millisecond);
        Ok(Self {
            node,
            changed_ms: time(ready.last_transition_time),
            heard_ms: time(ready.last_heartbeat_time),
            boot_id: status.node_info.unwrap_or_default().boot_id.unwrap_or_default(),
        })
    }
}

impl Kind for Machine {
    const RESOURCE: Resource = resource("", "nodes", false);
    const IS_NEEDED: bool = true;

    fn trim(&mut self) {
        self.node.metadata.annotations = BTreeMap::new();
        self.node.status.conditions.retain(|c| c.r#type == "Ready");
    }

    fn print(&self) -> u64 {
        print_of(&self.node)
    }

    fn add(self: Arc<Self>, snapshot: &mut Snapshot) {
        snapshot.nodes.push(self.node.clone());
    }
}

macro_rules! kinds {
    ($($kind:ty, $list:ident, $resource:expr;)*) => {$(
        impl Kind for $kind {
            const RESOURCE: Resource = $resource;

            fn trim(&mut self) {
                self.metadata.annotations.retain(|name, _| vedette_capacity::says_default_class(name));
            }

            fn print(&self) -> u64 {
                print_of(self)
            }

            fn add(self: Arc<Self>, snapshot: &mut Snapshot) {
                snapshot.$list.push(Arc::unwrap_or_clone(self));
            }
        }
    )*};
}

kinds! {
    DisruptionBudget, budgets, resource("policy", "poddisruptionbudgets", true);
    Claim, claims, resource("", "persistentvolumeclaims", true);
    PersistentVolume, volumes, resource("", "persistentvolumes", false);
    CsiNode, csi_nodes, resource("storage.k8s.io", "csinodes", false);
    StorageClass, storage_classes, resource("storage.k8s.io", "storageclasses", false);
    Namespace, namespaces, Resource { is_metadata_only: true, ..resource("", "namespaces", false) };
    PriorityClass, priority_classes, resource("scheduling.k8s.io", "priorityclasses", false);
}

/// Does the same for every kind.
macro_rules! for_each_kind {
    ($do:ident) => {
        $do! {
            crate::capacity::objects::Machine,
            vedette_capacity::objects::Pod,
            vedette_capacity::objects::DisruptionBudget,
            vedette_capacity::objects::Claim,
            vedette_capacity::objects::PersistentVolume,
            vedette_capacity::objects::CsiNode,
            vedette_capacity::objects::StorageClass,
            vedette_capacity::objects::Namespace,
            vedette_capacity::objects::PriorityClass
        }
    };
}
pub(crate) use for_each_kind;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_judged_is_kept_and_seen_as_a_change() {
        let pod = |version: &str, status: serde_json::Value| {
            let text =
                json!({"metadata": {"name": "p", "namespace": "s", "uid": "u", "resourceVersion": version,
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", MIRROR: "x"}},
                "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i",
                    "resources": {"requests": {"cpu": "1"}}}]}, "status": status})
                .to_string();
            serde_json::from_str::<Kept<Pod>>(&text).expect("a pod")
        };
        let runs = |has: &str| {
            json!({"phase": "Running", "podIP": "10.0.0.1",
                "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": has}}]})
        };
        let first = pod("1", runs("1"));
        assert_eq!((&*first.meta().key(), &*first.meta().resource_version), ("s/p", "1"));
        assert_eq!(first.object.metadata.annotations.keys().collect::<Vec<_>>(), [MIRROR]);
        assert!(first.object.status.container_statuses.is_empty(), "it has what it asks for");
        let other_ip = json!({"phase": "Running", "podIP": "10.0.0.2"});
        assert_eq!(first.print, pod("2", other_ip).print, "an address is not judged");
        assert_ne!(first.print, pod("3", runs("2")).print, "what it holds is");
    }

    #[test]
    fn a_node_tells_of_its_outages() {
        let node = |heard: &str| {
            let text = json!({"metadata": {"name": "n", "resourceVersion": "1"}, "status": {
                "nodeInfo": {"bootID": "b"}, "allocatable": {"cpu": "1"}, "conditions": [
                    {"type": "DiskPressure", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                    {"type": "Ready", "status": "Unknown", "lastTransitionTime": "1970-01-01T00:01:00Z",
                        "lastHeartbeatTime": heard}]}})
            .to_string();
            serde_json::from_str::<Kept<Machine>>(&text).expect("a node")
        };
        let kept = node("1970-01-01T00:00:20Z");
        let machine = &kept.object;
        assert_eq!((machine.changed_ms, machine.heard_ms), (Some(60_000), Some(20_000)));
        assert_eq!((&*machine.boot_id, machine.node.is_ready(), machine.is_silent()), ("b", false, true));
        assert_eq!(kept.print, node("1970-01-01T00:00:30Z").print, "a heartbeat is not judged");
    }
}
