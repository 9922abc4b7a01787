//! Findings beside alerts: they come from outside, are counted when they repeat, and are over
//! when they were not seen again for a while.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::{Finding, FindingState, Labels};

use crate::{
    config::Config,
    notification::{NotifiedAlert, Status},
};

/// A finding and when it was over.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) finding: Finding,
    pub(crate) resolved_at_ms: Option<i64>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) known: BTreeMap<u64, Known>,
    /// Seen since the last tick.
    fresh: BTreeSet<u64>,
    /// Findings that could not be kept.
    pub(crate) dropped: u64,
}

impl Findings {
    pub(crate) fn observe(&mut self, finding: &Finding, config: &Config) {
        let id = finding.fingerprint;
        if !self.known.contains_key(&id) && self.known.len() >= config.findings_max && !self.make_room() {
            self.dropped += 1;
            return;
        }
        let known = self.known.entry(id).or_insert_with(|| Known {
            finding: Finding { count: 0, ..finding.clone() },
            resolved_at_ms: None,
        });
        let first_ns = if known.resolved_at_ms.is_some() {
            finding.first_ns
        } else {
            known.finding.first_ns.min(finding.first_ns)
        };
        // The end is no further sight; and a detector that started anew counts from one again.
        let over = finding.state == FindingState::Resolved;
        let counted = over || finding.count > known.finding.count;
        let count = if counted { finding.count.max(known.finding.count) } else { known.finding.count + 1 };
        let last_ns = known.finding.last_ns.max(finding.last_ns);
        known.finding = Finding { first_ns, last_ns, count, ..finding.clone() };
        known.resolved_at_ms = None;
        self.fresh.insert(id);
    }

    /// Removes the finding that is over for longest. `false` if none is over.
    fn make_room(&mut self) -> bool {
        let oldest = self.known.iter().filter_map(|(id, k)| Some((k.resolved_at_ms?, *id))).min();
        oldest.is_some_and(|(_, id)| self.known.remove(&id).is_some())
    }

    pub(crate) fn is_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// Tells new findings and those that are over. Returns whether anything changed.
    pub(crate) fn advance(
        &mut self,
        now_ms: i64,
        config: &Config,
        tell: &mut dyn FnMut(&NotifiedAlert),
    ) -> bool {
        let mut changed = self.is_fresh();
        for id in std::mem::take(&mut self.fresh) {
            let Some(known) = self.known.get_mut(&id) else { continue };
            if known.finding.state == FindingState::Resolved {
                known.resolved_at_ms = Some(now_ms);
            }
            tell(&notified(known, config));
        }
        self.known.retain(|_, known| match known.resolved_at_ms {
            Some(at) => {
                let keep = now_ms - at <= config.resolved_retention_ms;
                changed |= !keep;
                keep
            }
            None => {
                if now_ms - known.finding.last_ns / 1_000_000 >= config.finding_ttl_ms {
                    known.finding.state = FindingState::Resolved;
                    known.resolved_at_ms = Some(now_ms);
                    changed = true;
                    tell(&notified(known, config));
                }
                true
            }
        });
        changed
    }

    /// When a finding is over, or forgotten, next.
    pub(crate) fn deadline_ms(&self, config: &Config) -> Option<i64> {
        let due = |known: &Known| match known.resolved_at_ms {
            Some(at) => at + config.resolved_retention_ms + 1,
            None => (known.finding.last_ns / 1_000_000).saturating_add(config.finding_ttl_ms),
        };
        self.known.values().map(due).min()
    }
}

/// A finding in the words of an alert.
fn notified(known: &Known, config: &Config) -> NotifiedAlert {
    let finding = &known.finding;
    let mut labels = finding.labels.to_builder();
    if finding.labels.get("alertname").is_none() {
        labels.set("alertname", &finding.rule);
    }
    labels.set("severity", finding.severity.as_str());
    let annotations = Labels::from_pairs([
        ("summary", finding.title.as_str()),
        ("description", finding.description.as_str()),
        ("ancestry", finding.ancestry.join(" < ").as_str()),
        ("evidence", finding.evidence.join("\n").as_str()),
    ]);
    NotifiedAlert {
        status: if known.resolved_at_ms.is_some() { Status::Resolved } else { Status::Firing },
        labels: labels.build(),
        annotations,
        starts_at_ms: finding.first_ns.div_euclid(1_000_000),
        ends_at_ms: known.resolved_at_ms,
        generator_url: format!("{}/alerts", config.external_url.trim_end_matches('/')),
        fingerprint: format!("{:016x}", finding.fingerprint),
    }
}
