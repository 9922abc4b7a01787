//! What keeps pods running: deployments, replica sets, stateful sets, daemon sets and replication controllers.

use super::{
    Condition, Resource,
    lenient::{IntOrText, objects, parts},
};

const fn apps(plural: &'static str) -> Resource {
    Resource { group: "apps", ..Resource::core(plural) }
}

objects! {
    /// Replaces pods of one state by those of another.
    Deployment at apps("deployments") => {
        spec: DeploymentSpec,
        status: DeploymentStatus,
    }

    /// Keeps the pods of one state of a deployment, with all that is told of it; [`super::ReplicaSet`] has only
    /// who made it.
    ReplicaSetState at apps("replicasets") => {
        spec: ReplicasSpec,
        status: ReplicasStatus,
    }

    /// Keeps pods that have names and storage of their own.
    StatefulSet at apps("statefulsets") => {
        spec: StatefulSetSpec,
        status: StatefulSetStatus,
    }

    /// Keeps a pod on every machine.
    DaemonSet at apps("daemonsets") => {
        status: DaemonSetStatus,
    }

    /// Keeps pods, as was done before there were replica sets.
    ReplicationController at Resource::core("replicationcontrollers") => {
        spec: ReplicasSpec,
        status: ReplicasStatus,
    }
}

parts! {
    DeploymentSpec {
        replicas: Option<i64>,
        paused: bool,
        strategy: Strategy,
    }

    Strategy {
        rolling_update: Option<RollingUpdate>,
    }

    RollingUpdate {
        max_unavailable: IntOrText,
        max_surge: IntOrText,
    }

    DeploymentStatus {
        replicas: i64,
        ready_replicas: i64,
        available_replicas: i64,
        unavailable_replicas: i64,
        updated_replicas: i64,
        terminating_replicas: Option<i64>,
        observed_generation: i64,
        conditions: Box<[Condition]>,
    }

    ReplicasSpec {
        replicas: Option<i64>,
    }

    ReplicasStatus {
        replicas: i64,
        fully_labeled_replicas: i64,
        ready_replicas: i64,
        available_replicas: i64,
        terminating_replicas: Option<i64>,
        observed_generation: i64,
    }

    StatefulSetSpec {
        replicas: Option<i64>,
        ordinals: Option<Ordinals>,
        persistent_volume_claim_retention_policy: Retention,
    }

    Ordinals {
        start: i64,
    }

    Retention {
        when_deleted: Box<str>,
        when_scaled: Box<str>,
    }

    StatefulSetStatus {
        replicas: i64,
        available_replicas: i64,
        current_replicas: i64,
        ready_replicas: i64,
        updated_replicas: i64,
        observed_generation: i64,
        current_revision: Box<str>,
        update_revision: Box<str>,
    }

    DaemonSetStatus {
        current_number_scheduled: i64,
        desired_number_scheduled: i64,
        number_available: i64,
        number_misscheduled: i64,
        number_ready: i64,
        number_unavailable: i64,
        observed_generation: i64,
        updated_number_scheduled: i64,
    }
}
