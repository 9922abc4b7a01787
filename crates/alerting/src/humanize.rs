//! Numbers for people, in the forms that Prometheus' template functions give them.

use vedette_gotemplate::{format::float, time::Time};

fn short(value: f64) -> String {
    float(value, 'g', Some(4))
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// With metric prefixes: `1.234M`.
pub(crate) fn metric(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return short(value);
    }
    let mut scaled = value;
    let mut prefix = "";
    if value.abs() >= 1.0 {
        for p in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if scaled.abs() < 1000.0 {
                break;
            }
            prefix = p;
            scaled /= 1000.0;
        }
    } else {
        for p in SMALL {
            if scaled.abs() >= 1.0 {
                break;
            }
            prefix = p;
            scaled *= 1000.0;
        }
    }
    format!("{}{prefix}", short(scaled))
}

/// With binary prefixes: `1.5Mi`.
pub(crate) fn binary(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return short(value);
    }
    let mut scaled = value;
    let mut prefix = "";
    for p in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
        if scaled.abs() < 1024.0 {
            break;
        }
        prefix = p;
        scaled /= 1024.0;
    }
    format!("{}{prefix}", short(scaled))
}

/// Seconds as `1d 2h 3m 4s`.
pub(crate) fn duration(value: f64) -> String {
    if !value.is_finite() {
        return short(value);
    }
    if value == 0.0 {
        return format!("{}s", short(value));
    }
    if value.abs() >= 1.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        let whole = value.abs() as i64;
        let (seconds, minutes) = (whole % 60, whole / 60 % 60);
        let (hours, days) = (whole / 3600 % 24, whole / 86_400);
        return if days != 0 {
            format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
        } else if hours != 0 {
            format!("{sign}{hours}h {minutes}m {seconds}s")
        } else if minutes != 0 {
            format!("{sign}{minutes}m {seconds}s")
        } else {
            format!("{}s", short(value))
        };
    }
    let mut scaled = value;
    let mut prefix = "";
    for p in SMALL {
        if scaled.abs() >= 1.0 {
            break;
        }
        prefix = p;
        scaled *= 1000.0;
    }
    format!("{}{prefix}s", short(scaled))
}

/// A ratio as `12.34%`.
pub(crate) fn percentage(value: f64) -> String {
    format!("{}%", short(value * 100.0))
}

/// Seconds since the Unix epoch as a date.
pub(crate) fn timestamp(value: f64) -> Result<String, String> {
    if !value.is_finite() {
        return Ok(short(value));
    }
    let time = time(value)?;
    Ok(vedette_gotemplate::Object::text(&time).unwrap_or_default())
}

/// Seconds since the Unix epoch as a time.
pub(crate) fn time(value: f64) -> Result<Time, String> {
    if !value.is_finite() || value.abs() > 9.2e15 {
        return Err(format!("{} is out of the range of times", short(value)));
    }
    // In milliseconds, which is what a sample's time has.
    Ok(Time::from_unix_ms((value * 1000.0).trunc() as i64))
}
