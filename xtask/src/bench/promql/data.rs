//! The data that the queries are asked over: machines, web servers, and the series of two
//! micro-benchmarks, all in one load that every program gets as it is.
//!
//! No sample has a time of whole seconds, and every query is asked at whole seconds, so that no
//! sample lies on the edge of a window: there Prometheus 2 and 3 differ.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use vedette_sys::Random;

use super::families;
use crate::bench::{
    load::{CONNECTIONS, Load, RequestFile, Shape, Simulated, encode},
    page::{self, Series},
};

const SEED: u64 = 20_261_121;
const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const NODE_INTERVAL_MS: i64 = 15 * SECOND_MS;
const ENGINE_INTERVAL_MS: i64 = 10 * SECOND_MS;
/// Series of one machine.
const NODE_SERIES: usize = 616;
/// What no sample's time is a multiple of seconds by.
const OFF_THE_SECOND_MS: i64 = 317;

/// How much there is of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    pub nodes: usize,
    pub node_hours_tenths: i64,
    pub web_servers: usize,
    pub engine_samples: i64,
    pub join_instances: usize,
    pub join_samples: i64,
}

impl Size {
    /// As the lists describe it.
    pub const FULL: Self = Self {
        nodes: 80,
        node_hours_tenths: 50,
        web_servers: 50,
        engine_samples: 18_640,
        join_instances: 1_000,
        join_samples: 13_640,
    };
    /// A quarter of the machines, and as much of the others as the longest window needs.
    pub const MIDDLE: Self = Self {
        nodes: 20,
        node_hours_tenths: 50,
        web_servers: 20,
        engine_samples: 10_640,
        join_instances: 200,
        join_samples: 2_000,
    };
    /// To see that all of it works.
    pub const SMALL: Self = Self {
        nodes: 2,
        node_hours_tenths: 4,
        web_servers: 2,
        engine_samples: 100,
        join_instances: 4,
        join_samples: 100,
    };
}

/// Which times the data covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// Whole minutes; no sample is later.
    pub end_ms: i64,
    pub node_first_ms: i64,
    pub engine_first_ms: i64,
    pub join_first_ms: i64,
}

impl Spans {
    /// Those of data that ends at the last whole minute.
    pub fn new(size: &Size, now_ms: i64) -> Self {
        let end_ms = now_ms / MINUTE_MS * MINUTE_MS;
        Self {
            end_ms,
            node_first_ms: end_ms - size.node_hours_tenths * 6 * MINUTE_MS,
            engine_first_ms: end_ms - size.engine_samples * ENGINE_INTERVAL_MS,
            join_first_ms: end_ms - size.join_samples * ENGINE_INTERVAL_MS,
        }
    }

    fn first_ms(&self) -> i64 {
        self.node_first_ms.min(self.engine_first_ms).min(self.join_first_ms)
    }
}

/// What is scraped together.
struct Target {
    first_ms: i64,
    interval_ms: i64,
    samples: i64,
    /// How many requests a web server has answered, by kind of request.
    progress: Vec<u64>,
    series: Vec<Source>,
    next: i64,
}

/// Where the values of a series come from.
enum Source {
    Simulated(Simulated),
    /// A share of one kind of requests.
    Requests {
        label_bytes: Vec<u8>,
        kind: usize,
        share: f64,
    },
    /// The number of the sample and a fraction, from one sample to another.
    Count {
        label_bytes: Vec<u8>,
        fraction: f64,
        from: i64,
        until: i64,
    },
}

/// Simulates everything and writes the requests.
pub fn write(
    size: &Size,
    spans: &Spans,
    node_metrics: &[String],
    page: &[Series],
    folder: &Path,
) -> Result<Load> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut random = Random::new(SEED);
    let mut targets = Vec::new();
    nodes(size, spans, node_metrics, page, &mut random, &mut targets);
    web_servers(size, spans, &mut random, &mut targets);
    engine(size, spans, &mut targets);
    join(size, spans, &mut random, &mut targets);

    let files: Vec<_> = (0..CONNECTIONS).map(|n| folder.join(format!("promql-{n}.requests"))).collect();
    let mut outs = files.iter().map(|f| RequestFile::create(f)).collect::<Result<Vec<_>>>()?;
    let series: u64 = targets.iter().map(|t| t.series.len() as u64).sum();
    let shape = Shape {
        name: "promql",
        targets: targets.len(),
        series_per_target: 0,
        interval_ms: 0,
        steps: 0,
        churn_percent: 0,
    };
    let mut load = Load {
        shape,
        files,
        samples: 0,
        requests: 0,
        bytes: 0,
        active_series: series,
        all_series: series,
        constant_series: 0,
        decimals: [0; 5],
        first_ms: spans.first_ms(),
        last_ms: spans.end_ms,
    };
    // Minute by minute: a program that takes only what is new takes all of it so.
    let minutes = (spans.end_ms - spans.first_ms()).div_euclid(MINUTE_MS) + 1;
    for minute in 0..minutes {
        let until_ms = spans.first_ms() + (minute + 1) * MINUTE_MS;
        for target in &mut targets {
            load.samples +=
                target.advance(until_ms.min(spans.end_ms), minute as u32, &mut random, &mut outs)?;
        }
    }
    for out in outs {
        let (requests, bytes) = out.finish()?;
        load.requests += requests;
        load.bytes += bytes;
    }
    Ok(load)
}

impl Target {
    fn new(first_ms: i64, interval_ms: i64, samples: i64, series: Vec<Source>) -> Self {
        Self { first_ms, interval_ms, samples, progress: Vec::new(), series, next: 0 }
    }

    /// Writes what comes before `until_ms`; gives how many samples that is.
    fn advance(
        &mut self,
        until_ms: i64,
        step: u32,
        random: &mut Random,
        outs: &mut [RequestFile],
    ) -> Result<u64> {
        let mut samples = 0;
        while self.next < self.samples && self.first_ms + self.next * self.interval_ms < until_ms {
            let (number, time_ms) = (self.next, self.first_ms + self.next * self.interval_ms);
            self.progress.iter_mut().for_each(|requests| *requests += random.below(400));
            for (i, source) in self.series.iter_mut().enumerate() {
                let (label_bytes, value) = match source {
                    Source::Simulated(series) => {
                        let value = series.advance(random);
                        (series.label_bytes(), value)
                    }
                    Source::Requests { label_bytes, kind, share } => {
                        // Counts are whole, sums of seconds have thousandths.
                        let value = self.progress[*kind] as f64 * *share;
                        let value = if *share < 0.015 { (value * 1e3).floor() / 1e3 } else { value.floor() };
                        (&label_bytes[..], value)
                    }
                    Source::Count { label_bytes, fraction, from, until } => {
                        if !(*from..*until).contains(&number) {
                            continue;
                        }
                        (&label_bytes[..], number as f64 + *fraction)
                    }
                };
                outs[i % CONNECTIONS].add(step, label_bytes, time_ms, value)?;
                samples += 1;
            }
            self.next += 1;
        }
        Ok(samples)
    }
}

/// The first sample's time of a target, somewhere in its interval and off the second.
fn first_in(interval_ms: i64, first_ms: i64, random: &mut Random) -> i64 {
    let seconds = random.below((interval_ms / SECOND_MS) as u64) as i64;
    first_ms + seconds * SECOND_MS + OFF_THE_SECOND_MS
}

fn nodes(
    size: &Size,
    spans: &Spans,
    node_metrics: &[String],
    page: &[Series],
    random: &mut Random,
    targets: &mut Vec<Target>,
) {
    let template = node_template(node_metrics, page);
    let samples = (spans.end_ms - spans.node_first_ms) / NODE_INTERVAL_MS;
    for number in 0..size.nodes {
        let instance = format!("host-{number:03}.example.com:9100");
        let series = template
            .iter()
            .map(|series| {
                let mut simulated = Simulated::new(series, "node", &instance, random);
                // A counter that a query is about counts.
                if series.counter && node_metrics.iter().any(|n| n == page::name(series)) {
                    simulated.keep_moving();
                }
                Source::Simulated(simulated)
            })
            .collect();
        let first_ms = first_in(NODE_INTERVAL_MS, spans.node_first_ms, random);
        targets.push(Target::new(first_ms, NODE_INTERVAL_MS, samples, series));
    }
}

/// The series that the queries are about, and then as many of the others as a machine has.
fn node_template(node_metrics: &[String], page: &[Series]) -> Vec<Series> {
    let is_named = |s: &Series| node_metrics.iter().any(|n| n == page::name(s));
    let generated = families::node();
    let named = generated.iter().chain(page).filter(|s| is_named(s));
    let mut template: Vec<Series> = named.cloned().collect();
    template.extend(page.iter().filter(|s| !is_named(s) && page::is_default(s)).cloned());
    // What both have counts once.
    let mut seen = HashSet::new();
    template.retain(|s| {
        let mut labels = s.labels.clone();
        labels.sort();
        seen.insert(labels)
    });
    template.truncate(NODE_SERIES);
    for series in &mut template {
        series.labels.push(("gen".to_owned(), "0".to_owned()));
    }
    template
}

fn web_servers(size: &Size, spans: &Spans, random: &mut Random, targets: &mut Vec<Target>) {
    let samples = (spans.end_ms - spans.node_first_ms) / NODE_INTERVAL_MS;
    for number in 0..size.web_servers {
        let (job, instance) = (format!("fake-webservers-{}", number % 5), format!("10.1.{number}.7:8080"));
        let mut series: Vec<Source> = families::web_server()
            .iter()
            .map(|s| {
                let mut simulated = Simulated::new(s, &job, &instance, random);
                simulated.keep_moving();
                Source::Simulated(simulated)
            })
            .collect();
        let mut kinds = 0;
        for method in ["GET", "POST"] {
            for path in ["/api/foo", "/api/bar"] {
                for status in ["200", "404", "500"] {
                    series.extend(families::requests(method, path, status).into_iter().map(|(s, share)| {
                        Source::Requests { label_bytes: labels_of(&s, &job, &instance), kind: kinds, share }
                    }));
                    kinds += 1;
                }
            }
        }
        let first_ms = first_in(NODE_INTERVAL_MS, spans.node_first_ms, random);
        let mut target = Target::new(first_ms, NODE_INTERVAL_MS, samples, series);
        target.progress = vec![0; kinds];
        targets.push(target);
    }
    let kubelets = size.web_servers.div_ceil(10);
    for number in 0..kubelets {
        let instance = format!("10.2.{number}.1:10250");
        let series = families::kubelet(60)
            .iter()
            .map(|s| {
                let mut simulated = Simulated::new(s, "kubelet", &instance, random);
                simulated.keep_moving();
                Source::Simulated(simulated)
            })
            .collect();
        let first_ms = first_in(NODE_INTERVAL_MS, spans.node_first_ms, random);
        targets.push(Target::new(first_ms, NODE_INTERVAL_MS, samples, series));
    }
}

fn labels_of(series: &Series, job: &str, instance: &str) -> Vec<u8> {
    let mut labels = series.labels.clone();
    labels.push(("job".to_owned(), job.to_owned()));
    labels.push(("instance".to_owned(), instance.to_owned()));
    labels.sort();
    encode(&labels)
}

/// The data of the engine's micro-benchmarks.
fn engine(size: &Size, spans: &Spans, targets: &mut Vec<Target>) {
    // Labels, and which part of the time a sparse one fills.
    type Named = (Vec<(String, String)>, Option<i64>);
    let mut names: Vec<Named> = Vec::new();
    let pair = |n: &str, v: String| (n.to_owned(), v);
    for (suffix, count) in [("one", 1), ("ten", 10), ("hundred", 100)] {
        for prefix in ["a", "b", "h"] {
            let les: Vec<Option<String>> = if prefix == "h" {
                (0..10).map(|n| Some(n.to_string())).chain([Some("+Inf".to_owned())]).collect()
            } else {
                vec![None]
            };
            for n in 0..count {
                for le in &les {
                    let mut labels = vec![pair("__name__", format!("{prefix}_{suffix}"))];
                    labels.extend((count > 1).then(|| pair("l", n.to_string())));
                    labels.extend(le.clone().map(|le| pair("le", le)));
                    names.push((labels, None));
                }
            }
        }
    }
    const SPARSE: i64 = 50;
    for n in 0..SPARSE {
        names.push((vec![pair("__name__", "sparse".to_owned()), pair("l", n.to_string())], Some(n)));
    }
    let count = names.len() as f64;
    let series = names
        .into_iter()
        .enumerate()
        .map(|(i, (mut labels, sparse))| {
            labels.sort();
            let part = |n: i64| n * size.engine_samples / SPARSE;
            let (from, until) = sparse.map_or((0, size.engine_samples), |n| (part(n), part(n + 1)));
            Source::Count { label_bytes: encode(&labels), fraction: i as f64 / count, from, until }
        })
        .collect();
    let first_ms = spans.engine_first_ms + OFF_THE_SECOND_MS;
    targets.push(Target::new(first_ms, ENGINE_INTERVAL_MS, size.engine_samples, series));
}

/// The two metrics of the benchmark of joins.
fn join(size: &Size, spans: &Spans, random: &mut Random, targets: &mut Vec<Target>) {
    let mut series = Vec::new();
    for instance in 0..size.join_instances {
        for name in ["rpc_request_success_total", "rpc_request_error_total"] {
            let labels = [
                ("__name__", name),
                ("cluster", "prod-eu-1"),
                ("domain", "payments"),
                ("environment", "production"),
                ("instance", &format!("{instance:04}")[1..]),
                ("job", "rpc"),
                ("namespace", "backend"),
                ("rpc_method", "Transfer"),
            ];
            let labels: Vec<_> = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            let mut simulated =
                Simulated::new(&Series { counter: true, labels, value: 1e4 }, "rpc", "", random);
            simulated.keep_moving();
            series.push(Source::Simulated(simulated));
        }
    }
    let first_ms = spans.join_first_ms + OFF_THE_SECOND_MS;
    targets.push(Target::new(first_ms, ENGINE_INTERVAL_MS, size.join_samples, series));
}

#[cfg(test)]
mod tests {
    use vedette_wire::remote_write::{Item, Point, Request};

    use super::*;
    use crate::bench::{load::Requests, promql::workload};

    const TINY: Size = Size {
        nodes: 1,
        node_hours_tenths: 1,
        web_servers: 1,
        engine_samples: 20,
        join_instances: 1,
        join_samples: 20,
    };

    #[test]
    fn every_metric_that_a_query_names_is_there_and_no_sample_is_at_a_whole_second() {
        let (lists, page) = match (workload::lists().expect("lists"), page::node_page().expect("a page")) {
            (Ok(lists), Ok(page)) => (lists, page),
            (Err(absent), _) | (_, Err(absent)) => return println!("SKIPPED the bench's data: {absent}"),
        };
        let spans = Spans::new(&TINY, 1_800_000_012_345);
        let folder = std::env::temp_dir().join(format!("vedette-bench-data-{}", std::process::id()));
        let load = write(&TINY, &spans, &lists.node_metrics(), &page, &folder).expect("written");
        let (mut text, mut samples) = (String::new(), 0);
        for file in &load.files {
            let mut requests = Requests::open(file).expect("opened");
            while let Some(request) = requests.next().expect("read") {
                let message = snap::raw::Decoder::new().decompress_vec(&request.bytes).expect("Snappy");
                for item in Request::new(&message) {
                    let Ok(Item::Series(series)) = item else { panic!("series only") };
                    text.push_str(&String::from_utf8_lossy(series.label_bytes()));
                    for point in series.points() {
                        let Ok(Point::Sample { time_ms, .. }) = point else { panic!("samples only") };
                        assert!(time_ms % 1000 != 0 && time_ms < spans.end_ms, "{time_ms}");
                        samples += 1;
                    }
                }
            }
        }
        std::fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(samples, load.samples);
        let cases = lists.cases(&[], &spans).expect("cases");
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let is_metric = |word: &&str| {
            ["node_", "codelab_", "go_", "container_", "kubelet_", "rpc_request", "a_", "b_", "h_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        };
        for name in cases.iter().flat_map(|c| c.expr.split(word)).filter(is_metric) {
            assert!(text.contains(name), "{name}");
        }
    }
}
