//! The samples of a shard: of each series the stream of the running span and that of the span
//! before, which waits to be sealed; and beside them the samples that came late.
//!
//! A sample is first claimed, which settles what becomes of it and how it is told, and stored
//! once it is in the WAL. Invariants: times grow from stream to stream and within them; no
//! sample in a stream is older than what is sealed; a late sample has a time that no other
//! sample of its series in the head has.

mod delete;

use vedette_model::{STALE_NAN_BITS, SampleBuffer, TimeRange};

use super::{
    blocks::{Blocks, Stream},
    late::Late,
    stream::{self, Item, State},
};
use crate::{
    SeriesRef,
    store::Appended,
    wal::{RowBuffer, values},
};

/// A series that never had a sample.
const NEVER_MS: i64 = i64::MIN;

/// About what a late sample takes.
const LATE_BYTES: usize = 40;

/// What is kept of each series beside its labels.
#[derive(Debug, Clone, Copy)]
struct Series {
    /// The last sample claimed, which may still be on its way to the WAL.
    last_ms: i64,
    last_bits: u64,
    step_ms: u32,
    running: Stream,
    older: Stream,
    /// Grows when the slot gets another series, so that an old reference does not find it.
    generation: u32,
    /// Since when the WAL knows the last value.
    epoch: u32,
    flags: u8,
}

/// The running stream has a sample, be it a claimed one.
const BEGUN: u8 = 1;
/// A run ends the running stream.
const RUN: u8 = 2;
/// A claimed sample will make the running stream the older one.
const ROTATING: u8 = 4;
/// Sealing has found the series without a sample before.
const IDLE: u8 = 8;

/// What decides about samples, the same for all of one row.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Samples before this are in segments.
    pub sealed_until_ms: i64,
    /// Late samples must not be older; `None` when none are taken.
    pub late_from_ms: Option<i64>,
    /// Start of the span that the row is in.
    pub span_start_ms: i64,
    /// That of the WAL.
    pub epoch: u32,
}

/// Claims of one append that wait for the WAL.
#[derive(Debug, Default)]
pub struct Claims {
    items: Vec<Claim>,
    late: Vec<LateSample>,
}

#[derive(Debug)]
struct Claim {
    slot: u32,
    /// Whether the running stream becomes the older one first.
    rotates: bool,
    item: Item,
}

/// A sample that came when a later one of its series was there, or sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateSample {
    pub slot: u32,
    pub time_ms: i64,
    pub bits: u64,
}

impl Claims {
    pub fn clear(&mut self) {
        self.items.clear();
        self.late.clear();
    }

    /// The late samples claimed.
    pub fn late(&self) -> &[LateSample] {
        &self.late
    }
}

/// The samples of a shard.
#[derive(Debug, Default)]
pub struct Samples {
    series: Vec<Series>,
    /// Series that have not ended.
    series_used: usize,
    blocks: Blocks,
    late: Late,
    /// Late samples that are being sealed.
    sealing: Late,
}

impl Samples {
    /// Makes room for the series in a slot, and gives its generation.
    pub fn begin_series(&mut self, slot: u32) -> u32 {
        let slot = slot as usize;
        self.series_used += 1;
        if slot == self.series.len() {
            if self.series.len() == self.series.capacity() {
                self.series.reserve_exact(self.series.len() / 8 + 64);
            }
            self.series.push(Series::new(0));
        }
        self.series[slot].generation
    }

    /// Gives the memory of a series back. Says whether its slot may be used again.
    pub fn end_series(&mut self, slot: u32) -> bool {
        self.series_used -= 1;
        let series = &mut self.series[slot as usize];
        self.blocks.free(&mut series.running);
        self.blocks.free(&mut series.older);
        self.late.remove_series(slot);
        let generation = series.generation + 1;
        *series = Series::new(generation);
        generation < SeriesRef::GENERATION_MAX
    }

    /// Settles what becomes of samples of one time. Those taken are told in `row`, and wait in
    /// `claims`.
    pub fn claim(
        &mut self,
        time_ms: i64,
        samples: &[(SeriesRef, f64)],
        rules: &Rules,
        row: &mut RowBuffer,
        claims: &mut Claims,
        appended: &mut Appended,
    ) {
        claims.items.reserve(samples.len());
        for &(reference, value) in samples {
            let slot = reference.slot();
            let series =
                self.series.get_mut(slot as usize).filter(|s| s.generation == reference.generation());
            let Some(series) = series else {
                appended.unknown.push(reference);
                continue;
            };
            let bits = value.to_bits();
            if time_ms <= series.last_ms || time_ms < rules.sealed_until_ms {
                self.claim_late(LateSample { slot, time_ms, bits }, rules, claims, appended);
                continue;
            }
            let known = series.epoch == rules.epoch;
            let base = if known { series.last_bits } else { 0 };
            let coded = values::encode(base, bits);
            row.push(slot, base, known, coded);
            let (item, rotates) = series.claim(time_ms, bits, rules.span_start_ms, |before| {
                if before == base { coded } else { values::encode(before, bits) }
            });
            series.epoch = rules.epoch;
            claims.items.push(Claim { slot, rotates, item });
            appended.taken += 1;
        }
    }

    #[cold]
    fn claim_late(
        &mut self,
        sample: LateSample,
        rules: &Rules,
        claims: &mut Claims,
        appended: &mut Appended,
    ) {
        let LateSample { slot, time_ms, bits } = sample;
        let series = &self.series[slot as usize];
        let there = if time_ms == series.last_ms { Some(series.last_bits) } else { self.at(slot, time_ms) };
        match (there, rules.late_from_ms) {
            (Some(there), _) if there == bits => appended.duplicate += 1,
            (Some(_), _) => appended.conflicting += 1,
            (None, None) if time_ms < rules.sealed_until_ms => appended.too_old += 1,
            (None, None) => appended.out_of_order += 1,
            (None, Some(from)) if time_ms < from => appended.too_old += 1,
            (None, Some(_)) => {
                self.late.insert(sample);
                self.series[slot as usize].flags &= !IDLE;
                claims.late.push(sample);
                appended.taken += 1;
            }
        }
    }

    /// Stores what was claimed.
    pub fn store(&mut self, claims: &Claims) {
        for Claim { slot, rotates, item } in &claims.items {
            let series = &mut self.series[*slot as usize];
            if *rotates {
                series.older = std::mem::take(&mut series.running);
                series.flags &= !(RUN | ROTATING);
            }
            series.push(item, &mut self.blocks);
        }
    }

    /// Takes claims back, as they could not be written to the WAL.
    pub fn disclaim(&mut self, claims: &Claims) {
        let mut scratch = Vec::new();
        for Claim { slot, .. } in &claims.items {
            let series = &mut self.series[*slot as usize];
            let mut state = None;
            for stream in [series.running, series.older] {
                scratch.clear();
                self.blocks.copy(stream, usize::MAX, &mut scratch);
                state = state.or_else(|| stream::decode(&scratch, |_, _| true));
            }
            series.flags &= !(BEGUN | ROTATING);
            if !series.running.is_empty() {
                series.flags |= BEGUN;
            }
            // What is sealed already is guarded by the boundary.
            let State { time_ms, step_ms, bits } =
                state.unwrap_or(State { time_ms: NEVER_MS, ..State::default() });
            (series.last_ms, series.step_ms, series.last_bits) = (time_ms, step_ms, bits);
        }
        claims.late.iter().for_each(|sample| self.late.remove(*sample));
    }

    /// Stores a sample from the WAL, unless it is there. Says whether it was stored.
    pub fn replay(&mut self, slot: u32, time_ms: i64, bits: u64, rules: &Rules) -> bool {
        let series = &mut self.series[slot as usize];
        if time_ms < rules.sealed_until_ms {
            if time_ms > series.last_ms && series.flags & BEGUN == 0 {
                (series.last_ms, series.last_bits) = (time_ms, bits);
            }
            return false;
        }
        if time_ms <= series.last_ms {
            return self.replay_late(LateSample { slot, time_ms, bits });
        }
        let (item, rotates) =
            series.claim(time_ms, bits, rules.span_start_ms, |before| values::encode(before, bits));
        if rotates {
            series.older = std::mem::take(&mut series.running);
            series.flags &= !(RUN | ROTATING);
        }
        series.push(&item, &mut self.blocks);
        true
    }

    /// Stores a late sample from the WAL, unless there is one of its time.
    pub fn replay_late(&mut self, sample: LateSample) -> bool {
        let new = self.at(sample.slot, sample.time_ms).is_none();
        if new {
            self.late.insert(sample);
        }
        new
    }

    /// The value that a series has at a time, if that is in the head.
    fn at(&self, slot: u32, time_ms: i64) -> Option<u64> {
        let late = self.late.at(slot, time_ms).or_else(|| self.sealing.at(slot, time_ms));
        if late.is_some() {
            return late;
        }
        let series = &self.series[slot as usize];
        let mut found = None;
        let mut bytes = Vec::new();
        for stream in [series.older, series.running] {
            if self.first_of(stream).is_some_and(|first| first <= time_ms) {
                bytes.clear();
                self.blocks.copy(stream, usize::MAX, &mut bytes);
                stream::decode(&bytes, |t, bits| {
                    if t == time_ms {
                        found = Some(bits);
                    }
                    t < time_ms
                });
            }
        }
        found
    }

    fn first_of(&self, stream: Stream) -> Option<i64> {
        self.blocks.first_block(stream).map(|block| stream::first_ms(block))
    }

    /// The generation of the series in a slot.
    pub fn generation(&self, slot: u32) -> Option<u32> {
        self.series.get(slot as usize).map(|s| s.generation)
    }

    /// Whether some sample of a series lies in `range`, or may do.
    pub fn overlaps(&self, slot: u32, range: TimeRange) -> bool {
        let series = &self.series[slot as usize];
        let first = self.first_of(series.older).or_else(|| self.first_of(series.running));
        first.is_some_and(|start_ms| range.overlaps(TimeRange { start_ms, end_ms: series.last_ms }))
            || self.late.overlaps(slot, range)
            || self.sealing.overlaps(slot, range)
    }

    /// Time of the first sample of a series.
    pub fn first_ms(&self, slot: u32) -> Option<i64> {
        let series = &self.series[slot as usize];
        let in_order = self.first_of(series.older).or_else(|| self.first_of(series.running));
        let late = [self.late.of(slot), self.sealing.of(slot)];
        in_order.into_iter().chain(late.iter().filter_map(|l| l.first()).map(|l| l.0)).min()
    }

    /// Copies what `range` needs, which is cheap to do under a lock and decoded later without one.
    pub fn snapshot(&self, slot: u32, range: TimeRange, out: &mut Snapshot) {
        out.clear();
        let series = &self.series[slot as usize];
        let running_from = self.first_of(series.running);
        if running_from.is_none_or(|first| range.start_ms < first) {
            self.blocks.copy(series.older, usize::MAX, &mut out.older);
        }
        if running_from.is_some_and(|first| range.end_ms >= first) {
            self.blocks.copy(series.running, usize::MAX, &mut out.running);
        }
        self.late.copy(slot, range, &mut out.late);
        self.sealing.copy(slot, range, &mut out.late);
        out.late.sort_unstable_by_key(|&(time, _)| time);
    }

    /// Removes the samples of a series before `boundary_ms`, except late ones.
    pub fn truncate_before(&mut self, slot: u32, boundary_ms: i64) {
        let series = &self.series[slot as usize];
        let before = |stream: Stream, next: Option<i64>| match (self.first_of(stream), next) {
            (None, _) => Some(true),
            (Some(first), _) if first >= boundary_ms => Some(false),
            (_, Some(next)) if next <= boundary_ms => Some(true),
            _ => None,
        };
        let after_last = (series.last_ms < boundary_ms).then_some(boundary_ms);
        let running = before(series.running, after_last);
        let older = before(series.older, self.first_of(series.running).or(after_last));
        match (older, running) {
            (Some(older), Some(running)) => {
                let series = &mut self.series[slot as usize];
                if older {
                    self.blocks.free(&mut series.older);
                }
                if running {
                    self.blocks.free(&mut series.running);
                    series.flags &= !(BEGUN | RUN);
                }
            }
            _ => self.retain(slot, |time, _| time >= boundary_ms),
        }
    }

    /// Keeps those samples of the streams of a series of which `keep` says yes. No claim of the
    /// series is open.
    fn retain(&mut self, slot: u32, keep: impl Fn(i64, u64) -> bool) {
        let series = &mut self.series[slot as usize];
        let mut bytes = Vec::new();
        let mut kept = Vec::new();
        for stream in [series.older, series.running] {
            bytes.clear();
            self.blocks.copy(stream, usize::MAX, &mut bytes);
            stream::decode(&bytes, |time, bits| {
                if keep(time, bits) {
                    kept.push((time, bits));
                }
                true
            });
        }
        let last = (series.last_ms, series.last_bits);
        self.blocks.free(&mut series.older);
        self.blocks.free(&mut series.running);
        series.flags &= !(BEGUN | RUN);
        series.step_ms = 0;
        for (time, bits) in kept {
            let (item, _) = series.claim(time, bits, i64::MIN, |before| values::encode(before, bits));
            series.push(&item, &mut self.blocks);
        }
        (series.last_ms, series.last_bits) = last;
    }

    /// Whether a series can leave: it has no sample here, and either has ended or was silent when
    /// this was asked before. A new one is spared once.
    pub fn is_done(&mut self, slot: u32) -> bool {
        let series = &mut self.series[slot as usize];
        if !series.older.is_empty()
            || series.flags & BEGUN != 0
            || self.late.has(slot)
            || self.sealing.has(slot)
        {
            return false;
        }
        let ended = series.last_ms != NEVER_MS && series.last_bits == STALE_NAN_BITS;
        let idle = series.flags & IDLE != 0;
        series.flags |= IDLE;
        ended || idle
    }

    /// Sets the late samples before `until_ms` aside, to be sealed.
    pub fn begin_sealing(&mut self, until_ms: i64) {
        self.late.split_before(until_ms, &mut self.sealing);
    }

    /// Ends what [`Samples::begin_sealing`] began; samples that were not sealed are kept.
    pub fn end_sealing(&mut self, sealed: bool) {
        let sealing = std::mem::take(&mut self.sealing);
        if !sealed {
            self.late.absorb(sealing);
        }
    }

    /// Late samples.
    pub fn late_len(&self) -> usize {
        self.late.len()
    }

    /// Late samples of a series that are being sealed, in order of time.
    pub fn sealing(&self, slot: u32) -> &[(i64, u64)] {
        self.sealing.of(slot)
    }

    /// Memory of series and samples in use.
    pub fn used_bytes(&self) -> usize {
        self.series_used * size_of::<Series>()
            + self.blocks.used_bytes()
            + (self.late.len() + self.sealing.len()) * LATE_BYTES
    }

    /// Memory got from the allocator.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.blocks.heap_bytes()
            + self.late.heap_bytes()
            + self.sealing.heap_bytes()
    }
}

impl Series {
    fn new(generation: u32) -> Self {
        Self {
            last_ms: NEVER_MS,
            last_bits: 0,
            step_ms: 0,
            running: Stream::EMPTY,
            older: Stream::EMPTY,
            generation,
            epoch: 0,
            flags: 0,
        }
    }

    /// Makes a sample the last one. Gives how the stream tells it, and whether the stream becomes
    /// the older one first; `coded` gives the value as told by another.
    fn claim(
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

    fn push(&mut self, item: &Item, blocks: &mut Blocks) {
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

/// Copied samples of one series.
#[derive(Debug, Default)]
pub struct Snapshot {
    older: Vec<u8>,
    running: Vec<u8>,
    /// In order of time.
    late: Vec<(i64, u64)>,
}

impl Snapshot {
    /// Forgets the samples, and keeps the memory.
    pub fn clear(&mut self) {
        self.older.clear();
        self.running.clear();
        self.late.clear();
    }

    /// Leaves out late samples before `boundary_ms`.
    pub fn drop_late_before(&mut self, boundary_ms: i64) {
        self.late.retain(|&(time, _)| time >= boundary_ms);
    }

    /// Appends the samples in `range` to `out`, in order of time.
    pub fn read(&self, range: TimeRange, out: &mut SampleBuffer) {
        let mut late = self.late.iter().filter(|(t, _)| range.contains(*t)).peekable();
        for bytes in [&self.older, &self.running] {
            stream::decode(bytes, |time, bits| {
                if time > range.end_ms {
                    return false;
                }
                if time >= range.start_ms {
                    while let Some(&(t, bits)) = late.next_if(|(t, _)| *t < time) {
                        out.push(t, f64::from_bits(bits));
                    }
                    out.push(time, f64::from_bits(bits));
                }
                true
            });
        }
        late.for_each(|&(t, bits)| out.push(t, f64::from_bits(bits)));
    }
}

#[cfg(test)]
mod tests;
