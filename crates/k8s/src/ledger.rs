//! Findings that are not over: each is told when it begins, again while it lasts, and when it ends.

use std::collections::BTreeMap;

use vedette_model::{Finding, FindingState};

/// A finding that lasts is told of again so often, as what is not told of for long counts as over.
const REPEAT_NS: i64 = 300 * 1_000_000_000;
/// Findings at a time; of more, the others are not told.
pub(crate) const FINDINGS_MAX: usize = 500;

/// Findings that are not over, by fingerprint, and when each was told last.
#[derive(Default)]
pub(crate) struct Ledger(BTreeMap<u64, (Finding, i64)>);

impl Ledger {
    /// Takes up findings of these rules that fired before a restart: they are not told again, but end.
    pub(crate) fn take_up(&mut self, findings: impl IntoIterator<Item = Finding>, rules: &[&str]) {
        let mine = findings.into_iter().filter(|finding| rules.contains(&finding.rule.as_str()));
        for finding in mine.filter(|finding| finding.state == FindingState::Firing) {
            let told_ns = finding.last_ns;
            self.0.insert(finding.fingerprint, (finding, told_ns));
        }
    }

    /// Whether it was told and is not over.
    pub(crate) fn has(&self, fingerprint: u64) -> bool {
        self.0.contains_key(&fingerprint)
    }

    /// Whether no other can begin.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= FINDINGS_MAX
    }

    /// Tells one that begins. `false` where there are too many.
    pub(crate) fn begin(&mut self, finding: Finding, now_ns: i64, out: &mut Vec<Finding>) -> bool {
        if self.is_full() {
            return false;
        }
        out.push(finding.clone());
        self.0.insert(finding.fingerprint, (finding, now_ns));
        true
    }

    /// Tells more evidence of one that lasts: once more, unless this turn has told of it already.
    pub(crate) fn add_evidence(
        &mut self,
        fingerprint: u64,
        line: String,
        now_ns: i64,
        out: &mut Vec<Finding>,
    ) {
        let Some((finding, told_ns)) = self.0.get_mut(&fingerprint) else { return };
        finding.evidence.push(line);
        finding.last_ns = now_ns;
        *told_ns = now_ns;
        match out.iter_mut().find(|told| told.fingerprint == fingerprint) {
            Some(told) => told.clone_from(finding),
            None => {
                finding.count += 1;
                out.push(finding.clone());
            }
        }
    }

    /// Tells the end of those that no longer last.
    pub(crate) fn end(&mut self, lasts: impl Fn(u64) -> bool, now_ns: i64, out: &mut Vec<Finding>) {
        self.0.retain(|fingerprint, (finding, _)| {
            let lasts = lasts(*fingerprint);
            if !lasts {
                let state = FindingState::Resolved;
                out.push(Finding { state, last_ns: now_ns, ..finding.clone() });
            }
            lasts
        });
    }

    /// Tells those again that were not told for long.
    pub(crate) fn repeat(&mut self, now_ns: i64, out: &mut Vec<Finding>) {
        for (finding, told_ns) in self.0.values_mut() {
            if now_ns - *told_ns >= REPEAT_NS {
                *told_ns = now_ns;
                finding.last_ns = now_ns;
                finding.count += 1;
                out.push(finding.clone());
            }
        }
    }

    /// How many are not over.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of one rule are not over.
    pub(crate) fn count(&self, rule: &str) -> usize {
        self.0.values().filter(|(finding, _)| finding.rule == rule).count()
    }
}
