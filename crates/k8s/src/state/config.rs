//! Config maps and secrets: that they are there, never what they say.

use super::{
    Family, Head, Stateful,
    common::{annotations, created, exists, gauge, labels, owner, resource_version},
};
use crate::objects::{ConfigMap, Object, Secret};

impl Stateful for ConfigMap {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_configmap_annotations"),
        labels("kube_configmap_labels"),
        created("kube_configmap_created"),
        exists("kube_configmap_info"),
        resource_version("kube_configmap_metadata_resource_version"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("configmap", &self.meta().name);
    }
}

impl Stateful for Secret {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_secret_annotations"),
        labels("kube_secret_labels"),
        created("kube_secret_created"),
        exists("kube_secret_info"),
        resource_version("kube_secret_metadata_resource_version"),
        owner("kube_secret_owner"),
        gauge("kube_secret_type", "What kind of secret it is.", |object: &Self, rows| {
            rows.row(&[("type", &object.kind)], 1.0);
        }),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("secret", &self.meta().name);
    }
}
