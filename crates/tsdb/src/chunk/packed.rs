//! Integers packed by frame of reference: blocks of 128, each with its own smallest value,
//! common shift and bit width, so that one outlier makes one block wide and not all.

use super::bits::{BitReader, BitWriter};
use crate::bytes::{Cursor, put_signed};

/// Integers in one block.
const BLOCK: usize = 128;

/// What one block needs: smallest value, trailing zero bits all offsets share, bits per offset.
struct Frame {
    least: i64,
    shift: u32,
    width: u32,
}

impl Frame {
    /// Offsets from the least value are taken modulo 2^64, so any set of `i64` has a frame.
    fn of(block: &[i64]) -> Self {
        let least = block.iter().copied().min().unwrap_or(0);
        let mask = block.iter().fold(0, |mask, &v| mask | v.wrapping_sub(least) as u64);
        if mask == 0 {
            return Self { least, shift: 0, width: 0 };
        }
        let shift = mask.trailing_zeros();
        Self { least, shift, width: 64 - mask.leading_zeros() - shift }
    }
}

/// About how many bytes [`pack`] will write.
pub fn packed_bytes(values: &[i64]) -> usize {
    values.chunks(BLOCK).map(|b| 4 + (Frame::of(b).width as usize * b.len()).div_ceil(8)).sum()
}

/// Appends the values; the reader must know how many they are.
pub fn pack(values: &[i64], out: &mut Vec<u8>) {
    for block in values.chunks(BLOCK) {
        let frame = Frame::of(block);
        out.push(frame.width as u8);
        out.push(frame.shift as u8);
        put_signed(out, frame.least);
        if frame.width > 0 {
            let mut writer = BitWriter::new(out);
            for &v in block {
                writer.put(v.wrapping_sub(frame.least) as u64 >> frame.shift, frame.width);
            }
            writer.finish();
        }
    }
}

/// Reads `count` values and hands each on.
pub fn unpack(cursor: &mut Cursor<'_>, count: usize, mut each: impl FnMut(i64)) -> Option<()> {
    let mut left = count;
    while left > 0 {
        let n = left.min(BLOCK);
        let (width, shift) = (u32::from(cursor.byte()?), u32::from(cursor.byte()?));
        let least = cursor.signed()?;
        if width + shift > 64 || shift > 63 {
            return None;
        }
        let bytes = cursor.take((width as usize * n).div_ceil(8))?;
        if width == 0 {
            (0..n).for_each(|_| each(least));
        } else if width <= 56 {
            unpack_block(bytes, n, width, |v| each(least.wrapping_add((v << shift) as i64)));
        } else {
            let mut bits = BitReader::new(bytes);
            for _ in 0..n {
                each(least.wrapping_add((bits.get(width)? << shift) as i64));
            }
        }
        left -= n;
    }
    Some(())
}

/// Unpacks numbers of at most 56 bits, each of which lies within eight bytes from its first. The
/// bytes are copied, so that the last ones can be read like the others.
fn unpack_block(bytes: &[u8], count: usize, width: u32, mut each: impl FnMut(u64)) {
    let mut padded = [0u8; BLOCK * 7 + 8];
    padded[..bytes.len()].copy_from_slice(bytes);
    let mask = (1u64 << width) - 1;
    let mut position = 0;
    for _ in 0..count {
        let byte = position / 8;
        let window = u64::from_le_bytes(padded[byte..byte + 8].try_into().unwrap_or_default());
        each(window >> (position % 8) & mask);
        position += width as usize;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_integers_come_back(
            values in proptest::collection::vec(
                prop_oneof![any::<i64>(), -300i64..300, (0i64..50).prop_map(|v| v * 4096)], 0..400)
        ) {
            let mut out = Vec::new();
            pack(&values, &mut out);
            let mut back = Vec::new();
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(unpack(&mut cursor, values.len(), |v| back.push(v)), Some(()));
            prop_assert_eq!(cursor.remaining(), 0);
            prop_assert_eq!(back, values);
        }
    }

    #[test]
    fn multiples_of_a_page_lose_their_zero_bits() {
        let values: Vec<i64> = (0..128).map(|i| (i % 16) * 4096).collect();
        assert_eq!(packed_bytes(&values), 4 + 128 * 4 / 8);
    }
}
