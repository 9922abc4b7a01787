//! What a reader says of itself, ready for the status board.

use vedette_model::status::{Part, StatusBoard};

/// The state of one part, under the name it has on the status board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Name of the part: `collector.node`, `collector.container`, `runtime.<socket>`.
    pub part: String,
    /// Its state.
    pub state: Part,
}

impl Report {
    /// Posts it.
    pub fn post(self, board: &StatusBoard) {
        board.post(&self.part, self.state);
    }
}
