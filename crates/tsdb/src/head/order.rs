//! All series in the order of their labels, as sealing writes them.
//!
//! Pairs of all shards are ranked by their texts first, which are few beside the series; series
//! then compare by ranks. As a rank says name and value at once, comparing ranks one after the
//! other is comparing labels.

use std::cmp::Ordering;

use super::{Head, ShardIndex, pairs::PairId};

/// A series in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ordered {
    pub shard: u8,
    pub slot: u32,
}

impl Head {
    /// All series there are now, in the order of their labels.
    pub fn ordered(&self) -> Vec<Ordered> {
        let indexes: Vec<ShardIndex<'_>> = self.shards().iter().map(super::Shard::index).collect();
        let ranks = ranks(&indexes);
        let mut lists: Vec<Vec<(u64, Ordered)>> = Vec::with_capacity(indexes.len());
        let compare = |a: &(u64, Ordered), b: &(u64, Ordered)| {
            a.0.cmp(&b.0).then_with(|| {
                let ranks_of = |o: Ordered| {
                    let pairs = indexes[usize::from(o.shard)].registry.pairs_of(o.slot);
                    pairs.iter().map(move |&id| (o.shard, id))
                };
                let rank = |(shard, id): (u8, PairId)| ranks[usize::from(shard)][id as usize];
                ranks_of(a.1).map(rank).cmp(ranks_of(b.1).map(rank))
            })
        };
        for (index, shard) in indexes.iter().zip(0u8..) {
            let ranks = &ranks[usize::from(shard)];
            let keyed = index.slots().iter().map(|slot| {
                // The first two ranks decide most comparisons. 0 is no rank.
                let mut first = index.registry.pairs_of(slot).iter().map(|&id| ranks[id as usize]);
                let (first, second) = (first.next().unwrap_or(0), first.next().unwrap_or(0));
                (u64::from(first) << 32 | u64::from(second), Ordered { shard, slot })
            });
            let mut list: Vec<_> = keyed.collect();
            list.sort_unstable_by(compare);
            lists.push(list);
        }
        merge(lists, compare)
    }
}

/// For each shard the ranks of its pairs, from 1; equal pairs of several shards have one rank.
fn ranks(indexes: &[ShardIndex<'_>]) -> Vec<Vec<u32>> {
    let mut pairs: Vec<(&str, &str, u8, PairId)> = Vec::new();
    let mut ranks = Vec::new();
    for (index, shard) in indexes.iter().zip(0u8..) {
        let used = index.registry.pairs.iter();
        pairs.extend(used.map(|(id, name, value)| (name, value, shard, id)));
        ranks.push(vec![0; index.registry.pairs.id_end()]);
    }
    pairs.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
    let mut rank = 0;
    let mut before = None;
    for (name, value, shard, id) in pairs {
        if before.replace((name, value)) != Some((name, value)) {
            rank += 1;
        }
        ranks[usize::from(shard)][id as usize] = rank;
    }
    ranks
}

/// Merges sorted lists, two at a time.
fn merge<T: Copy>(
    mut lists: Vec<Vec<(u64, T)>>,
    compare: impl Fn(&(u64, T), &(u64, T)) -> Ordering,
) -> Vec<T> {
    while lists.len() > 1 {
        let mut merged = Vec::with_capacity(lists.len().div_ceil(2));
        let mut rest = lists.into_iter();
        while let Some(a) = rest.next() {
            let Some(b) = rest.next() else {
                merged.push(a);
                break;
            };
            let mut both = Vec::with_capacity(a.len() + b.len());
            let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
            while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
                let next = if compare(x, y).is_gt() { b.next() } else { a.next() };
                both.extend(next);
            }
            both.extend(a);
            both.extend(b);
            merged.push(both);
        }
        lists = merged;
    }
    lists.pop().unwrap_or_default().into_iter().map(|(_, item)| item).collect()
}
