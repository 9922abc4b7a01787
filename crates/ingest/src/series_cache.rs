//! From the bytes in which a sender writes a series' labels to the store's number for the series.
//!
//! The bytes are not kept, only 120 bits of their hash: two series that are mistaken for each other
//! are not to be expected within the life of a machine, and nobody can look for such a pair, as
//! the hash has a key that every process draws anew.
//!
//! One table with open addressing, 24 bytes a place, three quarters to seven eighths full. When it
//! is full, series that were silent for some time are left out of the next one, so it grows with
//! the series in use and not with those that ever were.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use vedette_sys::Random;
use vedette_tsdb::SeriesRef;
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Ages are told in steps of this length.
const AGE_STEP_MS: i64 = 10 * 60_000;
/// A series that was silent for longer than so many steps makes room for others.
const AGE_STEPS_MAX: u8 = 3;
const PLACES_MIN: usize = 1024;

const EMPTY: u64 = u64::MAX;
const AGE_MASK: u64 = 0xff;

/// The hash of a series' labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    low: u64,
    /// Without its lowest byte.
    high: u64,
}

/// The series that are known.
pub struct SeriesCache {
    secret: [u8; 192],
    entries_max: usize,
    table: RwLock<Table>,
}

/// A reader of the cache: it sees one state, and nobody changes it meanwhile.
pub struct Lookup<'a> {
    table: parking_lot::RwLockReadGuard<'a, Table>,
    age: u64,
}

struct Table {
    places: Vec<Place>,
    entries: usize,
}

struct Place {
    low: u64,
    /// Of the key, and in the lowest byte the step of time in which it was last looked up.
    high_and_age: AtomicU64,
    reference: u64,
}

impl SeriesCache {
    pub fn new(entries_max: usize) -> Self {
        let mut random = Random::from_system();
        let mut secret = [0; 192];
        for word in secret.as_chunks_mut::<8>().0 {
            *word = random.next_u64().to_le_bytes();
        }
        Self { secret, entries_max: entries_max.max(PLACES_MIN), table: RwLock::new(Table::new(0)) }
    }

    #[inline]
    pub fn key(&self, label_bytes: &[u8]) -> Key {
        let hash = xxh3_128_with_secret(label_bytes, &self.secret);
        Key { low: hash as u64, high: (hash >> 64) as u64 & !AGE_MASK }
    }

    /// The hash of a part of what names series; only this process knows it.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u128 {
        xxh3_128_with_secret(bytes, &self.secret)
    }

    pub fn read(&self, now_ms: i64) -> Lookup<'_> {
        Lookup { table: self.table.read(), age: age(now_ms) }
    }

    /// Adds series, or renews those that are there. Gives how many others were forgotten.
    pub fn insert(&self, now_ms: i64, series: impl Iterator<Item = (Key, SeriesRef)>) -> usize {
        let mut table = self.table.write();
        let mut forgotten = 0;
        for (key, reference) in series {
            if (table.entries + 1) * 8 > table.places.len() * 7 {
                forgotten += table.make_room(age(now_ms), self.entries_max);
            }
            table.put(key.low, key.high | age(now_ms), reference.0);
        }
        forgotten
    }

    pub fn len(&self) -> usize {
        self.table.read().entries
    }

    pub fn heap_bytes(&self) -> usize {
        self.table.read().places.capacity() * size_of::<Place>()
    }
}

impl Lookup<'_> {
    #[inline]
    pub fn find(&self, key: Key) -> Option<SeriesRef> {
        let places = &self.table.places;
        if places.is_empty() {
            return None;
        }
        let mut at = first(key.low, places.len());
        loop {
            let place = &places[at];
            if place.reference == EMPTY {
                return None;
            }
            if place.low == key.low {
                let high_and_age = place.high_and_age.load(Ordering::Relaxed);
                if (high_and_age ^ key.high) & !AGE_MASK == 0 {
                    if high_and_age & AGE_MASK != self.age {
                        place.high_and_age.store(key.high | self.age, Ordering::Relaxed);
                    }
                    return Some(SeriesRef(place.reference));
                }
            }
            at = if at + 1 == places.len() { 0 } else { at + 1 };
        }
    }
}

impl Table {
    fn new(places: usize) -> Self {
        let empty = || Place { low: 0, high_and_age: AtomicU64::new(0), reference: EMPTY };
        Self { places: std::iter::repeat_with(empty).take(places).collect(), entries: 0 }
    }

    /// Needs a free place.
    fn put(&mut self, low: u64, high_and_age: u64, reference: u64) {
        let mut at = first(low, self.places.len());
        loop {
            let place = &mut self.places[at];
            let is_free = place.reference == EMPTY;
            let same = |place: &mut Place| {
                place.low == low && (*place.high_and_age.get_mut() ^ high_and_age) & !AGE_MASK == 0
            };
            if is_free || same(place) {
                *place = Place { low, high_and_age: AtomicU64::new(high_and_age), reference };
                self.entries += usize::from(is_free);
                return;
            }
            at = if at + 1 == self.places.len() { 0 } else { at + 1 };
        }
    }

    /// Puts a table in place that has room: without the series that were silent, and without all
    /// when the others alone are too many. Gives how many were left out.
    fn make_room(&mut self, age: u64, entries_max: usize) -> usize {
        let is_kept = |place: &mut Place| {
            let silent = (age as u8).wrapping_sub(*place.high_and_age.get_mut() as u8);
            place.reference != EMPTY && silent <= AGE_STEPS_MAX
        };
        let kept = self.places.iter_mut().filter_map(|p| is_kept(p).then_some(())).count();
        let kept = if kept < entries_max { kept } else { 0 };
        let forgotten = self.entries - kept;
        let places = ((kept + 1) * 4 / 3).clamp(PLACES_MIN, entries_max.saturating_mul(8) / 7 + 8);
        let old = std::mem::replace(self, Self::new(places));
        if kept > 0 {
            for mut place in old.places {
                if is_kept(&mut place) {
                    self.put(place.low, place.high_and_age.into_inner(), place.reference);
                }
            }
        }
        forgotten
    }
}

/// The place at which the search for a hash begins: the hash as a fraction of the table.
#[inline]
fn first(hash: u64, places: usize) -> usize {
    ((u128::from(hash) * places as u128) >> 64) as usize
}

/// The step of time, modulo 256: what was silent for two days may look fresh, which costs memory
/// only.
fn age(now_ms: i64) -> u64 {
    now_ms.div_euclid(AGE_STEP_MS) as u64 & AGE_MASK
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn known(cache: &SeriesCache, now_ms: i64, name: u32) -> Option<u64> {
        cache.read(now_ms).find(cache.key(&name.to_le_bytes())).map(|r| r.0)
    }

    fn insert(cache: &SeriesCache, now_ms: i64, names: impl Iterator<Item = (u32, u64)>) -> usize {
        let series = names.map(|(name, r)| (cache.key(&name.to_le_bytes()), SeriesRef(r)));
        cache.insert(now_ms, series)
    }

    proptest! {
        #[test]
        fn finds_what_a_map_finds(steps in prop::collection::vec((0..5000_u32, any::<u32>()), 0..3000)) {
            let cache = SeriesCache::new(100_000);
            let mut model = HashMap::new();
            for part in steps.chunks(700) {
                insert(&cache, 0, part.iter().map(|(n, r)| (*n, u64::from(*r))));
                model.extend(part.iter().map(|(n, r)| (*n, u64::from(*r))));
            }
            prop_assert_eq!(cache.len(), model.len());
            for name in 0..5000 {
                prop_assert_eq!(known(&cache, 0, name), model.get(&name).copied());
            }
        }
    }

    #[test]
    fn a_series_takes_at_most_32_bytes() {
        let cache = SeriesCache::new(1 << 20);
        for start in (0..50_000).step_by(500) {
            insert(&cache, 0, (start..start + 500).map(|n| (n, 1)));
            let per_series = cache.heap_bytes() as f64 / cache.len() as f64;
            assert!(per_series <= 32.1 || cache.len() < 1000, "{per_series} at {}", cache.len());
        }
    }

    #[test]
    fn silent_series_make_room_and_those_in_use_stay() {
        let cache = SeriesCache::new(1 << 20);
        let hour = |n: i64| n * 3_600_000;
        insert(&cache, hour(0), (0..3000).map(|n| (n, u64::from(n))));
        for n in 0..1000 {
            assert_eq!(known(&cache, hour(1), n), Some(u64::from(n)));
        }
        let forgotten = insert(&cache, hour(1), (3000..6000).map(|n| (n, u64::from(n))));
        assert_eq!(forgotten, 2000);
        assert_eq!(cache.len(), 4000);
        assert!((0..1000).chain(3000..6000).all(|n| known(&cache, hour(1), n) == Some(u64::from(n))));
        assert!((1000..3000).all(|n| known(&cache, hour(1), n).is_none()));
    }

    #[test]
    fn the_limit_holds() {
        let cache = SeriesCache::new(2000);
        for start in (0..100_000).step_by(100) {
            insert(&cache, 0, (start..start + 100).map(|n| (n, 7)));
            assert!(cache.len() <= 2010, "{}", cache.len());
            assert_eq!(known(&cache, 0, start + 99), Some(7));
        }
        assert!(cache.heap_bytes() < 100_000);
    }
}
