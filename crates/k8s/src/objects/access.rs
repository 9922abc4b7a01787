//! Who may do what.

use super::{
    Resource,
    lenient::{Named, objects, parts},
};

/// Of roles only that they are there is told.
const fn roles(plural: &'static str, is_namespaced: bool, is_metadata_only: bool) -> Resource {
    let core = Resource::core(plural);
    Resource { group: "rbac.authorization.k8s.io", is_namespaced, is_metadata_only, ..core }
}

objects! {
    /// Rights in a namespace.
    Role at roles("roles", true, true) => {}

    /// Rights everywhere.
    ClusterRole at roles("clusterroles", false, true) => {}

    /// Gives rights in a namespace.
    RoleBinding at roles("rolebindings", true, false) => {
        role_ref: RoleRef,
    }

    /// Gives rights everywhere.
    ClusterRoleBinding at roles("clusterrolebindings", false, false) => {
        role_ref: RoleRef,
    }

    /// Whom a pod acts as.
    ServiceAccount at Resource::core("serviceaccounts") => {
        automount_service_account_token: Option<bool>,
        secrets: Box<[Named]>,
        image_pull_secrets: Box<[Named]>,
    }
}

parts! {
    /// The rights that are given.
    RoleRef {
        kind: Box<str>,
        name: Box<str>,
    }
}
