//! Runs the examples of a rule: what its file promises, tested.

use crate::{
    detector::{Config, Detector},
    error::Error,
    rule::{Detections, Rule},
};

impl Rule {
    /// Plays every example to a detector that knows this rule only. An example that must match
    /// gives exactly one finding, one that must not gives none.
    pub fn check(&self) -> Vec<Error> {
        let mut errors = Vec::new();
        for example in &self.examples {
            let mut detector = Detector::new(Detections::of(self.clone()), &Config::default());
            let mut findings = Vec::new();
            for event in example.script.events() {
                detector.observe(event, &mut findings);
            }
            let found: std::collections::BTreeSet<u64> = findings.iter().map(|f| f.fingerprint).collect();
            let wanted = usize::from(example.must_match);
            if found.len() != wanted {
                let titles: Vec<_> = findings.iter().map(|f| f.title.as_str()).collect();
                errors.push(Error {
                    file: self.file.clone(),
                    line: example.line,
                    what: format!(
                        "example {:?} gives {} findings instead of {wanted} {titles:?}",
                        example.name,
                        found.len()
                    ),
                    remedy: "correct the rule or the example".to_owned(),
                });
            }
        }
        errors
    }
}
