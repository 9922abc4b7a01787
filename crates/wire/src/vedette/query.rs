//! What is told of PromQL queries: those that run and ran, and how one is evaluated.

use serde::Serialize;

/// Answer of `/api/vedette/v1/queries`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct QueriesAnswer {
    /// Queries that run, the oldest first.
    pub active: Vec<ActiveQuery>,
    /// Queries that took long, the latest first.
    pub slow: Vec<FinishedQuery>,
    /// Queries that ran when the process ended the last time without being told to; each a JSON
    /// object as text.
    pub interrupted: Vec<String>,
    /// How long a query takes at least that counts as slow.
    pub slow_from_seconds: f64,
    /// Queries that wait for their turn.
    #[cfg_attr(test, ts(type = "number"))]
    pub waiting: i64,
    /// Memory that queries have taken.
    #[cfg_attr(test, ts(type = "number"))]
    pub memory_bytes: u64,
    /// Memory that they may take together.
    #[cfg_attr(test, ts(type = "number"))]
    pub memory_bytes_max: u64,
    /// Answers that are kept to be given again.
    pub cache: CacheFigures,
}

/// What the cache of answers did since the start.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct CacheFigures {
    /// Queries of which all steps were there.
    #[cfg_attr(test, ts(type = "number"))]
    pub hits: u64,
    /// Queries of which some steps were there.
    #[cfg_attr(test, ts(type = "number"))]
    pub partial_hits: u64,
    /// Queries of which no step was there.
    #[cfg_attr(test, ts(type = "number"))]
    pub misses: u64,
    /// Queries whose answers cannot be kept.
    #[cfg_attr(test, ts(type = "number"))]
    pub bypassed: u64,
    /// Answers held.
    #[cfg_attr(test, ts(type = "number"))]
    pub entries: usize,
    /// Bytes held.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes: usize,
}

/// What was asked.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AskedQuery {
    /// The expression.
    pub query: String,
    /// The path of the endpoint.
    pub path: &'static str,
    /// First time of evaluation.
    #[cfg_attr(test, ts(type = "number"))]
    pub start_unix_ms: i64,
    /// Last time of evaluation.
    #[cfg_attr(test, ts(type = "number"))]
    pub end_unix_ms: i64,
    /// Between two evaluations; 0 for a single one.
    #[cfg_attr(test, ts(type = "number"))]
    pub step_ms: i64,
    /// Address and user of the client.
    pub client: String,
    /// When it began to run.
    #[cfg_attr(test, ts(type = "number"))]
    pub began_unix_ms: i64,
}

/// A query that runs.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ActiveQuery {
    /// What was asked.
    pub asked: AskedQuery,
    /// How long it has been running.
    pub running_seconds: f64,
}

/// A query that is over.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct FinishedQuery {
    /// What was asked.
    pub asked: AskedQuery,
    /// How long it waited for its turn.
    pub queue_seconds: f64,
    /// How long it ran.
    pub run_seconds: f64,
    /// Series that its selectors found.
    #[cfg_attr(test, ts(type = "number"))]
    pub series_read: u64,
    /// Samples that were read.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples_read: u64,
    /// The most memory that it held at once.
    #[cfg_attr(test, ts(type = "number"))]
    pub memory_bytes: u64,
    /// Size of the answer.
    #[cfg_attr(test, ts(type = "number"))]
    pub answer_bytes: u64,
    /// Steps that were taken from the cache.
    #[cfg_attr(test, ts(type = "number"))]
    pub steps_reused: u64,
    /// Why there is no answer; empty when there is one.
    pub error: String,
}

/// Answer of `/api/vedette/v1/explain`.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ExplainAnswer {
    /// The expression in canonical form, broken into lines where it is long.
    pub query: String,
    /// Times at which it was evaluated.
    #[cfg_attr(test, ts(type = "number"))]
    pub steps: u64,
    /// Whether the answer can be kept, and given again with new steps.
    pub cacheable: bool,
    /// How long the evaluation took.
    pub run_seconds: f64,
    /// Of this, finding series.
    pub find_seconds: f64,
    /// How long it waited for its turn.
    pub queue_seconds: f64,
    /// Series in the answer.
    #[cfg_attr(test, ts(type = "number"))]
    pub series: u64,
    /// Series that selectors found.
    #[cfg_attr(test, ts(type = "number"))]
    pub series_read: u64,
    /// Samples that were read.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples_read: u64,
    /// Samples that all steps looked at.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples_looked_at: u64,
    /// The most samples held at once.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples_peak: u64,
    /// The most memory held at once.
    #[cfg_attr(test, ts(type = "number"))]
    pub memory_bytes: u64,
    /// Warnings and infos.
    pub notes: Vec<String>,
    /// The nodes of the expression, each before those below it.
    pub nodes: Vec<ExplainNode>,
}

/// What one node of an expression did.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct ExplainNode {
    /// What it does, in a word or two.
    pub operation: String,
    /// The node as written, cut where it is long.
    pub text: String,
    /// How many nodes are above it.
    #[cfg_attr(test, ts(type = "number"))]
    pub depth: usize,
    /// Series that it found in the store.
    #[cfg_attr(test, ts(type = "number"))]
    pub series_read: u64,
    /// Samples that it read from the store.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples_read: u64,
    /// Series that it gave.
    #[cfg_attr(test, ts(type = "number"))]
    pub series: u64,
    /// Values that it gave.
    #[cfg_attr(test, ts(type = "number"))]
    pub samples: u64,
    /// Memory of what it read and gave.
    #[cfg_attr(test, ts(type = "number"))]
    pub bytes: u64,
    /// How often it was evaluated.
    #[cfg_attr(test, ts(type = "number"))]
    pub evaluations: u64,
    /// Time of it and all below it.
    pub seconds: f64,
    /// Time of it alone.
    pub own_seconds: f64,
}
