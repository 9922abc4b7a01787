//! Values of a chunk. The encoder looks for the cheapest of:
//!
//! `0` constant: 8 bytes for all. `1` linear: decimal mantissas with one step. `2` packed:
//! decimal mantissas, or their first or second differences, bit-packed. `3` XOR. `4` raw.
//! `5` squeezed: like `2`, as varints compressed by zstd (only where effort is allowed).
//!
//! A decimal is `mantissa / 10^exponent` that gives back exactly the same bits. What is no such
//! decimal in an otherwise decimal chunk (a staleness marker, NaN, ±Inf, -0.0) is kept aside as
//! an exception, index and bits.

use super::{
    Effort, packed,
    packed::{pack, unpack},
    xor,
};
use crate::bytes::{Cursor, put_signed, put_varint, zigzag};

const CONSTANT: u8 = 0;
const LINEAR: u8 = 1;
const PACKED: u8 = 2;
const XOR: u8 = 3;
const RAW: u8 = 4;
const SQUEEZED: u8 = 5;

/// Powers of ten that a decimal may be divided by; all are exact as `f64`.
const POWERS: [f64; 13] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12];

/// Mantissas beyond this would not survive the way through `f64`.
const MANTISSA_MAX: f64 = 9_007_199_254_740_992.0;

/// Samples below which zstd's frame costs more than it saves.
const SQUEEZE_MIN: usize = 64;

/// zstd's level for sealed data: higher ones take several times longer for a few per cent.
const SQUEEZE_LEVEL: i32 = 3;

/// Memory that encoding uses again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    mantissas: Vec<i64>,
    differences: [Vec<i64>; 2],
    exceptions: Vec<(usize, u64)>,
    bytes: Vec<u8>,
}

/// Appends the values, of which there is at least one.
pub fn encode(values: &[f64], effort: Effort, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let first = values.first().map_or(0, |v| v.to_bits());
    if values.iter().all(|v| v.to_bits() == first) {
        out.push(CONSTANT);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    match to_decimals(values, scratch) {
        Some(exponent) => encode_decimals(exponent, effort, scratch, out),
        None => encode_bits(values, out),
    }
}

/// Appends `count` values to `out`; `None` when the bytes are damaged.
pub fn decode(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<f64>) -> Option<()> {
    match cursor.byte()? {
        CONSTANT => {
            let value = f64::from_bits(cursor.u64()?);
            out.resize(out.len() + count, value);
            Some(())
        }
        LINEAR => decode_decimals(cursor, count, out, |cursor, put| {
            let (mut mantissa, step) = (cursor.signed()?, cursor.signed()?);
            for _ in 0..count {
                put(mantissa);
                mantissa = mantissa.wrapping_add(step);
            }
            Some(())
        }),
        PACKED => decode_decimals(cursor, count, out, |cursor, put| {
            let mut sum = Sum::read(cursor, count)?;
            sum.begin(put);
            unpack(cursor, count - usize::from(sum.order), |v| put(sum.next(v)))
        }),
        SQUEEZED => decode_decimals(cursor, count, out, |cursor, put| {
            let mut sum = Sum::read(cursor, count)?;
            sum.begin(put);
            let length = usize::try_from(cursor.varint()?).ok()?;
            // A varint has at most ten bytes: more cannot come out of a sound frame.
            let varints = zstd::bulk::decompress(cursor.take(length)?, count.checked_mul(10)?).ok()?;
            let mut varints = Cursor::new(&varints);
            for _ in usize::from(sum.order)..count {
                put(sum.next(varints.signed()?));
            }
            Some(())
        }),
        XOR => xor::decode(cursor.take(cursor.remaining())?, count, out),
        RAW => {
            for _ in 0..count {
                out.push(f64::from_bits(cursor.u64()?));
            }
            Some(())
        }
        _ => None,
    }
}

/// Turns differences of an order (0: the values themselves) back into values. The first value
/// and, for second differences, the first step are written before the differences.
struct Sum {
    order: u8,
    value: i64,
    step: i64,
}

impl Sum {
    fn write(order: usize, mantissas: &[i64], out: &mut Vec<u8>) {
        out.push(order as u8);
        if order > 0 {
            put_signed(out, mantissas[0]);
        }
        if order > 1 {
            put_signed(out, mantissas[1].wrapping_sub(mantissas[0]));
        }
    }

    fn read(cursor: &mut Cursor<'_>, count: usize) -> Option<Self> {
        let order = cursor.byte()?;
        if order > 2 || usize::from(order) > count {
            return None;
        }
        let value = if order > 0 { cursor.signed()? } else { 0 };
        let step = if order > 1 { cursor.signed()? } else { 0 };
        Some(Self { order, value, step })
    }

    fn begin(&mut self, put: &mut dyn FnMut(i64)) {
        if self.order > 0 {
            put(self.value);
        }
        if self.order > 1 {
            self.value = self.value.wrapping_add(self.step);
            put(self.value);
        }
    }

    fn next(&mut self, v: i64) -> i64 {
        match self.order {
            0 => self.value = v,
            1 => self.value = self.value.wrapping_add(v),
            _ => {
                self.step = self.step.wrapping_add(v);
                self.value = self.value.wrapping_add(self.step);
            }
        }
        self.value
    }
}

/// Fills `scratch.mantissas` and `scratch.exceptions` and gives the exponent they share; `None`
/// when the values are no decimals.
fn to_decimals(values: &[f64], scratch: &mut Scratch) -> Option<u8> {
    let exceptions_max = values.len() / 16 + 1;
    let mut exponent = 0;
    let mut odd = 0;
    for &v in values {
        if mantissa(v, exponent).is_some() {
            continue;
        }
        match (exponent + 1..POWERS.len()).find(|&e| mantissa(v, e).is_some()) {
            Some(e) => exponent = e,
            None => odd += 1,
        }
        if odd > exceptions_max {
            return None;
        }
    }
    scratch.mantissas.clear();
    scratch.exceptions.clear();
    let mut before = values.iter().find_map(|&v| mantissa(v, exponent))?;
    for (i, &v) in values.iter().enumerate() {
        match mantissa(v, exponent) {
            Some(m) => before = m,
            None => scratch.exceptions.push((i, v.to_bits())),
        }
        scratch.mantissas.push(before);
    }
    // A larger exponent found late may have made early values too large.
    (scratch.exceptions.len() <= exceptions_max).then_some(exponent as u8)
}

fn mantissa(value: f64, exponent: usize) -> Option<i64> {
    let scaled = value * POWERS[exponent];
    if scaled.is_nan() || scaled.abs() >= MANTISSA_MAX {
        return None;
    }
    // Through the integer and back, as the decoder goes: -0.0 does not survive that.
    let mantissa = scaled.round() as i64;
    ((mantissa as f64 / POWERS[exponent]).to_bits() == value.to_bits()).then_some(mantissa)
}

fn encode_decimals(exponent: u8, effort: Effort, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let Scratch { mantissas, differences: [first_order, second_order], exceptions, bytes } = scratch;
    let begin = |out: &mut Vec<u8>, encoding: u8| {
        out.push(encoding);
        out.push(exponent);
        put_varint(out, exceptions.len() as u64);
        let mut next = 0;
        for &(index, bits) in exceptions.iter() {
            put_varint(out, (index - next) as u64);
            out.extend_from_slice(&bits.to_le_bytes());
            next = index + 1;
        }
    };
    differences_of(mantissas, first_order);
    let step = first_order.first().copied().unwrap_or(0);
    if first_order.iter().all(|&d| d == step) {
        begin(out, LINEAR);
        put_signed(out, mantissas[0]);
        put_signed(out, step);
        return;
    }
    differences_of(first_order, second_order);
    let orders: [&[i64]; 3] = [mantissas, first_order, second_order];
    let (order, cost) = (0..3)
        .map(|order| (order, packed::packed_bytes(orders[order])))
        .min_by_key(|&(_, cost)| cost)
        .expect("BUG: three orders to choose from");
    if effort == Effort::Small && mantissas.len() >= SQUEEZE_MIN {
        // Varints compress best as first differences, whatever packs best.
        bytes.clear();
        for &v in first_order.iter() {
            put_varint(bytes, zigzag(v));
        }
        if let Ok(squeezed) = zstd::bulk::compress(bytes, SQUEEZE_LEVEL)
            && squeezed.len() + 3 < cost
        {
            begin(out, SQUEEZED);
            Sum::write(1, mantissas, out);
            put_varint(out, squeezed.len() as u64);
            out.extend_from_slice(&squeezed);
            return;
        }
    }
    begin(out, PACKED);
    Sum::write(order, mantissas, out);
    pack(orders[order], out);
}

fn differences_of(values: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.extend(values.windows(2).map(|w| w[1].wrapping_sub(w[0])));
}

fn decode_decimals(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<f64>,
    mantissas: impl FnOnce(&mut Cursor<'_>, &mut dyn FnMut(i64)) -> Option<()>,
) -> Option<()> {
    let power = *POWERS.get(usize::from(cursor.byte()?))?;
    let exceptions = cursor.count(9)?;
    let mut patches = cursor.clone();
    for _ in 0..exceptions {
        cursor.varint()?;
        cursor.u64()?;
    }
    let start = out.len();
    mantissas(cursor, &mut |m| out.push(m as f64 / power))?;
    let values = out.get_mut(start..start + count)?;
    let mut next = 0usize;
    for _ in 0..exceptions {
        let index = next.checked_add(usize::try_from(patches.varint()?).ok()?)?;
        *values.get_mut(index)? = f64::from_bits(patches.u64()?);
        next = index + 1;
    }
    Some(())
}

fn encode_bits(values: &[f64], out: &mut Vec<u8>) {
    let start = out.len();
    out.push(XOR);
    xor::encode(values, out);
    if out.len() - start > values.len() * 8 + 1 {
        out.truncate(start);
        out.push(RAW);
        for v in values {
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
    }
}
