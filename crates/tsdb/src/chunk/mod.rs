//! The codec of chunks: some samples of one series, compressed.
//!
//! The head keeps whole chunks as [`Encoder`] writes them: one or more stretches, each of them
//! floats only or histograms of one layout. Segments put the same columns together with summaries
//! in another way, see `segment`. Invariant: what decodes is exactly what was encoded, bit by
//! bit, and damaged bytes give `None`, never a panic and never more memory than [`SAMPLES_MAX`]
//! samples need.

mod bits;
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

use crate::bytes::{Cursor, put_varint};

pub use summary::{summarize, summarize_constant};

/// The most samples in one chunk.
pub const SAMPLES_MAX: usize = 8192;

const HISTOGRAMS: u8 = 1;
const STARTS: u8 = 2;

/// How hard the encoder looks for something shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For the head and for segments soon merged: nothing that needs tables.
    Fast,
    /// For merged data, written once and read often.
    Small,
}

/// Encodes and decodes chunks, and keeps the memory this takes.
#[derive(Debug, Default)]
pub struct Encoder {
    pub(crate) times: times::Scratch,
    pub(crate) values: values::Scratch,
    pub(crate) histograms: histograms::Scratch,
}

/// What decodes keeps the same memory as what encodes.
pub type Decoder = Encoder;

impl Encoder {
    /// Appends one chunk of 1 to [`SAMPLES_MAX`] floats, in order of time.
    pub fn encode(&mut self, times_ms: &[i64], samples: &[f64], effort: Effort, out: &mut Vec<u8>) {
        assert!(times_ms.len() == samples.len(), "BUG: times and values differ in number");
        assert!((1..=SAMPLES_MAX).contains(&samples.len()), "BUG: a chunk of {} samples", samples.len());
        out.push(0);
        put_varint(out, samples.len() as u64);
        times::encode(times_ms, effort, &mut self.times, &mut self.values.ints, out);
        values::encode(samples, effort, &mut self.values, out);
    }

    /// Appends one chunk of the samples in `range`, of which there is at least one, whatever they
    /// are: floats, histograms, with start timestamps or without.
    #[allow(dead_code, reason = "for the head, which takes floats only as yet")]
    pub fn encode_samples(
        &mut self,
        samples: &SampleBuffer,
        range: Range<usize>,
        effort: Effort,
        out: &mut Vec<u8>,
    ) {
        for stretch in stretches(samples, range, SAMPLES_MAX) {
            let times_ms = &samples.times_ms[stretch.range()];
            let starts_ms = samples.starts_ms.get(stretch.range()).filter(|s| s.iter().any(|&s| s != 0));
            let flag = |is: bool, flag: u8| if is { flag } else { 0 };
            out.push(flag(stretch.is_histograms(), HISTOGRAMS) | flag(starts_ms.is_some(), STARTS));
            put_varint(out, times_ms.len() as u64);
            times::encode(times_ms, effort, &mut self.times, &mut self.values.ints, out);
            if let Some(starts_ms) = starts_ms {
                starts::encode(starts_ms, times_ms[0], out);
            }
            match stretch {
                Stretch::Floats(range) => {
                    values::encode(&samples.values[range], effort, &mut self.values, out);
                }
                Stretch::Histograms(_, which) => {
                    let histograms = &samples.histograms[which];
                    histograms::encode(histograms, effort, &mut self.histograms, &mut self.values, out);
                }
            }
        }
    }
}

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

    #[allow(dead_code, reason = "see `Encoder::encode_samples`")]
    fn is_histograms(&self) -> bool {
        matches!(self, Self::Histograms(..))
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

/// Appends the samples of a chunk; `None`, and `out` as before, when the bytes are damaged.
pub fn decode(chunk: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let start = out.len();
    let decoded = with_decoder(|decoder| {
        let mut cursor = Cursor::new(chunk);
        let mut before = None;
        loop {
            decode_stretch(&mut cursor, before, decoder, out)?;
            before = out.times_ms.last().copied();
            if cursor.remaining() == 0 {
                return Some(());
            }
        }
    });
    if decoded.is_none() {
        out.truncate(start);
    }
    decoded
}

fn decode_stretch(
    cursor: &mut Cursor<'_>,
    last_ms: Option<i64>,
    decoder: &mut Decoder,
    out: &mut SampleBuffer,
) -> Option<()> {
    let flags = cursor.byte()?;
    let count = usize::try_from(cursor.varint()?).ok()?;
    if !(1..=SAMPLES_MAX).contains(&count) || flags > HISTOGRAMS + STARTS {
        return None;
    }
    let before = out.len();
    let Decoder { times, values, histograms } = decoder;
    times::decode(cursor, count, times, &mut values.ints, &mut out.times_ms)?;
    if last_ms.is_some_and(|last| out.times_ms[before] <= last) {
        return None;
    }
    if flags & STARTS != 0 {
        out.starts_ms.resize(before, 0);
        let first_ms = out.times_ms[before];
        starts::decode(cursor, first_ms, count, &mut out.starts_ms)?;
    } else if !out.starts_ms.is_empty() {
        out.starts_ms.resize(before + count, 0);
    }
    if flags & HISTOGRAMS == 0 {
        values::decode(cursor, count, values, &mut out.values)?;
    } else {
        let first = u32::try_from(before).ok()?;
        histograms::decode(cursor, count, first, histograms, values, &mut out.histograms)?;
        let from = out.histograms.len() - count;
        out.values.extend(out.histograms[from..].iter().map(|(_, h)| h.sum));
    }
    (out.times_ms.len() == out.values.len()).then_some(())
}

#[cfg(test)]
pub mod tests;
