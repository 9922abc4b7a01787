//! Single values as the peers' files write them: truth, numbers, durations, sizes.

use std::time::Duration;

/// YAML 1.1 has many words for truth.
pub(crate) fn truth(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A whole number: decimal, `0x`, `0o` or `0` for octal, `0b`, underscores between digits.
pub(crate) fn integer(text: &str) -> Option<i128> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let (base, digits) = match digits {
        d if d.starts_with("0x") => (16, &d[2..]),
        d if d.starts_with("0o") => (8, &d[2..]),
        d if d.starts_with("0b") => (2, &d[2..]),
        d if d.len() > 1 && d.starts_with('0') && !d.contains('.') => (8, &d[1..]),
        d => (10, d),
    };
    let starts_with_digit = digits.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.');
    if !starts_with_digit {
        return None;
    }
    let number = i128::from_str_radix(digits, base).ok().or_else(|| {
        // A float that is a whole number is one.
        let float: f64 = digits.parse().ok()?;
        (float.fract() == 0.0 && float.abs() < 9e18).then_some(float as i128)
    })?;
    Some(if negative { -number } else { number })
}

/// A number.
pub(crate) fn float(text: &str) -> Option<f64> {
    match text {
        ".inf" | ".Inf" | ".INF" | "+.inf" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" => Some(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => {
            text.replace('_', "").parse().ok()
        }
        _ => None,
    }
}

const UNITS_MS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// The longest duration: 2^63 nanoseconds, some 292 years.
const DURATION_MS_MAX: u64 = 9_223_372_036_854;

/// `1h30m` and the like, units `y w d h m s ms` from large to small, each once; `0` needs none.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total_ms, mut rest, mut next) = (0u64, text, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|length| *length > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = next + UNITS_MS[next..].iter().position(|(name, _)| *name == &rest[..length])?;
        total_ms = total_ms.checked_add(number.checked_mul(UNITS_MS[unit].1)?)?;
        rest = &rest[length..];
        next = unit + 1;
    }
    (!text.is_empty() && total_ms <= DURATION_MS_MAX).then(|| Duration::from_millis(total_ms))
}

/// A duration as Prometheus writes it; years and weeks only where they come out even.
pub(crate) fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, ms) in UNITS_MS {
        let whole_only = matches!(unit, "y" | "w" | "d");
        if rest / ms > 0 && (!whole_only || rest.is_multiple_of(ms)) {
            out.push_str(&format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    out
}

const SIZES: [&str; 6] = ["K", "M", "G", "T", "P", "E"];

/// `15MB`, `1KiB`, `1.5GB`, `2GB512MB`: powers of 1024 throughout, and `B` for bytes. A size below
/// zero is read, as it is refused with a better reason elsewhere.
pub(crate) fn size(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total = 0f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = &rest[..length];
        rest = &rest[length..];
        let letter = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B'))?;
        let power = match letter {
            "" if unit == "B" => 0,
            letter => 1 + SIZES.iter().position(|s| *s == letter)?,
        };
        total += number * 1024f64.powi(i32::try_from(power).ok()?);
    }
    // Above 2^53 a size is a multiple of what a float can tell apart; nobody has such a limit.
    (total < 9.2e18).then(|| if negative { -(total as i64) } else { total as i64 })
}

/// A size as Prometheus writes it, by the largest units.
pub(crate) fn size_text(bytes: i64) -> String {
    let mut rest = bytes.unsigned_abs();
    let mut out = if bytes < 0 { "-".to_owned() } else { String::new() };
    for (power, letter) in SIZES.iter().enumerate().rev() {
        let unit = 1u64 << (10 * (power + 1));
        if rest / unit > 0 {
            out.push_str(&format!("{}{letter}iB", rest / unit));
            rest %= unit;
        }
    }
    if rest > 0 || bytes == 0 {
        out.push_str(&format!("{rest}B"));
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_yaml_has_them() {
        for (text, expected) in [
            ("8", Some(8)),
            ("-1", Some(-1)),
            ("1_000", Some(1000)),
            ("0x10", Some(16)),
            ("010", Some(8)),
            ("1e3", Some(1000)),
            ("1.5", None),
            ("x", None),
            ("", None),
            ("--1", None),
            ("0", Some(0)),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
        assert_eq!((float("1.5"), float("inf"), float(".inf")), (Some(1.5), None, Some(f64::INFINITY)));
    }

    #[test]
    fn durations_and_sizes_have_units() {
        for (text, ms) in [
            ("0", Some(0)),
            ("15s", Some(15_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("5ms", Some(5)),
            ("", None),
            ("15", None),
            ("1m1h", None),
            ("1m1m", None),
            ("-1s", None),
            ("300y", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text), ms.map(Duration::from_millis), "{text}");
        }
        for (text, bytes) in [
            ("15MB", Some(15 << 20)),
            ("1KiB", Some(1024)),
            ("1.5KB", Some(1536)),
            ("0", Some(0)),
            ("-1GB", Some(-(1 << 30))),
            ("10", None),
            ("10X", None),
            ("", None),
            ("B", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
        assert_eq!(size_text(15 << 20), "15MiB");
        assert_eq!(duration_text(Duration::from_millis(5_400_000)), "1h30m");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0..9_000_000_000u64, bytes in 0..1i64 << 50) {
            let written = duration_text(Duration::from_millis(ms));
            prop_assert_eq!(duration(&written), Some(Duration::from_millis(ms)), "{}", written);
            prop_assert_eq!(size(&size_text(bytes)), Some(bytes));
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,12}|[0-9a-zB._+-]{0,12}") {
            let _ = (duration(&text), size(&text), integer(&text), float(&text), truth(&text));
        }
    }
}
