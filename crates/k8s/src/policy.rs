//! Pods that nobody has allowed: images from other registries, more access to the machine than a pod should have,
//! and images that are not what they are called.
//!
//! Deterministic and synchronous: pods, machines, what made them and the time are handed in. A pod is judged when it
//! comes and when it changes; of one that is as it should be some 100 bytes are kept. Findings are of workloads, so
//! that a hundred replicas are one; each says who made it, and ends with the last of its pods. Nothing is judged
//! while the pods are not known whole.

mod access;
mod cases;
mod digest;
mod digests;
mod image;
mod origin;
mod people;
mod watched;
mod words;

use std::sync::Arc;

use hashbrown::HashMap;
use vedette_model::Finding;

use crate::{
    Shelf,
    audit::AuditRecords,
    identity::text::{Uid, uid},
    ledger::Ledger,
    objects::{Node, Object as _, Pod},
};
use access::Access;
use cases::{Breach, Case, Cases};
use digests::Digests;
pub use image::{AllowedRegistry, ImageName, matches};
pub use origin::{Above, Made, Makers};
use people::People;
pub use watched::WatchedMakers;
pub use words::Rule;

/// How long it is waited for what made a pod to become known, so that its findings bear the right name.
const MAKERS_WAIT_NS: i64 = 5 * 1_000_000_000;
/// Images of one pod that are judged by their registry.
const IMAGES_MAX: usize = 64;

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// Where images may come from. Where there is none, from anywhere.
    pub registries: Vec<AllowedRegistry>,
    /// In which namespaces pods may have access to their machine; `*` stands for any letters. Where there is no
    /// list, in all.
    pub privileged: Option<Vec<Box<str>>>,
    /// Whether digests are compared.
    pub digests: bool,
}

impl Rules {
    /// Whether a rule is on.
    pub fn has(&self, rule: Rule) -> bool {
        match rule {
            Rule::Registry => !self.registries.is_empty(),
            Rule::Privileged => self.privileged.is_some(),
            Rule::DigestMismatch | Rule::TagMoved => self.digests,
        }
    }
}

/// What is known at a time.
pub struct PolicyView<'a> {
    /// What the findings are of.
    pub cluster: &'a str,
    /// The machines.
    pub nodes: &'a Shelf<Node>,
    /// What made the pods.
    pub makers: &'a dyn Makers,
    /// Who asked for what, where audit records are there.
    pub records: Option<&'a dyn AuditRecords>,
    /// Whether the pods are known whole and as they are.
    pub may_judge: bool,
    /// Nanoseconds since the Unix epoch.
    pub now_ns: i64,
}

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyFigures {
    /// Findings that are not over, by rule, for those that are on.
    pub findings: Vec<(Rule, usize)>,
    /// Findings that are not told now, and cases that were not kept since the start, as there are too many.
    pub left_out: usize,
    /// Containers and tags whose digests cannot be compared.
    pub unknown_digests: usize,
}

/// Judges the pods of one cluster.
pub struct Policy {
    rules: Rules,
    pods: HashMap<Uid, Record>,
    look: u32,
    /// Pods that are to be judged.
    changed: Vec<(Arc<Pod>, u64)>,
    /// Since when pods wait for what made them to become known.
    waiting: HashMap<Uid, i64>,
    cases: Cases,
    digests: Digests,
    ledger: Ledger,
    people: People,
    left_out: usize,
    first_judged_ns: Option<i64>,
}

/// What is kept of a pod.
struct Record {
    /// Tells the state that was judged from others.
    version: u64,
    /// The look in which it was seen last.
    look: u32,
    /// Its findings.
    breaches: Box<[u64]>,
    /// Which digests run by which tags.
    runs: Box<[digests::Run]>,
}

impl Policy {
    /// Nothing is known yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            pods: HashMap::new(),
            look: 0,
            changed: Vec::new(),
            waiting: HashMap::new(),
            cases: Cases::default(),
            digests: Digests::default(),
            ledger: Ledger::default(),
            people: People::default(),
            left_out: 0,
            first_judged_ns: None,
        }
    }

    /// Takes up findings that fired before a restart: they are not told again, but end.
    pub fn take_up(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.ledger.take_up(findings, &Rule::ALL.map(Rule::name));
    }

    /// Whether it must look at the pods although none has changed.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.digests.wants_pods()
    }

    /// Looks which pods have changed. What holds the shelf up is short; they are judged later.
    pub fn gather(&mut self, shelf: &Shelf<Pod>) {
        self.look = self.look.wrapping_add(1);
        self.changed.clear();
        for (_, pod, version) in shelf.iter() {
            match self.pods.get_mut(&uid(&pod.meta().uid)) {
                Some(record) => {
                    record.look = self.look;
                    if record.version != version {
                        self.changed.push((pod.clone(), version));
                    }
                }
                None => self.changed.push((pod.clone(), version)),
            }
        }
        let Self { pods, cases, digests, look, .. } = self;
        pods.retain(|id, record| {
            let is_there = record.look == *look;
            if !is_there {
                cases.release(&record.breaches);
                digests.release(id, &record.runs);
            }
            is_there
        });
        self.digests.gather(shelf);
    }

    /// Judges what was gathered; appends what is found, goes on, or is over.
    pub fn judge(&mut self, view: &PolicyView<'_>, out: &mut Vec<Finding>) {
        let now_ns = view.now_ns;
        if !view.may_judge {
            self.ledger.repeat(now_ns, out);
            return;
        }
        let first_ns = *self.first_judged_ns.get_or_insert(now_ns);
        let before = std::mem::take(&mut self.waiting);
        for (pod, version) in std::mem::take(&mut self.changed) {
            let id = uid(&pod.meta().uid);
            self.take(&pod, id, version, before.get(&id).copied(), view);
        }
        if self.rules.digests {
            self.digests.judge(view);
        }
        self.left_out = self.cases.left_out();
        for (fingerprint, case) in self.cases.iter().chain(self.digests.cases()) {
            if self.ledger.has(fingerprint) || now_ns - case.since_ns < case.grace_ns {
                continue;
            }
            if self.ledger.begin(case.told(now_ns), now_ns, out) {
                self.people.ask(fingerprint, &case.questions, now_ns);
            } else {
                self.left_out += 1;
            }
        }
        // What was found before a restart is not over before all pods are judged.
        if now_ns - first_ns > MAKERS_WAIT_NS {
            let lasts = |known| self.cases.has(known) || self.digests.has(known);
            self.ledger.end(lasts, now_ns, out);
        }
        let Self { people, ledger, .. } = self;
        let mut more = Vec::new();
        people.look(view, |fingerprint| ledger.has(fingerprint), |of, line| more.push((of, line)));
        for (fingerprint, line) in more {
            ledger.add_evidence(fingerprint, line, now_ns, out);
        }
        self.ledger.repeat(now_ns, out);
    }

    /// How it stands.
    pub fn figures(&self) -> PolicyFigures {
        let on = Rule::ALL.into_iter().filter(|rule| self.rules.has(*rule));
        PolicyFigures {
            findings: on.map(|rule| (rule, self.ledger.count(rule.name()))).collect(),
            left_out: self.left_out,
            unknown_digests: self.digests.unknown(),
        }
    }

    fn take(
        &mut self,
        pod: &Arc<Pod>,
        id: Uid,
        version: u64,
        waits_since: Option<i64>,
        view: &PolicyView<'_>,
    ) {
        let mut breaches = Vec::new();
        self.judge_registries(pod, &mut breaches);
        self.judge_access(pod, &mut breaches);
        let mut fingerprints = Vec::new();
        if !breaches.is_empty() {
            let origin = origin::of(pod, pod.meta(), view.makers);
            let since_ns = waits_since.unwrap_or(view.now_ns);
            if !origin.is_whole && view.now_ns - since_ns < MAKERS_WAIT_NS {
                // Its record stays what it was, so that the next look gathers it again.
                self.waiting.insert(id, since_ns);
                return;
            }
            let cases = breaches.into_iter().map(|breach| Case::of(breach, &origin, pod, view));
            fingerprints = cases.filter_map(|case| self.cases.hold(case)).collect();
        }
        let runs = if self.rules.digests { self.digests.take(pod, id) } else { Box::default() };
        let record = Record { version, look: self.look, breaches: fingerprints.into_boxed_slice(), runs };
        // The new is held before the old is let go, so that what lasts goes on.
        if let Some(old) = self.pods.insert(id, record) {
            self.cases.release(&old.breaches);
            self.digests.release_runs(&old.runs);
        }
    }

    fn judge_registries(&self, pod: &Pod, breaches: &mut Vec<Breach>) {
        if self.rules.registries.is_empty() {
            return;
        }
        let mut seen: Vec<String> = Vec::new();
        for image in pod.images().take(IMAGES_MAX) {
            let name = ImageName::parse(image);
            if name.as_ref().is_some_and(|name| self.rules.registries.iter().any(|one| one.allows(name))) {
                continue;
            }
            let subject = name.as_ref().map_or_else(|| words::plain(image), ImageName::repository);
            if seen.contains(&subject) {
                continue;
            }
            let why = if name.is_some() { "is in no allowed registry" } else { "is no name of an image" };
            let line = format!("the image {}, read as {subject}, {why}", words::plain(image));
            let title = format!("runs {subject}, which {why}");
            breaches.push(Breach::new(Rule::Registry, title, vec![line]).of_image(&subject));
            seen.push(subject);
        }
    }

    fn judge_access(&self, pod: &Pod, breaches: &mut Vec<Breach>) {
        let Some(allowed) = &self.rules.privileged else { return };
        if allowed.iter().any(|pattern| matches(pattern, &pod.meta().namespace)) {
            return;
        }
        if let Some(Access { lines, is_grave }) = Access::of(pod) {
            let first = lines.first().map_or("", String::as_str);
            let title = format!("has access to its machine: {first}");
            breaches.push(Breach::new(Rule::Privileged, title, lines).grave_if(is_grave));
        }
    }
}

#[cfg(test)]
mod tests;
