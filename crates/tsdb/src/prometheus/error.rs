//! What can go wrong with blocks, by what the caller does about it.

use std::{
    io,
    path::{Path, PathBuf},
};

use vedette_model::ReadError;

/// Why blocks were not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The machine refused.
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
    /// The block cannot be trusted; take it from a copy, or leave it out.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A later Prometheus wrote it.
    #[error("{} cannot be read by this release: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not known.
        reason: String,
    },
    /// There is nothing to import.
    #[error("{} is no block of Prometheus and holds none; a block is a folder with a file meta.json", path.display())]
    NoBlock {
        /// The folder.
        path: PathBuf,
    },
    /// What is asked for cannot be done.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// Our own store cannot be read.
    #[error("cannot read the metric store")]
    Store(#[from] ReadError),
}

impl BlockError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), offset, reason: reason.into() }
    }

    pub(super) fn unsupported(path: &Path, reason: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), reason: reason.into() }
    }
}
