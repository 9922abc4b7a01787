//! Namespaces.

use super::{Family, Head, Kind, Stateful, annotations, conditions, created, labels};
use crate::objects::{Namespace, Object as _};

impl Stateful for Namespace {
    const FAMILIES: &'static [Family<Self>] = &[
        Family {
            name: "kube_namespace_created",
            help: "Unix creation timestamp",
            kind: Kind::Gauge,
            rows: created,
        },
        Family {
            name: "kube_namespace_annotations",
            help: "Kubernetes annotations converted to Prometheus labels.",
            kind: Kind::Gauge,
            rows: annotations,
        },
        Family {
            name: "kube_namespace_labels",
            help: "Kubernetes labels converted to Prometheus labels.",
            kind: Kind::Gauge,
            rows: labels,
        },
        Family {
            name: "kube_namespace_status_phase",
            help: "Phase of a namespace: 1 for the one it is in.",
            kind: Kind::StateSet,
            rows: |namespace, rows| {
                rows.states("phase", &["Active", "Terminating"], |phase| phase == &*namespace.status.phase);
            },
        },
        Family {
            name: "kube_namespace_status_condition",
            help: "Conditions of a namespace: 1 for the status that each has.",
            kind: Kind::StateSet,
            rows: |namespace, rows| conditions(&namespace.status.conditions, rows),
        },
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().name);
    }
}
