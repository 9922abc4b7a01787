//! What the store was told and what it said to that: a sorted map that is obviously right.

use std::collections::{BTreeMap, BTreeSet};

use vedette_model::MetricMetadata;

/// Number of a series and time of a sample.
pub type Key = (usize, i64);

/// Bits of the values that a store gave.
pub type Found = BTreeMap<Key, u64>;

/// What counts as certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certain {
    /// All that was acknowledged.
    Acknowledged,
    /// What was acknowledged, and synced since.
    Synced,
    /// Nothing: the disk lied.
    Nothing,
}

/// What a store said to a sample that it did not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// It gave an error: the sample may be there or not.
    Nothing,
    /// It is stored, and survives the end of the process.
    Acknowledged,
    /// It survives a loss of power, too.
    Synced,
}

#[derive(Debug, Clone)]
struct Attempt {
    bits: u64,
    told: Told,
    told_ms: i64,
}

/// What a metric family was told to be, in order.
#[derive(Debug, Clone, Default)]
struct Family {
    told: Vec<MetricMetadata>,
    /// From here on the log may have it; if there is none before, it may not.
    settled: Option<usize>,
}

/// What a store was told.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Of each sample what was tried and not refused, in order.
    attempts: BTreeMap<Key, Vec<Attempt>>,
    metadata: BTreeMap<String, Family>,
}

impl Model {
    /// Takes for true from now on what a store holds. What is older than `oldest_ms` may have been
    /// removed in a way that a loss of power undoes.
    pub fn rebase(&mut self, found: &Found, metadata: &[MetricMetadata], oldest_ms: i64, now_ms: i64) {
        let before = std::mem::take(&mut self.attempts);
        let old = before.iter().filter(|(key, _)| key.1 <= oldest_ms && !found.contains_key(key));
        for (&key, attempt) in old.flat_map(|(key, attempts)| attempts.iter().map(move |a| (key, a))) {
            self.tell(key, attempt.bits, Told::Nothing, now_ms);
        }
        for (&key, &bits) in found {
            let synced = before[&key].iter().any(|a| a.bits == bits && a.told == Told::Synced);
            self.tell(key, bits, if synced { Told::Synced } else { Told::Acknowledged }, now_ms);
        }
        self.metadata.values_mut().for_each(|family| family.settled = None);
        self.settle_metadata(metadata);
    }

    /// Notes what was said to a sample that was not refused.
    pub fn tell(&mut self, key: Key, bits: u64, told: Told, told_ms: i64) {
        self.attempts.entry(key).or_default().push(Attempt { bits, told, told_ms });
    }

    /// Notes that all that was acknowledged until then is synced.
    pub fn synced_until(&mut self, told_ms: i64) {
        for attempt in self.attempts.values_mut().flatten() {
            if attempt.told == Told::Acknowledged && attempt.told_ms <= told_ms {
                attempt.told = Told::Synced;
            }
        }
    }

    /// Notes metadata, which need not be there before it is settled.
    pub fn tell_metadata(&mut self, metadata: MetricMetadata) {
        self.metadata.entry(metadata.family.clone()).or_default().told.push(metadata);
    }

    /// Notes that the metadata which a store gives is in its log.
    pub fn settle_metadata(&mut self, metadata: &[MetricMetadata]) {
        for m in metadata {
            if let Some(family) = self.metadata.get_mut(&m.family) {
                family.settled = family.told.iter().rposition(|told| told == m);
            }
        }
    }

    /// The last sample told of a series, and its value.
    pub fn last(&self, n: usize) -> Option<(i64, u64)> {
        let (key, attempts) = self.attempts.range((n, i64::MIN)..=(n, i64::MAX)).next_back()?;
        Some((key.1, attempts.last()?.bits))
    }

    /// The samples that must be there, with the values they may have.
    fn demanded(&self, certain: Certain, oldest_ms: i64) -> impl Iterator<Item = (Key, &[Attempt])> {
        let is_certain = move |a: &Attempt| match certain {
            Certain::Acknowledged => a.told >= Told::Acknowledged,
            Certain::Synced => a.told == Told::Synced,
            Certain::Nothing => false,
        };
        self.attempts.iter().filter(move |(key, _)| key.1 > oldest_ms).filter_map(move |(key, attempts)| {
            // What failed may be there all the same, and then it was there first.
            let first = attempts.iter().position(is_certain)?;
            Some((*key, &attempts[..=first]))
        })
    }

    /// The samples that must be there and are not.
    pub fn missing(&self, found: &Found, certain: Certain, oldest_ms: i64) -> BTreeSet<Key> {
        let demanded = self.demanded(certain, oldest_ms).map(|(key, _)| key);
        demanded.filter(|key| !found.contains_key(key)).collect()
    }

    /// Holds what a store gave against what it was told, apart from what is missing.
    pub fn check_values(&self, found: &Found, certain: Certain, oldest_ms: i64) -> Result<(), String> {
        for (key, bits) in found {
            if !self.attempts.get(key).is_some_and(|told| told.iter().any(|a| a.bits == *bits)) {
                let value = f64::from_bits(*bits);
                return Err(format!(
                    "{key:?} has {value}, which was never stored: {:?}",
                    self.attempts.get(key)
                ));
            }
        }
        for (key, allowed) in self.demanded(certain, oldest_ms) {
            if let Some(bits) = found.get(&key).filter(|&&bits| allowed.iter().all(|a| a.bits != bits)) {
                let value = f64::from_bits(*bits);
                return Err(format!("{key:?} has {value}, and {allowed:?} was stored first"));
            }
        }
        Ok(())
    }

    /// Holds what a store gave against what it was told.
    pub fn check(&self, found: &Found, certain: Certain, oldest_ms: i64) -> Result<(), String> {
        self.check_values(found, certain, oldest_ms)?;
        let missing = self.missing(found, certain, oldest_ms);
        match missing.first() {
            Some(first) => Err(format!(
                "{} samples are missing, the first is {first:?}: {:?}",
                missing.len(),
                self.attempts[first]
            )),
            None => Ok(()),
        }
    }

    /// Holds metadata against what was told; all of it is there if `complete`.
    pub fn check_metadata(&self, found: &[MetricMetadata], complete: bool) -> Result<(), String> {
        for (name, family) in &self.metadata {
            let settled = family.settled.filter(|_| complete);
            let allowed = &family.told[settled.unwrap_or(0)..];
            match found.iter().find(|m| m.family == *name) {
                Some(m) if !allowed.contains(m) => {
                    return Err(format!("metadata {m:?} is not what was told: {family:?}"));
                }
                None if settled.is_some() => return Err(format!("metadata is missing: {family:?}")),
                _ => {}
            }
        }
        match found.iter().find(|m| !self.metadata.contains_key(&m.family)) {
            Some(m) => Err(format!("metadata {m:?} was never told")),
            None => Ok(()),
        }
    }
}
