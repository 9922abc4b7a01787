//! Bounds of buckets. Exponential bounds are the same numbers, to the last bit, that the sources of
//! histograms use: whether a threshold lies on a bound must not depend on who calculates it.

use std::{f64::consts::SQRT_2, sync::LazyLock};

/// The finest schema; bounds of coarser ones are among its own.
const FINEST: u32 = 8;

/// `2^(k/256)` for k from 0 to 255.
///
/// Each is a product of the roots of two that k's bits ask for, coarsest first. The square root
/// is the double below the nearest one, which is what the sources settled on.
static FRACTIONS: LazyLock<[f64; 1 << FINEST]> = LazyLock::new(|| {
    let root = |k: u32| if k == 1 { SQRT_2.next_down() } else { 2f64.powf(0.5f64.powi(k as i32)) };
    let roots: Vec<f64> = (1..=FINEST).map(root).collect();
    std::array::from_fn(|i| {
        (1..=FINEST)
            .filter(|k| i >> (FINEST - k) & 1 == 1)
            .fold(1.0, |product, k| product * roots[k as usize - 1])
    })
});

/// Upper bound of a bucket of an exponential schema; its lower bound is that of the index before.
pub fn exponential(index: i64, schema: i8) -> f64 {
    let (exponent, fraction) = if schema < 0 {
        // So far outside that the shift cannot matter.
        (index.clamp(-100_000, 100_000) << -i32::from(schema), 1.0)
    } else {
        let shift = u32::from(schema.unsigned_abs());
        let place = index.rem_euclid(1 << shift) << (FINEST - shift.min(FINEST));
        (index >> shift, FRACTIONS[place as usize & 0xff])
    };
    match exponent {
        // The last bucket of numbers ends at the largest number, the one after it at infinity.
        1024 if fraction == 1.0 => f64::MAX,
        1024.. => f64::INFINITY,
        ..-1100 => 0.0,
        // In two steps, as two to a power below -1022 is subnormal.
        -1100..-1000 => fraction * 2f64.powi(exponent as i32 + 100) * 2f64.powi(-100),
        1023 => fraction * 2.0 * 2f64.powi(1022),
        _ => fraction * 2f64.powi(exponent as i32),
    }
}

/// Index of the bucket in a coarser schema that holds a bucket of a finer one.
pub fn coarser(index: i32, from: i8, to: i8) -> i32 {
    // In 64 bits, as the lowest index has none before it.
    (((i64::from(index) - 1) >> (i32::from(from) - i32::from(to))) + 1) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_those_that_sources_use() {
        for (index, schema, bound) in [
            (0, 0, 1.0),
            (1, 0, 2.0),
            (-3, 0, 0.125),
            (1, -1, 4.0),
            (2, -4, 2f64.powi(32)),
            (1, 1, 2.0 * 0.707_106_781_186_547_5),
            (-1, 1, 0.707_106_781_186_547_5),
            (1, 2, 1.189_207_115_002_721),
            (1023, 0, 2f64.powi(1023)),
            (1024, 0, f64::MAX),
            (1025, 0, f64::INFINITY),
            (64, -4, f64::MAX),
            (65, -4, f64::INFINITY),
            (-1074, 0, f64::from_bits(1)),
            (-1075, 0, 0.0),
            (i64::from(i32::MIN) - 1, 8, 0.0),
            (i64::from(i32::MAX), -4, f64::INFINITY),
        ] {
            assert_eq!(exponential(index, schema), bound, "{index} of schema {schema}");
        }
    }

    #[test]
    fn bounds_grow_and_coarser_buckets_hold_finer_ones() {
        for schema in -4..=8i8 {
            for index in -300..300i32 {
                let bound = |i: i32| exponential(i64::from(i), schema);
                if bound(index - 1) == 0.0 || bound(index) > f64::MAX {
                    continue;
                }
                assert!(bound(index) > bound(index - 1), "{index} of schema {schema}");
                for to in -4..schema {
                    let wide = i64::from(coarser(index, schema, to));
                    assert!(exponential(wide, to) >= bound(index));
                    assert!(exponential(wide - 1, to) <= bound(index - 1));
                }
            }
        }
    }
}
