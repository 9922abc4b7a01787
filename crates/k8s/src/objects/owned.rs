//! What stands between a pod and the workload that a person made. Only who owns it is kept.

use serde::{Deserialize, Deserializer};

use super::{Meta, Object, Owners, Resource};

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
        #[serde(default)]
        namespace: Box<str>,
        #[serde(default)]
        uid: Box<str>,
        #[serde(default)]
        resource_version: Box<str>,
        #[serde(default)]
        owner_references: Owners,
    }
    let Wire { name, namespace, uid, resource_version, owner_references } = Wire::deserialize(from)?;
    Ok(Meta {
        name,
        namespace,
        uid,
        resource_version,
        controller: owner_references.controller,
        ..Meta::default()
    })
}
