//! Roles, who has them, and service accounts.

use super::{
    Family, Head, Stateful,
    common::{annotations, created, deleted, exists, flag, gauge, labels, resource_version},
};
use crate::objects::{ClusterRole, ClusterRoleBinding, Object, Role, RoleBinding, RoleRef, ServiceAccount};

impl Stateful for Role {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_role_annotations"),
        labels("kube_role_labels"),
        created("kube_role_created"),
        exists("kube_role_info"),
        resource_version("kube_role_metadata_resource_version"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("role", &self.meta().name);
    }
}

impl Stateful for ClusterRole {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_clusterrole_annotations"),
        labels("kube_clusterrole_labels"),
        created("kube_clusterrole_created"),
        exists("kube_clusterrole_info"),
        resource_version("kube_clusterrole_metadata_resource_version"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("clusterrole", &self.meta().name);
    }
}

impl Stateful for RoleBinding {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_rolebinding_annotations"),
        labels("kube_rolebinding_labels"),
        created("kube_rolebinding_created"),
        gauge("kube_rolebinding_info", "Which role it gives.", |object: &Self, rows| {
            rows.row(&role_labels(&object.role_ref), 1.0);
        }),
        resource_version("kube_rolebinding_metadata_resource_version"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("rolebinding", &self.meta().name);
    }
}

impl Stateful for ClusterRoleBinding {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_clusterrolebinding_annotations"),
        labels("kube_clusterrolebinding_labels"),
        created("kube_clusterrolebinding_created"),
        gauge("kube_clusterrolebinding_info", "Which role it gives.", |object: &Self, rows| {
            rows.row(&role_labels(&object.role_ref), 1.0);
        }),
        resource_version("kube_clusterrolebinding_metadata_resource_version"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("clusterrolebinding", &self.meta().name);
    }
}

fn role_labels(role: &RoleRef) -> [(&str, &str); 2] {
    [("roleref_kind", &role.kind), ("roleref_name", &role.name)]
}

impl Stateful for ServiceAccount {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_serviceaccount_annotations"),
        labels("kube_serviceaccount_labels"),
        created("kube_serviceaccount_created"),
        deleted("kube_serviceaccount_deleted"),
        gauge(
            "kube_serviceaccount_image_pull_secret",
            "Secrets that its pods get images with.",
            |object: &Self, rows| {
                for secret in &object.image_pull_secrets {
                    rows.row(&[("name", &secret.name)], 1.0);
                }
            },
        ),
        gauge("kube_serviceaccount_info", "Whether its pods get its token.", |object: &Self, rows| {
            rows.row(&[("automount_token", flag(object.automount_service_account_token))], 1.0);
        }),
        gauge("kube_serviceaccount_secret", "Secrets that its pods may use.", |object: &Self, rows| {
            for secret in &object.secrets {
                rows.row(&[("name", &secret.name)], 1.0);
            }
        }),
    ];

    fn head(&self, head: &mut Head) {
        let meta = self.meta();
        head.label("namespace", &meta.namespace).label("serviceaccount", &meta.name).label("uid", &meta.uid);
    }
}
