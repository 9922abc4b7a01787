//! Vedette's answers to PromQL held against those of Prometheus: both programs run side by side,
//! are sent the same samples, and are asked the same questions over HTTP.

mod answer;
mod compliance;
mod demo;
mod diff;
mod explained;
mod grammar;
mod pair;
mod query;
mod world;

pub use compliance::compliance;
pub use diff::{Options as DiffOptions, diff};
pub use pair::Reference;
