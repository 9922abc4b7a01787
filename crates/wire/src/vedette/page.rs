//! What the pages ask for beside single events: lists, the process tree, the status of all parts.

use serde::Serialize;
use vedette_model as model;

use super::{Event, Finding, ProcessRef, Wide};

/// Answer of `/api/vedette/v1/status`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct StatusAnswer<'a> {
    /// Version of the program.
    pub version: &'a str,
    /// Source revision it was built from, or an empty string.
    pub revision: &'a str,
    /// When it was started.
    #[cfg_attr(test, ts(type = "number"))]
    pub started_unix_ms: i64,
    /// Its clock.
    #[cfg_attr(test, ts(type = "number"))]
    pub now_unix_ms: i64,
    /// The machine.
    pub host: HostInfo<'a>,
    /// All parts by name.
    pub parts: Vec<Part>,
}

/// The machine.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct HostInfo<'a> {
    /// Host name.
    pub name: &'a str,
    /// Machine id, or an empty string.
    pub id: &'a str,
    /// Release of the kernel.
    pub kernel: &'a str,
}

/// One part's own account.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Part {
    /// Name, such as `sensor`.
    pub name: String,
    /// `ok`, `off`, `degraded` or `failed`.
    #[cfg_attr(test, ts(type = "Health"))]
    pub health: &'static str,
    /// What is so; empty when all is well.
    pub message: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
    /// Figures and facts in the order in which they are shown.
    pub facts: Vec<Fact>,
}

/// A named figure.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: String,
}

impl Part {
    /// The account of the part of that name.
    pub fn new(name: String, part: model::status::Part) -> Self {
        Self {
            name,
            health: part.health.as_str(),
            message: part.message,
            remedy: part.remedy,
            facts: part.facts.into_iter().map(|(name, value)| Fact { name, value }).collect(),
        }
    }
}

/// Answer of `/api/vedette/v1/events`, newest first.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct EventsAnswer<'a> {
    /// The events.
    pub events: Vec<Event<'a>>,
    /// Give it as `before` to read on; `null` where there is no more.
    #[cfg_attr(test, ts(type = "string | null"))]
    pub next: Option<Wide<u64>>,
    /// How many events were looked at.
    #[cfg_attr(test, ts(type = "number"))]
    pub scanned: u64,
    /// Whether the search ended early because it looked at too many; `next` reads on.
    pub truncated: bool,
}

/// Told in the live stream when the reader is too slow.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Loss {
    /// How many events it did not get.
    #[cfg_attr(test, ts(type = "number"))]
    pub count: u64,
}

/// Answer of `/api/vedette/v1/events/<id>/tree`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TreeAnswer<'a> {
    /// The oldest known ancestor.
    pub root: TreeNode<'a>,
}

/// A process, its events and the processes it made.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct TreeNode<'a> {
    /// The process.
    pub process: ProcessRef,
    /// When it began, where the store saw it.
    #[cfg_attr(test, ts(type = "string | null"))]
    pub started_unix_nano: Option<Wide<i64>>,
    /// How it ended, where the store saw it.
    pub exited: Option<Exited>,
    /// Whether it is the process of the event that was asked for.
    pub focus: bool,
    /// Its events, oldest first.
    pub events: Vec<Event<'a>>,
    /// The processes it made.
    pub children: Vec<TreeNode<'a>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Exited {
    /// Exit status, or the signal's number.
    pub code: u32,
    /// Whether a signal ended it.
    pub signal: bool,
}

/// Answer of `/api/vedette/v1/findings`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FindingsAnswer<'a> {
    /// The findings, the most severe and newest first.
    pub findings: Vec<Finding<'a>>,
}

/// Answer of `/api/vedette/v1/containers`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ContainersAnswer<'a> {
    /// The containers that are there now, by name.
    pub containers: Vec<Container<'a>>,
}

/// A container.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[expect(missing_docs, reason = "the fields are those of `model::Container`")]
pub struct Container<'a> {
    #[serde(rename = "container.id")]
    pub container_id: &'a str,
    #[serde(rename = "container.name")]
    pub container_name: &'a str,
    #[serde(rename = "container.image.name")]
    pub container_image_name: &'a str,
    #[serde(rename = "k8s.pod.name")]
    pub k8s_pod_name: &'a str,
    #[serde(rename = "k8s.namespace.name")]
    pub k8s_namespace_name: &'a str,
    #[serde(rename = "k8s.pod.uid")]
    pub k8s_pod_uid: &'a str,
    #[serde(rename = "vedette.workload.kind")]
    pub workload_kind: &'a str,
    #[serde(rename = "vedette.workload.name")]
    pub workload_name: &'a str,
    #[serde(rename = "container.runtime")]
    pub container_runtime: &'a str,
    pub cgroup: &'a str,
}

impl<'a> From<&'a model::Container> for Container<'a> {
    fn from(container: &'a model::Container) -> Self {
        Self {
            container_id: &container.id,
            container_name: &container.name,
            container_image_name: &container.image,
            k8s_pod_name: &container.pod,
            k8s_namespace_name: &container.namespace,
            k8s_pod_uid: &container.pod_uid,
            workload_kind: &container.workload.kind,
            workload_name: &container.workload.name,
            container_runtime: &container.runtime,
            cgroup: &container.cgroup,
        }
    }
}

/// The body of an error.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ErrorAnswer<'a> {
    /// What failed.
    pub error: &'a str,
    /// What to do.
    pub remedy: &'a str,
}
