//! How the samples of a series are cut into chunks, as Prometheus does it: one kind of sample
//! each, at most 120; histograms that follow each other without a reset and whose buckets mean
//! the same share one, and a staleness marker ends it.

use std::ops::Range;

use vedette_model::{HistogramCounts, NativeHistogram, ResetHint, SampleBuffer};

use super::{
    histogram::ResetHeader,
    layout::{self, Layout},
};

/// The most samples in a chunk.
const SAMPLES_MAX: usize = 120;

/// Histograms in a chunk, whatever their size.
const HISTOGRAMS_MIN: usize = 10;

/// About how many buckets a chunk of 1 KiB holds.
const BUCKETS_AIM: usize = 2048;

/// What the samples of a chunk are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Float,
    Histogram,
    FloatHistogram,
}

/// Samples that make one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub range: Range<usize>,
    pub kind: Kind,
    pub reset: ResetHeader,
}

/// Cuts all samples into runs.
pub fn runs(samples: &SampleBuffer) -> impl Iterator<Item = Run> + '_ {
    let mut next = 0;
    let mut histograms = 0;
    std::iter::from_fn(move || {
        if next >= samples.len() {
            return None;
        }
        while samples.histograms.get(histograms).is_some_and(|(i, _)| (*i as usize) < next) {
            histograms += 1;
        }
        let first_histogram = samples.histograms.get(histograms).map_or(samples.len(), |(i, _)| *i as usize);
        let run = if first_histogram == next {
            histogram_run(samples, next)
        } else {
            let end = first_histogram.min(next + SAMPLES_MAX);
            Run { range: next..end, kind: Kind::Float, reset: ResetHeader::Unknown }
        };
        next = run.range.end;
        Some(run)
    })
}

fn kind(histogram: &NativeHistogram) -> Kind {
    match histogram.counts {
        HistogramCounts::Integer { .. } => Kind::Histogram,
        HistogramCounts::Float { .. } => Kind::FloatHistogram,
    }
}

fn is_gauge(histogram: &NativeHistogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

fn histogram_run(samples: &SampleBuffer, start: usize) -> Run {
    let at = |i: usize| layout::at(&samples.histograms, i);
    let first = at(start).expect("BUG: a run of histograms begins with a float");
    let mut common = Layout::of(first);
    let mut end = start + 1;
    while let Some(h) = at(end).filter(|h| h.is_stale() || kind(h) == kind(first)) {
        let before = at(end - 1).expect("BUG: a run of histograms has a float");
        let count = end - start;
        if count >= SAMPLES_MAX || (count >= HISTOGRAMS_MIN && (count + 1) * common.buckets() > BUCKETS_AIM) {
            break;
        }
        if !h.is_stale() {
            if before.is_stale() || !follows(before, h) {
                break;
            }
            common.extend(h);
        }
        end += 1;
    }
    let before = start.checked_sub(1).and_then(at).filter(|b| !b.is_stale() && kind(b) == kind(first));
    let reset = match (first.reset_hint, before) {
        _ if first.is_stale() => ResetHeader::Unknown,
        (ResetHint::Gauge, _) => ResetHeader::Gauge,
        (ResetHint::Reset, _) => ResetHeader::Reset,
        (_, Some(b)) if !is_gauge(b) && Layout::is_comparable(b, first) => {
            if layout::is_reset(b, first) {
                ResetHeader::Reset
            } else {
                ResetHeader::NotReset
            }
        }
        _ => ResetHeader::Unknown,
    };
    Run { range: start..end, kind: kind(first), reset }
}

/// Whether a histogram may stand behind another in a chunk: a reader will take it that no reset
/// lies between them.
fn follows(before: &NativeHistogram, h: &NativeHistogram) -> bool {
    Layout::is_comparable(before, h)
        && is_gauge(before) == is_gauge(h)
        && (is_gauge(h) || (h.reset_hint != ResetHint::Reset && !layout::is_reset(before, h)))
}
