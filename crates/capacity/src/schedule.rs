//! The scheduler: which nodes admit a pod, and which of them it gets.
//!
//! The filters and scores are those of kube-scheduler's default profile, without preemption and without the
//! scores of images. Where scores are equal the real one throws dice; here the same node wins every time.

use crate::{
    class::{Class, Shape, SoftSpread},
    cluster::{NO_NODE, Order},
    nodes::NOWHERE,
    state::{Losses, Room, State},
};

/// Weights of scores in the default profile.
const WEIGHT_TAINTS: i64 = 3;
const WEIGHT_NODE_AFFINITY: i64 = 2;
const WEIGHT_POD_AFFINITY: i64 = 2;
const WEIGHT_SPREAD: i64 = 2;

/// A node that has no room.
const NO_ROOM: i16 = -1;

/// What the scheduler does after a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// What the failure took.
    pub losses: Losses,
    /// Pods and the nodes that they got.
    pub placed: Vec<(u32, u32)>,
    /// Pods that got none.
    pub pending: Vec<u32>,
    /// Pods that wait for a failed node, as no other reaches their volumes.
    pub stuck: Vec<u32>,
}

/// A scheduler over a state, with what it needs again and again.
#[derive(Debug)]
pub(crate) struct Scheduler<'c> {
    pub state: State<'c>,
    /// The room before anything failed.
    first: Room,
    /// Room and scores of nodes before anything failed, by shape; empty until asked for.
    fits: Vec<Vec<i16>>,
    fit: Vec<i16>,
    feasible: Vec<u32>,
    scores: Vec<i64>,
    raw: Vec<i64>,
    seen: Vec<u32>,
    /// Attempts to place a pod so far: what budgets count.
    pub attempts: u64,
}

impl<'c> Scheduler<'c> {
    pub fn new(state: State<'c>) -> Self {
        Self {
            first: state.room.clone(),
            fits: vec![Vec::new(); state.cluster.shapes.len()],
            fit: vec![NO_ROOM; state.nodes],
            feasible: Vec::new(),
            scores: Vec::new(),
            raw: Vec::new(),
            seen: Vec::new(),
            attempts: 0,
            state,
        }
    }

    /// What becomes of the pods when these nodes fail. The state is as before afterwards.
    pub fn replay(&mut self, failed: &[u32]) -> Replay {
        let mut replay = Replay::default();
        for node in failed {
            self.state.fail(*node, &mut replay.losses);
        }
        replay.losses.displaced.sort_unstable();
        let mut queue = replay.losses.displaced.clone();
        let classes = &self.state.cluster.classes;
        let pods = &self.state.cluster.pods;
        if self.state.cluster.options.order == Order::Priority {
            // Equals come in the order of the snapshot.
            queue.sort_by_key(|p| std::cmp::Reverse(classes[pods[*p as usize].class as usize].priority));
        }
        loop {
            let before = replay.placed.len();
            for pod in queue {
                let class = pods[pod as usize].class;
                match self.choose(class) {
                    Some(node) => {
                        self.state.place(class, node);
                        replay.placed.push((pod, node));
                    }
                    None => replay.pending.push(pod),
                }
            }
            // Pods that were placed may be the company that others wait for.
            let waits = |p: &u32| {
                let class = &classes[pods[*p as usize].class as usize];
                !class.near.is_empty() || !class.spread.is_empty()
            };
            if replay.placed.len() == before || !replay.pending.iter().any(waits) {
                break;
            }
            queue = Vec::new();
            replay.pending.retain(|p| {
                let again = waits(p);
                queue.extend(again.then_some(*p));
                !again
            });
        }
        let state = &self.state;
        replay.pending.retain(|p| {
            let stuck = is_stuck(state, *p);
            replay.stuck.extend(stuck.then_some(*p));
            !stuck
        });
        for (pod, node) in replay.placed.iter().rev() {
            self.state.take_back(pods[*pod as usize].class, *node);
        }
        self.state.restore();
        replay.pending.sort_unstable();
        replay.stuck.sort_unstable();
        replay
    }

    /// The node that a pod of the class gets now.
    pub fn choose(&mut self, class: u32) -> Option<u32> {
        self.attempts += 1;
        let cluster = self.state.cluster;
        let class = &cluster.classes[class as usize];
        if class.never.is_some() || self.state.claim_taken(class) {
            return None;
        }
        self.find_room(class);
        for limit in limits(&self.state, class) {
            let counter = &cluster.counters[limit.counter as usize];
            let place = &cluster.topologies[counter.topology as usize].place;
            let counts = &self.state.counts[counter.offset..];
            for (fit, place) in self.fit.iter_mut().zip(place) {
                if !limit.allows((*place != NOWHERE).then(|| counts[*place as usize])) {
                    *fit = NO_ROOM;
                }
            }
        }
        self.feasible.clear();
        self.feasible.extend((0u32..).zip(&self.fit).filter(|(_, fit)| **fit >= 0).map(|(node, _)| node));
        match self.feasible.as_slice() {
            [] => None,
            [only] => Some(*only),
            _ => Some(self.best(class)),
        }
    }

    /// Whether a pod of the class could be placed on the node now.
    pub fn admits(&self, class: u32, node: u32) -> bool {
        let (state, at) = (&self.state, node as usize);
        let class = &state.cluster.classes[class as usize];
        let shape = &state.cluster.shapes[class.shape as usize];
        class.never.is_none()
            && (!state.down[at] || self.may_use_failed(class))
            && fit(state, &state.room, shape, at) != NO_ROOM
            && !state.claim_taken(class)
            && state.attaches(class, at)
            && limits(state, class).all(|limit| limit.allows(state.count(limit.counter, at)))
    }

    fn may_use_failed(&self, class: &Class) -> bool {
        class.bears_failed && self.state.cluster.options.mode.keeps_node()
    }

    /// Nodes with room: what was worked out before anything failed, but for the nodes that have changed.
    fn find_room(&mut self, class: &Class) {
        let shape = &self.state.cluster.shapes[class.shape as usize];
        let first = &mut self.fits[class.shape as usize];
        if first.is_empty() {
            let room = &self.first;
            first.extend((0..self.state.nodes).map(|n| fit(&self.state, room, shape, n)));
        }
        self.fit.copy_from_slice(first);
        let use_failed = self.may_use_failed(class);
        for node in self.state.changed.iter().map(|n| *n as usize) {
            self.fit[node] = if self.state.down[node] && !use_failed {
                NO_ROOM
            } else {
                fit(&self.state, &self.state.room, shape, node)
            };
        }
        if !class.attaches.is_empty() {
            for node in 0..self.state.nodes {
                if self.fit[node] >= 0 && !self.state.attaches(class, node) {
                    self.fit[node] = NO_ROOM;
                }
            }
        }
    }

    /// The best of the feasible nodes.
    fn best(&mut self, class: &Class) -> u32 {
        let cluster = self.state.cluster;
        self.scores.clear();
        self.scores.extend(self.feasible.iter().map(|n| i64::from(self.fit[*n as usize])));
        if let Some(points) = class.preferred {
            let points = &cluster.preferences[points as usize];
            let max = self.feasible.iter().map(|n| points[*n as usize]).max().unwrap_or(0);
            if max > 0 {
                for (score, node) in self.scores.iter_mut().zip(&self.feasible) {
                    *score +=
                        WEIGHT_NODE_AFFINITY * (100 * i64::from(points[*node as usize]) / i64::from(max));
                }
            }
        }
        if let Some(taints) = class.penalties {
            let taints = &cluster.preferences[taints as usize];
            let max = self.feasible.iter().map(|n| taints[*n as usize]).max().unwrap_or(0);
            if max > 0 {
                for (score, node) in self.scores.iter_mut().zip(&self.feasible) {
                    *score -= WEIGHT_TAINTS * (100 * i64::from(taints[*node as usize]) / i64::from(max));
                }
            }
        }
        self.add_wishes(class);
        self.add_spread(class);
        // Where scores are equal the scheduler throws dice; here the first wins, so that equal input gives equal
        // verdicts.
        let mut best = (i64::MIN, NO_NODE);
        for (score, node) in self.scores.iter().zip(&self.feasible) {
            if best.1 == NO_NODE || *score > best.0 {
                best = (*score, *node);
            }
        }
        best.1
    }

    /// Pods wished near and far, by this class and by those that run.
    fn add_wishes(&mut self, class: &Class) {
        if class.wishes.is_empty() {
            return;
        }
        self.raw.clear();
        self.raw.resize(self.feasible.len(), 0);
        for (id, weight) in &class.wishes {
            let counter = &self.state.cluster.counters[*id as usize];
            let place = &self.state.cluster.topologies[counter.topology as usize].place;
            let counts = &self.state.counts[counter.offset..];
            for (raw, node) in self.raw.iter_mut().zip(&self.feasible) {
                let place = place[*node as usize];
                if place != NOWHERE {
                    *raw += i64::from(counts[place as usize]) * i64::from(*weight);
                }
            }
        }
        let min = self.raw.iter().copied().min().unwrap_or(0);
        let max = self.raw.iter().copied().max().unwrap_or(0);
        if max > min {
            for (score, raw) in self.scores.iter_mut().zip(&self.raw) {
                // Cut, not rounded, as the scheduler does.
                *score += WEIGHT_POD_AFFINITY * (100.0 * ((raw - min) as f64 / (max - min) as f64)) as i64;
            }
        }
    }

    fn add_spread(&mut self, class: &Class) {
        if class.soft.is_empty() {
            return;
        }
        let cluster = self.state.cluster;
        let counts_node =
            |node: u32| class.soft_nodes.is_none_or(|set| cluster.sets.sets[set as usize].has(node as usize));
        let counted = self.feasible.iter().filter(|n| counts_node(**n)).count();
        let mut sums = vec![0f64; self.feasible.len()];
        for soft in &class.soft {
            let counter = &cluster.counters[soft.counter as usize];
            let topology = &cluster.topologies[counter.topology as usize];
            let size = if soft.is_host { counted } else { self.places_of_feasible(soft, &counts_node) };
            let weight = ((size + 2) as f64).ln();
            let counts = &self.state.counts[counter.offset..];
            for (sum, node) in sums.iter_mut().zip(&self.feasible) {
                let place = topology.place[*node as usize];
                if place != NOWHERE {
                    *sum += f64::from(counts[place as usize]) * weight + f64::from(soft.max_skew - 1);
                }
            }
        }
        self.raw.clear();
        self.raw.extend(sums.iter().map(|s| s.round() as i64));
        let of_counted =
            || self.raw.iter().zip(&self.feasible).filter(|(_, n)| counts_node(**n)).map(|(r, _)| *r);
        let (min, max) = (of_counted().min().unwrap_or(0), of_counted().max().unwrap_or(0));
        for ((score, raw), node) in self.scores.iter_mut().zip(&self.raw).zip(&self.feasible) {
            if counts_node(*node) {
                *score += WEIGHT_SPREAD * if max == 0 { 100 } else { 100 * (max + min - raw) / max };
            }
        }
    }

    /// In how many places the feasible nodes lie.
    fn places_of_feasible(&mut self, soft: &SoftSpread, counts_node: &dyn Fn(u32) -> bool) -> usize {
        let counter = &self.state.cluster.counters[soft.counter as usize];
        let topology = &self.state.cluster.topologies[counter.topology as usize];
        self.seen.clear();
        // One more for nodes that lie nowhere.
        self.seen.resize(topology.values.len() + 1, 0);
        let mut size = 0;
        for node in self.feasible.iter().filter(|n| counts_node(**n)) {
            let place = (topology.place[*node as usize] as usize).min(topology.values.len());
            size += usize::from(self.seen[place] == 0);
            self.seen[place] = 1;
        }
        size
    }
}

/// How many pods a counter may have counted where a pod is placed.
#[derive(Clone, Copy)]
struct Limit {
    counter: u32,
    least: i64,
    most: i64,
    /// A node that lies in no place of the counter's topology is refused.
    needs_place: bool,
}

impl Limit {
    /// Whether a node may be taken at which so many are counted; none: it lies in no place.
    fn allows(&self, count: Option<i32>) -> bool {
        match count {
            Some(count) => (self.least..=self.most).contains(&i64::from(count)),
            None => !self.needs_place,
        }
    }
}

/// What other pods mean for where a pod of the class may be placed now.
fn limits<'a>(state: &'a State<'_>, class: &'a Class) -> impl Iterator<Item = Limit> + 'a {
    let nobody = move |counter: &u32| state.totals[*counter as usize] == 0;
    let any = Limit { counter: 0, least: i64::MIN, most: i64::MAX, needs_place: true };
    let apart = class.anti.iter().chain(&class.repelled).filter(move |c| !nobody(c));
    let apart = apart.map(move |c| Limit { counter: *c, most: 0, needs_place: false, ..any });
    // The first of pods that want to be near each other may go anywhere.
    let alone = class.near_itself && class.near.iter().all(nobody);
    let least = if alone { i64::MIN } else { 1 };
    let near = class.near.iter().map(move |c| Limit { counter: *c, least, ..any });
    let spread = class.spread.iter().map(move |s| {
        let fewest = state.fewest(s.counter, s.min_places);
        Limit { counter: s.counter, most: s.max_skew + fewest - i64::from(s.counts_itself), ..any }
    });
    apart.chain(near).chain(spread)
}

/// Whether no node that is up reaches the pod's volumes.
pub(crate) fn is_stuck(state: &State<'_>, pod: u32) -> bool {
    let class = &state.cluster.classes[state.cluster.pods[pod as usize].class as usize];
    class.reached.is_some_and(|set| state.cluster.sets.sets[set as usize].iter().all(|n| state.down[n]))
}

/// Whether a node has room for a shape, and its points for being empty and evenly used: 0 to 200.
fn fit(state: &State<'_>, room: &Room, shape: &Shape, node: usize) -> i16 {
    let (cluster, nodes) = (state.cluster, state.nodes);
    if !cluster.sets.sets[shape.nodes as usize].has(node) {
        return NO_ROOM;
    }
    for (resource, amount) in &shape.asks {
        if room.free[*resource as usize * nodes + node] < *amount {
            return NO_ROOM;
        }
    }
    if !shape.ports.is_empty() && state.port_taken(room, &shape.ports, node) {
        return NO_ROOM;
    }
    let mut left = (0, 0);
    let (mut with, mut without) = ([0.0; 2], [0.0; 2]);
    let mut known = 0;
    for r in 0..2 {
        let has = cluster.allocatable[r * nodes + node];
        if has == 0 {
            continue;
        }
        let wanted = room.assumed[r][node] + shape.assumed[r];
        left.0 += if wanted > has { 0 } else { i128::from(has - wanted) * 100 / i128::from(has) };
        left.1 += 1;
        let asked = shape.asks.iter().find(|(id, _)| usize::from(*id) == r).map_or(0, |(_, a)| *a);
        let used = has - room.free[r * nodes + node];
        with[known] = ((used + asked) as f64 / has as f64).min(1.0);
        without[known] = (used as f64 / has as f64).min(1.0);
        known += 1;
    }
    let empty = if left.1 == 0 { 0 } else { left.0 / left.1 };
    // What counts is by how much the pod makes the node's use more even; that says nothing of a pod that asks
    // for nothing.
    let even = match (shape.asks.iter().any(|(id, _)| *id < 2), known) {
        (false, _) => 0,
        (true, 2) => 50 + (evenness(with) - evenness(without)) / 2,
        (true, _) => 50,
    };
    i16::try_from(empty).unwrap_or(0) + even
}

/// How evenly two resources are used: 0 to 100.
fn evenness(shares: [f64; 2]) -> i16 {
    ((1.0 - ((shares[0] - shares[1]) / 2.0).abs()) * 100.0) as i16
}

/// Numbers that look random.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
