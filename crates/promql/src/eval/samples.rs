//! Samples of one series as functions over ranges see them: floats in columns, native histograms
//! beside them in the form in which they are calculated with.
//!
//! Invariant: `histograms` grow by index, and each stands at an index of `columns`, whose value
//! there means nothing.

use std::sync::Arc;

use vedette_model::{HistogramError, ResetHint, SampleBuffer, is_stale};

use crate::Histogram;

/// Samples without staleness markers, or with them where that is asked for.
#[derive(Debug, Default)]
pub struct Samples {
    /// All samples; its own histograms are taken out.
    pub columns: SampleBuffer,
    pub histograms: Vec<(u32, Arc<Histogram>)>,
}

/// A histogram at a time.
#[derive(Debug, Clone)]
pub struct HistogramSample {
    pub time_ms: i64,
    /// Since when it counts, 0 where that is not known.
    pub start_ms: i64,
    pub histogram: Arc<Histogram>,
}

impl Samples {
    pub fn clear(&mut self) {
        self.columns.clear();
        self.histograms.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub fn push_histogram(&mut self, time_ms: i64, histogram: Arc<Histogram>) {
        self.histograms.push((self.columns.len() as u32, histogram));
        self.columns.push(time_ms, 0.0);
    }

    /// Number of values that the samples take as much memory as.
    pub fn cells(&self) -> usize {
        2 * self.columns.len() + self.histograms.iter().map(|(_, h)| h.cells()).sum::<usize>()
    }

    /// The histogram at an index.
    pub fn histogram(&self, index: usize) -> Option<&Arc<Histogram>> {
        if self.histograms.is_empty() {
            return None;
        }
        let found = self.histograms.binary_search_by_key(&index, |(i, _)| *i as usize);
        found.ok().map(|at| &self.histograms[at].1)
    }

    /// Takes the stored histograms in. A sample's hint becomes what a reader may rely on: gauge as
    /// told; no reset where the sample goes on from `before`, or the sample in front of it; else
    /// unknown, whatever the source said, as the sample that it spoke of may not be here.
    pub fn take_histograms(&mut self, before: Option<&Histogram>) -> Result<(), (i64, HistogramError)> {
        let mut previous: Option<(u32, Arc<Histogram>)> = None;
        for (index, native) in self.columns.histograms.drain(..) {
            if native.is_stale() {
                previous = None;
                continue;
            }
            let mut histogram =
                Histogram::from_native(&native).map_err(|e| (self.columns.times_ms[index as usize], e))?;
            if histogram.hint != ResetHint::Gauge {
                let in_front = match &previous {
                    Some((place, h)) if place + 1 == index => Some(&**h),
                    None if index == 0 => before,
                    _ => None,
                };
                let goes_on = in_front.is_some_and(|h| h.hint != ResetHint::Gauge && histogram.continues(h));
                histogram.hint = if goes_on { ResetHint::NotReset } else { ResetHint::Unknown };
            }
            let histogram = Arc::new(histogram);
            previous = Some((index, Arc::clone(&histogram)));
            self.histograms.push((index, histogram));
        }
        Ok(())
    }

    /// Leaves count and sum only, with the resets found out while the buckets are there.
    pub fn drop_buckets(&mut self) {
        let mut last: Option<Arc<Histogram>> = None;
        for (_, histogram) in &mut self.histograms {
            let mut bare = histogram.without_buckets();
            if bare.hint == ResetHint::Unknown
                && let Some(last) = &last
            {
                let reset = histogram.is_reset_since(last);
                bare.hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
            }
            last = Some(std::mem::replace(histogram, Arc::new(bare)));
        }
    }

    /// Removes staleness markers.
    pub fn drop_stale(&mut self) {
        let columns = &mut self.columns;
        if !columns.values.iter().any(|v| is_stale(*v)) {
            return;
        }
        let mut kept = 0;
        let mut next = 0;
        for i in 0..columns.len() {
            let is_histogram = self.histograms.get(next).is_some_and(|(at, _)| *at as usize == i);
            if !is_histogram && is_stale(columns.values[i]) {
                continue;
            }
            if is_histogram {
                self.histograms[next].0 = kept as u32;
                next += 1;
            }
            columns.times_ms[kept] = columns.times_ms[i];
            columns.values[kept] = columns.values[i];
            if let Some(start) = columns.starts_ms.get(i).copied() {
                columns.starts_ms[kept] = start;
            }
            kept += 1;
        }
        columns.truncate(kept);
    }

    /// The floats, and the histograms, each alone.
    pub fn split(&self) -> (SampleBuffer, Vec<HistogramSample>) {
        let columns = &self.columns;
        let mut floats = SampleBuffer::default();
        let mut histograms = Vec::with_capacity(self.histograms.len());
        let mut next = self.histograms.iter().peekable();
        for (i, time_ms) in columns.times_ms.iter().enumerate() {
            let start_ms = columns.start_ms(i);
            if let Some((_, histogram)) = next.next_if(|(at, _)| *at as usize == i) {
                let histogram = Arc::clone(histogram);
                histograms.push(HistogramSample { time_ms: *time_ms, start_ms, histogram });
            } else {
                floats.push(*time_ms, columns.values[i]);
                floats.set_last_start(start_ms);
            }
        }
        (floats, histograms)
    }
}
