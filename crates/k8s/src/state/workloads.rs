//! Deployments, replica sets, stateful sets, daemon sets and replication controllers.

use super::{
    Family, Head, Stateful,
    common::{annotations, created, deleted, each_owner, gauge, generation, labels, owner},
};
use crate::objects::{
    DaemonSet, Deployment, IntOrText, Object, ReplicaSetState, ReplicationController, StatefulSet,
};

/// Reasons of conditions that are told; any other may be whatever a controller writes.
const DEPLOYMENT_REASONS: &[&str] = &[
    "",
    "DeploymentPaused",
    "DeploymentResumed",
    "FoundNewReplicaSet",
    "MinimumReplicasAvailable",
    "MinimumReplicasUnavailable",
    "NewReplicaSetAvailable",
    "NewReplicaSetCreated",
    "ProgressDeadlineExceeded",
    "ReplicaSetCreateError",
    "ReplicaSetUpdated",
];

impl Stateful for Deployment {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_deployment_annotations"),
        labels("kube_deployment_labels"),
        created("kube_deployment_created"),
        deleted("kube_deployment_deletion_timestamp"),
        generation("kube_deployment_metadata_generation"),
        gauge("kube_deployment_owner", "What the deployment belongs to.", |object: &Self, rows| {
            each_owner(object.meta(), |kind, name, _| {
                rows.row(&[("owner_kind", kind), ("owner_name", name)], 1.0);
            });
        }),
        gauge("kube_deployment_spec_paused", "Whether changes are held back.", |object: &Self, rows| {
            rows.row(&[], f64::from(object.spec.paused));
        }),
        gauge("kube_deployment_spec_replicas", "How many pods are wished.", |object: &Self, rows| {
            rows.number(object.spec.replicas);
        }),
        gauge(
            "kube_deployment_spec_strategy_rollingupdate_max_surge",
            "How many pods more than are wished there may be while pods are replaced.",
            |object: &Self, rows| rows.number(rolling(object, true)),
        ),
        gauge(
            "kube_deployment_spec_strategy_rollingupdate_max_unavailable",
            "How many of the wished pods may be missing while pods are replaced.",
            |object: &Self, rows| rows.number(rolling(object, false)),
        ),
        gauge("kube_deployment_status_condition", "What holds of the deployment.", |object: &Self, rows| {
            for condition in &object.status.conditions {
                let is_known = DEPLOYMENT_REASONS.contains(&&*condition.reason);
                let reason = if is_known { &*condition.reason } else { "unknown" };
                let labels = [("reason", reason), ("condition", &*condition.kind)];
                rows.condition(&labels, "status", condition);
            }
        }),
        gauge(
            "kube_deployment_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge("kube_deployment_status_replicas", "How many pods there are.", |object: &Self, rows| {
            rows.number(Some(object.status.replicas));
        }),
        gauge(
            "kube_deployment_status_replicas_available",
            "How many pods have been ready for long enough.",
            |object: &Self, rows| rows.number(Some(object.status.available_replicas)),
        ),
        gauge("kube_deployment_status_replicas_ready", "How many pods are ready.", |object: &Self, rows| {
            rows.number(Some(object.status.ready_replicas));
        }),
        gauge(
            "kube_deployment_status_replicas_unavailable",
            "How many pods are missing.",
            |object: &Self, rows| rows.number(Some(object.status.unavailable_replicas)),
        ),
        gauge(
            "kube_deployment_status_replicas_updated",
            "How many pods are of the newest state.",
            |object: &Self, rows| rows.number(Some(object.status.updated_replicas)),
        ),
        gauge(
            "kube_deployment_status_terminating_replicas",
            "How many pods are about to end.",
            |object: &Self, rows| rows.number(object.status.terminating_replicas),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("deployment", &self.meta().name);
    }
}

/// A bound of a rolling update in pods, with parts of the wished pods rounded up or down; none where there is no
/// rolling update, or no bound that can be read.
fn rolling(deployment: &Deployment, is_surge: bool) -> Option<i64> {
    let replicas = deployment.spec.replicas?;
    let update = deployment.spec.strategy.rolling_update.as_ref()?;
    match if is_surge { &update.max_surge } else { &update.max_unavailable } {
        IntOrText::Int(pods) => Some(*pods),
        IntOrText::Text(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let hundredfold = percent.checked_mul(replicas)?;
            let floor = hundredfold.div_euclid(100);
            Some(if is_surge && hundredfold.rem_euclid(100) > 0 { floor + 1 } else { floor })
        }
        IntOrText::None => None,
    }
}

impl Stateful for ReplicaSetState {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_replicaset_annotations"),
        labels("kube_replicaset_labels"),
        created("kube_replicaset_created"),
        generation("kube_replicaset_metadata_generation"),
        owner("kube_replicaset_owner"),
        gauge("kube_replicaset_spec_replicas", "How many pods are wished.", |object: &Self, rows| {
            rows.number(object.spec.replicas);
        }),
        gauge(
            "kube_replicaset_status_fully_labeled_replicas",
            "How many pods have all labels of the set.",
            |object: &Self, rows| rows.number(Some(object.status.fully_labeled_replicas)),
        ),
        gauge(
            "kube_replicaset_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge("kube_replicaset_status_ready_replicas", "How many pods are ready.", |object: &Self, rows| {
            rows.number(Some(object.status.ready_replicas));
        }),
        gauge("kube_replicaset_status_replicas", "How many pods there are.", |object: &Self, rows| {
            rows.number(Some(object.status.replicas));
        }),
        gauge(
            "kube_replicaset_status_terminating_replicas",
            "How many pods are about to end.",
            |object: &Self, rows| rows.number(object.status.terminating_replicas),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("replicaset", &self.meta().name);
    }
}

impl Stateful for StatefulSet {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_statefulset_annotations"),
        labels("kube_statefulset_labels"),
        created("kube_statefulset_created"),
        deleted("kube_statefulset_deletion_timestamp"),
        generation("kube_statefulset_metadata_generation"),
        gauge("kube_statefulset_ordinals_start", "The number of the first pod.", |object: &Self, rows| {
            rows.number(object.spec.ordinals.as_ref().map(|ordinals| ordinals.start));
        }),
        gauge(
            "kube_statefulset_persistentvolumeclaim_retention_policy",
            "What becomes of the claims of pods that are no longer wished.",
            |object: &Self, rows| {
                let policy = &object.spec.persistent_volume_claim_retention_policy;
                if !policy.when_deleted.is_empty() || !policy.when_scaled.is_empty() {
                    let labels =
                        [("when_deleted", &*policy.when_deleted), ("when_scaled", &*policy.when_scaled)];
                    rows.row(&labels, 1.0);
                }
            },
        ),
        gauge("kube_statefulset_replicas", "How many pods are wished.", |object: &Self, rows| {
            rows.number(object.spec.replicas);
        }),
        gauge(
            "kube_statefulset_status_current_revision",
            "The revision that pods are made of which are not to be replaced.",
            |object: &Self, rows| rows.row(&[("revision", &object.status.current_revision)], 1.0),
        ),
        gauge(
            "kube_statefulset_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge("kube_statefulset_status_replicas", "How many pods there are.", |object: &Self, rows| {
            rows.number(Some(object.status.replicas));
        }),
        gauge(
            "kube_statefulset_status_replicas_available",
            "How many pods have been ready for long enough.",
            |object: &Self, rows| rows.number(Some(object.status.available_replicas)),
        ),
        gauge(
            "kube_statefulset_status_replicas_current",
            "How many pods are of the current revision.",
            |object: &Self, rows| rows.number(Some(object.status.current_replicas)),
        ),
        gauge("kube_statefulset_status_replicas_ready", "How many pods are ready.", |object: &Self, rows| {
            rows.number(Some(object.status.ready_replicas));
        }),
        gauge(
            "kube_statefulset_status_replicas_updated",
            "How many pods are of the newest revision.",
            |object: &Self, rows| rows.number(Some(object.status.updated_replicas)),
        ),
        gauge(
            "kube_statefulset_status_update_revision",
            "The revision that pods are replaced by.",
            |object: &Self, rows| rows.row(&[("revision", &object.status.update_revision)], 1.0),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("statefulset", &self.meta().name);
    }
}

impl Stateful for DaemonSet {
    const FAMILIES: &'static [Family<Self>] = &[
        annotations("kube_daemonset_annotations"),
        labels("kube_daemonset_labels"),
        created("kube_daemonset_created"),
        deleted("kube_daemonset_deletion_timestamp"),
        generation("kube_daemonset_metadata_generation"),
        gauge(
            "kube_daemonset_status_current_number_scheduled",
            "How many machines have a pod that they should have.",
            |object: &Self, rows| rows.number(Some(object.status.current_number_scheduled)),
        ),
        gauge(
            "kube_daemonset_status_desired_number_scheduled",
            "How many machines should have a pod.",
            |object: &Self, rows| rows.number(Some(object.status.desired_number_scheduled)),
        ),
        gauge(
            "kube_daemonset_status_number_available",
            "How many machines have a pod that has been ready for long enough.",
            |object: &Self, rows| rows.number(Some(object.status.number_available)),
        ),
        gauge(
            "kube_daemonset_status_number_misscheduled",
            "How many machines have a pod that they should not have.",
            |object: &Self, rows| rows.number(Some(object.status.number_misscheduled)),
        ),
        gauge(
            "kube_daemonset_status_number_ready",
            "How many machines have a pod that is ready.",
            |object: &Self, rows| rows.number(Some(object.status.number_ready)),
        ),
        gauge(
            "kube_daemonset_status_number_unavailable",
            "How many machines should have a pod and have none that is available.",
            |object: &Self, rows| rows.number(Some(object.status.number_unavailable)),
        ),
        gauge(
            "kube_daemonset_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge(
            "kube_daemonset_status_updated_number_scheduled",
            "How many machines have a pod of the newest state.",
            |object: &Self, rows| rows.number(Some(object.status.updated_number_scheduled)),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("daemonset", &self.meta().name);
    }
}

impl Stateful for ReplicationController {
    const FAMILIES: &'static [Family<Self>] = &[
        created("kube_replicationcontroller_created"),
        generation("kube_replicationcontroller_metadata_generation"),
        owner("kube_replicationcontroller_owner"),
        gauge(
            "kube_replicationcontroller_spec_replicas",
            "How many pods are wished.",
            |object: &Self, rows| {
                rows.number(object.spec.replicas);
            },
        ),
        gauge(
            "kube_replicationcontroller_status_available_replicas",
            "How many pods have been ready for long enough.",
            |object: &Self, rows| rows.number(Some(object.status.available_replicas)),
        ),
        gauge(
            "kube_replicationcontroller_status_fully_labeled_replicas",
            "How many pods have all labels of the controller.",
            |object: &Self, rows| rows.number(Some(object.status.fully_labeled_replicas)),
        ),
        gauge(
            "kube_replicationcontroller_status_observed_generation",
            "Which generation of what is wished its controller has seen.",
            |object: &Self, rows| rows.number(Some(object.status.observed_generation)),
        ),
        gauge(
            "kube_replicationcontroller_status_ready_replicas",
            "How many pods are ready.",
            |object: &Self, rows| rows.number(Some(object.status.ready_replicas)),
        ),
        gauge(
            "kube_replicationcontroller_status_replicas",
            "How many pods there are.",
            |object: &Self, rows| rows.number(Some(object.status.replicas)),
        ),
    ];

    fn head(&self, head: &mut Head) {
        head.label("namespace", &self.meta().namespace).label("replicationcontroller", &self.meta().name);
    }
}
