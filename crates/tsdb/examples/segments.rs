//! Measures segments: what samples cost on the disk, by the kind of their source, and what sealing,
//! merging and reading them costs in CPU.
//!
//! `cargo run --release -p vedette-tsdb --example segments -- [SERIES [STEPS [KIND [JITTER_MS]]]]`
//! prints one line for each kind of source (`mix` is 61 % constant series and the others in the
//! shares of a node_exporter page), scraped every 15 s. With a jitter, times are not regular.

use std::{path::Path, sync::Arc, time::Duration};

use vedette_model::{Hints, Labels, MetricReader, SampleBuffer, Select, TimeRange};
use vedette_sys::{Clock, ManualClock, Random, RealFs};
use vedette_tsdb::{Config, RefRow, SeriesRef, Tsdb};

const KINDS: [&str; 9] =
    ["mix", "constant", "counter", "bursts", "hundredths", "micros", "pages", "decimals", "floats"];

const TARGET_SERIES: usize = 500;
const START_MS: i64 = 1_700_006_400_000;
const STEP_MS: i64 = 15_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize, default: usize| arguments.get(i).map_or(Ok(default), |a| a.parse::<usize>());
    let (series, steps, jitter) = (number(0, 5000)?, number(1, 1200)?, number(3, 0)?);
    let kinds = match arguments.get(2) {
        Some(kind) => vec![kind.as_str()],
        None => KINDS.to_vec(),
    };
    println!(
        "kind        sealed B/sample  merged B/sample  seal ns/sample  merge ns/sample  read ns/sample  resident KiB"
    );
    for kind in kinds {
        let folder = std::env::temp_dir().join(format!("vedette-segments-{}", std::process::id()));
        let report = measure(&folder, kind, series, steps, jitter as u64);
        let _ = std::fs::remove_dir_all(&folder);
        let r = report?;
        println!(
            "{kind:10}  {:15.3}  {:15.3}  {:14.1}  {:15.1}  {:14.1}  {:12}",
            r.sealed_bytes, r.merged_bytes, r.seal_ns, r.merge_ns, r.read_ns, r.resident_kib
        );
    }
    Ok(())
}

/// All but the memory for one sample.
struct Report {
    sealed_bytes: f64,
    merged_bytes: f64,
    seal_ns: f64,
    merge_ns: f64,
    read_ns: f64,
    resident_kib: u64,
}

fn measure(
    folder: &Path,
    kind: &str,
    series: usize,
    steps: usize,
    jitter: u64,
) -> Result<Report, Box<dyn std::error::Error>> {
    let clock = ManualClock::at(START_MS * 1_000_000);
    let (store, _) = Tsdb::open(Config::new(folder), Arc::new(RealFs), Arc::new(clock.clone()))?;
    let mut random = Random::new(7);
    let mut sources: Vec<Source> = (0..series).map(|n| Source::new(kind, n, &mut random)).collect();
    let refs: Vec<SeriesRef> = (0..series).map(|n| store.series(&labels(n))).collect::<Result<_, _>>()?;
    let mut values = vec![0.0; series];
    let (mut seal_ns, mut merge_ns, mut sealed_bytes) = (0, 0, 0.0);
    for _ in 0..steps {
        clock.advance(Duration::from_millis(STEP_MS as u64));
        for (value, source) in values.iter_mut().zip(&mut sources) {
            *value = source.next(&mut random);
        }
        for (refs, values) in refs.chunks(TARGET_SERIES).zip(values.chunks(TARGET_SERIES)) {
            let late = if jitter > 0 { random.below(jitter) } else { 0 };
            let time_ms = clock.unix_ms() + late as i64;
            store.append(&[RefRow::new(time_ms, refs, values)])?;
        }
        let merges = store.metrics().compactions.get();
        let start = cpu_ns();
        store.maintain();
        let took = cpu_ns() - start;
        if store.metrics().compactions.get() > merges {
            merge_ns += took;
        } else {
            seal_ns += took;
            let stats = store.stats();
            if sealed_bytes == 0.0 && stats.segments > 0 {
                sealed_bytes = stats.segment_bytes as f64 / stats.segment_samples as f64;
            }
        }
    }
    let start = cpu_ns();
    store.merge_all()?;
    merge_ns += cpu_ns() - start;
    let stats = store.stats();
    let resident_kib = resident_kib();
    let range = TimeRange { start_ms: START_MS, end_ms: stats.sealed_until_ms.unwrap_or(0) - 1 };
    let select = Select { matchers: vec![], range, hints: Hints::default(), series_max: 0 };
    let set = store.select(&select)?;
    let mut buffer = SampleBuffer::default();
    let (mut read, start) = (0, cpu_ns());
    for i in 0..set.len() {
        buffer.clear();
        set.read(i, range, &mut buffer)?;
        read += buffer.len() as u64;
    }
    let read_ns = cpu_ns() - start;
    let samples = stats.segment_samples.max(1) as f64;
    Ok(Report {
        sealed_bytes,
        merged_bytes: stats.segment_bytes as f64 / samples,
        seal_ns: seal_ns as f64 / samples,
        merge_ns: merge_ns as f64 / samples,
        read_ns: read_ns as f64 / read.max(1) as f64,
        resident_kib,
    })
}

fn labels(n: usize) -> Labels {
    let (target, metric) = (n / TARGET_SERIES, n % TARGET_SERIES);
    Labels::from_pairs([
        ("__name__", format!("node_metric_{}_total", metric / 8)),
        ("device", format!("device-{}", metric % 8)),
        ("instance", format!("host-{target}")),
        ("job", "node-exporter".to_owned()),
        ("mode", ["idle", "user", "system"][metric % 3].to_owned()),
    ])
}

enum Source {
    Constant(f64),
    Counter { value: u64, rate: u64 },
    Bursts(u64),
    Fraction { units: u64, rate: u64, per_second: f64 },
    Pages(u64),
    Load(i64),
    Float(f64),
}

impl Source {
    fn new(kind: &str, n: usize, random: &mut Random) -> Self {
        let share = match kind {
            "mix" => n * 61 % 100,
            "constant" => 0,
            "counter" => 61,
            "bursts" => 70,
            "hundredths" => 78,
            "micros" => 85,
            "pages" => 88,
            "decimals" => 94,
            _ => 99,
        };
        let magnitude = 3 + random.below(14);
        let rate = 1 + random.below(1 << magnitude);
        match share {
            0..61 => Self::Constant(random.below(1 << 30) as f64),
            61..70 => Self::Counter { value: random.below(1 << 40), rate },
            70..78 => Self::Bursts(random.below(1 << 20)),
            78..85 => {
                Self::Fraction { units: random.below(1 << 30), rate: 1 + rate % 1500, per_second: 100.0 }
            }
            85..88 => Self::Fraction { units: random.below(1 << 30), rate, per_second: 1e6 },
            88..94 => Self::Pages(random.below(1 << 22)),
            94..98 => Self::Load(random.below(400) as i64),
            _ => Self::Float(random.unit()),
        }
    }

    fn next(&mut self, random: &mut Random) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Counter { value, rate } => {
                // A rate with noise around it.
                *value += *rate + random.below(*rate / 4 + 1);
                *value as f64
            }
            Self::Bursts(value) => {
                *value += if random.one_in(10) { random.below(500) } else { 0 };
                *value as f64
            }
            Self::Fraction { units, rate, per_second } => {
                *units += random.below(*rate);
                *units as f64 / *per_second
            }
            Self::Pages(pages) => {
                *pages = (*pages + random.below(64)).saturating_sub(32);
                (*pages * 4096) as f64
            }
            Self::Load(hundredths) => {
                *hundredths = (*hundredths + random.below(11) as i64 - 5).max(0);
                *hundredths as f64 / 100.0
            }
            Self::Float(value) => {
                *value += random.unit() - 0.5;
                *value
            }
        }
    }
}

/// CPU time of this thread; 0 where the system does not tell.
fn cpu_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_run_tells_all_figures() {
        for kind in KINDS {
            let folder = tempfile::tempdir().unwrap();
            let report = measure(folder.path(), kind, 20, 130, 3).unwrap();
            assert!(report.sealed_bytes > 0.0 && report.merged_bytes < 12.0, "{kind}");
        }
    }
}
