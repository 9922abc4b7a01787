//! Since when the samples of series count (start timestamps), as runs: they only change when a
//! source starts anew.
//!
//! Most series have none, most others one for all their life. Late samples carry their own.

use hashbrown::HashMap;

/// Start timestamps of the series of a shard that ever had one.
#[derive(Debug, Default)]
pub struct Starts {
    /// Of each slot its last run.
    last: HashMap<u32, Run>,
    /// Runs before the last one, in order of time.
    earlier: HashMap<u32, Vec<Run>>,
}

/// From this time on samples have this start; 0 where it is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    from_ms: i64,
    start_ms: i64,
}

impl Starts {
    /// The start that the last sample of a series has.
    pub fn last(&self, slot: u32) -> i64 {
        self.last.get(&slot).map_or(0, |run| run.start_ms)
    }

    /// Notes the start of a sample that is later than all of its series.
    pub fn push(&mut self, slot: u32, time_ms: i64, start_ms: i64) {
        let run = Run { from_ms: time_ms, start_ms };
        let before = match self.last.get_mut(&slot) {
            None if start_ms == 0 => return,
            // Samples before it have none.
            None => {
                self.last.insert(slot, run);
                return;
            }
            Some(last) if last.start_ms == start_ms => return,
            Some(last) => std::mem::replace(last, run),
        };
        self.earlier.entry(slot).or_default().push(before);
    }

    /// Appends the runs of a series, in order of time.
    pub fn copy(&self, slot: u32, out: &mut Vec<Run>) {
        if let Some(last) = self.last.get(&slot) {
            out.extend(self.earlier.get(&slot).into_iter().flatten());
            out.push(*last);
        }
    }

    /// Removes runs that end before `boundary_ms`. Says whether any is left.
    pub fn truncate_before(&mut self, slot: u32, boundary_ms: i64) -> bool {
        let Some(last) = self.last.get(&slot).copied() else { return false };
        if let Some(earlier) = self.earlier.get_mut(&slot) {
            let ends = earlier.iter().skip(1).chain([&last]).map(|next| next.from_ms);
            let gone = ends.take_while(|&end| end <= boundary_ms).count();
            earlier.drain(..gone);
            if !earlier.is_empty() {
                return true;
            }
            self.earlier.remove(&slot);
        }
        if last.start_ms == 0 {
            self.last.remove(&slot);
        }
        last.start_ms != 0
    }

    /// Takes back what was noted of samples later than `last_ms`. Says whether any run is left.
    pub fn take_back(&mut self, slot: u32, last_ms: i64) -> bool {
        let mut runs = Vec::new();
        self.copy(slot, &mut runs);
        self.remove_series(slot);
        runs.retain(|run| run.from_ms <= last_ms);
        let Some(last) = runs.pop() else { return false };
        self.last.insert(slot, last);
        if !runs.is_empty() {
            self.earlier.insert(slot, runs);
        }
        true
    }

    /// Forgets a series.
    pub fn remove_series(&mut self, slot: u32) {
        self.last.remove(&slot);
        self.earlier.remove(&slot);
    }

    /// About how much memory they take.
    pub fn heap_bytes(&self) -> usize {
        let earlier: usize = self.earlier.values().map(|runs| runs.capacity() * size_of::<Run>()).sum();
        self.last.capacity() * (size_of::<Run>() + 9) + self.earlier.capacity() * 40 + earlier
    }
}

/// The start of a sample among copied runs.
pub fn start_at(runs: &[Run], time_ms: i64) -> i64 {
    let after = runs.partition_point(|run| run.from_ms <= time_ms);
    after.checked_sub(1).map_or(0, |at| runs[at].start_ms)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn equals_a_map(
            steps in proptest::collection::vec((0u32..3, 0i64..3, proptest::option::weighted(0.1, 0i64..6), any::<bool>()), 1..60)
        ) {
            let (mut starts, mut model) = (Starts::default(), vec![BTreeMap::<i64, i64>::new(); 3]);
            for (time, (slot, start, cut, front)) in (0i64..).zip(steps) {
                match cut {
                    None => {
                        starts.push(slot, time, start);
                        model[slot as usize].insert(time, start);
                    }
                    Some(back) if front => {
                        starts.truncate_before(slot, time - back);
                        model[slot as usize].retain(|t, _| *t >= time - back);
                    }
                    Some(back) => {
                        starts.take_back(slot, time - back);
                        model[slot as usize].retain(|t, _| *t <= time - back);
                    }
                }
                for slot in 0..3 {
                    let mut runs = Vec::new();
                    starts.copy(slot, &mut runs);
                    for (&time, &start) in &model[slot as usize] {
                        prop_assert_eq!(start_at(&runs, time), start);
                    }
                }
            }
        }
    }

    #[test]
    fn a_series_that_has_no_start_any_more_takes_no_memory() {
        let mut starts = Starts::default();
        starts.push(1, 10, 5);
        starts.push(1, 20, 0);
        assert!(starts.truncate_before(1, 15));
        assert!(!starts.truncate_before(1, 20));
        assert!(starts.last.is_empty() && starts.earlier.is_empty());
    }
}
