//! How targets are: what was discovered, what is scraped, and what came of it last.
//!
//! Whoever scrapes knows this; whoever shows it reads it through [`TargetReader`].

use std::time::Duration;

use crate::{Labels, MetricMetadata};

/// Whether the last scrape of a target succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TargetHealth {
    /// It was not scraped yet.
    #[default]
    Unknown,
    /// It succeeded.
    Up,
    /// It failed.
    Down,
}

impl TargetHealth {
    /// The word in answers of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A target that is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetState {
    /// The job that it belongs to.
    pub pool: String,
    /// Labels before the rules of the job.
    pub discovered: Labels,
    /// Labels that its series get.
    pub labels: Labels,
    /// What is asked.
    pub url: String,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Whether the last one succeeded.
    pub health: TargetHealth,
    /// Why the last one failed; empty where it did not.
    pub last_error: String,
    /// When the last one began, in nanoseconds since the Unix epoch; 0 before the first.
    pub last_scrape_ns: i64,
    /// How long it took.
    pub last_duration: Duration,
}

/// What was discovered and is not scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedTarget {
    /// The job that it was found for.
    pub pool: String,
    /// Labels as discovered.
    pub discovered: Labels,
    /// What is wrong with it; `None` where a rule of the job dropped it.
    pub error: Option<String>,
}

/// The targets of a job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PoolState {
    /// The name of the job.
    pub pool: String,
    /// Those that are scraped.
    pub targets: Vec<TargetState>,
    /// Those that are not: as many as the job wants to be remembered.
    pub dropped: Vec<DroppedTarget>,
    /// How many are not.
    pub dropped_count: usize,
}

/// Tells how targets are.
pub trait TargetReader: Send + Sync {
    /// The names of all jobs, in order.
    fn pool_names(&self) -> Vec<String>;

    /// The targets of one job, or of all, in order of the jobs' names.
    fn pools(&self, only: Option<&str>) -> Vec<PoolState>;

    /// What each target told last of its families, with the labels of the target.
    fn target_metadata(&self, each: &mut dyn FnMut(&Labels, &MetricMetadata));
}
