//! How much memory queries may hold, one by one and all together.
//!
//! Invariant: what the pool has given out is at least what the queries that live hold.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::QueryError;

/// A query takes from the pool in pieces of this size, so that they seldom meet there.
const PIECE_BYTES: u64 = 256 << 10;

/// What all queries together may hold.
#[derive(Debug)]
pub struct MemoryPool {
    bytes_max: u64,
    bytes: AtomicU64,
}

/// What one query may hold, and what it holds.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes_max: u64,
    pool: Arc<MemoryPool>,
    bytes: AtomicU64,
    peak_bytes: AtomicU64,
    /// Taken from the pool, until the query is over.
    taken_bytes: AtomicU64,
}

impl MemoryPool {
    /// A pool of so many bytes.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { bytes_max, bytes: AtomicU64::new(0) })
    }

    /// What queries have taken.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> Result<(), QueryError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.bytes_max {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(QueryError::MemoryExhausted);
        }
        Ok(())
    }
}

impl MemoryBudget {
    /// A budget of so many bytes out of a pool.
    pub fn new(bytes_max: u64, pool: &Arc<MemoryPool>) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            pool: Arc::clone(pool),
            bytes: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            taken_bytes: AtomicU64::new(0),
        })
    }

    /// The most that was held at once.
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes that are held from now on. On an error they must not be.
    pub fn hold(&self, bytes: u64) -> Result<(), QueryError> {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        let judged = if held > self.bytes_max {
            Err(QueryError::TooMuchMemory { bytes_max: self.bytes_max })
        } else if held > self.taken_bytes.load(Ordering::Relaxed) {
            self.take(held)
        } else {
            Ok(())
        };
        match judged {
            Ok(()) => {
                self.peak_bytes.fetch_max(held, Ordering::Relaxed);
            }
            Err(_) => {
                self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
        judged
    }

    /// Counts bytes that are not held any longer.
    pub fn release(&self, bytes: u64) {
        let _ = self
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| Some(held.saturating_sub(bytes)));
    }

    /// Threads of one query may take more than they need here, never less.
    fn take(&self, held: u64) -> Result<(), QueryError> {
        let missing = held.saturating_sub(self.taken_bytes.load(Ordering::Relaxed));
        let piece = missing.div_ceil(PIECE_BYTES).saturating_mul(PIECE_BYTES);
        self.pool.take(piece)?;
        self.taken_bytes.fetch_add(piece, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for MemoryBudget {
    fn drop(&mut self) {
        self.pool.bytes.fetch_sub(*self.taken_bytes.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_taken_and_given_back() {
        let pool = MemoryPool::new(4 * PIECE_BYTES);
        let first = MemoryBudget::new(3 * PIECE_BYTES, &pool);
        first.hold(1).unwrap();
        assert_eq!(pool.bytes(), PIECE_BYTES);
        assert!(matches!(first.hold(3 * PIECE_BYTES), Err(QueryError::TooMuchMemory { .. })));
        first.hold(3 * PIECE_BYTES - 1).unwrap();
        first.release(2 * PIECE_BYTES);
        first.hold(PIECE_BYTES).unwrap();
        assert_eq!((pool.bytes(), first.peak_bytes()), (3 * PIECE_BYTES, 3 * PIECE_BYTES));
        let second = MemoryBudget::new(u64::MAX, &pool);
        second.hold(PIECE_BYTES).unwrap();
        assert!(matches!(second.hold(1), Err(QueryError::MemoryExhausted)));
        drop(first);
        second.hold(1).unwrap();
        drop(second);
        assert_eq!(pool.bytes(), 0);
    }
}
