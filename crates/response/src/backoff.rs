//! How long to wait before trying again.

use std::time::Duration;

use vedette_sys::Random;

/// Longest wait that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Doubles from `min` with each failure until `max`; half of it is chance, so that several
/// senders that failed together do not come back together.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut random = Random::new(1);
        for (failures, nominal) in [(0, 1), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (1000, 60)] {
            for _ in 0..100 {
                let wait = wait(failures, min, max, &mut random);
                let nominal = Duration::from_secs(nominal);
                assert!(wait >= nominal / 2 && wait <= nominal, "{failures} failures: {wait:?}");
            }
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_ms = 784_111_777_000; // Sun, 06 Nov 1994 08:49:37 GMT
        for (header, seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(header, now_ms), seconds.map(Duration::from_secs), "{header:?}");
        }
    }
}
