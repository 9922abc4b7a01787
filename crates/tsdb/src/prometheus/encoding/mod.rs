//! The encodings of chunks: each holds some samples of one series, all of one kind.
//!
//! Invariant: what is not a whole chunk gives `None`, never a panic, and never more memory than
//! [`BUCKETS_MAX`] buckets need.

mod bits;
mod histogram;
mod layout;
mod runs;
mod starts;
mod xor;

use std::ops::Range;

use vedette_model::SampleBuffer;

pub use runs::{Kind, Run, runs};

/// More histogram buckets in one chunk are refused; Prometheus aims at 1 KiB a chunk.
const BUCKETS_MAX: u64 = 16 << 20;

const XOR: u8 = 1;
const HISTOGRAM: u8 = 2;
const FLOAT_HISTOGRAM: u8 = 3;
const XOR2: u8 = 4;
const HISTOGRAM_START: u8 = 5;
const FLOAT_HISTOGRAM_START: u8 = 6;

/// Whether chunks of this encoding can be read.
pub fn is_known(encoding: u8) -> bool {
    (XOR..=FLOAT_HISTOGRAM_START).contains(&encoding)
}

/// Histograms that contradict themselves and were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub histograms: u64,
    /// What is wrong with the first of them.
    pub first: Option<String>,
}

/// Appends the samples of a chunk; on `None` some may have been appended.
pub fn decode(encoding: u8, data: &[u8], out: &mut SampleBuffer, refused: &mut Refused) -> Option<()> {
    use histogram::Flavour;
    let flavour = |float, starts| Flavour { float, starts };
    match encoding {
        XOR => xor::decode(data, out),
        XOR2 => xor::decode_xor2(data, out),
        HISTOGRAM => histogram::decode(data, flavour(false, false), out, refused),
        FLOAT_HISTOGRAM => histogram::decode(data, flavour(true, false), out, refused),
        HISTOGRAM_START => histogram::decode(data, flavour(false, true), out, refused),
        FLOAT_HISTOGRAM_START => histogram::decode(data, flavour(true, true), out, refused),
        _ => None,
    }
}

/// Encodes a run of samples as one chunk: the encoding and the data.
pub fn encode(samples: &SampleBuffer, run: &Run) -> (u8, Vec<u8>) {
    let range: Range<usize> = run.range.clone();
    match run.kind {
        Kind::Float => (XOR, xor::encode(samples, range)),
        Kind::Histogram => (HISTOGRAM, histogram::encode(samples, range, false, run.reset)),
        Kind::FloatHistogram => (FLOAT_HISTOGRAM, histogram::encode(samples, range, true, run.reset)),
    }
}

#[cfg(test)]
pub(super) mod tests;
