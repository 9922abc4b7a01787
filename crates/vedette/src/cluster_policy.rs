//! Judges which pods of watched clusters are allowed: findings, metrics and the status board.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use vedette_k8s::{
    SharedWatch, What,
    audit::AuditRecords,
    objects::{Node, Pod},
    policy::{Policy, PolicyFigures, PolicyView, Rules, WatchedMakers},
};
use vedette_model::{
    status::{Health, Part, StatusBoard},
    telemetry::{Family, MetricSource, MetricVisitor},
};
use vedette_ruler::{DetectionStage, RulerHandle};
use vedette_sys::Clock;

use crate::{cluster_audit::AuditDesk, clusters::Connected};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// What made the pods is waited for at the start, but no longer.
const SETTLE_MAX: Duration = Duration::from_secs(10);

const FINDINGS: Family = Family::gauge(
    "vedette_cluster_policy_findings",
    "Findings about pods of a cluster that are not allowed and that are not over, by rule.",
);
const LEFT_OUT: Family = Family::gauge(
    "vedette_cluster_policy_findings_left_out",
    "Findings about pods of a cluster that are not told, as there are too many.",
);
const UNKNOWN: Family = Family::gauge(
    "vedette_cluster_policy_digests_unknown",
    "Containers and tags of a cluster whose digests cannot be compared with what they should be.",
);

/// What is needed to judge.
pub struct Judging {
    /// What is allowed.
    pub rules: Rules,
    /// Who made what, where audit records are there.
    pub audit: Option<Arc<AuditDesk>>,
    /// Takes findings.
    pub stage: Arc<DetectionStage>,
    /// Knows findings of before a restart.
    pub ruler: RulerHandle,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where it is said how it goes.
    pub status: StatusBoard,
    /// Where the figures are told.
    pub figures: PolicyBoard,
}

/// How it stands with all clusters. Clones share it.
#[derive(Clone, Default)]
pub struct PolicyBoard(Arc<RwLock<Vec<Stand>>>);

/// How it stands with a cluster.
type Stand = (Arc<str>, PolicyFigures);

impl PolicyBoard {
    fn post(&self, cluster: &Arc<str>, figures: PolicyFigures) {
        let mut all = self.0.write();
        match all.iter_mut().find(|(known, _)| known == cluster) {
            Some((_, known)) => *known = figures,
            None => all.push((cluster.clone(), figures)),
        }
    }
}

impl MetricSource for PolicyBoard {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let all = self.0.read();
        for (cluster, figures) in all.iter() {
            for (rule, findings) in &figures.findings {
                visitor.value(&FINDINGS, &[("cluster", cluster), ("rule", rule.name())], *findings as f64);
            }
        }
        for (family, figure) in [
            (&LEFT_OUT, (|figures: &PolicyFigures| figures.left_out) as fn(&PolicyFigures) -> usize),
            (&UNKNOWN, |figures: &PolicyFigures| figures.unknown_digests),
        ] {
            for (cluster, figures) in all.iter() {
                visitor.value(family, &[("cluster", cluster)], figure(figures) as f64);
            }
        }
    }
}

/// Judges until the program ends.
pub async fn judge(connected: Connected, judging: Judging) {
    let Connected { name, hub, api } = connected;
    let pods: Arc<SharedWatch<Pod>> = hub.watch(&api, What::default());
    let nodes: Arc<SharedWatch<Node>> = hub.watch(&api, What::default());
    let makers = Arc::new(WatchedMakers::new(hub, api));
    let part = format!("policy {name}");
    let Judging { rules, audit, stage, ruler, clock, status, figures } = judging;
    let mut policy = Policy::new(rules);
    let before = ruler.view().findings.into_iter();
    policy.take_up(before.filter(|finding| finding.labels.get("cluster") == Some(&*name)));
    let begin = clock.monotonic();
    while !makers.is_settled() && clock.monotonic().since(begin) < SETTLE_MAX {
        tokio::time::sleep(PAUSE).await;
    }
    let mut changes = pods.changes();
    changes.mark_changed();
    loop {
        let refusal = cannot_judge(&pods);
        let may_judge = refusal.is_none();
        let must_gather = changes.has_changed().unwrap_or(true) || policy.is_waiting();
        changes.mark_unchanged();
        let (pods, nodes, makers) = (pods.clone(), nodes.clone(), makers.clone());
        let audit = audit.clone();
        let (stage, cluster, now_ns) = (stage.clone(), name.clone(), clock.unix_ns());
        let judged = tokio::task::spawn_blocking(move || {
            if must_gather {
                policy.gather(&pods.objects());
            }
            let mut findings = Vec::new();
            let nodes = nodes.objects();
            let records = audit.as_deref().map(|desk| desk as &dyn AuditRecords);
            let (cluster, makers) = (&*cluster, &*makers);
            let view = PolicyView { cluster, nodes: &nodes, makers, records, may_judge, now_ns };
            policy.judge(&view, &mut findings);
            drop(nodes);
            if let Err(rejected) = stage.report(now_ns, findings) {
                tracing::debug!(%rejected, "findings wait for the event store");
            }
            policy
        });
        // The runtime ends.
        let Ok(back) = judged.await else { return };
        policy = back;
        let stands = policy.figures();
        status.post(&part, account(refusal, &stands));
        figures.post(&name, stands);
        tokio::time::sleep(PAUSE).await;
    }
}

fn account(refusal: Option<Part>, figures: &PolicyFigures) -> Part {
    let mut part = refusal.unwrap_or_else(Part::ok);
    for (rule, findings) in &figures.findings {
        part = part.fact(rule.name(), findings);
    }
    part.fact("left out", figures.left_out).fact("digests that cannot be compared", figures.unknown_digests)
}

/// Why it cannot be judged now.
fn cannot_judge(pods: &SharedWatch<Pod>) -> Option<Part> {
    let health = pods.health();
    let state = health.state();
    if let Some(trouble) = &state.trouble {
        let text = format!("cannot judge: {}", trouble.told(health.resource(), state.is_whole));
        return Some(Part::new(
            Health::Degraded,
            text,
            "See that the API server is reached and tells of pods.",
        ));
    }
    if state.is_whole {
        return None;
    }
    Some(Part::new(Health::Degraded, "cannot judge yet: the list of pods is under way", ""))
}
