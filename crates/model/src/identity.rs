//! Who a fact is about: host, container, process. Stamped once, by the collector.

use std::sync::Arc;

use crate::Workload;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// Host name (`host.name`).
    pub name: String,
    /// Machine id, or an empty string (`host.id`).
    pub id: String,
    /// Boot id: changes at every start of the kernel.
    pub boot_id: String,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Container {
    /// Full id given by the runtime (`container.id`).
    pub id: String,
    /// Name (`container.name`): the runtime's, else the last part of the cgroup's path.
    pub name: String,
    /// Image reference (`container.image.name`), or an empty string.
    pub image: String,
    /// Pod name (`k8s.pod.name`), or an empty string.
    pub pod: String,
    /// Namespace (`k8s.namespace.name`), or an empty string.
    pub namespace: String,
    /// The pod's uid (`k8s.pod.uid`), or an empty string.
    pub pod_uid: String,
    /// What the pod belongs to; both texts are empty where that is not known.
    pub workload: Workload,
    /// The cgroup's path below the hierarchy's root, for example `/default/c1`.
    pub cgroup: String,
    /// The runtime that answers for it (`containerd`, …), or an empty string if found by cgroup alone.
    pub runtime: String,
}

/// Names one process for as long as the machine runs, although pids are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ProcessKey {
    /// Process id in the host's namespace (`process.pid`).
    pub pid: u32,
    /// Start of the process in nanoseconds since boot, the clock suspended included.
    pub start_ns: u64,
}

/// One step of a process' ancestry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ancestor {
    /// Which process.
    pub key: ProcessKey,
    /// Its command name, at most 15 bytes in Linux (`process.command`).
    pub name: String,
    /// Its executable (`process.executable.path`), or an empty string if unknown.
    pub executable: String,
}

/// A process as it was when a fact happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Process {
    /// Which process.
    pub key: ProcessKey,
    /// Command name (`process.command`).
    pub name: String,
    /// Executable (`process.executable.path`), or an empty string if unknown.
    pub executable: String,
    /// Arguments, the first included (`process.command_args`); may have been cut by the sensor.
    pub args: Vec<String>,
    /// Whether `args` lacks a part.
    pub args_truncated: bool,
    /// Real user id (`process.real_user.id`).
    pub uid: u32,
    /// Parent first, then its parent, up to the first process or the container's first.
    pub ancestors: Arc<[Ancestor]>,
}

impl Process {
    /// Arguments joined by spaces, for people and for search.
    pub fn command_line(&self) -> String {
        self.args.join(" ")
    }
}
