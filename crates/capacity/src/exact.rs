//! Whether all displaced pods could have a place, in any order and with any choice of nodes.
//!
//! Branch and bound. Pods of one class are alike, and so are nodes that nothing tells apart: of each kind
//! one is tried. Pods whose constraints can become easier while others are placed (spreading, company), and
//! the pods that these look at, are tried in every order, and each state once; all others only take room, so
//! that their order does not matter. A budget of steps ends the search without a verdict.

use std::collections::HashSet;

use crate::{
    bound::Group,
    counter::ALL_NODES,
    nodes::NOWHERE,
    schedule::{Scheduler, mix},
};

/// Pods that one search places at most; each is a step of recursion.
const MAX_PODS: usize = 600;

/// So many nodes are looked at in the time of one attempt to place a pod.
const NODES_A_STEP: usize = 64;

/// Whether all displaced pods could have a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exact {
    /// They could: classes of pods and nodes, in an order in which the scheduler would allow it.
    Fits(Vec<(u32, u32)>),
    /// They could not.
    Impossible,
    /// The budget was too small to know.
    Unknown,
}

struct Search<'a, 'c> {
    scheduler: &'a mut Scheduler<'c>,
    groups: Vec<Group>,
    /// How many groups, the first ones, are tried in every order.
    ordered: usize,
    /// Nodes on which any of them may run at all.
    nodes: Vec<u32>,
    /// What tells nodes apart, by node.
    kinds: Vec<u128>,
    seen: HashSet<u128>,
    placed: Vec<(u32, u32)>,
    steps: u64,
    ran_out: bool,
}

/// Searches. The state is that after the failure, and is so again afterwards.
pub(crate) fn search(scheduler: &mut Scheduler<'_>, mut groups: Vec<Group>, budget_steps: u64) -> Exact {
    if groups.iter().map(|g| g.pods).sum::<usize>() > MAX_PODS {
        return Exact::Unknown;
    }
    let cluster = scheduler.state.cluster;
    // Counters whose growth can make another placement possible.
    let watched: HashSet<u32> = groups
        .iter()
        .flat_map(|g| {
            let class = &cluster.classes[g.class as usize];
            class.near.iter().copied().chain(class.spread.iter().map(|s| s.counter))
        })
        .collect();
    let in_order = |group: &Group| {
        let class = &cluster.classes[group.class as usize];
        !class.near.is_empty()
            || !class.spread.is_empty()
            || class.adds.iter().any(|(c, _)| watched.contains(c))
    };
    let mut hardest_first: Vec<(bool, u128, Group)> =
        groups.drain(..).map(|g| (!in_order(&g), u128::MAX - size(scheduler, &g), g)).collect();
    hardest_first.sort_by_key(|(free, size, g)| (*free, *size, g.class));
    let ordered = hardest_first.iter().filter(|(free, ..)| !free).count();
    let groups: Vec<Group> = hardest_first.into_iter().map(|(_, _, g)| g).collect();
    let nodes: Vec<u32> = (0u32..)
        .take(scheduler.state.nodes)
        .filter(|n| {
            groups.iter().any(|g| {
                let shape = cluster.classes[g.class as usize].shape;
                let set = cluster.shapes[shape as usize].nodes;
                cluster.sets.sets[set as usize].has(*n as usize)
            })
        })
        .collect();
    let kinds = (0..scheduler.state.nodes).map(|n| kind(scheduler, &groups, n)).collect();
    let mut search = Search {
        scheduler,
        groups,
        ordered,
        nodes,
        kinds,
        seen: HashSet::new(),
        placed: Vec::new(),
        steps: budget_steps,
        ran_out: false,
    };
    let fits = search.any_order();
    let placed = std::mem::take(&mut search.placed);
    if fits {
        for (class, node) in placed.iter().rev() {
            search.scheduler.state.take_back(*class, *node);
        }
        return Exact::Fits(placed);
    }
    if search.ran_out { Exact::Unknown } else { Exact::Impossible }
}

impl Search<'_, '_> {
    /// Places the pods whose order matters, then the others. Leaves them placed if all have a place.
    fn any_order(&mut self) -> bool {
        if self.groups[..self.ordered].iter().all(|g| g.pods == 0) {
            return self.in_turn(self.ordered, 0);
        }
        if self.was_here(0) || !self.sums_hold() {
            return false;
        }
        for group in 0..self.ordered {
            if self.groups[group].pods == 0 {
                continue;
            }
            let class = self.groups[group].class;
            for node in self.candidates(class, 0) {
                self.groups[group].pods -= 1;
                self.put(class, node);
                if self.any_order() {
                    return true;
                }
                self.take(class, node);
                self.groups[group].pods += 1;
            }
        }
        false
    }

    /// Places the pods of this group and all after it; those of one group on nodes in rising order.
    fn in_turn(&mut self, group: usize, from: u32) -> bool {
        let Some(&Group { class, pods, .. }) = self.groups.get(group) else { return true };
        if pods == 0 {
            return self.in_turn(group + 1, 0);
        }
        if from == 0 && self.was_here(group as u64 + 1) || !self.sums_hold() {
            return false;
        }
        for node in self.candidates(class, from) {
            self.groups[group].pods -= 1;
            self.put(class, node);
            if self.in_turn(group, node) {
                return true;
            }
            self.take(class, node);
            self.groups[group].pods += 1;
        }
        false
    }

    fn put(&mut self, class: u32, node: u32) {
        self.scheduler.state.place(class, node);
        self.kinds[node as usize] = self.kinds[node as usize].wrapping_add(wide(u64::from(class)));
        self.placed.push((class, node));
    }

    fn take(&mut self, class: u32, node: u32) {
        self.placed.pop();
        self.kinds[node as usize] = self.kinds[node as usize].wrapping_sub(wide(u64::from(class)));
        self.scheduler.state.take_back(class, node);
    }

    /// One node of each kind that admits the class.
    fn candidates(&mut self, class: u32, from: u32) -> Vec<u32> {
        // Every node is looked at, if only to see that it is of a kind that was tried.
        let looks = (self.nodes.len() / NODES_A_STEP) as u64;
        if looks > 0 && self.steps <= looks {
            (self.steps, self.ran_out) = (0, true);
            return Vec::new();
        }
        self.steps -= looks;
        let mut kinds = HashSet::new();
        let mut list = Vec::new();
        for i in 0..self.nodes.len() {
            let node = self.nodes[i];
            if node < from || kinds.contains(&self.kinds[node as usize]) {
                continue;
            }
            if self.steps == 0 {
                self.ran_out = true;
                return Vec::new();
            }
            self.steps -= 1;
            kinds.insert(self.kinds[node as usize]);
            if self.scheduler.admits(class, node) {
                list.push(node);
            }
        }
        list
    }

    /// Whether this state was tried before in the same part of the search.
    fn was_here(&mut self, part: u64) -> bool {
        let all = self.kinds.iter().fold(wide(part), |sum, kind| {
            sum.wrapping_add(wide(*kind as u64).wrapping_mul(wide((*kind >> 64) as u64) | 1))
        });
        !self.seen.insert(all)
    }

    /// Whether what is left has, in sum, room on the nodes.
    fn sums_hold(&mut self) -> bool {
        let state = &self.scheduler.state;
        let cluster = state.cluster;
        let mut asked = vec![0i128; cluster.resources.len()];
        for group in &self.groups {
            let shape = cluster.classes[group.class as usize].shape;
            for (resource, amount) in &cluster.shapes[shape as usize].asks {
                asked[*resource as usize] += i128::from(*amount) * group.pods as i128;
            }
        }
        asked.iter().enumerate().filter(|(_, asked)| **asked > 0).all(|(r, asked)| {
            let free = &state.room.free[r * state.nodes..];
            self.nodes.iter().map(|n| i128::from(free[*n as usize].max(0))).sum::<i128>() >= *asked
        })
    }
}

/// How much of the free room of all nodes one pod takes: of the scarcest resource, in millionths.
fn size(scheduler: &Scheduler<'_>, group: &Group) -> u128 {
    let state = &scheduler.state;
    let shape = state.cluster.classes[group.class as usize].shape;
    let shares = state.cluster.shapes[shape as usize].asks.iter().map(|(r, amount)| {
        let free = &state.room.free[*r as usize * state.nodes..][..state.nodes];
        let free: i128 = free.iter().map(|f| i128::from((*f).max(0))).sum();
        (i128::from(*amount) * 1_000_000 / free.max(1)).unsigned_abs()
    });
    shares.max().unwrap_or(0)
}

/// Everything about a node that could matter to one of the groups, as one number.
fn kind(scheduler: &Scheduler<'_>, groups: &[Group], node: usize) -> u128 {
    let state = &scheduler.state;
    let cluster = state.cluster;
    let mut kind = 0u128;
    let mut add = |value: u64| kind = wide(value).wrapping_add(kind.rotate_left(7).wrapping_mul(PRIME));
    add(u64::from(state.down[node]));
    for r in 0..cluster.resources.len() {
        add(state.room.free[r * state.nodes + node].cast_unsigned());
    }
    let words = cluster.port_conflicts.len().div_ceil(64);
    for word in &state.room.ports[node * words..(node + 1) * words] {
        add(*word);
    }
    for group in groups {
        let class = &cluster.classes[group.class as usize];
        let shape = &cluster.shapes[class.shape as usize];
        add(u64::from(cluster.sets.sets[shape.nodes as usize].has(node)));
        if !class.attaches.is_empty() {
            // Which volumes are attached is not part of the kind, so such nodes are all different.
            add(node as u64);
        }
        let counters = class.anti.iter().chain(&class.repelled).chain(&class.near);
        let counters =
            counters.chain(class.spread.iter().map(|s| &s.counter)).chain(class.adds.iter().map(|(c, _)| c));
        for id in counters {
            let counter = &cluster.counters[*id as usize];
            let topology = &cluster.topologies[counter.topology as usize];
            let counted =
                counter.eligible == ALL_NODES || cluster.sets.sets[counter.eligible as usize].has(node);
            let place = topology.place[node];
            add(u64::from(counted));
            if place == NOWHERE {
                add(u64::MAX);
            } else if topology.alone[place as usize] {
                // The only node of its place: the place matters by its numbers only.
                let cell = counter.offset + place as usize;
                add(u64::from(state.counts[cell].cast_unsigned()) << 32 | u64::from(state.places[cell]));
            } else {
                add(u64::from(place) | 1 << 63);
            }
        }
    }
    kind
}

const PRIME: u128 = 0x1000_0000_01b3_0000_0000_0000_9e37_79b1;

fn wide(value: u64) -> u128 {
    u128::from(mix(value)) << 64 | u128::from(mix(value ^ 0x5bd1_e995_7f4a_7c15))
}
