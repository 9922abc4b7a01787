//! Floats that are no short decimals: each value as XOR with the one before, of which only the
//! bits between leading and trailing zeros are written (Pelkonen et al., "Gorilla", VLDB 2015).
//!
//! Per value after the first: `0` same bits; `1 0` the meaningful bits fit the window of the
//! value before, which is used again; `1 1` five bits leading zeros, six bits length less one,
//! the meaningful bits.

use super::bits::{BitReader, BitWriter};

/// Leading zeros are written with five bits.
const LEADING_MAX: u32 = 31;

/// Appends the values; the reader must know how many they are.
pub fn encode(values: &[f64], out: &mut Vec<u8>) {
    let mut writer = BitWriter::new(out);
    let mut before = 0u64;
    let mut window: Option<(u32, u32)> = None;
    for (i, value) in values.iter().enumerate() {
        let bits = value.to_bits();
        if i == 0 {
            writer.put(bits, 64);
            before = bits;
            continue;
        }
        let xor = bits ^ before;
        before = bits;
        if xor == 0 {
            writer.put(0, 1);
            continue;
        }
        let (leading, trailing) = (xor.leading_zeros().min(LEADING_MAX), xor.trailing_zeros());
        match window {
            Some((l, t)) if leading >= l && trailing >= t => {
                writer.put(0b01, 2);
                writer.put(xor >> t, 64 - l - t);
            }
            _ => {
                let length = 64 - leading - trailing;
                writer.put(0b11, 2);
                writer.put(u64::from(leading), 5);
                writer.put(u64::from(length - 1), 6);
                writer.put(xor >> trailing, length);
                window = Some((leading, trailing));
            }
        }
    }
    writer.finish();
}

/// Appends `count` values to `out`.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Option<()> {
    let mut reader = BitReader::new(bytes);
    let mut bits = 0u64;
    let mut window = (0, 0);
    for i in 0..count {
        if i == 0 {
            bits = reader.get(64)?;
        } else if reader.get(1)? == 1 {
            if reader.get(1)? == 1 {
                let leading = reader.get(5)? as u32;
                let length = reader.get(6)? as u32 + 1;
                window = (leading, 64u32.checked_sub(leading + length)?);
            }
            let (leading, trailing) = window;
            bits ^= reader.get(64 - leading - trailing)? << trailing;
        }
        out.push(f64::from_bits(bits));
    }
    Some(())
}
