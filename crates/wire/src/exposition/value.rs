//! Numbers in expositions, as Go's `ParseFloat` takes them, without hexadecimal ones.

/// The NaN that stands for all but the staleness marker, as Prometheus stores it.
const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The number that `text` is, if it is one that a float can hold.
pub(super) fn parse(text: &[u8]) -> Option<f64> {
    short_decimal(text).or_else(|| any_number(text))
}

/// Digits with a point between, few enough that mantissa and power of ten are exact: then so is
/// their quotient. Most samples are such.
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let (mut mantissa, mut decimals, mut point) = (0u64, 0, false);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                decimals += usize::from(point);
            }
            b'.' if !point && digits.len() > 1 => point = true,
            _ => return None,
        }
    }
    // Sixteen digits may be more than a float tells apart.
    if mantissa > 1 << 53 {
        return None;
    }
    let value = mantissa as f64 / POWERS[decimals];
    Some(if negative { -value } else { value })
}

#[cold]
fn any_number(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let value: f64 = text.parse().ok()?;
    if value.is_nan() {
        // Go knows no sign of it.
        return text.eq_ignore_ascii_case("nan").then_some(f64::from_bits(NORMAL_NAN_BITS));
    }
    // Digits that overflow are no infinity.
    (value.is_finite() || !text.bytes().any(|b| b.is_ascii_digit())).then_some(value)
}

/// Seconds as milliseconds, cut; not for infinities.
pub(super) fn milliseconds(seconds: f64) -> Option<i64> {
    seconds.is_finite().then_some((seconds * 1000.0) as i64)
}

/// A number as OpenMetrics writes it in labels: always with a point or an exponent.
pub(super) fn push_canonical(out: &mut Vec<u8>, value: f64) {
    let start = out.len();
    crate::number::push_shortest(out, if value == 0.0 { 0.0 } else { value });
    if value.is_finite() && !out[start..].iter().any(|b| matches!(b, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_what_go_takes() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("-1.5", Some(-1.5)),
            ("+5", Some(5.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1.7560473e+07", Some(17_560_473.0)),
            ("123456789012345678", Some(123_456_789_012_345_680.0)),
            ("9007199254740993", Some(9_007_199_254_740_992.0)),
            ("+Inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("Infinity", Some(f64::INFINITY)),
            ("1e400", None),
            ("-", None),
            (".", None),
            ("", None),
            ("1_000", None),
            ("0x10", None),
            ("0x1p3", None),
            ("-nan", None),
            ("1.2.3", None),
            ("1 ", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        for nan in ["NaN", "nan", "NAN"] {
            assert_eq!(parse(nan.as_bytes()).map(f64::to_bits), Some(NORMAL_NAN_BITS));
        }
        assert!(parse(b"-0").is_some_and(|v| v == 0.0 && v.is_sign_negative()));
    }

    #[test]
    fn bounds_have_a_point_or_an_exponent() {
        for (value, expected) in [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (0.0, "0.0"),
            (1e6, "1e+06"),
            (-0.0, "0.0"),
            (250_000.0, "250000.0"),
            (1e21, "1e+21"),
            (1e-5, "1e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            let mut out = Vec::new();
            push_canonical(&mut out, value);
            assert_eq!(String::from_utf8(out).expect("ASCII"), expected);
        }
    }

    proptest! {
        #[test]
        fn the_short_way_is_the_long_way(
            whole in 0..99_999_999u64,
            fraction in "[0-9]{0,8}",
            point in any::<bool>(),
            negative in any::<bool>(),
        ) {
            let sign = if negative { "-" } else { "" };
            let text = if point { format!("{sign}{whole}.{fraction}") } else { format!("{sign}{whole}{fraction}") };
            let long: f64 = text.parse().expect("a number");
            prop_assert_eq!(parse(text.as_bytes()).map(f64::to_bits), Some(long.to_bits()), "{}", text);
        }

        #[test]
        fn what_is_written_is_read_back(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
            let mut out = Vec::new();
            crate::number::push_shortest(&mut out, value);
            prop_assert_eq!(parse(&out), Some(value));
        }
    }
}
