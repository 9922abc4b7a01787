//! What stands in an object as a number: numbers, truth values, times, amounts, shares and durations.

use serde_json::Value;

use crate::{quantity, state::duration};

/// No number is longer, and no time.
const TEXT_BYTES_MAX: usize = 64;

/// The number that a value stands for, if any.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(truth) => Some(f64::from(*truth)),
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => of_text(text),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn of_text(text: &str) -> Option<f64> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "yes"]) {
        return Some(1.0);
    }
    if is(&["false", "no", "unknown"]) {
        return Some(0.0);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_second() as f64);
    }
    // `5m` is an amount, five thousandths, as the documentation of kube-state-metrics has it.
    if let Some(amount) = quantity::parse(text) {
        return Some(amount);
    }
    if let Some(percent) = text.strip_suffix('%') {
        return percent.parse::<f64>().ok().map(|percent| percent / 100.0);
    }
    text.parse().ok().or_else(|| duration::seconds(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_stand_for_numbers() {
        for (value, expected) in [
            (json!(43.21), 43.21),
            (json!(-7), -7.0),
            (json!(u64::MAX), 18_446_744_073_709_551_615.0),
            (json!(true), 1.0),
            (json!(false), 0.0),
            (json!("True"), 1.0),
            (json!("YES"), 1.0),
            (json!("False"), 0.0),
            (json!("no"), 0.0),
            (json!("Unknown"), 0.0),
            (json!("2019-10-22T16:29:31Z"), 1_571_761_771.0),
            (json!("2019-10-22T18:29:31.5+02:00"), 1_571_761_771.0),
            (json!("250m"), 0.25),
            (json!("512Gi"), 549_755_813_888.0),
            (json!("262144k"), 262_144_000.0),
            (json!("39%"), 0.39),
            (json!("0.5%"), 0.005),
            (json!("1.5"), 1.5),
            (json!("1e3"), 1000.0),
            (json!("+Inf"), f64::INFINITY),
            (json!("2160h"), 7_776_000.0),
            (json!("1h30m0s"), 5400.0),
            (json!("-1.5s"), -1.5),
            (json!("300ms"), 0.3),
            (json!("5m0s"), 300.0),
            (json!("5m"), 0.005),
        ] {
            assert_eq!(number(&value), Some(expected), "{value}");
        }
        for value in [
            json!(null),
            json!(""),
            json!("-"),
            json!("Ready"),
            json!("%"),
            json!("h"),
            json!("1h30"),
            json!("1d"),
            json!("1..5h"),
            json!("0x10"),
            json!("2019-10-22"),
            json!([1]),
            json!({"a": 1}),
            json!("1".repeat(65)),
        ] {
            assert_eq!(number(&value), None, "{value}");
        }
        assert!(number(&json!("NaN")).is_some_and(f64::is_nan));
    }
}
