//! Whose a container is, by what it says of itself and what pods say of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use vedette_model::{Container, PodIdentity, WorkloadQuestion};

use super::{Key, LISTED_GRACE, NodePods, Pods, STATIC_GRACE, STRAY_GRACE, StrayView};
use crate::{
    identity::{cgroup, text},
    objects::{ContainerState, Object as _, Pod, key},
};

/// What runtimes' containers are called here that hold the network of a pod.
const SANDBOX: &str = "POD";
/// Kata puts what it needs itself for a pod here, into a cgroup with the id of the one that holds the network.
const KATA_OVERHEAD: &str = "/kata_overhead/";
/// Clusters that are asked whether they know a container.
const CLUSTERS_MAX: usize = 64;

/// A place of a pod by its uid: that of a container by its id, or that of its network by an empty text.
type Place = (String, String);

/// Which container has each place. Whoever had one first keeps it as long as it runs.
pub(super) type Places = BTreeMap<Place, Key>;

/// Why a container should not be.
pub(super) enum Why {
    /// No pod of this node is known by its id, its cgroup or its label.
    NoPod {
        /// Whether its cgroup or its label is made as that of a static pod.
        is_static: bool,
    },
    /// It is named after a pod that does not say that it runs, as `namespace/name`.
    NotListed(String),
    /// It is named after a pod, and has a place that another has.
    Second(String),
}

impl Why {
    pub(super) fn is_named(&self) -> bool {
        !matches!(self, Self::NoPod { .. })
    }

    pub(super) fn grace(&self) -> Duration {
        match self {
            Self::NoPod { is_static: false } => STRAY_GRACE,
            Self::NoPod { is_static: true } => STATIC_GRACE,
            Self::NotListed(_) | Self::Second(_) => LISTED_GRACE,
        }
    }
}

/// Whether there is a finding of a container.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    No,
    Yes,
    /// It is named after a pod that it is not of.
    Named,
}

/// How a container stands to the pods of its node.
enum Standing {
    /// No pod is named by it.
    Alone,
    /// It is named after a pod, which may say that it runs.
    Named { pod: Box<PodIdentity>, runs: bool },
    /// Its pod went a moment ago, or is not told of by all watches yet.
    Passing,
}

/// The containers that should not be, and why.
pub(super) fn strays(
    view: &StrayView<'_>,
    running: &BTreeMap<Key, &Container>,
    places: &mut Places,
    found: impl Fn(&Key, &Container) -> Found,
) -> BTreeMap<Key, Why> {
    let standings: Vec<(&Key, &Container, Standing)> = running
        .iter()
        .map(|(key, container)| (key, *container, standing(view, view.pods, container)))
        .collect();
    let wanted = wanted(&standings);
    places.retain(|place, key| wanted.get(key) == Some(place));
    let mut new: Vec<(bool, bool, &Key, &Place)> = Vec::new();
    for (key, container, standing) in &standings {
        let (Standing::Named { pod, .. }, Some(place)) = (standing, wanted.get(*key)) else { continue };
        if places.contains_key(place) {
            continue;
        }
        let found = found(key, container);
        // Who was found in a place that another had does not get it when that one goes.
        if !(place.1.is_empty() && found == Found::Named) {
            // After a restart nobody knows who came first: what was found is not, nor what is elsewhere.
            let is_elsewhere = !is_in_cgroup_of(view, container, pod);
            new.push((found != Found::No, is_elsewhere, *key, place));
        }
    }
    new.sort_unstable();
    for (_, _, key, place) in new {
        places.entry(place.clone()).or_insert_with(|| key.clone());
    }
    let has_place = |key: &Key| {
        let holder = wanted.get(key).and_then(|place| places.get(place));
        holder.is_some_and(|holder| holder == key || (holder.0 == key.0 && key.1.starts_with(KATA_OVERHEAD)))
    };
    let listed = |(key, container, standing): &(&Key, &Container, Standing)| {
        let is_listed = matches!(standing, Standing::Named { runs: true, .. }) && has_place(key);
        is_listed.then(|| container.cgroup.clone())
    };
    let listed: BTreeSet<String> = standings.iter().filter_map(listed).collect();
    let why = |(key, container, standing): (&Key, &Container, Standing)| {
        // What a container runs inside itself, as Docker in a pod does, is its own; runtimes of this machine
        // do not know of it.
        if has_place(key) || (container.runtime.is_empty() && is_inside(&container.cgroup, &listed)) {
            return None;
        }
        let why = match standing {
            Standing::Passing => return None,
            Standing::Alone => Why::NoPod { is_static: is_like_static(container) },
            Standing::Named { pod, runs } => {
                let name = format!("{}/{}", pod.namespace, pod.name);
                if runs || is_network(container) { Why::Second(name) } else { Why::NotListed(name) }
            }
        };
        Some((key.clone(), why))
    };
    standings.into_iter().filter_map(why).collect()
}

/// Whether what the API server was asked for says so, too.
pub(super) fn confirms(view: &StrayView<'_>, asked: &NodePods, container: &Container, why: &Why) -> bool {
    match (why, standing(view, asked.pods(), container)) {
        (_, Standing::Alone) | (Why::NotListed(_), Standing::Named { runs: false, .. }) => true,
        // Whom a place belongs to is told by no status.
        (Why::Second(_), _) => true,
        (_, Standing::Named { .. } | Standing::Passing) => false,
    }
}

/// Which place each container is to have, if any.
fn wanted(standings: &[(&Key, &Container, Standing)]) -> BTreeMap<Key, Place> {
    // Where runtimes tell of containers of a pod, they tell also which holds its network.
    let mut told_of = BTreeSet::new();
    for (_, container, standing) in standings {
        if let Standing::Named { pod, .. } = standing
            && !container.runtime.is_empty()
        {
            told_of.insert(&*pod.uid);
        }
    }
    let place = |(key, container, standing): &(&Key, &Container, Standing)| {
        let Standing::Named { pod, runs } = standing else { return None };
        let may_be_network =
            || is_network(container) || (container.runtime.is_empty() && !told_of.contains(&*pod.uid));
        let id = if *runs { Some(container.id.clone()) } else { may_be_network().then(String::new) };
        Some(((*key).clone(), (pod.uid.clone(), id?)))
    };
    standings.iter().filter_map(place).collect()
}

fn is_network(container: &Container) -> bool {
    container.name == SANDBOX
}

/// Whose pod of this node the container says it is, by its id, its cgroup and its label.
fn standing(view: &StrayView<'_>, pods: Pods<'_>, container: &Container) -> Standing {
    let questions = [
        WorkloadQuestion::Container(&container.id),
        WorkloadQuestion::Cgroup(&container.cgroup),
        WorkloadQuestion::PodUid(&container.pod_uid),
    ];
    let mut named = None;
    let asked = questions.iter().filter(|question| **question != WorkloadQuestion::PodUid(""));
    for pod in asked.flat_map(|question| pods.who.identify(question, CLUSTERS_MAX)) {
        if &*pod.cluster != view.cluster || pod.node != view.node {
            continue;
        }
        if let Some(gone_ms) = pod.gone_ms {
            let gone_ns = view.now_ns.saturating_sub(gone_ms.saturating_mul(1_000_000));
            if gone_ns < LISTED_GRACE.as_nanos() as i64 {
                return Standing::Passing;
            }
            continue;
        }
        let there = pods.there.get(&key(&pod.namespace, &pod.name)).map(|(there, _)| there);
        let Some(there) = there.filter(|there| *there.meta().uid == *pod.uid) else {
            return Standing::Passing;
        };
        if says_it_runs(there, &container.id) {
            return Standing::Named { pod: Box::new(pod), runs: true };
        }
        named.get_or_insert(pod);
    }
    named.map_or(Standing::Alone, |pod| Standing::Named { pod: Box::new(pod), runs: false })
}

/// Whether a status of the pod has the container and does not say that it has ended: an id of before may be taken.
fn says_it_runs(pod: &Pod, id: &str) -> bool {
    let runs =
        |state: &ContainerState| matches!(state, ContainerState::Running { .. } | ContainerState::Unknown);
    pod.statuses().any(|status| text::bare_id(&status.container_id) == id && runs(&status.state))
}

/// Whether the cgroup is one inside those.
fn is_inside(path: &str, cgroups: &BTreeSet<String>) -> bool {
    path.match_indices('/').any(|(end, _)| cgroups.contains(&path[..end]))
}

/// Whether its cgroup is where the kubelet puts containers of the pod.
fn is_in_cgroup_of(view: &StrayView<'_>, container: &Container, pod: &PodIdentity) -> bool {
    let mut known = pods_named(&container.cgroup)
        .map(|uid| view.pods.who.identify(&WorkloadQuestion::PodUid(uid), CLUSTERS_MAX))
        .filter(|known| !known.is_empty());
    known.next().is_some_and(|known| known.iter().any(|one| one.uid == pod.uid))
}

/// The uids of pods in the path of a cgroup, the outermost first.
fn pods_named(path: &str) -> impl Iterator<Item = &str> {
    cgroup::names(path).filter_map(|name| match name {
        cgroup::Name::Pod(uid) => Some(uid),
        cgroup::Name::Container(_) => None,
    })
}

/// Kubelets name static pods after a digest of their file, which has no lines between its digits.
fn is_like_static(container: &Container) -> bool {
    const DIGITS: usize = 32;
    let is_digest = |uid: &str| uid.len() == DIGITS && uid.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest(&container.pod_uid) || pods_named(&container.cgroup).next().is_some_and(is_digest)
}
