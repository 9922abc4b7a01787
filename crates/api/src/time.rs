//! Times and durations as Prometheus' API takes them: Unix seconds with decimals or RFC 3339,
//! and seconds or `1h30m`.

use std::time::Duration;

/// The first and last time that Prometheus itself writes for "no bound".
const FIRST: &str = "-292273086-05-16T16:47:06Z";
const LAST: &str = "+292277025-08-18T07:12:54.999999999Z";

/// The bounds that stand for "no bound", in milliseconds.
pub const FIRST_MS: i64 = i64::MIN / 1000 * 1000 + 62_135_596_801_000;
/// The last millisecond.
pub const LAST_MS: i64 = i64::MAX / 1000 * 1000 - 62_135_596_801_000 + 999;

/// Milliseconds since the Unix epoch.
pub fn parse_time_ms(text: &str) -> Result<i64, String> {
    let refuse = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        // Beyond that, milliseconds do not fit 64 bits; NaN is refused as well.
        if seconds.is_nan() || seconds.abs() >= 9.223_372_036_854_775e15 {
            return Err(refuse());
        }
        // Within the bounds just checked, both conversions are exact.
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        return Ok(seconds.trunc() as i64 * 1000 + (seconds.fract() * 1000.0).round() as i64);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_nanosecond().div_euclid(1_000_000).try_into().unwrap_or(i64::MAX));
    }
    match text {
        FIRST => Ok(FIRST_MS),
        LAST => Ok(LAST_MS),
        _ => Err(refuse()),
    }
}

/// A duration in milliseconds; may be negative when written as a number.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        let ns = seconds * 1e9;
        if !(-9.223_372_036_854_775e18..=9.223_372_036_854_775e18).contains(&ns) {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
        return Ok((ns as i64) / 1_000_000);
    }
    parse_units(text).ok_or_else(|| format!("cannot parse {text:?} to a valid duration"))
}

/// A duration that cannot be negative.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    let ms = parse_duration_ms(text)?;
    Ok(Duration::from_millis(ms.try_into().unwrap_or(0)))
}

/// `1y2w3d4h5m6s7ms`: each unit once at most, in this order.
fn parse_units(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut next = 0;
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_end = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + unit_end];
        let place = next + UNITS[next..].iter().position(|(name, _)| *name == unit)?;
        let amount: i64 = rest[..digits].parse().ok()?;
        sum = sum.checked_add(amount.checked_mul(UNITS[place].1)?)?;
        // The longest duration that Go can hold is 2^63 nanoseconds.
        if sum > i64::MAX / 1_000_000 {
            return None;
        }
        next = place + 1;
        rest = &rest[digits + unit_end..];
        if next == UNITS.len() && !rest.is_empty() {
            return None;
        }
    }
    (!text.is_empty()).then_some(sum)
}
