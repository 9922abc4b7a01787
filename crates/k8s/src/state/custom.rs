//! The state of custom resources as metrics, told as their users configure it: files that kube-state-metrics takes as
//! `--custom-resource-state-config-file`, by the meaning that its documentation gives them.
//!
//! Of an object only its rows are kept, written as they stand on the page; the object itself is forgotten at once.
//! What holds: whatever a cluster has, an object makes a bounded number of rows of bounded length, all objects of a
//! cluster together take a bounded number of bytes ([`kept`]), and what is left out is counted by reason ([`Loss`]).

mod check;
mod found;
mod kept;
mod labels;
mod lost;
mod metric;
mod number;
mod page;
mod path;
mod rows;
mod watches;
mod written;

use std::sync::Arc;

use self::{labels::LabelPaths, metric::Metric};

pub use check::{ConfigError, together};
pub use lost::{LOSSES, Loss, Losses};
pub use page::page;
pub use watches::{CustomStates, CustomWatch};
pub use written::{CustomResourceFile, read};

pub(super) use page::parts;

/// Custom resources whose objects are told, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomResource {
    /// Where it is written, for errors.
    place: Box<str>,
    group: Box<str>,
    /// Any where there is none.
    version: Option<Box<str>>,
    /// Any where there is none.
    kind: Option<Box<str>>,
    /// The word in paths, if somebody says; else the API server is asked.
    plural: Option<Box<str>>,
    families: Arc<[CustomFamily]>,
}

/// A family of metrics of custom resources.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CustomFamily {
    name: Box<str>,
    help: Box<str>,
    kind: super::Kind,
    /// All that make rows of it.
    metrics: Vec<CustomMetric>,
}

/// How rows are made of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CustomMetric {
    /// Labels that all rows have.
    common: Box<[(Box<str>, Box<str>)]>,
    /// Labels whose values stand in the object.
    labels: LabelPaths,
    /// Whether the first value that cannot be told is a warning in the log.
    warns: bool,
    each: Metric,
}

impl CustomResource {
    /// What it is, in words.
    fn told(&self) -> String {
        let word = |word: &Option<Box<str>>| word.as_deref().unwrap_or("*").to_owned();
        format!("{} of {}/{}", word(&self.kind), self.group, word(&self.version))
    }
}
