//! PromQL against Prometheus and VictoriaMetrics: the same data in each, the same queries, and
//! the CPU time that the answers take.

mod answers;
mod data;
mod extremes;
mod families;
mod measure;
mod report;
mod workload;

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use vedette_sys::{Clock, SystemClock};

use self::{
    data::{Size, Spans},
    measure::{Effort, Subject, measure},
    report::Report,
    workload::{LISTS, lists},
};
use super::{
    Bench,
    http::Client,
    page,
    program::{Kind, Program},
    tsdb::{READY_LIMIT, is_wanted, rest, send},
};
use crate::run::target;

/// What is asked beside the lists.
const EXTREMES: [&str; 2] = ["hostile", "dashboard"];
/// Prometheus looks once a minute whether there is something to compact.
const REST_SECONDS_MIN: u64 = 70;

/// What was loaded, so that a later run can ask again.
#[derive(Serialize, Deserialize, PartialEq)]
struct Stamp {
    size: Size,
    spans: Spans,
    samples: u64,
}

/// `cargo xtask bench promql`. Gives why it cannot run here, if so; fails when an answer differs
/// from Prometheus'.
pub fn run(args: &Bench, vedette: &Path) -> Result<Option<String>> {
    let lists = match lists()? {
        Ok(lists) => lists,
        Err(absent) => return Ok(Some(absent)),
    };
    let page = match page::node_page()? {
        Ok(page) => page,
        Err(absent) => return Ok(Some(absent)),
    };
    let known = || LISTS.into_iter().chain(EXTREMES);
    ensure!(
        args.load.iter().all(|l| known().any(|k| k == l)),
        "--load names none of {}",
        known().collect::<Vec<_>>().join(", ")
    );
    let (size, effort) = if args.small {
        (Size::SMALL, Effort { rounds: 1, cpu_min: Duration::from_millis(1) })
    } else if args.full {
        (Size::FULL, Effort { rounds: 6, cpu_min: Duration::from_millis(1_100) })
    } else {
        (Size::MIDDLE, Effort { rounds: 4, cpu_min: Duration::from_millis(400) })
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|k| is_wanted(&args.only, k.name())).collect();
    ensure!(!kinds.is_empty(), "--only names none of prometheus, victoria-metrics, vedette");
    let folder = target().join(if args.small { "bench/promql-small" } else { "bench/promql" });
    let (mut subjects, spans) = if args.reuse {
        reuse(&kinds, vedette, &size, &folder)?
    } else {
        load(&kinds, vedette, &size, &lists.node_metrics(), &page, &folder, args.small)?
    };

    let mut report = Report::default();
    let mut cases = lists.cases(&args.load, &spans)?;
    cases.retain(|c| args.query.is_empty() || args.query.iter().any(|q| c.name.contains(q.as_str())));
    report::print_head();
    for case in cases {
        let outcome = measure(&mut subjects, &|kind| case.target(kind), effort)
            .with_context(|| format!("{}: {}", case.list, case.name))?;
        report.add(case, outcome);
    }
    report.print_means();
    let is_asked = |what: &str| args.query.is_empty() && is_wanted(&args.load, what);
    if is_asked("dashboard") {
        extremes::dashboard_rows(&mut subjects, &spans, effort.rounds.min(3))?;
    }
    if let Some(heaviest) = report.heaviest() {
        // Anew, so that nothing is there that queries before it have left.
        println!();
        for subject in &mut subjects {
            subject.program.kill_and_restart(READY_LIMIT)?;
            subject.client = Client::new(subject.program.address);
            rest(&subject.program.process, if args.small { 1 } else { 5 }, 0)?;
        }
        extremes::memory_row(&mut subjects, heaviest)?;
    }
    if is_asked("hostile") {
        extremes::hostile_rows(&mut subjects, &spans)?;
    }
    drop(subjects);
    if args.small {
        fs::remove_dir_all(&folder)?;
    }
    let differing = report.differences.len();
    ensure!(differing == 0, "Vedette answers {differing} queries otherwise than Prometheus");
    Ok(None)
}

/// Starts the programs over what the run before has loaded.
fn reuse(kinds: &[Kind], vedette: &Path, size: &Size, folder: &Path) -> Result<(Vec<Subject>, Spans)> {
    let stamp = fs::read_to_string(folder.join("stamp.json")).context("nothing is there to be used again")?;
    let stamp: Stamp = serde_json::from_str(&stamp)?;
    ensure!(stamp.size == *size, "what is there was loaded in another size");
    println!("{} samples that were loaded before", stamp.samples);
    let mut subjects = Vec::new();
    for &kind in kinds {
        let mut program = Program::start(kind, &kind.binary(vedette)?, &folder.join(kind.name()))?;
        program.wait_ready(READY_LIMIT)?;
        rest(&program.process, 5, 0)?;
        subjects.push(Subject { kind, client: Client::new(program.address), program });
    }
    Ok((subjects, stamp.spans))
}

/// Starts the programs and loads them.
fn load(
    kinds: &[Kind],
    vedette: &Path,
    size: &Size,
    node_metrics: &[String],
    page: &[page::Series],
    folder: &Path,
    small: bool,
) -> Result<(Vec<Subject>, Spans)> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let spans = Spans::new(size, SystemClock.unix_ms());
    let load = data::write(size, &spans, node_metrics, page, &folder.join("load"))?;
    println!(
        "{} series, {:.1} M samples in {} requests; {size:?}",
        load.all_series,
        load.samples as f64 / 1e6,
        load.requests
    );
    let mut subjects = Vec::new();
    for &kind in kinds {
        eprintln!("loading {} ...", kind.title());
        let mut program = Program::start(kind, &kind.binary(vedette)?, &folder.join(kind.name()))?;
        program.wait_ready(READY_LIMIT)?;
        send(&load, &program).with_context(|| kind.title())?;
        // What was just written must be found.
        if kind == Kind::VictoriaMetrics {
            Client::new(program.address).get("/internal/force_flush")?;
        }
        let at_least = if kind == Kind::Prometheus && !small { REST_SECONDS_MIN } else { 0 };
        rest(&program.process, if small { 1 } else { 5 }, at_least)?;
        subjects.push(Subject { kind, client: Client::new(program.address), program });
    }
    for file in &load.files {
        fs::remove_file(file)?;
    }
    let stamp = Stamp { size: *size, spans, samples: load.samples };
    fs::write(folder.join("stamp.json"), serde_json::to_vec(&stamp)?)?;
    Ok((subjects, spans))
}
