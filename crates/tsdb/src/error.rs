//! What can go wrong, by what the caller does about it.

use std::{io, path::PathBuf};

use vedette_sys::LogError;

use crate::SeriesLimit;

/// Why the store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not all was taken; the same call may be made again, and works when the cause is gone.
    #[error("cannot write samples to the write-ahead log")]
    Append(#[source] LogError),
    /// The series is new and there is no room for it; series that are there go on.
    #[error(
        "a new series of {name} is refused: {max} {limit} are the limit; drop series, or raise the limit"
    )]
    SeriesLimit {
        /// What is limited.
        limit: SeriesLimit,
        /// Metric or target of the series.
        name: String,
        /// The limit.
        max: u64,
    },
    /// The caller's data is wrong; trying again cannot help.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// Work on what is stored did not go through; everything is as it was before.
    #[error("the metric store could not finish its work on segments")]
    Maintenance(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The settings contradict each other.
    #[error("metric store: {reason}")]
    Config {
        /// How.
        reason: String,
    },
    /// The store cannot be opened.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The write-ahead log cannot be opened.
    #[error("cannot open the write-ahead log of the metric store")]
    Wal(#[source] LogError),
    /// An earlier release wrote the store.
    #[error(
        "{} is of the write-ahead log of an earlier release, which this one cannot read; start that \
         release once more and let it run for half an hour, or remove the file and lose its samples",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote the store.
    #[error("{} has format version {version}, which this release cannot read; use a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
}

impl Error {
    /// Whether the cause is a full disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Append(log) if log.is_full())
    }
}
