//! When judgement runs: rule groups by their schedule, events as they pass.
//!
//! [`Ruler`] owns a thread that ticks `alerting` over the stored series, writes what rules give
//! back through the door of the stores, keeps the state of alerts over restarts and hands
//! messages on. Invariant: a message is handed on only after the state that contains it is on
//! disk, so that after any crash it is handed on again.
//!
//! [`DetectionStage`] stands before the stores, lets every event pass by the detectors and adds
//! their findings. How rules and events are judged is not known here.

mod config;
mod detection;
mod metrics;
mod ruler;
mod store;
mod worker;
mod writer;

pub use config::{Config, Error};
pub use detection::{Detect, DetectionStage};
pub use metrics::{Metrics, PartHealth};
pub use ruler::{Parts, Ruler, RulerHandle};

#[cfg(test)]
mod tests;
