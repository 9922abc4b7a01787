//! Rollups: for each step of some minutes one row for each series, which stays longer than its samples.
//!
//! What a row tells is in [`vedette_model::RollupRow`], which functions it answers exactly in
//! `docs/design/rollups.md`, and the file in `docs/formats/tsdb-rollup.md`. Rollups of one window,
//! which is the longest span that segments are merged into, are made once it is over and its
//! segments are merged ([`build`]), and anew whenever what they were made of changes. Invariant: a
//! row that is read tells of exactly the samples that are stored for its step, or were when the
//! last of them was removed because of its age.

mod build;
pub mod codec;
pub mod rows;

pub use build::{Rolling, Rollups, open};

#[cfg(test)]
mod tests;
