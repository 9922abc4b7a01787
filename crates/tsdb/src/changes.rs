//! What changed since when, so that answers made of what did not change can be given again.
//!
//! Time is cut into stretches, and of each is known the number of the latest change in it: short
//! stretches for the last hours, long ones for the last weeks, one for all before. A sample that
//! comes late so changes its own time and nothing after it.
//!
//! Invariant: a change is noted after readers can see it and before whoever made it is told. So a
//! reader that was given a mark before it read has seen all changes up to the mark.

use parking_lot::Mutex;
use vedette_model::{ChangeMark, Changes, TimeRange};

use crate::Store;

/// Lengths of the stretches.
const SHORT_MS: i64 = 5_000;
const LONG_MS: i64 = 600_000;

/// Stretches of each length: 2.8 hours of the short ones, 14 days of the long ones.
const STRETCHES: usize = 2048;

/// Changes are told in at most so many ranges; of more, the oldest become one.
const RANGES_MAX: usize = 64;

/// The changes there were.
#[derive(Debug)]
pub(crate) struct ChangeLog(Mutex<Log>);

#[derive(Debug)]
struct Log {
    /// Number of the latest change.
    number: u64,
    short: Stretches,
    long: Stretches,
}

/// The newest stretches of one length.
#[derive(Debug)]
struct Stretches {
    span_ms: i64,
    /// Number of the first stretch since the epoch.
    first: i64,
    /// Number of the latest change of each stretch; that of stretch `n` at `n` modulo the length.
    numbers: Vec<u64>,
    /// That of everything before the first stretch.
    before: u64,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self(Mutex::new(Log { number: 0, short: Stretches::new(SHORT_MS), long: Stretches::new(LONG_MS) }))
    }
}

impl ChangeLog {
    /// Notes that samples in this range may have changed. What is known of the past ends where the
    /// stretches of its end begin, so it must not end in a future that is far away.
    pub fn note(&self, range: TimeRange) {
        if range.start_ms > range.end_ms {
            return;
        }
        let mut log = self.0.lock();
        log.number += 1;
        let number = log.number;
        log.short.note(range, number);
        log.long.note(range, number);
    }

    /// The number of the latest change, and where changes after `number` may have been.
    fn since(&self, number: u64) -> (u64, Vec<TimeRange>) {
        let log = self.0.lock();
        let mut ranges = Vec::new();
        if number < log.number {
            let short_from_ms = log.short.start_ms();
            if number < log.long.before {
                let end_ms = log.long.start_ms().min(short_from_ms) - 1;
                ranges.push(TimeRange { start_ms: i64::MIN, end_ms });
            }
            log.long.since(number, short_from_ms, &mut ranges);
            log.short.since(number, i64::MAX, &mut ranges);
        }
        (log.number, ranges)
    }
}

impl Stretches {
    fn new(span_ms: i64) -> Self {
        Self { span_ms, first: 0, numbers: vec![0; STRETCHES], before: 0 }
    }

    fn start_ms(&self) -> i64 {
        self.first * self.span_ms
    }

    fn place(stretch: i64) -> usize {
        stretch.rem_euclid(STRETCHES as i64) as usize
    }

    fn note(&mut self, range: TimeRange, number: u64) {
        let from = range.start_ms.div_euclid(self.span_ms);
        let to = range.end_ms.div_euclid(self.span_ms);
        self.move_on(to);
        if from < self.first {
            self.before = number;
        }
        (from.max(self.first)..=to).for_each(|stretch| self.numbers[Self::place(stretch)] = number);
    }

    /// Makes this stretch one of those that are known.
    fn move_on(&mut self, to: i64) {
        let first = self.first.max(to - STRETCHES as i64 + 1);
        if first - self.first >= STRETCHES as i64 {
            self.before = self.numbers.iter().fold(self.before, |latest, number| latest.max(*number));
            self.numbers.fill(0);
        } else {
            for left in self.first..first {
                let number = std::mem::take(&mut self.numbers[Self::place(left)]);
                self.before = self.before.max(number);
            }
        }
        self.first = first;
    }

    /// Adds the stretches that changed after `number`, as far as they are before `until_ms`.
    fn since(&self, number: u64, until_ms: i64, out: &mut Vec<TimeRange>) {
        for stretch in self.first..self.first + STRETCHES as i64 {
            let start_ms = stretch * self.span_ms;
            if start_ms >= until_ms {
                break;
            }
            if self.numbers[Self::place(stretch)] > number {
                let end_ms = (start_ms + self.span_ms).min(until_ms) - 1;
                match out.last_mut() {
                    Some(last) if last.end_ms + 1 >= start_ms => last.end_ms = end_ms,
                    _ => out.push(TimeRange { start_ms, end_ms }),
                }
            }
        }
        if out.len() > RANGES_MAX {
            let kept = out.len() - RANGES_MAX;
            out[kept].start_ms = out[0].start_ms;
            out.drain(..kept);
        }
    }
}

impl Store {
    pub(crate) fn changes_since(&self, since: Option<ChangeMark>) -> Changes {
        let retention = self.retention();
        let (number, changed) = self.changes.since(since.map_or(0, |mark| mark.number));
        let mark = ChangeMark { number, time_ms: retention.now_ms() };
        let Some(since) = since else { return Changes { mark, ranges: vec![TimeRange::ALL] } };
        let mut ranges = retention.changed_since(since.time_ms);
        ranges.extend(changed);
        Changes { mark, ranges }
    }
}

#[cfg(test)]
mod tests {
    use vedette_sys::Random;

    use super::*;

    fn is_told(told: &[TimeRange], at_ms: i64) -> bool {
        told.iter().any(|range| range.contains(at_ms))
    }

    #[test]
    fn no_change_is_forgotten_and_few_are_told_without_need() {
        for seed in 0..8 {
            let mut random = Random::new(seed);
            let mut below = |n: u64| i64::try_from(random.below(n)).unwrap();
            let log = ChangeLog::default();
            let mut all: Vec<TimeRange> = Vec::new();
            let mut now = 1_700_000_000_000;
            for _ in 0..1500 {
                // Now and then a pause, and one that is late, seldom by much.
                now += if below(500) == 0 { below(20_000_000) } else { below(3000) };
                let late = match below(200) {
                    0 => below(2_000_000_000),
                    1..5 => below(2_000_000),
                    _ => below(2000),
                };
                let range =
                    TimeRange { start_ms: now - late, end_ms: (now - late + below(40) * 500).min(now) };
                log.note(range);
                all.push(range);
                let since = all.len() - usize::try_from(below(all.len().min(300) as u64 + 1)).unwrap();
                let (number, told) = log.since(since as u64);
                assert_eq!(number, all.len() as u64);
                assert!(told.len() <= RANGES_MAX);
                assert!(told.windows(2).all(|pair| pair[0].end_ms < pair[1].start_ms), "{told:?}");
                for range in &all[since..] {
                    let ends = [range.start_ms, range.end_ms];
                    assert!(ends.iter().all(|at| is_told(&told, *at)), "seed {seed}: {range:?} of {told:?}");
                }
                // What is told of the last two hours is near to a change.
                for range in told.iter().filter(|r| told.len() < RANGES_MAX && r.start_ms > now - 7_200_000) {
                    let near = |change: &TimeRange| {
                        change.start_ms < range.start_ms + SHORT_MS && change.end_ms >= range.start_ms
                    };
                    assert!(all[since..].iter().any(near), "seed {seed}: {range:?} without need");
                }
            }
        }
    }

    #[test]
    fn a_late_sample_leaves_what_is_after_it() {
        let log = ChangeLog::default();
        let at = |ms| TimeRange { start_ms: ms, end_ms: ms };
        log.note(at(1_700_000_000_000));
        log.note(at(1_700_000_000_000 - 3_600_000));
        log.note(at(1_700_000_004_000));
        let hours_ago = TimeRange { start_ms: 1_699_996_400_000, end_ms: 1_699_996_404_999 };
        let now = TimeRange { start_ms: 1_700_000_000_000, end_ms: 1_700_000_004_999 };
        assert_eq!(log.since(1), (3, vec![hours_ago, now]));
        assert_eq!(log.since(2), (3, vec![now]));
        assert_eq!(log.since(3), (3, vec![]));
        log.note(at(1_600_000_000_000));
        let before = log.since(3).1[0];
        assert!(before.start_ms == i64::MIN && before.end_ms < 1_700_000_000_000 - 13 * 86_400_000);
    }
}
