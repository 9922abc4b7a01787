//! Whose a container, an address or an account is: pods and the workloads that they belong to, and who can
//! tell.

use std::{fmt, net::IpAddr, sync::Arc};

use parking_lot::RwLock;

/// What a person made and cares for, as a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Workload {
    /// Its kind, as `Deployment`; `Node` of static pods, `Pod` of those that nobody cares for.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// A pod as it is, or as it was last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodIdentity {
    /// The cluster, by the name that the configuration gives it.
    pub cluster: Arc<str>,
    /// Namespace (`k8s.namespace.name`).
    pub namespace: String,
    /// Name (`k8s.pod.name`).
    pub name: String,
    /// What tells it from one of the same name before or after it (`k8s.pod.uid`).
    pub uid: String,
    /// The machine that it runs on (`k8s.node.name`), or an empty string.
    pub node: String,
    /// The account that it acts as, or an empty string.
    pub service_account: String,
    /// What it belongs to.
    pub workload: Workload,
    /// Its addresses, the newest last; none if they are those of its machine.
    pub addresses: Vec<IpAddr>,
    /// Its containers, those of before included.
    pub containers: Vec<PodContainer>,
    /// Since when it is there, milliseconds since the Unix epoch.
    pub since_ms: i64,
    /// When it was seen to be gone, if it is.
    pub gone_ms: Option<i64>,
    /// Nobody saw it go, as when it went while this program did not run: `gone_ms` is when it was last known to be
    /// there.
    pub gone_unseen: bool,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodContainer {
    /// Full id given by the runtime (`container.id`).
    pub id: String,
    /// Its name in the pod (`k8s.container.name`).
    pub name: String,
    /// Image reference (`container.image.name`).
    pub image: String,
}

/// By what a workload is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadQuestion<'a> {
    /// By the full id of a container.
    Container(&'a str),
    /// By a cgroup's path, which has the container's id or the pod's uid in it.
    Cgroup(&'a str),
    /// By an address, and the time of the question in milliseconds since the Unix epoch.
    Address(IpAddr, i64),
    /// By the uid of a pod.
    PodUid(&'a str),
    /// By namespace and name of an account.
    ServiceAccount(&'a str, &'a str),
}

/// Knows whose containers, addresses and accounts are. Asking is cheap, and may be done from any thread.
pub trait Identify: Send + Sync {
    /// The pods that are meant, those that are there before those that are gone; at most `limit`.
    fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity>;

    /// Grows whenever an answer may have become another.
    fn generation(&self) -> u64;
}

/// All who know workloads. Cloning shares it.
#[derive(Clone, Default)]
pub struct Directory(Arc<RwLock<Vec<Arc<dyn Identify>>>>);

impl Directory {
    /// One more is asked from now on.
    pub fn add(&self, one: Arc<dyn Identify>) {
        self.0.write().push(one);
    }

    /// Whether nobody is asked.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}

impl Identify for Directory {
    fn identify(&self, question: &WorkloadQuestion<'_>, limit: usize) -> Vec<PodIdentity> {
        let all = self.0.read().clone();
        let mut found = Vec::new();
        for one in all {
            found.extend(one.identify(question, limit - found.len()));
        }
        found
    }

    fn generation(&self) -> u64 {
        let all = self.0.read();
        all.iter().map(|one| one.generation()).fold(all.len() as u64, u64::wrapping_add)
    }
}

/// Two are the same if they ask the same.
impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        // Whose list it is does not matter, but who is asked.
        Arc::ptr_eq(&self.0, &other.0) || {
            let (ours, theirs) = (self.0.read().clone(), other.0.read().clone());
            ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| Arc::ptr_eq(a, b))
        }
    }
}

impl Eq for Directory {}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({})", self.0.read().len())
    }
}
