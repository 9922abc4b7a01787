//! Numbers and durations as queries write them, and how they are written back.

/// Milliseconds of a day, and so on.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration such as `1h30m` or `500ms`: each unit at most once, largest first.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Err("empty duration string".to_owned());
    }
    if text == "0" {
        return Ok(0);
    }
    let bad = || format!("not a valid duration string: {}", super::quote::quote(text));
    let mut total: i64 = 0;
    let mut rest = text;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(bad());
        }
        let unit_end = digits + rest[digits..].bytes().take_while(|b| !b.is_ascii_digit()).count();
        let unit = &rest[digits..unit_end];
        let place = UNITS.iter().position(|(name, _)| *name == unit).ok_or_else(|| {
            format!("unknown unit {} in duration {}", super::quote::quote(unit), super::quote::quote(text))
        })?;
        if place < next_unit {
            return Err(bad());
        }
        let count: i64 = rest[..digits].parse().map_err(|_| bad())?;
        total = count
            .checked_mul(UNITS[place].1)
            .and_then(|ms| total.checked_add(ms))
            // Prometheus holds durations in nanoseconds, which bounds them to 292 years.
            .filter(|ms| *ms <= i64::MAX / 1_000_000)
            .ok_or("duration out of range")?;
        next_unit = place + 1;
        rest = &rest[unit_end..];
    }
    Ok(total)
}

/// Writes a duration the way Prometheus does: `90m` is `1h30m`, `0` is `0s`; weeks and years
/// only where they are whole.
pub fn format_duration_ms(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    if ms < 0 {
        out.push('-');
    }
    let mut rest = ms.unsigned_abs();
    for (name, size) in UNITS {
        let size = size.unsigned_abs();
        let exact_only = matches!(name, "y" | "w");
        if rest < size || (exact_only && !rest.is_multiple_of(size)) {
            continue;
        }
        out.push_str(&(rest / size).to_string());
        out.push_str(name);
        rest %= size;
    }
    out
}

/// Reads a number: decimal, hexadecimal, octal with a leading zero, `_` between digits.
pub fn parse_number(text: &str) -> Result<f64, String> {
    let error = |what| {
        let quoted = super::quote::quote(text);
        Err(format!("error parsing number: strconv.ParseFloat: parsing {quoted}: {what}"))
    };
    if text.contains('_') && !underscores_separate_digits(text) {
        return error("invalid syntax");
    }
    let plain = text.replace('_', "");
    if let Some(hex) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).map(|n| n as f64).or_else(|_| error("invalid syntax"));
    }
    let octal =
        plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|b| (b'0'..=b'7').contains(&b));
    if octal && let Ok(n) = i64::from_str_radix(&plain, 8) {
        return Ok(n as f64);
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => error("value out of range"),
        Err(_) => error("invalid syntax"),
    }
}

fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().filter(|(_, b)| **b == b'_').all(|(i, _)| {
        let neighbour =
            |j: Option<usize>| j.and_then(|j| bytes.get(j)).is_some_and(|b| b.is_ascii_hexdigit());
        // `0x_1` is fine in Go as well.
        (neighbour(i.checked_sub(1)) || bytes.get(i.wrapping_sub(1)).is_some_and(|b| b | 0x20 == b'x'))
            && neighbour(Some(i + 1))
    })
}

/// Writes a number as Prometheus' messages do (`%g` and `%v` of Go).
pub fn format_general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // `{:e}` gives the shortest digits and the exponent.
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{value}")
}

/// Writes a value without exponent, as samples and number literals are written.
pub fn format_plain(value: f64) -> String {
    if value.is_finite() { format!("{value}") } else { format_general(value) }
}

/// Writes the value of `fill`: unlike other numbers with an exponent, where Go's `%v` has one.
pub fn format_fill(value: f64) -> String {
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if value != 0.0 && value.is_finite() => {
            let exponent: i32 = exponent.parse().unwrap_or(0);
            if (-4..21).contains(&exponent) {
                return format!("{value}");
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format_plain(value),
    }
}
