//! A machine with a store on it, whose settings follow from a seed.

use std::{sync::Arc, time::Duration};

use vedette_model::{Hints, Labels, MetricReader, ReadError, SampleBuffer, Select, TimeRange};
use vedette_sys::{Clock, ManualClock, Random, SimFs};
use vedette_tsdb::{Config, Error, Flush, Recovery, Rollup, Tsdb};

use super::model::Found;

/// When simulated machines start; a multiple of all spans used.
const START_MS: i64 = 1_700_000_000_000 / 3_600_000 * 3_600_000;

/// Series that a workload knows.
pub const SERIES: usize = 8;

/// Disk, clock and settings.
#[derive(Clone)]
pub struct Machine {
    pub fs: SimFs,
    pub clock: ManualClock,
    pub config: Config,
    /// Whether somebody asks for everything while the store is being opened.
    pub asks_early: bool,
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x5eed);
        let mut pick = |choices: &[i64]| choices[random.below(choices.len() as u64) as usize];
        let flush = match pick(&[0, 1, 2, 3]) {
            0 => Flush::Always,
            seconds => Flush::Interval(Duration::from_secs(seconds as u64)),
        };
        let config = Config {
            flush,
            segment_span_ms: 4_000,
            compaction_spans_ms: vec![8_000, 32_000],
            retention_ms: pick(&[3_600_000, 3_600_000, 30_000]),
            rollups: vec![
                Rollup { step_ms: 2_000, retention_ms: 3_600_000 },
                Rollup { step_ms: 8_000, retention_ms: 60_000 },
            ],
            out_of_order_ms: pick(&[20_000, 20_000, 20_000, 0]),
            series_max: pick(&[100, 100, 5]) as usize,
            shards: pick(&[1, 2, 3]) as usize,
            ..Config::new("data")
        };
        let asks_early = pick(&[0, 1]) == 1;
        Self { fs: SimFs::new(seed), clock: ManualClock::at(START_MS * 1_000_000), config, asks_early }
    }

    /// Another machine of the same content and time, which goes its own way.
    pub fn fork(&self, seed: u64) -> Self {
        let clock = ManualClock::at(self.clock.unix_ns());
        Self { fs: self.fs.fork(seed), clock, config: self.config.clone(), asks_early: self.asks_early }
    }

    pub fn open(&self) -> Result<(Tsdb, Recovery), Error> {
        let (fs, clock) = (Arc::new(self.fs.clone()), Arc::new(self.clock.clone()));
        let (store, opening) = Tsdb::begin(self.config.clone(), fs, clock)?;
        if !self.asks_early {
            let recovery = opening.finish();
            return Ok((store, recovery));
        }
        let (early, recovery) = std::thread::scope(|scope| {
            let early = scope.spawn(|| read(&store));
            let recovery = opening.finish();
            (early.join().expect("a reader that had to wait"), recovery)
        });
        let found = |answer: Result<Answer, String>| answer.map(|answer| answer.found);
        assert_eq!(found(early), found(read(&store)), "what is seen while the store is being opened");
        Ok((store, recovery))
    }

    pub fn now_ms(&self) -> i64 {
        self.clock.unix_ms()
    }

    pub fn tick_ms(&self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
    }
}

/// Labels of a series.
pub fn labels(n: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", if n.is_multiple_of(2) { "even" } else { "odd" }),
        ("n", &n.to_string()),
        ("group", ["", "a", "b"][n % 3]),
    ])
}

/// All samples of a store, and the series that cannot be read.
#[derive(Default)]
pub struct Answer {
    pub found: Found,
    pub damaged: Vec<(usize, String)>,
}

/// Reads everything.
pub fn read(store: &Tsdb) -> Result<Answer, String> {
    let everything =
        Select { matchers: Vec::new(), range: TimeRange::ALL, hints: Hints::default(), series_max: 0 };
    let set = store.select(&everything).map_err(|e| format!("cannot select: {e}"))?;
    let mut answer = Answer::default();
    for i in 0..set.len() {
        let labels_found = set.labels(i);
        let n = labels_found.get("n").and_then(|n| n.parse().ok()).filter(|n| *n < SERIES);
        let n = n.filter(|&n| labels_found == labels(n));
        let n = n.ok_or_else(|| format!("a series {labels_found} that was never begun"))?;
        let mut samples = SampleBuffer::default();
        match set.read(i, TimeRange::ALL, &mut samples) {
            Ok(()) => {}
            Err(error @ ReadError::Damaged { .. }) => {
                answer.damaged.push((n, error.to_string()));
                continue;
            }
            Err(error) => return Err(format!("cannot read: {error}")),
        }
        if !samples.times_ms.is_sorted_by(|a, b| a < b) {
            return Err(format!("times of {labels_found} do not grow"));
        }
        let mut summaries = Vec::new();
        set.summaries(i, TimeRange::ALL, &mut summaries);
        for summary in summaries.iter().filter(|s| !s.special) {
            let inside = samples.times_ms.iter().zip(&samples.values);
            let inside: Vec<f64> =
                inside.filter(|(t, _)| summary.range.contains(**t)).map(|(_, v)| *v).collect();
            let ends = [inside.first().copied(), inside.last().copied()].map(|v| v.map(f64::to_bits));
            if summary.count != inside.len() as u64
                || ends != [Some(summary.first.to_bits()), Some(summary.last.to_bits())]
            {
                return Err(format!("a summary of {labels_found} is not that of its samples: {summary:?}"));
            }
        }
        let keys = samples.times_ms.iter().map(|&t| (n, t));
        answer.found.extend(keys.zip(samples.values.iter().map(|v| v.to_bits())));
    }
    Ok(answer)
}
