//! Answers of Vedette's own API. The web app's types are generated from these structs.
//!
//! Field names are OpenTelemetry's where it has a word. Integers that may exceed 2^53 are
//! written as text, because JavaScript cannot hold them; what is absent is left out.

use std::{borrow::Cow, fmt};

use serde::{Serialize, Serializer};
use vedette_model as model;

mod capacity;
mod cluster;
mod event;
mod page;
mod query;
#[cfg(test)]
pub(crate) mod typescript;
mod workload;

pub use capacity::{
    CapacityAdvice, CapacityAnswer, CapacityCluster, CapacityFailure, CapacityJudgement, CapacityMove,
    CapacityOutage, CapacityOutages, CapacityPods, CapacityPoint, CapacityPool, CapacityPriority,
    CapacityZone,
};
pub use cluster::{Cluster, ClusterCertificate, ClusterPart, ClustersAnswer};
pub use event::{Ancestor, Event, Finding, ProcessRef};
pub use page::{
    Container, ContainersAnswer, ErrorAnswer, EventsAnswer, Exited, Fact, FindingsAnswer, HostInfo, Loss,
    Part, StatusAnswer, TreeAnswer, TreeNode,
};
pub use query::{
    ActiveQuery, AskedQuery, CacheFigures, ExplainAnswer, ExplainNode, FinishedQuery, QueriesAnswer,
};
pub use workload::{PodContainer, PodIdentity, Workload, WorkloadsAnswer};

/// An integer of 64 bits, written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wide<T>(pub T);

impl<T: fmt::Display> Serialize for Wide<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A label set, written as an object.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelMap<'a>(pub Cow<'a, model::Labels>);

impl Serialize for LabelMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}
