//! What is judged of clusters, as the API tells it. Lists are cut; how long they were is told.

use vedette_capacity::{
    Failure, Survey,
    outage::{PoolTimes, Recorded},
};
use vedette_wire::vedette::{
    CapacityAdvice, CapacityAnswer, CapacityCluster, CapacityFailure, CapacityJudgement, CapacityMove,
    CapacityOutage, CapacityOutages, CapacityPods, CapacityPoint, CapacityPool, CapacityPriority,
    CapacityZone,
};

use super::live::{Board, Judged, Shown};

/// Names in one list.
const NAMES_MAX: usize = 50;
/// Outages that are told.
const OUTAGES_MAX: usize = 100;
/// Single nodes that are told with all they lose.
const SINGLES_MAX: usize = 10;
/// Zones that are told.
const ZONES_MAX: usize = 100;

/// All clusters.
pub fn answer(board: &Board) -> CapacityAnswer {
    let now = board.clock().monotonic();
    let clusters = board.shown().into_iter().map(|(name, shown)| CapacityCluster {
        name: name.to_string(),
        wanted: shown.wanted,
        trouble: shown.trouble.clone(),
        incomplete: shown.incomplete.iter().map(|(_, why)| why.clone()).collect(),
        age_seconds: shown.age(now).as_secs_f64(),
        judged: shown.judged.as_deref().map(judgement),
        outages: outages(&shown),
    });
    CapacityAnswer { now_unix_ms: board.clock().unix_ms(), clusters: clusters.collect() }
}

fn judgement(judged: &Judged) -> CapacityJudgement {
    let Survey { nodes, pods, kinds, survives, fails_at, .. } = judged.survey;
    let survey = &judged.survey;
    let points = survey.curve.iter().map(|point| CapacityPoint {
        failures: point.failures,
        sets: point.sets,
        tried: point.tried,
        exact: point.exact,
        share_min: point.share.0,
        share_max: point.share.1,
        mean_pending: point.mean_pending,
    });
    CapacityJudgement {
        at_unix_ms: judged.at_unix_ms,
        took_seconds: judged.took.as_secs_f64(),
        nodes,
        pods,
        kinds,
        survives,
        fails_at,
        curve: points.collect(),
        witness: survey.witness.as_ref().map(failure),
        single_failures: survey.single_failures.iter().take(SINGLES_MAX).map(failure).collect(),
        single_failures_found: survey.single_failures_found,
        zones: survey
            .zones
            .iter()
            .take(ZONES_MAX)
            .map(|zone| CapacityZone {
                key: zone.key.clone(),
                value: zone.value.clone(),
                failure: failure(&zone.failure),
            })
            .collect(),
        advice: judged.advice.as_ref().map(|advice| CapacityAdvice {
            nodes: advice.nodes,
            like: advice.like.clone(),
            sets_tried: advice.sets_tried,
            exact: advice.exact,
        }),
        pending_before: some(&survey.pending_before),
        gated: some(&survey.gated),
        notes: survey.notes.clone(),
    }
}

fn failure(failure: &Failure) -> CapacityFailure {
    CapacityFailure {
        nodes: failure.nodes.clone(),
        displaced: failure.displaced,
        pending: some(&failure.pending),
        pending_by_priority: failure
            .pending_by_priority
            .iter()
            .map(|(priority, pods)| CapacityPriority { priority: *priority, pods: *pods })
            .collect(),
        stuck: some(&failure.stuck),
        lost: some(&failure.lost),
        bound: some(&failure.bound),
        budgets_broken: failure.budgets_broken.iter().take(NAMES_MAX).cloned().collect(),
        reason: failure.shortage.as_ref().map(super::reason),
        could_fit: failure.could_fit,
        moves: failure
            .better_placing
            .iter()
            .take(NAMES_MAX)
            .map(|(pod, node)| CapacityMove { pod: pod.clone(), node: node.clone() })
            .collect(),
    }
}

fn some(pods: &[String]) -> CapacityPods {
    CapacityPods { count: pods.len(), first: pods.iter().take(NAMES_MAX).cloned().collect() }
}

fn outages(shown: &Shown) -> CapacityOutages {
    let figures = &shown.figures;
    let recorded = shown.ledger.outages();
    let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1000.0);
    CapacityOutages {
        since_unix_ms: shown.ledger.since_ms(),
        pools: figures
            .pools
            .iter()
            .map(|pool| {
                let PoolTimes { pool: name, nodes, outages, open, recovery_is_whole, down, .. } = &pool.times;
                CapacityPool {
                    pool: name.clone(),
                    nodes: *nodes,
                    outages: *outages,
                    open: *open,
                    mean_to_detect_seconds: seconds(pool.times.mean_to_detect_ms),
                    mean_to_recover_seconds: seconds(pool.times.mean_to_recover_ms),
                    recovery_is_whole: *recovery_is_whole,
                    median_to_recover_seconds: seconds(pool.times.median_to_recover_ms),
                    mean_to_run_again_seconds: seconds(pool.mean_to_run_again_ms),
                    mean_between_failures_seconds: seconds(pool.times.mean_between_failures_ms),
                    down: *down,
                }
            })
            .collect(),
        recent: recorded.iter().rev().take(OUTAGES_MAX).map(outage).collect(),
        count: recorded.len(),
        down_at_once: figures.down_at_once.clone(),
        expected_shortfall_pods: figures.shortfall.map(|shortfall| shortfall.pods),
        beyond_judged: figures.shortfall.map(|shortfall| shortfall.beyond),
    }
}

fn outage(recorded: &Recorded) -> CapacityOutage {
    let outage = &recorded.outage;
    CapacityOutage {
        node: outage.node.clone(),
        pool: outage.pool.clone(),
        began_unix_ms: outage.began_ms,
        noticed_unix_ms: outage.noticed_ms,
        ended_unix_ms: outage.ended_ms,
        gone_unix_ms: outage.gone_ms,
        rebooted: recorded.rebooted,
        unseen: recorded.unseen,
        pods: recorded.pods,
        pods_again_unix_ms: recorded.pods_again_ms,
    }
}
