//! Seeded simulation of the store: a random workload on a disk that fails at a chosen place, and
//! a model that is obviously right to hold the store against afterwards.
//!
//! A case is a seed, a fault and a place; it comes out the same whenever it is run, but for the
//! order in which recovery reads the logs of several shards side by side.

mod cases;
pub mod machine;
mod model;
mod workload;

#[allow(unused_imports, reason = "test and command use a part each")]
pub use cases::{Case, FAULTS, Fault, glance, places, run};
