//! How long to wait before trying again.

use std::time::Duration;

use vedette_sys::Random;

/// Longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Doubles from `min` with each failure until `max`; half of it is chance, so that senders that
/// failed together do not come back together.
pub fn wait(failures: u32, min: Duration, max: Duration, random: &mut Random) -> Duration {
    let doubled = min.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(max);
    doubled.mul_f64(0.5 + random.unit() / 2.0)
}

/// Reads a `Retry-After` header: seconds, or a date.
pub fn retry_after(header: &str, now_unix_ms: i64) -> Option<Duration> {
    let header = header.trim();
    let wait = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(header).ok()?;
            let ms = date.timestamp().as_millisecond().saturating_sub(now_unix_ms);
            Duration::from_millis(u64::try_from(ms).unwrap_or(0))
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}
