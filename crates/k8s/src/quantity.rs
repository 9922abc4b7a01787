//! Amounts as Kubernetes writes them: `100m`, `128Mi`, `12e6`.

/// The value of an amount; none for what is no amount.
pub fn parse(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    // What comes after a letter belongs to an exponent, never to the number.
    let factor = match unit {
        "" => 1.0,
        "n" => return scaled(number, -9),
        "u" => return scaled(number, -6),
        "m" => return scaled(number, -3),
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024f64.powi(2),
        "Gi" => 1024f64.powi(3),
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            return scaled(number, power);
        }
    };
    Some(plain(number)? * factor)
}

/// A number times a power of ten, rounded once.
fn scaled(number: &str, power: i32) -> Option<f64> {
    plain(number)?;
    // No amount is that large or small, and nothing is to be learned from one that says so.
    (-400..=400).contains(&power).then_some(())?;
    format!("{number}e{power}").parse().ok().filter(|value: &f64| value.is_finite())
}

/// A number without an exponent.
fn plain(number: &str) -> Option<f64> {
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    let is_sound = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    if is_sound { number.parse().ok().filter(|value: &f64| value.is_finite()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_all_forms() {
        for (text, value) in [
            ("0", 0.0),
            ("3", 3.0),
            ("-2.5", -2.5),
            ("+.5", 0.5),
            ("1.", 1.0),
            ("100m", 0.1),
            ("1500m", 1.5),
            ("250u", 0.00025),
            ("7n", 7e-9),
            ("2k", 2000.0),
            ("12M", 12e6),
            ("1G", 1e9),
            ("1.5T", 1.5e12),
            ("1P", 1e15),
            ("1E", 1e18),
            ("1Ki", 1024.0),
            ("128Mi", 134_217_728.0),
            ("0.5Gi", 536_870_912.0),
            ("1Ti", 1_099_511_627_776.0),
            ("1Pi", 1_125_899_906_842_624.0),
            ("1Ei", 1_152_921_504_606_846_976.0),
            ("12e6", 12e6),
            ("12E6", 12e6),
            ("1e-3", 0.001),
            ("1E+2", 100.0),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_has_no_value() {
        for text in [
            "",
            ".",
            "-",
            "m",
            "Ki",
            "1K",
            "1ki",
            "1 Gi",
            "1e",
            "1e1.5",
            "1e+-2",
            "1m2",
            "--1",
            "1-2",
            "inf",
            "NaN",
            "1e999999999",
            "1e400",
            "ä",
            "1ä",
            "1.2.3",
            "0x10",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
