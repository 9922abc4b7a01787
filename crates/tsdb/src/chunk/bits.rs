//! Bit strings, least significant bit first: bit 0 of byte 0 comes first.

/// Appends bits to a byte vector.
pub struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    pending_bits: u32,
}

impl<'a> BitWriter<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, pending_bits: 0 }
    }

    /// Appends the low `bits` (at most 64) bits of `value`; higher bits must be zero.
    pub fn put(&mut self, value: u64, bits: u32) {
        debug_assert!(bits == 64 || value >> bits == 0);
        self.pending |= value.checked_shl(self.pending_bits).unwrap_or(0);
        let total = self.pending_bits + bits;
        if total < 64 {
            self.pending_bits = total;
            return;
        }
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        let written = 64 - self.pending_bits;
        self.pending = value.checked_shr(written).unwrap_or(0);
        self.pending_bits = total - 64;
    }

    /// Fills the last byte with zero bits.
    pub fn finish(self) {
        let bytes = self.pending_bits.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
    }
}

/// Reads bits from a slice; a read beyond its end gives `None`.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bits were read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes on behind so many bits.
    pub fn seek(&mut self, position: usize) {
        self.position = position;
    }

    /// The next `bits` (at most 64) bits.
    pub fn get(&mut self, bits: u32) -> Option<u64> {
        let end = self.position + bits as usize;
        if end > self.bytes.len() * 8 {
            return None;
        }
        let (byte, shift) = (self.position / 8, (self.position % 8) as u32);
        let rest = &self.bytes[byte..];
        let mut window = [0u8; 8];
        let n = rest.len().min(8);
        window[..n].copy_from_slice(&rest[..n]);
        let mut value = u64::from_le_bytes(window) >> shift;
        if shift + bits > 64 {
            value |= u64::from(rest[8]) << (64 - shift);
        }
        self.position = end;
        Some(if bits == 64 { value } else { value & ((1 << bits) - 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_come_back(items in proptest::collection::vec((any::<u64>(), 0u32..=64), 0..60)) {
            let items: Vec<_> =
                items.into_iter().map(|(v, b)| (if b == 64 { v } else { v & ((1 << b) - 1) }, b)).collect();
            let mut out = Vec::new();
            let mut writer = BitWriter::new(&mut out);
            for &(v, b) in &items {
                writer.put(v, b);
            }
            writer.finish();
            let total: usize = items.iter().map(|&(_, b)| b as usize).sum();
            prop_assert_eq!(out.len(), total.div_ceil(8));
            let mut reader = BitReader::new(&out);
            for &(v, b) in &items {
                prop_assert_eq!(reader.get(b), Some(v));
            }
            prop_assert_eq!(reader.get(8), None);
        }
    }
}
