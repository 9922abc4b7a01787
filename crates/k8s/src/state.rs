//! The state of the objects of a cluster as metrics: the families of kube-state-metrics, by the same names, labels
//! and values.
//!
//! A family is data: its name, what it means, and how an object tells its rows. Rows are written straight to the
//! page, from what a watch keeps anyway: no row is kept, whoever reads takes what is there at that moment.

mod access;
mod admission;
mod autoscaling;
mod certificates;
mod cluster;
mod common;
mod config;
mod cron;
pub mod custom;
mod duration;
mod jobs;
mod kinds;
mod leases;
mod namespace;
mod network;
mod node;
mod page;
mod pairs;
mod pod;
mod policy;
mod resources;
mod rows;
mod storage;
#[cfg(test)]
mod tests;
mod watched;
mod workloads;

use crate::objects::{Condition, Object};

pub use cluster::{ClusterState, States, Wanted, write_page};
pub use kinds::{KINDS, StateKind};
pub use page::{Format, Gone, Take};
pub use pairs::{Allowed, annotations, labels};
pub use rows::{Head, Rows};
pub use watched::{FamilyWords, Snapshot, Watched};

/// What a family counts as in an exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only goes up.
    Counter,
    /// Stands for what its labels say.
    Info,
    /// One of several states is 1.
    StateSet,
}

/// A family of metrics of one kind of objects.
pub struct Family<O> {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// What it counts as.
    pub kind: Kind,
    /// Tells the rows of an object.
    pub rows: fn(&O, &mut Rows<'_>),
}

/// Objects whose state is told as metrics.
pub trait Stateful: Object {
    /// Its families, in the order of the page.
    const FAMILIES: &'static [Family<Self>];

    /// Writes the labels that all rows of an object begin with, as `namespace` and `deployment`.
    fn head(&self, head: &mut Head);
}

/// For [`Family::rows`]: when an object was made.
pub(crate) fn created<O: Object>(object: &O, rows: &mut Rows<'_>) {
    time(object.meta().created, rows);
}

/// For [`Family::rows`]: when an object was to go.
pub(crate) fn deleted<O: Object>(object: &O, rows: &mut Rows<'_>) {
    time(object.meta().deleted, rows);
}

/// A row with a time, if there is one.
pub(crate) fn time(seconds: Option<i64>, rows: &mut Rows<'_>) {
    if let Some(seconds) = seconds {
        rows.row(&[], seconds as f64);
    }
}

/// The states of a condition and how they are told.
const CONDITION_STATES: [(&str, &str); 3] = [("true", "True"), ("false", "False"), ("unknown", "Unknown")];

/// The states that a condition may have, as they are told, and which holds.
pub(crate) fn states_of(condition: &Condition) -> impl Iterator<Item = (&'static str, bool)> {
    CONDITION_STATES.into_iter().map(|(told, status)| (told, *condition.status == *status))
}

/// A row for each status that each condition may have, 1 for the one it has.
pub(crate) fn conditions(conditions: &[Condition], rows: &mut Rows<'_>) {
    for condition in conditions {
        rows.either(&[("condition", &condition.kind)], "status", states_of(condition));
    }
}
