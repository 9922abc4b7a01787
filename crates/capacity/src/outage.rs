//! How long nodes are away: outages as they were recorded, and what they say of the next ones. [`Ledger`]
//! records them.
//!
//! An outage that still lasts is not left out, which would make repairs look quicker than they are: it counts
//! as long as it has lasted, by the estimate of Kaplan and Meier.

mod ledger;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use ledger::{Ledger, NodeSeen, PodSeen, Recorded};

/// A node became ready or ceased to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Nodes that fail alike: those of one pool.
    pub pool: String,
    /// The node.
    pub node: String,
    /// When this was noticed.
    pub at_ms: i64,
    /// Whether it is ready now.
    pub ready: bool,
    /// When it was last heard of, for one that ceased to be ready.
    pub last_heard_ms: Option<i64>,
}

/// A time in which a node was away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The pool of the node.
    pub pool: String,
    /// The node.
    pub node: String,
    /// When it was last heard of; when the outage was noticed if that is not known.
    pub began_ms: i64,
    /// When it was noticed.
    pub noticed_ms: i64,
    /// When the node was ready again; absent while it is not.
    pub ended_ms: Option<i64>,
    /// When the node was taken out of the cluster before it was ready again: how long it would have been away
    /// is not known.
    #[serde(default)]
    pub gone_ms: Option<i64>,
}

impl Outage {
    /// Whether it still lasts.
    pub fn is_open(&self) -> bool {
        self.ended_ms.is_none() && self.gone_ms.is_none()
    }

    /// From when it was noticed until it ended, in milliseconds; until now, or until the node was taken away,
    /// where it did not.
    pub fn length_ms(&self, now_ms: i64) -> i64 {
        let until = self.ended_ms.or(self.gone_ms).unwrap_or(now_ms);
        until.saturating_sub(self.noticed_ms).max(0)
    }
}

/// Makes outages of transitions, which must be in the order of time for each node.
pub fn outages(transitions: &[Transition]) -> Vec<Outage> {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    let mut outages: Vec<Outage> = Vec::new();
    for t in transitions {
        if t.ready {
            if let Some(i) = open.remove(t.node.as_str()) {
                outages[i].ended_ms = Some(t.at_ms.max(outages[i].noticed_ms));
            }
        } else if !open.contains_key(t.node.as_str()) {
            open.insert(&t.node, outages.len());
            outages.push(Outage {
                pool: t.pool.clone(),
                node: t.node.clone(),
                began_ms: t.last_heard_ms.unwrap_or(t.at_ms).min(t.at_ms),
                noticed_ms: t.at_ms,
                ended_ms: None,
                gone_ms: None,
            });
        }
    }
    outages
}

/// One step of an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Step {
    /// After so long …
    pub after: f64,
    /// … of so many that had lasted until then …
    pub at_risk: usize,
    /// … so many ended, …
    pub ended: usize,
    /// … so that this share lasts longer.
    pub lasting: f64,
}

/// Which share of outages lasts longer than a time, by Kaplan and Meier.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lasting {
    /// Where the share changes.
    pub steps: Vec<Step>,
    /// The longest time that was seen, ended or not.
    pub longest: f64,
}

impl Lasting {
    /// The estimate from times and whether each has ended.
    pub fn fit(times: &[(f64, bool)]) -> Self {
        let mut times: Vec<(f64, bool)> =
            times.iter().copied().filter(|(t, _)| t.is_finite() && *t >= 0.0).collect();
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let longest = times.last().map_or(0.0, |t| t.0);
        let mut steps = Vec::new();
        let (mut lasting, mut at_risk, mut rest) = (1.0, times.len(), times.as_slice());
        while let Some((after, _)) = rest.first().copied() {
            let same = rest.iter().take_while(|(t, _)| *t == after).count();
            let ended = rest[..same].iter().filter(|(_, ended)| *ended).count();
            if ended > 0 {
                // Of those that still last at the very moment all count as at risk.
                lasting *= 1.0 - ended as f64 / at_risk as f64;
                steps.push(Step { after, at_risk, ended, lasting });
            }
            at_risk -= same;
            rest = &rest[same..];
        }
        Self { steps, longest }
    }

    /// The share that lasts longer than `time`.
    pub fn share(&self, time: f64) -> f64 {
        self.steps.iter().rev().find(|s| s.after <= time).map_or(1.0, |s| s.lasting)
    }

    /// The time after which at most `share` last longer; absent when so few have not been seen to end.
    pub fn time(&self, share: f64) -> Option<f64> {
        self.steps.iter().find(|s| s.lasting <= share + 1e-12).map(|s| s.after)
    }

    /// The mean, and whether it is whole: while the longest still lasts it is only at least this.
    pub fn mean(&self) -> (f64, bool) {
        let (mut mean, mut before, mut share) = (0.0, 0.0, 1.0);
        for step in &self.steps {
            mean += (step.after - before) * share;
            (before, share) = (step.after, step.lasting);
        }
        (mean + (self.longest - before) * share, share < 1e-12)
    }
}

/// How nodes of a pool fail and come back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PoolTimes {
    /// The pool.
    pub pool: String,
    /// Its nodes.
    pub nodes: usize,
    /// Outages, those that still last and those of unknown length included.
    pub outages: usize,
    /// Those that still last.
    pub open: usize,
    /// From when a node was last heard of until that was noticed, on average.
    pub mean_to_detect_ms: Option<f64>,
    /// From then until the node was ready, on average.
    pub mean_to_recover_ms: Option<f64>,
    /// The mean is whole; otherwise it is at least this.
    pub recovery_is_whole: bool,
    /// Half of the outages are over after this time.
    pub median_to_recover_ms: Option<f64>,
    /// Time of a node between two outages, on average; absent without an outage or without a node.
    pub mean_between_failures_ms: Option<f64>,
    /// Chance that a node is down at a moment.
    pub down: f64,
}

/// How the nodes of a pool failed while all of them were watched for `watched_ms`, until `now_ms`. `unseen`: how many
/// outages more there were in the pool, of which no times are known; they count as failures, and in no length.
pub fn pool_times(
    pool: &str,
    nodes: usize,
    watched_ms: i64,
    outages: &[Outage],
    unseen: usize,
    now_ms: i64,
) -> PoolTimes {
    let of_pool: Vec<&Outage> = outages.iter().filter(|o| o.pool == pool).collect();
    let length = |o: &Outage| o.length_ms(now_ms) as f64;
    let times: Vec<(f64, bool)> = of_pool.iter().map(|o| (length(o), o.ended_ms.is_some())).collect();
    let recovery = Lasting::fit(&times);
    let any = !of_pool.is_empty();
    let mean = |sum: f64| any.then(|| sum / of_pool.len() as f64);
    let to_detect = mean(of_pool.iter().map(|o| o.noticed_ms.saturating_sub(o.began_ms) as f64).sum());
    let away: f64 = of_pool.iter().map(|o| length(o) + o.noticed_ms.saturating_sub(o.began_ms) as f64).sum();
    let up = (nodes as f64 * watched_ms.max(0) as f64 - away).max(0.0);
    let (to_recover, recovery_is_whole) = recovery.mean();
    let all = of_pool.len() + unseen;
    let between = (all > 0 && nodes > 0).then(|| up / all as f64);
    let gone = to_detect.unwrap_or(0.0) + to_recover;
    let down = between.map_or(0.0, |up| if gone + up > 0.0 { gone / (gone + up) } else { 0.0 });
    PoolTimes {
        pool: pool.to_owned(),
        nodes,
        outages: all,
        open: of_pool.iter().filter(|o| o.is_open()).count(),
        mean_to_detect_ms: to_detect,
        mean_to_recover_ms: any.then_some(to_recover),
        recovery_is_whole,
        median_to_recover_ms: recovery.time(0.5),
        mean_between_failures_ms: between,
        down,
    }
}

/// The chance that exactly 0, 1, 2, … nodes are down at a moment, when nodes fail independently: pools of so
/// many nodes, each down with its chance.
pub fn down_at_once(pools: &[(usize, f64)]) -> Vec<f64> {
    let mut chances = vec![1.0];
    for (nodes, down) in pools {
        let down = down.clamp(0.0, 1.0);
        for _ in 0..*nodes {
            chances.push(0.0);
            for k in (1..chances.len()).rev() {
                chances[k] = chances[k] * (1.0 - down) + chances[k - 1] * down;
            }
            chances[0] *= 1.0 - down;
        }
    }
    chances
}

/// The same for up to `most` nodes: the last chance is that of so many or more. Takes no longer for large clusters
/// than to go through their nodes.
pub fn down_at_once_up_to(pools: &[(usize, f64)], most: usize) -> Vec<f64> {
    let mut chances = vec![0.0; most + 1];
    chances[0] = 1.0;
    for (nodes, down) in pools {
        let down = down.clamp(0.0, 1.0);
        for _ in 0..*nodes {
            let all_stay = chances[most];
            for k in (1..=most).rev() {
                chances[k] = chances[k] * (1.0 - down) + chances[k - 1] * down;
            }
            if most > 0 {
                // So many or more: none of these has fewer by one more failure.
                chances[most] += all_stay * down;
                chances[0] *= 1.0 - down;
            }
        }
    }
    chances
}

/// Pods without a place at a moment, on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shortfall {
    /// Pods without a place, from the numbers of failures that were looked at.
    pub pods: f64,
    /// The chance that more nodes are down than were looked at: then more pods are without a place.
    pub beyond: f64,
}

/// The shortfall to expect: `chances` of 0, 1, 2, … nodes down, and the mean of pods without a place when
/// 1, 2, … are.
pub fn shortfall(chances: &[f64], mean_pending: &[f64]) -> Shortfall {
    let pods = chances.iter().skip(1).zip(mean_pending).map(|(chance, pods)| chance * pods).sum();
    Shortfall { pods, beyond: chances.iter().skip(mean_pending.len() + 1).sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weeks of remission of 21 patients under 6-mercaptopurine (Freireich 1963); negative: still lasting.
    const REMISSIONS: [i32; 21] =
        [6, 6, 6, -6, 7, -9, 10, -10, -11, 13, 16, -17, -19, -20, 22, 23, -25, -32, -32, -34, -35];

    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() < by, "{a} is not {b}");
    }

    #[test]
    fn the_estimate_is_that_of_the_textbook() {
        let times: Vec<(f64, bool)> = REMISSIONS.iter().map(|t| (f64::from(t.abs()), *t > 0)).collect();
        let lasting = Lasting::fit(&times);
        let wanted = [
            (6, 21, 0.8571),
            (7, 17, 0.8067),
            (10, 15, 0.7529),
            (13, 12, 0.6902),
            (16, 11, 0.6275),
            (22, 7, 0.5378),
            (23, 6, 0.4482),
        ];
        assert_eq!(lasting.steps.len(), wanted.len());
        for (step, (after, at_risk, share)) in lasting.steps.iter().zip(wanted) {
            assert_eq!((step.after, step.at_risk), (f64::from(after), at_risk));
            near(step.lasting, share, 5e-5);
        }
        assert_eq!(lasting.time(0.5), Some(23.0));
        assert_eq!(lasting.time(0.25), None);
        near(lasting.share(12.0), 0.7529, 5e-5);
        assert_eq!(lasting.share(1.0), 1.0);
        assert!(!lasting.mean().1);
    }

    #[test]
    fn without_open_times_the_estimate_is_plain_counting() {
        let mut seed = 1u64;
        for n in 1..30 {
            let times: Vec<(f64, bool)> = (0..n)
                .map(|_| {
                    seed = crate::schedule::mix(seed);
                    ((seed % 10) as f64, true)
                })
                .collect();
            let lasting = Lasting::fit(&times);
            for t in 0..10 {
                let longer = times.iter().filter(|(x, _)| *x > f64::from(t)).count();
                near(lasting.share(f64::from(t)), longer as f64 / f64::from(n), 1e-9);
            }
            let mean = times.iter().map(|t| t.0).sum::<f64>() / f64::from(n);
            near(lasting.mean().0, mean, 1e-9);
            assert!(lasting.mean().1);
        }
    }

    fn transition(node: &str, at_ms: i64, ready: bool, last_heard_ms: Option<i64>) -> Transition {
        Transition { pool: "a".into(), node: node.into(), at_ms, ready, last_heard_ms }
    }

    #[test]
    fn transitions_become_outages_and_times_of_their_pool() {
        let transitions = [
            transition("x", 0, true, None),
            transition("x", 1000, false, Some(960)),
            transition("x", 1010, false, None),
            transition("y", 1500, false, None),
            transition("x", 1600, true, None),
            transition("y", 1700, true, None),
            transition("y", 9000, false, Some(8900)),
        ];
        let all = outages(&transitions);
        let spans: Vec<_> =
            all.iter().map(|o| (o.node.as_str(), o.began_ms, o.noticed_ms, o.ended_ms)).collect();
        let wanted = [("x", 960, 1000, Some(1600)), ("y", 1500, 1500, Some(1700)), ("y", 8900, 9000, None)];
        assert_eq!(spans, wanted);
        let times = pool_times("a", 2, 10_000, &all, 0, 10_000);
        assert_eq!((times.outages, times.open), (3, 1));
        near(times.mean_to_detect_ms.expect("outages"), 140.0 / 3.0, 1e-9);
        // 200 and 600 ended, 1000 still lasts: 200 + 400·2/3 + 400·1/3.
        near(times.mean_to_recover_ms.expect("outages"), 600.0, 1e-9);
        assert!(!times.recovery_is_whole);
        assert_eq!(times.median_to_recover_ms, Some(600.0));
        near(times.mean_between_failures_ms.expect("outages"), (20_000.0 - 1940.0) / 3.0, 1e-9);
        assert_eq!(pool_times("b", 2, 10_000, &all, 0, 10_000).down, 0.0);
        // Of two more nothing is known but that they were.
        let more = pool_times("a", 2, 10_000, &all, 2, 10_000);
        assert_eq!((more.outages, more.mean_to_recover_ms), (5, times.mean_to_recover_ms));
        near(more.mean_between_failures_ms.expect("outages"), (20_000.0 - 1940.0) / 5.0, 1e-9);
        assert!(more.down > times.down, "more failures of the same length");
        // Nodes that are no longer there are not down.
        let gone = pool_times("a", 0, 10_000, &all, 0, 10_000);
        assert_eq!((gone.mean_between_failures_ms, gone.down), (None, 0.0));
    }

    #[test]
    fn nodes_down_at_once_follow_the_binomial_and_trying_every_state() {
        let chances = down_at_once(&[(10, 0.1)]);
        for (k, wanted) in [0.348_678, 0.387_420, 0.193_710, 0.057_396].into_iter().enumerate() {
            near(chances[k], wanted, 1e-6);
        }
        let pools = [(2, 0.3), (1, 0.05), (2, 0.5)];
        let each: Vec<f64> = pools.iter().flat_map(|(n, p)| vec![*p; *n]).collect();
        let mut plain = vec![0.0; 6];
        for state in 0u32..32 {
            let chance: f64 =
                (0..5).map(|i| if state >> i & 1 == 1 { each[i] } else { 1.0 - each[i] }).product();
            plain[state.count_ones() as usize] += chance;
        }
        for (a, b) in down_at_once(&pools).into_iter().zip(&plain) {
            near(a, *b, 1e-12);
        }
        for most in 0..8 {
            let cut = down_at_once_up_to(&pools, most);
            assert_eq!(cut.len(), most + 1);
            for (k, chance) in cut.iter().enumerate().take(most) {
                near(*chance, plain.get(k).copied().unwrap_or(0.0), 1e-12);
            }
            near(cut[most], plain.iter().skip(most).sum(), 1e-12);
        }
    }

    #[test]
    fn the_shortfall_says_what_it_does_not_cover() {
        let shortfall = shortfall(&[0.5, 0.3, 0.15, 0.05], &[2.0, 10.0]);
        near(shortfall.pods, 2.1, 1e-12);
        near(shortfall.beyond, 0.05, 1e-12);
    }
}
