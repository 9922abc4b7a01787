//! Containers that run on a node and belong to no pod that the API server knows: somebody went past it.
//!
//! Deterministic and synchronous: what runs, what is known and the time are handed in. A container is judged only
//! while the pods are known whole and nothing goes wrong in watching them, and only after it has been unknown
//! for longer than a watch takes to tell of a pod. A watch whose peer is dead tells nothing and knows nothing of
//! it for minutes: before a finding begins, the server is asked for the pods of the node, and nothing begins
//! without its answer. What was found before a restart is taken up again.
//!
//! Labels and cgroups are what somebody wrote who starts a container. They count for as long as the status of a
//! pod may lag; then the pod must have the container among those that run, or it is the one container that no
//! status lists, which holds the network of the pod. Each place of a pod is that of one container.

mod belongs;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use vedette_model::{Container, Finding, Identify};

use crate::{Shelf, ledger::Ledger, objects::Pod};
use belongs::{Found, Places, Why, confirms, strays};
use told::{finding, fingerprint};

pub use told::NodePods;

/// The name of the finding.
pub const STRAY_CONTAINER: &str = "container-without-pod";

/// How long a container may be unknown: a watch tells of a pod within a second or two.
pub const STRAY_GRACE: Duration = Duration::from_secs(6);
/// How long a container may be named after a pod that does not tell of it, or that is gone: kubelets tell how
/// containers are every ten seconds at the latest, and end those of a pod that was deleted by force within half
/// a minute where nothing else is said. A kubelet that does not reach its API server is known for it by then.
const LISTED_GRACE: Duration = Duration::from_secs(60);
/// How long one may be named after a static pod that is not known: its kubelet tells of it anew only when it looks
/// after it the next time, which it does every 60 to 90 seconds, as after an upgrade of the API server itself.
const STATIC_GRACE: Duration = Duration::from_secs(120);

/// Pods as they are, and as they were.
#[derive(Clone, Copy)]
pub struct Pods<'a> {
    /// Knows pods by what names them, also those that are gone.
    pub who: &'a dyn Identify,
    /// Those that are there.
    pub there: &'a Shelf<Pod>,
}

/// What is known at a time.
pub struct StrayView<'a> {
    /// What the findings are of.
    pub cluster: &'a str,
    /// This machine's name.
    pub host: &'a str,
    /// What it is called in the cluster: pods of other nodes do not count.
    pub node: &'a str,
    /// The containers that run here.
    pub containers: &'a [Arc<Container>],
    /// Pods as the watches tell them.
    pub pods: Pods<'a>,
    /// The pods of this node as the API server told them when it was asked for this; without, nothing begins.
    pub asked: Option<&'a NodePods>,
    /// Whether the pods are known whole and as they are, and this machine is a node of the cluster. Where not,
    /// nothing is judged.
    pub may_judge: bool,
    /// Whether the kubelet tells how containers are. Where not, one that no status lists may be a new one.
    pub kubelet_tells: bool,
    /// Nanoseconds since the Unix epoch.
    pub now_ns: i64,
}

/// What tells a container from others that run: its id, which may be chosen, and its cgroup.
type Key = (String, String);

/// Judges containers.
#[derive(Default)]
pub struct Strays {
    /// Those that should not be as they are.
    unknown: BTreeMap<Key, Unknown>,
    /// Whose the places of pods are.
    places: Places,
    firing: Ledger,
    due: usize,
    /// Those that run and were left out, and how many ever were.
    left_out: (BTreeSet<Key>, u64),
}

/// Since when, and whether it is named after a pod.
struct Unknown {
    since_ns: i64,
    is_named: bool,
}

impl Strays {
    /// Takes up findings that fired before a restart: they are not told again, but end.
    pub fn take_up(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.firing.take_up(findings, &[STRAY_CONTAINER]);
    }

    /// Looks at what runs; appends what is found, goes on, or is over.
    pub fn judge(&mut self, view: &StrayView<'_>, out: &mut Vec<Finding>) {
        self.due = 0;
        if !view.may_judge {
            // What was unknown may have become known while nobody told.
            self.unknown.clear();
            self.firing.repeat(view.now_ns, out);
            return;
        }
        let running: BTreeMap<Key, &Container> =
            view.containers.iter().map(|one| ((one.id.clone(), one.cgroup.clone()), &**one)).collect();
        let (firing, unknown) = (&self.firing, &self.unknown);
        let found = |key: &Key, container: &Container| match unknown.get(key) {
            _ if !firing.has(fingerprint(view, container)) => Found::No,
            Some(unknown) if unknown.is_named => Found::Named,
            _ => Found::Yes,
        };
        let strays = strays(view, &running, &mut self.places, found);
        self.unknown.retain(|key, _| strays.contains_key(key));
        self.left_out.0.retain(|key| running.contains_key(key));
        let mut seen = BTreeSet::new();
        for (key, why) in strays {
            let Some(container) = running.get(&key) else { continue };
            let fingerprint = fingerprint(view, container);
            let is_known = !seen.insert(fingerprint) || self.firing.has(fingerprint);
            if self.is_due(view, &key, &why) && !is_known && self.is_confirmed(view, key, container, &why) {
                self.firing.begin(finding(view, container, &why), view.now_ns, out);
            }
        }
        self.firing.end(|known| seen.contains(&known), view.now_ns, out);
        self.firing.repeat(view.now_ns, out);
    }

    /// How many findings are not over, and how many containers were left out as there were too many.
    pub fn figures(&self) -> (usize, u64) {
        (self.firing.len(), self.left_out.1)
    }

    /// How many findings wait for the API server to say what pods there are.
    pub fn due(&self) -> usize {
        self.due
    }

    /// Whether it has lasted, by the time of the answer where there is one: what came later is not in it.
    fn is_due(&mut self, view: &StrayView<'_>, key: &Key, why: &Why) -> bool {
        let is_named = why.is_named();
        let new = || Unknown { since_ns: view.now_ns, is_named };
        let unknown = self.unknown.entry(key.clone()).or_insert_with(new);
        if unknown.is_named != is_named || (is_named && !view.kubelet_tells) {
            *unknown = new();
        }
        let at_ns = view.asked.map_or(view.now_ns, |asked| asked.at_ns.min(view.now_ns));
        at_ns - unknown.since_ns >= why.grace().as_nanos() as i64
    }

    /// Whether the API server says so, too.
    fn is_confirmed(&mut self, view: &StrayView<'_>, key: Key, container: &Container, why: &Why) -> bool {
        if self.firing.is_full() {
            self.left_out.1 += u64::from(self.left_out.0.insert(key));
            return false;
        }
        let Some(asked) = view.asked else {
            self.due += 1;
            return false;
        };
        if confirms(view, asked, container, why) {
            return true;
        }
        // The watch does not know what the server does: it is given as long again.
        self.unknown.remove(&key);
        false
    }
}

#[cfg(test)]
mod tests;
