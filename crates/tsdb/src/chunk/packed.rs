//! Integers packed by frame of reference: blocks of 128, each with its own smallest value,
//! common shift and bit width, so that one outlier makes one block wide and not all.

use std::ops::Range;

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

/// Goes over `skipped` values and appends the `count` behind them to `out`. Gives the sum of those skipped,
/// modulo 2^64, for which none of them is written down.
pub fn unpack(cursor: &mut Cursor<'_>, skipped: usize, count: usize, out: &mut Vec<i64>) -> Option<i64> {
    let (mut to_skip, mut left) = (skipped, skipped.checked_add(count)?);
    let mut sum = 0i64;
    while left > 0 {
        let n = left.min(BLOCK);
        let (width, shift) = (u32::from(cursor.byte()?), u32::from(cursor.byte()?));
        let least = cursor.signed()?;
        if width + shift > 64 || shift > 63 {
            return None;
        }
        let numbers = Numbers::take(cursor, width, n)?;
        let before = to_skip.min(n);
        let offsets = numbers.sum(before) << shift;
        sum = sum.wrapping_add(least.wrapping_mul(before as i64)).wrapping_add(offsets as i64);
        numbers.unpack(before..n, out, |v| least.wrapping_add((v << shift) as i64));
        to_skip -= before;
        left -= n;
    }
    Some(sum)
}

/// Numbers of at most so many bits lie within eight bytes from the first that they touch.
const NARROW_BITS_MAX: usize = 56;

/// Numbers of one width, at most [`BLOCK`].
struct Numbers<'a> {
    /// The numbers, and whatever stands behind them.
    bytes: &'a [u8],
    width: usize,
    /// How many can be read by eight bytes at once.
    narrow: usize,
}

impl<'a> Numbers<'a> {
    #[inline]
    fn take(cursor: &mut Cursor<'a>, width: u32, count: usize) -> Option<Self> {
        let (bytes, width) = (cursor.rest(), width as usize);
        cursor.take((width * count).div_ceil(8))?;
        let narrow = match bytes.len().checked_sub(8) {
            Some(last) if (1..=NARROW_BITS_MAX).contains(&width) => ((last * 8 + 7) / width + 1).min(count),
            _ => 0,
        };
        Some(Self { bytes, width, narrow })
    }

    /// The sum of the first ones, modulo 2^64.
    fn sum(&self, count: usize) -> u64 {
        let mut sum = 0u64;
        self.each(0..count, |v| sum = sum.wrapping_add(v));
        sum
    }

    /// Appends what `value` makes of each.
    #[inline]
    fn unpack(&self, range: Range<usize>, out: &mut Vec<i64>, value: impl Fn(u64) -> i64 + Copy) {
        let start = out.len();
        // How many there are is known before, so that none is asked whether there is room.
        out.resize(start + range.len(), value(0));
        let mut places = out[start..].iter_mut();
        if self.width > 0 {
            self.each(range, |v| {
                if let Some(place) = places.next() {
                    *place = value(v);
                }
            });
        }
    }

    #[inline]
    fn each(&self, range: Range<usize>, mut take: impl FnMut(u64)) {
        let Self { bytes, width, narrow } = *self;
        let mask = 1u64.checked_shl(width as u32).unwrap_or(0).wrapping_sub(1);
        let narrow = narrow.min(range.end);
        for i in range.start..narrow {
            let position = i * width;
            let window = bytes[position / 8..][..8].try_into().unwrap_or_default();
            take(u64::from_le_bytes(window) >> (position % 8) & mask);
        }
        let rest = range.start.max(narrow);
        let mut bits = BitReader::new(bytes);
        bits.seek(rest * width);
        (rest..range.end).for_each(|_| take(bits.get(width as u32).expect("BUG: the numbers were taken")));
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
            prop_assert_eq!(unpack(&mut cursor, 0, values.len(), &mut back), Some(0));
            prop_assert_eq!(cursor.remaining(), 0);
            prop_assert_eq!(back, values);
        }

        #[test]
        fn those_skipped_are_summed_up(
            values in proptest::collection::vec(
                prop_oneof![any::<i64>(), -300i64..300, (0i64..50).prop_map(|v| v * 4096)], 0..400),
            from in any::<prop::sample::Index>(),
            until in any::<prop::sample::Index>(),
            behind in 0usize..12,
        ) {
            let mut out = Vec::new();
            pack(&values, &mut out);
            out.resize(out.len() + behind, 0xff);
            let until = until.index(values.len() + 1);
            let from = from.index(until + 1);
            let mut back = vec![7];
            let sum = unpack(&mut Cursor::new(&out), from, until - from, &mut back);
            prop_assert_eq!(sum, Some(values[..from].iter().fold(0, |sum: i64, v| sum.wrapping_add(*v))));
            prop_assert_eq!(&back[1..], &values[from..until]);
        }
    }

    #[test]
    fn multiples_of_a_page_lose_their_zero_bits() {
        let values: Vec<i64> = (0..128).map(|i| (i % 16) * 4096).collect();
        assert_eq!(packed_bytes(&values), 4 + 128 * 4 / 8);
    }
}
