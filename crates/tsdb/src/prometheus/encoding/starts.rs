//! Start timestamps of samples, which the encodings XOR2, histogramST and floathistogramST carry.
//!
//! The first sample tells how long before itself it started; each later one how long before the
//! sample before it, as the change of that figure. Checked against blocks of Prometheus 3.14,
//! whose documentation leaves open what the differences are taken from.

use super::bits::BitReader;

/// Reads the start timestamps of one chunk.
#[derive(Debug)]
pub struct StartReader {
    first_known: bool,
    /// The first sample from which on each tells its own; 0: none does.
    from: usize,
    start_ms: i64,
    age_ms: i64,
    time_ms: i64,
}

impl StartReader {
    /// `header` is the byte that tells which samples tell theirs.
    pub fn new(header: u8) -> Self {
        let (first_known, from) = (header & 0x80 != 0, usize::from(header & 0x7f));
        Self { first_known, from, start_ms: 0, age_ms: 0, time_ms: 0 }
    }

    /// The start of sample `i`, which stands behind its value; as before where it is not told.
    pub fn next(&mut self, i: usize, time_ms: i64, bits: &mut BitReader<'_>) -> Option<i64> {
        if i == 0 {
            if self.first_known {
                self.start_ms = time_ms.wrapping_sub(bits.varint()?);
            }
        } else if self.from > 0 && i >= self.from {
            self.age_ms = self.age_ms.wrapping_add(bits.varbit_int()?);
            self.start_ms = self.time_ms.wrapping_sub(self.age_ms);
        }
        self.time_ms = time_ms;
        Some(self.start_ms)
    }
}
