//! The head: all series that take samples, with those samples that are not sealed yet.
//!
//! One registry under a lock that is written only when a series comes or goes; samples of each
//! series under a lock of its own, so that appending and reading meet for the time of one
//! sample or one copy of a few hundred bytes only.

mod series;
mod symbols;

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use roaring::RoaringBitmap;
use vedette_model::{Labels, TimeRange};

pub use series::{Claim, SeriesData, Snapshot};
use symbols::{Symbol, Symbols};

use crate::{SeriesRef, postings::Postings};

/// One series.
#[derive(Debug)]
pub struct Series {
    /// Its number for as long as it is in the head.
    pub reference: SeriesRef,
    /// Hash of its labels.
    pub hash: u64,
    labels: Box<[(Symbol, Symbol)]>,
    /// Its samples.
    pub data: Mutex<SeriesData>,
}

/// All series.
#[derive(Debug, Default)]
pub struct Head {
    registry: RwLock<Registry>,
}

/// The index of the head, for as long as it is locked for reading.
pub struct HeadIndex<'a>(RwLockReadGuard<'a, Registry>);

#[derive(Debug, Default)]
struct Registry {
    symbols: Symbols,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_hash: HashMap<u64, u32>,
    /// Series whose hash another series had first. Practically always empty.
    collided: Vec<u32>,
    postings: HashMap<Symbol, HashMap<Symbol, RoaringBitmap>>,
    all: RoaringBitmap,
}

#[derive(Debug, Default)]
struct Slot {
    /// Grows when the slot gets another series, so that an old reference does not find it.
    generation: u32,
    series: Option<Arc<Series>>,
}

impl Head {
    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<SeriesRef> {
        self.registry.read().find(labels.stable_hash(), labels).map(|s| s.reference)
    }

    /// The series with these labels, made if there is none and fewer than `series_max` are there.
    /// Says whether it was made.
    pub fn find_or_create(&self, labels: &Labels, series_max: usize) -> Option<(SeriesRef, bool)> {
        let hash = labels.stable_hash();
        let mut registry = self.registry.write();
        if let Some(series) = registry.find(hash, labels) {
            return Some((series.reference, false));
        }
        (registry.by_hash.len() + registry.collided.len() < series_max)
            .then(|| (registry.create(hash, labels), true))
    }

    /// Removes series of which `retire` says yes. Returns how many.
    pub fn retire(&self, retire: impl Fn(&Series, &mut SeriesData) -> bool) -> usize {
        let mut registry = self.registry.write();
        let gone: Vec<u32> = registry
            .slots
            .iter()
            .zip(0u32..)
            .filter(|(slot, _)| slot.series.as_ref().is_some_and(|s| retire(s, &mut s.data.lock())))
            .map(|(_, number)| number)
            .collect();
        for &number in &gone {
            registry.remove(number);
        }
        gone.len()
    }

    /// Locks the index for reading.
    pub fn index(&self) -> HeadIndex<'_> {
        HeadIndex(self.registry.read())
    }
}

impl HeadIndex<'_> {
    /// The series of a reference, unless it was retired.
    pub fn get(&self, reference: SeriesRef) -> Option<&Arc<Series>> {
        let slot = self.0.slots.get(reference.slot() as usize)?;
        (slot.generation == reference.generation()).then_some(slot.series.as_ref()).flatten()
    }

    /// All series.
    pub fn series(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.0.slots.iter().filter_map(|s| s.series.as_ref())
    }

    /// The series with these numbers, as given by [`crate::postings::select`].
    pub fn numbered<'a>(&'a self, numbers: &'a RoaringBitmap) -> impl Iterator<Item = &'a Arc<Series>> {
        numbers.iter().filter_map(|n| self.0.slots[n as usize].series.as_ref())
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.0.by_hash.len() + self.0.collided.len()
    }

    /// Labels of a series of this head.
    pub fn labels(&self, series: &Series) -> Labels {
        let text = |s| self.0.symbols.text(s);
        Labels::from_sorted(series.labels.iter().map(|&(n, v)| (text(n), text(v))))
    }

    /// Whether a series of this head has these labels.
    pub fn has_labels(&self, series: &Series, labels: &Labels) -> bool {
        self.0.has_labels(series, labels)
    }

    /// Hands on every label name, in no order.
    pub fn names(&self, each: &mut dyn FnMut(&str)) {
        self.0.postings.keys().for_each(|&n| each(self.0.symbols.text(n)));
    }

    /// Hands on every value of a label with its series, in no order.
    pub fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        let values = self.0.symbols.find(name).and_then(|n| self.0.postings.get(&n));
        for (&value, numbers) in values.into_iter().flatten() {
            each(self.0.symbols.text(value), numbers);
        }
    }

    /// The numbers of those of `numbers` that may have samples in `range`.
    pub fn overlapping(&self, numbers: RoaringBitmap, range: TimeRange) -> RoaringBitmap {
        let has = |n: &u32| {
            self.0.slots[*n as usize].series.as_ref().is_some_and(|s| s.data.lock().overlaps(range))
        };
        RoaringBitmap::from_sorted_iter(numbers.iter().filter(has)).unwrap_or(numbers)
    }

    /// About how much memory the head takes: series, index, samples.
    pub fn heap_bytes(&self) -> usize {
        let registry = &*self.0;
        let series: usize = self
            .series()
            .map(|s| size_of::<Series>() + 16 + size_of_val(&*s.labels) + s.data.lock().heap_bytes())
            .sum();
        let postings: usize = registry
            .postings
            .values()
            .flatten()
            .map(|(_, b)| size_of::<(Symbol, RoaringBitmap)>() + b.serialized_size() + 48)
            .sum();
        series
            + postings
            + registry.symbols.heap_bytes()
            + registry.slots.capacity() * size_of::<Slot>()
            + registry.by_hash.capacity() * 17
    }
}

impl Postings for HeadIndex<'_> {
    fn all(&self) -> RoaringBitmap {
        self.0.all.clone()
    }

    fn with_value(&self, name: &str, value: &str, out: &mut RoaringBitmap) {
        let registry = &*self.0;
        let find = || {
            let values = registry.postings.get(&registry.symbols.find(name)?)?;
            values.get(&registry.symbols.find(value)?)
        };
        if let Some(numbers) = find() {
            *out |= numbers;
        }
    }

    fn with_values(&self, name: &str, wanted: &dyn Fn(&str) -> bool, out: &mut RoaringBitmap) {
        self.values(name, &mut |value, numbers| {
            if wanted(value) {
                *out |= numbers;
            }
        });
    }
}

impl Registry {
    fn find(&self, hash: u64, labels: &Labels) -> Option<&Arc<Series>> {
        let series = |n: u32| self.slots[n as usize].series.as_ref().filter(|s| self.has_labels(s, labels));
        self.by_hash
            .get(&hash)
            .and_then(|&n| series(n))
            .or_else(|| self.collided.iter().find_map(|&n| series(n)))
    }

    fn has_labels(&self, series: &Series, labels: &Labels) -> bool {
        let text = |s| self.symbols.text(s);
        series.labels.iter().map(|&(n, v)| (text(n), text(v))).eq(labels.iter())
    }

    fn create(&mut self, hash: u64, labels: &Labels) -> SeriesRef {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("BUG: the series limit is below 2^32")
        });
        let pairs: Box<[_]> =
            labels.iter().map(|(n, v)| (self.symbols.take(n), self.symbols.take(v))).collect();
        for &(name, value) in &pairs {
            self.postings.entry(name).or_default().entry(value).or_default().insert(number);
        }
        self.all.insert(number);
        match self.by_hash.entry(hash) {
            std::collections::hash_map::Entry::Vacant(place) => drop(place.insert(number)),
            std::collections::hash_map::Entry::Occupied(_) => self.collided.push(number),
        }
        let slot = &mut self.slots[number as usize];
        let reference = SeriesRef::new(number, slot.generation);
        slot.series = Some(Arc::new(Series { reference, hash, labels: pairs, data: Mutex::default() }));
        reference
    }

    fn remove(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        let Some(series) = slot.series.take() else { return };
        // A slot whose generations are used up is never used again.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push(number);
        }
        if self.by_hash.get(&series.hash) == Some(&number) {
            self.by_hash.remove(&series.hash);
        } else {
            self.collided.retain(|&n| n != number);
        }
        self.all.remove(number);
        for &(name, value) in &series.labels {
            if let Some(values) = self.postings.get_mut(&name) {
                if let Some(numbers) = values.get_mut(&value) {
                    numbers.remove(number);
                    if numbers.is_empty() {
                        values.remove(&value);
                    }
                }
                if values.is_empty() {
                    self.postings.remove(&name);
                }
            }
            self.symbols.release(name);
            self.symbols.release(value);
        }
    }
}

#[cfg(test)]
mod tests;
