//! How long to wait before a server is asked again that did not answer as it should.

use std::time::Duration;

use vedette_sys::Random;

/// How patient a watch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The wait after the first failure; it doubles with each further one.
    pub retry_first: Duration,
    /// It does not grow beyond this.
    pub retry_max: Duration,
    /// For how long a server is asked to keep a watch open; up to a quarter more is added by chance.
    pub watch: Duration,
    /// How long a list may give nothing.
    pub silence_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            retry_first: Duration::from_millis(500),
            retry_max: Duration::from_secs(30),
            watch: Duration::from_secs(300),
            silence_max: Duration::from_secs(30),
        }
    }
}

/// Waits that grow.
#[derive(Debug)]
pub(crate) struct Backoff {
    timing: Timing,
    random: Random,
    failures: u32,
    /// Whether it was begun again without a wait since all was well.
    has_begun_again: bool,
}

impl Backoff {
    pub(crate) fn new(timing: Timing, random: Random) -> Self {
        Self { timing, random, failures: 0, has_begun_again: false }
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
        self.has_begun_again = false;
    }

    /// Whether one may begin again without a wait: once until all is well, however long it was not.
    pub(crate) fn begins_again(&mut self) -> bool {
        !std::mem::replace(&mut self.has_begun_again, true)
    }

    /// The next wait: by chance between a half and the whole, so that many clients do not come at once;
    /// never shorter than the server wishes.
    pub(crate) fn next(&mut self, wish: Option<Duration>) -> Duration {
        let whole = self.timing.retry_first.saturating_mul(1 << self.failures.min(16));
        let whole = whole.min(self.timing.retry_max);
        self.failures = self.failures.saturating_add(1);
        let jitter = whole.mul_f64(0.5 * self.random.unit());
        match wish {
            Some(wish) => wish + jitter,
            None => whole / 2 + jitter,
        }
    }

    /// A short wait by chance, for a server that many have waited for.
    pub(crate) fn spread(&mut self) -> Duration {
        self.timing.retry_first.mul_f64(self.random.unit())
    }

    /// How long the next watch shall be kept open, in seconds.
    pub(crate) fn watch_seconds(&mut self) -> u64 {
        let seconds = self.timing.watch.as_secs().max(1);
        seconds + self.random.below(seconds / 4 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_heed_the_server() {
        let timing = Timing { retry_first: Duration::from_secs(1), ..Timing::default() };
        let mut backoff = Backoff::new(timing, Random::new(1));
        let mut whole = 1.0;
        for _ in 0..40 {
            let wait = backoff.next(None).as_secs_f64();
            assert!((whole * 0.5..=whole).contains(&wait), "{wait} of {whole}");
            whole = (whole * 2.0_f64).min(30.0);
        }
        let wished = Duration::from_secs(100);
        assert!((wished..=wished + Duration::from_secs(15)).contains(&backoff.next(Some(wished))));
        assert!(backoff.begins_again() && !backoff.begins_again());
        backoff.reset();
        assert!(backoff.begins_again() && backoff.spread() < Duration::from_secs(1));
        assert!(backoff.next(None) <= Duration::from_secs(1));
        let seconds: std::collections::BTreeSet<u64> = (0..99).map(|_| backoff.watch_seconds()).collect();
        assert!(seconds.len() > 20 && seconds.iter().all(|s| (300..=375).contains(s)), "{seconds:?}");
    }
}
