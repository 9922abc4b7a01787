//! How a value is told by its difference from the value before: a code of four bits, and the
//! bytes that the code announces. Rows of the WAL and the samples in the head share it.
//!
//! Fast rather than small: this is written for every sample, and lives for minutes. Invariant:
//! [`decode`] gives back the very bits that [`encode`] was given, for any bits whatsoever.

use vedette_model::STALE_NAN_BITS;

pub const SAME: u8 = 0;
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
const XOR_HIGH_4: u8 = 10;
/// XOR with the value before, of which only the lowest 5 to 7 bytes are not zero.
const XOR_LOW_5: u8 = 11;
const XOR_LOW_7: u8 = 13;
/// Between 16 and 32 bits, as many counters of bytes need.
const INTEGER_24: u8 = 14;
const STALE: u8 = 15;

/// Bytes that follow each code.
const BYTES: [u8; 16] = [0, 1, 2, 4, 1, 2, 4, 8, 2, 3, 4, 5, 6, 7, 3, 0];

/// The bits of the payload of each code.
const MASKS: [u64; 16] = {
    let mut masks = [0; 16];
    let mut code = 0;
    while code < 16 {
        masks[code] = if BYTES[code] == 8 { u64::MAX } else { (1 << (8 * BYTES[code])) - 1 };
        code += 1;
    }
    masks
};

/// Scaled values from here on are not counted in units.
const UNITS_MAX: f64 = (1u64 << 51) as f64;

/// Added and taken away again, this rounds a number below [`UNITS_MAX`] to the nearest whole
/// one, ties to even.
const ROUNDING: f64 = 3.0 * (1u64 << 51) as f64;

/// A value as its code and what follows, in the lowest bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coded {
    pub code: u8,
    pub payload: u64,
}

impl Coded {
    /// The value before.
    pub const SAME: Self = Self { code: SAME, payload: 0 };

    /// Bytes of the payload.
    pub fn bytes(self) -> usize {
        payload_bytes(self.code)
    }
}

/// Bytes that follow a code, of which the low four bits count.
#[inline]
pub fn payload_bytes(code: u8) -> usize {
    usize::from(BYTES[usize::from(code & 15)])
}

/// The payload of a code, which begins at a place of bytes that go on for eight at least.
#[inline]
pub fn payload_at(bytes: &[u8], at: usize, code: u8) -> Option<u64> {
    let eight = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*eight) & MASKS[usize::from(code & 15)])
}

/// Tells the value with these bits by the one before.
#[inline]
pub fn encode(before: u64, bits: u64) -> Coded {
    if before == bits {
        return Coded { code: SAME, payload: 0 };
    }
    encode_changed(before, bits)
}

#[inline(never)]
fn encode_changed(before: u64, bits: u64) -> Coded {
    if let Some(step) = step(before, bits, 1.0) {
        let payload = step as u64;
        if step == i64::from(step as i8) {
            return Coded { code: INTEGER_8, payload: payload & 0xff };
        }
        if step == i64::from(step as i16) {
            return Coded { code: INTEGER_16, payload: payload & 0xffff };
        }
        if step == (step << 40) >> 40 {
            return Coded { code: INTEGER_24, payload: payload & 0xff_ffff };
        }
        if step == i64::from(step as i32) {
            return Coded { code: INTEGER_32, payload: payload & 0xffff_ffff };
        }
    } else if let Some(step) = step(before, bits, 1e2).filter(|&s| s == i64::from(s as i16)) {
        let payload = step as u64;
        if step == i64::from(step as i8) {
            return Coded { code: HUNDREDTHS_8, payload: payload & 0xff };
        }
        return Coded { code: HUNDREDTHS_16, payload: payload & 0xffff };
    } else if let Some(step) = step(before, bits, 1e6).filter(|&s| s == i64::from(s as i32)) {
        return Coded { code: MILLIONTHS_32, payload: step as u64 & 0xffff_ffff };
    }
    if bits == STALE_NAN_BITS {
        return Coded { code: STALE, payload: 0 };
    }
    let xor = before ^ bits;
    let high = 8 - xor.trailing_zeros() / 8;
    let low = 8 - xor.leading_zeros() / 8;
    if high <= 4 {
        let high = high.max(2);
        Coded { code: XOR_HIGH_2 + (high - 2) as u8, payload: xor >> (64 - 8 * high) }
    } else if low <= 7 {
        Coded { code: XOR_LOW_5 + (low.max(5) - 5) as u8, payload: xor }
    } else {
        Coded { code: RAW, payload: bits }
    }
}

/// The bits of the value that is told so. The payload has no bits beyond its bytes.
#[inline(always)]
pub fn decode(before: u64, coded: Coded) -> u64 {
    let Coded { code, payload } = coded;
    match code {
        SAME => before,
        INTEGER_8 => stepped(before, i64::from(payload as i8), 1.0),
        INTEGER_16 => stepped(before, i64::from(payload as i16), 1.0),
        INTEGER_24 => stepped(before, (payload << 40) as i64 >> 40, 1.0),
        INTEGER_32 => stepped(before, i64::from(payload as i32), 1.0),
        HUNDREDTHS_8 => stepped(before, i64::from(payload as i8), 1e2),
        HUNDREDTHS_16 => stepped(before, i64::from(payload as i16), 1e2),
        MILLIONTHS_32 => stepped(before, i64::from(payload as i32), 1e6),
        XOR_HIGH_2..=XOR_HIGH_4 => before ^ payload << (64 - 8 * u32::from(code - XOR_HIGH_2 + 2)),
        XOR_LOW_5..=XOR_LOW_7 => before ^ payload,
        STALE => STALE_NAN_BITS,
        _ => payload,
    }
}

/// Units of `1 / scale` between two values, if [`stepped`] makes exactly the second of them.
fn step(before: u64, bits: u64, scale: f64) -> Option<i64> {
    let step = units(f64::from_bits(bits), scale) - units(f64::from_bits(before), scale);
    (stepped(before, step, scale) == bits).then_some(step)
}

fn stepped(before: u64, step: i64, scale: f64) -> u64 {
    let value = (units(f64::from_bits(before), scale) + step) as f64;
    (if scale == 1.0 { value } else { value / scale }).to_bits()
}

/// The nearest number of units; 0 for what is too large or no number.
fn units(value: f64, scale: f64) -> i64 {
    let scaled = value * scale;
    if scaled.abs() < UNITS_MAX { ((scaled + ROUNDING) - ROUNDING) as i64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vedette_model::stale_nan;

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
            any::<i64>().prop_map(|v| (v >> 8) as f64),
            any::<i32>().prop_map(|v| f64::from(v) / 1e6),
            any::<f32>().prop_map(f64::from),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back_bit_by_bit(values in proptest::collection::vec(any_value(), 1..40)) {
            let mut before = 0;
            for value in values {
                let coded = encode(before, value.to_bits());
                prop_assert!(coded.code < 16);
                prop_assert!(coded.bytes() == 8 || coded.payload >> (8 * coded.bytes()) == 0);
                prop_assert_eq!(decode(before, coded), value.to_bits());
                before = value.to_bits();
            }
        }

        #[test]
        fn any_payload_decodes(before in any_value(), code in 0u8..16, payload in any::<u64>()) {
            let bytes = payload_bytes(code);
            let payload = if bytes == 8 { payload } else { payload & ((1 << (8 * bytes)) - 1) };
            let _ = decode(before.to_bits(), Coded { code, payload });
        }
    }

    #[test]
    fn what_sources_send_is_small() {
        for (before, value, bytes) in [
            (5.0, 5.0, 0),
            (1e9, 1e9 + 100.0, 1),
            (1e9, 1e9 + 1500.0, 2),
            (1e9, 1e9 + 1_500_000.0, 3),
            (2e9, 2.5e9, 4),
            (1234.56, 1235.56, 1),
            (1234.56, 1240.01, 2),
            (12.345_678, 13.345_01, 4),
            (0.0, 0.5, 1),
            (1.0, stale_nan(), 0),
        ] {
            let coded = encode(f64::to_bits(before), f64::to_bits(value));
            assert!(coded.bytes() <= bytes, "{before} {value}: {coded:?}");
        }
    }
}
