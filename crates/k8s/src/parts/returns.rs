//! When watches are told that an API server came back.

use std::time::Duration;

use vedette_sys::MonotonicTime;

/// They are not told again sooner, so that a server that comes and goes is not asked ever more.
const APART: Duration = Duration::from_secs(5);

/// What is known of an API server that comes and goes.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// Whether it was away since they were told last.
    was_away: bool,
    told: Option<MonotonicTime>,
}

impl Returns {
    /// Takes whether it answers now; says whether to tell that it came back. One that came back too soon after the
    /// last time is told later, if it still answers.
    pub(super) fn take(&mut self, answers: bool, now: MonotonicTime) -> bool {
        if !answers {
            self.was_away = true;
            return false;
        }
        let is_told = self.was_away && self.told.is_none_or(|at| now.since(at) >= APART);
        if is_told {
            *self = Self { was_away: false, told: Some(now) };
        }
        is_told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_return_is_told_and_none_too_soon_after_another() {
        // What it answers each second, and when that is told.
        for (answers, expected) in [
            ("++++++++++", ""),
            ("-+++++++++", " ^"),
            ("---+-+++++++++", "   ^    ^"),
            ("-+-+-+-+-+-+", " ^     ^    "),
            ("-+----------+-", " ^          ^"),
            ("-+-------", " ^"),
        ] {
            let mut returns = Returns::default();
            let told: String = (1_u64..)
                .zip(answers.chars())
                .map(|(second, answer)| {
                    let is_told = returns.take(answer == '+', MonotonicTime(second * 1_000_000_000));
                    if is_told { '^' } else { ' ' }
                })
                .collect();
            assert_eq!(told.trim_end(), expected.trim_end(), "{answers}");
        }
    }
}
