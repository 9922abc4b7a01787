//! The labels in use: each pair of name and value is kept once, with the numbers of the series
//! that have it, and forgotten with the last of them.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use roaring::RoaringBitmap;

use super::numbers::Numbers;

/// Number of a pair.
pub type PairId = u32;

#[derive(Debug)]
struct Pair {
    value: Box<str>,
    name: u32,
    /// Its place in the list of its name.
    place: u32,
    hash: u64,
    /// Tells it from others that had its number before.
    serial: u32,
    series: Numbers,
}

/// What names a pair in the log, for as long as the pair is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairKey {
    pub id: PairId,
    pub serial: u32,
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    pairs: Vec<PairId>,
}

/// All pairs of a shard.
#[derive(Debug, Default)]
pub struct Pairs {
    pairs: Vec<Option<Pair>>,
    free: Vec<PairId>,
    table: HashTable<PairId>,
    names: Vec<Option<Name>>,
    name_table: HashTable<u32>,
    free_names: Vec<u32>,
    hasher: DefaultHashBuilder,
    /// Pairs made so far.
    serials: u32,
    /// Bytes of text.
    text_bytes: usize,
}

impl Pairs {
    /// The pair of a name and a value, if it is in use.
    pub fn find(&self, name: &str, value: &str) -> Option<PairId> {
        self.find_hashed(self.hash(name, value), name, value)
    }

    /// Adds a series to a pair, which is made if it is not in use.
    pub fn add(&mut self, name: &str, value: &str, series: u32) -> PairId {
        let hash = self.hash(name, value);
        let id = self.find_hashed(hash, name, value).unwrap_or_else(|| self.create(hash, name, value));
        self.add_to(id, series);
        id
    }

    /// The pair of a name and a value, which is made if it is not in use: a series has it, and is
    /// added later.
    pub fn obtain(&mut self, name: &str, value: &str) -> PairId {
        let hash = self.hash(name, value);
        self.find_hashed(hash, name, value).unwrap_or_else(|| self.create(hash, name, value))
    }

    /// Adds a series to a pair in use.
    fn add_to(&mut self, id: PairId, series: u32) {
        let pair = self.pairs[id as usize].as_mut().expect("BUG: a pair found that is free");
        pair.series.insert(series);
    }

    /// Adds series in order to a pair in use.
    pub fn add_sorted(&mut self, id: PairId, series: &[u32]) {
        let pair = self.pairs[id as usize].as_mut().expect("BUG: a pair found that is free");
        pair.series.insert_sorted(series);
    }

    /// What names a pair in use in the log.
    pub fn key(&self, id: PairId) -> PairKey {
        PairKey { id, serial: self.pair(id).serial }
    }

    /// Takes a series from a pair, which is forgotten if it was the last one.
    pub fn remove(&mut self, id: PairId, series: u32) {
        let Some(pair) = &mut self.pairs[id as usize] else { return };
        pair.series.remove(series);
        if pair.series.is_empty() {
            self.forget(id);
        }
    }

    /// Name and value of a pair in use.
    pub fn text(&self, id: PairId) -> (&str, &str) {
        let pair = self.pair(id);
        (self.name_text(pair.name), &pair.value)
    }

    /// The series that have a pair.
    pub fn series(&self, id: PairId) -> &Numbers {
        &self.pair(id).series
    }

    /// Hands on every name, in no order.
    pub fn names(&self, each: &mut dyn FnMut(&str)) {
        self.names.iter().flatten().for_each(|name| each(&name.text));
    }

    /// The pairs of a name, in no order.
    pub fn of_name(&self, name: &str) -> impl Iterator<Item = PairId> {
        let found = self.find_name(self.hasher.hash_one(name), name);
        let found = found.and_then(|id| self.names[id as usize].as_ref());
        found.into_iter().flat_map(|n| n.pairs.iter().copied())
    }

    /// The series that have a pair, as a set.
    pub fn with_series<R>(&self, id: PairId, each: impl FnOnce(&RoaringBitmap) -> R) -> R {
        self.pair(id).series.with_set(each)
    }

    /// All pairs in use, with their names and values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (PairId, &str, &str)> {
        let used = self.pairs.iter().zip(0..).filter_map(|(pair, id)| Some((pair.as_ref()?, id)));
        used.map(|(pair, id)| (id, self.name_text(pair.name), &*pair.value))
    }

    /// Numbers of pairs are below this.
    pub fn id_end(&self) -> usize {
        self.pairs.len()
    }

    /// About how much memory the pairs take.
    pub fn heap_bytes(&self) -> usize {
        self.text_bytes() + self.pairs.iter().flatten().map(|p| p.series.heap_bytes()).sum::<usize>()
    }

    /// The same without the sets of series.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
            + self.pairs.capacity() * size_of::<Option<Pair>>()
            + self.table.capacity() * 5
            + self.names.capacity() * size_of::<Option<Name>>()
            + (self.pairs.len() + self.free.capacity()) * size_of::<PairId>()
    }

    fn pair(&self, id: PairId) -> &Pair {
        self.pairs[id as usize].as_ref().expect("BUG: a pair read that is not in use")
    }

    fn name_text(&self, name: u32) -> &str {
        &self.names[name as usize].as_ref().expect("BUG: a name read that is not in use").text
    }

    fn hash(&self, name: &str, value: &str) -> u64 {
        self.hasher.hash_one((name, value))
    }

    fn find_hashed(&self, hash: u64, name: &str, value: &str) -> Option<PairId> {
        let is_it = |&id: &PairId| {
            let pair = self.pair(id);
            pair.hash == hash && *pair.value == *value && self.name_text(pair.name) == name
        };
        self.table.find(hash, is_it).copied()
    }

    fn create(&mut self, hash: u64, name: &str, value: &str) -> PairId {
        let id = self.free.pop().unwrap_or_else(|| {
            grow(&mut self.pairs);
            self.pairs.push(None);
            u32::try_from(self.pairs.len() - 1).expect("BUG: limits keep the number of pairs below 2^32")
        });
        let name_id = self.name_id(name);
        let list = &mut self.names[name_id as usize].as_mut().expect("BUG: made above").pairs;
        let place = list.len() as u32;
        grow(list);
        list.push(id);
        self.text_bytes += value.len();
        self.serials = self.serials.wrapping_add(1);
        self.pairs[id as usize] = Some(Pair {
            value: value.into(),
            name: name_id,
            place,
            hash,
            serial: self.serials,
            series: Numbers::default(),
        });
        let hash_of = |&id: &PairId| self.pairs[id as usize].as_ref().map_or(0, |pair| pair.hash);
        self.table.insert_unique(hash, id, hash_of);
        id
    }

    fn find_name(&self, hash: u64, name: &str) -> Option<u32> {
        self.name_table.find(hash, |&id| self.name_text(id) == name).copied()
    }

    fn name_id(&mut self, name: &str) -> u32 {
        let hash = self.hasher.hash_one(name);
        if let Some(id) = self.find_name(hash, name) {
            return id;
        }
        self.text_bytes += name.len();
        let made = Some(Name { text: name.into(), pairs: Vec::new() });
        let id = self.free_names.pop().unwrap_or_else(|| {
            self.names.push(None);
            self.names.len() as u32 - 1
        });
        self.names[id as usize] = made;
        let (names, hasher) = (&self.names, &self.hasher);
        self.name_table.insert_unique(hash, id, |&id| {
            names[id as usize].as_ref().map_or(0, |name| hasher.hash_one(&*name.text))
        });
        id
    }

    fn forget(&mut self, id: PairId) {
        let Some(pair) = self.pairs[id as usize].take() else { return };
        self.text_bytes -= pair.value.len();
        if let Ok(entry) = self.table.find_entry(pair.hash, |&other| other == id) {
            entry.remove();
        }
        self.free.push(id);
        let name = self.names[pair.name as usize].as_mut().expect("BUG: a pair without a name");
        name.pairs.swap_remove(pair.place as usize);
        if let Some(&moved) = name.pairs.get(pair.place as usize)
            && let Some(moved) = &mut self.pairs[moved as usize]
        {
            moved.place = pair.place;
        }
        if name.pairs.is_empty() {
            self.text_bytes -= name.text.len();
            let hash = self.hasher.hash_one(&*name.text);
            if let Ok(entry) = self.name_table.find_entry(hash, |&other| other == pair.name) {
                entry.remove();
            }
            self.names[pair.name as usize] = None;
            self.free_names.push(pair.name);
        }
    }
}

/// Lets a vector grow by an eighth rather than to its double: there is much of it, for long.
pub fn grow<T>(vector: &mut Vec<T>) {
    if vector.len() == vector.capacity() {
        vector.reserve_exact(vector.len() / 8 + 8);
    }
}
