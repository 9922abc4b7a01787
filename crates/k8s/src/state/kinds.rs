//! The kinds of objects whose state is told, in the order of the page: one line each.

use std::sync::Arc;

use super::{Allowed, FamilyWords, Format, Gone, Page, Snapshot, Stateful, Watched, watched};
use crate::{
    Api, Hub, Shelf,
    objects::{
        CertificateSigningRequest, ClusterRole, ClusterRoleBinding, ConfigMap, CronJob, DaemonSet,
        Deployment, EndpointSlice, Endpoints, HorizontalPodAutoscaler, Ingress, IngressClass, JobState,
        Lease, LimitRange, MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
        MutatingWebhookConfiguration, Namespace, NetworkPolicy, Node, PersistentVolume,
        PersistentVolumeClaim, Pod, PodDisruptionBudget, ReplicaSetState, ReplicationController, Resource,
        ResourceQuota, Role, RoleBinding, Secret, Service, ServiceAccount, StatefulSet, StorageClass,
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
        VolumeAttachment,
    },
};

/// All kinds.
pub const KINDS: &[StateKind] = &[
    kind::<CertificateSigningRequest>(),
    optional::<ClusterRole>(),
    optional::<ClusterRoleBinding>(),
    kind::<ConfigMap>(),
    kind::<CronJob>(),
    kind::<DaemonSet>(),
    kind::<Deployment>(),
    optional::<Endpoints>(),
    kind::<EndpointSlice>(),
    kind::<HorizontalPodAutoscaler>(),
    kind::<Ingress>(),
    optional::<IngressClass>(),
    kind::<JobState>(),
    kind::<Lease>(),
    kind::<LimitRange>(),
    kind::<MutatingAdmissionPolicy>(),
    kind::<MutatingAdmissionPolicyBinding>(),
    kind::<MutatingWebhookConfiguration>(),
    kind::<Namespace>(),
    kind::<NetworkPolicy>(),
    kind::<Node>(),
    kind::<PersistentVolume>(),
    kind::<PersistentVolumeClaim>(),
    kind::<Pod>(),
    kind::<PodDisruptionBudget>(),
    kind::<ReplicaSetState>(),
    kind::<ReplicationController>(),
    kind::<ResourceQuota>(),
    optional::<Role>(),
    optional::<RoleBinding>(),
    kind::<Secret>(),
    kind::<Service>(),
    optional::<ServiceAccount>(),
    kind::<StatefulSet>(),
    kind::<StorageClass>(),
    kind::<ValidatingAdmissionPolicy>(),
    kind::<ValidatingAdmissionPolicyBinding>(),
    kind::<ValidatingWebhookConfiguration>(),
    kind::<VolumeAttachment>(),
];

/// A kind of objects whose state is told.
pub struct StateKind {
    /// What is watched.
    pub resource: Resource,
    /// Whether it is watched without being asked for.
    pub is_default: bool,
    /// Its families, in the order of the page.
    pub families: fn() -> Vec<FamilyWords<'static>>,
    /// Begins to watch the objects of a cluster, or joins who does.
    pub watch: fn(&Hub, &Arc<Api>) -> Arc<dyn Watched>,
    read: Read,
}

/// Takes objects, each in JSON, instead of those of a watch.
type Read = fn(&[&str], &Allowed) -> Result<Box<dyn Snapshot>, serde_json::Error>;

impl StateKind {
    /// The page of these objects of this kind, each in JSON, which no watch has told.
    ///
    /// # Errors
    /// One of them is no such object.
    pub fn page(
        &self,
        objects: &[&str],
        allowed: &Allowed,
        format: Format,
    ) -> Result<String, serde_json::Error> {
        let snapshot = (self.read)(objects, allowed)?;
        let mut text = String::new();
        let mut take = |piece: &mut String| {
            text.push_str(piece);
            Ok(())
        };
        let mut page = Page::new(format, &mut take);
        let written = self.write(&[snapshot], &mut page).and_then(|()| page.finish());
        debug_assert_eq!(written, Ok(()), "all is taken");
        Ok(text)
    }

    /// Writes all families, each with the rows of all these objects.
    pub(super) fn write(&self, taken: &[Box<dyn Snapshot>], page: &mut Page<'_>) -> Result<(), Gone> {
        for (family, words) in (self.families)().iter().enumerate() {
            page.family(words);
            for snapshot in taken {
                snapshot.write(family, page)?;
            }
        }
        Ok(())
    }
}

const fn kind<O: Stateful>() -> StateKind {
    StateKind {
        resource: O::RESOURCE,
        is_default: true,
        families: watched::families::<O>,
        watch: watched::watch::<O>,
        read: read::<O>,
    }
}

/// One that is watched only where somebody asks for it.
const fn optional<O: Stateful>() -> StateKind {
    StateKind { is_default: false, ..kind::<O>() }
}

fn read<O: Stateful>(texts: &[&str], allowed: &Allowed) -> Result<Box<dyn Snapshot>, serde_json::Error> {
    let mut shelf: Shelf<O> = Shelf::default();
    for text in texts {
        shelf.put(serde_json::from_str(text)?);
    }
    Ok(Box::new(watched::Taken::of(&shelf, None, allowed)))
}
