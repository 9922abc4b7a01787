//! The metrics of a synthetic service, of which three instances are scraped every five seconds.

use std::f64::consts::TAU;

use anyhow::Result;
use vedette_sys::Random;
use vedette_wire::remote_write::Encoder;

use super::pair::Pair;

/// When the first sample was scraped.
pub const FIRST_MS: i64 = 1_700_000_000_000;
/// How long the service is watched, at least.
pub const WATCHED_MS: i64 = 100 * 60_000;
const INTERVAL_MS: i64 = 5_000;
/// Samples of one request; all of the same minutes, as a store takes them in the order of time.
const SCRAPES_PER_REQUEST: i64 = 60;
const SEED: u64 = 539;
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const BUCKETS: usize = 26;

/// How a value comes about.
#[derive(Debug, Clone, Copy)]
enum Motion {
    Constant(f64),
    /// A wave around a middle, with noise.
    Wave {
        middle: f64,
        height: f64,
        period_s: f64,
    },
    /// Grows by up to so much a second, and begins anew when the service does.
    Counter(f64),
    /// Grows steadily, with noise.
    Filling(f64),
    /// The time of the last success of something that succeeds most times.
    Success,
    /// There for four minutes of every ten.
    Intermittent,
}

/// What a histogram has counted: requests up to each bound, their seconds, their number.
type Row = ([f64; BUCKETS], f64, f64);

struct Series {
    labels: Vec<(String, String)>,
    motion: Motion,
    value: f64,
    /// Whether the last scrape had it.
    there: bool,
}

struct Instance {
    /// Where in the interval it is scraped.
    offset_ms: i64,
    series: Vec<Series>,
    /// Counts of requests below each bound, for every request path.
    histograms: Vec<Histogram>,
}

struct Histogram {
    labels: Vec<(String, String)>,
    rate: f64,
    buckets: [f64; BUCKETS],
    sum: f64,
    count: f64,
}

/// Sends both programs what the service said. With `off_edges` no sample is at a whole second, so
/// that none lies on the edge of a window.
pub fn load(pair: &Pair, off_edges: bool) -> Result<()> {
    let mut random = Random::new(SEED);
    let mut instances: Vec<Instance> = (0..3).map(|i| Instance::new(i, off_edges)).collect();
    let scrapes = WATCHED_MS / INTERVAL_MS;
    let mut encoder = Encoder::default();
    for first in (0..scrapes).step_by(SCRAPES_PER_REQUEST as usize) {
        encoder.clear();
        for instance in &mut instances {
            instance.scrape(first..(first + SCRAPES_PER_REQUEST).min(scrapes), &mut random, &mut encoder);
        }
        pair.write(encoder.message())?;
    }
    Ok(())
}

fn labels(name: &str, instance: usize, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let instance = format!("demo.promlabs.com:1000{instance}");
    let mut labels: Vec<(String, String)> = [("__name__", name), ("instance", &instance), ("job", "demo")]
        .iter()
        .chain(more)
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect();
    labels.sort();
    labels
}

impl Instance {
    fn new(number: usize, off_edges: bool) -> Self {
        let mut series = Vec::new();
        let mut add = |name: &str, more: &[(&str, &str)], motion| {
            let labels = labels(name, number, more);
            series.push(Series { labels, motion, value: 0.0, there: false });
        };
        let scale = 1.0 + number as f64 / 10.0;
        add("up", &[], Motion::Constant(1.0));
        add("demo_num_cpus", &[], Motion::Constant(4.0));
        for (kind, middle) in [("used", 4e9), ("cached", 1.5e9), ("buffers", 2.1e8), ("free", 2.3e9)] {
            let motion = Motion::Wave { middle: middle * scale, height: middle / 5.0, period_s: 1_700.0 };
            add("demo_memory_usage_bytes", &[("type", kind)], motion);
        }
        for (mode, rate) in [("idle", 3.1), ("user", 1.2), ("system", 0.4)] {
            add("demo_cpu_usage_seconds_total", &[("mode", mode)], Motion::Counter(rate * scale));
        }
        add("demo_disk_usage_bytes", &[], Motion::Filling(90_000.0 * scale));
        add("demo_disk_total_bytes", &[], Motion::Constant(2.6e11));
        add("demo_batch_last_run_timestamp_seconds", &[], Motion::Success);
        add("demo_batch_last_success_timestamp_seconds", &[], Motion::Success);
        add("demo_items_shipped_total", &[], Motion::Counter(2.0));
        add("demo_intermittent_metric", &[], Motion::Intermittent);
        let mut histograms = Vec::new();
        for (i, (path, method)) in
            [("/api/foo", "GET"), ("/api/foo", "POST"), ("/api/bar", "GET"), ("/api/nonexistent", "GET")]
                .into_iter()
                .enumerate()
        {
            for status in ["200", "404", "500"] {
                let labels = labels("", number, &[("method", method), ("path", path), ("status", status)]);
                let rate = 40.0 * scale / (1.0 + i as f64) / if status == "200" { 1.0 } else { 25.0 };
                histograms.push(Histogram { labels, rate, buckets: [0.0; BUCKETS], sum: 0.0, count: 0.0 });
            }
        }
        let offsets = if off_edges { [618, 1_337, 2_718] } else { [0, 1_337, 2_718] };
        Self { offset_ms: offsets[number], series, histograms }
    }

    fn scrape(&mut self, scrapes: std::ops::Range<i64>, random: &mut Random, out: &mut Encoder) {
        let time_ms = |scrape: i64| FIRST_MS + scrape * INTERVAL_MS + self.offset_ms;
        // Every instance is started anew once, one after another.
        let restart = 900 + 3 * (self.offset_ms % 100);
        for series in &mut self.series {
            out.begin_series(series.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            for scrape in scrapes.clone() {
                if let Some(value) = series.advance(time_ms(scrape), scrape == restart, random) {
                    out.sample(time_ms(scrape), value);
                }
            }
            out.end_series();
        }
        for histogram in &mut self.histograms {
            let rows: Vec<_> =
                scrapes.clone().map(|s| (time_ms(s), histogram.advance(s == restart, random))).collect();
            histogram.write(&rows, out);
        }
    }
}

impl Series {
    fn advance(&mut self, time_ms: i64, restarts: bool, random: &mut Random) -> Option<f64> {
        let time_s = (time_ms - FIRST_MS) as f64 / 1000.0;
        let seconds = INTERVAL_MS as f64 / 1000.0;
        match self.motion {
            Motion::Constant(value) => self.value = value,
            Motion::Wave { middle, height, period_s } => {
                let noise = random.unit() * height / 10.0;
                self.value = (middle + (time_s * TAU / period_s).sin() * height + noise).floor();
            }
            Motion::Counter(_) if restarts => self.value = random.unit(),
            Motion::Counter(rate) => self.value += rate * seconds * (0.5 + random.unit() / 2.0),
            Motion::Filling(rate) => self.value += (rate * seconds * (0.9 + random.unit() / 5.0)).floor(),
            Motion::Success => {
                if self.value == 0.0 || random.one_in(12) {
                    self.value = time_ms as f64 / 1000.0;
                }
            }
            Motion::Intermittent => {
                let was = std::mem::replace(&mut self.there, time_s % 600.0 < 240.0);
                return match (was, self.there) {
                    (_, true) => Some(time_s),
                    (true, false) => Some(STALE),
                    (false, false) => None,
                };
            }
        }
        Some(self.value)
    }
}

impl Histogram {
    fn advance(&mut self, restarts: bool, random: &mut Random) -> Row {
        if restarts {
            (self.buckets, self.sum, self.count) = ([0.0; BUCKETS], 0.0, 0.0);
        }
        let requests = (self.rate * random.unit() * INTERVAL_MS as f64 / 1000.0) as u32;
        for _ in 0..requests {
            let seconds = bound(0) * (random.unit() * 3.0 + random.unit() * 3.0).exp();
            self.count += 1.0;
            self.sum += seconds;
            for (i, bucket) in self.buckets.iter_mut().enumerate() {
                *bucket += f64::from(u8::from(seconds <= bound(i)));
            }
        }
        (self.buckets, self.sum, self.count)
    }

    fn write(&self, rows: &[(i64, Row)], out: &mut Encoder) {
        let mut series = |name: &str, le: Option<String>, value: &dyn Fn(&Row) -> f64| {
            let mut labels = self.labels.clone();
            labels.extend(le.map(|le| ("le".to_owned(), le)));
            labels.sort();
            let name = format!("demo_api_request_duration_seconds_{name}");
            let labels = labels
                .iter()
                .map(|(n, v)| (n.as_str(), if n == "__name__" { name.as_str() } else { v.as_str() }));
            out.begin_series(labels);
            for (time_ms, row) in rows {
                out.sample(*time_ms, value(row));
            }
            out.end_series();
        };
        for i in 0..BUCKETS {
            series("bucket", Some(bound(i).to_string()), &|row| row.0[i]);
        }
        series("bucket", Some("+Inf".to_owned()), &|row| row.2);
        series("sum", None, &|row| row.1);
        series("count", None, &|row| row.2);
    }
}

/// Bounds grow by half.
fn bound(i: usize) -> f64 {
    0.0001 * 1.5_f64.powi(i as i32)
}
