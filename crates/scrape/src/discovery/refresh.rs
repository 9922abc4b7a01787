//! When a source is asked again, and how it went.

use std::time::Duration;

use vedette_sys::MonotonicTime;

/// The state of one source of targets.
#[derive(Debug, Clone)]
pub struct Refresh {
    interval: Duration,
    last: Option<MonotonicTime>,
    last_success: Option<MonotonicTime>,
    error: Option<String>,
    failures: u64,
}

impl Refresh {
    /// A source that is asked at once and then every `interval`, but not more often than each second.
    pub fn every(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_secs(1));
        Self { interval, last: None, last_success: None, error: None, failures: 0 }
    }

    /// How long it is until the source is to be asked.
    pub fn due_in(&self, now: MonotonicTime) -> Duration {
        self.last.map_or(Duration::ZERO, |last| self.interval.saturating_sub(now.since(last)))
    }

    /// Notes that the source was asked.
    pub fn done(&mut self, now: MonotonicTime, outcome: Result<(), String>) {
        self.last = Some(now);
        match outcome {
            Ok(()) => (self.last_success, self.error) = (Some(now), None),
            Err(error) => {
                self.failures += 1;
                self.error = Some(error);
            }
        }
    }

    /// What went wrong the last time, if it did. The targets are those of the time before.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// How often it went wrong.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// When it went well last.
    pub fn last_success(&self) -> Option<MonotonicTime> {
        self.last_success
    }
}

#[cfg(test)]
mod tests {
    use vedette_sys::{Clock as _, ManualClock};

    use super::*;

    #[test]
    fn a_source_is_asked_in_its_interval_however_it_went() {
        let clock = ManualClock::at(0);
        let mut refresh = Refresh::every(Duration::from_secs(30));
        assert_eq!(refresh.due_in(clock.monotonic()), Duration::ZERO);
        refresh.done(clock.monotonic(), Ok(()));
        clock.advance(Duration::from_secs(10));
        assert_eq!(refresh.due_in(clock.monotonic()), Duration::from_secs(20));
        clock.advance(Duration::from_secs(25));
        assert_eq!(refresh.due_in(clock.monotonic()), Duration::ZERO);
        let before = refresh.last_success();
        refresh.done(clock.monotonic(), Err("down".into()));
        assert_eq!((refresh.error(), refresh.failures()), (Some("down"), 1));
        assert_eq!(refresh.due_in(clock.monotonic()), Duration::from_secs(30));
        assert!(before.is_some() && refresh.last_success() == before);
        refresh.done(clock.monotonic(), Ok(()));
        assert_eq!((refresh.error(), refresh.failures()), (None, 1));
    }
}
