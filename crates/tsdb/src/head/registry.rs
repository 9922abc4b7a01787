//! The series of a shard by their labels: which slot a series has, which labels a slot has.
//!
//! Labels are numbers of pairs, in one vector for all series; the table from labels to slots
//! holds slots only. Invariant: a slot is in the table, in `all` and in the set of each of its
//! pairs, or in none of them; but while logs are replayed, it is in the table first.

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
    /// Slots that wait for being free.
    freed: Vec<u32>,
    pub(super) pairs: Pairs,
    labels: Vec<PairId>,
    /// Starts of unused parts of `labels`, by length.
    free_labels: HashMap<u32, Vec<u32>>,
    all: RoaringBitmap,
    /// Series that are not in `all` and in the sets of their pairs yet.
    unset: Vec<u32>,
    /// Series made and removed so far.
    changes: u64,
}

impl Registry {
    /// The slot of the series with these labels.
    pub fn find(&self, hash: u64, labels: &Labels) -> Option<u32> {
        let is_it =
            |&slot: &u32| self.entries[slot as usize].hash == hash && self.texts(slot).eq(labels.iter());
        self.table.find(hash, is_it).copied()
    }

    /// Makes a series whose labels no other has.
    pub fn create(&mut self, hash: u64, labels: &Labels) -> u32 {
        let count = labels.len() as u32;
        let (slot, start) = (self.take_slot(), self.take_labels(count));
        for (at, (name, value)) in (start as usize..).zip(labels.iter()) {
            self.labels[at] = self.pairs.add(name, value, slot);
        }
        self.entries[slot as usize] = Entry { hash, start, count };
        self.all.insert(slot);
        self.table.insert_unique(hash, slot, |&other| self.entries[other as usize].hash);
        slot
    }

    /// Makes room for so many series more.
    pub fn reserve(&mut self, series: usize, labels: usize) {
        self.entries.reserve_exact(series);
        self.labels.reserve_exact(labels);
        self.table.reserve(series, |&other| self.entries[other as usize].hash);
    }

    /// The slot of the series with these pairs, in order of their names; made if there is none,
    /// which is told too. `guess` is the slot that it probably has. A series that was made is not
    /// in the sets until [`Registry::fill_sets`].
    pub fn define(&mut self, hash: u64, pairs: &[PairId], guess: u32) -> (u32, bool) {
        if let Some(entry) = self.entries.get(guess as usize)
            && entry.hash == hash
            && entry.count > 0
            && self.pairs_of(guess) == pairs
        {
            return (guess, false);
        }
        let is_it = |&slot: &u32| self.entries[slot as usize].hash == hash && self.pairs_of(slot) == pairs;
        if let Some(&slot) = self.table.find(hash, is_it) {
            return (slot, false);
        }
        let count = pairs.len() as u32;
        let (slot, start) = (self.take_slot(), self.take_labels(count));
        self.labels[start as usize..(start + count) as usize].copy_from_slice(pairs);
        self.entries[slot as usize] = Entry { hash, start, count };
        self.table.insert_unique(hash, slot, |&other| self.entries[other as usize].hash);
        self.unset.push(slot);
        (slot, true)
    }

    /// Adds the series that were defined to the sets. All at once this takes a fraction of what
    /// adding them one by one would.
    pub fn fill_sets(&mut self) {
        let mut slots = std::mem::take(&mut self.unset);
        slots.sort_unstable();
        self.all.extend(slots.iter().copied());
        // The series of each pair come to stand together, in order.
        let mut ends = vec![0u32; self.pairs.id_end()];
        slots.iter().flat_map(|&slot| self.pairs_of(slot)).for_each(|&id| ends[id as usize] += 1);
        let mut total = 0;
        for end in &mut ends {
            total += std::mem::replace(end, total);
        }
        let mut series = vec![0u32; total as usize];
        for &slot in &slots {
            for &id in self.pairs_of(slot) {
                let end = &mut ends[id as usize];
                series[*end as usize] = slot;
                *end += 1;
            }
        }
        let mut start = 0;
        for (id, &end) in (0..).zip(&ends) {
            if end > start {
                self.pairs.add_sorted(id, &series[start as usize..end as usize]);
            }
            start = end;
        }
    }

    fn take_slot(&mut self) -> u32 {
        self.changes += 1;
        self.free.pop().unwrap_or_else(|| {
            grow(&mut self.entries);
            self.entries.push(Entry { hash: 0, start: 0, count: 0 });
            u32::try_from(self.entries.len() - 1).expect("BUG: the series limit is below 2^32")
        })
    }

    /// The start of `count` unused labels.
    fn take_labels(&mut self, count: u32) -> u32 {
        self.free_labels.get_mut(&count).and_then(Vec::pop).unwrap_or_else(|| {
            let start = self.labels.len();
            if self.labels.capacity() < start + count as usize {
                self.labels.reserve_exact(start / 8 + 64 + count as usize);
            }
            self.labels.resize(start + count as usize, 0);
            u32::try_from(start).expect("BUG: limits keep the number of labels below 2^32")
        })
    }

    /// Removes a series. Its slot is used again when [`Registry::free_slot`] says so.
    pub fn remove(&mut self, slot: u32) {
        self.changes += 1;
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

    /// Lets a slot be used for another series once [`Registry::reuse_slots`] says so.
    pub fn free_slot(&mut self, slot: u32) {
        self.freed.push(slot);
    }

    /// Lets slots that were freed be used again.
    pub fn reuse_slots(&mut self) {
        self.free.append(&mut self.freed);
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Grows with every series that is made or removed.
    pub fn changes(&self) -> u64 {
        self.changes
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
            + (self.free.capacity() + self.freed.capacity()) * 4
            + self.labels.capacity() * size_of::<PairId>()
            + self.free_labels.values().map(|v| v.capacity() * 4).sum::<usize>()
            + self.pairs.heap_bytes()
            + self.all.serialized_size()
    }
}
