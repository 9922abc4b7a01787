//! Pod disruption budgets, resource quotas and limit ranges.

use super::{
    Family, Head, Stateful,
    common::{annotations, created, deleted, gauge, labels},
};
use crate::objects::{LimitRange, Object, PodDisruptionBudget, ResourceQuota};

impl Stateful for PodDisruptionBudget {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_poddisruptionbudget_annotations"),
        labels("kube_poddisruptionbudget_labels"),
        created("kube_poddisruptionbudget_created"),
        deleted("kube_poddisruptionbudget_deletion_timestamp"),
        gauge(
            "kube_poddisruptionbudget_status_current_healthy",
            "How many pods are healthy.",
            |object: &Self, rows| rows.number(Some(object.status.current_healthy)),
        ),
        gauge(
            "kube_poddisruptionbudget_status_desired_healthy",
            "How many pods must be healthy.",
            |object: &Self, rows| rows.number(Some(object.status.desired_healthy)),
        ),
        gauge(
            "kube_poddisruptionbudget_status_expected_pods",
            "How many pods it counts.",
            |object: &Self, rows| rows.number(Some(object.status.expected_pods)),
        ),
        gauge(
            "kube_poddisruptionbudget_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge(
            "kube_poddisruptionbudget_status_pod_disruptions_allowed",
            "How many pods may be taken away now.",
            |object: &Self, rows| rows.number(Some(object.status.disruptions_allowed)),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("poddisruptionbudget", &self.meta().name);
    }
}

impl Stateful for ResourceQuota {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_resourcequota_annotations"),
        labels("kube_resourcequota_labels"),
        gauge("kube_resourcequota", "How much may be and how much is taken.", |object: &Self, rows| {
            for (kind, amounts) in [("hard", &object.status.hard), ("used", &object.status.used)] {
                for (resource, amount) in amounts.iter() {
                    rows.row(&[("resource", resource), ("type", kind)], amount);
                }
            }
        }),
        created("kube_resourcequota_created"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("resourcequota", &self.meta().name);
    }
}

impl Stateful for LimitRange {
    const FAMILIES: &'static [Family<Self>] = &[
        gauge("kube_limitrange", "How much an object of a kind may or does take.", |object: &Self, rows| {
            for limit in &object.spec.limits {
                for (constraint, amounts) in [
                    ("min", &limit.min),
                    ("max", &limit.max),
                    ("default", &limit.default),
                    ("defaultRequest", &limit.default_request),
                    ("maxLimitRequestRatio", &limit.max_limit_request_ratio),
                ] {
                    for (resource, amount) in amounts.iter() {
                        let labels =
                            [("resource", resource), ("type", &*limit.kind), ("constraint", constraint)];
                        rows.row(&labels, amount);
                    }
                }
            }
        }),
        created("kube_limitrange_created"),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("limitrange", &self.meta().name);
    }
}
