//! What is told of a stray container, and the pods that the API server tells when it is asked once more.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use vedette_model::{
    Container, Finding, FindingState, Identify, Labels, LabelsBuilder, PodIdentity, Severity,
    WorkloadQuestion,
};

use super::{Pods, STRAY_CONTAINER, StrayView, belongs::Why};
use crate::{
    Api, Error, Shelf, What,
    identity::{Index, Limits},
    objects::Pod,
};

/// The pods of one node are few; a server that needs longer is in trouble.
const ASK_MAX: Duration = Duration::from_secs(10);

const DESCRIPTION: &str = "A container runs on this node and belongs to no pod that the API server knows, so no \
    admission control and no policy has seen it. It may have been started by hand through the container runtime, or \
    its pod was deleted and it lives on. Find out who started it (see the audit log of the node, and the processes \
    that use the runtime's socket), and end it through the runtime if nobody answers for it.";

/// The pods of a node, as an API server told them at one time.
pub struct NodePods {
    index: Index,
    there: Shelf<Pod>,
    /// When it was asked, nanoseconds since the Unix epoch. What came later is not in it.
    pub at_ns: i64,
}

impl NodePods {
    /// Asks for the pods of a node as they are now, not as the server remembers them. An error is also that it
    /// needs too long.
    pub async fn ask(api: &Api, cluster: Arc<str>, node: &str, now_ns: i64) -> Result<Self, Error> {
        let what = What { fields: format!("spec.nodeName={node}").into(), ..What::default() };
        let mut pods = Vec::new();
        let list = api.list_of::<Pod>(&what, |pod| match pod {
            Some(pod) => pods.push(pod),
            None => pods.clear(),
        });
        timeout(ASK_MAX, list)
            .await
            .unwrap_or(Err(Error::Silence("the API server does not answer in time")))?;
        Ok(Self::new(cluster, pods, now_ns))
    }

    /// As they were told at a time.
    pub fn new(cluster: Arc<str>, pods: Vec<Pod>, at_ns: i64) -> Self {
        let mut told = Self { index: Index::new(cluster, Limits::default()), there: Shelf::default(), at_ns };
        for pod in pods {
            told.index.put(&pod, 1, at_ns / 1_000_000);
            told.there.put(pod);
        }
        told
    }

    pub(super) fn pods(&self) -> Pods<'_> {
        Pods { who: self, there: &self.there }
    }
}

impl Identify for NodePods {
    fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity> {
        self.index.identify(question, limit)
    }

    fn generation(&self) -> u64 {
        0
    }
}

fn labels(view: &StrayView<'_>, container: &Container) -> Labels {
    let mut labels = LabelsBuilder::new();
    // Neither name nor image: they may become known while the finding lasts.
    labels
        .set("alertname", STRAY_CONTAINER)
        .set("severity", Severity::Critical.as_str())
        .set("cluster", view.cluster)
        .set("host", view.host)
        .set("container_id", &container.id);
    labels.build()
}

/// What tells the finding of a container from others.
pub(super) fn fingerprint(view: &StrayView<'_>, container: &Container) -> u64 {
    labels(view, container).stable_hash()
}

pub(super) fn finding(view: &StrayView<'_>, container: &Container, why: &Why) -> Finding {
    let mut evidence = vec![format!("cgroup {}", container.cgroup)];
    if !container.runtime.is_empty() {
        evidence.push(format!("{} tells of it as {}", container.runtime, container.name));
    }
    if !container.image.is_empty() {
        evidence.push(format!("its image is {}", container.image));
    }
    match why {
        Why::NoPod { .. } if container.pod.is_empty() => {}
        Why::NoPod { .. } => evidence.push(format!(
            "its labels name the pod {}/{}, which the API server does not know on this node",
            container.namespace, container.pod
        )),
        Why::NotListed(pod) => evidence.push(format!(
            "its id, its cgroup or a label names the pod {pod}, which does not tell of it among its containers that run"
        )),
        Why::Second(pod) => evidence.push(format!(
            "its id, its cgroup or a label names the pod {pod}, which has another container in its place"
        )),
    }
    let labels = labels(view, container);
    Finding {
        fingerprint: labels.stable_hash(),
        rule: STRAY_CONTAINER.to_owned(),
        severity: Severity::Critical,
        title: format!("container {} on {} belongs to no pod of {}", container.name, view.host, view.cluster),
        description: DESCRIPTION.to_owned(),
        labels,
        first_ns: view.now_ns,
        last_ns: view.now_ns,
        count: 1,
        state: FindingState::Firing,
        ancestry: Vec::new(),
        evidence,
        event_ids: Vec::new(),
    }
}
