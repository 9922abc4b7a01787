//! Amounts as Kubernetes writes them: `500m`, `1.5`, `4Gi`, `2e3`.
//!
//! Every amount ends up in `0..=CAP`, rounded up, so that sums over a whole cluster stay far from the
//! ends of `i64`.

/// The largest amount that is told apart; what is larger counts as this.
pub(crate) const CAP: i64 = 1 << 52;

/// Digits of a mantissa that are read; the API server's own values have at most 19.
const MAX_DIGITS: usize = 24;

/// The amount in units of `10^-decimals`, or nothing when the text is no amount or a negative one.
pub(crate) fn parse(text: &str, decimals: u32) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = whole.len() + fraction.len();
    if digits == 0 || digits > MAX_DIGITS || fraction.contains('.') {
        return None;
    }
    let mantissa = whole.bytes().chain(fraction.bytes()).fold(0i128, |m, b| m * 10 + i128::from(b - b'0'));
    let (binary, exponent) = scale(suffix)?;
    if mantissa == 0 {
        return Some(0);
    }
    // At most 24 digits, so neither sum can overflow.
    let shift = exponent + i32::try_from(decimals).ok()? - i32::try_from(fraction.len()).ok()?;
    let mut value = mantissa.checked_mul(1 << binary).unwrap_or(i128::MAX);
    if shift >= 0 {
        value =
            10i128.checked_pow(shift.unsigned_abs()).and_then(|p| value.checked_mul(p)).unwrap_or(i128::MAX);
    } else {
        value = 10i128.checked_pow(shift.unsigned_abs()).map_or(1, |p| (value - 1) / p + 1);
    }
    Some(i64::try_from(value).unwrap_or(CAP).min(CAP))
}

/// The power of two and the power of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = digits.parse().ok()?;
            (0, exponent.clamp(-60, 60))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_writes_them() {
        for (text, decimals, amount) in [
            ("500m", 3, 500),
            ("2", 3, 2000),
            ("0.1", 3, 100),
            (".5", 3, 500),
            ("1.", 0, 1),
            ("100u", 3, 1),
            ("1n", 3, 1),
            ("4Gi", 0, 4 << 30),
            ("1.5Ki", 0, 1536),
            ("1e3", 0, 1000),
            ("1E3", 0, 1000),
            ("12E-1", 0, 2),
            ("2k", 0, 2000),
            ("128974848000m", 0, 128_974_848),
            ("1500m", 0, 2),
            ("0", 0, 0),
            ("0e999", 0, 0),
            ("+1", 0, 1),
            ("9Ei", 0, CAP),
            ("99999999999999999999Ei", 3, CAP),
            ("1e60", 0, CAP),
            ("1e-60", 0, 1),
        ] {
            assert_eq!(parse(text, decimals), Some(amount), "{text}");
        }
        for text in
            ["", ".", "-1", "1 Gi", "1gi", "Gi", "1..2", "1.2.3", "e3", "1e", "0x10", "1e9999999999", "µ"]
        {
            assert_eq!(parse(text, 0), None, "{text}");
        }
    }
}
