//! Bit strings as Prometheus' chunks have them, most significant bit first, and the integers of
//! variable width made of them.
//!
//! Invariant: a reader never goes beyond its bytes; what does not fit gives `None`.

use crate::bytes::{unzigzag, zigzag};

/// Appends bits.
#[derive(Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not used yet.
    free: u32,
}

impl BitWriter {
    /// Appends the low `bits` (at most 64) bits of `value`.
    pub fn put(&mut self, value: u64, bits: u32) {
        let mut left = bits;
        while left > 0 {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            let n = left.min(self.free);
            let part = (value >> (left - n)) as u8 & (0xff >> (8 - n));
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << (self.free - n);
            }
            self.free -= n;
            left -= n;
        }
    }

    pub fn put_f64(&mut self, value: f64) {
        self.put(value.to_bits(), 64);
    }

    /// An LEB128 varint, not aligned to bytes.
    pub fn put_uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put(value & 0x7f | 0x80, 8);
            value >>= 7;
        }
        self.put(value, 8);
    }

    pub fn put_varint(&mut self, value: i64) {
        self.put_uvarint(zigzag(value));
    }

    /// A signed integer after a prefix of ones that tells which of `widths` it has.
    fn put_bucketed(&mut self, value: i64, widths: &[u32]) {
        if value == 0 {
            return self.put(0, 1);
        }
        for (class, &width) in widths.iter().enumerate() {
            let half = 1i64 << (width - 1);
            if value > -half && value <= half {
                self.put_class(class);
                return self.put(value as u64, width);
            }
        }
        self.put(u64::MAX, widths.len() as u32 + 1);
        self.put(value as u64, 64);
    }

    fn put_class(&mut self, class: usize) {
        self.put(u64::MAX << 1, class as u32 + 2);
    }

    /// The signed integer of histograms.
    pub fn put_varbit_int(&mut self, value: i64) {
        self.put_bucketed(value, &VARBIT_WIDTHS);
    }

    /// The signed integer of timestamps.
    pub fn put_varbit_time(&mut self, value: i64) {
        self.put_bucketed(value, &TIME_WIDTHS);
    }

    /// The unsigned integer of histograms.
    pub fn put_varbit_uint(&mut self, value: u64) {
        if value == 0 {
            return self.put(0, 1);
        }
        match VARBIT_WIDTHS.iter().position(|&width| value >> width == 0) {
            Some(class) => {
                self.put_class(class);
                self.put(value, VARBIT_WIDTHS[class]);
            }
            None => {
                self.put(u64::MAX, VARBIT_WIDTHS.len() as u32 + 1);
                self.put(value, 64);
            }
        }
    }

    /// The bytes; the last one is filled with zero bits.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Widths of the integers in histogram chunks; beyond the last one 64 bits.
const VARBIT_WIDTHS: [u32; 7] = [3, 6, 9, 12, 18, 25, 56];

/// Widths of the differences of timestamps; beyond the last one 64 bits.
const TIME_WIDTHS: [u32; 3] = [14, 17, 20];

/// Reads bits.
#[derive(Debug, Clone)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// The next `bits` (at most 64) bits.
    pub fn get(&mut self, bits: u32) -> Option<u64> {
        if bits == 0 {
            return Some(0);
        }
        let end = self.position + bits as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let (first, shift) = (self.position / 8, self.position as u32 % 8);
        self.position = end;
        let mut window = [0u8; 16];
        let rest = &self.bytes[first..];
        let n = rest.len().min(9);
        window[..n].copy_from_slice(&rest[..n]);
        let word = u128::from_be_bytes(window) << shift;
        Some((word >> (128 - bits)) as u64)
    }

    pub fn bit(&mut self) -> Option<bool> {
        Some(self.get(1)? == 1)
    }

    pub fn f64(&mut self) -> Option<f64> {
        Some(f64::from_bits(self.get(64)?))
    }

    pub fn uvarint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = self.get(8)?;
            if i == 9 && byte > 1 {
                return None;
            }
            value |= (byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub fn varint(&mut self) -> Option<i64> {
        Some(unzigzag(self.uvarint()?))
    }

    /// Ones up to the next zero, at most `max` of them.
    pub fn ones(&mut self, max: u32) -> Option<u32> {
        let mut n = 0;
        while n < max && self.bit()? {
            n += 1;
        }
        Some(n)
    }

    fn bucketed(&mut self, widths: &[u32]) -> Option<i64> {
        let class = self.ones(widths.len() as u32 + 1)? as usize;
        if class == 0 {
            return Some(0);
        }
        let Some(&width) = widths.get(class - 1) else { return Some(self.get(64)? as i64) };
        let value = self.get(width)? as i64;
        // Half of the numbers and one more are positive.
        Some(if value > 1 << (width - 1) { value - (1 << width) } else { value })
    }

    pub fn varbit_int(&mut self) -> Option<i64> {
        self.bucketed(&VARBIT_WIDTHS)
    }

    pub fn varbit_time(&mut self) -> Option<i64> {
        self.bucketed(&TIME_WIDTHS)
    }

    pub fn varbit_uint(&mut self) -> Option<u64> {
        match self.ones(VARBIT_WIDTHS.len() as u32 + 1)? as usize {
            0 => Some(0),
            class => self.get(VARBIT_WIDTHS.get(class - 1).copied().unwrap_or(64)),
        }
    }

    /// Bits that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_size() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0u32..64).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in proptest::collection::vec((any_size(), 1u32..=64), 0..50)) {
            let mut writer = BitWriter::default();
            for &(n, bits) in &numbers {
                writer.put(n as u64, bits);
                writer.put_varint(n);
                writer.put_uvarint(n as u64);
                writer.put_varbit_int(n);
                writer.put_varbit_time(n);
                writer.put_varbit_uint(n as u64);
                writer.put_f64(f64::from_bits(n as u64));
            }
            let bytes = writer.finish();
            let mut reader = BitReader::new(&bytes);
            for &(n, bits) in &numbers {
                prop_assert_eq!(reader.get(bits), Some(n as u64 & (u64::MAX >> (64 - bits))));
                prop_assert_eq!(reader.varint(), Some(n));
                prop_assert_eq!(reader.uvarint(), Some(n as u64));
                prop_assert_eq!(reader.varbit_int(), Some(n));
                prop_assert_eq!(reader.varbit_time(), Some(n));
                prop_assert_eq!(reader.varbit_uint(), Some(n as u64));
                prop_assert_eq!(reader.f64().map(f64::to_bits), Some(n as u64));
            }
            prop_assert!(reader.remaining() < 8);
            prop_assert_eq!(reader.get(8), None);
        }
    }

    #[test]
    fn integers_have_their_documented_width() {
        for (value, bits) in [
            (0, 1),
            (4, 5),
            (-3, 5),
            (5, 9),
            (-4, 9),
            (256, 13),
            (2048, 17),
            (131_072, 24),
            (16_777_216, 32),
            (1 << 55, 64),
            (i64::MIN, 72),
        ] {
            let mut writer = BitWriter::default();
            writer.put_varbit_int(value);
            let padding = writer.free as usize;
            assert_eq!(writer.finish().len() * 8 - padding, bits, "{value}");
        }
    }
}
