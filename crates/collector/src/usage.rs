//! What each container used in every minute of the last day, for summaries where there is no store.
//!
//! A minute is kept in twelve bytes, each of its six figures to 0.03 %. The minutes of all containers
//! together are bounded: where there are very many containers, fewer are kept of each.

use std::collections::{BTreeMap, VecDeque};

use vedette_model::{Labels, MinuteUsage, Percentiles, Spread, processor_rate};

use crate::dictionary::Dictionary;

const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";

const MINUTE_MS: i64 = 60_000;
/// Minutes of one container: a day.
const MINUTES_OF_ONE_MAX: usize = 24 * 60;
/// Minutes of all containers: 8 MB. Of 486 containers it is a day.
const MINUTES_MAX: usize = 700_000;

/// The minutes of all containers, by cgroup.
#[derive(Debug, Default)]
pub struct UsageHistory {
    containers: BTreeMap<String, Minutes>,
    /// The minute, since the Unix epoch, that is under way.
    minute: i64,
}

/// Minutes that follow each other; nothing was told in those that are empty.
#[derive(Debug, Default)]
struct Minutes {
    /// The first of them, since the Unix epoch.
    first: i64,
    all: VecDeque<Minute>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Minute {
    cpu: Packed,
    memory: Packed,
}

/// The figures of a [`Spread`] as logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packed([u16; 3]);

/// The values of one series in the minute that ended.
#[derive(Debug, Default)]
struct Values {
    is_counter: bool,
    before: Option<(i64, f64)>,
    all: Vec<f64>,
}

impl UsageHistory {
    /// Takes the minute that has ended since the last call, if one has, out of what is kept of the last two.
    pub fn note(&mut self, time_ms: i64, dictionary: &Dictionary) {
        let minute = time_ms.div_euclid(MINUTE_MS);
        if std::mem::replace(&mut self.minute, minute) == minute {
            return;
        }
        let ended = minute - 1;
        let mut minutes = values_of(ended, dictionary);
        // What is there no more is asked for no more.
        self.containers.retain(|id, _| minutes.contains_key(id.as_str()));
        let kept_max = minutes_of_each(minutes.len());
        for (id, known) in &mut self.containers {
            let minute = minutes.remove(id.as_str()).unwrap_or(Minute::EMPTY);
            known.add(ended, minute, kept_max);
        }
        for (id, minute) in minutes {
            let mut known = Minutes::default();
            known.add(ended, minute, kept_max);
            self.containers.insert(id.to_owned(), known);
        }
    }

    /// The minutes of a container, the oldest first.
    pub fn minutes(&self, cgroup: &str) -> Vec<MinuteUsage> {
        let Some(known) = self.containers.get(cgroup) else { return Vec::new() };
        let told = (known.first..).zip(&known.all).filter(|(_, minute)| **minute != Minute::EMPTY);
        let usage = |(number, minute): (i64, &Minute)| MinuteUsage {
            end_ms: (number + 1) * MINUTE_MS,
            cpu: minute.cpu.unpack(),
            memory: minute.memory.unpack(),
        };
        told.map(usage).collect()
    }
}

/// How many minutes are kept of each of so many containers.
fn minutes_of_each(containers: usize) -> usize {
    (MINUTES_MAX / containers.max(1)).min(MINUTES_OF_ONE_MAX)
}

/// What all containers used in a minute, by cgroup.
fn values_of(minute: i64, dictionary: &Dictionary) -> BTreeMap<&str, Minute> {
    let is_wanted = |labels: &Labels| match labels.metric_name() {
        CPU => labels.get("cpu").is_none_or(|cpu| cpu == "total"),
        name => name == MEMORY,
    };
    let found = dictionary.find(&is_wanted);
    let begin = |labels: &&Labels| Values { is_counter: labels.metric_name() == CPU, ..Values::default() };
    let mut values: Vec<Values> = found.labels.iter().map(begin).collect();
    dictionary.tell(&found, |place, time_ms, value| values[place].take(minute, time_ms, value));
    let mut minutes = BTreeMap::new();
    for (labels, values) in found.labels.iter().zip(&mut values) {
        let Some(id) = labels.get("id") else { continue };
        let told: &mut Minute = minutes.entry(id).or_insert(Minute::EMPTY);
        let packed = Packed::of(Percentiles::of(&mut values.all).map(Spread::from));
        *(if values.is_counter { &mut told.cpu } else { &mut told.memory }) = packed;
    }
    minutes
}

impl Values {
    fn take(&mut self, minute: i64, time_ms: i64, value: f64) {
        if !value.is_finite() {
            return;
        }
        let before = self.before.replace((time_ms, value));
        if time_ms.div_euclid(MINUTE_MS) != minute {
            return;
        }
        if self.is_counter {
            self.all.extend(before.and_then(|before| processor_rate(before, (time_ms, value))));
        } else {
            self.all.push(value);
        }
    }
}

impl Minutes {
    fn add(&mut self, number: i64, minute: Minute, kept_max: usize) {
        let next = self.first + i64::try_from(self.all.len()).unwrap_or(i64::MAX);
        let missing = usize::try_from(number - next).unwrap_or(usize::MAX);
        if missing >= kept_max {
            // It is the first one, or comes behind a long gap, or the clock was set back.
            *self = Self { first: number, all: VecDeque::new() };
        } else {
            self.all.extend(std::iter::repeat_n(Minute::EMPTY, missing));
        }
        if self.all.len() == self.all.capacity() {
            // Otherwise there would be room for twice as many.
            self.all.reserve_exact(60);
        }
        self.all.push_back(minute);
        while self.all.len() > kept_max {
            self.all.pop_front();
            self.first += 1;
        }
        self.all.shrink_to(kept_max + 60);
    }
}

impl Minute {
    const EMPTY: Self = Self { cpu: Packed::NONE, memory: Packed::NONE };
}

impl Packed {
    const NONE: Self = Self([u16::MAX; 3]);
    /// Steps in which a value doubles; what lies beyond 2^54 is as large as that.
    const STEPS: f64 = 1200.0;

    fn of(spread: Option<Spread>) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is bounded")]
        let pack = |value: f64| {
            (value.max(0.0).ln_1p() / std::f64::consts::LN_2 * Self::STEPS)
                .round()
                .min(f64::from(u16::MAX - 1)) as u16
        };
        spread.map_or(Self::NONE, |Spread { mean, max, ninety }| Self([mean, max, ninety].map(pack)))
    }

    fn unpack(self) -> Option<Spread> {
        let [mean, max, ninety] = self.0.map(|code| (f64::from(code) / Self::STEPS).exp2() - 1.0);
        (self != Self::NONE).then_some(Spread { mean, max, ninety })
    }
}

#[cfg(test)]
mod tests;
