//! Values of one row of the WAL, each told by how it differs from the value that the same
//! series had in the row before.
//!
//! A tag of four bits per value (two to a byte, the first in the low half), then the bytes that
//! the tags announce. Fast rather than small: rows are written once a second and live for
//! minutes.

use vedette_model::{STALE_NAN_BITS, is_stale, stale_nan};

use crate::bytes::Cursor;

const SAME: u8 = 0;
/// Differences of whole numbers.
const INTEGER_8: u8 = 1;
const INTEGER_16: u8 = 2;
const INTEGER_32: u8 = 3;
/// Differences of hundredths, as of CPU seconds counted in ticks.
const HUNDREDTHS_8: u8 = 4;
const HUNDREDTHS_16: u8 = 5;
/// Differences of millionths, as of CPU seconds counted in microseconds.
const MILLIONTHS_32: u8 = 6;
const RAW: u8 = 7;
/// XOR with the value before, of which only the highest 2 to 4 bytes are not zero.
const XOR_HIGH_2: u8 = 8;
/// XOR with the value before, of which only the lowest 5 to 7 bytes are not zero.
const XOR_LOW_5: u8 = 11;
const STALE: u8 = 15;

/// Appends `values`, and keeps them in `before`, which is as long.
pub fn encode(before: &mut [f64], values: &[f64], out: &mut Vec<u8>) {
    let tags_at = out.len();
    out.resize(tags_at + values.len().div_ceil(2), 0);
    for (i, (before, &value)) in before.iter_mut().zip(values).enumerate() {
        let tag = encode_one(*before, value, out);
        out[tags_at + i / 2] |= tag << (i % 2 * 4);
        *before = value;
    }
}

/// Replaces the values in `before` by those of the row; `None` when the bytes are damaged.
pub fn decode(cursor: &mut Cursor<'_>, before: &mut [f64]) -> Option<()> {
    let tags = cursor.take(before.len().div_ceil(2))?;
    for (i, value) in before.iter_mut().enumerate() {
        let tag = tags[i / 2] >> (i % 2 * 4) & 15;
        *value = decode_one(*value, tag, cursor)?;
    }
    Some(())
}

fn encode_one(before: f64, value: f64, out: &mut Vec<u8>) -> u8 {
    let xor = before.to_bits() ^ value.to_bits();
    if xor == 0 {
        return SAME;
    }
    if let Some(step) = step(before, value, 1.0) {
        if let Ok(step) = i8::try_from(step) {
            out.push(step as u8);
            return INTEGER_8;
        }
        if let Ok(step) = i16::try_from(step) {
            out.extend_from_slice(&step.to_le_bytes());
            return INTEGER_16;
        }
        if let Ok(step) = i32::try_from(step) {
            out.extend_from_slice(&step.to_le_bytes());
            return INTEGER_32;
        }
    } else if let Some(step) = step(before, value, 1e2) {
        if let Ok(step) = i8::try_from(step) {
            out.push(step as u8);
            return HUNDREDTHS_8;
        }
        if let Ok(step) = i16::try_from(step) {
            out.extend_from_slice(&step.to_le_bytes());
            return HUNDREDTHS_16;
        }
    } else if let Some(step) = step(before, value, 1e6).and_then(|s| i32::try_from(s).ok()) {
        out.extend_from_slice(&step.to_le_bytes());
        return MILLIONTHS_32;
    }
    if value.to_bits() == STALE_NAN_BITS {
        return STALE;
    }
    let bytes = xor.to_be_bytes();
    let high = 8 - (xor.trailing_zeros() / 8) as usize;
    let low = 8 - (xor.leading_zeros() / 8) as usize;
    if high <= 4 {
        let high = high.max(2);
        out.extend_from_slice(&bytes[..high]);
        return XOR_HIGH_2 + (high - 2) as u8;
    }
    if low <= 7 {
        let low = low.max(5);
        out.extend_from_slice(&bytes[8 - low..]);
        return XOR_LOW_5 + (low - 5) as u8;
    }
    out.extend_from_slice(&value.to_bits().to_le_bytes());
    RAW
}

fn decode_one(before: f64, tag: u8, cursor: &mut Cursor<'_>) -> Option<f64> {
    Some(match tag {
        SAME => before,
        INTEGER_8 => stepped(before, i64::from(cursor.byte()? as i8), 1.0),
        INTEGER_16 => stepped(before, i64::from(i16::from_le_bytes(array(cursor)?)), 1.0),
        INTEGER_32 => stepped(before, i64::from(i32::from_le_bytes(array(cursor)?)), 1.0),
        HUNDREDTHS_8 => stepped(before, i64::from(cursor.byte()? as i8), 1e2),
        HUNDREDTHS_16 => stepped(before, i64::from(i16::from_le_bytes(array(cursor)?)), 1e2),
        MILLIONTHS_32 => stepped(before, i64::from(i32::from_le_bytes(array(cursor)?)), 1e6),
        RAW => f64::from_bits(cursor.u64()?),
        STALE => stale_nan(),
        XOR_HIGH_2..XOR_LOW_5 => {
            let n = usize::from(tag - XOR_HIGH_2) + 2;
            let mut bytes = [0; 8];
            bytes[..n].copy_from_slice(cursor.take(n)?);
            f64::from_bits(before.to_bits() ^ u64::from_be_bytes(bytes))
        }
        _ => {
            let n = usize::from(tag - XOR_LOW_5) + 5;
            let mut bytes = [0; 8];
            bytes[8 - n..].copy_from_slice(cursor.take(n)?);
            f64::from_bits(before.to_bits() ^ u64::from_be_bytes(bytes))
        }
    })
}

fn array<const N: usize>(cursor: &mut Cursor<'_>) -> Option<[u8; N]> {
    cursor.take(N)?.try_into().ok()
}

/// Units of `1 / scale` from `before` to `value`, if [`stepped`] makes exactly `value` of them.
fn step(before: f64, value: f64, scale: f64) -> Option<i64> {
    let step = units(value, scale).wrapping_sub(units(before, scale));
    (!is_stale(value) && stepped(before, step, scale).to_bits() == value.to_bits()).then_some(step)
}

fn stepped(before: f64, step: i64, scale: f64) -> f64 {
    units(before, scale).wrapping_add(step) as f64 / scale
}

/// Saturates; what that spoils is noticed by [`step`].
fn units(value: f64, scale: f64) -> i64 {
    (value * scale).round() as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            Just(stale_nan()),
            Just(-0.0),
            Just(0.0),
            Just(f64::INFINITY),
            any::<i32>().prop_map(f64::from),
            (-40_000i64..40_000).prop_map(|v| v as f64 / 100.0),
            any::<i32>().prop_map(|v| f64::from(v) / 1e6),
            any::<f32>().prop_map(f64::from),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_back_bit_by_bit(
            rows in proptest::collection::vec(proptest::collection::vec(any_value(), 7), 1..20)
        ) {
            let (mut writer, mut reader) = (vec![0.0; 7], vec![0.0; 7]);
            for row in rows {
                let mut out = Vec::new();
                encode(&mut writer, &row, &mut out);
                let mut cursor = Cursor::new(&out);
                prop_assert_eq!(decode(&mut cursor, &mut reader), Some(()));
                prop_assert_eq!(cursor.remaining(), 0);
                let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                prop_assert_eq!(bits(&reader), bits(&row));
            }
        }

        #[test]
        fn garbage_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            before in proptest::collection::vec(any_value(), 0..20),
        ) {
            let mut before = before;
            let _ = decode(&mut Cursor::new(&bytes), &mut before);
        }
    }

    #[test]
    fn what_sources_send_is_small() {
        for (before, value, bytes) in [
            (5.0, 5.0, 0),
            (1e9, 1e9 + 100.0, 1),
            (1e9, 1e9 + 1500.0, 2),
            (2e9, 2.5e9, 8),
            (1234.56, 1235.56, 1),
            (1234.56, 1240.01, 2),
            (12.345_678, 13.345_01, 4),
            (1.0, stale_nan(), 0),
        ] {
            let mut out = Vec::new();
            encode(&mut [before], &[value], &mut out);
            assert!(out.len() <= 1 + bytes, "{before} {value}: {} bytes", out.len());
        }
    }
}
