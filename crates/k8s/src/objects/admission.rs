//! Who looks at objects before they are taken.

use super::{
    Resource,
    lenient::{objects, parts},
};

const fn admission(plural: &'static str) -> Resource {
    let core = Resource::core(plural);
    Resource { group: "admissionregistration.k8s.io", is_namespaced: false, ..core }
}

objects! {
    /// Servers that may change objects.
    MutatingWebhookConfiguration at admission("mutatingwebhookconfigurations") => {
        webhooks: Box<[Webhook]>,
    }

    /// Servers that may refuse objects.
    ValidatingWebhookConfiguration at admission("validatingwebhookconfigurations") => {
        webhooks: Box<[Webhook]>,
    }

    /// Expressions that change objects.
    MutatingAdmissionPolicy at admission("mutatingadmissionpolicies") => {
        spec: AdmissionPolicySpec,
    }

    /// Where expressions that change objects hold.
    MutatingAdmissionPolicyBinding at admission("mutatingadmissionpolicybindings") => {
        spec: PolicyBindingSpec,
    }

    /// Expressions that refuse objects.
    ValidatingAdmissionPolicy at admission("validatingadmissionpolicies") => {
        spec: AdmissionPolicySpec,
    }

    /// Where expressions that refuse objects hold.
    ValidatingAdmissionPolicyBinding at admission("validatingadmissionpolicybindings") => {
        spec: PolicyBindingSpec,
    }
}

parts! {
    Webhook {
        name: Box<str>,
        client_config: ClientConfig,
    }

    ClientConfig {
        service: WebhookService,
    }

    /// Empty where the server has a URL instead.
    WebhookService {
        namespace: Box<str>,
        name: Box<str>,
    }

    AdmissionPolicySpec {
        param_kind: ParamKind,
        failure_policy: Box<str>,
        /// Only of those that change objects.
        reinvocation_policy: Box<str>,
    }

    ParamKind {
        api_version: Box<str>,
        kind: Box<str>,
    }

    PolicyBindingSpec {
        policy_name: Box<str>,
        param_ref: ParamRef,
        /// Only of those that refuse objects.
        validation_actions: Box<[Box<str>]>,
    }

    ParamRef {
        namespace: Box<str>,
        name: Box<str>,
        parameter_not_found_action: Box<str>,
    }
}
