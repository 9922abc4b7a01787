//! Sets of nodes, and the places (zones, racks, hosts) that nodes' labels make.

use std::collections::HashMap;

use crate::select::{LabelSet, value};

/// A node that lies in no place of a topology.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A set of nodes, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct NodeSet(Vec<u64>);

impl NodeSet {
    /// The nodes of `0..nodes` that `is_in` says.
    pub fn of(nodes: usize, is_in: impl Fn(usize) -> bool) -> Self {
        let mut words = vec![0; nodes.div_ceil(64)];
        for node in (0..nodes).filter(|n| is_in(*n)) {
            words[node / 64] |= 1 << (node % 64);
        }
        Self(words)
    }

    pub fn has(&self, node: usize) -> bool {
        self.0[node / 64] >> (node % 64) & 1 == 1
    }

    pub fn keep(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a &= b;
        }
    }

    pub fn join(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }

    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let bit = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some(i * 64 + bit)
            })
        })
    }
}

/// Sets that are kept once each.
#[derive(Debug, Default)]
pub(crate) struct NodeSets {
    ids: HashMap<NodeSet, u32>,
    pub sets: Vec<NodeSet>,
}

impl NodeSets {
    pub fn id(&mut self, set: NodeSet) -> u32 {
        if let Some(id) = self.ids.get(&set) {
            return *id;
        }
        let id = u32::try_from(self.sets.len()).expect("BUG: more sets than classes of pods");
        self.sets.push(set.clone());
        self.ids.insert(set, id);
        id
    }
}

/// The places that one label makes.
#[derive(Debug)]
pub(crate) struct Topology {
    /// The label.
    pub key: u32,
    /// The place of each node.
    pub place: Vec<u32>,
    /// The label's value in each place.
    pub values: Vec<u32>,
    /// Whether a place has one node only.
    pub alone: Vec<bool>,
}

impl Topology {
    pub fn new(key: u32, nodes: &[LabelSet]) -> Self {
        let mut ids = HashMap::new();
        let mut values = Vec::new();
        let place = nodes
            .iter()
            .map(|labels| {
                let Some(value) = value(labels, key) else { return NOWHERE };
                *ids.entry(value).or_insert_with(|| {
                    values.push(value);
                    u32::try_from(values.len() - 1).expect("BUG: more places than nodes")
                })
            })
            .collect::<Vec<u32>>();
        let mut nodes = vec![0u32; values.len()];
        for place in place.iter().filter(|p| **p != NOWHERE) {
            nodes[*place as usize] += 1;
        }
        let alone = nodes.iter().map(|n| *n == 1).collect();
        Self { key, place, values, alone }
    }
}
