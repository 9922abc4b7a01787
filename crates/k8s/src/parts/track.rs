//! From looks at a part to its state: one look is nothing, several that agree for some time are a state.
//!
//! Synchronous, and the clock is handed in.

use std::time::Duration;

use vedette_model::cluster::PartState;
use vedette_sys::MonotonicTime;

use super::causes::{Cause, Verdict};

/// Looks come a little early or late.
const SLACK: Duration = Duration::from_millis(200);
/// Looks that must agree before something is told.
const LOOKS_MIN: u32 = 2;
/// Good looks that must follow each other before a part is taken for mended.
const GOOD_MIN: u32 = 3;
/// Of so many looks ...
const WINDOW: u32 = 10;
/// ... so many bad ones make a part that works now and then.
const WINDOW_BAD: u32 = 5;

/// What one look saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What is wrong; nothing where it is `None`.
    pub cause: Option<&'static Cause>,
    /// In the words of who said it.
    pub evidence: String,
}

impl Seen {
    /// All is well.
    pub fn good() -> Self {
        Self { cause: None, evidence: String::new() }
    }

    /// Something is wrong.
    pub fn wrong(cause: &'static Cause, evidence: impl Into<String>) -> Self {
        Self { cause: Some(cause), evidence: evidence.into() }
    }

    fn verdict(&self) -> Option<Verdict> {
        self.cause.map(|cause| cause.verdict)
    }
}

/// Looks that follow each other and say the same.
#[derive(Debug, Clone, Copy)]
struct Run {
    began: MonotonicTime,
    looks: u32,
}

impl Run {
    fn count(run: &mut Option<Self>, began: MonotonicTime) -> Self {
        let run = run.get_or_insert(Self { began, looks: 0 });
        // Looks may end in another order than they began.
        run.began = run.began.min(began);
        run.looks += 1;
        *run
    }

    fn is_ripe(self, until: MonotonicTime, cause: &Cause) -> bool {
        self.looks >= LOOKS_MIN && until.since(self.began) + SLACK >= cause.grace
    }
}

/// The state of a part as looks come.
#[derive(Debug, Clone)]
pub struct Track {
    state: PartState,
    since_unix_ms: i64,
    /// Of the newest look that was not good while the state is not healthy.
    seen: Seen,
    bad: Option<Run>,
    /// Looks that were poor or bad, and for which cause.
    poor: Option<(Run, &'static Cause)>,
    blind: Option<Run>,
    good: u32,
    not_bad: u32,
    /// The last looks, the newest lowest; 1 is a bad one.
    window: u32,
    /// When the newest look began.
    newest: MonotonicTime,
}

/// What the state is made of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Stay,
    Become(PartState),
}

impl Track {
    /// Nothing was seen yet.
    pub fn new(unix_ms: i64) -> Self {
        Self {
            state: PartState::Unknown,
            since_unix_ms: unix_ms,
            seen: Seen::good(),
            bad: None,
            poor: None,
            blind: None,
            good: 0,
            not_bad: 0,
            window: 0,
            newest: MonotonicTime(0),
        }
    }

    /// The state, since when, and what was seen.
    pub fn state(&self) -> (PartState, i64, &Seen) {
        (self.state, self.since_unix_ms, &self.seen)
    }

    /// Takes a look that began at this time and tells how it was until that one: of what was silent until its
    /// time was over, that is the end; of an answer, it is when it was asked, however late it came. Says
    /// whether what is told is another now.
    pub fn take(&mut self, seen: Seen, began: MonotonicTime, until: MonotonicTime, unix_ms: i64) -> bool {
        let mut is_changed = false;
        let is_bad = seen.verdict() == Some(Verdict::Bad);
        // One that began before another that has ended says how it was, and not how it is.
        let is_old = began < self.newest;
        self.newest = self.newest.max(began);
        match seen.verdict() {
            _ if is_old => self.window = (self.window << 1) | u32::from(is_bad),
            Some(Verdict::Blind) => {
                (self.bad, self.poor) = (None, None);
                (self.good, self.not_bad) = (0, 0);
                Run::count(&mut self.blind, began);
            }
            verdict => {
                self.blind = None;
                self.window = (self.window << 1) | u32::from(is_bad);
                self.good = if verdict.is_none() { self.good + 1 } else { 0 };
                self.not_bad = if is_bad { 0 } else { self.not_bad + 1 };
                if !is_bad {
                    self.bad = None;
                } else {
                    Run::count(&mut self.bad, began);
                }
                match seen.cause {
                    None => self.poor = None,
                    // One trouble after another is not yet a long one.
                    Some(cause) if self.poor.is_none_or(|(_, known)| known != cause) && !is_bad => {
                        self.poor = Some((Run { began, looks: 1 }, cause));
                    }
                    Some(cause) => {
                        let mut run = self.poor.map(|(run, _)| run);
                        self.poor = Some((Run::count(&mut run, began), cause));
                    }
                }
            }
        }
        let next = if is_old { self.next_of_window(&seen) } else { self.next(&seen, until) };
        if let Next::Become(state) = next
            && state != self.state
        {
            if self.state == PartState::Failed {
                self.window = 0;
            }
            (self.state, self.since_unix_ms) = (state, unix_ms);
            is_changed = true;
            if state == PartState::Healthy {
                self.seen = Seen::good();
            }
        }
        // What is told fits the state: a single bad look of a healthy part is not told.
        let is_told = match self.state {
            PartState::Healthy => false,
            // It gives the reason only where there is none yet.
            _ if is_old => self.seen.cause.is_none() && is_bad,
            PartState::Failed => is_bad,
            PartState::Degraded => seen.cause.is_some(),
            PartState::Unknown => seen.verdict() == Some(Verdict::Blind),
        };
        if is_told && self.seen != seen {
            self.seen = seen;
            is_changed = true;
        }
        is_changed
    }

    fn next(&self, seen: &Seen, until: MonotonicTime) -> Next {
        let is_ripe =
            |run: Option<Run>| run.zip(seen.cause).is_some_and(|(run, cause)| run.is_ripe(until, cause));
        if seen.verdict() == Some(Verdict::Blind) {
            return if is_ripe(self.blind) { Next::Become(PartState::Unknown) } else { Next::Stay };
        }
        if is_ripe(self.bad) {
            return Next::Become(PartState::Failed);
        }
        if self.state == PartState::Failed && self.not_bad < GOOD_MIN {
            return Next::Stay;
        }
        let is_poor = seen.cause.is_some() && is_ripe(self.poor.map(|(run, _)| run));
        if is_poor && self.poor.is_some_and(|(_, cause)| cause.verdict == Verdict::Poor) {
            return Next::Become(PartState::Degraded);
        }
        if self.next_of_window(seen) != Next::Stay {
            return Next::Become(PartState::Degraded);
        }
        match self.state {
            PartState::Failed if self.good >= GOOD_MIN => Next::Become(PartState::Healthy),
            // It works again, though not well: what made it fail is over, and is told no longer.
            PartState::Failed if seen.cause.is_some() => Next::Become(PartState::Degraded),
            PartState::Degraded if self.good >= GOOD_MIN && !self.is_unsteady() => {
                Next::Become(PartState::Healthy)
            }
            PartState::Unknown if self.good > 0 => Next::Become(PartState::Healthy),
            _ => Next::Stay,
        }
    }
    /// Whether too many of the last looks were bad.
    fn is_unsteady(&self) -> bool {
        (self.window & ((1 << WINDOW) - 1)).count_ones() >= WINDOW_BAD
    }

    fn next_of_window(&self, seen: &Seen) -> Next {
        if self.state != PartState::Failed && seen.verdict() == Some(Verdict::Bad) && self.is_unsteady() {
            Next::Become(PartState::Degraded)
        } else {
            Next::Stay
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::causes::{SERVER_CHECK, SERVER_ETCD, SERVER_SILENT, SERVER_SLOW, SERVER_STARTING};

    /// Looks at these times, in tenths of seconds: began, until when they tell, and what was seen.
    fn after(looks: &[(u64, u64, Option<&'static Cause>)]) -> (PartState, &'static str) {
        let at = |tenths: u64| MonotonicTime(tenths * 100_000_000);
        let mut track = Track::new(0);
        for (began, ended, cause) in looks {
            let seen = cause.map_or_else(Seen::good, |cause| Seen::wrong(cause, "x"));
            track.take(seen, at(*began), at(*ended), 0);
        }
        let (state, _, seen) = track.state();
        (state, seen.cause.map_or("", |cause| cause.word))
    }

    #[test]
    fn it_takes_agreement_and_time_to_fail_and_to_mend() {
        let bad = Some(SERVER_SILENT);
        let mut looks = vec![(0, 1, None), (10, 11, bad), (20, 21, bad), (30, 31, bad)];
        assert_eq!(after(&looks), (PartState::Healthy, ""), "a burst of two seconds is nothing");
        looks.push((40, 41, Some(SERVER_CHECK)));
        assert_eq!(after(&looks), (PartState::Failed, "check_failed"), "whatever fails, it fails");
        looks.extend([(50, 51, None), (60, 61, None)]);
        assert_eq!(after(&looks).0, PartState::Failed);
        looks.push((70, 71, None));
        assert_eq!(after(&looks), (PartState::Healthy, ""));
        // Two that hang for two seconds each are as good as four that refuse.
        assert_eq!(after(&[(0, 1, None), (10, 30, bad), (20, 40, bad)]).0, PartState::Failed);
        assert_eq!(
            after(&[(0, 1, None), (10, 60, bad)]).0,
            PartState::Healthy,
            "one is nothing, however slow"
        );
    }

    #[test]
    fn what_works_again_in_part_has_not_failed() {
        let (bad, starting) = (Some(SERVER_SILENT), Some(SERVER_STARTING));
        let mut looks: Vec<_> = (0..5).map(|n| (n * 10, n * 10 + 1, bad)).collect();
        looks.extend([(50, 51, starting), (60, 61, starting)]);
        assert_eq!(after(&looks), (PartState::Failed, "no_answer"));
        looks.push((70, 71, starting));
        assert_eq!(after(&looks), (PartState::Degraded, "starting"));
        looks.extend([(80, 81, None), (90, 91, None), (100, 101, None)]);
        assert_eq!(after(&looks), (PartState::Healthy, ""));
    }

    #[test]
    fn it_says_whether_what_is_told_is_another() {
        let at = |second: u64| MonotonicTime(second * 1_000_000_000);
        let mut track = Track::new(0);
        let bad = |evidence: &str| Seen::wrong(SERVER_SILENT, evidence);
        let looks = [Seen::good(), Seen::good(), bad("a"), bad("a"), bad("a"), bad("a"), bad("a"), bad("b")];
        let changes: Vec<bool> =
            looks.into_iter().zip(0..).map(|(seen, n)| track.take(seen, at(n), at(n), 0)).collect();
        assert_eq!(changes, [true, false, false, false, false, true, false, true]);
    }

    #[test]
    fn what_began_before_says_nothing_of_now() {
        let bad = Some(SERVER_SILENT);
        let late = (5, 24, None);
        let looks = [(0, 1, None), (10, 11, bad), (20, 21, bad), late, (30, 31, bad), (40, 41, bad)];
        assert_eq!(after(&looks).0, PartState::Failed);
    }

    #[test]
    fn what_works_now_and_then_is_told() {
        let mut looks = vec![];
        for n in 0..12 {
            looks.push((n * 20, n * 20 + 1, Some(SERVER_SILENT)));
            looks.push((n * 20 + 10, n * 20 + 11, None));
        }
        assert_eq!(after(&looks), (PartState::Degraded, "no_answer"));
        // As above, but each that hangs ends after a later one that was answered.
        let mut looks = vec![];
        for n in 0..12 {
            looks.push((n * 20 + 10, n * 20 + 11, None));
            looks.push((n * 20, n * 20 + 20, Some(SERVER_SILENT)));
        }
        assert_eq!(after(&looks), (PartState::Degraded, "no_answer"));
        looks.extend((0..10).map(|n| (300 + n * 10, 301 + n * 10, None)));
        assert_eq!(after(&looks).0, PartState::Healthy);
    }

    #[test]
    fn troubles_that_follow_each_other_are_no_long_one() {
        let (slow, store) = (Some(SERVER_SLOW), Some(SERVER_ETCD));
        let mut looks = vec![(0, 1, None)];
        looks.extend((1..25).map(|n| (n * 10, n * 10 + 1, slow)));
        looks.push((250, 251, store));
        assert_eq!(after(&looks).0, PartState::Healthy);
        looks.extend([(260, 261, store), (270, 271, store), (280, 281, store)]);
        assert_eq!(after(&looks), (PartState::Degraded, "etcd"));
    }
}
