//! Time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

/// A point on a clock that never goes back, in nanoseconds since some fixed start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct MonotonicTime(pub u64);

impl MonotonicTime {
    /// Time from `earlier` to this point; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since the Unix epoch; may jump when the machine's clock is set.
    fn unix_ns(&self) -> i64;

    /// Time for measuring durations.
    fn monotonic(&self) -> MonotonicTime;

    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> i64 {
        self.unix_ns().div_euclid(1_000_000)
    }
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ns(&self) -> i64 {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        t.tv_sec * 1_000_000_000 + t.tv_nsec
    }

    fn monotonic(&self) -> MonotonicTime {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        MonotonicTime(u64::try_from(t.tv_sec * 1_000_000_000 + t.tv_nsec).unwrap_or(0))
    }
}

/// A clock that moves only when told to; clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that shows `unix_ns`.
    pub fn at(unix_ns: i64) -> Self {
        Self(Arc::new(AtomicI64::new(unix_ns)))
    }

    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the time, also backwards.
    pub fn set(&self, unix_ns: i64) {
        self.0.store(unix_ns, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn unix_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> MonotonicTime {
        MonotonicTime(u64::try_from(self.unix_ns()).unwrap_or(0))
    }
}
/// When a count grew last, so that a loss of long ago is no trouble of today.
#[derive(Debug, Clone, Copy, Default)]
pub struct Growth {
    count: u64,
    grew_at: Option<MonotonicTime>,
}

impl Growth {
    /// Takes the newest count; whether it grew within `shown` before `now`.
    pub fn is_recent(&mut self, count: u64, now: MonotonicTime, shown: Duration) -> bool {
        if count > self.count {
            *self = Self { count, grew_at: Some(now) };
        }
        self.grew_at.is_some_and(|at| now.since(at) < shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_recent_for_a_while() {
        let at = |seconds: u64| MonotonicTime(seconds * 1_000_000_000);
        let mut growth = Growth::default();
        let shown = Duration::from_secs(300);
        assert!(!growth.is_recent(0, at(0), shown));
        for (count, seconds, recent) in [(3, 10, true), (3, 309, true), (3, 310, false), (4, 900, true)] {
            assert_eq!(growth.is_recent(count, at(seconds), shown), recent, "{seconds} s");
        }
    }
}
