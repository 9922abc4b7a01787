//! Relabelling: rules that rewrite a label set, or drop what it stands for.
//!
//! The rules are Prometheus': the same ones choose and name targets, series, alerts and what is
//! sent elsewhere. A [`RelabelConfig`] is a rule as a person wrote it; a [`RelabelRule`] is one
//! that was checked and compiled, so that running it cannot fail. All rules of a list run in
//! order on the same set until one drops it.

mod run;

use crate::{
    NameScheme,
    regexp::{self, GroupRegexp, RegexpError},
};

pub use run::{LabelChange, RelabelStep, relabel, relabel_steps};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RelabelAction {
    /// Where the pattern matches, set `target_label` to `replacement`.
    #[default]
    Replace,
    /// Go on only where the pattern matches.
    Keep,
    /// Go on only where the pattern does not match.
    Drop,
    /// Go on only where the source equals `target_label`.
    KeepEqual,
    /// Go on only where the source differs from `target_label`.
    DropEqual,
    /// Set `target_label` to the hash of the source, modulo `modulus`.
    HashMod,
    /// Copy each label whose name matches to the name that `replacement` gives.
    LabelMap,
    /// Remove each label whose name matches.
    LabelDrop,
    /// Remove each label whose name does not match.
    LabelKeep,
    /// Set `target_label` to the source in lower case.
    Lowercase,
    /// Set `target_label` to the source in upper case.
    Uppercase,
}

impl RelabelAction {
    /// All actions.
    pub const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// The word in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    /// The action of a word, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(word))
    }

    fn needs_target(self) -> bool {
        matches!(
            self,
            Self::Replace
                | Self::HashMod
                | Self::Lowercase
                | Self::Uppercase
                | Self::KeepEqual
                | Self::DropEqual
        )
    }
}

/// A rule as written; `None` is a key that is not there, which some actions insist on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RelabelConfig {
    /// Labels whose values, joined, are the source.
    pub source_labels: Vec<String>,
    /// What stands between the values; default `;`.
    pub separator: Option<String>,
    /// The anchored pattern that is held against the source; default `(.*)`.
    pub regex: Option<String>,
    /// Divisor of `hashmod`; 0 where there is none.
    pub modulus: u64,
    /// The label that is set or compared; empty where there is none.
    pub target_label: String,
    /// What is set, with `$1` or `${name}` for groups of the pattern; default `$1`.
    pub replacement: Option<String>,
    /// What is done.
    pub action: RelabelAction,
}

const SEPARATOR: &str = ";";
const REGEX: &str = "(.*)";
const REPLACEMENT: &str = "$1";

impl RelabelConfig {
    /// What stands between the values of the source labels.
    pub fn separator(&self) -> &str {
        self.separator.as_deref().unwrap_or(SEPARATOR)
    }

    /// The pattern.
    pub fn regex(&self) -> &str {
        self.regex.as_deref().unwrap_or(REGEX)
    }

    /// What is set.
    pub fn replacement(&self) -> &str {
        self.replacement.as_deref().unwrap_or(REPLACEMENT)
    }
}

/// Why a rule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelabelError {
    /// The pattern is none.
    #[error(transparent)]
    Regex(#[from] RegexpError),
    /// A key that the action needs is not there.
    #[error("the action {action} needs a '{key}'; add it")]
    Missing {
        /// The action.
        action: &'static str,
        /// The key.
        key: &'static str,
    },
    /// A key has no meaning for the action.
    #[error("'{key}' has no meaning for the action {action}, which takes only {takes} and no other fields")]
    Meaningless {
        /// The action.
        action: &'static str,
        /// The key.
        key: &'static str,
        /// The keys that have one.
        takes: &'static str,
    },
    /// A name that no label can have.
    #[error("{value:?} in '{key}' of the action {action} is no label name under the scheme {scheme}")]
    Name {
        /// The action.
        action: &'static str,
        /// The key.
        key: &'static str,
        /// What was written.
        value: String,
        /// The scheme by which names are checked.
        scheme: &'static str,
    },
}

/// A rule that was checked and compiled.
#[derive(Debug, Clone)]
pub struct RelabelRule {
    config: RelabelConfig,
    scheme: NameScheme,
    regex: GroupRegexp,
}

impl RelabelRule {
    /// Checks and compiles a rule. Names that it makes are checked by `scheme`.
    pub fn new(config: RelabelConfig, scheme: NameScheme) -> Result<Self, RelabelError> {
        check(&config, scheme)?;
        let regex = GroupRegexp::new(config.regex())?;
        Ok(Self { config, scheme, regex })
    }

    /// The rule as written.
    pub fn config(&self) -> &RelabelConfig {
        &self.config
    }
}

impl PartialEq for RelabelRule {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.scheme == other.scheme
    }
}

impl Eq for RelabelRule {}

fn check(config: &RelabelConfig, scheme: NameScheme) -> Result<(), RelabelError> {
    use RelabelAction as A;
    let action = config.action.as_str();
    if config.action == A::HashMod && config.modulus == 0 {
        return Err(RelabelError::Missing { action, key: "modulus" });
    }
    if config.action.needs_target() && config.target_label.is_empty() {
        return Err(RelabelError::Missing { action, key: "target_label" });
    }
    let name_error = |key, value: &str| {
        Err(RelabelError::Name { action, key, value: value.to_owned(), scheme: scheme.as_str() })
    };
    // Only the target of `replace` is a template.
    let target_fits = match config.action {
        A::Replace if config.target_label.contains('$') => takes_template(scheme, &config.target_label),
        _ => !config.action.needs_target() || scheme.takes_label(&config.target_label),
    };
    if !target_fits {
        return name_error("target_label", &config.target_label);
    }
    if config.action == A::LabelMap && !takes_template(scheme, config.replacement()) {
        return name_error("replacement", config.replacement());
    }
    // In the order in which a person would look for what is too much.
    let (takes, too_much): (_, &[(&str, bool)]) = match config.action {
        A::Lowercase | A::Uppercase => (
            "'source_labels', 'separator' and 'target_label'",
            &[("replacement", config.replacement() != REPLACEMENT)],
        ),
        A::KeepEqual | A::DropEqual => (
            "'source_labels' and 'target_label'",
            &[
                ("replacement", config.replacement() != REPLACEMENT),
                ("regex", config.regex.is_some()),
                ("modulus", config.modulus != 0),
                ("separator", config.separator() != SEPARATOR),
            ],
        ),
        A::LabelDrop | A::LabelKeep => (
            "'regex'",
            &[
                ("source_labels", !config.source_labels.is_empty()),
                ("target_label", !config.target_label.is_empty()),
                ("modulus", config.modulus != 0),
                ("separator", config.separator() != SEPARATOR),
                ("replacement", config.replacement() != REPLACEMENT),
            ],
        ),
        _ => ("", &[]),
    };
    match too_much.iter().find(|(_, is_there)| *is_there) {
        Some((key, _)) => Err(RelabelError::Meaningless { action, key, takes }),
        None => Ok(()),
    }
}

/// Whether a text with `$1` and `${name}` in it can become a label name: under the scheme of old
/// everything beside the groups must be fit for one, and a digit may only follow something else.
fn takes_template(scheme: NameScheme, text: &str) -> bool {
    if scheme == NameScheme::Utf8 {
        return !text.is_empty();
    }
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '$' {
            match regexp::reference(&rest[1..]) {
                Some((name, after)) if name.is_ascii() => rest = after,
                _ => return false,
            }
        } else if c.is_ascii_alphabetic() || c == '_' || (c.is_ascii_digit() && rest.len() < text.len()) {
            rest = &rest[1..];
        } else {
            return false;
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests;
