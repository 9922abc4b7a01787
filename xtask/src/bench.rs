//! `cargo xtask bench`: tables of measured figures.

mod host;
pub mod http;
mod load;
mod page;
pub mod process;
mod program;
mod promql;
mod scrape;
mod state;
mod table;
mod tsdb;

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    built::TestPrograms,
    run::{cargo, check, dist, target, vedette_binary},
};

/// `cargo xtask bench`
#[derive(Debug, Clone, Default, Args)]
pub struct Bench {
    /// Which: `idle`, `tsdb`, `promql`, `scrape`, `eventdb`, `host`, `capacity`, `state`
    pub name: String,
    /// `tsdb`, `promql`, `scrape`: the load on which the goals are judged (tens of minutes) instead of a short one
    #[arg(long)]
    pub full: bool,
    /// `tsdb`, `promql`, `scrape`, `host`, `capacity`, `state`: only whether all of it works, in seconds
    #[arg(long, conflicts_with = "full")]
    pub small: bool,
    /// `tsdb`, `promql`, `scrape`: only this program: `prometheus`, `victoria-metrics`, `vedette`
    #[arg(long)]
    pub only: Vec<String>,
    /// `tsdb`: only this load: `steady`, `wide`, `churn`; `promql`: only this list: `side-by-side`,
    /// `alerts`, `prombench`, `engine`, `join`, `hostile`, `dashboard`; `scrape`: only `few` targets or `many`
    #[arg(long)]
    pub load: Vec<String>,
    /// `promql`: only queries whose name contains this
    #[arg(long)]
    pub query: Vec<String>,
    /// `promql`: ask the stores that the run before has loaded
    #[arg(long, conflicts_with = "small")]
    pub reuse: bool,
}

/// `cargo xtask bench NAME`
pub fn bench(args: &Bench) -> Result<()> {
    match args.name.as_str() {
        "idle" => {
            dist()?;
            check(
                cargo(&[
                    "test",
                    "--release",
                    "--package",
                    "vedette-e2e",
                    "--test",
                    "idle",
                    "--",
                    "--nocapture",
                ])
                .env("VEDETTE_BENCH", "1")
                .env("VEDETTE_BINARY", target().join("release/vedette")),
            )
        }
        // The load is simulated here, which takes an optimized build.
        name @ ("tsdb" | "promql" | "scrape" | "state") if cfg!(debug_assertions) => {
            dist()?;
            let mut command =
                cargo(&["run", "--release", "--quiet", "--package", "xtask", "--", "bench", name]);
            for (flag, set) in [("--full", args.full), ("--small", args.small), ("--reuse", args.reuse)] {
                command.args(set.then_some(flag));
            }
            command.args(args.only.iter().map(|o| format!("--only={o}")));
            command.args(args.load.iter().map(|l| format!("--load={l}")));
            command.args(args.query.iter().map(|q| format!("--query={q}")));
            check(&mut command)
        }
        "tsdb" => {
            if let Some(reason) = tsdb::run(args, &target().join("release/vedette"))? {
                println!("SKIPPED bench tsdb: {reason}");
            }
            Ok(())
        }
        "promql" => {
            if let Some(reason) = promql::run(args, &target().join("release/vedette"))? {
                println!("SKIPPED bench promql: {reason}");
            }
            Ok(())
        }
        "scrape" => {
            if let Some(reason) = scrape::run(args, &target().join("release/vedette"))? {
                println!("SKIPPED bench scrape: {reason}");
            }
            Ok(())
        }
        "eventdb" => example("vedette-eventdb", "search_time"),
        "host" => {
            if let Some(reason) = host::run(args, &vedette_binary()?)? {
                println!("SKIPPED bench host: {reason}");
            }
            // Its parts: what the readers of machine and containers take, how soon these are known.
            if args.small { Ok(()) } else { example("vedette-host", "pass_cost") }
        }
        "capacity" => capacity(args.small),
        "state" => state::run(args, &target().join("release/vedette")),
        other => bail!(
            "no bench is called {other:?}; there are: idle, tsdb, promql, scrape, eventdb, host, capacity, state"
        ),
    }
}

/// The bench of capacity is an example of its package.
const CAPACITY: &str = "what_if_cost";

/// Benches with loads so small that they are tests.
pub const SMALL: [&str; 6] = ["tsdb", "promql", "scrape", "host", "capacity", "state"];

/// One of them, with what was built for tests. Gives why it cannot run here, if so.
pub fn small(name: &str, programs: &TestPrograms) -> Result<Option<String>> {
    let args = Bench { name: name.into(), small: true, ..Bench::default() };
    let vedette = &programs.program("vedette")?;
    match name {
        "tsdb" => tsdb::run(&args, vedette),
        "promql" => promql::run(&args, vedette),
        "host" => host::run(&args, vedette),
        "capacity" => {
            check(Command::new(programs.program(CAPACITY)?).arg("--small"))?;
            Ok(None)
        }
        "state" => state::run(&args, vedette).map(|()| None),
        _ => scrape::run(&args, vedette),
    }
}

/// What if nodes fail; the small load needs no optimized build.
fn capacity(small: bool) -> Result<()> {
    if !small {
        return example("vedette-capacity", CAPACITY);
    }
    let args = ["run", "--quiet", "--package", "vedette-capacity", "--example", CAPACITY, "--", "--small"];
    check(&mut cargo(&args))
}

fn example(package: &str, name: &str) -> Result<()> {
    check(&mut cargo(&["run", "--release", "--package", package, "--example", name]))
}
