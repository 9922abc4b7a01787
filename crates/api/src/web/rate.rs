//! How many requests are answered: a bucket of tokens that fills with time.

use parking_lot::Mutex;
use vedette_config::web::RateLimit;
use vedette_sys::MonotonicTime;

/// A bucket.
pub struct Rate {
    limit: RateLimit,
    /// When the bucket would have been empty: it holds one token for each interval since then.
    empty_at_ns: Mutex<Option<u64>>,
}

impl Rate {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, empty_at_ns: Mutex::new(None) }
    }

    /// Takes a token, if there is one.
    pub fn allows(&self, now: MonotonicTime) -> bool {
        let interval_ns = u64::try_from(self.limit.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let full_ns = interval_ns.saturating_mul(self.limit.burst);
        let mut empty_at = self.empty_at_ns.lock();
        // Time before the clock began is counted too, so that the bucket begins full.
        let now_ns = now.0.saturating_add(full_ns);
        let fullest = now_ns.saturating_sub(full_ns);
        let next = (*empty_at).map_or(fullest, |at| at.max(fullest)).saturating_add(interval_ns);
        if next > now_ns {
            return false;
        }
        *empty_at = Some(next);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_one_each_interval() {
        let rate = Rate::new(RateLimit { burst: 3, interval: Duration::from_secs(1) });
        let at = |seconds: f64| MonotonicTime((seconds * 1e9) as u64);
        let taken = |times: &[f64]| times.iter().filter(|t| rate.allows(at(**t))).count();
        assert_eq!(taken(&[0.0; 5]), 3);
        assert_eq!(taken(&[0.9, 1.0, 1.5]), 1);
        assert_eq!(taken(&[100.0; 9]), 3);
        let none = Rate::new(RateLimit { burst: 0, interval: Duration::from_secs(1) });
        assert!(!none.allows(at(10.0)));
    }
}
