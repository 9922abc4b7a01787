//! When the slow facts of which containers are read.
//!
//! Containers are spread over groups by their numbers, and the groups have their turns one after
//! the other, so that every container has its turn once in an interval and no pass has a peak.
//! Turns follow the times of the passes, which lie on multiples of their interval: the same groups
//! meet in a pass time after time, and their rows keep recurring with the same series.

/// Groups that take turns.
const GROUPS: i64 = 10;

#[derive(Debug)]
pub(super) struct Turns {
    interval_ms: i64,
    tick: Option<i64>,
    first: i64,
    groups: i64,
}

impl Turns {
    pub(super) fn new(interval_ms: u64) -> Self {
        let interval_ms = i64::try_from(interval_ms).unwrap_or(i64::MAX).max(1);
        Self { interval_ms, tick: None, first: 0, groups: 0 }
    }

    /// Begins a pass: decides whose turn it is.
    pub(super) fn begin(&mut self, time_ms: i64) {
        let tick = i128::from(time_ms) * i128::from(GROUPS);
        let tick = i64::try_from(tick.div_euclid(self.interval_ms.into())).unwrap_or(0);
        let passed = self.tick.map(|last| tick.saturating_sub(last));
        // At first, after a long time and when the clock was set back, all have their turn.
        self.groups = passed.filter(|n| (0..=GROUPS).contains(n)).unwrap_or(GROUPS);
        self.first = tick.saturating_sub(self.groups) + 1;
        self.tick = Some(tick);
    }

    /// Whether the container of this number has its turn in this pass.
    pub(super) fn has(&self, number: u64) -> bool {
        let group = i64::try_from(number % GROUPS.unsigned_abs()).unwrap_or(0);
        (group - self.first.rem_euclid(GROUPS)).rem_euclid(GROUPS) < self.groups
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(turns: &mut Turns, time_ms: i64) -> Vec<u64> {
        turns.begin(time_ms);
        (0..10).filter(|n| turns.has(*n)).collect()
    }

    #[test]
    fn each_group_has_its_turn_once_an_interval_and_all_have_it_when_time_jumps() {
        let all: Vec<u64> = (0..10).collect();
        let mut turns = Turns::new(10_000);
        assert_eq!(due(&mut turns, 1_000_000), all, "the first pass");
        let one_by_one: Vec<Vec<u64>> = (1..=10).map(|s| due(&mut turns, 1_000_000 + s * 1000)).collect();
        assert!(one_by_one.iter().all(|groups| groups.len() == 1));
        let mut seen = one_by_one.concat();
        seen.sort_unstable();
        assert_eq!(seen, all);
        assert_eq!(due(&mut turns, 1_010_000), Vec::<u64>::new(), "the same time again");
        assert_eq!(due(&mut turns, 1_015_000).len(), 5);
        assert_eq!(due(&mut turns, 1_045_000), all);
        assert_eq!(due(&mut turns, 0), all, "the clock was set back");
        assert_eq!(due(&mut turns, i64::MIN), all);
        assert_eq!(due(&mut turns, i64::MAX), all);
    }

    proptest! {
        /// However the passes come, none waits longer than an interval and one pass.
        #[test]
        fn nobody_is_forgotten(
            interval_ms in 1u64..100_000,
            steps in proptest::collection::vec(0i64..20_000, 1..200),
        ) {
            let mut turns = Turns::new(interval_ms);
            let (mut now_ms, mut last_ms) = (0, [0i64; 10]);
            for step in steps {
                now_ms += step;
                turns.begin(now_ms);
                for (number, last_ms) in last_ms.iter_mut().enumerate() {
                    if turns.has(number as u64) {
                        *last_ms = now_ms;
                    }
                    prop_assert!(now_ms - *last_ms <= interval_ms as i64);
                }
            }
        }
    }
}
