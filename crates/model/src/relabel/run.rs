//! Rules at work on a label set, and the explanation of what they did.

use crate::{Labels, LabelsBuilder, NameScheme};

use super::{RelabelAction, RelabelConfig, RelabelRule};

/// Runs all rules on a label set. False means that what it stands for is dropped; the set is then
/// as the rules before the one that dropped it left it.
pub fn relabel(rules: &[RelabelRule], labels: &mut LabelsBuilder) -> bool {
    rules.iter().all(|rule| rule.run(labels))
}

/// What one rule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelabelStep<'a> {
    /// The rule, as written.
    pub rule: &'a RelabelConfig,
    /// The label set after the rule.
    pub labels: Labels,
    /// Labels that the rule set, changed or removed, in order of their names.
    pub changes: Vec<LabelChange>,
    /// Whether what the set stands for is still there; false only in the last step.
    pub kept: bool,
}

/// A label before and after a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelChange {
    /// The label.
    pub name: String,
    /// Its value before, or `None` where it was not there.
    pub before: Option<String>,
    /// Its value after, or `None` where it was removed.
    pub after: Option<String>,
}

/// Runs the rules one by one and tells what each did, up to the one that drops the set.
pub fn relabel_steps<'a>(rules: &'a [RelabelRule], labels: &Labels) -> Vec<RelabelStep<'a>> {
    let mut builder = labels.to_builder();
    let mut before = labels.clone();
    let mut steps = Vec::with_capacity(rules.len());
    for rule in rules {
        let kept = rule.run(&mut builder);
        let labels = builder.build();
        let changes = changes(&before, &labels);
        before = labels.clone();
        steps.push(RelabelStep { rule: &rule.config, labels, changes, kept });
        if !kept {
            break;
        }
    }
    steps
}

fn changes(before: &Labels, after: &Labels) -> Vec<LabelChange> {
    let mut names: Vec<&str> = before.iter().chain(after.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(name) != after.get(name))
        .map(|name| LabelChange {
            name: name.to_owned(),
            before: before.get(name).map(str::to_owned),
            after: after.get(name).map(str::to_owned),
        })
        .collect()
}

impl RelabelRule {
    /// Runs the rule; false means that the set is dropped.
    pub(super) fn run(&self, labels: &mut LabelsBuilder) -> bool {
        use RelabelAction as A;
        let target = &self.config.target_label;
        match self.config.action {
            A::Keep => return self.regex.matches(&self.source(labels)),
            A::Drop => return !self.regex.matches(&self.source(labels)),
            A::KeepEqual => return labels.get(target).unwrap_or("") == self.source(labels),
            A::DropEqual => return labels.get(target).unwrap_or("") != self.source(labels),
            A::Replace => self.replace(labels),
            A::HashMod => {
                let hash = hash(&self.source(labels)) % self.config.modulus;
                labels.set(target, &hash.to_string());
            }
            A::Lowercase => {
                let lower: String = self.source(labels).chars().map(lower).collect();
                labels.set(target, &lower);
            }
            A::Uppercase => {
                let upper: String = self.source(labels).chars().map(upper).collect();
                labels.set(target, &upper);
            }
            A::LabelMap => self.map_names(labels),
            A::LabelDrop => labels.retain(|name, _| !self.regex.matches(name)),
            A::LabelKeep => labels.retain(|name, _| self.regex.matches(name)),
        }
        true
    }

    fn replace(&self, labels: &mut LabelsBuilder) {
        let (target, replacement) = (self.config.target_label.as_str(), self.config.replacement());
        let has_groups = |template: &str| template.contains('$');
        // Many rules set a constant where anything goes: no pattern is needed for that.
        if self.config.regex.is_none() && !has_groups(target) && !has_groups(replacement) {
            labels.set(target, replacement);
            return;
        }
        let source = self.source(labels);
        let Some(value) = self.regex.expand(&source, replacement) else { return };
        if !has_groups(target) {
            labels.set(target, &value);
        } else if let Some(target) = self.regex.expand(&source, target)
            && self.scheme.takes_label(&target)
        {
            labels.set(&target, &value);
        }
    }

    fn map_names(&self, labels: &mut LabelsBuilder) {
        let mut mapped = Vec::new();
        for (name, value) in labels.iter() {
            if let Some(to) = self.regex.expand(name, self.config.replacement()) {
                mapped.push((to, value.to_owned()));
            }
        }
        // A label without a name cannot be kept.
        for (name, value) in mapped.iter().filter(|(name, _)| NameScheme::Utf8.takes_label(name)) {
            labels.set(name, value);
        }
    }

    /// The values of the source labels, joined.
    fn source(&self, labels: &LabelsBuilder) -> String {
        let mut out = String::new();
        for (i, name) in self.config.source_labels.iter().enumerate() {
            if i > 0 {
                out.push_str(self.config.separator());
            }
            out.push_str(labels.get(name).unwrap_or(""));
        }
        out
    }
}

/// The last eight bytes of the text's MD5 sum, as Prometheus splits targets by it. This is no
/// matter of security: the sum must be the same in every server that takes a share.
fn hash(text: &str) -> u64 {
    use md5::Digest as _;
    let sum = md5::Md5::digest(text.as_bytes());
    u64::from_be_bytes(std::array::from_fn(|i| sum[8 + i]))
}

/// Letter by letter, without regard to what stands around it; of a letter that has several small
/// ones the first.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// A letter that has no single capital letter stays.
fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}
