//! Why the store could not do what it was asked.

use std::{io, path::PathBuf};

use vedette_sys::LogError;

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The events were not written; the same call may succeed later.
    #[error("cannot write events")]
    Write(#[source] LogError),
    /// Sealing has fallen behind, because the disk is full or failing; the same call may succeed later.
    #[error("{events} events wait to be sealed; check the disk that holds {}", folder.display())]
    Behind {
        /// Events in memory.
        events: usize,
        /// Where the store lives.
        folder: PathBuf,
    },
    /// One event is larger than the store takes; trying again cannot help.
    #[error("an event takes more than {max} bytes")]
    TooLarge {
        /// The limit.
        max: usize,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// The machine refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The catalogue cannot be read or written.
    #[error("cannot {action} the catalogue {}", path.display())]
    Catalogue {
        /// What was tried.
        action: &'static str,
        /// Its file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<redb::Error>,
    },
    /// Bytes of a segment are not what was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part.
        what: String,
    },
}

impl Error {
    /// Whether the same call may succeed later.
    pub fn is_retry(&self) -> bool {
        match self {
            Self::Write(error) => !matches!(error, LogError::TooLarge { .. }),
            Self::Behind { .. } | Self::Io { .. } | Self::Catalogue { .. } => true,
            Self::TooLarge { .. } | Self::Config(_) | Self::Damaged { .. } => false,
        }
    }
}
