//! What is wrong with workloads, each once for all pods that it holds of.

use std::collections::{BTreeMap, btree_map::Entry};

use vedette_model::{Finding, FindingState, LabelsBuilder, Severity};

use super::{PolicyView, Rule, origin::Origin, words};
use crate::{
    audit::Question,
    objects::{Object as _, Pod},
};

/// Cases at a time; of more, the pods are judged again when they change.
const CASES_MAX: usize = 2_000;

/// A rule that a pod breaks.
pub(super) struct Breach {
    rule: Rule,
    severity: Severity,
    /// What goes on after the name of the workload.
    title: String,
    /// The evidence.
    lines: Vec<String>,
    /// What tells it from others of the same rule and workload.
    labels: Vec<(&'static str, String)>,
    /// What audit records may tell.
    questions: Vec<Question>,
}

impl Breach {
    pub(super) fn new(rule: Rule, title: String, lines: Vec<String>) -> Self {
        Self { rule, severity: rule.severity(), title, lines, labels: Vec::new(), questions: Vec::new() }
    }

    /// What its evidence says of how a pod came to be is to go on with what audit records tell.
    pub(super) fn asking(mut self, questions: Vec<Question>) -> Self {
        self.questions = questions;
        self
    }

    pub(super) fn of_image(self, image: &str) -> Self {
        self.with("image", image)
    }

    pub(super) fn with(mut self, label: &'static str, value: &str) -> Self {
        self.labels.push((label, value.to_owned()));
        self
    }

    pub(super) fn grave_if(mut self, is_grave: bool) -> Self {
        if is_grave {
            self.severity = Severity::Critical;
        }
        self
    }
}

/// Something that is wrong with a workload.
pub(super) struct Case {
    finding: Finding,
    /// How many pods it holds of; 0 where it is not counted.
    pods: usize,
    /// Since when, in nanoseconds since the Unix epoch.
    pub(super) since_ns: i64,
    /// How long it must last before it is told.
    pub(super) grace_ns: i64,
    /// What audit records may tell of it.
    pub(super) questions: Vec<Question>,
}

impl Case {
    /// Of a pod and what made it.
    pub(super) fn of(breach: Breach, origin: &Origin, pod: &Pod, view: &PolicyView<'_>) -> Self {
        let meta = pod.meta();
        let title = format!(
            "{} {}/{} in {} {}",
            origin.kind,
            words::plain(&meta.namespace),
            origin.name,
            view.cluster,
            breach.title
        );
        let mut evidence = breach.lines;
        evidence.push(format!("seen first of pod {}{}", words::plain(&meta.name), placed(pod)));
        evidence.extend(origin.lines.iter().cloned());
        let subject =
            [("namespace", &*meta.namespace), ("workload_kind", &origin.kind), ("workload", &origin.name)];
        let finding = finding(view, breach.rule, breach.severity, title, evidence, &subject, &breach.labels);
        let questions = origin.questions.clone();
        Self { finding, pods: 0, since_ns: view.now_ns, grace_ns: 0, questions }
    }

    /// Of something that is no workload.
    pub(super) fn alone(breach: Breach, view: &PolicyView<'_>) -> Self {
        let finding =
            finding(view, breach.rule, breach.severity, breach.title, breach.lines, &[], &breach.labels);
        Self { finding, pods: 0, since_ns: view.now_ns, grace_ns: 0, questions: breach.questions }
    }

    /// What names it.
    pub(super) fn fingerprint(&self) -> u64 {
        self.finding.fingerprint
    }

    /// As it is told when it begins.
    pub(super) fn told(&self, now_ns: i64) -> Finding {
        let mut finding = Finding { first_ns: self.since_ns, last_ns: now_ns, ..self.finding.clone() };
        if self.pods > 1 {
            finding.evidence.push(format!("it holds of {} pods", self.pods));
        }
        finding
    }
}

/// Where a pod runs, as the end of a sentence.
pub(super) fn placed(pod: &Pod) -> String {
    match pod.node_name() {
        "" => ", which has no node yet".to_owned(),
        node => format!(" on node {}", words::plain(node)),
    }
}

fn finding(
    view: &PolicyView<'_>,
    rule: Rule,
    severity: Severity,
    title: String,
    evidence: Vec<String>,
    subject: &[(&str, &str)],
    more: &[(&'static str, String)],
) -> Finding {
    let mut labels = LabelsBuilder::new();
    labels.set("alertname", rule.name()).set("severity", severity.as_str()).set("cluster", view.cluster);
    for (name, value) in subject {
        labels.set(name, value);
    }
    for (name, value) in more {
        labels.set(name, value);
    }
    let labels = labels.build();
    Finding {
        // The workload is what it is of, and known when it is told.
        fingerprint: labels.stable_hash(),
        rule: rule.name().to_owned(),
        severity,
        title,
        description: rule.description().to_owned(),
        labels,
        first_ns: view.now_ns,
        last_ns: view.now_ns,
        count: 1,
        state: FindingState::Firing,
        ancestry: Vec::new(),
        evidence,
        event_ids: Vec::new(),
    }
}

/// Cases by fingerprint, each with the number of its pods.
#[derive(Default)]
pub(super) struct Cases {
    all: BTreeMap<u64, Case>,
    left_out: usize,
}

impl Cases {
    /// A pod has this case; what names it, unless there are too many.
    pub(super) fn hold(&mut self, case: Case) -> Option<u64> {
        let fingerprint = case.fingerprint();
        let is_full = self.all.len() >= CASES_MAX;
        match self.all.entry(fingerprint) {
            Entry::Occupied(mut known) => known.get_mut().pods += 1,
            Entry::Vacant(_) if is_full => {
                self.left_out += 1;
                return None;
            }
            Entry::Vacant(free) => {
                free.insert(Case { pods: 1, ..case });
            }
        }
        Some(fingerprint)
    }

    /// A pod no longer has these.
    pub(super) fn release(&mut self, fingerprints: &[u64]) {
        for fingerprint in fingerprints {
            if let Entry::Occupied(mut known) = self.all.entry(*fingerprint) {
                known.get_mut().pods -= 1;
                if known.get().pods == 0 {
                    known.remove();
                }
            }
        }
    }

    pub(super) fn has(&self, fingerprint: u64) -> bool {
        self.all.contains_key(&fingerprint)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Case)> {
        self.all.iter().map(|(fingerprint, case)| (*fingerprint, case))
    }

    /// How many times one was left out.
    pub(super) fn left_out(&self) -> usize {
        self.left_out
    }
}
