//! Replaying the log by columns: many samples of one series at once.

use super::{Rules, Samples};
use crate::{
    head::{
        blocks::Blocks,
        series::{LATE, STARTS, Series},
    },
    wal::{Column, values},
};

/// Times of samples that are replayed, and what follows from them. Most columns have the same.
#[derive(Debug)]
pub struct Times {
    span_ms: i64,
    sealed_until_ms: i64,
    times_ms: Vec<i64>,
    /// Start of the span that each time is in.
    spans_ms: Vec<i64>,
    /// As many of the first times are sealed.
    sealed: usize,
    /// Whether each time is later than the one before.
    grow: bool,
    /// For each time where the run ends of those that are as far from each other as it is from the
    /// one before, all in one span.
    run_ends: Vec<u32>,
}

impl Times {
    /// No times; spans have this length, and samples before `sealed_until_ms` are in segments.
    pub fn new(span_ms: i64, sealed_until_ms: i64) -> Self {
        Self {
            span_ms,
            sealed_until_ms,
            times_ms: Vec::new(),
            spans_ms: Vec::new(),
            sealed: 0,
            grow: true,
            run_ends: Vec::new(),
        }
    }

    /// Takes these times.
    pub fn set(&mut self, times_ms: &[i64]) {
        if self.times_ms == times_ms {
            return;
        }
        self.times_ms.clear();
        self.times_ms.extend_from_slice(times_ms);
        let span_ms = self.span_ms;
        self.spans_ms.clear();
        self.spans_ms.extend(times_ms.iter().map(|t| t.div_euclid(span_ms).saturating_mul(span_ms)));
        self.sealed = times_ms.iter().take_while(|&&time_ms| time_ms < self.sealed_until_ms).count();
        self.grow = times_ms.is_sorted_by(|a, b| a < b);
        self.run_ends.clear();
        self.run_ends.resize(times_ms.len(), times_ms.len() as u32);
        for at in (1..times_ms.len().saturating_sub(1)).rev() {
            let step = |at: usize| times_ms[at].wrapping_sub(times_ms[at - 1]);
            if step(at) != step(at + 1) || self.spans_ms[at] != self.spans_ms[at + 1] {
                self.run_ends[at] = at as u32 + 1;
            } else {
                self.run_ends[at] = self.run_ends[at + 1];
            }
        }
    }
}

impl Samples {
    /// Brings what is kept of series near, for columns that come now: their places in memory are
    /// far from each other, and waiting for all of them at once takes a fraction of the time.
    pub fn fetch(&self, slots: impl Iterator<Item = u32> + Clone) {
        let series = slots.filter_map(|slot| self.series.get(slot as usize));
        let flags = series.clone().fold(0, |all, series| all ^ series.flags);
        let blocks = series.fold(0, |all, series| all ^ self.blocks.peek_last(series.running));
        std::hint::black_box((flags, blocks));
    }

    /// Stores samples of one series from the WAL, which have these times, but for those that are
    /// there. Gives how many were stored. The same as [`Samples::replay`] for one after the other.
    pub fn replay_column(&mut self, column: &Column<'_>, times: &Times) -> u64 {
        let series = &mut self.series[column.series().slot() as usize];
        let Times { times_ms, sealed, .. } = times;
        let in_order = times.grow
            && series.flags & (LATE | STARTS) == 0
            && column.start_ms() == 0
            && times_ms.get(*sealed).is_none_or(|&first| first > series.last_ms);
        if !in_order {
            return self.replay_one_by_one(column, times);
        }
        if let Some(last) = sealed.checked_sub(1) {
            // Of growing times the last is what stays.
            series.remember(times_ms[last], column.told(last).bits);
        }
        series.replay_in_order(column, times, &mut self.blocks);
        (times_ms.len() - sealed) as u64
    }

    #[cold]
    fn replay_one_by_one(&mut self, column: &Column<'_>, times: &Times) -> u64 {
        let mut stored = 0;
        for (at, (&time_ms, &span_start_ms)) in times.times_ms.iter().zip(&times.spans_ms).enumerate() {
            let sealed_until_ms = times.sealed_until_ms;
            let rules = Rules { sealed_until_ms, late_from_ms: None, span_start_ms, epoch: 0 };
            stored += u64::from(self.replay(time_ms, &column.told(at), &rules));
        }
        stored
    }
}

impl Series {
    /// Stores those samples that are not sealed, all of which are later than those before.
    fn replay_in_order(&mut self, column: &Column<'_>, times: &Times, blocks: &mut Blocks) {
        let times_ms = &times.times_ms[..];
        let mut at = times.sealed;
        while at < times_ms.len() {
            let told = column.told(at);
            let (item, rotates) = self.claim(times_ms[at], told.bits, times.spans_ms[at], |before| {
                if before == told.base { told.coded } else { values::encode(before, told.bits) }
            });
            self.put(&item, rotates, blocks);
            at += 1;
            // Many series have one value all the time: what remains of a run of them is only counted.
            if item.is_run() && at > times.sealed + 1 {
                let count = column.count_same(at, times.run_ends[at - 1] as usize);
                if count > 0 {
                    self.lengthen_run(count, times_ms[at + count - 1], blocks);
                    at += count;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
