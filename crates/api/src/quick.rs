//! Which queries were quick when they were asked last. Dashboards and rules ask the same ones again
//! and again, and to hand a small query to another thread and back costs as much as it does.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::evaluation::Times;

/// A query that takes no longer may run where requests are read.
const QUICK: Duration = Duration::from_micros(500);

const PLACES: usize = 4096;

/// A table in which a query may push out another, and is taken for a slow one then.
pub struct Quick(Box<[AtomicU64]>);

/// Stands for a query, at whatever time it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// That of a query at one time, or over a range of so many times.
    pub fn new(query: &str, times: Times) -> Self {
        let (start_ms, end_ms, step_ms) = times.bounds();
        let mut hasher = DefaultHasher::new();
        (query, end_ms.saturating_sub(start_ms), step_ms).hash(&mut hasher);
        // The lowest bit says whether it was quick; none of them is like a free place.
        Self((hasher.finish() | 2) & !1)
    }
}

impl Default for Quick {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Quick {
    /// Whether the query was quick.
    pub fn is_quick(&self, key: Key) -> bool {
        self.place(key).load(Ordering::Relaxed) == key.0 | 1
    }

    /// Notes how long the query took.
    pub fn note(&self, key: Key, took: Duration) {
        self.place(key).store(key.0 | u64::from(took <= QUICK), Ordering::Relaxed);
    }

    fn place(&self, key: Key) -> &AtomicU64 {
        &self.0[(key.0 >> 32) as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_quick_when_it_was() {
        let quick = Quick::default();
        let (one, other) = (Key::new("up", Times::At(1)), Key::new("up", Times::Range(0, 60, 30)));
        assert_eq!(one, Key::new("up", Times::At(2)));
        assert!(!quick.is_quick(one));
        quick.note(one, Duration::from_micros(10));
        assert!(quick.is_quick(one) && !quick.is_quick(other));
        quick.note(one, Duration::from_millis(1));
        assert!(!quick.is_quick(one));
    }
}
