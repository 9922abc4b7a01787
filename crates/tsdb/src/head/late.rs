//! Samples that came late: few, kept beside the streams until they are sealed.

use hashbrown::HashMap;
use vedette_model::TimeRange;

use super::samples::LateSample;

/// Late samples of a shard.
#[derive(Debug, Default)]
pub struct Late {
    /// Of each slot its samples, in order of time.
    series: HashMap<u32, Vec<(i64, u64)>>,
    samples: usize,
}

impl Late {
    /// Adds a sample at whose time there is none.
    pub fn insert(&mut self, sample: LateSample) {
        let LateSample { slot, time_ms, bits } = sample;
        let samples = self.series.entry(slot).or_default();
        let at = samples.partition_point(|&(t, _)| t < time_ms);
        samples.insert(at, (time_ms, bits));
        self.samples += 1;
    }

    /// Removes a sample.
    pub fn remove(&mut self, sample: LateSample) {
        let Some(samples) = self.series.get_mut(&sample.slot) else { return };
        if let Ok(at) = samples.binary_search_by_key(&sample.time_ms, |&(t, _)| t) {
            samples.remove(at);
            self.samples -= 1;
        }
        if samples.is_empty() {
            self.series.remove(&sample.slot);
        }
    }

    /// Removes all samples of a series.
    pub fn remove_series(&mut self, slot: u32) {
        self.samples -= self.series.remove(&slot).map_or(0, |samples| samples.len());
    }

    /// Moves the samples before `until_ms` to `out`.
    pub fn split_before(&mut self, until_ms: i64, out: &mut Self) {
        self.series.retain(|&slot, samples| {
            let count = samples.partition_point(|&(t, _)| t < until_ms);
            if count > 0 {
                out.extend(slot, samples.drain(..count));
                self.samples -= count;
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

    fn extend(&mut self, slot: u32, added: impl Iterator<Item = (i64, u64)>) {
        let samples = self.series.entry(slot).or_default();
        let before = samples.len();
        samples.extend(added);
        self.samples += samples.len() - before;
        samples.sort_unstable_by_key(|&(t, _)| t);
    }

    /// The samples of a series.
    pub fn of(&self, slot: u32) -> &[(i64, u64)] {
        if self.series.is_empty() {
            return &[];
        }
        self.series.get(&slot).map_or(&[], Vec::as_slice)
    }

    /// The value of a series at a time.
    pub fn at(&self, slot: u32, time_ms: i64) -> Option<u64> {
        let samples = self.of(slot);
        samples.binary_search_by_key(&time_ms, |&(t, _)| t).ok().map(|at| samples[at].1)
    }

    /// Whether a series has a late sample.
    pub fn has(&self, slot: u32) -> bool {
        !self.of(slot).is_empty()
    }

    /// Whether a series has a late sample in `range`, or may have.
    pub fn overlaps(&self, slot: u32, range: TimeRange) -> bool {
        let samples = self.of(slot);
        let ends = samples.first().zip(samples.last());
        ends.is_some_and(|(first, last)| range.overlaps(TimeRange { start_ms: first.0, end_ms: last.0 }))
    }

    /// Appends the samples of a series in `range`.
    pub fn copy(&self, slot: u32, range: TimeRange, out: &mut Vec<(i64, u64)>) {
        out.extend(self.of(slot).iter().filter(|(t, _)| range.contains(*t)));
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// About how much memory they take.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * 40 + self.series.values().map(|s| s.capacity() * 16).sum::<usize>()
    }
}
