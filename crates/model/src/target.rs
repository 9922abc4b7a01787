//! What discovery finds: targets, in groups that come and go together.

use crate::Labels;

/// The label that holds a target's host and port until it is scraped.
pub const ADDRESS_LABEL: &str = "__address__";

/// Targets from one source with labels that they share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetGroup {
    /// Where the group comes from; a group replaces the one of the same source.
    pub source: String,
    /// Labels of each target, with at least [`ADDRESS_LABEL`].
    pub targets: Vec<Labels>,
    /// Labels of all targets; a target's own go before them.
    pub labels: Labels,
}

impl TargetGroup {
    /// The labels of each target, those of the group included.
    pub fn discovered(&self) -> impl Iterator<Item = Labels> {
        self.targets.iter().map(|target| {
            let mut builder = self.labels.to_builder();
            for (name, value) in target {
                builder.set(name, value);
            }
            builder.build()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_own_labels_go_before_those_of_the_group() {
        let group = TargetGroup {
            source: "s".into(),
            targets: vec![Labels::from_pairs([(ADDRESS_LABEL, "a:1"), ("x", "own")])],
            labels: Labels::from_pairs([("x", "group"), ("y", "group")]),
        };
        let expected = Labels::from_pairs([(ADDRESS_LABEL, "a:1"), ("x", "own"), ("y", "group")]);
        assert_eq!(group.discovered().collect::<Vec<_>>(), [expected]);
    }
}
