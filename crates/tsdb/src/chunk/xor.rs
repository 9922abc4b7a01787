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

/// Bytes that have to be there for a value to be read without asking for each of its parts: what
/// stands before its meaningful bits, and these, from any bit of a byte on.
const VALUE_BYTES_MAX: usize = 16;
/// Bits of a word that are there from any bit of a byte on.
const WORD_BITS: usize = 57;

/// Appends `count` values to `out`.
pub fn decode(bytes: &[u8], count: usize, out: &mut Vec<f64>) -> Option<()> {
    let end = out.len().checked_add(count)?;
    // What is damaged has no more values than bits.
    out.reserve(count.min(bytes.len() * 8));
    let mut reader = BitReader::new(bytes);
    let mut bits = 0u64;
    let mut window = (0, 0);
    if count > 0 {
        bits = reader.get(64)?;
        out.push(f64::from_bits(bits));
    }
    let mut at = reader.position();
    while out.len() < end && at / 8 + VALUE_BYTES_MAX <= bytes.len() {
        let head = word(bytes, at);
        if head & 1 == 0 {
            let same = (head.trailing_zeros() as usize).min(WORD_BITS).min(end - out.len());
            out.extend(std::iter::repeat_n(f64::from_bits(bits), same));
            at += same;
            continue;
        }
        if head & 2 == 0 {
            at += 2;
        } else {
            let (leading, length) = (head >> 2 & 31, (head >> 7 & 63) + 1);
            window = (leading as u32, 64u32.checked_sub((leading + length) as u32)?);
            at += 13;
        }
        let (leading, trailing) = window;
        let length = 64 - leading - trailing;
        let mut meaningful = word(bytes, at);
        if at % 8 + length as usize > 64 {
            meaningful |= u64::from(bytes[at / 8 + 8]) << (64 - at % 8);
        }
        bits ^= (meaningful & (u64::MAX >> (64 - length))) << trailing;
        at += length as usize;
        out.push(f64::from_bits(bits));
    }
    reader.seek(at);
    while out.len() < end {
        if reader.get(1)? == 1 {
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

/// The bits from `at` on, of which the last few may be missing; there are eight bytes.
fn word(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at / 8..].first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(bytes) >> (at % 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column() -> impl Strategy<Value = Vec<f64>> {
        let value = prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            Just(1.5),
            (0u32..50).prop_map(|n| 100.0 + f64::from(n) / 3.0),
        ];
        proptest::collection::vec((value, 1usize..100), 0..40).prop_map(|runs| {
            runs.into_iter().flat_map(|(value, times)| std::iter::repeat_n(value, times)).collect()
        })
    }

    proptest! {
        #[test]
        fn values_come_back(values in column(), before in 0usize..3) {
            let mut bytes = Vec::new();
            encode(&values, &mut bytes);
            let mut back = vec![7.0; before];
            prop_assert_eq!(decode(&bytes, values.len(), &mut back), Some(()));
            let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back[before..]), bits(&values));
        }

        #[test]
        fn damage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 0usize..2000) {
            let _ = decode(&bytes, count, &mut Vec::new());
        }
    }
}
