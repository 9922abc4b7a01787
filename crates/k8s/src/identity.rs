//! Which workload is this? Pods by container, cgroup, address, uid and account, with those that are gone.
//!
//! [`Identities`] follows the watches of pods, ReplicaSets and Jobs of a cluster and keeps an [`Index`].
//! Whoever asks waits at most for the taking of a few hundred pods. A pod that comes and goes between two
//! looks at the watch, some tenths of a second, is not remembered. Where there is a data folder, what is known is
//! kept in it over restarts.

pub(crate) mod cgroup;
mod follow;
pub(crate) mod history;
mod index;
mod owner;
pub(crate) mod text;

pub use follow::Identities;
pub use history::Place;
pub use index::{Index, Limits, Stats};

#[cfg(test)]
mod tests;
