//! When each target is scraped.
//!
//! A target has its own place in the interval, by the hash of its id and a seed of the server: all
//! targets spread evenly, two servers with other seeds scrape at other times, and a target keeps
//! its place over restarts. Times are multiples of the interval plus the place, so nothing drifts; a
//! time that was missed is skipped and counted.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::Duration,
};

use crate::TargetId;

/// The next time of each target. Times are nanoseconds of one clock, that of the Unix epoch.
#[derive(Debug, Default)]
pub struct Schedule {
    seed: u64,
    heap: BinaryHeap<Reverse<(u64, TargetId)>>,
    /// The interval and the next time. What the heap says besides is of the past.
    known: HashMap<TargetId, (u64, u64)>,
    missed: u64,
}

impl Schedule {
    /// An empty schedule; servers that scrape the same targets have different seeds.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Adds a target, or changes its interval. Its first time comes within one interval.
    pub fn insert(&mut self, target: TargetId, interval: Duration, now_ns: u64) {
        let interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        let next = next_time(now_ns, interval_ns, self.place(target, interval_ns));
        self.known.insert(target, (interval_ns, next));
        self.heap.push(Reverse((next, target)));
    }

    /// Takes a target out.
    pub fn remove(&mut self, target: TargetId) {
        self.known.remove(&target);
        self.tidy();
    }

    /// When the next target is due.
    pub fn next_ns(&mut self) -> Option<u64> {
        self.drop_past();
        self.heap.peek().map(|Reverse((time, _))| *time)
    }

    /// When this target is due next.
    pub fn next_of(&self, target: TargetId) -> Option<u64> {
        self.known.get(&target).map(|(_, next)| *next)
    }

    /// A target that is due, and the time at which it was due; it is scheduled for its next time.
    pub fn take_due(&mut self, now_ns: u64) -> Option<(TargetId, u64)> {
        self.drop_past();
        let Reverse((time, target)) = *self.heap.peek()?;
        if time > now_ns {
            return None;
        }
        self.heap.pop();
        let (interval_ns, next) =
            self.known.get_mut(&target).expect("BUG: only known targets stay in the heap");
        let behind = now_ns.saturating_sub(time) / *interval_ns;
        self.missed += behind;
        // The latest time that has come counts; those before it were missed.
        let due = time + behind * *interval_ns;
        *next = due.saturating_add(*interval_ns);
        self.heap.push(Reverse((*next, target)));
        Some((target, due))
    }

    /// How many times passed without a scrape.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Number of targets.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is no target.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn place(&self, target: TargetId, interval_ns: u64) -> u64 {
        (target.number() ^ self.seed) % interval_ns
    }

    /// Takes entries from the top that are not the target's next time any more.
    fn drop_past(&mut self) {
        while let Some(Reverse((time, target))) = self.heap.peek() {
            if self.known.get(target).is_some_and(|(_, next)| next == time) {
                break;
            }
            self.heap.pop();
        }
    }

    /// Targets that come and go must not fill the heap.
    fn tidy(&mut self) {
        if self.heap.len() > 2 * self.known.len() + 64 {
            let known = &self.known;
            self.heap
                .retain(|Reverse((time, target))| known.get(target).is_some_and(|(_, next)| next == time));
        }
    }
}

/// The first time after `now` that is a multiple of the interval plus the place.
fn next_time(now_ns: u64, interval_ns: u64, place_ns: u64) -> u64 {
    let base = now_ns - now_ns % interval_ns;
    let time = base.saturating_add(place_ns);
    if time > now_ns { time } else { time.saturating_add(interval_ns) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Target, pool::tests::job};

    const SECOND: u64 = 1_000_000_000;

    fn ids(count: usize) -> Vec<TargetId> {
        let job = job("scrape_interval: 15s");
        let id = |i: usize| {
            let found = vedette_model::Labels::from_pairs([("__address__", format!("host-{i}:9100"))]);
            Target::new(&job, &found).expect("usable").expect("kept").id
        };
        (0..count).map(id).collect()
    }

    #[test]
    fn scrapes_spread_evenly_and_do_not_drift() {
        let ids = ids(1000);
        let interval = Duration::from_secs(10);
        let start = 1_700_000_000 * SECOND + 123;
        let mut schedule = Schedule::new(7);
        for id in &ids {
            schedule.insert(*id, interval, start);
        }
        let mut times: HashMap<TargetId, Vec<u64>> = HashMap::new();
        let mut in_second = [0; 10];
        let mut now = start;
        while now < start + 100 * SECOND {
            now = schedule.next_ns().expect("targets");
            // The caller is late by some milliseconds.
            while let Some((id, due)) = schedule.take_due(now + 3_000_000) {
                times.entry(id).or_default().push(due);
                in_second[(due / SECOND % 10) as usize] += 1;
            }
        }
        assert_eq!((times.len(), schedule.missed()), (1000, 0));
        for times in times.values() {
            assert!(times.len() >= 10);
            assert!(times.windows(2).all(|w| w[1] - w[0] == 10 * SECOND), "{times:?}");
        }
        // A thousand targets, ten rounds, ten seconds: some thousand in each.
        assert!(in_second.iter().all(|n| (800..=1200).contains(n)), "{in_second:?}");
    }

    #[test]
    fn a_target_keeps_its_place_and_seeds_differ() {
        let id = ids(1)[0];
        let due = |seed, now: u64| {
            let mut schedule = Schedule::new(seed);
            schedule.insert(id, Duration::from_secs(60), now);
            schedule.next_ns().expect("one") % (60 * SECOND)
        };
        assert_eq!(due(1, 5 * SECOND), due(1, 777 * SECOND));
        assert_ne!(due(1, 5 * SECOND), due(2, 5 * SECOND));
    }

    #[test]
    fn what_was_missed_is_counted_and_skipped() {
        let id = ids(1)[0];
        let mut schedule = Schedule::new(0);
        schedule.insert(id, Duration::from_secs(1), 0);
        let first = schedule.next_ns().expect("one");
        let (_, due) = schedule.take_due(first + 5 * SECOND + 1).expect("due");
        assert_eq!((due, schedule.missed()), (first + 5 * SECOND, 5));
        assert_eq!(schedule.next_ns(), Some(first + 6 * SECOND));
        assert_eq!(schedule.take_due(first + 5 * SECOND + 2), None);
    }

    proptest! {
        /// Against a list of all targets with their next times.
        #[test]
        fn behaves_like_a_list(steps in proptest::collection::vec((0..4u8, 0..5usize, 1..50u64), 0..60)) {
            let ids = ids(5);
            let mut schedule = Schedule::new(3);
            let mut model: HashMap<TargetId, (u64, u64)> = HashMap::new();
            let mut now = 0;
            for (what, which, amount) in steps {
                let id = ids[which];
                match what {
                    0 => {
                        schedule.insert(id, Duration::from_nanos(amount), now);
                        let place = (id.number() ^ 3) % amount;
                        let first = (now + 1..).find(|t| t % amount == place).expect("comes");
                        model.insert(id, (amount, first));
                    }
                    1 => {
                        schedule.remove(id);
                        model.remove(&id);
                    }
                    _ => {
                        now += amount;
                        let mut taken = Vec::new();
                        while let Some(due) = schedule.take_due(now) {
                            taken.push(due);
                        }
                        let mut expected = Vec::new();
                        for (id, (interval, next)) in &mut model {
                            if *next <= now {
                                let due = *next + (now - *next) / *interval * *interval;
                                expected.push((*id, due));
                                *next = due + *interval;
                            }
                        }
                        taken.sort();
                        expected.sort();
                        prop_assert_eq!(taken, expected);
                    }
                }
                prop_assert_eq!(schedule.next_ns(), model.values().map(|(_, next)| *next).min());
                prop_assert_eq!(schedule.len(), model.len());
            }
        }
    }
}
