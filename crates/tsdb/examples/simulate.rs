//! Runs the simulation of `tests/simulation` for as long as you like: `cargo xtask sim`.
//!
//! Arguments: `--seed S` the first seed, `--seeds N` how many, `--seconds T` how long at most,
//! `--fault NAME` only that fault, `--crash N` only at that place. Exit status 1 when something
//! does not hold, 3 when the arguments are not understood.

#[path = "../tests/simulation/engine/mod.rs"]
mod engine;

use std::{
    collections::HashMap,
    io::Write,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use engine::{Case, FAULTS, Fault, places, run};
use vedette_sys::{Clock, SystemClock};

/// Findings after which there is no use in going on.
const FINDINGS_MAX: u64 = 10;

/// Pause between two reports of progress.
const REPORT_EVERY: Duration = Duration::from_secs(10);

struct Plan {
    seed: u64,
    seeds: u64,
    seconds: u64,
    faults: Vec<Fault>,
    place: Option<u64>,
}

fn plan(arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let words: Vec<String> = arguments.collect();
    let mut options: HashMap<&str, &str> = HashMap::new();
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        options.insert(name.strip_prefix("--")?, value);
    }
    let mut number = |name| options.remove(name).map(|value| value.parse::<u64>().ok());
    let plan = Plan {
        seed: number("seed").unwrap_or(Some(0))?,
        seeds: number("seeds").unwrap_or(Some(u64::MAX))?,
        seconds: number("seconds").unwrap_or(Some(u64::MAX))?,
        place: match number("crash") {
            Some(place) => Some(place?),
            None => None,
        },
        faults: match options.remove("fault") {
            Some(name) => vec![FAULTS.into_iter().find(|f| f.name() == name)?],
            None => FAULTS.to_vec(),
        },
    };
    options.is_empty().then_some(plan)
}

/// What all threads work on.
struct Progress {
    next_seed: AtomicU64,
    seeds: AtomicU64,
    cases: AtomicU64,
    findings: AtomicU64,
    /// Threads that have something to do.
    busy: AtomicU64,
    stop: AtomicBool,
}

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("usage: simulate [--seed S] [--seeds N] [--seconds T] [--fault NAME] [--crash N]");
        return ExitCode::from(3);
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let progress = Progress {
        next_seed: AtomicU64::new(0),
        seeds: AtomicU64::new(0),
        cases: AtomicU64::new(0),
        findings: AtomicU64::new(0),
        busy: AtomicU64::new(threads),
        stop: AtomicBool::new(false),
    };
    let start = SystemClock.monotonic();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                work(&plan, &progress);
                progress.busy.fetch_sub(1, Ordering::AcqRel);
            });
        }
        let mut reported = start;
        while progress.busy.load(Ordering::Acquire) > 0 {
            std::thread::sleep(Duration::from_millis(50));
            let now = SystemClock.monotonic();
            if now.since(start).as_secs() >= plan.seconds {
                progress.stop.store(true, Ordering::Release);
            }
            if now.since(reported) >= REPORT_EVERY {
                reported = now;
                report(&progress, now.since(start));
            }
        }
    });
    report(&progress, SystemClock.monotonic().since(start));
    if progress.findings.load(Ordering::Acquire) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn report(progress: &Progress, time: Duration) {
    let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
    let (seeds, cases, findings) = (get(&progress.seeds), get(&progress.cases), get(&progress.findings));
    println!("{} s: {seeds} seeds, {cases} cases, {findings} findings", time.as_secs());
    let _ = std::io::stdout().flush();
}

fn work(plan: &Plan, progress: &Progress) {
    loop {
        let number = progress.next_seed.fetch_add(1, Ordering::AcqRel);
        if number >= plan.seeds || progress.stop.load(Ordering::Acquire) {
            return;
        }
        let seed = plan.seed.wrapping_add(number);
        for &fault in &plan.faults {
            let places = match plan.place {
                Some(place) => place..=place,
                None => match places(seed, fault) {
                    Ok(count) => 1..=count,
                    Err(error) => {
                        finding(progress, &format!("--seed {seed}, without a fault"), &error);
                        continue;
                    }
                },
            };
            for place in places {
                if progress.stop.load(Ordering::Acquire) {
                    return;
                }
                let case = Case { seed, fault, place };
                if let Err(error) = run(case) {
                    finding(progress, &case.to_string(), &error);
                }
                progress.cases.fetch_add(1, Ordering::AcqRel);
            }
        }
        progress.seeds.fetch_add(1, Ordering::AcqRel);
    }
}

fn finding(progress: &Progress, case: &str, error: &str) {
    println!("cargo xtask sim {case}\n  {error}");
    if progress.findings.fetch_add(1, Ordering::AcqRel) + 1 >= FINDINGS_MAX {
        progress.stop.store(true, Ordering::Release);
    }
}
