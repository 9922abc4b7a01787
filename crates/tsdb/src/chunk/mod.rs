//! The codec of one chunk: some samples of one series, compressed.
//!
//! Layout: `varint count`, times, values (see [`times`] and [`values`]). A chunk does not know
//! its own length; whoever stores it does. Invariant: what decodes is exactly what was encoded,
//! bit by bit, and damaged bytes give `None`, never a panic and never more memory than
//! [`SAMPLES_MAX`] samples need.

mod bits;
mod packed;
mod summary;
mod times;
mod values;
mod xor;

pub use summary::summarize;

use vedette_model::SampleBuffer;

use crate::bytes::{Cursor, put_varint};

/// The most samples in one chunk.
pub const SAMPLES_MAX: usize = 1024;

/// How hard the encoder looks for something shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// For the head: no general-purpose compression.
    Fast,
    /// For sealed data, written once and read often.
    Small,
}

/// Encodes chunks, and keeps the memory this takes.
#[derive(Debug, Default)]
pub struct Encoder {
    times: Vec<i64>,
    values: values::Scratch,
}

impl Encoder {
    /// Appends one chunk of 1 to [`SAMPLES_MAX`] samples, in order of time.
    pub fn encode(&mut self, times_ms: &[i64], samples: &[f64], effort: Effort, out: &mut Vec<u8>) {
        assert!(times_ms.len() == samples.len(), "BUG: times and values differ in number");
        assert!((1..=SAMPLES_MAX).contains(&samples.len()), "BUG: a chunk of {} samples", samples.len());
        put_varint(out, samples.len() as u64);
        times::encode(times_ms, &mut self.times, out);
        values::encode(samples, effort, &mut self.values, out);
    }
}

/// Appends the samples of a chunk; `None`, and `out` as before, when the bytes are damaged.
pub fn decode(chunk: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let start = out.len();
    let decoded = decode_parts(chunk, out);
    if decoded.is_none() {
        out.times_ms.truncate(start);
        out.values.truncate(start);
    }
    decoded
}

fn decode_parts(chunk: &[u8], out: &mut SampleBuffer) -> Option<()> {
    let mut cursor = Cursor::new(chunk);
    let count = usize::try_from(cursor.varint()?).ok()?;
    if !(1..=SAMPLES_MAX).contains(&count) {
        return None;
    }
    times::decode(&mut cursor, count, &mut out.times_ms)?;
    values::decode(&mut cursor, count, &mut out.values)?;
    (out.times_ms.len() == out.values.len()).then_some(())
}

#[cfg(test)]
mod tests;
