//! Random series: what scrapes, restarts, broken exporters and gaps leave behind.
//!
//! Values come from a small set, so that equal ones meet, and now and then from the far ends of
//! what a float can hold.

use anyhow::Result;
use vedette_model::{HistogramCounts, NativeHistogram, ResetHint, Span};
use vedette_sys::Random;
use vedette_wire::remote_write::Encoder;

use super::pair::Pair;

/// The time of the first samples.
pub const FIRST_MS: i64 = 1_700_000_000_000;
/// The time to the last samples.
pub const SPAN_MS: i64 = 40 * 60_000;
/// Samples of one request are at most so far apart.
const REQUEST_MS: i64 = 10 * 60_000;
/// How long before its samples a series is made known.
const HERALD_MS: i64 = 60 * 60_000;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// All series.
pub struct World {
    series: Vec<Series>,
}

struct Series {
    labels: Vec<(String, String)>,
    samples: Vec<(i64, Sample)>,
}

#[derive(Debug, Clone)]
enum Sample {
    Float(f64),
    Histogram(Box<NativeHistogram>),
}

impl Sample {
    fn is_histogram(&self) -> bool {
        matches!(self, Self::Histogram(_))
    }

    fn is_stale(&self) -> bool {
        matches!(self, Self::Float(value) if value.to_bits() == STALE.to_bits())
    }
}

/// How the values of a series come about.
#[derive(Debug, Clone, Copy)]
enum Motion {
    /// Grows by small whole numbers; begins anew now and then.
    Counter,
    /// Up and down by quarters.
    Gauge,
    /// The ends of what there is.
    Weird,
    Constant(f64),
    /// Native histograms, and sometimes floats between them.
    Histogram(Shape),
}

/// What the native histograms of a series have in common.
#[derive(Debug, Clone, Copy)]
struct Shape {
    schema: i8,
    /// Which custom bounds.
    bounds: usize,
    floats: bool,
    gauge: bool,
    /// Whether schema, bounds or the zero bucket change on the way.
    changes: bool,
    /// Whether floats come between.
    mixed: bool,
}

const PLAIN: Shape =
    Shape { schema: 1, bounds: 0, floats: false, gauge: false, changes: false, mixed: false };

/// Upper bounds of custom buckets; some are shared, some not.
const BOUNDS: [&[f64]; 4] =
    [&[1.0, 2.0, 5.0, 10.0], &[1.0, 5.0, 10.0], &[-1.0, 0.0, 2.5], &[0.5, 1.0, 2.0, 5.0, 10.0]];

/// Values of the label `le`, some of them as nobody should write them.
const LE: [&[&str]; 5] = [
    &["0.1", "0.5", "1", "5", "+Inf"],
    &["0.1", "0.5", "1", "5", "+Inf"],
    &["-1", "0", "2", "+Inf"],
    &["0.1", "1"],
    &["1", "1.0", "Inf", "many"],
];

/// Metric names of floats. Those near the front are asked for more often.
pub const FLOAT_METRICS: [&str; 10] = [
    "requests_total",
    "temperature",
    "other_total",
    "weird",
    "latency_bucket",
    "sparse",
    "up",
    "lone",
    "target_info",
    "\"http.requests\"",
];

/// Metric names of native histograms.
pub const HISTOGRAM_METRICS: [&str; 8] = [
    "hist",
    "hist_float",
    "hist_gauge",
    "hist_custom",
    "hist_mixed",
    "hist_changing",
    "latency",
    "hist_custom_b",
];

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, histograms: bool) -> Self {
        let mut world = Self { series: Vec::new() };
        let random = &mut Random::new(seed);
        for job in ["api", "web"] {
            for instance in ["a", "b", "c"] {
                let target = [("job", job), ("instance", instance)];
                world.target(&target, random);
                if histograms {
                    world.histograms(&target, random);
                }
            }
        }
        world.add("lone", &[("instance", "a")], Motion::Gauge, 30_000, random);
        world.add("sparse", &[("job", "slow")], Motion::Counter, 290_000, random);
        world.add(
            "up",
            &[("job", "api"), ("instance", "gone"), ("cluster", "x")],
            Motion::Constant(0.0),
            15_000,
            random,
        );
        world.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        world
    }

    fn target(&mut self, target: &[(&str, &str); 2], random: &mut Random) {
        let with = |more: &[(&'static str, &'static str)]| -> Vec<(&str, &str)> {
            target.iter().copied().chain(more.iter().copied()).collect()
        };
        let interval = *pick(random, &[5_000, 15_000, 15_000, 30_000]);
        self.add("up", target, Motion::Constant(1.0), 15_000, random);
        for code in ["200", "404", "500"] {
            self.add("requests_total", &with(&[("code", code)]), Motion::Counter, interval, random);
            if code != "404" {
                self.add("other_total", &with(&[("code", code)]), Motion::Counter, interval, random);
            }
        }
        self.add("temperature", target, Motion::Gauge, interval, random);
        self.add("weird", target, Motion::Weird, interval, random);
        let slow = *pick(random, &[60_000, 240_000, 299_000, 300_000, 420_000]);
        self.add("sparse", target, Motion::Gauge, slow, random);
        self.add(
            "http.requests",
            &with(&[("label.with.dots", "x"), ("code", "200")]),
            Motion::Counter,
            15_000,
            random,
        );
        let version = *pick(random, &["1.0", "1.1", "2.0"]);
        self.add(
            "target_info",
            &with(&[("version", version), ("env", "prod")]),
            Motion::Constant(1.0),
            60_000,
            random,
        );
        if target[1].1 == "b" {
            self.add(
                "target_info",
                &with(&[("version", "0.9"), ("zone", "z")]),
                Motion::Constant(1.0),
                60_000,
                random,
            );
        }
        if target[1].1 != "c" {
            self.classic(target, random);
        }
    }

    /// A classic histogram, which a broken exporter may have made.
    fn classic(&mut self, target: &[(&str, &str); 2], random: &mut Random) {
        let bounds = *pick(random, &LE);
        let first = self.series.len();
        for le in bounds {
            let labels = [target[0], target[1], ("le", *le)];
            self.add("latency_bucket", &labels, Motion::Counter, 15_000, random);
        }
        // Buckets are cumulative, most times.
        for i in first + 1..self.series.len() {
            if random.one_in(30) {
                continue;
            }
            let before: Vec<_> = self.series[i - 1].samples.clone();
            for (time_ms, sample) in &mut self.series[i].samples {
                let below = before.iter().rev().find(|(t, _)| t <= time_ms);
                if let (Sample::Float(value), Some((_, Sample::Float(below)))) = (sample, below)
                    && value.to_bits() != STALE.to_bits()
                    && !below.is_nan()
                {
                    *value += below;
                }
            }
        }
        self.add("latency_count", target, Motion::Counter, 15_000, random);
        self.add("latency_sum", target, Motion::Gauge, 15_000, random);
    }

    fn histograms(&mut self, target: &[(&str, &str); 2], random: &mut Random) {
        let schema = random.below(5) as i8 - 1;
        let shapes = [
            ("hist", Shape { schema, ..PLAIN }),
            ("hist_float", Shape { schema, floats: true, ..PLAIN }),
            ("hist_gauge", Shape { gauge: true, floats: random.one_in(2), ..PLAIN }),
            ("hist_custom", Shape { schema: -53, bounds: 0, ..PLAIN }),
            (
                "hist_custom_b",
                Shape { schema: -53, bounds: random.below(4) as usize, changes: true, ..PLAIN },
            ),
            ("hist_mixed", Shape { mixed: true, ..PLAIN }),
            ("hist_changing", Shape { schema, changes: true, ..PLAIN }),
            ("latency", PLAIN),
        ];
        for (name, shape) in shapes {
            self.add(name, target, Motion::Histogram(shape), *pick(random, &[15_000, 30_000]), random);
        }
    }

    fn add(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        motion: Motion,
        interval_ms: i64,
        random: &mut Random,
    ) {
        let mut labels: Vec<(String, String)> = labels
            .iter()
            .chain(&[("__name__", name)])
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        labels.sort();
        // Most targets are scraped on the grid, which puts samples on the edges of windows.
        let phase_ms = if random.one_in(4) { random.below(interval_ms as u64) as i64 } else { 0 };
        let jitter_ms = if random.one_in(5) { 40 } else { 0 };
        let begin_ms = if random.one_in(5) { random.below(SPAN_MS as u64 / 2) as i64 } else { 0 };
        let end_ms =
            if random.one_in(5) { SPAN_MS - random.below(SPAN_MS as u64 / 2) as i64 } else { SPAN_MS };
        let gappy = random.one_in(3);
        let mut generator = Generator::new(motion, random);
        let mut samples = Vec::new();
        let mut time_ms = begin_ms / interval_ms * interval_ms + phase_ms;
        while time_ms < end_ms {
            let at = FIRST_MS + time_ms + random.below(jitter_ms + 1) as i64;
            if gappy && random.one_in(25) {
                if random.one_in(2) {
                    samples.push((at, Sample::Float(STALE)));
                }
                time_ms += interval_ms * random.below(30) as i64;
            } else {
                samples.push((at, generator.next(random)));
            }
            time_ms += interval_ms;
            if name == "lone" {
                break;
            }
        }
        if end_ms < SPAN_MS && random.one_in(2) {
            samples.push((FIRST_MS + time_ms + 50, Sample::Float(STALE)));
        }
        self.series.push(Series { labels, samples });
    }

    /// Sends both programs all samples, in the order of time.
    pub fn send(&self, pair: &Pair) -> Result<()> {
        let mut encoder = Encoder::default();
        // Prometheus reads series in the order in which they came, and some answers follow it: ties
        // of `topk`, what `limitk` takes, sums of floats. So all come once, by their labels.
        for series in &self.series {
            encoder.begin_series(series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            encoder.sample(FIRST_MS - HERALD_MS, STALE).end_series();
        }
        pair.write(encoder.message())?;
        let last_ms = FIRST_MS + SPAN_MS + 2 * REQUEST_MS;
        for begin_ms in (FIRST_MS..last_ms).step_by(REQUEST_MS as usize) {
            let within = |sample: &&(i64, Sample)| (begin_ms..begin_ms + REQUEST_MS).contains(&sample.0);
            let mut rest: Vec<_> =
                self.series.iter().map(|s| (s, s.samples.iter().filter(within).peekable())).collect();
            // A series of a request holds floats and histograms apart, and Prometheus takes the floats
            // first: so a request has only one kind of a series, and the next one what follows. A
            // staleness marker is a float that becomes a histogram where the sample before is one, and
            // is then too late for the floats after it, and dropped: nothing of its series follows it.
            loop {
                encoder.clear();
                for (series, samples) in &mut rest {
                    let Some(histograms) = samples.peek().map(|s| s.1.is_histogram()) else { continue };
                    encoder.begin_series(series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                    let mut ended = false;
                    while let Some((time_ms, sample)) =
                        samples.next_if(|s| !ended && s.1.is_histogram() == histograms)
                    {
                        ended = sample.is_stale();
                        match sample {
                            Sample::Float(value) => encoder.sample(*time_ms, *value),
                            Sample::Histogram(histogram) => encoder.histogram(*time_ms, histogram),
                        };
                    }
                    encoder.end_series();
                }
                if encoder.message().is_empty() {
                    break;
                }
                pair.write(encoder.message())?;
            }
        }
        Ok(())
    }

    /// How many series and samples there are.
    pub fn size(&self) -> (usize, usize) {
        (self.series.len(), self.series.iter().map(|s| s.samples.len()).sum())
    }
}

fn pick<'a, T>(random: &mut Random, from: &'a [T]) -> &'a T {
    &from[random.below(from.len() as u64) as usize]
}

/// Gives the samples of a series one after another.
struct Generator {
    motion: Motion,
    value: f64,
    rarely: u64,
    histogram: Counts,
}

/// Observations so far, by bucket.
#[derive(Debug, Clone)]
struct Counts {
    schema: i8,
    bounds: usize,
    zero_threshold: f64,
    zero: f64,
    sum: f64,
    positive: [f64; 6],
    negative: [f64; 3],
    reset: bool,
}

impl Generator {
    fn new(motion: Motion, random: &mut Random) -> Self {
        let shape = if let Motion::Histogram(shape) = motion { shape } else { PLAIN };
        let histogram = Counts {
            schema: shape.schema,
            bounds: shape.bounds,
            zero_threshold: *pick(random, &[0.0, 0.001, 0.001, 0.5]),
            zero: 0.0,
            sum: 0.0,
            positive: [0.0; 6],
            negative: [0.0; 3],
            reset: false,
        };
        let value = match motion {
            Motion::Constant(value) => value,
            _ => random.below(10) as f64,
        };
        Self { motion, value, rarely: *pick(random, &[10, 40, 1000]), histogram }
    }

    fn next(&mut self, random: &mut Random) -> Sample {
        match self.motion {
            Motion::Constant(_) => {}
            Motion::Counter => {
                if random.one_in(self.rarely) {
                    self.value = random.below(3) as f64;
                } else {
                    self.value += random.below(4) as f64;
                }
            }
            Motion::Gauge => self.value += (random.below(17) as f64 - 8.0) / 4.0,
            Motion::Weird => {
                let far = [
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    f64::MAX,
                    -1e300,
                    f64::MIN_POSITIVE,
                    -0.0,
                    1e16,
                    0.1,
                    -2.5,
                ];
                self.value =
                    if random.one_in(3) { *pick(random, &far) } else { random.below(7) as f64 - 3.0 };
            }
            Motion::Histogram(shape) => {
                if shape.mixed && random.one_in(6) {
                    return Sample::Float(random.below(9) as f64);
                }
                return Sample::Histogram(Box::new(self.histogram.next(shape, self.rarely, random)));
            }
        }
        Sample::Float(self.value)
    }
}

impl Counts {
    fn next(&mut self, shape: Shape, rarely: u64, random: &mut Random) -> NativeHistogram {
        self.reset = random.one_in(rarely);
        if self.reset || shape.gauge {
            (self.zero, self.sum, self.positive, self.negative) = (0.0, 0.0, [0.0; 6], [0.0; 3]);
        }
        let custom = self.schema == -53;
        if shape.changes && random.one_in(12) {
            if custom {
                self.bounds = random.below(BOUNDS.len() as u64) as usize;
                self.positive = [0.0; 6];
            } else {
                self.schema = random.below(6) as i8 - 2;
                self.zero_threshold = *pick(random, &[0.0, 0.001, 0.5, 2.0]);
            }
            self.negative = [0.0; 3];
        }
        let buckets = if custom { BOUNDS[self.bounds].len() + 1 } else { self.positive.len() };
        // Whole numbers stay whole; floats come in quarters.
        let unit = if shape.floats { 0.25 } else { 1.0 };
        for _ in 0..random.below(4) {
            self.positive[random.below(buckets as u64) as usize] += unit * random.below(5) as f64;
            self.sum += random.below(20) as f64 / 2.0;
        }
        if !custom && random.one_in(3) {
            self.negative[random.below(3) as usize] += unit;
            self.zero += unit * random.below(2) as f64;
            self.sum -= 1.5;
        }
        if shape.floats && random.one_in(60) {
            self.sum = *pick(random, &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        }
        self.histogram(shape, buckets)
    }

    /// With the empty buckets left out, as clients do.
    fn histogram(&self, shape: Shape, buckets: usize) -> NativeHistogram {
        let custom = self.schema == -53;
        let first = if custom { 0 } else { -2 };
        let (positive_spans, positive) = spans(&self.positive[..buckets], first);
        let (negative_spans, negative) = spans(&self.negative, -1);
        let count = self.zero + positive.iter().sum::<f64>() + negative.iter().sum::<f64>();
        let whole = |counts: Vec<f64>| counts.into_iter().map(|c| c as u64).collect();
        NativeHistogram {
            reset_hint: if shape.gauge { ResetHint::Gauge } else { ResetHint::Unknown },
            schema: self.schema,
            zero_threshold: if custom { 0.0 } else { self.zero_threshold },
            sum: self.sum,
            positive_spans,
            negative_spans,
            custom_bounds: if custom { BOUNDS[self.bounds].to_vec() } else { Vec::new() },
            counts: if shape.floats {
                HistogramCounts::Float { count, zero_count: self.zero, positive, negative }
            } else {
                HistogramCounts::Integer {
                    count: count as u64,
                    zero_count: self.zero as u64,
                    positive: whole(positive),
                    negative: whole(negative),
                }
            },
        }
    }
}

/// Spans over the buckets that are not empty.
fn spans(counts: &[f64], first: i32) -> (Vec<Span>, Vec<f64>) {
    let (mut spans, mut filled): (Vec<Span>, Vec<f64>) = (Vec::new(), Vec::new());
    let mut gap = first;
    for &count in counts {
        if count == 0.0 {
            gap += 1;
            continue;
        }
        match spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            _ => spans.push(Span { offset: gap, length: 1 }),
        }
        gap = 0;
        filled.push(count);
    }
    (spans, filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_world_of_valid_samples_in_order() {
        for seed in 0..20 {
            let (world, again) = (World::new(seed, true), World::new(seed, true));
            assert_eq!(world.size(), again.size());
            assert!(world.series.len() > 100);
            for series in &world.series {
                assert!(series.samples.windows(2).all(|w| w[0].0 < w[1].0), "{:?}", series.labels);
                for (_, sample) in &series.samples {
                    if let Sample::Histogram(histogram) = sample {
                        assert_eq!(histogram.validate(), Ok(()), "{:?}: {histogram:?}", series.labels);
                    }
                }
            }
        }
        assert!(World::new(1, false).series.len() < World::new(1, true).series.len());
    }
}
