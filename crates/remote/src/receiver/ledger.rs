//! Which records of the spool are done with.
//!
//! Invariant: the cursor never passes a record of which a point is neither taken nor given up.

use std::collections::VecDeque;

/// Records that were read, and how many of their points are still on their way.
#[derive(Debug, Default)]
pub struct Ledger {
    open: VecDeque<(u64, u32)>,
    done: u64,
}

impl Ledger {
    /// Notes a record that was read; numbers grow.
    pub fn begin(&mut self, seq: u64, points: u32) {
        debug_assert!(self.open.back().is_none_or(|(last, _)| *last < seq), "records come in order");
        self.open.push_back((seq, points));
        self.settle();
    }

    /// One point of a record is done with.
    #[inline]
    pub fn finish(&mut self, seq: u64) {
        self.finish_some(seq, 1);
    }

    /// So many points of a record are done with.
    #[inline]
    pub fn finish_some(&mut self, seq: u64, points: u32) {
        if let Ok(at) = self.open.binary_search_by_key(&seq, |(seq, _)| *seq) {
            let left = &mut self.open[at].1;
            *left = left.checked_sub(points).expect("BUG: a point is done with once");
        }
    }

    /// Moves the cursor as far as it goes; gives the record up to which all is done.
    pub fn settle(&mut self) -> u64 {
        while let Some((seq, 0)) = self.open.front() {
            self.done = *seq;
            self.open.pop_front();
        }
        self.done
    }
}
