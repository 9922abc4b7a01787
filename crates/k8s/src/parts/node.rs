//! What a node says of itself, and what that says of its kubelet.

use std::time::Duration;

use vedette_sys::MonotonicTime;

use super::{
    causes::{NODE_JOINING, NODE_NETWORK, NODE_NOT_READY, NODE_PRESSURE, NODE_SILENT, NODE_UNKNOWN},
    lease::Renewals,
    probe::shown,
    track::Seen,
};

/// A node that was not there before may take so long to become ready.
const JOINING: Duration = Duration::from_secs(300);
/// Conditions of nodes that are not good if true, and what each is.
const PRESSURES: [&str; 3] = ["MemoryPressure", "DiskPressure", "PIDPressure"];

/// What a node says of itself, as far as it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSeen {
    /// Its name.
    pub name: Box<str>,
    /// What holds of it: the condition, its status and why.
    pub conditions: Vec<(Box<str>, Box<str>, Box<str>)>,
}

impl NodeSeen {
    fn condition(&self, kind: &str) -> Option<(&str, &str)> {
        let found = self.conditions.iter().find(|(known, ..)| **known == *kind);
        found.map(|(_, status, reason)| (&**status, &**reason))
    }
}

/// What is known of one node beside its state.
#[derive(Debug)]
pub(super) struct NodeKnown {
    pub(super) renewals: Option<Renewals>,
    /// Since when it is there, where it came after we did.
    pub(super) joined: Option<MonotonicTime>,
}

/// What is seen of a node now.
pub(super) fn seen(node: &NodeSeen, known: &NodeKnown, now: MonotonicTime) -> Seen {
    let told = |kind: &str, (status, reason): (&str, &str)| shown(&format!("{kind} is {status}: {reason}"));
    if let Some(renewals) = &known.renewals
        && renewals.is_over(now)
        && renewals.is_confirmed()
    {
        return Seen::wrong(NODE_SILENT, renewals.told());
    }
    match node.condition("Ready") {
        Some(("True", _)) => {}
        _ if known.joined.is_some_and(|joined| now.since(joined) < JOINING) => {
            return Seen::wrong(NODE_JOINING, "it joined a short time ago and is not ready");
        }
        Some(ready @ ("Unknown", _)) => return Seen::wrong(NODE_UNKNOWN, told("Ready", ready)),
        Some(ready) => return Seen::wrong(NODE_NOT_READY, told("Ready", ready)),
        None => return Seen::wrong(NODE_NOT_READY, "it does not say whether it is ready"),
    }
    for pressure in PRESSURES {
        if let Some(found @ ("True", _)) = node.condition(pressure) {
            return Seen::wrong(NODE_PRESSURE, told(pressure, found));
        }
    }
    match node.condition("NetworkUnavailable") {
        Some(found @ ("True", _)) => Seen::wrong(NODE_NETWORK, told("NetworkUnavailable", found)),
        _ => Seen::good(),
    }
}
