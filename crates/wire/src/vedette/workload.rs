//! Whose a container, an address or an account is.

use serde::Serialize;
use vedette_model as model;

/// Answer of `/api/vedette/v1/workloads`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct WorkloadsAnswer<'a> {
    /// What people made that is meant, each once, in the order of the pods.
    pub workloads: Vec<Workload<'a>>,
    /// The pods that are meant: those that are there, then the last that went.
    pub pods: Vec<PodIdentity<'a>>,
    /// Whether there are more pods than one answer has.
    pub truncated: bool,
}

/// What a person made, as a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Workload<'a> {
    /// The cluster, by its name in the configuration.
    #[serde(rename = "k8s.cluster.name")]
    pub cluster: &'a str,
    /// Its namespace.
    #[serde(rename = "k8s.namespace.name")]
    pub namespace: &'a str,
    /// Its kind, as `Deployment`.
    #[serde(rename = "vedette.workload.kind")]
    pub kind: &'a str,
    /// Its name.
    #[serde(rename = "vedette.workload.name")]
    pub name: &'a str,
}

/// A pod as it is, or as it was last.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::PodIdentity`")]
pub struct PodIdentity<'a> {
    #[serde(rename = "k8s.cluster.name")]
    pub cluster: &'a str,
    #[serde(rename = "k8s.namespace.name")]
    pub namespace: &'a str,
    #[serde(rename = "k8s.pod.name")]
    pub name: &'a str,
    #[serde(rename = "k8s.pod.uid")]
    pub uid: &'a str,
    #[serde(rename = "k8s.node.name")]
    pub node: &'a str,
    pub service_account: &'a str,
    #[serde(rename = "vedette.workload.kind")]
    pub workload_kind: &'a str,
    #[serde(rename = "vedette.workload.name")]
    pub workload_name: &'a str,
    pub addresses: Vec<String>,
    pub containers: Vec<PodContainer<'a>>,
    #[cfg_attr(test, ts(type = "number"))]
    pub since_unix_ms: i64,
    /// When it was seen to be gone; `null` while it is there.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub gone_unix_ms: Option<i64>,
    /// Nobody saw it go: `gone_unix_ms` is when it was last known to be there.
    pub gone_unseen: bool,
}

/// A container of a pod.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::PodContainer`")]
pub struct PodContainer<'a> {
    #[serde(rename = "container.id")]
    pub id: &'a str,
    #[serde(rename = "k8s.container.name")]
    pub name: &'a str,
    #[serde(rename = "container.image.name")]
    pub image: &'a str,
}

impl<'a> WorkloadsAnswer<'a> {
    /// The answer about at most `limit` of these pods.
    pub fn new(pods: &'a [model::PodIdentity], limit: usize) -> Self {
        let truncated = pods.len() > limit;
        let pods = &pods[..pods.len().min(limit)];
        let mut workloads: Vec<Workload<'a>> = Vec::new();
        for pod in pods {
            let workload = Workload {
                cluster: &pod.cluster,
                namespace: &pod.namespace,
                kind: &pod.workload.kind,
                name: &pod.workload.name,
            };
            if !workloads.contains(&workload) {
                workloads.push(workload);
            }
        }
        Self { workloads, pods: pods.iter().map(PodIdentity::from).collect(), truncated }
    }
}

impl<'a> From<&'a model::PodIdentity> for PodIdentity<'a> {
    fn from(pod: &'a model::PodIdentity) -> Self {
        Self {
            cluster: &pod.cluster,
            namespace: &pod.namespace,
            name: &pod.name,
            uid: &pod.uid,
            node: &pod.node,
            service_account: &pod.service_account,
            workload_kind: &pod.workload.kind,
            workload_name: &pod.workload.name,
            addresses: pod.addresses.iter().map(ToString::to_string).collect(),
            containers: pod.containers.iter().map(PodContainer::from).collect(),
            since_unix_ms: pod.since_ms,
            gone_unix_ms: pod.gone_ms,
            gone_unseen: pod.gone_unseen,
        }
    }
}

impl<'a> From<&'a model::PodContainer> for PodContainer<'a> {
    fn from(container: &'a model::PodContainer) -> Self {
        Self { id: &container.id, name: &container.name, image: &container.image }
    }
}
