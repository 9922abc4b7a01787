//! What made pods, as the watches of a cluster know it.

use std::sync::Arc;

use super::{Above, Made, Makers};
use crate::{
    Api, Hub, SharedWatch, What,
    objects::{
        CronJob, DaemonSet, Deployment, Job, Object, ReplicaSet, ReplicationController, StatefulSet, key,
    },
};

/// Asks the watches of ReplicaSets and Jobs, and those of other kinds where somebody else has them: for the few
/// findings none is begun.
pub struct WatchedMakers {
    hub: Arc<Hub>,
    api: Arc<Api>,
    replica_sets: Arc<SharedWatch<ReplicaSet>>,
    jobs: Arc<SharedWatch<Job>>,
}

impl WatchedMakers {
    /// Of a cluster.
    pub fn new(hub: Arc<Hub>, api: Arc<Api>) -> Self {
        let replica_sets = hub.watch(&api, What::default());
        let jobs = hub.watch(&api, What::default());
        Self { hub, api, replica_sets, jobs }
    }

    /// Whether what stands between pods and workloads is known whole, or cannot be.
    pub fn is_settled(&self) -> bool {
        [self.replica_sets.health(), self.jobs.health()].iter().all(|health| {
            let state = health.state();
            state.is_whole || state.trouble.is_some()
        })
    }

    fn elsewhere<O: Object>(&self, namespace: &str, name: &str) -> Made {
        let watch = self.hub.known::<O>(&self.api, What::default());
        watch.map_or(Made::Unwatched, |watch| find(&watch, namespace, name))
    }
}

impl Makers for WatchedMakers {
    fn find(&self, kind: &str, namespace: &str, name: &str) -> Made {
        match kind {
            "ReplicaSet" => find(&self.replica_sets, namespace, name),
            "Job" => find(&self.jobs, namespace, name),
            "Deployment" => self.elsewhere::<Deployment>(namespace, name),
            "StatefulSet" => self.elsewhere::<StatefulSet>(namespace, name),
            "DaemonSet" => self.elsewhere::<DaemonSet>(namespace, name),
            "CronJob" => self.elsewhere::<CronJob>(namespace, name),
            "ReplicationController" => self.elsewhere::<ReplicationController>(namespace, name),
            _ => Made::Unwatched,
        }
    }
}

fn find<O: Object>(watch: &SharedWatch<O>, namespace: &str, name: &str) -> Made {
    if let Some((object, _)) = watch.objects().get(&key(namespace, name)) {
        return Made::Known(Box::new(Above::of(object.meta())));
    }
    // What cannot be watched will not become known soon.
    if watch.health().state().trouble.is_some() { Made::Unwatched } else { Made::Unknown }
}
