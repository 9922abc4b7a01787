//! The objects of a cluster, with the fields that are used and no others.
//!
//! Texts are kept without spare room and maps as sorted slices, as there are tens of thousands of them.
//! Programs written in Go send null for what is empty.

mod access;
mod admission;
mod author;
mod autoscaling;
mod certificates;
mod config;
mod event;
mod images;
mod jobs;
mod leases;
mod lenient;
mod network;
mod node;
mod owned;
mod pod;
mod policy;
mod powers;
mod storage;
mod workloads;

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, de, de::DeserializeOwned};

pub(crate) use access::RoleRef;
pub use access::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, ServiceAccount};
pub(crate) use admission::{AdmissionPolicySpec, PolicyBindingSpec, Webhook};
pub use admission::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
pub use author::{Authors, Hand};
pub use autoscaling::HorizontalPodAutoscaler;
pub(crate) use autoscaling::MetricSource;
pub use certificates::CertificateSigningRequest;
pub use config::{ConfigMap, Secret};
pub use event::{ClusterEvent, Involved};
pub(crate) use images::Digest;
pub use jobs::{CronJob, JobState};
pub use leases::Lease;
pub(crate) use lenient::IntOrText;
pub use lenient::{Amount, Amounts};
pub use network::{
    Address, EndpointPort, EndpointSlice, Endpoints, Ingress, IngressClass, IngressPath, IngressRule,
    Service, ServicePort, SliceEndpoint, SlicePort, Subset, TargetRef,
};
pub use node::{Condition, Namespace, Node, NodeAddress};
pub use owned::{Job, ReplicaSet};
pub(crate) use pod::NotedVolume;
pub use pod::{Container, ContainerPort, ContainerState, ContainerStatus, Pod, Resources, Terminated};
pub use policy::{LimitRange, NetworkPolicy, PodDisruptionBudget, ResourceQuota};
pub use storage::{PersistentVolume, PersistentVolumeClaim, StorageClass, VolumeAttachment};
pub use workloads::{DaemonSet, Deployment, ReplicaSetState, ReplicationController, StatefulSet};

/// A kind of objects that the API server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource<T = &'static str> {
    /// The group, empty for the oldest.
    pub group: T,
    /// Its version.
    pub version: T,
    /// The word in paths.
    pub plural: T,
    /// Whether the objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether nothing but metadata is used, so that no more is asked for.
    pub is_metadata_only: bool,
}

/// One whose words are known only while the program runs.
pub type AnyResource = Resource<Arc<str>>;

impl Resource {
    const fn core(plural: &'static str) -> Self {
        Self { group: "", version: "v1", plural, is_namespaced: true, is_metadata_only: false }
    }

    /// The same as one of those whose words are known only while the program runs.
    pub fn any(self) -> AnyResource {
        Resource {
            group: self.group.into(),
            version: self.version.into(),
            plural: self.plural.into(),
            is_namespaced: self.is_namespaced,
            is_metadata_only: self.is_metadata_only,
        }
    }
}

impl<T: AsRef<str>> Resource<T> {
    /// The path of all objects, or of those in one namespace.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let (group, version, plural) = (self.group.as_ref(), self.version.as_ref(), self.plural.as_ref());
        let mut path =
            if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") };
        if let Some(namespace) = namespace.filter(|_| self.is_namespaced) {
            path.push_str("namespaces/");
            // A name of a namespace has no letter that means something in a path, but it comes from a file.
            path.extend(url::form_urlencoded::byte_serialize(namespace.as_bytes()));
            path.push('/');
        }
        path + plural
    }

    /// As rules of roles name it: `replicasets.apps`.
    pub fn name(&self) -> String {
        let (group, plural) = (self.group.as_ref(), self.plural.as_ref());
        if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
    }
}

/// An object of a cluster.
pub trait Object: DeserializeOwned + Send + Sync + 'static {
    /// Its kind.
    const RESOURCE: Resource;

    /// Who it is.
    fn meta(&self) -> &Meta;
}

/// What a watch is told of: objects, or what stands for such.
pub(crate) trait Listed: DeserializeOwned + Send + Sync + 'static {
    /// Who it is.
    fn meta(&self) -> &Meta;
}

impl<O: Object> Listed for O {
    fn meta(&self) -> &Meta {
        Object::meta(self)
    }
}

/// Who an object is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Its name.
    pub name: Box<str>,
    /// Where it lives; empty for what lives in no namespace.
    pub namespace: Box<str>,
    /// What tells it from one of the same name before or after it.
    pub uid: Box<str>,
    /// In which state it is.
    pub resource_version: Box<str>,
    /// Its labels.
    pub labels: Pairs,
    /// Its annotations.
    pub annotations: Pairs,
    /// The object that made it and cares for it.
    pub controller: Option<Box<Owner>>,
    /// Others that it goes with; hardly anything has one.
    pub other_owners: Box<[Owner]>,
    /// When it was made, in seconds since 1970.
    pub created: Option<i64>,
    /// When it was to go, in seconds since 1970.
    pub deleted: Option<i64>,
    /// How often what is wished of it has changed.
    pub generation: i64,
    /// Which programs wrote it, if that is told.
    pub authors: Option<Box<Authors>>,
}

/// An object that made another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its kind, as `ReplicaSet`.
    pub kind: Box<str>,
    /// Its name; it lives in the same namespace.
    pub name: Box<str>,
}

impl Meta {
    /// What tells it from others of its kind.
    pub fn key(&self) -> Box<str> {
        key(&self.namespace, &self.name)
    }

    /// All owners, and whether each is the controller.
    pub fn owners(&self) -> impl Iterator<Item = (&Owner, bool)> {
        let controller = self.controller.iter().map(|owner| (&**owner, true));
        controller.chain(self.other_owners.iter().map(|owner| (owner, false)))
    }
}

/// `namespace/name`, or only the name.
pub fn key(namespace: &str, name: &str) -> Box<str> {
    if namespace.is_empty() { name.into() } else { [namespace, "/", name].concat().into_boxed_str() }
}

/// Names and values in the order of the names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs(Box<[(Box<str>, Box<str>)]>);

impl Pairs {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[found].1)
    }

    /// Takes a name and its value out.
    fn remove(&mut self, name: &str) {
        if self.get(name).is_some() {
            let others = std::mem::take(&mut self.0).into_iter().filter(|(known, _)| **known != *name);
            self.0 = others.collect();
        }
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }
            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Vec<(Box<str>, Box<str>)> = Vec::new();
                while let Some(pair) = map.next_entry::<Box<str>, Option<Box<str>>>()? {
                    pairs.push((pair.0, pair.1.unwrap_or_default()));
                }
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs.dedup_by(|a, b| a.0 == b.0);
                Ok(Pairs(pairs.into_boxed_slice()))
            }
        }
        from.deserialize_any(Visitor)
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            name: Box<str>,
            #[serde(default, deserialize_with = "null_as_default")]
            namespace: Box<str>,
            #[serde(default, deserialize_with = "null_as_default")]
            uid: Box<str>,
            #[serde(default, deserialize_with = "null_as_default")]
            resource_version: Box<str>,
            #[serde(default)]
            labels: Pairs,
            #[serde(default)]
            annotations: Pairs,
            #[serde(default, deserialize_with = "null_as_default")]
            owner_references: Owners,
            #[serde(default, deserialize_with = "time")]
            creation_timestamp: Option<i64>,
            #[serde(default, deserialize_with = "time")]
            deletion_timestamp: Option<i64>,
            #[serde(default, deserialize_with = "null_as_default")]
            generation: i64,
            #[serde(default, deserialize_with = "author::authors")]
            managed_fields: Option<Box<Authors>>,
        }
        let wire = Wire::deserialize(from)?;
        Ok(Self {
            name: wire.name,
            namespace: wire.namespace,
            uid: wire.uid,
            resource_version: wire.resource_version,
            labels: wire.labels,
            annotations: wire.annotations,
            controller: wire.owner_references.controller,
            other_owners: wire.owner_references.others,
            created: wire.creation_timestamp,
            deleted: wire.deletion_timestamp,
            generation: wire.generation,
            authors: wire.managed_fields,
        })
    }
}

/// Who an object goes with.
#[derive(Debug, Default)]
struct Owners {
    controller: Option<Box<Owner>>,
    others: Box<[Owner]>,
}

impl<'de> Deserialize<'de> for Owners {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wire {
            #[serde(deserialize_with = "null_as_default")]
            kind: Box<str>,
            #[serde(deserialize_with = "null_as_default")]
            name: Box<str>,
            controller: Option<bool>,
        }
        let mut controller = None;
        let mut others = Vec::new();
        for wire in Option::<Vec<Wire>>::deserialize(from)?.unwrap_or_default() {
            let owner = Owner { kind: wire.kind, name: wire.name };
            match wire.controller {
                Some(true) if controller.is_none() => controller = Some(Box::new(owner)),
                _ => others.push(owner),
            }
        }
        Ok(Self { controller, others: others.into_boxed_slice() })
    }
}

/// Seconds since 1970; what is no time is none.
pub(crate) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(from)?;
    Ok(text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_second))
}

/// What is null is what is not there.
pub(crate) fn null_as_default<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_keeps_what_is_used() {
        let text = r#"{"name": "n", "namespace": "s", "uid": "u", "resourceVersion": "5", "labels":
            {"b": "2", "a": "1", "c": null}, "annotations": null, "creationTimestamp": "2017-07-14T02:40:00Z",
            "deletionTimestamp": "soon", "generation": 7, "managedFields": [{"x": {"y": []}}],
            "ownerReferences": [{"kind": "X", "name": "no"},
                {"kind": "ReplicaSet", "name": "r", "controller": true, "uid": "z"}]}"#;
        let meta: Meta = serde_json::from_str(text).expect("sound");
        assert_eq!((&*meta.key(), &*meta.uid, &*meta.resource_version), ("s/n", "u", "5"));
        assert_eq!(meta.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
        assert_eq!((meta.labels.get("b"), meta.labels.get("d")), (Some("2"), None));
        assert_eq!(meta.annotations, Pairs::default());
        let owner = meta.controller.as_ref().expect("a controller");
        assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "r"));
        let owners: Vec<_> = meta.owners().map(|(owner, controls)| (&*owner.name, controls)).collect();
        assert_eq!(owners, [("r", true), ("no", false)]);
        assert_eq!((meta.created, meta.deleted, meta.generation), (Some(1_500_000_000), None, 7));
        assert!(serde_json::from_str::<Meta>("{}").is_err(), "nothing has no name");
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(Pod::RESOURCE.path(None), "/api/v1/pods");
        assert_eq!(Pod::RESOURCE.path(Some("a b/../c")), "/api/v1/namespaces/a+b%2F..%2Fc/pods");
        assert_eq!(Node::RESOURCE.path(Some("x")), "/api/v1/nodes");
        assert_eq!(ReplicaSet::RESOURCE.path(Some("x")), "/apis/apps/v1/namespaces/x/replicasets");
        assert_eq!(Job::RESOURCE.name(), "jobs.batch");
    }
}
