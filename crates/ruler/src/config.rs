//! Settings, and what can keep the ruler from starting.

use std::path::PathBuf;

use vedette_model::Origin;

/// Settings of the ruler.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder in which the state of alerts is kept.
    pub folder: PathBuf,
    /// The sender of the samples that rules give.
    pub origin: Origin,
    /// How often the state is saved while alerts are active and nothing else changes, so that a
    /// restart knows how long they have waited.
    pub save_interval_ms: i64,
    /// Findings that may wait for the next tick; more are dropped and counted.
    pub findings_waiting_max: usize,
}

impl Config {
    /// Working settings for a folder.
    pub fn new(folder: impl Into<PathBuf>, origin: Origin) -> Self {
        Self { folder: folder.into(), origin, save_interval_ms: 15_000, findings_waiting_max: 10_000 }
    }
}

/// Why the ruler cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The saved state cannot be opened.
    #[error("cannot open the alert state in {}", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: vedette_sys::LogError,
    },
    /// A later release wrote the state. It is not touched.
    #[error("cannot take up the alert state in {}", folder.display())]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: vedette_alerting::SnapshotError,
    },
    /// The machine gives no thread.
    #[error("cannot start the ruler's thread")]
    Thread(#[source] std::io::Error),
}
