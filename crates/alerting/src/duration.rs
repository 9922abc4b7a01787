//! Durations as rule files write them: `1h30m`, `15s`, `0`.

const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Reads a duration: whole numbers with units from years to milliseconds, each unit once and in
/// that order.
pub fn parse_duration_ms(text: &str) -> Result<i64, String> {
    let bad = || format!("{text:?} is not a duration; write it like 30s, 5m or 1h30m");
    if text == "0" {
        return Ok(0);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: i64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = units.by_ref().find(|(name, _)| *name == &rest[..letters]).ok_or_else(bad)?.1;
        rest = &rest[letters..];
        total = number.checked_mul(unit_ms).and_then(|ms| total.checked_add(ms)).ok_or_else(bad)?;
    }
    // Sums of a few durations and a time must not overflow.
    if text.is_empty() || total > i64::MAX / 1_000_000 {
        return Err(bad());
    }
    Ok(total)
}

/// The shortest form of a duration that reads back as the same.
pub fn format_duration_ms(ms: i64) -> String {
    if ms <= 0 {
        return "0s".into();
    }
    let mut rest = ms;
    let mut out = String::new();
    for (i, (name, unit_ms)) in UNITS.iter().enumerate() {
        // Years and weeks only where nothing is left over, as people read them more easily.
        let exact_only = i < 2;
        if rest >= *unit_ms && !(exact_only && rest % unit_ms != 0) {
            out.push_str(&format!("{}{name}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    out
}
