//! How often containers were started anew.
//!
//! A restart makes a new container with a new id, so the count is kept by what stays the same:
//! the name in the pod, or the runtime's name. Where the runtime counts attempts, as CRI does,
//! its count is taken; else each further start under a name counts as one.

use std::collections::BTreeMap;

use vedette_sys::MonotonicTime;

use super::registry::Known;
use crate::{
    parse,
    series::{Family, LazySeries, Pass},
};

const RESTARTS: Family<'_> = Family::counter(
    "container_restarts_total",
    "How often a container of this name was started again, as its runtime counts or as was seen.",
);
/// The name that kube-state-metrics gives it.
const POD_RESTARTS: Family<'_> = Family::counter(
    "kube_pod_container_status_restarts_total",
    "The number of container restarts per container.",
);

/// How long a name without a container is remembered: longer than a kubelet backs off.
const REMEMBERED_MS: u128 = 15 * 60 * 1000;
/// More names than this are not counted.
const NAMES_MAX: usize = 10_000;
/// More names without a container are not remembered: those that ended first are forgotten, so that
/// many short lives, each under a name of its own, leave few series.
const ENDED_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
}

#[derive(Default)]
struct Count {
    restarts: u64,
    /// The runtime counts; our own count is not added to it.
    told: bool,
    living: u64,
    ended: Option<MonotonicTime>,
    series: LazySeries,
    pod_series: LazySeries,
}

#[derive(Default)]
pub(super) struct Restarts {
    names: BTreeMap<Name, Count>,
    /// Something happened that was not put into a pass yet.
    changed: bool,
}

impl Name {
    /// A pod's network holder is no container that anybody asked for.
    fn of(known: &Known) -> Option<Self> {
        let (container, facts) = (&known.container, &known.facts);
        if facts.sandbox {
            return None;
        }
        let in_pod = !container.pod.is_empty();
        Some(Self {
            namespace: container.namespace.clone(),
            pod: container.pod.clone(),
            uid: facts.pod_uid.clone(),
            container: if in_pod { facts.pod_container.clone() } else { facts.runtime_name.clone() },
        })
    }
}

impl Restarts {
    pub(super) fn started(&mut self, known: &Known) {
        let Some(name) = Name::of(known) else { return };
        self.changed = true;
        let again = self.names.contains_key(&name);
        if !again && self.names.len() >= NAMES_MAX {
            return;
        }
        let count = self.names.entry(name).or_default();
        count.living += 1;
        count.ended = None;
        match known.facts.attempt {
            Some(attempt) => count.tell(attempt),
            None if again && !count.told => count.restarts += 1,
            None => {}
        }
    }

    /// A runtime told of a container that is being counted under another name, or of its attempts.
    pub(super) fn identified(&mut self, known: &Known) {
        let Some(name) = Name::of(known) else { return };
        self.changed = true;
        match (self.names.get_mut(&name), known.facts.attempt) {
            (Some(count), Some(attempt)) => count.tell(attempt),
            (Some(_), None) => {}
            (None, _) => self.started(known),
        }
    }

    pub(super) fn stopped(&mut self, known: &Known, now: MonotonicTime) {
        let Some(count) = Name::of(known).and_then(|n| self.names.get_mut(&n)) else { return };
        count.living = count.living.saturating_sub(1);
        if count.living == 0 {
            count.ended = Some(now);
        }
    }

    /// Gives the counts if one changed or if it is their `turn`.
    pub(super) fn put(&mut self, now: MonotonicTime, pass: &mut Pass<'_>, turn: bool) {
        if !std::mem::take(&mut self.changed) && !turn {
            return;
        }
        let mut ends: Vec<MonotonicTime> = self.names.values().filter_map(|count| count.ended).collect();
        let surplus = ends.len().saturating_sub(ENDED_MAX);
        // What ended before this moment, or at it, is forgotten.
        let before = surplus.checked_sub(1).map(|last| *ends.select_nth_unstable(last).1);
        self.names.retain(|name, count| {
            let forgotten = count.ended.is_some_and(|t| {
                now.since(t).as_millis() >= REMEMBERED_MS || before.is_some_and(|before| t <= before)
            });
            if forgotten {
                count.series.retire(pass);
                count.pod_series.retire(pass);
            } else {
                count.put(name, pass);
            }
            !forgotten
        });
    }
}

impl Count {
    fn tell(&mut self, attempt: u32) {
        self.restarts = self.restarts.max(attempt.into());
        self.told = true;
    }

    fn put(&mut self, name: &Name, pass: &mut Pass<'_>) {
        let value = parse::value(self.restarts);
        let Name { namespace, pod, uid, container } = name;
        if pod.is_empty() {
            self.series.put_slow_with(pass, value, |pass| pass.define(RESTARTS, &[("name", container)]));
            return;
        }
        let labels =
            [("namespace", namespace.as_str()), ("pod", pod), ("container", container), ("uid", uid)];
        // The uid is no label of cAdvisor's series, but kube-state-metrics' has it.
        self.series.put_slow_with(pass, value, |pass| pass.define(RESTARTS, &labels[..3]));
        self.pod_series.put_slow_with(pass, value, |pass| pass.define(POD_RESTARTS, &labels));
    }
}
