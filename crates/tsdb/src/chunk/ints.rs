//! A column of whole numbers, written by whichever of a few ways is shortest:
//!
//! constant; linear; or first number, common divisor and what is left of the values, their
//! differences or second differences, bit-packed or (where effort is allowed) in pco's entropy
//! code. Arithmetic is modulo 2^64, so any column comes back. The reader must know how many
//! numbers there are; layout: `docs/formats/tsdb-segment.md`.

use std::ops::Range;

use pco::{
    ChunkConfig, DecompressorScratch, DeltaSpec, ModeSpec,
    data_types::Number,
    wrapped::{FileCompressor, FileDecompressor},
};

use super::{
    Effort,
    packed::{self, pack, unpack},
};
use crate::bytes::{Cursor, put_signed, put_varint};

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
const PACKED: u8 = 2;
const ENTROPY: u8 = 3;
/// Bits of the tag: encoding, order of differences, divisor follows, width of entropy-coded numbers.
const ORDER_SHIFT: u8 = 2;
const DIVIDED: u8 = 1 << 4;
const WIDTH_SHIFT: u8 = 5;

/// Numbers below which the tables of the entropy code cost more than they save.
const ENTROPY_MIN: usize = 96;

/// pco's level: higher ones take two to four times longer for less than a per cent.
const ENTROPY_LEVEL: usize = 4;

/// Columns that span more than this have no divisor, so that differences of differences, too,
/// stay exact.
const DIVIDED_SPAN_MAX: u64 = 1 << 61;

/// Memory that encoding and decoding use again and again.
#[derive(Default)]
pub struct Scratch {
    differences: [Vec<i64>; 3],
    narrow: Narrow,
    entropy: Vec<u8>,
    decompressor: DecompressorScratch,
}

#[derive(Default)]
struct Narrow {
    bytes: Vec<u8>,
    halves: Vec<u16>,
    words: Vec<u32>,
    longs: Vec<u64>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

/// Appends the numbers, of which there is at least one.
pub fn encode(values: &[i64], effort: Effort, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let first = values[0];
    let step = values.get(1).map_or(0, |v| v.wrapping_sub(first));
    let orders = &mut scratch.differences;
    fill(&mut orders[1], values.windows(2).map(|w| w[1].wrapping_sub(w[0])));
    if orders[1].iter().all(|&d| d == step) {
        if step == 0 {
            out.push(CONSTANT);
            put_signed(out, first);
        } else {
            out.push(LINEAR);
            put_signed(out, first);
            put_signed(out, step);
        }
        return;
    }
    let divisor = common_divisor(values, &orders[1]);
    fill(&mut orders[0], values[1..].iter().map(|v| v.wrapping_sub(first)));
    let [offsets, differences, second] = orders;
    fill(second, differences.windows(2).map(|w| w[1].wrapping_sub(w[0])));
    if divisor > 1 {
        for column in [&mut *offsets, &mut *differences, &mut *second] {
            column.iter_mut().for_each(|v| *v /= divisor as i64);
        }
    }
    let costs = [&*offsets, &*differences, &*second].map(|c| packed::packed_bytes(c));
    let order = (0..3).min_by_key(|&o| costs[o]).expect("BUG: three orders to choose from");
    let begin = |tag: u8, order: usize, out: &mut Vec<u8>| {
        let divided = if divisor > 1 { DIVIDED } else { 0 };
        out.push(tag | (order as u8) << ORDER_SHIFT | divided);
        put_signed(out, first);
        if order == 2 {
            put_signed(out, step);
        }
        if divisor > 1 {
            put_varint(out, divisor);
        }
    };
    if effort == Effort::Small && values.len() >= ENTROPY_MIN {
        let columns = [&*offsets, &*differences, &*second];
        let weights =
            columns.map(|c| c.iter().map(|v| u64::from(64 - v.unsigned_abs().leading_zeros())).sum::<u64>());
        let best = (0..3).min_by_key(|&o| weights[o]).expect("BUG: three orders to choose from");
        let column = &scratch.differences[best];
        if let Some((width, least)) = compress(column, &mut scratch.narrow, &mut scratch.entropy)
            && scratch.entropy.len() + 4 < costs[order]
        {
            begin(ENTROPY | width << WIDTH_SHIFT, best, out);
            put_signed(out, least);
            put_varint(out, scratch.entropy.len() as u64);
            out.extend_from_slice(&scratch.entropy);
            return;
        }
    }
    begin(PACKED, order, out);
    pack(&scratch.differences[order], out);
}

/// Which encoding a column whose first byte is `tag` is in, for people.
pub fn encoding_name(tag: u8) -> &'static str {
    match (tag & 3, tag >> ORDER_SHIFT & 3) {
        (CONSTANT, _) => "decimals, constant but for exceptions",
        (LINEAR, _) => "decimals, linear",
        (PACKED, 0) => "decimals, packed",
        (PACKED, 1) => "decimals, packed delta",
        (PACKED, _) => "decimals, packed delta of delta",
        (_, 0) => "decimals in pco",
        (_, 1) => "decimals, delta in pco",
        _ => "decimals, delta of delta in pco",
    }
}

/// Replaces the content of `out` by `count` numbers; `None` when the bytes are damaged.
pub fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    scratch: &mut Scratch,
    out: &mut Vec<i64>,
) -> Option<()> {
    decode_some(cursor, count, 0..count, scratch, out)
}

/// As [`decode`] of `count` numbers, but only those of these indexes; where not all are wanted, the cursor
/// stands anywhere afterwards.
pub fn decode_some(
    cursor: &mut Cursor<'_>,
    count: usize,
    indexes: Range<usize>,
    scratch: &mut Scratch,
    out: &mut Vec<i64>,
) -> Option<()> {
    out.clear();
    if indexes.end > count || indexes.start > indexes.end {
        return None;
    }
    if count == 0 {
        return Some(());
    }
    let tag = cursor.byte()?;
    let first = cursor.signed()?;
    let encoding = tag & 3;
    if encoding <= LINEAR {
        let step = if encoding == LINEAR { cursor.signed()? } else { 0 };
        out.extend(indexes.map(|i| first.wrapping_add(step.wrapping_mul(i as i64))));
        return (tag <= LINEAR).then_some(());
    }
    let order = tag >> ORDER_SHIFT & 3;
    let step = if order == 2 { cursor.signed()? } else { 0 };
    let divisor = if tag & DIVIDED == 0 { 1 } else { cursor.varint()? as i64 };
    // The first number, and for second differences the second too, are there already.
    let known = if order == 2 { 2 } else { 1 };
    let packed = count.checked_sub(known)?;
    if encoding == PACKED && order < 2 {
        if indexes.start == 0 && indexes.end > 0 {
            out.push(first);
        }
        let start = out.len();
        let skipped = indexes.start.saturating_sub(known);
        let wanted = indexes.end.saturating_sub(known + skipped);
        let sum = unpack(cursor, skipped, wanted, out)?;
        let before = if order == 1 { first.wrapping_add(sum.wrapping_mul(divisor)) } else { first };
        restore(order, before, step, divisor, &mut out[start..]);
        return Some(());
    }
    // All before the last one wanted have to be known.
    out.push(first);
    let mut before = first;
    if order == 2 {
        before = first.wrapping_add(step);
        out.push(before);
    }
    if encoding == PACKED {
        unpack(cursor, 0, packed.min(indexes.end.saturating_sub(known)), out)?;
    } else {
        let least = cursor.signed()?;
        let length = usize::try_from(cursor.varint()?).ok()?;
        let bytes = cursor.take(length)?;
        let Scratch { narrow, decompressor, .. } = scratch;
        match tag >> WIDTH_SHIFT {
            0 => decompress(bytes, packed, least, &mut narrow.bytes, decompressor, out)?,
            1 => decompress(bytes, packed, least, &mut narrow.halves, decompressor, out)?,
            2 => decompress(bytes, packed, least, &mut narrow.words, decompressor, out)?,
            3 => decompress(bytes, packed, least, &mut narrow.longs, decompressor, out)?,
            _ => return None,
        }
    }
    if order > 2 {
        return None;
    }
    out.truncate(indexes.end.max(known));
    restore(order, before, step, divisor, &mut out[known..]);
    out.truncate(indexes.end);
    out.drain(..indexes.start);
    Some(())
}

/// Makes numbers of their offsets from the first (order 0), or of their differences or second differences,
/// `value` and `step` being those before them.
fn restore(order: u8, mut value: i64, mut step: i64, divisor: i64, numbers: &mut [i64]) {
    match (order, divisor) {
        (0, 1) => numbers.iter_mut().for_each(|v| *v = value.wrapping_add(*v)),
        (0, d) => numbers.iter_mut().for_each(|v| *v = value.wrapping_add(v.wrapping_mul(d))),
        (1, 1) => {
            for v in numbers {
                value = value.wrapping_add(*v);
                *v = value;
            }
        }
        (1, d) => {
            for v in numbers {
                value = value.wrapping_add(v.wrapping_mul(d));
                *v = value;
            }
        }
        (_, d) => {
            for v in numbers {
                step = step.wrapping_add(v.wrapping_mul(d));
                value = value.wrapping_add(step);
                *v = value;
            }
        }
    }
}

fn fill(out: &mut Vec<i64>, values: impl Iterator<Item = i64>) {
    out.clear();
    out.extend(values);
}

/// What all differences can be divided by: memory comes in pages, time in ticks.
fn common_divisor(values: &[i64], differences: &[i64]) -> u64 {
    let mut divisor = 0;
    for &d in differences {
        divisor = gcd(divisor, d.unsigned_abs());
        if divisor == 1 {
            return 1;
        }
    }
    let (least, most) = values.iter().fold((i64::MAX, i64::MIN), |(l, m), &v| (l.min(v), m.max(v)));
    if most.abs_diff(least) > DIVIDED_SPAN_MAX { 1 } else { divisor }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Compresses offsets from the least number, in the narrowest type that holds them, which makes
/// the tables small. Gives the width and the least number.
fn compress(column: &[i64], narrow: &mut Narrow, out: &mut Vec<u8>) -> Option<(u8, i64)> {
    let (least, most) = column.iter().fold((i64::MAX, i64::MIN), |(l, m), &v| (l.min(v), m.max(v)));
    let offsets = column.iter().map(|&v| v.wrapping_sub(least) as u64);
    out.clear();
    let width = match most.wrapping_sub(least) as u64 {
        0..=0xff => {
            narrow.bytes.clear();
            narrow.bytes.extend(offsets.map(|v| v as u8));
            compress_as(&narrow.bytes, out)?;
            0
        }
        0x100..=0xffff => {
            narrow.halves.clear();
            narrow.halves.extend(offsets.map(|v| v as u16));
            compress_as(&narrow.halves, out)?;
            1
        }
        0x1_0000..=0xffff_ffff => {
            narrow.words.clear();
            narrow.words.extend(offsets.map(|v| v as u32));
            compress_as(&narrow.words, out)?;
            2
        }
        _ => {
            narrow.longs.clear();
            narrow.longs.extend(offsets);
            compress_as(&narrow.longs, out)?;
            3
        }
    };
    Some((width, least))
}

/// Appends the entropy-coded numbers, without the header of a file. Differences and divisors are
/// our own, as pco's search for them takes longer than the coding.
pub fn compress_as<T: Number>(numbers: &[T], out: &mut Vec<u8>) -> Option<()> {
    let config = ChunkConfig::default()
        .with_compression_level(ENTROPY_LEVEL)
        .with_mode_spec(ModeSpec::Classic)
        .with_delta_spec(DeltaSpec::NoOp)
        .with_enable_8_bit(true);
    let mut compressor = FileCompressor::default().chunk_compressor(numbers, &config).ok()?;
    compressor.write_meta(&mut *out).ok()?;
    compressor.write_page(0, &mut *out).ok()?;
    Some(())
}

/// Replaces the content of `out` by `count` numbers.
pub fn decompress_as<T: Number>(
    bytes: &[u8],
    count: usize,
    scratch: &mut DecompressorScratch,
    out: &mut Vec<T>,
) -> Option<()> {
    // The header says nothing but the version; the format of segments stands for it.
    const HEADER: [u8; 2] = [4, 1];
    let (file, _) = FileDecompressor::new(&HEADER[..]).ok()?;
    let (chunk, page) = file.chunk_decompressor::<T, _>(bytes).ok()?;
    out.clear();
    out.resize(count, T::default());
    let mut reader = chunk.page_decompressor_with_scratch(page, count, scratch).ok()?;
    let progress = reader.read(out).ok()?;
    (progress.n_processed == count && reader.into_src().is_empty()).then_some(())
}

fn decompress<T: Number + Into<u64>>(
    bytes: &[u8],
    count: usize,
    least: i64,
    narrow: &mut Vec<T>,
    scratch: &mut DecompressorScratch,
    out: &mut Vec<i64>,
) -> Option<()> {
    decompress_as(bytes, count, scratch, narrow)?;
    out.extend(narrow.iter().map(|&v| least.wrapping_add(Into::<u64>::into(v) as i64)));
    Some(())
}

impl Scratch {
    /// What pco needs to decode.
    pub fn decompressor(&mut self) -> &mut DecompressorScratch {
        &mut self.decompressor
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column() -> impl Strategy<Value = Vec<i64>> {
        prop_oneof![
            proptest::collection::vec(any::<i64>(), 1..300),
            (any::<i64>(), any::<i64>(), 1usize..200)
                .prop_map(|(a, b, n)| (0..n as i64).map(|i| a.wrapping_add(b.wrapping_mul(i))).collect()),
            (1i64..5000, proptest::collection::vec(0i64..300, 1..400))
                .prop_map(|(unit, steps)| steps.iter().map(|s| s * unit).collect()),
            (1i64..5000, proptest::collection::vec(0i64..90_000, 1..400)).prop_map(|(unit, steps)| {
                steps
                    .iter()
                    .scan(i64::MIN / 4, |sum, s| {
                        *sum += s * unit;
                        Some(*sum)
                    })
                    .collect()
            }),
            proptest::collection::vec(prop_oneof![Just(0i64), Just(7), 0i64..1 << 40], 1..400),
        ]
    }

    proptest! {
        #[test]
        fn any_column_comes_back(values in column(), small in any::<bool>()) {
            let effort = if small { Effort::Small } else { Effort::Fast };
            let (mut out, mut back, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
            encode(&values, effort, &mut scratch, &mut out);
            out.push(9);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(decode(&mut cursor, values.len(), &mut scratch, &mut back), Some(()));
            prop_assert_eq!(cursor.remaining(), 1);
            prop_assert_eq!(back, values);
        }

        #[test]
        fn any_part_of_a_column_comes_back(
            values in column(), small in any::<bool>(),
            from in any::<prop::sample::Index>(), until in any::<prop::sample::Index>(),
        ) {
            let effort = if small { Effort::Small } else { Effort::Fast };
            let (mut out, mut back, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
            encode(&values, effort, &mut scratch, &mut out);
            let until = until.index(values.len() + 1);
            let from = from.index(until + 1);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(decode_some(&mut cursor, values.len(), from..until, &mut scratch, &mut back), Some(()));
            prop_assert_eq!(&back, &values[from..until]);
        }

        #[test]
        fn changed_bytes_never_panic(
            values in column(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let (mut out, mut back, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
            encode(&values, Effort::Small, &mut scratch, &mut out);
            for (place, byte) in changes {
                let i = place.index(out.len());
                out[i] = byte;
            }
            let _ = decode(&mut Cursor::new(&out), values.len(), &mut scratch, &mut back);
        }
    }

    #[test]
    fn pages_are_counted_not_spelled_out() {
        let values: Vec<i64> = (0..600).map(|i| (i * 7919 % 16) * 4095).collect();
        let mut out = Vec::new();
        encode(&values, Effort::Fast, &mut Scratch::default(), &mut out);
        assert!(out.len() < 600 * 5 / 8 + 40, "{}", out.len());
    }
}
