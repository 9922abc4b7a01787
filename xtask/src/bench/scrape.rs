//! `cargo xtask bench scrape`: what it costs to scrape, beside Prometheus and VictoriaMetrics.
//!
//! All scrape the same targets, one after the other: pages of node_exporter whose values change, served
//! by this process ([`targets`]), which notes when each request came. CPU is that of the program alone.

mod targets;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Bench,
    http::{Client, escape},
    page,
    process::Process,
    program::Kind,
    table::{self, Goal, Row},
    tsdb::is_wanted,
};
use crate::run::target;
use targets::Targets;

/// A load.
#[derive(Debug, Clone, Copy)]
struct Shape {
    name: &'static str,
    targets: usize,
    series: usize,
    interval_seconds: u64,
    /// Before and while it is measured.
    warm_seconds: u64,
    seconds: u64,
}

/// What a program took.
#[derive(Debug, Clone, Copy, Default)]
struct Measured {
    samples_per_cpu_second: f64,
    cpu_percent: f64,
    idle_cpu_percent: f64,
    jitter_p50_ms: f64,
    jitter_p99_ms: f64,
    jitter_max_ms: f64,
    missed: f64,
    resident_mb: f64,
}

/// How long a program may take until it answers.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// For what the process does beside, before it has targets.
const IDLE_SECONDS: u64 = 10;

/// Gathers nothing by itself.
const VEDETTE_CONFIG: &str =
    "collect: {figures: off, sensor: off}\nrules: {builtin: false}\ndetections: {builtin: false}\n";

/// `cargo xtask bench scrape`. Gives why it cannot run here, if so.
pub fn run(args: &Bench, vedette: &Path) -> Result<Option<String>> {
    let text = match page::node_text()? {
        Ok(text) => text,
        Err(absent) => return Ok(Some(absent)),
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| is_wanted(&args.only, k.name())).collect();
    ensure!(!kinds.is_empty(), "--only names none of prometheus, victoria-metrics, vedette");
    let shapes: Vec<Shape> = shapes(args).into_iter().filter(|s| is_wanted(&args.load, s.name)).collect();
    ensure!(!shapes.is_empty(), "--load names none of few, many");
    let folder = target().join("bench/scrape");
    for shape in shapes {
        println!(
            "\n## {}\n\n{} targets of {} series, each every {} s, over {} s\n",
            shape.name, shape.targets, shape.series, shape.interval_seconds, shape.seconds
        );
        let mut measured = Vec::new();
        for kind in &kinds {
            let binary = kind.binary(vedette)?;
            eprintln!("{}: {} ...", shape.name, kind.title());
            let m = measure(*kind, &binary, shape, &text, &folder.join(kind.name()), args.small)
                .with_context(|| format!("{} under the load {}", kind.title(), shape.name))?;
            measured.push((*kind, m));
        }
        println!("{}", table::print(&rows(&measured)));
    }
    Ok(None)
}

fn shapes(args: &Bench) -> [Shape; 2] {
    let shape = |name, targets, interval_seconds, warm_seconds, seconds| Shape {
        name,
        targets,
        series: if args.small { 60 } else { 620 },
        interval_seconds,
        warm_seconds,
        seconds,
    };
    if args.small {
        [shape("few", 20, 1, 3, 3), shape("many", 100, 2, 4, 4)]
    } else if args.full {
        [shape("few", 100, 5, 30, 300), shape("many", 1000, 15, 60, 300)]
    } else {
        [shape("few", 100, 5, 15, 60), shape("many", 1000, 15, 35, 90)]
    }
}

fn measure(
    kind: Kind,
    binary: &Path,
    shape: Shape,
    text: &str,
    folder: &Path,
    is_small: bool,
) -> Result<Measured> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    let targets = Targets::start(text, shape.targets, shape.series)?;
    let mut m = Measured::default();
    if !is_small {
        // What it costs to be there, without targets.
        let (process, _) = start(kind, binary, &folder.join("idle"), "global: {}\n")?;
        std::thread::sleep(Duration::from_secs(IDLE_SECONDS / 2));
        let before = process.cpu()?;
        std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
        m.idle_cpu_percent = (process.cpu()? - before).as_secs_f64() / IDLE_SECONDS as f64 * 100.0;
    }
    let config = config(shape, targets.address());
    let (process, address) = start(kind, binary, folder, &config)?;
    std::thread::sleep(Duration::from_secs(shape.warm_seconds));
    let (cpu, served) = (process.cpu()?, targets.served());
    std::thread::sleep(Duration::from_secs(shape.seconds));
    let (cpu, served) = (process.cpu()? - cpu, targets.served() - served);
    m.resident_mb = process.resident()? as f64 / 1e6;
    let up = query(address, "count(up == 1)")?;
    ensure!(up == shape.targets as f64, "{up} of {} targets are up", shape.targets);
    let stored = query(address, "count({instance=\"t0\", __name__!~\"up|scrape_.*\"})")?;
    ensure!(stored == shape.series as f64, "{stored} of {} series of a target are there", shape.series);
    m.samples_per_cpu_second = (served * shape.series as u64) as f64 / cpu.as_secs_f64().max(0.01);
    m.cpu_percent = cpu.as_secs_f64() / shape.seconds as f64 * 100.0;
    let jitter = targets.jitter(Duration::from_secs(shape.interval_seconds));
    let at = |share: f64| {
        let place = (jitter.late_ms.len() as f64 * share) as usize;
        jitter.late_ms.get(place.min(jitter.late_ms.len().saturating_sub(1))).copied().unwrap_or(0.0)
    };
    (m.jitter_p50_ms, m.jitter_p99_ms, m.jitter_max_ms) = (at(0.5), at(0.99), at(1.0));
    m.missed = jitter.missed as f64;
    Ok(m)
}

/// Starts a program with a configuration of Prometheus, and waits until it answers.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn start(kind: Kind, binary: &Path, folder: &Path, config: &str) -> Result<(Process, SocketAddr)> {
    std::fs::create_dir_all(folder)?;
    let file: PathBuf = folder.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (mut command, data) = (Command::new(binary), folder.join("data"));
    match kind {
        Kind::Prometheus => command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.console.templates=/", "--web.console.libraries=/"]),
        Kind::VictoriaMetrics => command
            .arg(format!("-promscrape.config={}", file.display()))
            .arg(format!("-storageDataPath={}", data.display()))
            .arg(format!("-httpListenAddr={address}"))
            .args(["-search.latencyOffset=0s", "-search.disableCache"]),
        Kind::Vedette => {
            std::fs::write(folder.join("vedette.yml"), VEDETTE_CONFIG)?;
            command
                .args(["server", "--listen", &address.to_string(), "--prometheus-config"])
                .arg(&file)
                .arg("--config")
                .arg(folder.join("vedette.yml"))
                .arg("--data-dir")
                .arg(&data)
        }
    };
    let log = folder.join("log");
    let mut process = Process::start(&mut command, &log)?;
    let begun = std::time::Instant::now();
    let path = if kind == Kind::VictoriaMetrics { "/health" } else { "/-/ready" };
    while !Client::new(address).get(path).is_ok_and(|(status, _)| status == 200) {
        let what = kind.title();
        ensure!(!process.has_ended()?, "{what} ended; see {}", log.display());
        ensure!(begun.elapsed() < READY_LIMIT, "{what} is not ready after {READY_LIMIT:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((process, address))
}

/// All targets are at one address and differ by their paths.
fn config(shape: Shape, address: SocketAddr) -> String {
    let interval = shape.interval_seconds;
    let mut text = format!(
        "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\nscrape_configs:\n- job_name: bench\n  \
         static_configs:\n"
    );
    for number in 0..shape.targets {
        text.push_str(&format!(
            "  - targets: ['{address}']\n    labels: {{__metrics_path__: '/t/{number}', instance: t{number}}}\n"
        ));
    }
    text
}

/// The single value of an instant query.
fn query(address: SocketAddr, expr: &str) -> Result<f64> {
    let (status, body) = Client::new(address).get(&format!("/api/v1/query?query={}", escape(expr)))?;
    ensure!(status == 200, "{expr}: {status} {body}");
    let answer: Value = serde_json::from_str(&body)?;
    match answer["data"]["result"][0]["value"][1].as_str() {
        Some(value) => Ok(value.parse()?),
        None => Ok(0.0),
    }
}

fn rows(measured: &[(Kind, Measured)]) -> Vec<Row> {
    let row = |name, digits, goal, of: fn(&Measured) -> f64| Row {
        name,
        values: measured.iter().map(|(kind, m)| (*kind, of(m))).collect(),
        digits,
        goal,
    };
    vec![
        row("samples per CPU second", 0, Goal::AtLeast(4.0, 5.0), |m| m.samples_per_cpu_second),
        row("CPU, % of one", 2, Goal::None, |m| m.cpu_percent),
        row("of which without targets", 2, Goal::None, |m| m.idle_cpu_percent),
        row("start jitter p50, ms", 2, Goal::None, |m| m.jitter_p50_ms),
        row("start jitter p99, ms (below 50)", 2, Goal::None, |m| m.jitter_p99_ms),
        row("start jitter at most, ms", 2, Goal::None, |m| m.jitter_max_ms),
        row("scrapes missed", 0, Goal::None, |m| m.missed),
        row("resident, MB", 0, Goal::None, |m| m.resident_mb),
    ]
}
