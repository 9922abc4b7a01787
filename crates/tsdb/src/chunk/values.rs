//! A column of floats, written by the shortest of:
//!
//! `0` constant: 8 bytes for all. `1` decimals: whole mantissas ([`super::ints`]) of one exponent.
//! `2` XOR. `3` raw. `4` pco's entropy code for floats (only where effort is allowed).
//!
//! A decimal is `mantissa / 10^exponent` that gives back exactly the same bits. What is no such
//! decimal in an otherwise decimal chunk (a staleness marker, NaN, ±Inf, -0.0) is kept aside as
//! an exception, index and bits.

use std::ops::Range;

use super::{Effort, ints, xor};
use crate::bytes::{Cursor, put_varint};

const CONSTANT: u8 = 0;
const DECIMALS: u8 = 1;
const XOR: u8 = 2;
const RAW: u8 = 3;
const ENTROPY: u8 = 4;

/// Powers of ten that a decimal may be divided by; all are exact as `f64`.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Mantissas beyond this would not survive the way through `f64`.
const MANTISSA_MAX: f64 = 9_007_199_254_740_992.0;

/// Samples below which the tables of the entropy code cost more than they save.
const ENTROPY_MIN: usize = 96;

/// Memory that encoding and decoding use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    pub ints: ints::Scratch,
    mantissas: Vec<i64>,
    exceptions: Vec<(usize, u64)>,
    bits: Vec<u64>,
    bytes: Vec<u8>,
}

/// Whether all values have the same bits.
pub fn is_constant(values: &[f64]) -> bool {
    let first = values.first().map_or(0, |v| v.to_bits());
    values.iter().all(|v| v.to_bits() == first)
}

/// Appends the values, of which there is at least one. Gives the exponent that decimals share.
pub fn encode(values: &[f64], effort: Effort, scratch: &mut Scratch, out: &mut Vec<u8>) -> Option<u8> {
    if is_constant(values) {
        out.push(CONSTANT);
        out.extend_from_slice(&values[0].to_bits().to_le_bytes());
        return None;
    }
    let Some(exponent) = to_decimals(values, scratch) else {
        encode_bits(values, effort, scratch, out);
        return None;
    };
    out.push(DECIMALS);
    out.push(exponent);
    put_varint(out, scratch.exceptions.len() as u64);
    let mut next = 0;
    for &(index, bits) in &scratch.exceptions {
        put_varint(out, (index - next) as u64);
        out.extend_from_slice(&bits.to_le_bytes());
        next = index + 1;
    }
    ints::encode(&scratch.mantissas, effort, &mut scratch.ints, out);
    Some(exponent)
}

/// Appends `count` values to `out`; `None` when the bytes are damaged.
pub fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Option<()> {
    decode_some(cursor, count, 0..count, scratch, out)
}

/// Appends those of `count` values that have these indexes. What is behind them need not be read.
pub fn decode_some(
    cursor: &mut Cursor<'_>,
    count: usize,
    indexes: Range<usize>,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Option<()> {
    if indexes.end > count || indexes.start > indexes.end {
        return None;
    }
    match cursor.byte()? {
        CONSTANT => {
            let value = f64::from_bits(cursor.u64()?);
            out.resize(out.len() + indexes.len(), value);
            Some(())
        }
        DECIMALS => decode_decimals(cursor, count, indexes, scratch, out),
        XOR => {
            let length = usize::try_from(cursor.varint()?).ok()?;
            let start = out.len();
            xor::decode(cursor.take(length)?, count, out)?;
            out.truncate(start + indexes.end);
            out.drain(start..start + indexes.start);
            Some(())
        }
        RAW => {
            let bytes = cursor.take(count.checked_mul(8)?)?;
            let bytes = bytes.get(indexes.start * 8..indexes.end * 8)?;
            let values = bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default()));
            out.extend(values);
            Some(())
        }
        ENTROPY => {
            let length = usize::try_from(cursor.varint()?).ok()?;
            let bytes = cursor.take(length)?;
            let Scratch { ints, bits, .. } = scratch;
            ints::decompress_as(bytes, count, ints.decompressor(), bits)?;
            out.extend(bits.get(indexes)?.iter().map(|&b| from_ordered(b)));
            Some(())
        }
        _ => None,
    }
}

/// Which encoding values are in, for people; nothing is checked.
pub fn encoding_name(encoded: &[u8]) -> &'static str {
    let mut cursor = Cursor::new(encoded);
    match cursor.byte() {
        Some(CONSTANT) => "constant, as values",
        Some(DECIMALS) => skip_to_mantissas(&mut cursor).map_or("damaged", ints::encoding_name),
        Some(XOR) => "XOR",
        Some(RAW) => "raw",
        Some(ENTROPY) => "floats in pco",
        _ => "damaged",
    }
}

/// The first byte of the whole numbers that decimals are made of.
fn skip_to_mantissas(cursor: &mut Cursor<'_>) -> Option<u8> {
    cursor.byte()?;
    for _ in 0..cursor.count(9)? {
        cursor.varint()?;
        cursor.u64()?;
    }
    cursor.byte()
}

/// The exponent that encoded values share, if they are decimals.
pub fn shared_exponent(encoded: &[u8]) -> Option<u8> {
    match *encoded {
        [DECIMALS, exponent, ..] => Some(exponent).filter(|&e| usize::from(e) < POWERS.len()),
        _ => None,
    }
}

/// The whole number that `value` is 10^exponent-ths of, if it is.
pub fn mantissa(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS[usize::from(exponent)];
    let scaled = value * power;
    if scaled.is_nan() || scaled.abs() >= MANTISSA_MAX {
        return None;
    }
    // Through the integer and back, as the decoder goes: -0.0 does not survive that. What
    // rounding does not get right is no decimal.
    let mantissa = (scaled + 0.5f64.copysign(scaled)) as i64;
    (from_mantissa(mantissa, power).to_bits() == value.to_bits()).then_some(mantissa)
}

/// The inverse of [`mantissa`]; `None` for an exponent that is not in use.
pub fn decimal(mantissa: i64, exponent: u8) -> Option<f64> {
    Some(from_mantissa(mantissa, *POWERS.get(usize::from(exponent))?))
}

fn from_mantissa(mantissa: i64, power: f64) -> f64 {
    mantissa as f64 / power
}

/// Fills `scratch.mantissas` and `scratch.exceptions` and gives the exponent they share; `None`
/// when the values are no decimals.
fn to_decimals(values: &[f64], scratch: &mut Scratch) -> Option<u8> {
    let exceptions_max = values.len() / 16 + 1;
    let Scratch { mantissas, exceptions, .. } = scratch;
    let mut exponent = 0u8;
    'exponent: loop {
        mantissas.clear();
        exceptions.clear();
        let mut before = None;
        for (i, &v) in values.iter().enumerate() {
            if let Some(m) = mantissa(v, exponent) {
                before = Some(m);
            } else {
                if let Some(larger) = (exponent + 1..POWERS.len() as u8).find(|&e| mantissa(v, e).is_some()) {
                    exponent = larger;
                    continue 'exponent;
                }
                exceptions.push((i, v.to_bits()));
                if exceptions.len() > exceptions_max {
                    return None;
                }
            }
            mantissas.push(before.unwrap_or(0));
        }
        let first = values.iter().find_map(|&v| mantissa(v, exponent))?;
        // What stands in the place of exceptions before the first decimal is the cheapest.
        let leading = exceptions.iter().enumerate().take_while(|(n, (i, _))| n == i).count();
        mantissas[..leading].fill(first);
        return Some(exponent);
    }
}

fn decode_decimals(
    cursor: &mut Cursor<'_>,
    count: usize,
    indexes: Range<usize>,
    scratch: &mut Scratch,
    out: &mut Vec<f64>,
) -> Option<()> {
    let exponent = usize::from(cursor.byte()?);
    let power = *POWERS.get(exponent)?;
    let exceptions = cursor.count(9)?;
    let mut patches = cursor.clone();
    for _ in 0..exceptions {
        cursor.varint()?;
        cursor.u64()?;
    }
    let start = out.len();
    ints::decode_some(cursor, count, indexes.clone(), &mut scratch.ints, &mut scratch.mantissas)?;
    let mantissas = &scratch.mantissas;
    if exponent == 0 {
        out.extend(mantissas.iter().map(|&m| m as f64));
    } else {
        out.extend(mantissas.iter().map(|&m| from_mantissa(m, power)));
    }
    let values = &mut out[start..];
    let mut next = 0usize;
    for _ in 0..exceptions {
        let index = next.checked_add(usize::try_from(patches.varint()?).ok()?)?;
        let bits = patches.u64()?;
        if index >= count {
            return None;
        }
        if indexes.contains(&index) {
            values[index - indexes.start] = f64::from_bits(bits);
        }
        next = index + 1;
    }
    Some(())
}

fn encode_bits(values: &[f64], effort: Effort, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Scratch { bits, bytes, .. } = scratch;
    bytes.clear();
    xor::encode(values, bytes);
    let mut encoding = XOR;
    if effort == Effort::Small && values.len() >= ENTROPY_MIN {
        let xor_bytes = bytes.len();
        bits.clear();
        bits.extend(values.iter().map(|v| to_ordered(*v)));
        if ints::compress_as(bits, bytes).is_some() && bytes.len() < 2 * xor_bytes {
            bytes.drain(..xor_bytes);
            encoding = ENTROPY;
        } else {
            bytes.truncate(xor_bytes);
        }
    }
    if bytes.len() < values.len() * 8 {
        out.push(encoding);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    } else {
        out.push(RAW);
        for v in values {
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
    }
}

const SIGN: u64 = 1 << 63;

/// The bits of a float as a number that grows with the float.
fn to_ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

fn from_ordered(ordered: u64) -> f64 {
    f64::from_bits(if ordered & SIGN == 0 { !ordered } else { ordered & !SIGN })
}
