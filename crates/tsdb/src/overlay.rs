//! Samples of one series that come from several segments, whose stretches of time may overlap.
//!
//! Of several samples of one time that of the segment with the lowest rank counts.

use std::sync::Arc;

use vedette_model::{ReadError, SampleBuffer, TimeRange};

use crate::{
    mask,
    segment::{Block, Segment, Thin},
};

/// The part of a series that stands in one segment.
pub struct Part<'a> {
    pub segment: &'a Segment,
    pub block: Block,
    /// What is left out of it, see [`crate::mask`].
    pub mask: Vec<TimeRange>,
}

impl Part<'_> {
    /// Appends its samples in `range`.
    fn read(&self, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        self.read_thinned(range, None, out).map(|_| ())
    }

    /// The same, thinned out; gives how many samples were left out.
    fn read_thinned(
        &self,
        range: TimeRange,
        thin: Option<Thin>,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        if self.mask.is_empty() {
            return self.segment.read_thinned(self.block, range, thin, out);
        }
        let start = out.len();
        self.segment.read(self.block, range, out)?;
        mask::cut_out(&self.mask, start, out);
        Ok(0)
    }
}

/// Memory that is used again and again.
#[derive(Default)]
pub struct Scratch {
    part: SampleBuffer,
    merged: SampleBuffer,
}

/// Appends the samples of all parts in `range` to `out`, in order of time. Changes the order of
/// the parts.
pub fn read(
    parts: &mut [Part<'_>],
    range: TimeRange,
    scratch: &mut Scratch,
    out: &mut SampleBuffer,
) -> Result<(), ReadError> {
    read_thinned(parts, range, None, scratch, out).map(|_| ())
}

/// The same, but what a single part has is thinned out; gives how many samples were left out.
pub fn read_thinned(
    parts: &mut [Part<'_>],
    range: TimeRange,
    thin: Option<Thin>,
    scratch: &mut Scratch,
    out: &mut SampleBuffer,
) -> Result<u64, ReadError> {
    let mut left_out = 0;
    for cluster in clusters(parts) {
        let start = out.len();
        if let [only] = cluster {
            left_out += only.read_thinned(range, thin, out)?;
            continue;
        }
        cluster.sort_unstable_by_key(|p| p.segment.footer.rank);
        for part in cluster {
            scratch.part.clear();
            part.read(range, &mut scratch.part)?;
            merge(out, start, &scratch.part, &mut scratch.merged);
        }
    }
    Ok(left_out)
}

/// Merges what `read` gives into the samples that `out` has from `start` on, which win.
pub fn add(
    scratch: &mut Scratch,
    out: &mut SampleBuffer,
    start: usize,
    read: impl FnOnce(&mut SampleBuffer),
) {
    scratch.part.clear();
    read(&mut scratch.part);
    merge(out, start, &scratch.part, &mut scratch.merged);
}

/// Splits parts into those that overlap each other, in order of time.
pub fn clusters<'p, 's>(parts: &'p mut [Part<'s>]) -> impl Iterator<Item = &'p mut [Part<'s>]> {
    let range = |p: &Part<'_>| p.segment.footer.range;
    if !parts.is_sorted_by_key(|p| range(p).start_ms) {
        parts.sort_by_key(|p| range(p).start_ms);
    }
    let mut rest = parts;
    std::iter::from_fn(move || {
        let mut end_ms = range(rest.first()?).end_ms;
        let mut count = 1;
        while let Some(next) = rest.get(count).filter(|p| range(p).start_ms <= end_ms) {
            end_ms = end_ms.max(range(next).end_ms);
            count += 1;
        }
        let (cluster, later) = std::mem::take(&mut rest).split_at_mut(count);
        rest = later;
        Some(cluster)
    })
}

/// Merges samples into those that `out` has from `start` on, which win where both have a time.
pub fn merge(out: &mut SampleBuffer, start: usize, other: &SampleBuffer, scratch: &mut SampleBuffer) {
    let Some(&first) = other.times_ms.first() else { return };
    if out.times_ms[start..].last().is_none_or(|&last| last < first) {
        out.extend_from(other);
        return;
    }
    // What lies before the other samples stays where it is.
    let from = start + out.times_ms[start..].partition_point(|&t| t < first);
    scratch.clear();
    let (mut mine, mut theirs) = (Rows::new(out, from), Rows::new(other, 0));
    loop {
        match (mine.time(), theirs.time()) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                mine.take(scratch);
                theirs.skip();
            }
            (Some(a), b) if b.is_none_or(|b| a < b) => mine.take(scratch),
            _ => theirs.take(scratch),
        }
    }
    out.truncate(from);
    out.extend_from(scratch);
}

/// Goes through the samples of a buffer.
struct Rows<'a> {
    samples: &'a SampleBuffer,
    next: usize,
    histogram: usize,
}

impl<'a> Rows<'a> {
    fn new(samples: &'a SampleBuffer, next: usize) -> Self {
        let histogram = samples.histograms.partition_point(|(i, _)| (*i as usize) < next);
        Self { samples, next, histogram }
    }

    fn time(&self) -> Option<i64> {
        self.samples.times_ms.get(self.next).copied()
    }

    fn take(&mut self, out: &mut SampleBuffer) {
        let time_ms = self.samples.times_ms[self.next];
        match self.histogram_here() {
            Some(histogram) => out.push_histogram(time_ms, Arc::clone(histogram)),
            None => out.push(time_ms, self.samples.values[self.next]),
        }
        let start_ms = self.samples.start_ms(self.next);
        if start_ms != 0 {
            out.set_last_start(start_ms);
        }
        self.skip();
    }

    fn skip(&mut self) {
        self.histogram += usize::from(self.histogram_here().is_some());
        self.next += 1;
    }

    fn histogram_here(&self) -> Option<&'a Arc<vedette_model::NativeHistogram>> {
        let (index, histogram) = self.samples.histograms.get(self.histogram)?;
        (*index as usize == self.next).then_some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use vedette_model::NativeHistogram;

    use super::*;

    fn buffer(samples: &BTreeMap<i64, u8>, histograms: bool) -> SampleBuffer {
        let mut out = SampleBuffer::default();
        for (&time, &value) in samples {
            if histograms && value % 3 == 0 {
                let histogram = NativeHistogram { sum: f64::from(value), ..NativeHistogram::stale() };
                out.push_histogram(time, Arc::new(histogram));
            } else {
                out.push(time, f64::from(value));
            }
            if value % 5 == 0 {
                out.set_last_start(i64::from(value) + 1);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn merging_is_as_into_a_map(
            before in proptest::collection::btree_map(-9i64..0, any::<u8>(), 0..3),
            mine in proptest::collection::btree_map(0i64..40, any::<u8>(), 0..20),
            theirs in proptest::collection::btree_map(0i64..40, any::<u8>(), 0..20),
        ) {
            let mut out = buffer(&before, true);
            out.extend_from(&buffer(&mine, true));
            merge(&mut out, before.len(), &buffer(&theirs, true), &mut SampleBuffer::default());
            let mut all = theirs;
            all.extend(mine);
            all.extend(before);
            let wanted = buffer(&all, true);
            prop_assert_eq!(&out.times_ms, &wanted.times_ms);
            prop_assert_eq!(&out.values, &wanted.values);
            prop_assert_eq!(&out.histograms, &wanted.histograms);
            for i in 0..out.len() {
                prop_assert_eq!(out.start_ms(i), wanted.start_ms(i));
            }
        }
    }
}
