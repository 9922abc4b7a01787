//! What stands between a pod and the workload that a person made. Only who owns it and who wrote it is kept.

use serde::{Deserialize, Deserializer};

use super::{Authors, Meta, Object, Owners, Resource, author, null_as_default, time};

/// Keeps the pods of one state of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ReplicaSet {
    #[serde(deserialize_with = "slim")]
    metadata: Meta,
}

/// Runs pods until they are done.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    #[serde(deserialize_with = "slim")]
    metadata: Meta,
}

impl Object for ReplicaSet {
    const RESOURCE: Resource =
        Resource { group: "apps", is_metadata_only: true, ..Resource::core("replicasets") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

impl Object for Job {
    const RESOURCE: Resource = Resource { group: "batch", is_metadata_only: true, ..Resource::core("jobs") };

    fn meta(&self) -> &Meta {
        &self.metadata
    }
}

/// Neither labels nor annotations, and of the owners only the controller.
fn slim<'de, D: Deserializer<'de>>(from: D) -> Result<Meta, D::Error> {
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
        owner_references: Owners,
        #[serde(default, deserialize_with = "time")]
        creation_timestamp: Option<i64>,
        #[serde(default, deserialize_with = "author::authors")]
        managed_fields: Option<Box<Authors>>,
    }
    let wire = Wire::deserialize(from)?;
    let Wire { name, namespace, uid, resource_version, owner_references, .. } = wire;
    Ok(Meta {
        name,
        namespace,
        uid,
        resource_version,
        controller: owner_references.controller,
        created: wire.creation_timestamp,
        authors: wire.managed_fields,
        ..Meta::default()
    })
}
