//! The series of one target, from scrape to scrape.
//!
//! An answer mostly has the lines of the one before, in the same order. So the cache says what it
//! expects next, and a line that is it costs one comparison of bytes; any other line is found by
//! the hash of its bytes; only a line that was never seen must be read. What was there in the
//! scrape before and is not in this one has ended: the cache names it, once.

use hashbrown::HashTable;
use vedette_model::MetricKind;
use xxhash_rust::xxh3::xxh3_64;

/// Scrapes for which a series that is gone is remembered, as it may come back.
const REMEMBERED_SCRAPES: u64 = 10;

/// Series by the bytes that name them, each with a value of the owner's, such as its number.
#[derive(Debug)]
pub struct SeriesCache<T> {
    entries: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    /// Which entries came in the scrape before, in order, and which in this one.
    before: Vec<u32>,
    now: Vec<u32>,
    /// The place in `before` that is expected next.
    place: usize,
    scrape: u64,
    /// Entries that were added in this scrape.
    added: Vec<u32>,
    /// Whether the series asked for last was in this scrape before.
    is_repeated: bool,
    /// Whether the series asked for last was missing in the last scrape that succeeded.
    is_back: bool,
    last_success: u64,
    /// Whether the last scrape brought the series of the one before, in their order.
    is_same_order: bool,
    /// How many scrapes since then brought the same page.
    passed: u64,
}

#[derive(Debug)]
struct Entry<T> {
    bytes: Box<[u8]>,
    kind: MetricKind,
    hash: u64,
    value: T,
    /// The last scrape that it was in.
    seen: u64,
    /// Whether it is named when it is gone.
    ends: bool,
}

impl<T> Default for SeriesCache<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            before: Vec::new(),
            now: Vec::new(),
            place: 0,
            // So that nothing was seen in the scrape before the first.
            scrape: REMEMBERED_SCRAPES,
            added: Vec::new(),
            is_repeated: false,
            is_back: false,
            last_success: 0,
            is_same_order: false,
            passed: 0,
        }
    }
}

impl<T: Copy> SeriesCache<T> {
    /// Begins a scrape.
    pub fn begin(&mut self) {
        self.scrape += 1;
        self.place = 0;
        self.now.clear();
        self.added.clear();
    }

    /// The bytes of the series that came next in the scrape before, or nothing.
    #[inline]
    pub fn expected(&self) -> &[u8] {
        self.before.get(self.place).and_then(|i| self.entry(*i)).map_or(&[], |entry| &*entry.bytes)
    }

    /// The value of a series that is known, which counts as there. `ends` tells whether the series ends
    /// when it is gone: with times of the target's own it need not.
    #[inline]
    pub fn get(&mut self, bytes: &[u8], kind: MetricKind, ends: bool) -> Option<T> {
        let expected = self.before.get(self.place).copied();
        let fits = |entry: &Entry<T>| entry.kind == kind && *entry.bytes == *bytes;
        if let Some(i) = expected
            && self.entry(i).is_some_and(fits)
        {
            self.place += 1;
            return Some(self.see(i, ends));
        }
        let hash = hash(bytes, kind);
        let entries = &self.entries;
        let i = *self.index.find(hash, |i| entries[*i as usize].as_ref().is_some_and(fits))?;
        // The order has changed: go on behind the series, if it was there.
        if let Some(offset) =
            self.before.get(self.place..).and_then(|rest| rest.iter().take(64).position(|b| *b == i))
        {
            self.place += offset + 1;
        }
        Some(self.see(i, ends))
    }

    /// Adds a series that was not known; it counts as there.
    pub fn insert(&mut self, bytes: &[u8], kind: MetricKind, value: T, ends: bool) {
        let hash = hash(bytes, kind);
        let entry = Entry { bytes: bytes.into(), kind, hash, value, seen: 0, ends };
        let i = match self.free.pop() {
            Some(i) => {
                self.entries[i as usize] = Some(entry);
                i
            }
            None => {
                self.entries.push(Some(entry));
                u32::try_from(self.entries.len() - 1).expect("BUG: a target has fewer than 2^32 series")
            }
        };
        let entries = &self.entries;
        self.index.insert_unique(hash, i, |i| entries[*i as usize].as_ref().map_or(0, |e| e.hash));
        self.added.push(i);
        self.see(i, ends);
    }

    /// Whether the series that was asked for or added last was in this scrape before.
    #[inline]
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Whether the series that was asked for last was missing in the last scrape that succeeded.
    #[inline]
    pub fn is_back(&self) -> bool {
        self.is_back
    }

    /// The values of all series that are known, those that are gone included.
    pub fn values(&self) -> impl Iterator<Item = T> {
        self.entries.iter().flatten().map(|entry| entry.value)
    }

    /// Ends a scrape that succeeded. Names the series that were in the one before and are `gone`, and
    /// those that were gone for so long that they are `forgotten`.
    pub fn end(&mut self, mut gone: impl FnMut(T), forgotten: impl FnMut(T)) {
        for i in &self.before {
            if let Some(entry) = self.entries[*i as usize].as_ref()
                && entry.seen != self.scrape
                && entry.ends
            {
                gone(entry.value);
            }
        }
        self.is_same_order = !self.before.is_empty() && self.before == self.now;
        self.passed = 0;
        std::mem::swap(&mut self.before, &mut self.now);
        self.last_success = self.scrape;
        self.forget(forgotten);
    }

    /// Ends a scrape of which nothing was asked here, as its answer had all series of the one before, once
    /// each and in their order. Names what was gone for so long that it is `forgotten`.
    pub fn end_same(&mut self, mut forgotten: impl FnMut(T)) {
        // As if it had not been: what came in the scrape before came last.
        self.scrape -= 1;
        self.passed += 1;
        if self.passed == REMEMBERED_SCRAPES && self.index.len() != self.before.len() {
            self.remove_where(|entry, scrape| entry.seen != scrape, &mut forgotten);
        }
    }

    /// Whether the last scrape brought the series of the one before, in their order.
    pub fn is_same_order(&self) -> bool {
        self.is_same_order
    }

    /// The values of the series of the last scrape that succeeded, in their order.
    pub fn current(&self) -> impl ExactSizeIterator<Item = T> {
        let value =
            |i: &u32| self.entry(*i).expect("BUG: series of the scrape before are not forgotten").value;
        self.before.iter().map(value)
    }

    /// Ends a scrape that failed: whatever it brought does not count and is forgotten, and all series
    /// of the one before are gone.
    pub fn fail(&mut self, mut gone: impl FnMut(T), mut forgotten: impl FnMut(T)) {
        for i in self.before.drain(..) {
            if let Some(entry) = self.entries[i as usize].as_ref().filter(|entry| entry.ends) {
                gone(entry.value);
            }
        }
        self.is_same_order = false;
        self.passed = 0;
        self.now.clear();
        for i in std::mem::take(&mut self.added) {
            self.remove(i, &mut forgotten);
        }
        self.forget(forgotten);
    }

    /// Number of series that are known, those that are gone included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no series is known.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn entry(&self, i: u32) -> Option<&Entry<T>> {
        self.entries[i as usize].as_ref()
    }

    fn see(&mut self, i: u32, ends: bool) -> T {
        let entry = self.entries[i as usize].as_mut().expect("BUG: the index names entries that are there");
        entry.ends = ends;
        // A line that is there twice counts once.
        self.is_repeated = entry.seen == self.scrape;
        self.is_back = entry.seen < self.last_success;
        if !self.is_repeated {
            entry.seen = self.scrape;
            self.now.push(i);
        }
        entry.value
    }

    fn remove(&mut self, i: u32, forgotten: &mut impl FnMut(T)) {
        let Some(entry) = self.entries[i as usize].take() else { return };
        if let Ok(found) = self.index.find_entry(entry.hash, |other| *other == i) {
            found.remove();
        }
        self.free.push(i);
        forgotten(entry.value);
    }

    /// Now and then removes what has been gone for long.
    fn forget(&mut self, mut forgotten: impl FnMut(T)) {
        if !self.scrape.is_multiple_of(REMEMBERED_SCRAPES) || self.index.len() == self.before.len() {
            return;
        }
        self.remove_where(|entry, scrape| entry.seen + REMEMBERED_SCRAPES <= scrape, &mut forgotten);
    }

    fn remove_where(&mut self, is_old: impl Fn(&Entry<T>, u64) -> bool, forgotten: &mut impl FnMut(T)) {
        for i in 0..self.entries.len() {
            if self.entries[i].as_ref().is_some_and(|entry| is_old(entry, self.scrape)) {
                let i = u32::try_from(i).expect("BUG: a target has fewer than 2^32 series");
                self.remove(i, forgotten);
            }
        }
    }
}

fn hash(bytes: &[u8], kind: MetricKind) -> u64 {
    // Few families change their type, so the type need not spread well.
    xxh3_64(bytes) ^ kind as u64
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const KIND: MetricKind = MetricKind::Gauge;

    fn scrape(cache: &mut SeriesCache<u32>, names: &[&str]) -> (Vec<Option<u32>>, Vec<u32>) {
        let (mut found, mut gone) = (Vec::new(), Vec::new());
        cache.begin();
        for (i, name) in names.iter().enumerate() {
            let known = cache.get(name.as_bytes(), KIND, true);
            if known.is_none() {
                cache.insert(name.as_bytes(), KIND, i as u32, true);
            }
            found.push(known);
        }
        cache.end(|value| gone.push(value), |_| {});
        (found, gone)
    }

    #[test]
    fn series_are_known_again_and_end_once() {
        let mut cache = SeriesCache::default();
        assert_eq!(scrape(&mut cache, &["a", "b", "c"]), (vec![None; 3], vec![]));
        assert_eq!(scrape(&mut cache, &["a", "c"]), (vec![Some(0), Some(2)], vec![1]));
        assert_eq!(scrape(&mut cache, &["c", "a"]), (vec![Some(2), Some(0)], vec![]));
        assert_eq!(scrape(&mut cache, &["b", "a", "c"]), (vec![Some(1), Some(0), Some(2)], vec![]));
        // A failed scrape ends all, and they come back as they were.
        let mut gone = Vec::new();
        cache.begin();
        cache.get(b"a", KIND, true);
        cache.fail(|value| gone.push(value), |_| {});
        assert_eq!(gone, [1, 0, 2]);
        cache.begin();
        cache.fail(|_| panic!("ended already"), |_| {});
        assert_eq!(scrape(&mut cache, &["a"]), (vec![Some(0)], vec![]));
    }

    #[test]
    fn series_with_times_of_their_own_need_not_end() {
        let mut cache = SeriesCache::default();
        cache.begin();
        cache.insert(b"a", KIND, 1, false);
        cache.insert(b"b", KIND, 2, true);
        cache.end(|_| panic!("nothing ends"), |_| {});
        let mut gone = Vec::new();
        cache.begin();
        cache.end(|value| gone.push(value), |_| {});
        assert_eq!(gone, [2]);
    }

    #[test]
    fn another_type_is_another_line() {
        let mut cache = SeriesCache::default();
        cache.begin();
        cache.insert(b"a", MetricKind::Histogram, 1, true);
        cache.end(|_| {}, |_| {});
        cache.begin();
        assert_eq!(cache.get(b"a", MetricKind::Gauge, true), None);
        assert_eq!(cache.get(b"a", MetricKind::Histogram, true), Some(1));
    }

    #[test]
    fn what_is_expected_is_told_and_what_is_old_forgotten() {
        let mut cache = SeriesCache::default();
        scrape(&mut cache, &["a", "b"]);
        cache.begin();
        assert_eq!(cache.expected(), b"a");
        cache.get(b"a", KIND, true);
        assert_eq!(cache.expected(), b"b");
        cache.end(|_| {}, |_| {});
        for i in 0..200 {
            scrape(&mut cache, &["a", &format!("churn-{i}")]);
        }
        assert!(cache.len() < 3 * REMEMBERED_SCRAPES as usize, "{}", cache.len());
    }

    #[test]
    fn the_parser_takes_what_is_expected() {
        use vedette_wire::exposition::{Dialect, Entry, TextParser};
        let body = b"a 1\na{b=\"c\"} 2\nd{e=\"f\"} 3\n";
        let mut cache = SeriesCache::default();
        for round in 0..3_u32 {
            cache.begin();
            let mut parser = TextParser::new(body, Dialect::Text);
            let mut values = Vec::new();
            while let Some(entry) = parser.next_expecting(cache.expected()) {
                let Entry::Sample(sample) = entry.expect("sound") else { panic!("no sample") };
                let (bytes, kind) = (sample.series.bytes(), sample.series.kind());
                match cache.get(bytes, kind, true) {
                    Some(number) => assert_eq!((round > 0, number), (true, values.len() as u32)),
                    None => cache.insert(bytes, kind, values.len() as u32, true),
                }
                values.push(sample.value);
            }
            cache.end(|_| panic!("nothing ends"), |_| {});
            assert_eq!((values, cache.len()), (vec![1.0, 2.0, 3.0], 3));
        }
    }

    proptest! {
        /// Against a map of what was in the scrape before.
        #[test]
        fn behaves_like_a_map(
            scrapes in proptest::collection::vec((proptest::collection::vec(0..12u32, 0..12), 0..5u8), 0..40),
        ) {
            let mut cache = SeriesCache::default();
            let mut numbers: BTreeMap<u32, u32> = BTreeMap::new();
            let mut before: BTreeSet<u32> = BTreeSet::new();
            let mut next = 0;
            let mut order: Option<Vec<u32>> = None;
            for (names, outcome) in scrapes {
                cache.begin();
                if let Some(order) = order.as_ref().filter(|_| outcome == 1) {
                    let mut forgotten = BTreeSet::new();
                    cache.end_same(|number| _ = forgotten.insert(number));
                    numbers.retain(|_, number| !forgotten.contains(number));
                    let known: BTreeSet<u32> = cache.values().collect();
                    prop_assert_eq!(known, numbers.values().copied().collect::<BTreeSet<u32>>());
                    let expected: Vec<u32> = order.iter().map(|name| numbers[name]).collect();
                    prop_assert_eq!(cache.current().collect::<Vec<u32>>(), expected);
                    continue;
                }
                for name in &names {
                    let bytes = name.to_string();
                    match cache.get(bytes.as_bytes(), KIND, true) {
                        Some(number) => prop_assert_eq!(numbers.get(name), Some(&number)),
                        None => {
                            cache.insert(bytes.as_bytes(), KIND, next, true);
                            numbers.insert(*name, next);
                            next += 1;
                        }
                    }
                }
                let now: BTreeSet<u32> = names.iter().copied().collect();
                let mut gone = BTreeSet::new();
                let mut forgotten = BTreeSet::new();
                let mut forget = |number| _ = forgotten.insert(number);
                let expected: BTreeSet<u32> = if outcome == 0 {
                    cache.fail(|number| _ = gone.insert(number), &mut forget);
                    order = None;
                    std::mem::take(&mut before).iter().map(|n| numbers[n]).collect()
                } else {
                    cache.end(|number| _ = gone.insert(number), &mut forget);
                    let gone = before.difference(&now).map(|n| numbers[n]).collect();
                    before = now;
                    let mut once = Vec::new();
                    names.iter().for_each(|name| if !once.contains(name) { once.push(*name) });
                    prop_assert_eq!(cache.is_same_order(), !once.is_empty() && order.as_ref() == Some(&once));
                    order = Some(once);
                    gone
                };
                prop_assert_eq!(gone, expected);
                numbers.retain(|_, number| !forgotten.contains(number));
                let known: BTreeSet<u32> = cache.values().collect();
                prop_assert_eq!(known, numbers.values().copied().collect::<BTreeSet<u32>>());
            }
        }
    }
}
