//! Numbers and times as Go writes them, which is how Prometheus' clients expect them.

/// Appends `value` with as few digits as name it exactly, without exponent (Go's `'f', -1`).
pub fn push_plain(out: &mut Vec<u8>, value: f64) {
    if push_special(out, value) {
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let size = value.abs();
    if push_decimal(out, size) {
        return;
    }
    // Outside of these it writes an exponent.
    if !(1e-4..1e15).contains(&size) {
        push_display(out, size);
        return;
    }
    let mut digits = zmij::Buffer::new();
    let text = digits.format_finite(size).as_bytes();
    out.extend_from_slice(text.strip_suffix(b".0").unwrap_or(text));
}

/// Whole numbers below this are floats, each exactly.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;
/// Decimals of up to this many digits, 15 in all, are named by themselves: no two are one float.
const DECIMAL_MAX: f64 = 1e15;

/// Appends a whole number, or one of up to three decimals, as most samples are; says whether
/// `size` is one.
fn push_decimal(out: &mut Vec<u8>, size: f64) -> bool {
    let mut text = itoa::Buffer::new();
    let whole = size as u64;
    if size < WHOLE_MAX && whole as f64 == size {
        out.extend_from_slice(text.format(whole).as_bytes());
        return true;
    }
    let scaled = size * 1000.0 + 0.5;
    if scaled >= DECIMAL_MAX {
        return false;
    }
    let number = scaled as u64;
    if number as f64 / 1000.0 != size {
        return false;
    }
    out.extend_from_slice(text.format(number / 1000).as_bytes());
    let digit = |unit: u64| b'0' + (number / unit % 10) as u8;
    let decimals = [b'.', digit(100), digit(10), digit(1)];
    let length = if decimals[3] != b'0' {
        4
    } else if decimals[2] != b'0' {
        3
    } else {
        2
    };
    out.extend_from_slice(&decimals[..length]);
    true
}

/// Appends `value` with as few digits as name it exactly, and always an exponent (Go's `'e', -1`).
pub fn push_exponent(out: &mut Vec<u8>, value: f64) {
    if push_special(out, value) {
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value.abs()).as_bytes();
    let (mantissa, mut exponent) = match text.iter().position(|byte| *byte == b'e') {
        Some(at) => (&text[..at], small_number(&text[at + 1..])),
        None => (text, 0),
    };
    let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
    let (mut digits, mut length) = ([0; DIGITS_MAX], 0);
    exponent += point as i32 - 1;
    for byte in mantissa.iter().filter(|byte| **byte != b'.') {
        if length == 0 && *byte == b'0' {
            exponent -= 1;
            continue;
        }
        if length < DIGITS_MAX {
            digits[length] = *byte;
            length += 1;
        }
    }
    while length > 0 && digits[length - 1] == b'0' {
        length -= 1;
    }
    match &digits[..length] {
        [] => {
            out.push(b'0');
            exponent = 0;
        }
        [first] => out.push(*first),
        [first, rest @ ..] => {
            out.extend_from_slice(&[*first, b'.']);
            out.extend_from_slice(rest);
        }
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

/// Digits of a float, and the zeros that may stand around them where there is no exponent.
const DIGITS_MAX: usize = 32;

/// The number of an exponent.
fn small_number(text: &[u8]) -> i32 {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        _ => (1, text),
    };
    sign * digits.iter().fold(0, |number, byte| number * 10 + i32::from(byte - b'0'))
}

/// Appends a sample value as Prometheus' JSON answers have it: plain between 1e-6 and 1e21,
/// with an exponent beyond.
pub fn push_value(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if value == 0.0 || (1e-6..1e21).contains(&size) || !value.is_finite() {
        push_plain(out, value);
    } else {
        push_exponent(out, value);
    }
}

/// Appends a sample value as exposition text has it: with an exponent from 1e6 on and below 1e-4
/// (Go's `'g', -1`).
pub fn push_shortest(out: &mut Vec<u8>, value: f64) {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) || !value.is_finite() {
        push_plain(out, value);
    } else {
        push_exponent(out, value);
    }
}

/// Appends milliseconds as seconds, with three decimals where the seconds are not whole.
pub fn push_seconds(out: &mut Vec<u8>, time_ms: i64) {
    if time_ms < 0 {
        out.push(b'-');
    }
    let size = time_ms.unsigned_abs();
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(size / 1000).as_bytes());
    let rest = u16::try_from(size % 1000).expect("BUG: below 1000");
    if rest != 0 {
        let digit = |n: u16| b'0' + u8::try_from(n % 10).expect("BUG: below 10");
        out.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
    }
}

/// Appends milliseconds as seconds, with as few decimals as are needed.
pub fn push_seconds_short(out: &mut Vec<u8>, time_ms: i64) {
    push_seconds(out, time_ms);
    if time_ms % 1000 != 0 {
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

/// Appends a time in RFC 3339 with as many decimals as are needed.
pub fn push_rfc3339(out: &mut Vec<u8>, time_ns: i64) {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time_ns))
        .expect("BUG: 64 bits of nanoseconds reach from 1677 to 2262");
    push_display(out, time);
}

/// A time in RFC 3339.
pub fn rfc3339(time_ns: i64) -> String {
    let mut out = Vec::with_capacity(30);
    push_rfc3339(&mut out, time_ns);
    String::from_utf8(out).expect("BUG: a time is written in ASCII")
}

fn push_special(out: &mut Vec<u8>, value: f64) -> bool {
    let text: &[u8] = if value.is_nan() {
        b"NaN"
    } else if value == f64::INFINITY {
        b"+Inf"
    } else if value == f64::NEG_INFINITY {
        b"-Inf"
    } else {
        return false;
    };
    out.extend_from_slice(text);
    true
}

fn push_display(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    std::io::Write::write_fmt(out, format_args!("{value}")).expect("BUG: writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_two_digits_as_near_the_even_one_is_told_as_go_does() {
        let mut out = Vec::new();
        push_exponent(&mut out, "20478915397987.8125".parse().unwrap());
        assert_eq!(out, b"2.0478915397987812e+13");
    }

    proptest! {
        /// Beside the formatting of the language, whose exponents have neither sign nor two digits.
        #[test]
        fn exponents_are_those_of_the_shortest_digits(bits in any::<u64>(), whole in any::<u64>(), shift in 0..64) {
            for value in [f64::from_bits(bits), (whole >> shift) as f64, (whole >> shift) as f64 / 1e3, -1e22, 5e-324] {
                if !value.is_finite() {
                    continue;
                }
                let text = format!("{value:e}");
                let (mantissa, exponent) = text.split_once('e').unwrap();
                let exponent: i32 = exponent.parse().unwrap();
                let sign = if exponent < 0 { '-' } else { '+' };
                let mut out = Vec::new();
                push_exponent(&mut out, value);
                let (told, expected) =
                    (String::from_utf8(out).unwrap(), format!("{mantissa}e{sign}{:02}", exponent.abs()));
                // Of two that are as short and as near Go takes the even one.
                if told != expected {
                    prop_assert_eq!(told.parse::<f64>().unwrap().to_bits(), value.to_bits());
                    prop_assert_eq!(told.len(), expected.len());
                }
                let (_, told) = told.split_once('e').unwrap();
                prop_assert_eq!(told, format!("{sign}{:02}", exponent.abs()));
            }
        }
    }
}
