//! From looks at a part to its state: one look is nothing, several that agree for some time are a state.
//!
//! Synchronous, and the clock is handed in.

use vedette_model::cluster::PartState;
use vedette_sys::MonotonicTime;

use super::causes::{Cause, Verdict};

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

    fn is_ripe(self, now: MonotonicTime, cause: &Cause) -> bool {
        self.looks >= LOOKS_MIN && now.since(self.began) >= cause.grace
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
        }
    }

    /// The state, since when, and what was seen.
    pub fn state(&self) -> (PartState, i64, &Seen) {
        (self.state, self.since_unix_ms, &self.seen)
    }

    /// Takes a look that began and ended at these times.
    pub fn take(&mut self, seen: Seen, began: MonotonicTime, now: MonotonicTime, unix_ms: i64) {
        let is_bad = seen.verdict() == Some(Verdict::Bad);
        match seen.verdict() {
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
        let next = self.next(&seen, now);
        if let Next::Become(state) = next
            && state != self.state
        {
            if self.state == PartState::Failed {
                self.window = 0;
            }
            (self.state, self.since_unix_ms) = (state, unix_ms);
            if state == PartState::Healthy {
                self.seen = Seen::good();
            }
        }
        // What is told fits the state: a single bad look of a healthy part is not told.
        let is_told = match self.state {
            PartState::Healthy => false,
            PartState::Failed => is_bad,
            PartState::Degraded => seen.cause.is_some(),
            PartState::Unknown => seen.verdict() == Some(Verdict::Blind),
        };
        if is_told {
            self.seen = seen;
        }
    }

    fn next(&self, seen: &Seen, now: MonotonicTime) -> Next {
        let is_ripe = |run: Option<Run>| {
            run.zip(seen.cause).is_some_and(|(run, cause)| run.is_ripe(now, cause))
        };
        if seen.verdict() == Some(Verdict::Blind) {
            return if is_ripe(self.blind) { Next::Become(PartState::Unknown) } else { Next::Stay };
        }
        if is_ripe(self.bad) {
            return Next::Become(PartState::Failed);
        }
        if self.state == PartState::Failed && self.not_bad < GOOD_MIN {
            return Next::Stay;
        }
        let window = self.window & ((1 << WINDOW) - 1);
        let is_poor = seen.cause.is_some() && is_ripe(self.poor.map(|(run, _)| run));
        if is_poor && self.poor.is_some_and(|(_, cause)| cause.verdict == Verdict::Poor) {
            return Next::Become(PartState::Degraded);
        }
        let is_flapping = seen.cause.is_some() && window.count_ones() >= WINDOW_BAD;
        if self.state != PartState::Failed && is_flapping {
            return Next::Become(PartState::Degraded);
        }
        match self.state {
            PartState::Failed | PartState::Degraded if self.good >= GOOD_MIN => {
                Next::Become(PartState::Healthy)
            }
            PartState::Unknown if self.good > 0 => Next::Become(PartState::Healthy),
            _ => Next::Stay,
        }
    }
}
