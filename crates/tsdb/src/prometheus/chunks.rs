//! Chunks as Prometheus encodes them, for those who send and receive them one by one: remote read
//! streams them.

use vedette_model::{SampleBuffer, TimeRange};

use super::{
    Refused,
    encoding::{self, runs},
};

pub use super::crc32c::crc32c;

/// A chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedChunk {
    /// Times of the first and the last sample.
    pub range: TimeRange,
    /// Prometheus' number of the encoding: 1 for floats, 2 for histograms, 3 for those of floats.
    pub encoding: u8,
    /// The chunk.
    pub data: Vec<u8>,
}

/// Cuts samples into chunks as Prometheus does. Start timestamps are left out.
pub fn encode(samples: &SampleBuffer) -> impl Iterator<Item = EncodedChunk> + '_ {
    runs(samples).map(|run| {
        let (encoding, data) = encoding::encode(samples, &run);
        let range = TimeRange {
            start_ms: samples.times_ms[run.range.start],
            end_ms: samples.times_ms[run.range.end - 1],
        };
        EncodedChunk { range, encoding, data }
    })
}

/// Appends the samples of a chunk; on `None` it is none, and some may have been appended.
pub fn decode(encoding: u8, data: &[u8], out: &mut SampleBuffer, refused: &mut Refused) -> Option<()> {
    encoding::decode(encoding, data, out, refused)
}
