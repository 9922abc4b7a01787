//! Memory for answers on their way: bounded for each and for all together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::failure::Failure;

/// Answers below this are not counted; as many as there are targets may be on their way.
const FREE_BYTES: u64 = 256 << 10;

/// The memory of all answers.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max })
    }

    /// For one answer. `limit` is what bounds it.
    pub(crate) fn lease(self: &Arc<Self>, limit: &'static str) -> Lease {
        Lease { budget: Arc::clone(self), held: 0, limit }
    }
}

/// What one answer takes.
#[derive(Debug)]
pub(crate) struct Lease {
    budget: Arc<Budget>,
    held: u64,
    limit: &'static str,
}

impl Lease {
    /// Takes so many bytes in all, if they are there.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        let wanted = (bytes as u64).saturating_sub(FREE_BYTES);
        let more = wanted.saturating_sub(self.held);
        if more == 0 {
            return Ok(());
        }
        let used = self.budget.used.fetch_add(more, Ordering::Relaxed) + more;
        self.held += more;
        if used > self.budget.max { Err(Failure::Memory { max: self.budget.max }) } else { Ok(()) }
    }

    /// The failure of an answer that is too large.
    pub(crate) fn too_large(&self, max: u64) -> Failure {
        Failure::BodySize { max, limit: self.limit }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_answers_together_are_bounded() {
        let budget = Budget::new(1 << 20);
        let (mut one, mut two) = (budget.lease("x"), budget.lease("x"));
        assert!(one.grow(1 << 20).is_ok() && two.grow(100_000).is_ok());
        assert!(matches!(two.grow(1 << 20), Err(Failure::Memory { .. })));
        drop((one, two));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
