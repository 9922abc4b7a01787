//! The head: all series that take samples, with those samples that are not sealed yet.
//!
//! Series are spread over shards by the hash of their labels. In each shard the labels
//! ([`registry`]) stand under one lock, which is written only when a series comes or goes, and
//! the samples ([`samples`]) under another, which is held for the time of one row or of one copy
//! of a few hundred bytes. Locks are taken in this order: registry, samples; never two shards'.

mod blocks;
mod exemplars;
mod histograms;
mod late;
mod numbers;
mod order;
mod pairs;
mod registry;
mod samples;
mod series;
mod snapshot;
mod starts;
mod stream;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use roaring::RoaringBitmap;
use vedette_model::{Exemplar, Labels, TimeRange};

pub use exemplars::{Judgement, compare as compare_exemplars};
pub use late::{LateSample, LateValue};
pub use order::Ordered;
use pairs::PairId;
pub use pairs::PairKey;
use registry::Registry;
pub use samples::{Claims, Rules, Samples, Times};
pub use snapshot::Snapshot;

use crate::{SeriesRef, postings::Postings, wal::Defined};

/// The most shards there may be.
pub const SHARDS_MAX: usize = 64;

/// All series.
#[derive(Debug)]
pub struct Head {
    shards: Vec<Shard>,
}

/// A part of the series.
#[derive(Debug, Default)]
pub struct Shard {
    number: u8,
    registry: RwLock<Registry>,
    /// The samples of the series.
    pub samples: RwLock<Samples>,
}

/// The index of a shard, for as long as it is locked for reading.
pub struct ShardIndex<'a> {
    shard: &'a Shard,
    registry: RwLockReadGuard<'a, Registry>,
}

/// A shard, for as long as it is locked for series that a log defines.
pub struct ShardDefining<'a> {
    number: usize,
    registry: RwLockWriteGuard<'a, Registry>,
    samples: RwLockWriteGuard<'a, Samples>,
    /// Series and labels that may come.
    expected: Option<(usize, usize)>,
}

/// Growing little by little is good enough for fewer.
const MANY_SERIES: usize = 1024;

/// What a reader of a log knows of a shard.
#[derive(Debug, Default)]
pub struct KnownPairs {
    /// Pairs of the shard by the number of their text in the log, or [`NO_PAIR`].
    ids: Vec<PairId>,
    of_series: Vec<PairId>,
    /// The slot that the next series probably has.
    guess: u32,
}

const NO_PAIR: PairId = PairId::MAX;

impl Head {
    pub fn new(shards: usize) -> Self {
        assert!((1..=SHARDS_MAX).contains(&shards), "BUG: {shards} shards");
        let shards = (0..shards).map(|number| Shard { number: number as u8, ..Shard::default() });
        Self { shards: shards.collect() }
    }

    /// The shards, in order of their numbers.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of a series.
    pub fn shard(&self, reference: SeriesRef) -> Option<&Shard> {
        self.shards.get(reference.shard())
    }

    /// The shard in which a series with labels of this hash belongs.
    pub fn shard_of(&self, hash: u64) -> &Shard {
        &self.shards[((u128::from(hash) * self.shards.len() as u128) >> 64) as usize]
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.registry.read().len()).sum()
    }

    /// About how much memory the head takes: series, index, samples.
    pub fn heap_bytes(&self) -> usize {
        self.shards.iter().map(|s| s.registry.read().heap_bytes() + s.samples.read().heap_bytes()).sum()
    }

    /// Number of series that have all of these pairs of name and value; 0 for no pair.
    pub fn count(&self, pairs: &[(&str, &str)]) -> usize {
        let Some((first, others)) = pairs.split_first() else { return 0 };
        let of_shard = |shard: &Shard| {
            let registry = shard.registry.read();
            let id = registry.pairs.find(first.0, first.1)?;
            if others.is_empty() {
                return Some(registry.pairs.series(id).len());
            }
            let mut all = RoaringBitmap::new();
            registry.pairs.series(id).add_to(&mut all);
            for (name, value) in others {
                let id = registry.pairs.find(name, value)?;
                registry.pairs.with_series(id, |series| all &= series);
            }
            Some(all.len() as usize)
        };
        self.shards.iter().filter_map(of_shard).sum()
    }

    /// About how much of the memory is in use: what retired series and sealed samples gave back
    /// is left out, as the next ones take it.
    pub fn used_bytes(&self) -> usize {
        self.shards.iter().map(|s| s.registry.read().used_bytes() + s.samples.read().used_bytes()).sum()
    }

    /// Time of the first sample of a series, late ones included.
    pub fn first_ms(&self, reference: SeriesRef) -> Option<i64> {
        let samples = self.shard(reference)?.samples.read();
        if samples.generation(reference.slot()) != Some(reference.generation()) {
            return None;
        }
        samples.first_ms(reference.slot())
    }

    /// Copies those samples of a series that `range` needs; none when it was retired.
    pub fn snapshot(&self, reference: SeriesRef, range: TimeRange, out: &mut Snapshot) {
        out.clear();
        let Some(shard) = self.shard(reference) else { return };
        let samples = shard.samples.read();
        if samples.generation(reference.slot()) == Some(reference.generation()) {
            samples.snapshot(reference.slot(), range, out);
        }
    }
}

impl Shard {
    /// Its number.
    pub fn number(&self) -> usize {
        usize::from(self.number)
    }

    /// The series with these labels.
    pub fn find(&self, hash: u64, labels: &Labels) -> Option<SeriesRef> {
        let registry = self.registry.read();
        let slot = registry.find(hash, labels)?;
        let generation = self.samples.read().generation(slot)?;
        Some(SeriesRef::new(self.number(), slot, generation))
    }

    /// Makes the series with these labels, which there is not yet.
    pub fn create(&self, hash: u64, labels: &Labels) -> SeriesRef {
        let mut registry = self.registry.write();
        let slot = registry.create(hash, labels);
        let generation = self.samples.write().begin_series(slot);
        SeriesRef::new(self.number(), slot, generation)
    }

    /// Locks the shard for series that a log defines.
    pub fn define(&self) -> ShardDefining<'_> {
        ShardDefining {
            number: self.number(),
            registry: self.registry.write(),
            samples: self.samples.write(),
            expected: None,
        }
    }

    /// Lets the series that logs defined be found by their labels.
    pub fn fill_sets(&self) {
        self.registry.write().fill_sets();
    }

    /// Removes the samples before `boundary_ms`, except late ones. No claim is open.
    pub fn truncate_before(&self, boundary_ms: i64) {
        let registry = self.registry.read();
        for slots in registry.all().iter().collect::<Vec<_>>().chunks(1024) {
            let mut samples = self.samples.write();
            slots.iter().for_each(|&slot| samples.truncate_before(slot, boundary_ms));
        }
    }

    /// Removes the series that are done with. Returns how many.
    pub fn retire(&self) -> usize {
        let mut registry = self.registry.write();
        let mut samples = self.samples.write();
        let done: Vec<u32> = registry.all().iter().filter(|&slot| samples.is_done(slot)).collect();
        for &slot in &done {
            registry.remove(slot);
            // A slot whose generations are used up is never used again.
            if samples.end_series(slot) {
                registry.free_slot(slot);
            }
        }
        done.len()
    }

    /// Lets the slots of series that were retired be used again. In a segment of the log that defines
    /// the old series a damaged definition would give the samples of the new one to the old.
    pub fn reuse_slots(&self) {
        self.registry.write().reuse_slots();
    }

    /// Locks the index for reading.
    pub fn index(&self) -> ShardIndex<'_> {
        ShardIndex { shard: self, registry: self.registry.read() }
    }
}

impl ShardDefining<'_> {
    /// Tells how many series with how many labels come now. If they are many, and the first of them
    /// that is new shows that the others may be, room is made for all at once.
    pub fn expect(&mut self, series: usize, labels: usize) {
        self.expected = (series >= MANY_SERIES).then_some((series, labels));
    }

    /// The series that a log defines, made if there is none. Those made are not found by their
    /// labels until [`Shard::fill_sets`].
    pub fn find_or_create(&mut self, defined: &Defined<'_>, known: &mut KnownPairs) -> SeriesRef {
        let KnownPairs { ids, of_series, guess } = known;
        of_series.clear();
        for &text in defined.pairs {
            let id = &mut ids[text as usize];
            if *id == NO_PAIR {
                let (name, value) = defined.list.text(text as usize);
                *id = self.registry.pairs.obtain(name, value);
            }
            of_series.push(*id);
        }
        let (slot, is_new) = self.registry.define(defined.hash, of_series, *guess);
        // Logs define series in the order of their slots.
        *guess = slot + 1;
        let generation = if is_new {
            if let Some((series, labels)) = self.expected.take() {
                self.registry.reserve(series, labels);
                self.samples.reserve(series);
            }
            self.samples.begin_series(slot)
        } else {
            self.samples.generation(slot).unwrap_or(0)
        };
        SeriesRef::new(self.number, slot, generation)
    }
}

impl KnownPairs {
    /// Makes room for texts with numbers below `end`.
    pub fn reserve(&mut self, end: usize) {
        if self.ids.len() < end {
            self.ids.resize(end, NO_PAIR);
        }
    }
}

impl ShardIndex<'_> {
    /// The reference of a series of this shard.
    pub fn reference(&self, slot: u32) -> SeriesRef {
        let generation = self.shard.samples.read().generation(slot).unwrap_or(0);
        SeriesRef::new(self.shard.number(), slot, generation)
    }

    /// Grows with every series that is made or removed.
    pub fn changes(&self) -> u64 {
        self.registry.changes()
    }

    /// All slots in use.
    pub fn slots(&self) -> &RoaringBitmap {
        self.registry.all()
    }

    /// Labels of a series.
    pub fn labels(&self, slot: u32) -> Labels {
        self.registry.labels(slot)
    }

    /// A series as logs define it: the hash of its labels, and each label with what names it there.
    pub fn definition(&self, slot: u32) -> (u64, impl ExactSizeIterator<Item = (PairKey, (&str, &str))>) {
        let pairs = &self.registry.pairs;
        let labels = self.registry.pairs_of(slot).iter().map(|&id| (pairs.key(id), pairs.text(id)));
        (self.registry.hash(slot), labels)
    }

    /// Hands on every label name, in no order.
    pub fn names(&self, each: &mut dyn FnMut(&str)) {
        self.registry.pairs.names(each);
    }

    /// Hands on every value of a label with its series, in no order.
    pub fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        let pairs = &self.registry.pairs;
        for id in pairs.of_name(name) {
            pairs.with_series(id, |series| each(pairs.text(id).1, series));
        }
    }

    /// Appends the exemplars of a series in `range`, in order.
    pub fn exemplars(&self, slot: u32, range: TimeRange, out: &mut Vec<Exemplar>) {
        self.shard.samples.read().exemplars.copy(slot, range, out);
    }

    /// The numbers of those of `numbers` that may have samples in `range`.
    pub fn overlapping(&self, numbers: RoaringBitmap, range: TimeRange) -> RoaringBitmap {
        let samples = self.shard.samples.read();
        RoaringBitmap::from_sorted_iter(numbers.iter().filter(|&slot| samples.overlaps(slot, range)))
            .unwrap_or(numbers)
    }
}

impl Postings for ShardIndex<'_> {
    fn all(&self) -> RoaringBitmap {
        self.registry.all().clone()
    }

    fn with_value(&self, name: &str, value: &str, out: &mut RoaringBitmap) {
        let pairs = &self.registry.pairs;
        if let Some(id) = pairs.find(name, value) {
            pairs.series(id).add_to(out);
        }
    }

    fn with_values(&self, name: &str, wanted: &dyn Fn(&str) -> bool, out: &mut RoaringBitmap) {
        let pairs = &self.registry.pairs;
        for id in pairs.of_name(name) {
            if wanted(pairs.text(id).1) {
                pairs.series(id).add_to(out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
