//! Samples that came late: few, kept beside the streams until they are sealed.

use std::sync::Arc;

use hashbrown::HashMap;
use vedette_model::{NativeHistogram, SampleBuffer, TimeRange};

use crate::{
    bytes::Cursor,
    wal::histograms::{Reader, encode},
};

/// A sample that came when a later one of its series was there, or sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateSample {
    pub slot: u32,
    pub time_ms: i64,
    pub value: LateValue,
}

/// What a late sample is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateValue {
    /// Bits of the value; of a histogram what its place in a stream would have.
    pub bits: u64,
    /// Almost all have none.
    pub more: Option<Box<More>>,
}

/// What a late sample has beside its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct More {
    /// Since when it counts, 0 where that is not known.
    pub start_ms: i64,
    /// Told whole by [`encode`].
    pub histogram: Option<Box<[u8]>>,
}

/// A late sample of some series.
#[derive(Debug, Clone)]
pub struct Sample {
    pub time_ms: i64,
    pub value: LateValue,
}

/// Late samples of a shard.
#[derive(Debug, Default)]
pub struct Late {
    /// Of each slot its samples, in order of time.
    series: HashMap<u32, Vec<Sample>>,
    samples: usize,
    /// About what histograms and start timestamps take.
    more_bytes: usize,
}

impl LateValue {
    /// A float.
    pub fn float(bits: u64, start_ms: i64) -> Self {
        let more = (start_ms != 0).then(|| Box::new(More { start_ms, histogram: None }));
        Self { bits, more }
    }

    /// A histogram.
    pub fn histogram(histogram: &NativeHistogram, start_ms: i64) -> Self {
        let mut bytes = Vec::new();
        encode(None, histogram, &mut bytes);
        let histogram_bytes = Some(bytes.into_boxed_slice());
        Self {
            bits: super::histograms::place_bits(histogram),
            more: Some(Box::new(More { start_ms, histogram: histogram_bytes })),
        }
    }

    /// The histogram, told whole.
    pub fn histogram_bytes(&self) -> Option<&[u8]> {
        self.more.as_deref()?.histogram.as_deref()
    }

    fn heap_bytes(&self) -> usize {
        let bytes =
            |more: &More| size_of::<More>() + 16 + more.histogram.as_ref().map_or(0, |h| h.len() + 16);
        self.more.as_deref().map_or(0, bytes)
    }
}

impl Sample {
    /// Appends the sample to `out`.
    #[cold]
    pub fn put(&self, out: &mut SampleBuffer) {
        let Some(more) = self.value.more.as_deref() else {
            return out.push(self.time_ms, f64::from_bits(self.value.bits));
        };
        match &more.histogram {
            Some(bytes) => {
                let mut reader = Reader::default();
                let histogram = reader.read(&mut Cursor::new(bytes));
                let histogram = histogram.expect("BUG: a damaged late histogram").clone();
                out.push_histogram(self.time_ms, Arc::new(histogram));
            }
            None => out.push(self.time_ms, f64::from_bits(self.value.bits)),
        }
        if more.start_ms != 0 {
            out.set_last_start(more.start_ms);
        }
    }
}

impl Late {
    /// Adds a sample at whose time there is none.
    pub fn insert(&mut self, sample: LateSample) {
        let LateSample { slot, time_ms, value } = sample;
        self.more_bytes += value.heap_bytes();
        let samples = self.series.entry(slot).or_default();
        let at = samples.partition_point(|s| s.time_ms < time_ms);
        samples.insert(at, Sample { time_ms, value });
        self.samples += 1;
    }

    /// Removes a sample.
    pub fn remove(&mut self, sample: &LateSample) {
        let Some(samples) = self.series.get_mut(&sample.slot) else { return };
        if let Ok(at) = samples.binary_search_by_key(&sample.time_ms, |s| s.time_ms) {
            self.more_bytes -= samples.remove(at).value.heap_bytes();
            self.samples -= 1;
        }
        if samples.is_empty() {
            self.series.remove(&sample.slot);
        }
    }

    /// Removes all samples of a series.
    pub fn remove_series(&mut self, slot: u32) {
        let samples = self.series.remove(&slot).unwrap_or_default();
        self.samples -= samples.len();
        self.more_bytes -= samples.iter().map(|s| s.value.heap_bytes()).sum::<usize>();
    }

    /// Moves the samples before `until_ms` to `out`.
    pub fn split_before(&mut self, until_ms: i64, out: &mut Self) {
        self.series.retain(|&slot, samples| {
            let count = samples.partition_point(|s| s.time_ms < until_ms);
            if count > 0 {
                let bytes = out.extend(slot, samples.drain(..count));
                self.samples -= count;
                self.more_bytes -= bytes;
            }
            !samples.is_empty()
        });
        self.series.shrink_to_fit();
    }

    /// Takes all samples of another.
    pub fn absorb(&mut self, other: Self) {
        for (slot, samples) in other.series {
            self.extend(slot, samples.into_iter());
        }
    }

    /// Gives what is added to `more_bytes`.
    fn extend(&mut self, slot: u32, added: impl Iterator<Item = Sample>) -> usize {
        let samples = self.series.entry(slot).or_default();
        let before = samples.len();
        samples.extend(added);
        self.samples += samples.len() - before;
        let more_bytes = samples[before..].iter().map(|s| s.value.heap_bytes()).sum();
        self.more_bytes += more_bytes;
        samples.sort_unstable_by_key(|s| s.time_ms);
        more_bytes
    }

    /// The samples of a series.
    pub fn of(&self, slot: u32) -> &[Sample] {
        if self.series.is_empty() {
            return &[];
        }
        self.series.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// The value of a series at a time.
    pub fn at(&self, slot: u32, time_ms: i64) -> Option<&LateValue> {
        let samples = self.of(slot);
        samples.binary_search_by_key(&time_ms, |s| s.time_ms).ok().map(|at| &samples[at].value)
    }

    /// Whether a series has a late sample.
    pub fn has(&self, slot: u32) -> bool {
        !self.of(slot).is_empty()
    }

    /// Whether a series has a late sample of this time or later.
    pub fn reaches(&self, slot: u32, time_ms: i64) -> bool {
        self.of(slot).last().is_some_and(|last| last.time_ms >= time_ms)
    }

    /// Whether a series has a late sample in `range`, or may have.
    pub fn overlaps(&self, slot: u32, range: TimeRange) -> bool {
        let samples = self.of(slot);
        let ends = samples.first().zip(samples.last());
        ends.is_some_and(|(first, last)| {
            range.overlaps(TimeRange { start_ms: first.time_ms, end_ms: last.time_ms })
        })
    }

    /// Appends the samples of a series in `range`.
    pub fn copy(&self, slot: u32, range: TimeRange, out: &mut Vec<Sample>) {
        out.extend(self.of(slot).iter().filter(|s| range.contains(s.time_ms)).cloned());
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// About how much memory histograms and start timestamps of the samples take.
    pub fn more_bytes(&self) -> usize {
        self.more_bytes
    }

    /// About how much memory they take.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * 40
            + self.series.values().map(|s| s.capacity() * size_of::<Sample>()).sum::<usize>()
            + self.more_bytes
    }
}
