//! The life of findings: raised once, then counted; told again at intervals while it lasts;
//! resolved when its time to live has passed without its being seen.
//!
//! Invariant: what `out` receives for one fingerprint is firing, firing…, resolved, with `count`
//! and `last_ns` never going back.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{Finding, FindingState};

/// Sentences and event ids kept of one finding; the first ones tell how it began.
const EVIDENCE_MAX: usize = 12;
const EVENT_IDS_MAX: usize = 32;

/// Findings that are not over.
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// By the time last seen, for expiry and eviction.
    by_age: BTreeSet<(i64, u64)>,
    findings_max: usize,
    repeat_ns: i64,
}

struct Entry {
    finding: Finding,
    ttl_ns: i64,
    told_ns: i64,
    told_count: u64,
}

/// What [`Ledger::raise`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum Raised {
    New,
    Repeat,
}

impl Ledger {
    pub fn new(findings_max: usize, repeat_ns: i64) -> Self {
        Self {
            entries: BTreeMap::new(),
            by_age: BTreeSet::new(),
            findings_max: findings_max.max(1),
            repeat_ns,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn contains(&self, fingerprint: u64) -> bool {
        self.entries.contains_key(&fingerprint)
    }

    pub fn firing(&self) -> impl Iterator<Item = &Finding> {
        self.entries.values().map(|e| &e.finding)
    }

    /// Takes a finding that was just seen.
    pub fn raise(&mut self, finding: Finding, ttl_ns: i64, out: &mut Vec<Finding>) -> Raised {
        let fingerprint = finding.fingerprint;
        if self.entries.contains_key(&fingerprint) {
            self.repeat(fingerprint, finding.last_ns, finding.evidence, &finding.event_ids, out);
            return Raised::Repeat;
        }
        self.by_age.insert((finding.last_ns, fingerprint));
        out.push(finding.clone());
        let entry = Entry { told_ns: finding.last_ns, told_count: finding.count, finding, ttl_ns };
        self.entries.insert(fingerprint, entry);
        Raised::New
    }

    /// Counts one more sight of a finding.
    pub fn repeat(
        &mut self,
        fingerprint: u64,
        time_ns: i64,
        evidence: Vec<String>,
        event_ids: &[u64],
        out: &mut Vec<Finding>,
    ) {
        let Some(entry) = self.entries.get_mut(&fingerprint) else { return };
        let finding = &mut entry.finding;
        finding.count += 1;
        if time_ns > finding.last_ns {
            self.by_age.remove(&(finding.last_ns, fingerprint));
            finding.last_ns = time_ns;
            self.by_age.insert((time_ns, fingerprint));
        }
        for sentence in evidence {
            if finding.evidence.len() < EVIDENCE_MAX && !finding.evidence.contains(&sentence) {
                finding.evidence.push(sentence);
            }
        }
        for id in event_ids {
            if finding.event_ids.len() < EVENT_IDS_MAX && !finding.event_ids.contains(id) {
                finding.event_ids.push(*id);
            }
        }
        Self::tell(entry, time_ns, self.repeat_ns, out);
    }

    /// Tells what has changed since it was last told, and resolves what is over. `keep` says that
    /// a finding lasts although nothing new was seen of it.
    pub fn expire(&mut self, now_ns: i64, keep: impl Fn(u64) -> bool, out: &mut Vec<Finding>) {
        for entry in self.entries.values_mut() {
            Self::tell(entry, now_ns, self.repeat_ns, out);
        }
        let over: Vec<u64> = self
            .by_age
            .iter()
            .map(|(_, fingerprint)| *fingerprint)
            .filter(|fingerprint| {
                let entry = &self.entries[fingerprint];
                now_ns.saturating_sub(entry.finding.last_ns) > entry.ttl_ns && !keep(*fingerprint)
            })
            .collect();
        for fingerprint in over {
            self.resolve(fingerprint, out);
        }
    }

    /// Resolves the longest unseen findings until the limit is kept; returns how many those were.
    pub fn evict(&mut self, out: &mut Vec<Finding>) -> u64 {
        let mut evicted = 0;
        while self.entries.len() > self.findings_max {
            let Some((_, fingerprint)) = self.by_age.first().copied() else { break };
            self.resolve(fingerprint, out);
            evicted += 1;
        }
        evicted
    }

    fn resolve(&mut self, fingerprint: u64, out: &mut Vec<Finding>) {
        let Some(entry) = self.entries.remove(&fingerprint) else { return };
        self.by_age.remove(&(entry.finding.last_ns, fingerprint));
        out.push(Finding { state: FindingState::Resolved, ..entry.finding });
    }

    fn tell(entry: &mut Entry, now_ns: i64, repeat_ns: i64, out: &mut Vec<Finding>) {
        let due = now_ns.saturating_sub(entry.told_ns) >= repeat_ns;
        if due && entry.finding.count > entry.told_count {
            entry.told_ns = now_ns;
            entry.told_count = entry.finding.count;
            out.push(entry.finding.clone());
        }
    }
}
