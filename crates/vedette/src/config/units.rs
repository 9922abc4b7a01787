//! Durations and sizes as they are written.

use std::time::Duration;

use super::Error;

/// A duration above zero; `default` where none is written.
pub(super) fn duration(place: &str, text: Option<&str>, default: &str) -> Result<Duration, Error> {
    let text = text.unwrap_or(default);
    parse_duration(text).filter(|d| !d.is_zero()).ok_or_else(|| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no duration; write for example 500ms, 15s, 5m, 2h30m, 7d"),
    })
}

/// `1h30m` and the like, units `ms s m h d w y` from large to small as in Prometheus.
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut total, mut rest, mut next) = (0u64, text, 0);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit_length = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = UNITS.iter().position(|(u, _)| *u == &rest[..unit_length])?;
        if unit < next {
            return None;
        }
        next = unit + 1;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        rest = &rest[unit_length..];
    }
    Some(Duration::from_millis(total))
}

/// A size above zero.
pub(super) fn bytes(place: &str, text: &str) -> Result<u64, Error> {
    parse_bytes(text).filter(|b| *b > 0).ok_or_else(|| Error::Value {
        place: place.to_owned(),
        reason: format!("{text:?} is no size; write for example 512MiB, 10GiB"),
    })
}

/// `10GiB` and the like; `KB`, `MB`, … mean powers of 1024 too, as in Prometheus' flags.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().trim_end_matches('B').trim_end_matches('i') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}
