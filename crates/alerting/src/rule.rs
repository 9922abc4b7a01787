//! Rules ready to be evaluated.

use std::sync::Arc;

use vedette_model::Labels;
use vedette_promql::Expr;

use crate::template::Text;

/// A group: rules that are evaluated together, one after the other.
#[derive(Debug, Clone)]
pub struct Group {
    /// The file it stands in.
    pub file: String,
    /// Name, unique in its file.
    pub name: String,
    /// How often it is evaluated, or `None` for the configured interval.
    pub interval_ms: Option<i64>,
    /// How far in the past queries look, so that late samples are in.
    pub query_offset_ms: i64,
    /// Alerts or series that one rule may give; 0 means no limit.
    pub limit: usize,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Name of the alert, or of the recorded series.
    pub name: String,
    /// The query as written.
    pub query: String,
    pub(crate) expr: Arc<Expr>,
    /// Labels as written, those of the group included.
    pub labels: Labels,
    pub(crate) label_texts: Vec<(String, Text)>,
    /// What it does.
    pub kind: RuleKind,
}

/// What a rule does with the answer to its query.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Writes it as series of the rule's name.
    Record,
    /// Makes an alert of each sample.
    Alert(Box<AlertRule>),
}

/// The part that only alerting rules have.
#[derive(Debug, Clone)]
pub struct AlertRule {
    /// How long a sample must be there before its alert fires.
    pub for_ms: i64,
    /// How long an alert goes on firing after its sample is gone.
    pub keep_firing_for_ms: i64,
    /// Annotations as written.
    pub annotations: Labels,
    pub(crate) annotation_texts: Vec<(String, Text)>,
}

impl Rule {
    /// What ties saved state to a rule over restarts: an edited rule starts anew.
    pub(crate) fn key(&self, group: &Group) -> String {
        format!("{}\u{0}{}\u{0}{}\u{0}{}", group.name, self.name, self.query, self.labels.as_key())
    }
}
