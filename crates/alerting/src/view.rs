//! What can be asked of judgement: groups, rules, alerts and findings as plain facts.

use vedette_model::{Finding, Labels};

use crate::life::Alert;

/// How the last evaluation of a rule went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Not evaluated yet.
    #[default]
    Unknown,
    /// Well.
    Ok,
    /// It failed.
    Err,
}

impl Health {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Err => "err",
        }
    }
}

/// Everything at one time.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Rule groups, in the order of the files.
    pub groups: Vec<GroupView>,
    /// Findings, newest first.
    pub findings: Vec<Finding>,
    /// Messages that are not delivered yet.
    pub outstanding_intents: usize,
}

/// A rule group.
#[derive(Debug, Clone)]
pub struct GroupView {
    /// Name.
    pub name: String,
    /// The file it stands in.
    pub file: String,
    /// How often it is evaluated.
    pub interval_ms: i64,
    /// Alerts or series that one rule may give; 0 means no limit.
    pub limit: usize,
    /// When it was last evaluated, or `None`.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// The rules.
    pub rules: Vec<RuleView>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleView {
    /// Name.
    pub name: String,
    /// Query.
    pub query: String,
    /// Labels as written.
    pub labels: Labels,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed; empty if it did not.
    pub last_error: String,
    /// When it was last evaluated, or `None`.
    pub last_evaluation_ms: Option<i64>,
    /// How long that took.
    pub evaluation_seconds: f64,
    /// What only alerting rules have; `None` for a recording rule.
    pub alerting: Option<AlertingView>,
}

/// The part of an alerting rule.
#[derive(Debug, Clone)]
pub struct AlertingView {
    /// `for`.
    pub for_ms: i64,
    /// `keep_firing_for`.
    pub keep_firing_for_ms: i64,
    /// Annotations as written.
    pub annotations: Labels,
    /// The state of its most advanced alert: `inactive`, `pending` or `firing`.
    pub state: crate::AlertState,
    /// Its alerts that are not over.
    pub alerts: Vec<Alert>,
}
