//! The series of a shard by their labels: which slot a series has, which labels a slot has.
//!
//! Labels are numbers of pairs, in one vector for all series; the table from labels to slots
//! holds slots only. Invariant: a slot is in the table, in `all` and in the set of each of its
//! pairs, or in none of them.

use hashbrown::{HashMap, HashTable};
use roaring::RoaringBitmap;
use vedette_model::Labels;

use super::pairs::{PairId, Pairs, grow};

#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u64,
    /// Its part of `labels`.
    start: u32,
    count: u32,
}

/// The series of a shard.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Vec<Entry>,
    table: HashTable<u32>,
    free: Vec<u32>,
    pub(super) pairs: Pairs,
    labels: Vec<PairId>,
    /// Starts of unused parts of `labels`, by length.
    free_labels: HashMap<u32, Vec<u32>>,
    all: RoaringBitmap,
}

impl Registry {
    /// The slot of the series with these labels.
    pub fn find(&self, hash: u64, labels: &Labels) -> Option<u32> {
        let is_it =
            |&slot: &u32| self.entries[slot as usize].hash == hash && self.texts(slot).eq(labels.iter());
        self.table.find(hash, is_it).copied()
    }

    /// The slot of the series with these pairs, in order of their names.
    pub fn find_pairs<I>(&self, hash: u64, pairs: impl Fn() -> I) -> Option<u32>
    where
        I: Iterator<Item = Option<PairId>>,
    {
        let has = |slot| self.pairs_of(slot).iter().map(|&id| Some(id)).eq(pairs());
        let is_it = |&slot: &u32| self.entries[slot as usize].hash == hash && has(slot);
        self.table.find(hash, is_it).copied()
    }

    /// Makes a series whose labels no other has.
    pub fn create(&mut self, hash: u64, labels: &Labels) -> u32 {
        self.create_with(hash, labels.len(), labels.iter(), |pairs, (name, value), slot| {
            pairs.add(name, value, slot)
        })
    }

    /// Makes a series of `count` labels whose labels no other has; `add` adds it to the pair that
    /// a label stands for.
    pub fn create_with<L>(
        &mut self,
        hash: u64,
        count: usize,
        labels: impl Iterator<Item = L>,
        mut add: impl FnMut(&mut Pairs, L, u32) -> PairId,
    ) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            grow(&mut self.entries);
            self.entries.push(Entry { hash: 0, start: 0, count: 0 });
            u32::try_from(self.entries.len() - 1).expect("BUG: the series limit is below 2^32")
        });
        let count = count as u32;
        let start = self.free_labels.get_mut(&count).and_then(Vec::pop).unwrap_or_else(|| {
            let start = self.labels.len();
            if self.labels.capacity() < start + count as usize {
                self.labels.reserve_exact(start / 8 + 64 + count as usize);
            }
            self.labels.resize(start + count as usize, 0);
            u32::try_from(start).expect("BUG: limits keep the number of labels below 2^32")
        });
        for (at, label) in (start as usize..(start + count) as usize).zip(labels) {
            self.labels[at] = add(&mut self.pairs, label, slot);
        }
        self.entries[slot as usize] = Entry { hash, start, count };
        self.all.insert(slot);
        self.table.insert_unique(hash, slot, |&other| self.entries[other as usize].hash);
        slot
    }

    /// Removes a series. Its slot is used again when [`Registry::free_slot`] says so.
    pub fn remove(&mut self, slot: u32) {
        let Entry { hash, start, count } = self.entries[slot as usize];
        if let Ok(entry) = self.table.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        self.all.remove(slot);
        for at in start as usize..(start + count) as usize {
            self.pairs.remove(self.labels[at], slot);
        }
        self.free_labels.entry(count).or_default().push(start);
    }

    /// Lets a slot be used for another series.
    pub fn free_slot(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// All slots in use.
    pub fn all(&self) -> &RoaringBitmap {
        &self.all
    }

    /// Hash of the labels of a series.
    pub fn hash(&self, slot: u32) -> u64 {
        self.entries[slot as usize].hash
    }

    /// The pairs of a series, in order of their names.
    pub fn pairs_of(&self, slot: u32) -> &[PairId] {
        let Entry { start, count, .. } = self.entries[slot as usize];
        &self.labels[start as usize..(start + count) as usize]
    }

    /// Labels of a series.
    pub fn labels(&self, slot: u32) -> Labels {
        Labels::from_sorted(self.texts(slot))
    }

    /// Names and values of a series, in order of the names.
    pub fn texts(&self, slot: u32) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs_of(slot).iter().map(|&id| self.pairs.text(id))
    }

    /// About how much memory series in use take; costs next to nothing to ask.
    pub fn used_bytes(&self) -> usize {
        let free_labels: usize = self.free_labels.iter().map(|(n, v)| v.len() * *n as usize).sum();
        self.len() * (size_of::<Entry>() + 8)
            // The second is about what a number takes in the sets of the pairs.
            + (self.labels.len() - free_labels) * (size_of::<PairId>() + 3)
            + self.pairs.text_bytes()
    }

    /// About how much memory it takes.
    pub fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.table.capacity() * 8 / 7 * 5
            + self.free.capacity() * 4
            + self.labels.capacity() * size_of::<PairId>()
            + self.free_labels.values().map(|v| v.capacity() * 4).sum::<usize>()
            + self.pairs.heap_bytes()
            + self.all.serialized_size()
    }
}
