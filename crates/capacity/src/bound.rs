//! A proof that not all displaced pods can have a place, from sums alone.
//!
//! For each union of the node sets that displaced classes may use: what the classes within it ask for must
//! not exceed what its nodes have left, resource by resource; and the nodes of each class must have places
//! for all its pods. Both only grow harder while pods are placed, so what is refused here fits in no order.

use crate::{cluster::NO_NODE, nodes::NodeSet, schedule::Scheduler};

/// Unions of node sets that are looked at.
const MAX_UNIONS: usize = 128;

/// Why not all displaced pods can have a place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Shortage {
    /// The nodes that may run them have too little left.
    Resource {
        /// Of which resource (CPU in thousandths).
        resource: String,
        /// How much they ask for.
        asked: i64,
        /// How much is left.
        free: i64,
    },
    /// There are fewer places than pods of one kind.
    Places {
        /// One of the pods.
        pod: String,
        /// How many pods there are of its kind.
        pods: usize,
        /// How many of them have room.
        places: usize,
    },
    /// A pod that can be placed nowhere at all.
    Never {
        /// The pod.
        pod: String,
        /// Why.
        reason: String,
    },
}

/// Displaced pods of one class: the class, how many, and the first of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group {
    pub class: u32,
    pub pods: usize,
    pub first: u32,
}

/// The proof, if sums give one. The state is that after the failure.
pub(crate) fn shortage(scheduler: &Scheduler<'_>, groups: &[Group]) -> Option<Shortage> {
    let state = &scheduler.state;
    let cluster = state.cluster;
    let mut unions: Vec<NodeSet> = Vec::new();
    let mut sets = Vec::new();
    for group in groups {
        let class = &cluster.classes[group.class as usize];
        let shape = &cluster.shapes[class.shape as usize];
        if let Some(reason) = &class.never {
            let pod = cluster.pod_names[group.first as usize].clone();
            return Some(Shortage::Never { pod, reason: reason.clone() });
        }
        let use_failed = class.bears_failed && cluster.options.mode.keeps_node();
        let allowed = &cluster.sets.sets[shape.nodes as usize];
        let set = NodeSet::of(state.nodes, |n| allowed.has(n) && (use_failed || !state.down[n]));
        let places: usize = set.iter().map(|n| places(scheduler, group.class, n, group.pods)).sum();
        if places < group.pods {
            let pod = cluster.pod_names[group.first as usize].clone();
            return Some(Shortage::Places { pod, pods: group.pods, places });
        }
        add_union(&mut unions, &set);
        sets.push(set);
    }
    for union in &unions {
        let mut asked = vec![0i128; cluster.resources.len()];
        for (group, _) in groups.iter().zip(&sets).filter(|(_, set)| set.is_within(union)) {
            let class = &cluster.classes[group.class as usize];
            for (resource, amount) in &cluster.shapes[class.shape as usize].asks {
                asked[*resource as usize] += i128::from(*amount) * group.pods as i128;
            }
        }
        for (r, asked) in asked.into_iter().enumerate().filter(|(_, asked)| *asked > 0) {
            let free: i128 =
                union.iter().map(|n| i128::from(state.room.free[r * state.nodes + n].max(0))).sum();
            if asked > free {
                let cut = |amount: i128| i64::try_from(amount).unwrap_or(i64::MAX);
                let resource = cluster.resources[r].clone();
                return Some(Shortage::Resource { resource, asked: cut(asked), free: cut(free) });
            }
        }
    }
    None
}

/// How many pods of the class the node has room for, as far as room alone says; at most `most`.
fn places(scheduler: &Scheduler<'_>, class: u32, node: usize, most: usize) -> usize {
    let state = &scheduler.state;
    let class = &state.cluster.classes[class as usize];
    let shape = &state.cluster.shapes[class.shape as usize];
    let near_others = |c: &u32| state.count(*c, node).unwrap_or(0) > 0;
    if class.anti.iter().chain(&class.repelled).any(near_others) {
        return 0;
    }
    let most = if shape.ports.is_empty() {
        most
    } else if state.port_taken(&state.room, &shape.ports, node) {
        0
    } else {
        1
    };
    let by_resource = shape.asks.iter().map(|(resource, amount)| {
        let free = state.room.free[*resource as usize * state.nodes + node];
        usize::try_from(free.max(0) / amount).unwrap_or(usize::MAX)
    });
    by_resource.min().unwrap_or(most).min(most)
}

fn add_union(unions: &mut Vec<NodeSet>, set: &NodeSet) {
    if unions.contains(set) {
        return;
    }
    for i in 0..unions.len() {
        let mut union = unions[i].clone();
        union.join(set);
        if unions.len() < MAX_UNIONS && !unions.contains(&union) {
            unions.push(union);
        }
    }
    unions.push(set.clone());
}

/// Displaced pods by class, but for those that wait for a failed node.
pub(crate) fn groups(scheduler: &Scheduler<'_>, displaced: &[u32]) -> Vec<Group> {
    let cluster = scheduler.state.cluster;
    let mut groups: Vec<Group> = Vec::new();
    let mut at = vec![NO_NODE; cluster.classes.len()];
    for pod in displaced.iter().filter(|p| !crate::schedule::is_stuck(&scheduler.state, **p)) {
        let class = cluster.pods[*pod as usize].class;
        let place = &mut at[class as usize];
        if *place == NO_NODE {
            *place = u32::try_from(groups.len()).expect("BUG: more groups than classes");
            groups.push(Group { class, pods: 0, first: *pod });
        }
        groups[*place as usize].pods += 1;
    }
    groups
}
