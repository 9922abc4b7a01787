//! The samples of one series that are not sealed yet: compressed chunks, one behind the other
//! in one allocation, and a short tail that is still growing.
//!
//! The tail is as small as its content allows: a run of equal values is one value, times with
//! one step are first and step. Invariant: times grow from chunk to chunk and into the tail.

use vedette_model::{SampleBuffer, TimeRange};

use crate::{
    bytes::{Cursor, put_signed, put_varint},
    chunk::{self, Effort, Encoder},
};

/// Samples in a full tail. Fewer make chunks whose headers weigh; more make every changing
/// series carry a larger buffer, and series are many.
const TAIL_SAMPLES: usize = 64;

/// The samples of one series in the head.
#[derive(Debug, Default)]
pub struct SeriesData {
    /// Frames: varint length of the chunk, signed first time, varint last less first, chunk.
    encoded: Vec<u8>,
    /// Time of the last sample in `encoded`.
    encoded_last_ms: Option<i64>,
    tail: Tail,
    /// Time and value bits of the last sample accepted, which may still be on its way to the WAL.
    claimed: Option<(i64, u64)>,
    /// Whether sealing has found the series without a sample before.
    idle: bool,
}

/// What a sample is to a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    Taken,
    Duplicate,
    OutOfOrder,
}

impl SeriesData {
    /// Judges a sample, and reserves its place if it fits.
    pub fn claim(&mut self, time_ms: i64, value: f64) -> Claim {
        match self.claimed {
            Some((last, bits)) if time_ms == last && value.to_bits() == bits => Claim::Duplicate,
            Some((last, _)) if time_ms <= last => Claim::OutOfOrder,
            _ => {
                self.claimed = Some((time_ms, value.to_bits()));
                Claim::Taken
            }
        }
    }

    /// Forgets claims that were not followed by [`SeriesData::push`].
    pub fn disclaim(&mut self) {
        self.claimed = self.last();
    }

    /// Adds a sample later than all others.
    pub fn push(&mut self, time_ms: i64, value: f64, encoder: &mut Encoder) {
        debug_assert!(self.last_ms().is_none_or(|last| last < time_ms));
        if !self.tail.push(time_ms, value) {
            self.encode_tail(encoder);
            let fits = self.tail.push(time_ms, value);
            debug_assert!(fits);
        }
        if self.tail.len() >= TAIL_SAMPLES {
            self.encode_tail(encoder);
        }
        // Replay pushes without claiming.
        if self.claimed.is_none_or(|(last, _)| last < time_ms) {
            self.claimed = Some((time_ms, value.to_bits()));
        }
    }

    /// Time of the first sample.
    pub fn first_ms(&self) -> Option<i64> {
        frames(&self.encoded).next().map(|f| f.first_ms).or(self.tail.first_ms())
    }

    /// Time of the last sample.
    pub fn last_ms(&self) -> Option<i64> {
        self.tail.last_ms().or(self.encoded_last_ms)
    }

    /// Whether some sample lies between the first and last of `range`, or may do.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.first_ms()
            .zip(self.last_ms())
            .is_some_and(|(start_ms, end_ms)| range.overlaps(TimeRange { start_ms, end_ms }))
    }

    /// A copy of what `range` needs, cheap to make under a lock and decoded later without one.
    pub fn snapshot(&self, range: TimeRange, out: &mut Snapshot) {
        out.encoded.clear();
        for frame in frames(&self.encoded) {
            if range.overlaps(TimeRange { start_ms: frame.first_ms, end_ms: frame.last_ms }) {
                out.encoded.extend_from_slice(frame.whole);
            }
        }
        out.tail.clear();
        self.tail.copy_to(&mut out.tail);
    }

    /// Removes the samples before `boundary_ms`.
    pub fn truncate_before(&mut self, boundary_ms: i64, encoder: &mut Encoder) {
        if self.first_ms().is_none_or(|first| first >= boundary_ms) {
            return;
        }
        let mut kept = Vec::new();
        let mut split = SampleBuffer::default();
        for frame in frames(&self.encoded).filter(|f| f.last_ms >= boundary_ms) {
            if frame.first_ms >= boundary_ms {
                kept.extend_from_slice(frame.whole);
                continue;
            }
            chunk::decode(frame.chunk, &mut split).expect("BUG: a chunk of the head does not decode");
            let from = split.times_ms.partition_point(|&t| t < boundary_ms);
            put_frame(&split.times_ms[from..], &split.values[from..], encoder, &mut kept);
        }
        kept.shrink_to_fit();
        self.encoded = kept;
        self.encoded_last_ms = self.encoded_last_ms.filter(|&last| last >= boundary_ms);
        self.tail.truncate_before(boundary_ms);
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty() && self.tail.len() == 0
    }

    /// Whether the series has no sample and is not just begun: a new one is spared once.
    pub fn is_idle(&mut self) -> bool {
        let begun = std::mem::replace(&mut self.idle, true) || self.claimed.is_some();
        self.is_empty() && begun
    }

    /// Heap memory.
    pub fn heap_bytes(&self) -> usize {
        self.encoded.capacity() + self.tail.heap_bytes()
    }

    fn last(&self) -> Option<(i64, u64)> {
        let mut samples = SampleBuffer::default();
        if self.tail.len() > 0 {
            self.tail.copy_to(&mut samples);
        } else {
            let frame = frames(&self.encoded).last()?;
            chunk::decode(frame.chunk, &mut samples)?;
        }
        Some((*samples.times_ms.last()?, samples.values.last()?.to_bits()))
    }

    fn encode_tail(&mut self, encoder: &mut Encoder) {
        let mut samples = SampleBuffer::default();
        self.tail.copy_to(&mut samples);
        self.encoded_last_ms = self.tail.last_ms();
        put_frame(&samples.times_ms, &samples.values, encoder, &mut self.encoded);
        self.tail.clear();
    }
}

/// Copied samples of one series.
#[derive(Debug, Default)]
pub struct Snapshot {
    encoded: Vec<u8>,
    tail: SampleBuffer,
}

impl Snapshot {
    /// Appends the samples in `range` to `out`.
    pub fn read(&self, range: TimeRange, out: &mut SampleBuffer) {
        for frame in frames(&self.encoded) {
            let start = out.len();
            chunk::decode(frame.chunk, out).expect("BUG: a chunk of the head does not decode");
            out.cut_to(range, start);
        }
        let start = out.len();
        out.times_ms.extend_from_slice(&self.tail.times_ms);
        out.values.extend_from_slice(&self.tail.values);
        out.cut_to(range, start);
    }
}

struct Frame<'a> {
    whole: &'a [u8],
    chunk: &'a [u8],
    first_ms: i64,
    last_ms: i64,
}

fn frames(encoded: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut cursor = Cursor::new(rest);
        let frame = (|| {
            let length = usize::try_from(cursor.varint()?).ok()?;
            let first_ms = cursor.signed()?;
            let last_ms = first_ms.wrapping_add(cursor.varint()? as i64);
            let chunk = cursor.take(length)?;
            let (whole, tail) = rest.split_at(rest.len() - cursor.remaining());
            rest = tail;
            Some(Frame { whole, chunk, first_ms, last_ms })
        })();
        Some(frame.expect("BUG: a frame of the head does not decode"))
    })
}

fn put_frame(times_ms: &[i64], values: &[f64], encoder: &mut Encoder, out: &mut Vec<u8>) {
    let (Some(&first), Some(&last)) = (times_ms.first(), times_ms.last()) else { return };
    let mut chunk = Vec::new();
    encoder.encode(times_ms, values, Effort::Fast, &mut chunk);
    // Exact growth: there is one such vector for every series.
    out.reserve_exact(chunk.len() + 30);
    put_varint(out, chunk.len() as u64);
    put_signed(out, first);
    put_varint(out, last.wrapping_sub(first) as u64);
    out.extend_from_slice(&chunk);
}

/// Samples not compressed yet.
#[derive(Debug, Default)]
struct Tail {
    first_ms: i64,
    /// Distance of all times while `offsets` is empty.
    step_ms: u32,
    count: u16,
    /// The value of all samples while `values` is empty.
    constant: f64,
    /// Times less the first one, as soon as they have no common step.
    offsets: Vec<u32>,
    values: Vec<f64>,
}

impl Tail {
    fn len(&self) -> usize {
        usize::from(self.count)
    }

    fn first_ms(&self) -> Option<i64> {
        (self.count > 0).then_some(self.first_ms)
    }

    fn last_ms(&self) -> Option<i64> {
        (self.count > 0).then(|| self.first_ms + self.offset(self.len() - 1))
    }

    fn offset(&self, i: usize) -> i64 {
        self.offsets.get(i).map_or(i64::from(self.step_ms) * i as i64, |&o| i64::from(o))
    }

    /// Adds a sample; says no when its time is too far from the first one.
    fn push(&mut self, time_ms: i64, value: f64) -> bool {
        if self.count == 0 {
            (self.first_ms, self.step_ms, self.constant) = (time_ms, 0, value);
            self.count = 1;
            return true;
        }
        let offset = time_ms.checked_sub(self.first_ms).and_then(|o| u32::try_from(o).ok());
        let Some(offset) = offset else { return false };
        let n = self.len();
        if n == 1 && self.offsets.is_empty() {
            self.step_ms = offset;
        } else if !self.offsets.is_empty() || i64::from(offset) != i64::from(self.step_ms) * n as i64 {
            if self.offsets.is_empty() {
                let step = self.step_ms;
                self.offsets.extend((0..n).map(|i| step * i as u32));
            }
            self.offsets.push(offset);
        }
        if !self.values.is_empty() || value.to_bits() != self.constant.to_bits() {
            if self.values.is_empty() {
                self.values.resize(n, self.constant);
            }
            self.values.push(value);
        }
        self.count += 1;
        true
    }

    fn copy_to(&self, out: &mut SampleBuffer) {
        let n = self.len();
        out.times_ms.extend((0..n).map(|i| self.first_ms + self.offset(i)));
        if self.values.is_empty() {
            out.values.resize(out.values.len() + n, self.constant);
        } else {
            out.values.extend_from_slice(&self.values);
        }
    }

    /// Forgets the samples. Buffers that were of no use are given back.
    fn clear(&mut self) {
        if self.values.is_empty() {
            self.values = Vec::new();
        }
        if self.offsets.is_empty() {
            self.offsets = Vec::new();
        }
        self.values.clear();
        self.offsets.clear();
        self.count = 0;
    }

    fn truncate_before(&mut self, boundary_ms: i64) {
        if self.first_ms().is_none_or(|first| first >= boundary_ms) {
            return;
        }
        let mut samples = SampleBuffer::default();
        self.copy_to(&mut samples);
        self.clear();
        for (&time, &value) in samples.times_ms.iter().zip(&samples.values) {
            if time >= boundary_ms {
                let fits = self.push(time, value);
                debug_assert!(fits);
            }
        }
    }

    fn heap_bytes(&self) -> usize {
        self.offsets.capacity() * 4 + self.values.capacity() * 8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vedette_model::stale_nan;

    use super::*;

    fn read(data: &SeriesData, range: TimeRange) -> Vec<(i64, u64)> {
        let (mut snapshot, mut out) = (Snapshot::default(), SampleBuffer::default());
        data.snapshot(range, &mut snapshot);
        snapshot.read(range, &mut out);
        out.times_ms.iter().zip(&out.values).map(|(&t, v)| (t, v.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn reads_what_was_pushed(
            start in prop_oneof![Just(i64::MIN), Just(0i64), Just(i64::MAX - 1_000_000)],
            steps in proptest::collection::vec(
                (prop_oneof![8 => Just(10u64), 1 => 1u64..30, 1 => Just(5_000_000_000u64)],
                 prop_oneof![3 => Just(1.0), 1 => any::<f64>(), 1 => Just(stale_nan())]), 1..300),
            cut in 0usize..300,
            from in 0usize..300,
            length in 0usize..300,
        ) {
            let mut encoder = Encoder::default();
            let mut data = SeriesData::default();
            let mut model = Vec::new();
            let mut time = start;
            for (step, value) in steps {
                prop_assert_eq!(data.claim(time, value), Claim::Taken);
                data.push(time, value, &mut encoder);
                model.push((time, value.to_bits()));
                match time.checked_add_unsigned(step) {
                    Some(next) => time = next,
                    None => break,
                }
            }
            let at = |i: usize| model[i.min(model.len() - 1)].0;
            let range = TimeRange { start_ms: at(from), end_ms: at(from + length) };
            let expected = |model: &[(i64, u64)], r: TimeRange| -> Vec<_> {
                model.iter().copied().filter(|&(t, _)| r.contains(t)).collect()
            };
            prop_assert_eq!(read(&data, range), expected(&model, range));
            prop_assert_eq!(read(&data, TimeRange::ALL), model.clone());
            prop_assert_eq!(data.last(), model.last().copied());
            let boundary = at(cut);
            data.truncate_before(boundary, &mut encoder);
            model.retain(|&(t, _)| t >= boundary);
            prop_assert_eq!(read(&data, TimeRange::ALL), model.clone());
            prop_assert_eq!(data.first_ms(), model.first().map(|s| s.0));
            prop_assert_eq!(data.last_ms(), model.last().map(|s| s.0));
            prop_assert_eq!(data.is_empty(), model.is_empty());
        }
    }

    #[test]
    fn a_sample_is_taken_once_and_in_order() {
        let mut encoder = Encoder::default();
        let mut data = SeriesData::default();
        assert_eq!(data.claim(10, 1.0), Claim::Taken);
        data.push(10, 1.0, &mut encoder);
        assert_eq!(data.claim(10, 1.0), Claim::Duplicate);
        assert_eq!(data.claim(10, 2.0), Claim::OutOfOrder);
        assert_eq!(data.claim(9, 1.0), Claim::OutOfOrder);
        assert_eq!(data.claim(11, f64::NAN), Claim::Taken);
        assert_eq!(data.claim(11, f64::NAN), Claim::Duplicate);
        data.disclaim();
        assert_eq!(data.claim(11, 3.0), Claim::Taken);
    }

    #[test]
    fn a_constant_regular_series_needs_no_buffer() {
        let mut encoder = Encoder::default();
        let mut data = SeriesData::default();
        for i in 0..600 {
            data.push(i * 1000, 5.0, &mut encoder);
        }
        assert!(data.heap_bytes() < 400, "{}", data.heap_bytes());
        assert!(data.tail.heap_bytes() == 0);
    }
}
