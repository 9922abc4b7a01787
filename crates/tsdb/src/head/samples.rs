//! The samples of a shard: of each series the stream of the running span and that of the span
//! before, which waits to be sealed; and beside them the samples that came late.
//!
//! A sample is first claimed, which settles what becomes of it and how it is told, and stored
//! once it is in the WAL. Invariants: times grow from stream to stream and within them; no
//! sample in a stream is older than what is sealed; a late sample has a time that no other
//! sample of its series in the head has.
//!
//! Histograms, start timestamps and exemplars stand in tables of their own, so that series which
//! have none pay for none.

mod columns;
mod delete;

pub use columns::Times;
use vedette_model::{Exemplar, STALE_NAN_BITS, TimeRange};

use super::{
    blocks::{Blocks, Stream},
    exemplars::Exemplars,
    histograms::{Histograms, place_bits},
    late::{self, Late, LateSample, LateValue},
    series::{BEGUN, HISTOGRAMS, IDLE, LATE, NEVER_MS, NO_EPOCH, ROTATING, RUN, STARTS, Series},
    snapshot::Snapshot,
    starts::Starts,
    stream::{self, Item, State},
};
use crate::{
    SeriesRef,
    store::{Appended, HistogramSample},
    wal::{RowBuffer, Told, WholeBuffer, WholeSample, WholeValue, histograms::encode, values},
};

/// About what a late sample takes.
const LATE_BYTES: usize = 40;

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
    histograms: Histograms,
    starts: Starts,
    /// Exemplars of the series.
    pub exemplars: Exemplars,
    late: Late,
    /// Late samples that are being sealed.
    sealing: Late,
}

impl Samples {
    /// Makes room for so many series more.
    pub fn reserve(&mut self, series: usize) {
        self.series.reserve_exact(series);
    }

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
        self.histograms.remove_series(slot, &mut self.blocks);
        self.starts.remove_series(slot);
        self.exemplars.remove_series(slot);
        let generation = series.generation + 1;
        *series = Series::new(generation);
        generation < SeriesRef::GENERATION_MAX
    }

    /// Settles what becomes of samples of one time, which have these start timestamps, or none.
    /// Those taken are told in `row`, and wait in `claims`.
    #[expect(clippy::too_many_arguments, reason = "all of it is of one append")]
    pub fn claim(
        &mut self,
        time_ms: i64,
        samples: &[(SeriesRef, f64)],
        starts_ms: &[i64],
        rules: &Rules,
        row: &mut RowBuffer,
        claims: &mut Claims,
        appended: &mut Appended,
    ) {
        claims.items.reserve(samples.len());
        for (i, &(reference, value)) in samples.iter().enumerate() {
            let slot = reference.slot();
            let series =
                self.series.get_mut(slot as usize).filter(|s| s.generation == reference.generation());
            let Some(series) = series else {
                appended.unknown.push(reference);
                continue;
            };
            let bits = value.to_bits();
            let start_ms = if starts_ms.is_empty() { 0 } else { starts_ms[i] };
            if time_ms <= series.last_ms
                || time_ms < rules.sealed_until_ms
                || (series.flags & LATE != 0 && self.late.reaches(slot, time_ms))
            {
                self.claim_late_float((slot, time_ms), bits, start_ms, rules, claims, appended);
                continue;
            }
            let known = series.epoch == rules.epoch;
            let base = if known { series.last_bits } else { 0 };
            let coded = values::encode(base, bits);
            row.push(slot, base, known, coded);
            if start_ms != 0 || series.flags & STARTS != 0 {
                let before = series.note_start(slot, time_ms, start_ms, &mut self.starts);
                row.push_start(slot, start_ms, if known { before } else { 0 });
            }
            let (item, rotates) = series.claim(time_ms, bits, rules.span_start_ms, |before| {
                if before == base { coded } else { values::encode(before, bits) }
            });
            series.epoch = rules.epoch;
            claims.items.push(Claim { slot, rotates, item });
            appended.taken += 1;
        }
    }

    /// Settles what becomes of a histogram. One taken in order is told in `records`; says whether
    /// it was.
    pub fn claim_histogram(
        &mut self,
        sample: &HistogramSample<'_>,
        rules: &Rules,
        records: &mut WholeBuffer,
        claims: &mut Claims,
        appended: &mut Appended,
    ) -> bool {
        let HistogramSample { reference, time_ms, start_ms, histogram } = *sample;
        let slot = reference.slot();
        let series = self.series.get_mut(slot as usize).filter(|s| s.generation == reference.generation());
        let Some(series) = series else {
            appended.unknown.push(reference);
            return false;
        };
        if time_ms <= series.last_ms
            || time_ms < rules.sealed_until_ms
            || (series.flags & LATE != 0 && self.late.reaches(slot, time_ms))
        {
            let value = LateValue::histogram(histogram, start_ms);
            self.claim_late(LateSample { slot, time_ms, value }, rules, claims, appended);
            return false;
        }
        if start_ms != 0 || series.flags & STARTS != 0 {
            series.note_start(slot, time_ms, start_ms, &mut self.starts);
        }
        records.put_histogram(slot, time_ms, start_ms, histogram);
        self.histograms.push(slot, time_ms, rules.span_start_ms, histogram, &mut self.blocks);
        let bits = place_bits(histogram);
        let (item, rotates) =
            series.claim(time_ms, bits, rules.span_start_ms, |before| values::encode(before, bits));
        series.flags |= HISTOGRAMS;
        // Told whole, it leaves readers of the WAL nothing to tell the next value by.
        series.epoch = NO_EPOCH;
        claims.items.push(Claim { slot, rotates, item });
        appended.taken += 1;
        true
    }

    #[cold]
    fn claim_late_float(
        &mut self,
        (slot, time_ms): (u32, i64),
        bits: u64,
        start_ms: i64,
        rules: &Rules,
        claims: &mut Claims,
        appended: &mut Appended,
    ) {
        let value = LateValue::float(bits, start_ms);
        self.claim_late(LateSample { slot, time_ms, value }, rules, claims, appended);
    }

    #[cold]
    fn claim_late(
        &mut self,
        sample: LateSample,
        rules: &Rules,
        claims: &mut Claims,
        appended: &mut Appended,
    ) {
        let LateSample { slot, time_ms, ref value } = sample;
        let series = &self.series[slot as usize];
        let there = if time_ms == series.last_ms { Some(series.last_bits) } else { self.at(slot, time_ms) };
        match (there, rules.late_from_ms) {
            (Some(there), _) if there == value.bits && self.has_equal_histogram(&sample) => {
                appended.duplicate += 1;
            }
            (Some(_), _) => appended.conflicting += 1,
            (None, None) if time_ms < rules.sealed_until_ms => appended.too_old += 1,
            (None, None) => appended.out_of_order += 1,
            (None, Some(from)) if time_ms < from => appended.too_old += 1,
            (None, Some(_)) => {
                self.late.insert(sample.clone());
                self.series[slot as usize].flags |= LATE;
                self.series[slot as usize].flags &= !IDLE;
                claims.late.push(sample);
                appended.taken += 1;
            }
        }
    }

    /// Whether what is there at the time of a late sample is the same histogram, or is none either.
    fn has_equal_histogram(&self, sample: &LateSample) -> bool {
        let LateSample { slot, time_ms, ref value } = *sample;
        let late = self.late.at(slot, time_ms).or_else(|| self.sealing.at(slot, time_ms));
        if let Some(late) = late {
            return late.histogram_bytes() == value.histogram_bytes();
        }
        let mut there = None;
        if self.series[slot as usize].flags & HISTOGRAMS != 0
            && let Some(histogram) = self.histograms.at(slot, time_ms, &self.blocks)
        {
            encode(None, &histogram, there.insert(Vec::new()));
        }
        there.as_deref() == value.histogram_bytes()
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
            if series.flags & HISTOGRAMS != 0 {
                self.histograms.take_back(*slot, time_ms, &mut self.blocks);
            }
            if series.flags & STARTS != 0 {
                self.starts.take_back(*slot, time_ms);
            }
        }
        claims.late.iter().for_each(|sample| self.late.remove(sample));
    }

    /// Stores a sample from the WAL, unless it is there. Says whether it was stored.
    pub fn replay(&mut self, time_ms: i64, told: &Told, rules: &Rules) -> bool {
        let Told { bits, start_ms, .. } = *told;
        let slot = told.series.slot();
        let series = &mut self.series[slot as usize];
        if time_ms < rules.sealed_until_ms {
            series.remember(time_ms, bits);
            return false;
        }
        if time_ms <= series.last_ms || (series.flags & LATE != 0 && self.late.reaches(slot, time_ms)) {
            return self.replay_late_float(slot, time_ms, bits, start_ms);
        }
        if start_ms != 0 || series.flags & STARTS != 0 {
            series.note_start(slot, time_ms, start_ms, &mut self.starts);
        }
        series.replay(time_ms, told, rules, &mut self.blocks);
        true
    }

    /// Stores a sample that the WAL tells whole, unless it is there. Says whether it was stored.
    pub fn replay_whole(&mut self, slot: u32, sample: &WholeSample, rules: &Rules) -> bool {
        let WholeSample { time_ms, start_ms, value, is_late } = sample;
        let (time_ms, start_ms) = (*time_ms, *start_ms);
        let histogram = match value {
            WholeValue::Float(bits) if !is_late => {
                return self.replay(time_ms, &Told::alone(slot, *bits, start_ms), rules);
            }
            WholeValue::Float(bits) => return self.replay_late_float(slot, time_ms, *bits, start_ms),
            WholeValue::Histogram(histogram) => histogram,
        };
        let bits = place_bits(histogram);
        let series = &mut self.series[slot as usize];
        if !is_late && time_ms < rules.sealed_until_ms {
            if series.remember(time_ms, bits) {
                series.flags |= HISTOGRAMS;
                self.histograms.remember(slot, time_ms, histogram);
            }
            return false;
        }
        let overtaken = series.flags & LATE != 0 && self.late.reaches(slot, time_ms);
        if *is_late || time_ms <= series.last_ms || overtaken {
            let value = LateValue::histogram(histogram, start_ms);
            return self.replay_late(LateSample { slot, time_ms, value });
        }
        if start_ms != 0 || series.flags & STARTS != 0 {
            series.note_start(slot, time_ms, start_ms, &mut self.starts);
        }
        self.histograms.push(slot, time_ms, rules.span_start_ms, histogram, &mut self.blocks);
        series.replay(time_ms, &Told::alone(slot, bits, start_ms), rules, &mut self.blocks);
        series.flags |= HISTOGRAMS;
        true
    }

    #[cold]
    fn replay_late_float(&mut self, slot: u32, time_ms: i64, bits: u64, start_ms: i64) -> bool {
        self.replay_late(LateSample { slot, time_ms, value: LateValue::float(bits, start_ms) })
    }

    /// Stores a late sample from the WAL, unless there is one of its time.
    pub fn replay_late(&mut self, sample: LateSample) -> bool {
        let new = self.at(sample.slot, sample.time_ms).is_none();
        if new {
            self.series[sample.slot as usize].flags |= LATE;
            self.late.insert(sample);
        }
        new
    }

    /// The value that a series has at a time, if that is in the head.
    fn at(&self, slot: u32, time_ms: i64) -> Option<u64> {
        let late = self.late.at(slot, time_ms).or_else(|| self.sealing.at(slot, time_ms));
        if let Some(late) = late {
            return Some(late.bits);
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
        in_order.into_iter().chain(late.iter().filter_map(|l| l.first()).map(|l| l.time_ms)).min()
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
        if series.flags & LATE != 0 {
            self.late.copy(slot, range, &mut out.late);
            self.sealing.copy(slot, range, &mut out.late);
            out.late.sort_unstable_by_key(|sample| sample.time_ms);
        }
        if series.flags & HISTOGRAMS != 0 {
            self.histograms.copy(slot, range, &self.blocks, &mut out.histograms);
        }
        if series.flags & STARTS != 0 {
            self.starts.copy(slot, &mut out.starts);
        }
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
        let flags = self.series[slot as usize].flags;
        if flags & HISTOGRAMS != 0 {
            self.histograms.truncate_before(slot, boundary_ms, &mut self.blocks);
        }
        if flags & STARTS != 0 && !self.starts.truncate_before(slot, boundary_ms) {
            self.series[slot as usize].flags &= !STARTS;
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
            || self.exemplars.has(slot)
        {
            return false;
        }
        let ended = series.last_ms != NEVER_MS && series.last_bits == STALE_NAN_BITS;
        let idle = series.flags & IDLE != 0;
        series.flags |= IDLE;
        ended || idle
    }

    /// Sets the late samples and exemplars before `until_ms` aside, to be sealed.
    pub fn begin_sealing(&mut self, until_ms: i64) {
        self.late.split_before(until_ms, &mut self.sealing);
        self.exemplars.begin_sealing(until_ms);
    }

    /// Ends what [`Samples::begin_sealing`] began; what was not sealed is kept.
    pub fn end_sealing(&mut self, sealed: bool) {
        let sealing = std::mem::take(&mut self.sealing);
        if !sealed {
            self.late.absorb(sealing);
        }
        self.exemplars.end_sealing(sealed);
    }

    /// Late samples, where those with histograms count by their size.
    pub fn late_len(&self) -> usize {
        self.late.len() + self.late.more_bytes() / LATE_BYTES
    }

    /// Late samples of a series that are being sealed, in order of time.
    pub fn sealing(&self, slot: u32) -> &[late::Sample] {
        self.sealing.of(slot)
    }

    /// Exemplars of a series that are being sealed, in order of time.
    pub fn sealing_exemplars(&self, slot: u32) -> &[Exemplar] {
        self.exemplars.sealing(slot)
    }

    /// Memory of series and samples in use.
    pub fn used_bytes(&self) -> usize {
        self.series_used * size_of::<Series>()
            + self.blocks.used_bytes()
            + (self.late.len() + self.sealing.len()) * LATE_BYTES
            + self.late.more_bytes()
            + self.sealing.more_bytes()
            + self.side_bytes()
    }

    /// Memory got from the allocator.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * size_of::<Series>()
            + self.blocks.heap_bytes()
            + self.late.heap_bytes()
            + self.sealing.heap_bytes()
            + self.side_bytes()
    }

    fn side_bytes(&self) -> usize {
        self.histograms.heap_bytes() + self.starts.heap_bytes() + self.exemplars.heap_bytes()
    }
}

#[cfg(test)]
mod tests;
