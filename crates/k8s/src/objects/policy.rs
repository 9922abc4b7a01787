//! What limits what may happen in a namespace.

use super::{
    Resource,
    lenient::{Amounts, Count, objects, parts},
};

objects! {
    /// How many pods of a workload may be taken away at a time.
    PodDisruptionBudget at Resource { group: "policy", ..Resource::core("poddisruptionbudgets") } => {
        status: BudgetStatus,
    }

    /// How much all objects of a namespace may take together.
    ResourceQuota at Resource::core("resourcequotas") => {
        status: QuotaStatus,
    }

    /// How much a single object of a namespace may take.
    LimitRange at Resource::core("limitranges") => {
        spec: LimitsSpec,
    }

    /// Who may talk to whom.
    NetworkPolicy at Resource { group: "networking.k8s.io", ..Resource::core("networkpolicies") } => {
        spec: NetworkPolicySpec,
    }
}

parts! {
    BudgetStatus {
        current_healthy: i64,
        desired_healthy: i64,
        disruptions_allowed: i64,
        expected_pods: i64,
        observed_generation: i64,
    }

    QuotaStatus {
        hard: Amounts,
        used: Amounts,
    }

    LimitsSpec {
        limits: Box<[Limit]>,
    }

    /// What holds for objects of one kind.
    Limit {
        #[serde(rename = "type")]
        kind: Box<str>,
        min: Amounts,
        max: Amounts,
        default: Amounts,
        default_request: Amounts,
        max_limit_request_ratio: Amounts,
    }

    NetworkPolicySpec {
        ingress: Count,
        egress: Count,
    }
}
