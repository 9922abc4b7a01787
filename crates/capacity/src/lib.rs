//! What if nodes fail: whether the rest of a cluster can carry the load.
//!
//! A [`Snapshot`] of Kubernetes' objects becomes a [`Cluster`], and that is judged. Pure, synchronous and
//! deterministic: no files, no clock, no chance; equal input gives equal verdicts. Budgets count steps, not
//! time.

mod bound;
mod class;
mod cluster;
mod counter;
mod error;
mod exact;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod judge;
#[cfg(test)]
mod naive;
mod nodes;
pub mod objects;
pub mod outage;
mod quantity;
mod requests;
mod schedule;
mod select;
mod snapshot;
mod state;
mod survey;
mod template;
#[cfg(test)]
mod tests;
mod volumes;

pub use bound::Shortage;
pub use cluster::{Cluster, FailureMode, Fate, MAX_NODES, MAX_PODS, Options, Order};
pub use error::Error;
pub use exact::Exact;
pub use judge::{Judge, Verdict};
pub use schedule::Replay;
pub use snapshot::Snapshot;
pub use state::Losses;
pub use survey::{Advice, Budget, Failure, Point, Survey, Zone, advise, advise_until, survey, survey_until};
pub use volumes::says_default_class;
