//! Metrics of capacity: what is judged, of how old a cluster, and how nodes failed so far.

use vedette_capacity::Survey;
use vedette_model::telemetry::{Family, MetricSource, MetricVisitor};

use super::{
    live::{Board, Shown},
    outages::Pool,
};

/// Priorities, zones and pools of one cluster that become series.
const SERIES_MAX: usize = 100;

macro_rules! gauges {
    ($($name:ident $metric:literal $help:literal;)*) => {
        $(static $name: Family = Family::gauge($metric, $help);)*
    };
}

gauges! {
    WANTED "vedette_capacity_wanted_nodes" "Nodes that must be able to fail at once.";
    SURVIVABLE "vedette_capacity_survivable_nodes" "Any so many nodes may fail, which all sets of them prove.";
    BOUND "vedette_capacity_survivable_nodes_max" "Not any more than so many nodes may fail, as a set that was found shows; all nodes where none was found.";
    SHARE_MIN "vedette_capacity_survived_ratio_min" "Share of sets of so many nodes whose failure is survived, at least.";
    SHARE_MAX "vedette_capacity_survived_ratio_max" "Share of sets of so many nodes whose failure is survived, at most.";
    WITNESS "vedette_capacity_witness_pods" "Pods that the worst set found would leave without a place, waiting for volumes, lost, or bound to failed nodes.";
    PRIORITY "vedette_capacity_witness_pending_pods" "Pods that the worst set found would leave without a place, by priority.";
    ZONE "vedette_capacity_zone_pending_pods" "Pods that the failure of a zone would leave without a place.";
    NODES "vedette_capacity_nodes" "Nodes that were ready when the cluster was judged.";
    PODS "vedette_capacity_pods" "Pods that ran when the cluster was judged.";
    PENDING "vedette_capacity_pending_pods" "Pods that had no node although nothing failed.";
    AGE "vedette_capacity_age_seconds" "For how long the cluster has not been as it was judged; before the first judgement, for how long it is watched.";
    TOOK "vedette_capacity_judgement_seconds" "How long the newest judgement took.";
    INCOMPLETE "vedette_capacity_incomplete" "1 for each resource without which the cluster is judged.";
    OUTAGES "vedette_capacity_node_outages" "Outages of nodes that are recorded, by whether they still last.";
    DETECT "vedette_capacity_mean_to_detect_seconds" "From when a node was last heard of until its outage was noticed, on average.";
    RECOVER "vedette_capacity_mean_to_recover_seconds" "From when the outage of a node was noticed until it was ready, on average; at least this while some last.";
    AGAIN "vedette_capacity_mean_to_run_again_seconds" "From when the outage of a node was noticed until its pods ran again, on average of those that did.";
    BETWEEN "vedette_capacity_mean_between_failures_seconds" "Time of a node between two outages, on average.";
    DOWN "vedette_capacity_down_ratio" "Chance that so many nodes are down at a moment; the largest number stands for so many or more.";
    SHORTFALL "vedette_capacity_expected_shortfall_pods" "Pods without a place at a moment, on average.";
    BEYOND "vedette_capacity_beyond_judged_ratio" "Chance that more nodes are down at a moment than were judged.";
}

static JUDGEMENTS: Family =
    Family::counter("vedette_capacity_judgements_total", "How often the cluster was judged.");

/// Takes labels beside the cluster's, and a value.
type Tell<'a> = dyn FnMut(&[(&str, &str)], f64) + 'a;

impl MetricSource for Board {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let clusters = self.shown();
        let now = self.clock().monotonic();
        let mut all = |family: &Family, values: &dyn Fn(&Shown, &mut Tell<'_>)| {
            for (name, shown) in &clusters {
                values(shown, &mut |labels, value| {
                    let mut all = vec![("cluster", &**name)];
                    all.extend_from_slice(labels);
                    visitor.value(family, &all, value);
                });
            }
        };
        all(&WANTED, &|shown, tell| tell(&[], count(shown.wanted)));
        all(&AGE, &|shown, tell| tell(&[], shown.age(now).as_secs_f64()));
        all(&JUDGEMENTS, &|shown, tell| tell(&[], shown.judgements as f64));
        all(&INCOMPLETE, &|shown, tell| {
            for (resource, _) in &shown.incomplete {
                tell(&[("resource", resource)], 1.0);
            }
        });
        all(&TOOK, &|shown, tell| {
            if let Some(judged) = &shown.judged {
                tell(&[], judged.took.as_secs_f64());
            }
        });
        let mut judged = |family: &Family, values: &dyn Fn(&Survey, &mut Tell<'_>)| {
            all(family, &|shown, tell| {
                if let Some(judged) = &shown.judged {
                    values(&judged.survey, tell);
                }
            });
        };
        judged(&SURVIVABLE, &|survey, tell| tell(&[], count(survey.survives)));
        judged(&BOUND, &|survey, tell| {
            tell(&[], count(survey.fails_at.map_or(survey.nodes, |fails_at| fails_at - 1)));
        });
        for (family, is_min) in [(&SHARE_MIN, true), (&SHARE_MAX, false)] {
            judged(family, &|survey, tell| {
                for point in &survey.curve {
                    let share = if is_min { point.share.0 } else { point.share.1 };
                    tell(&[("nodes", &point.failures.to_string())], share);
                }
            });
        }
        judged(&WITNESS, &|survey, tell| {
            let of = |list: fn(&vedette_capacity::Failure) -> usize| survey.witness.as_ref().map_or(0, list);
            tell(&[("fate", "pending")], count(of(|failure| failure.pending.len())));
            tell(&[("fate", "stuck")], count(of(|failure| failure.stuck.len())));
            tell(&[("fate", "lost")], count(of(|failure| failure.lost.len())));
            tell(&[("fate", "bound")], count(of(|failure| failure.bound.len())));
        });
        judged(&PRIORITY, &|survey, tell| {
            let by_priority = survey.witness.iter().flat_map(|failure| &failure.pending_by_priority);
            for (priority, pods) in by_priority.take(SERIES_MAX) {
                tell(&[("priority", &priority.to_string())], count(*pods));
            }
        });
        judged(&ZONE, &|survey, tell| {
            for zone in survey.zones.iter().take(SERIES_MAX) {
                tell(&[("key", &zone.key), ("zone", &zone.value)], count(zone.failure.pending.len()));
            }
        });
        judged(&NODES, &|survey, tell| tell(&[], count(survey.nodes)));
        judged(&PODS, &|survey, tell| tell(&[], count(survey.pods)));
        judged(&PENDING, &|survey, tell| tell(&[], count(survey.pending_before.len())));

        let mut pools = |family: &Family, value: &dyn Fn(&Pool) -> Option<f64>| {
            all(family, &|shown, tell| {
                for pool in shown.figures.pools.iter().take(SERIES_MAX) {
                    if let Some(ms) = value(pool) {
                        tell(&[("pool", &pool.times.pool)], ms / 1000.0);
                    }
                }
            });
        };
        pools(&DETECT, &|pool| pool.times.mean_to_detect_ms);
        pools(&RECOVER, &|pool| pool.times.mean_to_recover_ms);
        pools(&AGAIN, &|pool| pool.mean_to_run_again_ms);
        pools(&BETWEEN, &|pool| pool.times.mean_between_failures_ms);
        all(&OUTAGES, &|shown, tell| {
            for pool in shown.figures.pools.iter().take(SERIES_MAX) {
                let name = &pool.times.pool;
                tell(&[("pool", name), ("state", "open")], count(pool.times.open));
                tell(&[("pool", name), ("state", "over")], count(pool.times.outages - pool.times.open));
            }
        });
        all(&DOWN, &|shown, tell| {
            for (nodes, chance) in shown.figures.down_at_once.iter().enumerate() {
                tell(&[("nodes", &nodes.to_string())], *chance);
            }
        });
        all(&SHORTFALL, &|shown, tell| {
            if let Some(shortfall) = &shown.figures.shortfall {
                tell(&[], shortfall.pods);
            }
        });
        all(&BEYOND, &|shown, tell| {
            if let Some(shortfall) = &shown.figures.shortfall {
                tell(&[], shortfall.beyond);
            }
        });
    }
}

fn count(n: usize) -> f64 {
    n as f64
}
