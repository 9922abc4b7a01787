//! How many nodes may fail: all single nodes and all zones, pairs and more as far as a budget goes.
//!
//! Up to the last number of failures of which every set was tried, the answer is exact. Beyond, the worst
//! sets are looked for first, and the share that survives is estimated from sets drawn at random.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde::Serialize;

use crate::{
    Cluster, Error, Exact, Judge, Options, Replay, Shortage, Snapshot, class::HOSTNAME,
    cluster::goes_with_its_node, nodes::NOWHERE, objects::Pod, schedule::mix, state::Losses,
};

/// How much work a survey may take. Counted in steps, so that the answer does not depend on the machine.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Nodes that fail at once, at most.
    pub max_failures: usize,
    /// Attempts to place a pod, for each number of failures above one.
    pub attempts: u64,
    /// Sets drawn at random where not all can be tried.
    pub samples: usize,
    /// Steps of one exact search.
    pub exact_steps: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { max_failures: 3, attempts: 400_000, samples: 400, exact_steps: 200_000 }
    }
}

/// What becomes of one set of nodes that fails.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// The nodes.
    pub nodes: Vec<String>,
    /// How many pods need a new place.
    pub displaced: usize,
    /// Pods that get none.
    pub pending: Vec<String>,
    /// How many pods get none, by priority, the highest first.
    pub pending_by_priority: Vec<(i64, usize)>,
    /// Pods whose volumes no other node reaches.
    pub stuck: Vec<String>,
    /// Pods that nobody makes anew.
    pub lost: Vec<String>,
    /// Pods that stay bound to a failed node, and run nowhere else.
    pub bound: Vec<String>,
    /// Pods of daemon sets and static pods, which belong to their nodes.
    pub of_nodes: usize,
    /// Why not all can have a place, if sums show it.
    pub shortage: Option<Shortage>,
    /// Whether all could have a place if they were placed otherwise; absent: not known.
    pub could_fit: Option<bool>,
    /// How they could be placed although the scheduler does not: kinds of pods by an example, and nodes.
    pub better_placing: Vec<(String, String)>,
    /// Disruption budgets that the failure goes beyond.
    pub budgets_broken: Vec<String>,
}

/// A zone that fails.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Zone {
    /// The label.
    pub key: String,
    /// Its value.
    pub value: String,
    /// What becomes of its pods.
    pub failure: Failure,
}

/// The share of sets of one size that the cluster survives.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// How many nodes fail at once.
    pub failures: usize,
    /// How many such sets there are.
    pub sets: f64,
    /// How many were tried for this share.
    pub tried: usize,
    /// How many of these the cluster survives.
    pub survived: usize,
    /// All were tried.
    pub exact: bool,
    /// The share that survives: where not all were tried, the interval in which it lies with 95 % confidence.
    pub share: (f64, f64),
    /// Pods without a place, on average.
    pub mean_pending: f64,
    /// The same by priority, the highest first.
    pub mean_pending_by_priority: Vec<(i64, f64)>,
}

/// What to do about the first failure that is not survived.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// Add nodes like this one.
    pub like: String,
    /// How many.
    pub nodes: usize,
    /// How many sets of failures were tried with them, all survived.
    pub sets_tried: usize,
    /// All sets of this size were tried.
    pub exact: bool,
}

/// How many nodes may fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Survey {
    /// Nodes that were ready, which are those that fail here.
    pub nodes: usize,
    /// Pods that run.
    pub pods: usize,
    /// Kinds of pods.
    pub kinds: usize,
    /// Any so many nodes can fail: all sets up to this size were tried.
    pub survives: usize,
    /// Some sets of so many nodes are not survived, if any was found.
    pub fails_at: Option<usize>,
    /// The worst of these.
    pub witness: Option<Failure>,
    /// Single nodes whose failure is not survived, the first 100 of them.
    pub single_failures: Vec<Failure>,
    /// How many such nodes there are.
    pub single_failures_found: usize,
    /// Zones.
    pub zones: Vec<Zone>,
    /// Shares that survive, by number of failures.
    pub curve: Vec<Point>,
    /// Pods that had no node before anything failed.
    pub pending_before: Vec<String>,
    /// Pods behind a scheduling gate.
    pub gated: Vec<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// Failing single nodes that are told with all they lose; the others only count.
const MAX_TOLD: usize = 100;

/// Finds out how many nodes may fail.
pub fn survey(cluster: &Cluster, budget: &Budget) -> Survey {
    survey_until(cluster, budget, &AtomicBool::new(false)).expect("BUG: nobody stops it")
}

/// The same, given up soon after `stop` is set; then there is no answer.
pub fn survey_until(cluster: &Cluster, budget: &Budget, stop: &AtomicBool) -> Option<Survey> {
    let stopped = || stop.load(Ordering::Relaxed);
    let mut judge = Judge::new(cluster);
    let nodes: Vec<u32> = (0u32..).zip(&cluster.ready).filter(|(_, ready)| **ready).map(|(n, _)| n).collect();
    let mut survey = Survey {
        nodes: nodes.len(),
        pods: cluster.pods.len(),
        kinds: cluster.classes.len(),
        survives: 0,
        fails_at: None,
        witness: None,
        single_failures: Vec::new(),
        single_failures_found: 0,
        zones: Vec::new(),
        curve: Vec::new(),
        pending_before: cluster.pending.clone(),
        gated: cluster.gated.clone(),
        notes: cluster.notes.clone(),
    };
    let down = cluster.ready.len() - nodes.len();
    if down > 0 {
        survey
            .notes
            .push(format!("{down} nodes are not ready already; they stay as they are and do not fail again"));
    }
    let mut worst: Option<(usize, Vec<u32>)> = None;
    let mut badness = Vec::new();
    let mut tally = Tally::default();
    for node in &nodes {
        if stopped() {
            return None;
        }
        let replay = judge.replay(&[*node]);
        tally.add(cluster, &replay);
        badness.push((replay.pending.len(), replay.losses.displaced.len(), *node));
        if !replay.pending.is_empty() {
            survey.single_failures_found += 1;
            if survey.single_failures.len() < MAX_TOLD {
                survey.single_failures.push(describe(&mut judge, &[*node], budget));
            }
        }
        take_worst(&mut worst, &replay, &[*node]);
    }
    survey.zones = zones(&mut judge, budget, &stopped);
    if !nodes.is_empty() {
        survey.curve.push(tally.point(1, nodes.len() as f64, true));
        survey.survives = usize::from(worst.is_none());
        survey.fails_at = worst.is_some().then_some(1);
    }
    // Those that leave most pods without a place come first, then those that carry most.
    badness.sort_by_key(|(pending, displaced, node)| (std::cmp::Reverse((*pending, *displaced)), *node));
    let by_badness: Vec<u32> = badness.iter().map(|(_, _, node)| *node).collect();
    for failures in 2..=budget.max_failures.min(nodes.len()) {
        let (point, found) = several(&mut judge, failures, &by_badness, budget, &stopped);
        if survey.fails_at.is_none() {
            if let Some(found) = found {
                survey.fails_at = Some(failures);
                worst = Some(found);
            } else if point.exact && survey.survives == failures - 1 {
                survey.survives = failures;
            }
        }
        survey.curve.push(point);
    }
    if stopped() {
        return None;
    }
    survey.witness = worst.map(|(_, set)| describe(&mut judge, &set, budget));
    Some(survey)
}

/// All sets of one size, or the worst and some at random. Gives the worst set that is not survived.
fn several(
    judge: &mut Judge<'_>,
    failures: usize,
    nodes: &[u32],
    budget: &Budget,
    stopped: &dyn Fn() -> bool,
) -> (Point, Option<(usize, Vec<u32>)>) {
    let cluster = judge.cluster();
    let sets = combinations(nodes.len(), failures);
    let displaced: usize = nodes.iter().map(|n| cluster.pods_of_node[*n as usize].len()).sum();
    let cost = (displaced as f64 / nodes.len() as f64).max(1.0) * failures as f64;
    let mut tally = Tally::default();
    let mut worst = None;
    let mut try_set = |judge: &mut Judge<'_>, set: &[u32], tally: Option<&mut Tally>| {
        if stopped() {
            return;
        }
        let replay = judge.replay(set);
        if let Some(tally) = tally {
            tally.add(cluster, &replay);
        }
        take_worst(&mut worst, &replay, set);
    };
    if sets * cost <= budget.attempts as f64 {
        each_set(nodes, failures, |set| try_set(judge, set, Some(&mut tally)));
        return (tally.point(failures, sets, true), worst);
    }
    // The worst nodes together, and each zone's worst.
    let top =
        (failures..=nodes.len()).take_while(|n| combinations(*n, failures) <= budget.samples as f64).last();
    each_set(&nodes[..top.unwrap_or(failures)], failures, |set| try_set(judge, set, None));
    for key in &cluster.options.zone_keys {
        let Some(topology) = cluster.topologies.iter().find(|t| cluster.names.name(t.key) == key) else {
            continue;
        };
        for place in 0..u32::try_from(topology.values.len()).unwrap_or(NOWHERE) {
            let set: Vec<u32> = nodes
                .iter()
                .copied()
                .filter(|n| topology.place[*n as usize] == place)
                .take(failures)
                .collect();
            if set.len() == failures {
                try_set(judge, &set, None);
            }
        }
    }
    let mut random = 0u64;
    let mut order: Vec<u32> = nodes.to_vec();
    for _ in 0..budget.samples {
        for i in 0..failures {
            random = mix(random);
            let left = (order.len() - i) as u64;
            let pick = i + usize::try_from(random % left).unwrap_or(0);
            order.swap(i, pick);
        }
        let mut set = order[..failures].to_vec();
        set.sort_unstable();
        try_set(judge, &set, Some(&mut tally));
    }
    (tally.point(failures, sets, false), worst)
}

fn take_worst(worst: &mut Option<(usize, Vec<u32>)>, replay: &Replay, set: &[u32]) {
    let pending = replay.pending.len();
    if pending > 0 && worst.as_ref().is_none_or(|(most, _)| pending > *most) {
        *worst = Some((pending, set.to_vec()));
    }
}

/// Calls `f` with every set of so many of the nodes.
fn each_set(nodes: &[u32], size: usize, mut f: impl FnMut(&[u32])) {
    if size > nodes.len() {
        return;
    }
    let mut at: Vec<usize> = (0..size).collect();
    let mut set = vec![0; size];
    loop {
        for (place, i) in set.iter_mut().zip(&at) {
            *place = nodes[*i];
        }
        f(&set);
        let Some(i) = (0..size).rev().find(|i| at[*i] < nodes.len() - size + i) else { return };
        at[i] += 1;
        for j in i + 1..size {
            at[j] = at[j - 1] + 1;
        }
    }
}

fn combinations(of: usize, size: usize) -> f64 {
    (0..size).map(|i| (of - i) as f64 / (i + 1) as f64).product()
}

#[derive(Default)]
struct Tally {
    tried: usize,
    survived: usize,
    pending: usize,
    by_priority: BTreeMap<i64, usize>,
}

impl Tally {
    fn add(&mut self, cluster: &Cluster, replay: &Replay) {
        self.tried += 1;
        self.survived += usize::from(replay.pending.is_empty());
        self.pending += replay.pending.len();
        for pod in &replay.pending {
            *self.by_priority.entry(cluster.priority(*pod)).or_default() += 1;
        }
    }

    fn point(&self, failures: usize, sets: f64, exact: bool) -> Point {
        let mean = |n: usize| n as f64 / (self.tried as f64).max(1.0);
        let share = mean(self.survived);
        Point {
            failures,
            sets: sets.round(),
            tried: self.tried,
            survived: self.survived,
            exact,
            share: if exact { (share, share) } else { wilson(self.survived, self.tried) },
            mean_pending: mean(self.pending),
            mean_pending_by_priority: self.by_priority.iter().rev().map(|(p, n)| (*p, mean(*n))).collect(),
        }
    }
}

/// The interval in which a share lies with 95 % confidence, after Wilson.
pub(crate) fn wilson(good: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let z = 1.959_963_984_540_054_f64;
    let (n, p) = (of as f64, good as f64 / of as f64);
    let middle = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + z * z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}

fn zones(judge: &mut Judge<'_>, budget: &Budget, stopped: &dyn Fn() -> bool) -> Vec<Zone> {
    let cluster = judge.cluster();
    let mut zones = Vec::new();
    for key in &cluster.options.zone_keys {
        let mut nodes: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (node, labels) in (0u32..).zip(&cluster.node_labels) {
            let zone = labels.iter().find(|(k, _)| cluster.names.name(*k) == key);
            if let (Some((_, zone)), true) = (zone, cluster.ready[node as usize]) {
                nodes.entry(cluster.names.name(*zone)).or_default().push(node);
            }
        }
        for (value, nodes) in nodes {
            if stopped() {
                return zones;
            }
            let failure = describe(judge, &nodes, budget);
            zones.push(Zone { key: key.clone(), value: value.to_owned(), failure });
        }
    }
    zones
}

/// All that is known of one set.
fn describe(judge: &mut Judge<'_>, set: &[u32], budget: &Budget) -> Failure {
    let cluster = judge.cluster();
    let verdict = judge.verdict(set, budget.exact_steps);
    let Losses { displaced, lost, bound, of_nodes } = &verdict.replay.losses;
    let named = |pods: &[u32]| pods.iter().map(|p| cluster.pod_name(*p).to_owned()).collect();
    let mut by_priority: BTreeMap<i64, usize> = BTreeMap::new();
    for pod in &verdict.replay.pending {
        *by_priority.entry(cluster.priority(*pod)).or_default() += 1;
    }
    let down = |pod: &&u32| displaced.binary_search(pod).is_ok() || lost.contains(pod) || bound.contains(pod);
    let broken = cluster
        .budgets
        .iter()
        .filter(|b| i64::try_from(b.pods.iter().filter(down).count()).is_ok_and(|n| n > b.allowed.max(0)));
    let mut better_placing = Vec::new();
    if let (true, Exact::Fits(placed)) = (verdict.is_fragmentation(), &verdict.exact) {
        let mut left: Vec<u32> = displaced.clone();
        for (class, node) in placed {
            let pod = left.iter().position(|p| cluster.pods[*p as usize].class == *class);
            if let Some(pod) = pod.map(|p| left.remove(p)) {
                better_placing
                    .push((cluster.pod_name(pod).to_owned(), cluster.node_names[*node as usize].clone()));
            }
        }
    }
    Failure {
        nodes: set.iter().map(|n| cluster.node_names[*n as usize].clone()).collect(),
        displaced: displaced.len(),
        pending: named(&verdict.replay.pending),
        pending_by_priority: by_priority.into_iter().rev().collect(),
        stuck: named(&verdict.replay.stuck),
        lost: named(lost),
        bound: named(bound),
        of_nodes: *of_nodes,
        could_fit: match verdict.exact {
            Exact::Fits(_) => Some(true),
            Exact::Impossible => Some(false),
            Exact::Unknown => None,
        },
        shortage: verdict.shortage,
        better_placing,
        budgets_broken: broken.map(|b| b.name.clone()).collect(),
    }
}

/// Nodes that are tried as models of those to add.
const MAX_MODELS: usize = 3;
/// Nodes that are added, at most.
const MAX_ADDED: usize = 8;

/// Which nodes to add so that one failure more is survived than now. Nothing when none was found that is not
/// survived, or when no node that is like another one helps.
pub fn advise(
    snapshot: &Snapshot,
    options: &Options,
    survey: &Survey,
    budget: &Budget,
) -> Result<Option<Advice>, Error> {
    advise_until(snapshot, options, survey, budget, &AtomicBool::new(false))
}

/// The same, given up soon after `stop` is set; then there is no answer.
pub fn advise_until(
    snapshot: &Snapshot,
    options: &Options,
    survey: &Survey,
    budget: &Budget,
    stop: &AtomicBool,
) -> Result<Option<Advice>, Error> {
    let Some(failures) = survey.fails_at else { return Ok(None) };
    let Some(witness) = &survey.witness else { return Ok(None) };
    let mut models: Vec<usize> = Vec::new();
    let differs = |a: usize, b: usize| {
        let of = |i: usize| {
            let node = &snapshot.nodes[i];
            let mut labels = node.metadata.labels.clone();
            labels.remove(HOSTNAME);
            (labels, &node.spec.taints, &node.status.allocatable)
        };
        of(a) != of(b)
    };
    // First nodes like those that fail, then the others.
    let failing = |i: &usize| witness.nodes.contains(&snapshot.nodes[*i].metadata.name);
    let all = (0..snapshot.nodes.len()).filter(|i| !snapshot.nodes[*i].spec.unschedulable);
    let (first, then): (Vec<usize>, Vec<usize>) = all.partition(failing);
    for i in first.into_iter().chain(then) {
        if models.len() < MAX_MODELS && models.iter().all(|m| differs(*m, i)) {
            models.push(i);
        }
    }
    let mut best: Option<Advice> = None;
    for model in models {
        let most = best.as_ref().map_or(MAX_ADDED, |b| b.nodes - 1);
        for count in 1..=most {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let cluster = with_more(snapshot, options, model, count)?;
            if let Some((sets_tried, exact)) = survives(&cluster, failures, survey, budget, stop) {
                let like = snapshot.nodes[model].metadata.name.clone();
                best = Some(Advice { like, nodes: count, sets_tried, exact });
                break;
            }
        }
    }
    Ok(best)
}

/// The cluster with nodes like the model.
pub(crate) fn with_more(
    snapshot: &Snapshot,
    options: &Options,
    model: usize,
    count: usize,
) -> Result<Cluster, Error> {
    let mut more = snapshot.clone();
    for i in 0..count {
        let mut node = snapshot.nodes[model].clone();
        node.metadata.name = format!("{} (new {})", node.metadata.name, i + 1);
        if node.metadata.labels.contains_key(HOSTNAME) {
            node.metadata.labels.insert(HOSTNAME.into(), node.metadata.name.clone());
        }
        // What every node has will run on the new one, too.
        let model_name = &snapshot.nodes[model].metadata.name;
        let of_model = snapshot.pods.iter().filter(|pod| pod.spec.node_name == *model_name);
        for pod in of_model.filter(|pod| goes_with_its_node(pod, options)) {
            let mut pod = Pod::clone(pod);
            pod.metadata.name = format!("{} (new {})", pod.metadata.name, i + 1);
            pod.spec.node_name.clone_from(&node.metadata.name);
            more.pods.push(Arc::new(pod));
        }
        let volumes = snapshot.csi_nodes.iter().find(|c| c.metadata.name == *model_name);
        more.csi_nodes.extend(volumes.cloned().map(|mut volumes| {
            volumes.metadata.name.clone_from(&node.metadata.name);
            volumes
        }));
        more.nodes.push(node);
    }
    Cluster::new(&more, options)
}

/// Whether the witness and then all that the budget allows are survived, and how many sets were tried.
fn survives(
    cluster: &Cluster,
    failures: usize,
    survey: &Survey,
    budget: &Budget,
    stop: &AtomicBool,
) -> Option<(usize, bool)> {
    let mut judge = Judge::new(cluster);
    let witness = survey.witness.iter().chain(&survey.single_failures).filter(|f| f.nodes.len() <= failures);
    for failure in witness {
        let set: Vec<u32> = failure.nodes.iter().filter_map(|n| cluster.node(n).ok()).collect();
        if !judge.replay(&set).pending.is_empty() {
            return None;
        }
    }
    let budget = Budget { max_failures: failures, exact_steps: 0, ..budget.clone() };
    let again = survey_until(cluster, &budget, stop)?;
    let tried = again.curve.iter().map(|p| p.tried).sum();
    again.fails_at.is_none().then_some((tried, again.curve.iter().all(|p| p.exact)))
}
