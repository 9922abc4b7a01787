//! Answers given again are the answers that evaluating would give: the real store under samples in
//! and out of order, deletions, sealing, retention and ranges that move, the cache against none.

use std::{sync::Arc, time::Duration};

use vedette_model::{Labels, Matcher, MetricReader, TimeRange};
use vedette_promql::{Cancel, Engine, EngineConfig, Expr, Limits, QueryOutput, RangeCache, Value, parse};
use vedette_sys::{ManualClock, Random, SimFs};
use vedette_tsdb::{RefRow, RetentionRule, Tsdb};

/// One of each way of looking at time, of joining series and of depending on their order.
const QUERIES: &[&str] = &[
    "m_total",
    "rate(m_total[2m])",
    "sum(rate(m_total[1m]))",
    "sum by (job) (m_total)",
    "avg(max by (job) (m_total))",
    "sum(m_total * on (job) group_left () max by (job) (n))",
    "m_total - on (job, i) n",
    "m_total or n",
    "m_total unless n",
    "topk(2, max by (job) (m_total))",
    "bottomk(1, m_total)",
    "limitk(2, max by (i) (m_total))",
    "limit_ratio(0.5, m_total)",
    "count_values('v', n)",
    "quantile(0.9, m_total)",
    "stddev by (job) (m_total)",
    "absent(m_total{job=\"j1\"})",
    "absent_over_time(n[90s])",
    "max_over_time(m_total[3m])",
    "avg_over_time(m_total[100s])",
    "changes(n[5m])",
    "m_total offset 2m",
    "m_total offset -2m",
    "rate(m_total[1m] offset -1m)",
    "max_over_time(sum(m_total)[3m:30s])",
    "rate(m_total[2m] anchored)",
    "increase(m_total[2m] smoothed)",
    "m_total smoothed",
    "m_total @ 1699999000",
    "sum_over_time(m_total[2m] @ 1699999100) + on (job, i) m_total",
    "m_total @ end()",
    "m_total @ start()",
    "max_over_time(m_total[5m:1m] @ end())",
    "time() - timestamp(m_total)",
    "vector(end())",
    "vector(time())",
    "scalar(sum(m_total)) + vector(step())",
    "last_over_time(m_total[step()])",
    "label_replace(m_total, 'i', '$1', 'job', '(.*)')",
    "label_join(sum without (i) (m_total), 'x', '-', 'job')",
    "clamp_max(m_total, scalar(avg(n)))",
    "holt_winters(m_total[1m], 0.5, 0.5)",
    "predict_linear(m_total[2m], 60)",
    "info(m_total)",
    "minute(m_total)",
    "rate(n[1m])",
    "sum by (job) (rate(n[2m])) + 1",
    "sort(m_total)",
    "quantile(scalar(max(n)), m_total)",
    "quantile(2, m_total)",
    "histogram_quantile(0.9, m_total)",
    "quantile_over_time(-1, m_total[1m])",
    "topk(scalar(count(n)), m_total)",
    "-m_total",
    "m_total > bool 5",
    "3",
];

struct World {
    store: Tsdb,
    clock: Arc<ManualClock>,
    random: Random,
    now_ms: i64,
}

const START_MS: i64 = 1_699_999_200_000;

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let clock = Arc::new(ManualClock::at(START_MS * 1_000_000));
        let mut config = vedette_tsdb::Config::new("store");
        config.shards = 2;
        config.segment_span_ms = 60_000;
        config.compaction_spans_ms = vec![300_000];
        config.rollups = Vec::new();
        config.out_of_order_ms = 600_000;
        config.retention_ms = 900_000;
        if random.one_in(2) {
            config.retention_rules = vec![
                RetentionRule { matchers: vec![Matcher::equal("job", "j0")], retention_ms: 300_000 },
                RetentionRule { matchers: vec![Matcher::equal("job", "j1")], retention_ms: 1_800_000 },
            ];
        }
        let (store, _) = Tsdb::open(config, Arc::new(SimFs::new(seed)), clock.clone()).expect("opens");
        Self { store, clock, random, now_ms: START_MS }
    }

    fn below(&mut self, n: i64) -> i64 {
        i64::try_from(self.random.below(n.unsigned_abs())).expect("small")
    }

    fn labels(&mut self) -> Labels {
        let (name, job, i) = (self.below(2), self.below(3), self.below(3));
        let name = ["m_total", "n"][usize::try_from(name).expect("small")];
        Labels::from_pairs([("__name__", name), ("job", &format!("j{job}")), ("i", &format!("i{i}"))])
    }

    fn append(&mut self, time_ms: i64) {
        let labels = self.labels();
        let reference = self.store.series(&labels).expect("a series");
        // Thirds, so that sums depend on their order, and stale markers now and then.
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let value = match self.below(12) {
            0 => vedette_model::stale_nan(),
            1 => 0.0,
            n => (n * 1000 + self.below(100)) as f64 / 3.0 + 1e6,
        };
        self.store.append(&[RefRow::new(time_ms, &[reference], &[value])]).expect("appends");
    }

    fn go_on(&mut self) {
        for _ in 0..self.below(6) {
            match self.below(30) {
                0 => {
                    let (labels, start) = (self.labels(), self.below(600_000));
                    let matchers = labels.iter().map(|(n, v)| Matcher::equal(n, v)).collect::<Vec<_>>();
                    let start_ms = self.now_ms - start;
                    let range = TimeRange { start_ms, end_ms: start_ms + self.below(200_000) };
                    self.store.delete_series(&[matchers], range).expect("deletes");
                }
                1 => drop(self.store.clean_deleted().expect("cleans")),
                2 => self.store.merge_all().expect("merges"),
                3..=5 => {
                    let late = self.below(600_000);
                    self.append(self.now_ms - late);
                }
                6 => {
                    let ahead = self.below(60_000);
                    self.append(self.now_ms + ahead);
                }
                7..=10 => self.store.maintain(),
                11 if self.random.one_in(5) => self.pass(self.random.clone().below(400_000)),
                11..=16 => self.pass(5000),
                _ => self.append(self.now_ms),
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.clock.advance(Duration::from_millis(ms));
        self.now_ms += i64::try_from(ms).expect("small");
    }

    /// A range as dashboards have them, or an odd one.
    fn times(&mut self) -> (i64, i64, i64) {
        let step_ms = [5000, 5000, 60_000, 7001][usize::try_from(self.below(4)).expect("small")];
        let aligned = !self.random.one_in(8);
        let end_ms = match self.below(4) {
            0 => self.now_ms - self.below(300_000),
            1 => self.now_ms + 120_000,
            _ => self.now_ms,
        };
        let length_ms = [300_000, 600_000, 1_200_000, 0][usize::try_from(self.below(4)).expect("small")];
        let end_ms = if aligned { end_ms / step_ms * step_ms } else { end_ms };
        let start_ms = end_ms - length_ms / step_ms * step_ms;
        // The last step need not be at the end.
        let beyond_ms = if self.random.one_in(4) { self.below(step_ms) } else { 0 };
        (start_ms, end_ms + beyond_ms, step_ms)
    }
}

/// Everything that is told, to the bit.
fn shown(output: &QueryOutput) -> String {
    let Value::Matrix(series) = &output.value else { panic!("a matrix") };
    let points = series.iter().map(|s| {
        let points: Vec<_> = s.points.iter().map(|p| (p.time_ms, p.value.to_bits())).collect();
        format!("{} {points:?}", s.labels)
    });
    let notes = output.warnings.iter().chain(&output.infos).map(ToString::to_string);
    points.chain(notes).collect::<Vec<_>>().join("\n")
}

#[test]
fn cached_answers_are_the_evaluated_ones() {
    let queries: Vec<Expr> = QUERIES.iter().filter_map(|q| parse(q).ok()).collect();
    assert!(queries.len() + 1 >= QUERIES.len(), "the queries parse");
    let (mut reused, mut evaluated) = (0, 0);
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        let cache =
            RangeCache::new([4 << 20, 20_000][usize::from(seed % 5 == 0)], vedette_wire::number::push_value);
        let engine = Engine::new(EngineConfig { lookback_ms: 60_000, ..EngineConfig::default() });
        for _ in 0..60 {
            world.go_on();
        }
        for round in 0..120 {
            world.go_on();
            // Few for each seed, so that they come again.
            let pick = (world.below(5) * 11 + i64::try_from(seed).expect("small")) as usize;
            let expr = &queries[pick % queries.len()];
            let mut times = world.times();
            for _ in 0..=world.below(3) {
                let (limits, cancel) = (Limits::default(), Cancel::new());
                let plain = engine.range(&world.store, expr, times, &limits, &cancel);
                let cached = cache.range(&engine, &world.store, expr, times, &limits, &cancel);
                match (plain, cached) {
                    (Ok(plain), Ok(cached)) => {
                        let (plain, cached) = (shown(&plain), shown(&cached.output));
                        let differing = plain.lines().zip(cached.lines()).find(|(p, c)| p != c);
                        assert!(plain == cached, "seed {seed} round {round} {expr} {times:?}\n{differing:?}");
                    }
                    (Err(plain), Err(cached)) => assert_eq!(plain.to_string(), cached.to_string()),
                    (plain, cached) => panic!("seed {seed} {expr} {times:?}: {plain:?}, but {cached:?}"),
                }
                world.go_on();
                times = (times.0 + times.2, times.1 + times.2, times.2);
            }
        }
        let stats = cache.stats();
        assert!(stats.bytes <= [4 << 20, 20_000][usize::from(seed % 5 == 0)]);
        reused += stats.steps_reused;
        evaluated += stats.steps_evaluated;
    }
    assert!(reused * 4 > evaluated, "{reused} steps were reused, {evaluated} evaluated");
}

fn seeds() -> u64 {
    std::env::var("VEDETTE_CACHE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(12)
}

#[test]
fn a_moving_dashboard_evaluates_new_steps_only() {
    let mut world = World::new(7);
    let (cache, engine) = (RangeCache::new(1 << 20, vedette_wire::number::push_value), Engine::default());
    let expr = parse("sum by (job) (rate(m_total[1m]))").expect("parses");
    let (limits, cancel) = (Limits::default(), Cancel::new());
    let mut last = None;
    for refresh in 0..40 {
        for _ in 0..15 {
            world.pass(1000);
            (0..4).for_each(|_| world.append(world.now_ms));
        }
        let end = world.now_ms / 15_000 * 15_000;
        let times = (end - 600_000, end, 15_000);
        let cached = cache.range(&engine, &world.store, &expr, times, &limits, &cancel).expect("evaluates");
        if refresh > 0 {
            assert!(cached.steps_reused >= 38, "refresh {refresh}: {} of 41 steps", cached.steps_reused);
        }
        last = Some(cached);
    }
    assert!(last.is_some_and(|l| l.output.stats.samples_read > 0), "the newest steps are read");
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.partial_hits, stats.entries), (1, 39, 1));
    // The answer stays as long as one request's range.
    assert!(stats.bytes < 20_000, "{stats:?}");
}

#[test]
fn a_late_sample_and_a_step_back_cost_their_own_steps() {
    let mut world = World::new(7);
    let (cache, engine) = (RangeCache::new(1 << 20, vedette_wire::number::push_value), Engine::default());
    let expr = parse("sum by (job) (rate(m_total[1m]))").expect("parses");
    let (limits, cancel) = (Limits::default(), Cancel::new());
    for _ in 0..1400 {
        world.pass(1000);
        (0..4).for_each(|_| world.append(world.now_ms));
    }
    let end = world.now_ms / 15_000 * 15_000;
    let reused = |world: &World, back_ms: i64| {
        let times = (end - back_ms - 600_000, end - back_ms, 15_000);
        let cached = cache.range(&engine, &world.store, &expr, times, &limits, &cancel).expect("evaluates");
        let plain = engine.range(&world.store, &expr, times, &limits, &cancel).expect("evaluates");
        assert_eq!(shown(&cached.output), shown(&plain));
        cached.steps_reused
    };
    assert_eq!(reused(&world, 0), 0);
    world.append(end - 301_500);
    // The window of a minute, which begins and ends at any time of the stretch that changed.
    let left = reused(&world, 0);
    assert!((35..=37).contains(&left), "{left}");
    assert_eq!(reused(&world, 0), 41);
    // Half of it was there; then both ends are there.
    assert_eq!(reused(&world, 300_000), 21);
    assert_eq!(reused(&world, 0), 41);
    assert_eq!(reused(&world, 300_000), 41);
    // Two late samples leave three parts.
    world.append(end - 450_500);
    world.append(end - 200_500);
    let left = reused(&world, 0);
    assert!((29..=33).contains(&left), "{left}");
}

#[test]
fn which_of_equals_is_chosen_does_not_depend_on_the_range() {
    let world = World::new(3);
    let append = |i: &str, job: &str, from: i64, to: i64| {
        let labels = Labels::from_pairs([("__name__", "m"), ("i", i), ("job", job)]);
        for second in (from..to).step_by(10) {
            let reference = world.store.series(&labels).expect("a series");
            let time_ms = START_MS + second * 1000;
            world.store.append(&[RefRow::new(time_ms, &[reference], &[0.1])]).expect("appends");
        }
    };
    // The first series of the range that is longer is not in the shorter one.
    append("0", "b", 0, 100);
    append("1", "a", 0, 600);
    append("2", "b", 0, 600);
    let engine = Engine::new(EngineConfig { lookback_ms: 15_000, ..EngineConfig::default() });
    for query in ["topk(1, max by (job) (m))", "limitk(1, m + on (job, i) m)"] {
        let expr = parse(query).expect("parses");
        let at_end = |start_s: i64| {
            let times = (START_MS + start_s * 1000, START_MS + 500_000, 10_000);
            let output = engine.range(&world.store, &expr, times, &Limits::default(), &Cancel::new());
            let Value::Matrix(series) = output.expect("evaluates").value else { panic!("a matrix") };
            let there = series.iter().filter(|s| s.points.last().is_some_and(|p| p.time_ms == times.1));
            there.map(|s| s.labels.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(at_end(0), at_end(400), "{query}");
    }
}

#[test]
fn a_store_that_cannot_tell_is_asked_each_time() {
    let mut store = vedette_promql::memory::MemoryReader::new();
    store.push(&[("__name__", "m")], START_MS, 1.0);
    assert!(store.changes(None).is_none());
    let (cache, engine) = (RangeCache::new(1 << 20, vedette_wire::number::push_value), Engine::default());
    let (limits, cancel) = (Limits::default(), Cancel::new());
    let times = (START_MS, START_MS + 60_000, 15_000);
    let expr = parse("m").expect("parses");
    for _ in 0..2 {
        let cached = cache.range(&engine, &store, &expr, times, &limits, &cancel).expect("evaluates");
        assert_eq!(cached.steps_reused, 0);
    }
    assert_eq!((cache.stats().bypassed, cache.stats().entries), (2, 0));
}
