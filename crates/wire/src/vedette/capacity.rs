//! How many nodes of each watched cluster may fail, and how nodes failed so far.

use serde::Serialize;

/// Answer of `/api/vedette/v1/capacity`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityAnswer {
    /// The server's time.
    #[cfg_attr(test, ts(type = "number"))]
    pub now_unix_ms: i64,
    /// Clusters whose capacity is judged, by name.
    pub clusters: Vec<CapacityCluster>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityCluster {
    /// What it is called.
    pub name: String,
    /// How many nodes must be able to fail.
    pub wanted: usize,
    /// What keeps the judgement from being made, or from being of the cluster as it is; empty: nothing.
    pub trouble: Vec<String>,
    /// Resources without which it was made, and why.
    pub incomplete: Vec<String>,
    /// For how long the cluster has not been as it was judged; 0 while it is.
    pub age_seconds: f64,
    /// The newest judgement; none before all objects were read once.
    pub judged: Option<CapacityJudgement>,
    /// How nodes failed so far.
    pub outages: CapacityOutages,
}

/// How many nodes may fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityJudgement {
    /// When the objects were as they were judged.
    #[cfg_attr(test, ts(type = "number"))]
    pub at_unix_ms: i64,
    /// How long judging took.
    pub took_seconds: f64,
    /// Nodes that are ready.
    pub nodes: usize,
    /// Pods that run.
    pub pods: usize,
    /// Kinds of pods.
    pub kinds: usize,
    /// Any so many nodes may fail.
    pub survives: usize,
    /// Not any so many may, if such a set was found.
    pub fails_at: Option<usize>,
    /// The share of sets that is survived, by their size.
    pub curve: Vec<CapacityPoint>,
    /// The worst set that is not survived.
    pub witness: Option<CapacityFailure>,
    /// Single nodes whose failure is not survived, the first of them.
    pub single_failures: Vec<CapacityFailure>,
    /// How many single nodes these are, those that are not told included.
    pub single_failures_found: usize,
    /// Zones that fail as a whole.
    pub zones: Vec<CapacityZone>,
    /// What to add so that one more node may fail.
    pub advice: Option<CapacityAdvice>,
    /// Pods that have no node although nothing failed.
    pub pending_before: CapacityPods,
    /// Pods that wait behind a scheduling gate.
    pub gated: CapacityPods,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// The share of sets of one size that is survived.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityPoint {
    /// How many nodes fail at once.
    pub failures: usize,
    /// How many such sets there are.
    pub sets: f64,
    /// How many were tried.
    pub tried: usize,
    /// Whether all were.
    pub exact: bool,
    /// The share is at least this, …
    pub share_min: f64,
    /// … and at most this, with 95 % confidence where not all were tried.
    pub share_max: f64,
    /// Pods without a place, on average.
    pub mean_pending: f64,
}

/// Pods: how many, and the first of them by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityPods {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

/// What becomes of a set of nodes that fails.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityFailure {
    /// The nodes.
    pub nodes: Vec<String>,
    /// Pods that need a new place.
    pub displaced: usize,
    /// Those that get none.
    pub pending: CapacityPods,
    /// How many get none, by priority, the highest first.
    pub pending_by_priority: Vec<CapacityPriority>,
    /// Pods whose volumes no other node reaches.
    pub stuck: CapacityPods,
    /// Pods that nobody makes anew.
    pub lost: CapacityPods,
    /// Pods that stay bound to the failed nodes.
    pub bound: CapacityPods,
    /// Disruption budgets that are exceeded.
    pub budgets_broken: Vec<String>,
    /// Why not all can have a place, if sums show it.
    pub reason: Option<String>,
    /// Whether all could have a place if they were placed otherwise; absent: not known.
    pub could_fit: Option<bool>,
    /// How they could be placed.
    pub moves: Vec<CapacityMove>,
}

/// Pods of one priority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityPriority {
    /// The priority.
    #[cfg_attr(test, ts(type = "number"))]
    pub priority: i64,
    /// How many.
    pub pods: usize,
}

/// A pod and where it could be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityMove {
    /// Namespace and name of the pod.
    pub pod: String,
    /// The node.
    pub node: String,
}

/// A zone that fails as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityZone {
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What becomes of its pods.
    pub failure: CapacityFailure,
}

/// What to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityAdvice {
    /// How many nodes …
    pub nodes: usize,
    /// … like this one.
    pub like: String,
    /// How many sets were tried with them, all survived.
    pub sets_tried: usize,
    /// Whether these are all sets.
    pub exact: bool,
}

/// How nodes failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityOutages {
    /// Since when outages are recorded; none before nodes were read once.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub since_unix_ms: Option<i64>,
    /// Times by pool of nodes.
    pub pools: Vec<CapacityPool>,
    /// The newest outages first.
    pub recent: Vec<CapacityOutage>,
    /// How many there were.
    pub count: usize,
    /// The chance that 0, 1, 2, … nodes are down at a moment; the last is that of so many or more. Empty where
    /// nothing failed yet.
    pub down_at_once: Vec<f64>,
    /// Pods without a place at a moment, on average.
    pub expected_shortfall_pods: Option<f64>,
    /// The chance that more nodes are down than were judged.
    pub beyond_judged: Option<f64>,
}

/// How nodes of a pool fail and come back.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityPool {
    /// The pool.
    pub pool: String,
    /// Its nodes.
    pub nodes: usize,
    /// Outages of them.
    pub outages: usize,
    /// Those that still last.
    pub open: usize,
    /// From when a node was last heard of until that was noticed, on average.
    pub mean_to_detect_seconds: Option<f64>,
    /// From then until it was ready again, on average.
    pub mean_to_recover_seconds: Option<f64>,
    /// Whether the mean is whole; else it is at least this.
    pub recovery_is_whole: bool,
    /// Half of the outages are over after this time.
    pub median_to_recover_seconds: Option<f64>,
    /// Until pods that ran there ran again, on average of those that did.
    pub mean_to_run_again_seconds: Option<f64>,
    /// Time of a node between two outages, on average.
    pub mean_between_failures_seconds: Option<f64>,
    /// The chance that a node is down at a moment.
    pub down: f64,
}

/// An outage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CapacityOutage {
    /// The node.
    pub node: String,
    /// Its pool.
    pub pool: String,
    /// When the node was last heard of.
    #[cfg_attr(test, ts(type = "number"))]
    pub began_unix_ms: i64,
    /// When that was noticed.
    #[cfg_attr(test, ts(type = "number"))]
    pub noticed_unix_ms: i64,
    /// When it was ready again.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub ended_unix_ms: Option<i64>,
    /// When it was taken out of the cluster instead.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub gone_unix_ms: Option<i64>,
    /// The machine was started again.
    pub rebooted: bool,
    /// That it was over was not seen: how long it took is not known.
    pub unseen: bool,
    /// Pods that ran there and are made anew.
    pub pods: usize,
    /// When as many ran again.
    #[cfg_attr(test, ts(type = "number | null"))]
    pub pods_again_unix_ms: Option<i64>,
}
