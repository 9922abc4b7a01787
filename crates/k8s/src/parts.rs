//! How the parts of a cluster are: its API server and store, the programs that lead, the nodes, and what else
//! it cannot do without.
//!
//! Asking and judging are apart. The watcher asks over the network; the [`Judge`] is synchronous, is handed
//! the clock, and can therefore be shown days in a second.
//!
//! * One look is nothing: a part has failed when looks agree for as long as the cause's grace, which is data
//!   with the next step (`causes.rs`).
//! * No clock but our own is believed, as those of a cluster differ.
//! * What cannot be seen is unknown, and is neither healthy nor failed.

mod ask;
mod causes;
mod certificates;
mod endpoint;
mod etcd;
mod judge;
mod lease;
mod look;
mod node;
mod probe;
mod returns;
#[cfg(test)]
mod simulation;
mod suspects;
mod track;
mod watcher;
mod workloads;

pub use endpoint::{ENDPOINT_PARTS, Endpoints};
pub use etcd::MemberFigures;
pub use judge::{API_SERVER, DNS, ETCD, Judge, KUBELET, View};
pub use lease::Lease;
pub use node::NodeSeen;
pub use probe::{Check, Probe, Reply, checks};
pub use track::Seen;
pub use watcher::{Config, Parts, watch};
pub use workloads::{PodSeen, PodsByPart, SYSTEM_NAMESPACE, WORKLOADS, Workload};
