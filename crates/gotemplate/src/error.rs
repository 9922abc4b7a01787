//! What can be wrong with a template, said where.

/// A template that cannot be parsed or executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is no template.
    #[error("template: {name}:{line}:{column}: {message}")]
    Parse {
        /// Name of the text.
        name: String,
        /// Line, from 1.
        line: usize,
        /// Bytes before the place in its line.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The template failed over this data.
    #[error("template: {name}:{line}:{column}: executing {executing:?} at <{context}>: {message}")]
    Execute {
        /// Name of the text.
        name: String,
        /// Line, from 1.
        line: usize,
        /// Bytes before the place in its line.
        column: usize,
        /// The definition that was being executed.
        executing: String,
        /// The part of the template that failed.
        context: String,
        /// What is wrong.
        message: String,
    },
    /// The set has no text of that name.
    #[error("template: no template {0:?}")]
    Unknown(String),
}

/// Line (from 1) and bytes before `position` in that line.
pub(crate) fn place(text: &str, position: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..position.min(text.len())];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rposition(|b| *b == b'\n').map_or(before.len(), |i| before.len() - i - 1);
    (line, column)
}
