//! Why a reader cannot start. Once started, a reader reports what is missing and carries on.

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot work: correct it.
    #[error("host configuration: {0}")]
    Config(String),
    /// This machine does not offer what the reader needs: do without.
    #[error("{what}; {remedy}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The machine refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}
