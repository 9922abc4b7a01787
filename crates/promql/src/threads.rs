//! Threads that long queries may have beside their own.
//!
//! Invariant: all queries together never have more of them than there are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A query for which about so many samples are to be read and values to be made takes some ten
/// milliseconds, against which starting threads is nothing.
const WORK_MIN: u64 = 2_000_000;

/// Threads that nobody has yet.
#[derive(Debug)]
pub struct Threads {
    free: AtomicUsize,
    work_min: u64,
}

/// A thread that a query has, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'t>(&'t Threads);

impl Threads {
    /// So many for all queries together.
    pub fn new(count: usize) -> Arc<Self> {
        Self::for_work_of(count, WORK_MIN)
    }

    /// So many, for queries that read and make at least so many values.
    pub fn for_work_of(count: usize, work_min: u64) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(count), work_min })
    }

    /// Takes what is free for a query that has so much to do; none if that is little.
    pub(crate) fn take(&self, work: u64) -> Vec<Taken<'_>> {
        let free = if work < self.work_min { 0 } else { self.free.swap(0, Ordering::Relaxed) };
        (0..free).map(|_| Taken(self)).collect()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_is_given_twice() {
        let threads = Threads::for_work_of(3, 10);
        assert!(threads.take(9).is_empty(), "that is little work");
        let mut taken = threads.take(10);
        assert_eq!(taken.len(), 3);
        assert!(threads.take(10).is_empty(), "all are taken");
        taken.pop();
        assert_eq!(threads.take(10).len(), 1);
        drop(taken);
        assert_eq!(threads.take(10).len(), 3);
    }
}
