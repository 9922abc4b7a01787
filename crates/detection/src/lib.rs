//! How events become findings: rules, behaviour detectors, the life of a finding.
//!
//! Pure and deterministic: the same events in the same order give the same findings on a node, on
//! a server and in a test. Time is the events' own and what the caller says to
//! [`Detector::expire`]; nothing here reads a file, a clock or a random number.
//!
//! A rule is one Markdown file of `content/detections`: what it finds and why, the rule itself,
//! and scripts of events that must and must not match ([`Rule::check`] runs them).

mod builtin;
mod check;
mod condition;
mod detector;
mod error;
mod graph;
mod ledger;
mod metrics;
mod reverse_shell;
mod rule;
mod script;

pub use builtin::{FILES as BUILTIN, builtin};
pub use detector::{Config, Detector, Stats};
pub use error::Error;
pub use metrics::DetectionMetrics;
pub use rule::{Detections, Rule};
pub use script::{Script, ScriptError};
