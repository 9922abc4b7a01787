//! Text that is not shown.

use std::{fmt, path::PathBuf};

/// A password, token or key. Printing it, for debugging too, prints `<secret>`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::shown::HIDDEN)
    }
}

/// A text that is written in the configuration or in a file of its own. A file is read again
/// whenever the text is needed, so that it can be changed while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// Here.
    Inline(Secret),
    /// In this file.
    File(PathBuf),
}
