//! What the cache holds, the longest unused answer going first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{CacheStats, Entry, steps::Steps};
use crate::{EngineConfig, Expr, Limits};

/// Everything that an answer depends on beside the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The expression in canonical form.
    text: Arc<str>,
    step_ms: i64,
    /// Where the steps stand: their times differ by whole steps.
    phase_ms: i64,
    lookback_ms: i64,
    subquery_step_ms: i64,
    series_max: usize,
}

impl Key {
    pub fn new(expr: &Expr, steps: Steps, config: EngineConfig, limits: &Limits) -> Self {
        Self {
            text: expr.to_string().into(),
            step_ms: steps.step_ms,
            phase_ms: steps.first_ms.rem_euclid(steps.step_ms),
            lookback_ms: config.lookback_ms,
            subquery_step_ms: config.subquery_step_ms,
            series_max: limits.series_max,
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.text.len() + 2 * size_of::<Self>() + size_of::<Held>() + size_of::<Entry>()
    }
}

#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    bytes: usize,
    used: u64,
}

/// Answers by their keys.
#[derive(Debug, Default)]
pub(super) struct Stored {
    entries: HashMap<Key, Held>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    pub counts: CacheStats,
}

impl Stored {
    /// The answer kept under a key, which counts as used.
    pub fn find(&mut self, key: &Key) -> Option<Arc<Entry>> {
        let held = self.entries.get_mut(key)?;
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&held.used) {
            self.by_use.insert(self.uses, key);
        }
        held.used = self.uses;
        Some(Arc::clone(&held.entry))
    }

    pub fn keep(&mut self, key: Key, entry: Arc<Entry>, bytes: usize, bytes_max: usize) {
        self.forget(&key);
        while self.bytes + bytes > bytes_max
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.forget(&oldest);
            self.counts.evicted += 1;
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.entries.insert(key, Held { entry, bytes, used: self.uses });
        self.bytes += bytes;
    }

    pub fn forget(&mut self, key: &Key) {
        if let Some(held) = self.entries.remove(key) {
            self.by_use.remove(&held.used);
            self.bytes -= held.bytes;
        }
    }

    /// Lets an answer go, if it is still this one.
    pub fn forget_if(&mut self, key: &Key, entry: &Arc<Entry>) {
        if self.entries.get(key).is_some_and(|held| Arc::ptr_eq(&held.entry, entry)) {
            self.forget(key);
        }
    }

    pub fn clear(&mut self) {
        *self = Self { counts: self.counts, ..Self::default() };
    }

    /// Counts a query by how many of its steps were there.
    pub fn count(&mut self, reused: u64, evaluated: u64) {
        let counts = &mut self.counts;
        match (reused, evaluated) {
            (0, _) => counts.misses += 1,
            (_, 0) => counts.hits += 1,
            _ => counts.partial_hits += 1,
        }
        counts.steps_reused += reused;
        counts.steps_evaluated += evaluated;
    }

    pub fn stats(&self) -> CacheStats {
        CacheStats { entries: self.entries.len(), bytes: self.bytes, ..self.counts }
    }
}
