//! What the head keeps of a series beside its labels, and how a sample becomes its last one.
//!
//! This is there once for each series, so that every byte of it counts.

use super::{
    blocks::{Blocks, Stream},
    samples::Rules,
    starts::Starts,
    stream::Item,
};
use crate::wal::{Told, values};

/// A series that never had a sample.
pub const NEVER_MS: i64 = i64::MIN;

/// No epoch of the WAL.
pub const NO_EPOCH: u32 = 0;

/// What is kept of each series beside its labels.
#[derive(Debug, Clone, Copy)]
pub struct Series {
    /// The last sample claimed, which may still be on its way to the WAL.
    pub last_ms: i64,
    pub last_bits: u64,
    pub step_ms: u32,
    pub running: Stream,
    pub older: Stream,
    /// Grows when the slot gets another series, so that an old reference does not find it.
    pub generation: u32,
    /// Since when the WAL knows the last value.
    pub epoch: u32,
    pub flags: u8,
}

/// The running stream has a sample, be it a claimed one.
pub const BEGUN: u8 = 1;
/// A run ends the running stream.
pub const RUN: u8 = 2;
/// A claimed sample will make the running stream the older one.
pub const ROTATING: u8 = 4;
/// Sealing has found the series without a sample before.
pub const IDLE: u8 = 8;
/// The series has, or had, a histogram.
pub const HISTOGRAMS: u8 = 16;
/// The series has, or had, a start timestamp.
pub const STARTS: u8 = 32;
/// It had late samples in the head, and perhaps still has.
pub const LATE: u8 = 64;

impl Series {
    pub fn new(generation: u32) -> Self {
        Self {
            last_ms: NEVER_MS,
            last_bits: 0,
            step_ms: 0,
            running: Stream::EMPTY,
            older: Stream::EMPTY,
            generation,
            epoch: NO_EPOCH,
            flags: 0,
        }
    }

    /// Makes a sample the last one. Gives how the stream tells it, and whether the stream becomes
    /// the older one first; `coded` gives the value as told by another.
    #[inline]
    pub fn claim(
        &mut self,
        time_ms: i64,
        bits: u64,
        span_start_ms: i64,
        coded: impl FnOnce(u64) -> values::Coded,
    ) -> (Item, bool) {
        let begun = self.flags & BEGUN != 0;
        // While the older stream waits for being sealed, the running one goes on.
        let rotates =
            begun && self.last_ms < span_start_ms && self.older.is_empty() && self.flags & ROTATING == 0;
        let item = if begun && !rotates {
            let (item, step_ms) = Item::next(self.last_ms, self.step_ms, time_ms, coded(self.last_bits));
            self.step_ms = step_ms;
            item
        } else {
            self.step_ms = 0;
            Item::first(time_ms, coded(0))
        };
        self.flags = (self.flags | BEGUN) & !IDLE;
        if rotates {
            self.flags |= ROTATING;
        }
        (self.last_ms, self.last_bits) = (time_ms, bits);
        (item, rotates)
    }

    /// Stores a sample from the WAL that is later than all before.
    #[inline]
    pub fn replay(&mut self, time_ms: i64, told: &Told, rules: &Rules, blocks: &mut Blocks) {
        let (item, rotates) = self.claim(time_ms, told.bits, rules.span_start_ms, |before| {
            if before == told.base { told.coded } else { values::encode(before, told.bits) }
        });
        self.put(&item, rotates, blocks);
    }

    /// Stores a sample that was claimed; if it `rotates`, the running stream is the older one first.
    #[inline]
    pub fn put(&mut self, item: &Item, rotates: bool, blocks: &mut Blocks) {
        if rotates {
            self.older = std::mem::take(&mut self.running);
            self.flags &= !(RUN | ROTATING);
        }
        self.push(item, blocks);
    }

    /// Notes a sample that is sealed, if it is the last one. Says whether it is.
    pub fn remember(&mut self, time_ms: i64, bits: u64) -> bool {
        let is_last = time_ms > self.last_ms && self.flags & BEGUN == 0;
        if is_last {
            (self.last_ms, self.last_bits) = (time_ms, bits);
        }
        is_last
    }

    /// Notes the start timestamp of a sample that is later than all before. Gives that of the
    /// sample before.
    #[inline(never)]
    pub fn note_start(&mut self, slot: u32, time_ms: i64, start_ms: i64, starts: &mut Starts) -> i64 {
        let before = starts.last(slot);
        if before != start_ms {
            starts.push(slot, time_ms, start_ms);
            self.flags |= STARTS;
        }
        before
    }

    /// Stores `count` samples more with the value and the distance in time of the last one, which
    /// ends a run. The last of them has the time `last_ms`.
    pub fn lengthen_run(&mut self, mut count: usize, last_ms: i64, blocks: &mut Blocks) {
        self.last_ms = last_ms;
        while count > 0 {
            let Some(length) = blocks.last_byte(self.running) else { return };
            let added = count.min(usize::from(u8::MAX - *length));
            *length += added as u8;
            count -= added;
            if count > 0 {
                blocks.push(&mut self.running, &[0, 0]);
            }
        }
    }

    #[inline]
    pub fn push(&mut self, item: &Item, blocks: &mut Blocks) {
        if !item.is_run() {
            self.flags &= !RUN;
            let (bytes, length) = item.bytes();
            blocks.push_short(&mut self.running, bytes, length);
            return;
        }
        if self.flags & RUN != 0
            && let Some(count) = blocks.last_byte(self.running)
            && *count < u8::MAX
        {
            *count += 1;
            return;
        }
        self.flags |= RUN;
        blocks.push(&mut self.running, &[0, 1]);
    }
}
