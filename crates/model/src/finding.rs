//! Findings: a judgement that people should know of, with identity and life cycle.

use std::fmt;

use crate::Labels;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Look at it in working hours.
    Warning,
    /// Look at it now.
    Critical,
}

impl Severity {
    /// The word used as the `severity` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The severity of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|s| s.as_str() == word)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a finding is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingState {
    /// Seen, and not over.
    Firing,
    /// Over: its time to live has passed without its being seen again.
    Resolved,
}

/// A judgement. Repeats of one finding (same rule, same subject) share a fingerprint and are
/// counted, not multiplied.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Stable name of this finding: hash of `labels`; without `workload` and `workload_kind` where these may become
    /// known while it lasts.
    pub fingerprint: u64,
    /// The detection's name, for example `reverse-shell`.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// One line for people.
    pub title: String,
    /// What was seen and why it matters, for people.
    pub description: String,
    /// What identifies it: `alertname`, `severity`, `host`, `container`, …; also what routes match on.
    pub labels: Labels,
    /// First seen, nanoseconds since the Unix epoch.
    pub first_ns: i64,
    /// Last seen.
    pub last_ns: i64,
    /// How often seen.
    pub count: u64,
    /// State.
    pub state: FindingState,
    /// The process concerned, `name(pid)`, then its ancestors, nearest first.
    pub ancestry: Vec<String>,
    /// Facts that decided, one sentence each.
    pub evidence: Vec<String>,
    /// Ids of the events that decided, where they are known.
    pub event_ids: Vec<u64>,
}
