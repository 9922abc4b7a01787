//! Webhooks and policies that objects pass before they are taken. None of them lives in a namespace, yet all have
//! that label, which is empty.

use super::{
    Family, Head, Rows, Stateful,
    common::{created, exists, gauge, resource_version},
};
use crate::objects::{
    AdmissionPolicySpec, Meta, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
    MutatingWebhookConfiguration, Object, PolicyBindingSpec, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration, Webhook,
};

impl Stateful for MutatingWebhookConfiguration {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_mutatingwebhookconfiguration_created"),
        exists("kube_mutatingwebhookconfiguration_info"),
        resource_version("kube_mutatingwebhookconfiguration_metadata_resource_version"),
        gauge(
            "kube_mutatingwebhookconfiguration_webhook_clientconfig_service",
            "The services that are asked.",
            |object: &Self, rows| services(&object.webhooks, rows),
        ),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "mutatingwebhookconfiguration", head);
    }
}

impl Stateful for ValidatingWebhookConfiguration {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_validatingwebhookconfiguration_created"),
        exists("kube_validatingwebhookconfiguration_info"),
        resource_version("kube_validatingwebhookconfiguration_metadata_resource_version"),
        gauge(
            "kube_validatingwebhookconfiguration_webhook_clientconfig_service",
            "The services that are asked.",
            |object: &Self, rows| services(&object.webhooks, rows),
        ),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "validatingwebhookconfiguration", head);
    }
}

impl Stateful for MutatingAdmissionPolicy {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_mutatingadmissionpolicy_created"),
        gauge("kube_mutatingadmissionpolicy_info", "What it does where it fails.", |object: &Self, rows| {
            let [version, kind, failure] = policy(&object.spec);
            rows.row(
                &[version, kind, failure, ("reinvocation_policy", &object.spec.reinvocation_policy)],
                1.0,
            );
        }),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "mutatingadmissionpolicy", head);
    }
}

impl Stateful for MutatingAdmissionPolicyBinding {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_mutatingadmissionpolicybinding_created"),
        gauge("kube_mutatingadmissionpolicybinding_info", "Which policy holds.", |object: &Self, rows| {
            rows.row(&binding(&object.spec), 1.0);
        }),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "mutatingadmissionpolicybinding", head);
    }
}

impl Stateful for ValidatingAdmissionPolicy {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_validatingadmissionpolicy_created"),
        gauge(
            "kube_validatingadmissionpolicy_info",
            "What it does where it fails.",
            |object: &Self, rows| {
                rows.row(&policy(&object.spec), 1.0);
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "validatingadmissionpolicy", head);
    }
}

impl Stateful for ValidatingAdmissionPolicyBinding {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_validatingadmissionpolicybinding_created"),
        gauge("kube_validatingadmissionpolicybinding_info", "Which policy holds.", |object: &Self, rows| {
            rows.row(&binding(&object.spec), 1.0);
        }),
        gauge(
            "kube_validatingadmissionpolicybinding_validation_action",
            "What is done with an object that breaks the policy.",
            |object: &Self, rows| {
                for action in &object.spec.validation_actions {
                    rows.row(&[("action", action)], 1.0);
                }
            },
        ),
    ];

    fn head(&self, head: &mut Head) {
        named(self.meta(), "validatingadmissionpolicybinding", head);
    }
}

fn named(meta: &Meta, kind: &str, head: &mut Head) {
    head.label("namespace", &meta.namespace).label(kind, &meta.name);
}

/// A webhook that is reached by a URL has no service.
fn services(webhooks: &[Webhook], rows: &mut Rows<'_>) {
    for Webhook { name, client_config } in webhooks {
        let service = &client_config.service;
        let labels = [
            ("webhook_name", &**name),
            ("service_name", &*service.name),
            ("service_namespace", &*service.namespace),
        ];
        rows.row(&labels, 1.0);
    }
}

fn policy(spec: &AdmissionPolicySpec) -> [(&str, &str); 3] {
    [
        ("param_api_version", &spec.param_kind.api_version),
        ("param_kind", &spec.param_kind.kind),
        ("failure_policy", &spec.failure_policy),
    ]
}

fn binding(spec: &PolicyBindingSpec) -> [(&str, &str); 4] {
    [
        ("policy_name", &spec.policy_name),
        ("param_name", &spec.param_ref.name),
        ("param_namespace", &spec.param_ref.namespace),
        ("param_not_found_action", &spec.param_ref.parameter_not_found_action),
    ]
}
