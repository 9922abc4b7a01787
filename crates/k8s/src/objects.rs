//! The objects of a cluster, with the fields that are used and no others.
//!
//! Texts are kept without spare room and maps as sorted slices, as there are tens of thousands of them.
//! Programs written in Go send null for what is empty.

mod network;
mod node;
mod owned;
mod pod;

use serde::{Deserialize, Deserializer, de, de::DeserializeOwned};

pub use network::{
    Address, EndpointPort, EndpointSlice, Endpoints, Ingress, IngressRule, Service, ServicePort,
    SliceEndpoint, SlicePort, Subset, TargetRef,
};
pub use node::{Condition, Namespace, Node, NodeAddress};
pub use owned::{Job, ReplicaSet};
pub use pod::{Container, ContainerPort, ContainerStatus, Pod};

/// A kind of objects that the API server lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resource {
    /// The group, empty for the oldest.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The word in paths.
    pub plural: &'static str,
    /// Whether the objects live in namespaces.
    pub is_namespaced: bool,
    /// Whether nothing but metadata is used, so that no more is asked for.
    pub is_metadata_only: bool,
}

impl Resource {
    const fn core(plural: &'static str) -> Self {
        Self { group: "", version: "v1", plural, is_namespaced: true, is_metadata_only: false }
    }

    /// The path of all objects, or of those in one namespace.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let Self { group, version, plural, .. } = self;
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
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

/// An object of a cluster.
pub trait Object: DeserializeOwned + Send + Sync + 'static {
    /// Its kind.
    const RESOURCE: Resource;

    /// Who it is.
    fn meta(&self) -> &Meta;
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
            #[serde(default)]
            namespace: Box<str>,
            #[serde(default)]
            uid: Box<str>,
            #[serde(default)]
            resource_version: Box<str>,
            #[serde(default)]
            labels: Pairs,
            #[serde(default)]
            annotations: Pairs,
            #[serde(default, deserialize_with = "controller")]
            owner_references: Option<Box<Owner>>,
        }
        let wire = Wire::deserialize(from)?;
        Ok(Self {
            name: wire.name,
            namespace: wire.namespace,
            uid: wire.uid,
            resource_version: wire.resource_version,
            labels: wire.labels,
            annotations: wire.annotations,
            controller: wire.owner_references,
        })
    }
}

/// The one owner that is the controller, if there is one.
fn controller<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<Owner>>, D::Error> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        kind: Box<str>,
        #[serde(default)]
        name: Box<str>,
        #[serde(default)]
        controller: Option<bool>,
    }
    let owners = Option::<Vec<Wire>>::deserialize(from)?.unwrap_or_default();
    let found = owners.into_iter().find(|owner| owner.controller == Some(true));
    Ok(found.map(|owner| Box::new(Owner { kind: owner.kind, name: owner.name })))
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
            {"b": "2", "a": "1", "c": null}, "annotations": null, "managedFields": [{"x": {"y": []}}],
            "ownerReferences": [{"kind": "X", "name": "no"},
                {"kind": "ReplicaSet", "name": "r", "controller": true, "uid": "z"}]}"#;
        let meta: Meta = serde_json::from_str(text).expect("sound");
        assert_eq!((&*meta.key(), &*meta.uid, &*meta.resource_version), ("s/n", "u", "5"));
        assert_eq!(meta.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2"), ("c", "")]);
        assert_eq!((meta.labels.get("b"), meta.labels.get("d")), (Some("2"), None));
        assert_eq!(meta.annotations, Pairs::default());
        let owner = meta.controller.expect("a controller");
        assert_eq!((&*owner.kind, &*owner.name), ("ReplicaSet", "r"));
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
