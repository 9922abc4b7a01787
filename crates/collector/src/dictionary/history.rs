//! The rows of the last two minutes, for those who ask for a course and have no store.
//!
//! Most values are those of the pass before, so a row is kept as what it changes. What stood before the oldest
//! row is kept whole, and takes on the changes of rows that are forgotten.

use std::collections::VecDeque;

use vedette_model::Samples;

/// How long rows are kept: as long as cAdvisor keeps statistics where nobody says.
const HISTORY_MS: i64 = 120_000;
/// How much is kept, whatever its times.
const HISTORY_BYTES_MAX: usize = 16 << 20;
/// How many rows are kept, whatever their times.
const HISTORY_ROWS_MAX: usize = 640;

/// The rows of the last two minutes, or of less where there are very many series.
#[derive(Debug, Default)]
pub(super) struct History {
    rows: VecDeque<KeptRow>,
    lanes: Vec<Lane>,
    /// Since when each number stands for its series: before, it stood for another.
    since_ms: Vec<i64>,
}

/// Rows of the same series.
#[derive(Debug, Default)]
struct Lane {
    series: Box<[u32]>,
    /// What stood before the oldest row that is kept.
    base: Box<[f64]>,
    /// What the newest row tells.
    newest: Box<[f64]>,
    /// How many rows are kept. A lane without one is free.
    rows: usize,
}

/// What a row changes of the one before in its lane.
#[derive(Debug)]
struct KeptRow {
    time_ms: i64,
    lane: usize,
    places: Box<[u32]>,
    values: Box<[f64]>,
}

impl History {
    /// Takes the rows of a pass, which may define what their numbers stand for.
    pub(super) fn note(&mut self, samples: &Samples) {
        let Some(now_ms) = samples.rows.iter().map(|row| row.time_ms).max() else { return };
        for definition in &samples.defined {
            let place = definition.series as usize;
            if self.since_ms.len() <= place {
                self.since_ms.resize(place + 1, i64::MIN);
            }
            self.since_ms[place] = now_ms;
        }
        for row in samples.rows.iter().filter(|row| !row.series.is_empty()) {
            let lane = self.lane(&row.series, &row.values);
            let (places, values) = self.lanes[lane].take(&row.values);
            self.rows.push_back(KeptRow { time_ms: row.time_ms, lane, places, values });
        }
        let is_old = |row: &KeptRow| row.time_ms <= now_ms - HISTORY_MS || row.time_ms > now_ms;
        while self.rows.len() > HISTORY_ROWS_MAX
            || self.bytes() > HISTORY_BYTES_MAX
            || self.rows.front().is_some_and(is_old)
        {
            let Some(row) = self.rows.pop_front() else { break };
            self.lanes[row.lane].forget(&row);
        }
    }

    /// The lane of these series; a new one begins with these values.
    fn lane(&mut self, series: &[u32], values: &[f64]) -> usize {
        if let Some(known) = self.lanes.iter().position(|lane| lane.rows > 0 && *lane.series == *series) {
            return known;
        }
        let lane = Lane { series: series.into(), base: values.into(), newest: values.into(), rows: 0 };
        match self.lanes.iter_mut().enumerate().find(|(_, lane)| lane.rows == 0) {
            Some((free, place)) => {
                *place = lane;
                free
            }
            None => {
                self.lanes.push(lane);
                self.lanes.len() - 1
            }
        }
    }

    fn bytes(&self) -> usize {
        let lanes = self.lanes.iter().map(|lane| 20 * lane.series.len());
        lanes.chain(self.rows.iter().map(|row| 12 * row.places.len())).sum()
    }

    /// Tells times and values of the numbers for which `wanted` has a place, the oldest first.
    pub(super) fn tell(&self, wanted: &[Option<usize>], mut each: impl FnMut(usize, i64, f64)) {
        // By lane: of each wanted series its place in the row and its value as of the row that is looked at.
        let mut courses: Vec<Vec<(u32, usize, f64)>> = (self.lanes.iter())
            .map(|lane| {
                let numbers = lane.series.iter().zip(&lane.base).zip(0..);
                let wanted = |number: u32| wanted.get(number as usize).copied().flatten();
                numbers.filter_map(|((number, base), at)| Some((at, wanted(*number)?, *base))).collect()
            })
            .collect();
        for row in &self.rows {
            let (lane, course) = (&self.lanes[row.lane], &mut courses[row.lane]);
            let mut changes = row.places.iter().zip(&row.values).peekable();
            for (at, place, value) in course {
                while changes.next_if(|(changed, _)| **changed < *at).is_some() {}
                if let Some((_, changed)) = changes.next_if(|(changed, _)| **changed == *at) {
                    *value = *changed;
                }
                let since_ms = self.since_ms.get(lane.series[*at as usize] as usize);
                if since_ms.is_none_or(|since| *since <= row.time_ms) {
                    each(*place, row.time_ms, *value);
                }
            }
        }
    }
}

impl Lane {
    /// What a row of these values changes.
    fn take(&mut self, values: &[f64]) -> (Box<[u32]>, Box<[f64]>) {
        self.rows += 1;
        let changed = |(old, new): &(&mut f64, &f64)| old.to_bits() != new.to_bits();
        let (mut places, mut changes) = (Vec::new(), Vec::new());
        for ((old, new), at) in self.newest.iter_mut().zip(values).zip(0..) {
            if changed(&(old, new)) {
                *old = *new;
                places.push(at);
                changes.push(*new);
            }
        }
        (places.into(), changes.into())
    }

    /// A row is forgotten, the oldest one.
    fn forget(&mut self, row: &KeptRow) {
        self.rows -= 1;
        if self.rows == 0 {
            *self = Self::default();
            return;
        }
        for (at, value) in row.places.iter().zip(&row.values) {
            self.base[*at as usize] = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vedette_model::Row;
    use vedette_sys::Random;

    use super::*;

    fn courses(history: &History, numbers: usize) -> BTreeMap<usize, Vec<(i64, u64)>> {
        let mut told: BTreeMap<usize, Vec<(i64, u64)>> = BTreeMap::new();
        let wanted: Vec<_> = (0..numbers).map(|number| (number % 3 != 0).then_some(number)).collect();
        history.tell(&wanted, |place, time_ms, value| {
            told.entry(place).or_default().push((time_ms, value.to_bits()));
        });
        told
    }

    /// Beside whole rows that are kept as they came.
    #[test]
    fn changes_tell_what_whole_rows_would() {
        const NUMBERS: u64 = 12;
        let mut random = Random::new(3);
        let mut history = History::default();
        let mut whole: Vec<(i64, u32, f64)> = Vec::new();
        let mut values = vec![0.0; NUMBERS as usize];
        for second in 1..400_i64 {
            let time_ms = second * 1000;
            for _ in 0..random.below(4) {
                let value = if random.below(9) == 0 { f64::NAN } else { random.below(5) as f64 };
                values[random.below(NUMBERS) as usize] = value;
            }
            // Containers come and go: the series of a row are others from time to time.
            let last = 2 + (second / 37) as u32 % 10;
            let groups = [(0..last / 2).collect::<Vec<u32>>(), (last / 2..last).collect()];
            let row = |series: Vec<u32>| Row {
                time_ms,
                values: series.iter().map(|number| values[*number as usize]).collect(),
                series,
                ..Row::default()
            };
            let samples = Samples { rows: groups.map(row).into(), ..Samples::default() };
            for row in &samples.rows {
                whole.extend(row.series.iter().zip(&row.values).map(|(n, v)| (time_ms, *n, *v)));
            }
            history.note(&samples);
            whole.retain(|(time, ..)| *time > time_ms - HISTORY_MS);
            let mut expected: BTreeMap<usize, Vec<(i64, u64)>> = BTreeMap::new();
            for (time, number, value) in whole.iter().filter(|(_, number, _)| number % 3 != 0) {
                expected.entry(*number as usize).or_default().push((*time, value.to_bits()));
            }
            assert_eq!(courses(&history, NUMBERS as usize), expected, "{second}");
        }
        assert!(history.lanes.len() < 24, "lanes without rows are used again: {}", history.lanes.len());
    }

    #[test]
    fn very_many_series_are_kept_for_less_time_and_those_that_rest_cost_little() {
        let series: Vec<u32> = (0..100_000).collect();
        let pass = |history: &mut History, second: i64, value: f64| {
            let values = vec![value; series.len()];
            let row = Row { time_ms: second * 1000, series: series.clone(), values, ..Row::default() };
            history.note(&Samples { rows: vec![row], ..Samples::default() });
        };
        let mut busy = History::default();
        (1..=60).for_each(|second| pass(&mut busy, second, second as f64));
        // 20 bytes of each series, and 12 of each of its values.
        assert_eq!(busy.rows.len(), (HISTORY_BYTES_MAX - 2_000_000) / 1_200_000);
        assert_eq!(busy.rows.back().map(|row| row.time_ms), Some(60_000), "the newest");
        let mut at_rest = History::default();
        (1..=60).for_each(|second| pass(&mut at_rest, second, 1.0));
        assert_eq!((at_rest.rows.len(), at_rest.bytes()), (60, 2_000_000));
    }
}
