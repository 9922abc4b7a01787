//! What each part of the program says of itself, for the status page and for rules.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

/// Whether a part does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It works.
    Ok,
    /// It is switched off, or cannot run on this machine; the rest works.
    Off,
    /// It works in part, or lost something.
    Degraded,
    /// It does not work.
    Failed,
}

impl Health {
    /// The word shown and used as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Off => "off",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// One part's own account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// State.
    pub health: Health,
    /// What is so, for people; empty when all is well.
    pub message: String,
    /// What to do about it; empty when nothing is to be done.
    pub remedy: String,
    /// Figures and facts in the order in which they are shown.
    pub facts: Vec<(String, String)>,
}

impl Part {
    /// A part that works.
    pub fn ok() -> Self {
        Self { health: Health::Ok, message: String::new(), remedy: String::new(), facts: Vec::new() }
    }

    /// A part in some other state.
    pub fn new(health: Health, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { health, message: message.into(), remedy: remedy.into(), facts: Vec::new() }
    }

    /// Adds a fact.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "figures are handed over as they are, without an ampersand each"
    )]
    pub fn fact(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.facts.push((name.into(), value.to_string()));
        self
    }
}

/// The board on which all parts post their state; cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct StatusBoard(Arc<RwLock<BTreeMap<String, Part>>>);

impl StatusBoard {
    /// Posts the state of a part, in place of what it said before.
    pub fn post(&self, part: &str, state: Part) {
        self.0.write().insert(part.to_owned(), state);
    }

    /// What one part said last.
    pub fn get(&self, part: &str) -> Option<Part> {
        self.0.read().get(part).cloned()
    }

    /// What all parts said last, by name.
    pub fn all(&self) -> Vec<(String, Part)> {
        self.0.read().iter().map(|(n, p)| (n.clone(), p.clone())).collect()
    }
}
