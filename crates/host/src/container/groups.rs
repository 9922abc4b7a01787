//! Control groups around containers: the pod, its class of service, the slice, and whatever else lies between
//! a container and the root. cAdvisor gives each of them a row without name, image and container; a kubelet
//! adds pod and namespace to those of pods.
//!
//! All their figures are told when they are new and when it is their turn, as nobody watches them by the second and what is in them
//! is read anyway. A pod's row has what its containers' rows have not: its own limits, and what was used
//! beside them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vedette_model::Container;

use super::{
    files::{BaseLabels, Files},
    hierarchy::Hierarchy,
    registry::{ancestors, last_part},
    slots::Slot,
    turns::Turns,
};
use crate::{
    file::{Buffer, FileBudget},
    metrics::GroupMetrics,
    parse,
    series::Pass,
};

/// More than this have no rows, and are counted. A container adds as many as it lies deep.
pub(super) const GROUPS_MAX: usize = 10_000;

/// All of them, by path.
#[derive(Default)]
pub(super) struct Groups {
    all: BTreeMap<String, Group>,
    /// Given out so far, so that turns are spread evenly.
    numbers: u64,
    /// How many there were too many when they were taken last.
    left_out: usize,
    metrics: Arc<GroupMetrics>,
}

struct Group {
    number: u64,
    base: BaseLabels,
    files: Files,
    /// It has not been told under these labels yet, and does not wait for its turn.
    fresh: bool,
}

impl Groups {
    pub(super) fn metrics(&self) -> Arc<GroupMetrics> {
        self.metrics.clone()
    }

    /// How many have no rows, as there are too many.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }

    /// Takes the groups around these containers, and ends the rows of all others.
    pub(super) fn assign<'a>(
        &mut self,
        containers: impl Iterator<Item = &'a Container> + Clone,
        hierarchy: &Hierarchy,
        budget: &FileBudget,
        pass: &mut Pass<'_>,
    ) {
        let mut wanted: BTreeMap<&str, Option<&Container>> = BTreeMap::new();
        let mut left_out: BTreeSet<&str> = BTreeSet::new();
        for container in containers.clone() {
            for path in ancestors(&container.cgroup).skip(1) {
                if wanted.len() >= GROUPS_MAX && !wanted.contains_key(path) {
                    left_out.insert(path);
                    continue;
                }
                let pod = wanted.entry(path).or_default();
                if pod.is_none() && is_of_pod(path, container) {
                    *pod = Some(container);
                }
            }
        }
        // One that is a container itself, as where containers run in containers, has its row already.
        for container in containers {
            wanted.remove(container.cgroup.as_str());
            left_out.remove(container.cgroup.as_str());
        }
        self.left_out = left_out.len();
        self.all.retain(|path, group| {
            let stays = wanted.contains_key(path.as_str());
            if !stays {
                group.files.retire(pass);
            }
            stays
        });
        for (path, pod) in wanted {
            let base = BaseLabels {
                id: path.to_owned(),
                pod: pod.map_or_else(String::new, |pod| pod.pod.clone()),
                namespace: pod.map_or_else(String::new, |pod| pod.namespace.clone()),
                ..BaseLabels::default()
            };
            match self.all.get_mut(path) {
                Some(known) if known.base == base => {}
                Some(known) => {
                    known.files.retire(pass);
                    known.base = base;
                    known.fresh = true;
                }
                None => {
                    let files = Files::in_turn(hierarchy, path, budget);
                    self.all
                        .insert(path.to_owned(), Group { number: self.numbers, base, files, fresh: true });
                    self.numbers += 1;
                }
            }
        }
        self.metrics.groups.set(parse::value(self.all.len() as u64));
        self.metrics.left_out.set(parse::value(self.left_out as u64));
    }

    /// Reads those whose turn it is.
    pub(super) fn read(
        &mut self,
        turns: &Turns,
        hierarchy: &Hierarchy,
        pass: &mut Pass<'_>,
        buffer: &mut Buffer,
    ) {
        let seen = parse::value(u64::try_from(pass.time_ms.div_euclid(1000)).unwrap_or(0));
        for (path, Group { number, base, files, fresh }) in &mut self.all {
            if !std::mem::take(fresh) && !turns.has(*number) {
                continue;
            }
            files.refresh(hierarchy, path, buffer);
            if files.read(pass, base, buffer, true).gone {
                // It ends with its last container, of which the next pass hears; or another took its place.
                continue;
            }
            let made = files.made;
            for (slot, time) in
                [(Slot::LastSeen, Some(seen)), (Slot::CreationTime, made), (Slot::StartTime, made)]
            {
                if let Some(time) = time {
                    files.put(pass, base, slot, time);
                }
            }
        }
    }
}

/// Whether the group is that of the container's pod: a kubelet names it after the pod's uid, in which systemd's
/// way of naming puts `_` for `-`.
fn is_of_pod(path: &str, container: &Container) -> bool {
    let uid = &container.pod_uid;
    let name = last_part(path);
    !uid.is_empty() && (name.contains(uid.as_str()) || name.contains(&uid.replace('-', "_")))
}
