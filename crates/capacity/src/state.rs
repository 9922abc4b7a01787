//! What changes while nodes fail and pods move: room, ports, volumes, and the counts of pods by place.
//!
//! Every change has its inverse, so that thousands of failures are tried on one state; after
//! [`State::restore`] it is bit for bit what it was.

use std::collections::HashMap;

use crate::{
    class::Class,
    cluster::{Cluster, Fate},
    counter::{ALL_NODES, Counter},
    nodes::NOWHERE,
};

/// A node that failed, and what has to be put back when it is restored.
#[derive(Debug)]
struct Failed {
    node: u32,
    /// Pods that were taken off it.
    removed: Vec<u32>,
}

/// The state of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Room {
    /// What is free: all nodes of the first resource, then of the second, …
    pub free: Vec<i64>,
    /// CPU and memory in use with the scheduler's assumptions.
    pub assumed: [Vec<i64>; 2],
    /// Ports in use, a bit each.
    pub ports: Vec<u64>,
}

/// What becomes of the pods of failed nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// They need a new place.
    pub displaced: Vec<u32>,
    /// Nobody makes them anew.
    pub lost: Vec<u32>,
    /// They stay bound to the failed node and run nowhere else: they bear its taints for ever, or belong to a stateful
    /// set and the node's object stays.
    pub bound: Vec<u32>,
    /// Pods of daemon sets and static pods.
    pub of_nodes: usize,
}

/// The state of a cluster while nodes fail.
#[derive(Debug)]
pub(crate) struct State<'c> {
    pub cluster: &'c Cluster,
    pub nodes: usize,
    pub room: Room,
    port_words: usize,
    pub counts: Vec<i32>,
    pub totals: Vec<i64>,
    /// How many nodes make each place, for the counters of hard spreading.
    pub places: Vec<u32>,
    hard: Vec<u32>,
    attached: HashMap<(u32, u32), u32>,
    claims: Vec<u32>,
    pub down: Vec<bool>,
    failed: Vec<Failed>,
    /// Nodes whose room is not what it was at first.
    pub changed: Vec<u32>,
    is_changed: Vec<bool>,
}

impl<'c> State<'c> {
    pub fn new(cluster: &'c Cluster) -> Self {
        let nodes = cluster.node_names.len();
        let port_words = cluster.port_conflicts.len().div_ceil(64);
        let mut hard: Vec<u32> =
            cluster.classes.iter().flat_map(|c| c.spread.iter().map(|s| s.counter)).collect();
        hard.sort_unstable();
        hard.dedup();
        let mut state = Self {
            cluster,
            nodes,
            room: Room {
                free: cluster.allocatable.clone(),
                assumed: [vec![0; nodes], vec![0; nodes]],
                ports: vec![0; nodes * port_words],
            },
            port_words,
            counts: vec![0; cluster.cells],
            totals: vec![0; cluster.counters.len()],
            places: vec![0; cluster.cells],
            hard,
            attached: HashMap::new(),
            claims: vec![0; cluster.exclusive_claims],
            down: vec![false; nodes],
            failed: Vec::new(),
            changed: Vec::new(),
            is_changed: vec![false; nodes],
        };
        for i in 0..state.hard.len() {
            let counter = &cluster.counters[state.hard[i] as usize];
            for node in 0..nodes {
                if let Some(cell) = cell(cluster, counter, node) {
                    state.places[cell] += 1;
                }
            }
        }
        for pod in &cluster.pods {
            let class = &cluster.classes[pod.class as usize];
            state.change(class, pod.node, &class.held, 1);
        }
        for node in state.changed.drain(..) {
            state.is_changed[node as usize] = false;
        }
        state
    }

    /// Lets a node fail. Pods that are displaced and lost are added to `losses`.
    pub fn fail(&mut self, node: u32, losses: &mut Losses) {
        let at = node as usize;
        if self.down[at] {
            return;
        }
        let cluster = self.cluster;
        let node_stays = cluster.options.mode.keeps_node();
        let mut removed = Vec::new();
        for &id in &cluster.pods_of_node[at] {
            let pod = &cluster.pods[id as usize];
            let class = &cluster.classes[pod.class as usize];
            let goes = match pod.fate {
                Fate::Daemon | Fate::Static => {
                    losses.of_nodes += 1;
                    !node_stays
                }
                Fate::Displaced if node_stays && class.stays => {
                    losses.bound.push(id);
                    false
                }
                Fate::Displaced => {
                    losses.displaced.push(id);
                    true
                }
                Fate::Bare => {
                    losses.lost.push(id);
                    true
                }
                Fate::Leaving => true,
            };
            if goes {
                removed.push(id);
                self.change(class, node, &class.held, -1);
            } else {
                self.count_dropped(class, at, -1);
            }
        }
        self.down[at] = true;
        self.mark(node);
        self.count_place(at, false);
        self.failed.push(Failed { node, removed });
    }

    /// Lets all nodes be up again. What was placed meanwhile must have been taken back.
    pub fn restore(&mut self) {
        let cluster = self.cluster;
        while let Some(Failed { node, removed }) = self.failed.pop() {
            let at = node as usize;
            self.count_place(at, true);
            self.down[at] = false;
            let mut gone = removed.iter().peekable();
            for &id in &cluster.pods_of_node[at] {
                let class = &cluster.classes[cluster.pods[id as usize].class as usize];
                if gone.next_if(|g| **g == id).is_some() {
                    self.change(class, node, &class.held, 1);
                } else {
                    self.count_dropped(class, at, 1);
                }
            }
        }
        for node in self.changed.drain(..) {
            self.is_changed[node as usize] = false;
        }
    }

    /// Places a pod of the class.
    pub fn place(&mut self, class: u32, node: u32) {
        let class = &self.cluster.classes[class as usize];
        self.change(class, node, &self.cluster.shapes[class.shape as usize].asks, 1);
    }

    /// Takes it back.
    pub fn take_back(&mut self, class: u32, node: u32) {
        let class = &self.cluster.classes[class as usize];
        self.change(class, node, &self.cluster.shapes[class.shape as usize].asks, -1);
    }

    fn change(&mut self, class: &Class, node: u32, amounts: &[(u16, i64)], sign: i32) {
        self.mark(node);
        let at = node as usize;
        let shape = &self.cluster.shapes[class.shape as usize];
        for (resource, amount) in amounts {
            self.room.free[*resource as usize * self.nodes + at] -= amount * i64::from(sign);
        }
        for (used, amount) in self.room.assumed.iter_mut().zip(shape.assumed) {
            used[at] += amount * i64::from(sign);
        }
        for port in &shape.ports {
            let word = at * self.port_words + *port as usize / 64;
            let bit = 1 << (port % 64);
            if sign > 0 {
                self.room.ports[word] |= bit;
            } else {
                self.room.ports[word] &= !bit;
            }
        }
        for (volume, resource) in &class.attaches {
            let uses = self.attached.entry((node, *volume)).or_default();
            let before = *uses;
            *uses = uses.wrapping_add_signed(sign);
            if before == 0 || *uses == 0 {
                self.room.free[*resource as usize * self.nodes + at] -= i64::from(sign);
            }
        }
        for claim in &class.exclusive {
            let uses = &mut self.claims[*claim as usize];
            *uses = uses.wrapping_add_signed(sign);
        }
        for (id, by) in &class.adds {
            let counter = &self.cluster.counters[*id as usize];
            if counter.drops_failed && self.down[at] {
                continue;
            }
            if let Some(cell) = cell(self.cluster, counter, at) {
                self.counts[cell] += by * sign;
                self.totals[*id as usize] += i64::from(by * sign);
            }
        }
    }

    /// A pod stays on a node that fails: counters that drop such nodes no longer count it.
    fn count_dropped(&mut self, class: &Class, node: usize, sign: i32) {
        for (id, by) in &class.adds {
            let counter = &self.cluster.counters[*id as usize];
            if !counter.drops_failed {
                continue;
            }
            if let Some(cell) = cell(self.cluster, counter, node) {
                self.counts[cell] += by * sign;
                self.totals[*id as usize] += i64::from(by * sign);
            }
        }
    }

    /// A node begins or ceases to make places.
    fn count_place(&mut self, node: usize, is_there: bool) {
        let deleted = !self.cluster.options.mode.keeps_node();
        for id in &self.hard {
            let counter = &self.cluster.counters[*id as usize];
            if !(deleted || counter.drops_failed) {
                continue;
            }
            if let Some(cell) = cell(self.cluster, counter, node) {
                self.places[cell] = self.places[cell].wrapping_add_signed(if is_there { 1 } else { -1 });
            }
        }
    }

    fn mark(&mut self, node: u32) {
        if !self.is_changed[node as usize] {
            self.is_changed[node as usize] = true;
            self.changed.push(node);
        }
    }

    /// Whether one of the ports is taken on the node.
    pub fn port_taken(&self, room: &Room, ports: &[u32], node: usize) -> bool {
        let used = &room.ports[node * self.port_words..(node + 1) * self.port_words];
        ports.iter().any(|p| {
            let conflicts = &self.cluster.port_conflicts[*p as usize];
            conflicts.iter().any(|c| used[*c as usize / 64] >> (c % 64) & 1 == 1)
        })
    }

    /// Whether a claim that one pod at a time may use is in use.
    pub fn claim_taken(&self, class: &Class) -> bool {
        class.exclusive.iter().any(|c| self.claims[*c as usize] > 0)
    }

    /// Whether the node attaches all volumes of the class that are not there yet.
    pub fn attaches(&self, class: &Class, node: usize) -> bool {
        let id = u32::try_from(node).expect("BUG: more nodes than the limit");
        let new = |(volume, _): &&(u32, u16)| self.attached.get(&(id, *volume)).is_none_or(|n| *n == 0);
        let shape = &self.cluster.shapes[class.shape as usize];
        class.attaches.chunk_by(|(_, a), (_, b)| a == b).all(|volumes| {
            let (needed, resource) = (volumes.iter().filter(new).count(), volumes[0].1);
            let made = shape.asks.iter().find(|(r, _)| *r == resource).map_or(0, |(_, amount)| *amount);
            needed == 0
                || self.room.free[resource as usize * self.nodes + node]
                    >= made.saturating_add(i64::try_from(needed).unwrap_or(i64::MAX))
        })
    }

    /// The number of a counter at a node.
    pub fn count(&self, counter: u32, node: usize) -> Option<i32> {
        let counter = &self.cluster.counters[counter as usize];
        let place = self.cluster.topologies[counter.topology as usize].place[node];
        (place != NOWHERE).then(|| self.counts[counter.offset + place as usize])
    }

    /// The fewest pods in any place of a constraint of spreading.
    pub fn fewest(&self, counter: u32, min_places: i64) -> i64 {
        let counter = &self.cluster.counters[counter as usize];
        let end = counter.offset + self.cluster.topologies[counter.topology as usize].values.len();
        let (mut fewest, mut number) = (i32::MAX, 0);
        for cell in counter.offset..end {
            if self.places[cell] > 0 {
                number += 1;
                fewest = fewest.min(self.counts[cell]);
            }
        }
        if number < min_places.max(1) { 0 } else { i64::from(fewest) }
    }
}

/// Where a counter counts the pods of a node, if it does.
fn cell(cluster: &Cluster, counter: &Counter, node: usize) -> Option<usize> {
    let place = cluster.topologies[counter.topology as usize].place[node];
    let counted = counter.eligible == ALL_NODES || cluster.sets.sets[counter.eligible as usize].has(node);
    (place != NOWHERE && counted).then(|| counter.offset + place as usize)
}
