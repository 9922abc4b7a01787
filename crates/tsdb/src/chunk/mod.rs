//! The codec of chunks: columns of some samples of one series, compressed.
//!
//! A chunk holds floats only, or histograms of one layout; how its columns stand in a file is for
//! `segment` to say. Invariant: what decodes is exactly what was encoded, bit by bit, and damaged
//! bytes give `None`, never a panic and never more memory than [`SAMPLES_MAX`] samples need.

mod bits;
#[cfg(any(test, fuzzing))]
pub mod columns;
pub mod histograms;
pub mod ints;
mod packed;
pub mod starts;
mod summary;
pub mod times;
pub mod values;
mod xor;

use std::{cell::RefCell, ops::Range};

use vedette_model::SampleBuffer;

pub use summary::{summarize, summarize_constant};

/// The most samples in one chunk.
pub const SAMPLES_MAX: usize = 8192;

/// How hard the encoder looks for something shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For segments soon merged: nothing that needs tables.
    Fast,
    /// For merged data, written once and read often.
    Small,
}

/// The memory that encoding takes, used again and again.
#[derive(Debug, Default)]
pub struct Encoder {
    pub(crate) times: times::Scratch,
    pub(crate) values: values::Scratch,
    pub(crate) histograms: histograms::Scratch,
}

/// What decodes keeps the same memory as what encodes.
pub type Decoder = Encoder;

/// Neighbouring samples that can stand in one chunk of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stretch {
    /// Floats, by index.
    Floats(Range<usize>),
    /// Histograms of one layout, by index of the sample and in the list of histograms.
    Histograms(Range<usize>, Range<usize>),
}

impl Stretch {
    /// Indexes of the samples.
    pub fn range(&self) -> Range<usize> {
        let (Self::Floats(range) | Self::Histograms(range, _)) = self;
        range.clone()
    }
}

/// Splits samples into stretches of at most `floats_max` floats, or of histograms of one layout.
pub fn stretches(
    samples: &SampleBuffer,
    range: Range<usize>,
    floats_max: usize,
) -> impl Iterator<Item = Stretch> + '_ {
    let histograms = &samples.histograms;
    let mut next = range.start;
    let mut histogram = histograms.partition_point(|(i, _)| (*i as usize) < range.start);
    std::iter::from_fn(move || {
        if next >= range.end {
            return None;
        }
        let start = next;
        let Some((_, layout)) = histograms.get(histogram).filter(|(i, _)| *i as usize == start) else {
            let until = histograms.get(histogram).map_or(range.end, |(i, _)| (*i as usize).min(range.end));
            // Chunks of about equal size, as a short one at the end compresses badly.
            let size = (until - start).div_ceil((until - start).div_ceil(floats_max));
            next = start + size;
            return Some(Stretch::Floats(start..next));
        };
        let max = histograms::samples_max(layout).min(floats_max).min(range.end - start);
        let from = histogram;
        let fits = histograms[from..].iter().zip(start..).take(max);
        let count = fits
            .take_while(|((i, h), place)| *i as usize == *place && histograms::same_layout(h, layout))
            .count();
        next = start + count;
        histogram = from + count;
        Some(Stretch::Histograms(start..next, from..histogram))
    })
}

thread_local! {
    static DECODER: RefCell<Decoder> = RefCell::new(Decoder::default());
}

/// Lends the thread's memory for decoding.
pub fn with_decoder<T>(decode: impl FnOnce(&mut Decoder) -> T) -> T {
    DECODER.with_borrow_mut(decode)
}

#[cfg(test)]
pub mod tests;
