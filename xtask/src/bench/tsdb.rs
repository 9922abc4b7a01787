//! The metric store against Prometheus and VictoriaMetrics: the same bytes to each by remote write,
//! and what they cost.
//!
//! CPU is what the kernel charges to the process, so the sender beside it does not count; the wall
//! clock of a small machine would say little.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use vedette_sys::{Clock, SystemClock};
use vedette_wire::remote_write;

use super::{
    Bench,
    http::Client,
    load::{self, Load, Requests, Shape},
    page,
    process::Process,
    program::{Disk, Kind, Program},
    table::{self, Goal, Row},
};
use crate::run::target;

/// Series of one target, as a machine with few cores has.
const TARGET_SERIES: usize = 616;
pub const READY_LIMIT: Duration = Duration::from_secs(300);
/// Who has not found all series by then after a restart has lost some.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The same under a small load.
const ANSWER_LIMIT_SMALL: Duration = Duration::from_secs(10);
/// A process that takes less CPU than this in a second is at rest.
const REST: Duration = Duration::from_millis(30);
const REST_SECONDS: u32 = 5;
const REST_LIMIT: Duration = Duration::from_secs(240);
/// A minute of the load takes at least this long, so that what a program does every few minutes it
/// does as often as in life, and not once for hours at a time.
const MINUTE_MIN: Duration = Duration::from_millis(150);
/// How often a request that the server cannot take now is sent again.
const ATTEMPTS_MAX: u32 = 200;

/// What one program took for one load.
#[derive(Default)]
struct Measured {
    samples: u64,
    active_series: u64,
    cpu: Duration,
    wall: Duration,
    idle: u64,
    idle_anonymous: u64,
    resident: u64,
    anonymous: u64,
    peak: u64,
    disk: Disk,
    /// After `kill -9`.
    restart: Option<Restart>,
    retries: u64,
}

struct Restart {
    ready: Duration,
    /// Until a query over all series finds all of them; never where series were lost.
    answered: Option<Duration>,
    lost: f64,
}

/// `cargo xtask bench tsdb`. Gives why it cannot run here, if so; fails when Vedette has lost a
/// sample that it had acknowledged.
pub fn run(args: &Bench, vedette: &Path) -> Result<Option<String>> {
    let templates = match page::templates(TARGET_SERIES)? {
        Ok(templates) => templates,
        Err(absent) => return Ok(Some(absent)),
    };
    println!(
        "templates: node_exporter {} series, cAdvisor {} series; 3 of 4 targets are the first",
        templates[0].len(),
        templates[1].len()
    );
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| is_wanted(&args.only, k.name())).collect();
    ensure!(!kinds.is_empty(), "--only names none of prometheus, victoria-metrics, vedette");
    let binaries = kinds.iter().map(|k| Ok((*k, k.binary(vedette)?))).collect::<Result<Vec<_>>>()?;
    let folder = target().join("bench");
    let shapes = shapes(args);
    ensure!(!shapes.is_empty(), "--load names none of steady, wide, churn");
    for shape in shapes {
        let load = load::write(shape, &templates, &folder.join("load"), SystemClock.unix_ms())?;
        println!("\n## {}\n\n{}\n", shape.name, load.describe());
        let mut measured = Vec::new();
        for (kind, binary) in &binaries {
            eprintln!("{}: {} ...", shape.name, kind.title());
            let m = measure(*kind, binary, &load, &folder.join(kind.name()), args.small)
                .with_context(|| format!("{} under the load {}", kind.title(), shape.name))?;
            measured.push((*kind, m));
        }
        println!("{}", table::print(&rows(&load, &measured)));
        explain(&measured);
        for file in &load.files {
            std::fs::remove_file(file)?;
        }
        for (_, m) in measured.iter().filter(|(kind, _)| *kind == Kind::Vedette) {
            let answers = args.small || m.restart.as_ref().is_none_or(|r| r.answered.is_some());
            ensure!(answers, "Vedette does not find all {} series after a restart", m.active_series);
            let lost = m.restart.as_ref().map_or(0.0, |r| r.lost);
            ensure!(lost == 0.0, "Vedette lost {lost} of {} samples that it had acknowledged", m.samples);
        }
    }
    Ok(None)
}

/// Whether a list that means all when it is empty has the name.
pub fn is_wanted(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|l| l == name)
}

fn shapes(args: &Bench) -> Vec<Shape> {
    let shape = |name, targets, seconds: i64, steps, churn_percent| Shape {
        name,
        targets,
        series_per_target: if args.small { 50 } else { TARGET_SERIES },
        interval_ms: seconds * 1000,
        steps,
        churn_percent,
    };
    let all = if args.small {
        [shape("steady", 8, 15, 120, 0), shape("wide", 20, 30, 5, 0), shape("churn", 20, 15, 120, 5)]
    } else if args.full {
        [shape("steady", 82, 15, 1200, 0), shape("wide", 250, 30, 120, 0), shape("churn", 82, 15, 1200, 5)]
    } else {
        [shape("steady", 20, 15, 720, 0), shape("wide", 250, 30, 10, 0), shape("churn", 20, 15, 720, 5)]
    };
    all.into_iter().filter(|s| is_wanted(&args.load, s.name)).collect()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn measure(kind: Kind, binary: &Path, load: &Load, folder: &Path, small: bool) -> Result<Measured> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let mut program = Program::start(kind, binary, folder)?;
    program.wait_ready(READY_LIMIT)?;
    let quiet = if small { 1 } else { REST_SECONDS };
    rest(&program.process, quiet, 0)?;
    let mut m = Measured { samples: load.samples, active_series: load.active_series, ..Measured::default() };
    (m.idle, m.idle_anonymous) = (program.process.resident()?, program.process.anonymous()?);
    let cpu = program.process.cpu()?;
    let begun = std::time::Instant::now();
    m.retries = send(load, &program)?;
    m.wall = begun.elapsed();
    if load.shape.name == "wide" {
        // At once: what was acknowledged must be there, however little time there was to write it.
        (m.resident, m.anonymous) = (program.process.resident()?, program.process.anonymous()?);
        m.peak = program.process.peak()?;
        m.restart = Some(restart(&mut program, load, if small { ANSWER_LIMIT_SMALL } else { ANSWER_LIMIT })?);
        drop(program);
        std::fs::remove_dir_all(folder)?;
        return Ok(m);
    }
    // Prometheus looks once a minute whether there is something to compact.
    let at_least = if kind == Kind::Prometheus && load.shape.steps > 1000 { 70 } else { 0 };
    rest(&program.process, quiet, at_least)?;
    m.cpu = program.process.cpu()? - cpu;
    (m.resident, m.anonymous) = (program.process.resident()?, program.process.anonymous()?);
    m.peak = program.process.peak()?;
    m.disk = program.disk(load.samples)?;
    drop(program);
    std::fs::remove_dir_all(folder)?;
    Ok(m)
}

/// Waits until the process does nothing any more.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub fn rest(process: &Process, quiet_seconds: u32, seconds_min: u64) -> Result<()> {
    let begun = std::time::Instant::now();
    let (mut before, mut quiet) = (process.cpu()?, 0);
    while quiet < quiet_seconds || begun.elapsed().as_secs() < seconds_min {
        ensure!(begun.elapsed() < REST_LIMIT, "it does not come to rest within {REST_LIMIT:?}");
        std::thread::sleep(Duration::from_secs(1));
        let now = process.cpu()?;
        quiet = if now - before <= REST { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// All series that have samples now.
const ALL_SERIES: &str = "count({__name__!=\"\"})";

fn restart(program: &mut Program, load: &Load, answer_limit: Duration) -> Result<Restart> {
    let (begun, ready) = program.kill_and_restart(READY_LIMIT)?;
    let mut answered = None;
    while answered.is_none() && begun.elapsed() < answer_limit {
        let found = program.query(ALL_SERIES, load.last_ms);
        if found.is_ok_and(|found| found >= load.active_series as f64) {
            answered = Some(begun.elapsed());
        } else {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    let seconds = (load.last_ms - load.first_ms) / 1000 + 600;
    // Metric by metric: a function leaves the name out, and labels alone need not be unique.
    let mut found = 0.0;
    for name in program.metric_names(load.first_ms, load.last_ms)? {
        let query = format!("sum(count_over_time({{__name__=\"{name}\"}}[{seconds}s]))");
        found += program.query(&query, load.last_ms + 60_000)?;
    }
    Ok(Restart { ready, answered, lost: load.samples as f64 - found })
}

/// Sends all requests over as many connections as there are files; gives how often one had to be
/// sent again.
pub fn send(load: &Load, program: &Program) -> Result<u64> {
    let steps: Vec<AtomicU32> = load.files.iter().map(|_| AtomicU32::new(0)).collect();
    let retries = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..load.files.len())
            .map(|n| {
                let (steps, retries) = (&steps, &retries);
                scope.spawn(move || {
                    let result = send_file(load, n, steps, retries, program);
                    steps[n].store(u32::MAX, Ordering::Release);
                    result
                })
            })
            .collect();
        for sender in senders {
            match sender.join() {
                Ok(result) => result?,
                Err(_) => bail!("a sender panicked"),
            }
        }
        Ok(())
    })?;
    Ok(retries.into_inner())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn send_file(
    load: &Load,
    number: usize,
    steps: &[AtomicU32],
    retries: &AtomicU64,
    program: &Program,
) -> Result<()> {
    let headers = format!(
        "Content-Type: {}\r\nContent-Encoding: {}\r\nX-Prometheus-Remote-Write-Version: {}\r\nUser-Agent: vedette-bench\r\n",
        remote_write::CONTENT_TYPE,
        remote_write::CONTENT_ENCODING,
        remote_write::VERSION
    );
    let mut requests = Requests::open(&load.files[number])?;
    let mut client = Client::new(program.address);
    let mut sent = 0;
    let begun = std::time::Instant::now();
    let step_min = MINUTE_MIN.mul_f64(load.shape.interval_ms as f64 / 60_000.0);
    while let Some(request) = requests.next()? {
        steps[number].store(request.step, Ordering::Release);
        // In life both connections are at the same time of day.
        while steps.iter().any(|s| s.load(Ordering::Acquire).saturating_add(1) < request.step) {
            std::thread::sleep(Duration::from_micros(100));
        }
        std::thread::sleep((step_min * request.step).saturating_sub(begun.elapsed()));
        let mut attempt = 0;
        loop {
            let (status, text) = client.post("/api/v1/write", &headers, &request.bytes)?;
            if status / 100 == 2 {
                break;
            }
            attempt += 1;
            let text = text.trim();
            ensure!(status / 100 == 5 && attempt < ATTEMPTS_MAX, "after {sent} samples: {status} {text}");
            retries.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(50));
        }
        sent += u64::from(request.samples);
    }
    Ok(())
}

fn rows(load: &Load, measured: &[(Kind, Measured)]) -> Vec<Row> {
    let row = |name, digits, goal, figure: &dyn Fn(&Measured) -> f64| Row {
        name,
        values: measured.iter().map(|(kind, m)| (*kind, figure(m))).collect(),
        digits,
        goal,
    };
    let per_series =
        |bytes: u64, idle: u64, m: &Measured| (bytes as f64 - idle as f64) / m.active_series as f64;
    if load.shape.name == "wide" {
        let restart = |m: &Measured| m.restart.as_ref().map_or(f64::NAN, |r| r.ready.as_secs_f64());
        let answered = |m: &Measured| {
            m.restart.as_ref().and_then(|r| r.answered).map_or(f64::NAN, |answered| answered.as_secs_f64())
        };
        let lost = |m: &Measured| m.restart.as_ref().map_or(f64::NAN, |r| r.lost);
        return vec![
            row("kill -9 to ready, s", 3, Goal::AtMost(1.0 / 15.0, 1.5), &restart),
            row("kill -9 to the first whole answer, s", 3, Goal::None, &answered),
            row("acknowledged samples lost", 0, Goal::None, &lost),
            row("resident above idle per active series, B", 0, Goal::AtMost(0.2, 0.5), &|m| {
                per_series(m.resident, m.idle, m)
            }),
            row("resident at the peak, MB", 0, Goal::None, &|m| m.peak as f64 / 1e6),
            row("wall time of sending, s", 1, Goal::None, &|m| m.wall.as_secs_f64()),
        ];
    }
    vec![
        row("samples per CPU second", 0, Goal::AtLeast(10.0, 3.0), &|m| {
            m.samples as f64 / m.cpu.as_secs_f64()
        }),
        row("CPU seconds until at rest", 1, Goal::None, &|m| m.cpu.as_secs_f64()),
        row("wall time of sending, s", 1, Goal::None, &|m| m.wall.as_secs_f64()),
        row("disk bytes per sample, compacted", 3, Goal::AtMost(0.28, 0.85), &|m| {
            m.disk.compacted_bytes as f64 / m.disk.compacted_samples as f64
        }),
        row("everything on disk before, MB", 1, Goal::None, &|m| m.disk.all_bytes as f64 / 1e6),
        row("resident above idle per active series, B", 0, Goal::AtMost(0.2, 0.5), &|m| {
            per_series(m.resident, m.idle, m)
        }),
        row("of it without files, B", 0, Goal::None, &|m| per_series(m.anonymous, m.idle_anonymous, m)),
        row("resident at the end, MB", 0, Goal::None, &|m| m.resident as f64 / 1e6),
        row("resident at the peak, MB", 0, Goal::None, &|m| m.peak as f64 / 1e6),
        row("resident when idle, MB", 0, Goal::None, &|m| m.idle as f64 / 1e6),
    ]
}

fn explain(measured: &[(Kind, Measured)]) {
    for (kind, m) in measured {
        if m.retries > 0 {
            println!("{}: {} requests had to be sent again", kind.title(), m.retries);
        }
        if m.disk.compacted_samples > 0 && m.disk.compacted_samples < m.samples {
            println!(
                "{}: {:.1} % of the samples are in compacted files, the others in the head and its log",
                kind.title(),
                100.0 * m.disk.compacted_samples as f64 / m.samples as f64
            );
        }
    }
    if measured.iter().any(|(_, m)| m.disk.all_bytes > 0) {
        println!(
            "CPU: user and system time of the process from the first request until it was at rest; a minute of \
             the load takes at least {MINUTE_MIN:?}.\n\
             Disk: immutable files with their index, no write-ahead log. Prometheus: a snapshot by its admin \
             API, so that the head is a block too; VictoriaMetrics: after /internal/force_merge; Vedette: \
             after `vedette tsdb merge`, per sample in its segments. None of these is in the CPU figure."
        );
    } else if !measured.is_empty() {
        println!(
            "Killed right after the last acknowledgement; samples counted by a query after the restart. The \
             first whole answer is that of a query that counts all series, and finds all that were sent. Vedette \
             is ready while it replays its log, and lets those who ask wait for that."
        );
    }
}
