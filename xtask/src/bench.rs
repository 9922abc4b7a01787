//! `cargo xtask bench`: tables of measured figures.

mod http;
mod load;
mod page;
mod process;
mod program;
mod table;
mod tsdb;

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args;

use crate::run::{cargo, check, dist, target};

/// `cargo xtask bench`
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// Which: `idle`, `tsdb`, `eventdb`, `host`
    pub name: String,
    /// `tsdb`: the load on which the goals are judged (tens of minutes) instead of a short one
    #[arg(long)]
    pub full: bool,
    /// `tsdb`: only whether all of it works, in seconds
    #[arg(long, conflicts_with = "full")]
    pub small: bool,
    /// `tsdb`: only this program: `prometheus`, `victoria-metrics`, `vedette`
    #[arg(long)]
    pub only: Vec<String>,
    /// `tsdb`: only this load: `steady`, `wide`, `churn`
    #[arg(long)]
    pub load: Vec<String>,
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
        "tsdb" if cfg!(debug_assertions) => {
            dist()?;
            let mut command =
                cargo(&["run", "--release", "--quiet", "--package", "xtask", "--", "bench", "tsdb"]);
            for (flag, set) in [("--full", args.full), ("--small", args.small)] {
                command.args(set.then_some(flag));
            }
            command.args(args.only.iter().map(|o| format!("--only={o}")));
            command.args(args.load.iter().map(|l| format!("--load={l}")));
            check(&mut command)
        }
        "tsdb" => {
            if let Some(reason) = tsdb::run(args, &target().join("release/vedette"))? {
                println!("SKIPPED bench tsdb: {reason}");
            }
            Ok(())
        }
        "eventdb" => example("vedette-eventdb", "search_time"),
        "host" => example("vedette-host", "pass_cost"),
        other => bail!("no bench is called {other:?}; there are: idle, tsdb, eventdb, host"),
    }
}

/// The bench of the metric store with a load so small that it is a test. Gives why it cannot run
/// here, if so.
pub fn small(vedette: &Path) -> Result<Option<String>> {
    let args = Bench { name: "tsdb".into(), full: false, small: true, only: Vec::new(), load: Vec::new() };
    tsdb::run(&args, vedette)
}

fn example(package: &str, name: &str) -> Result<()> {
    check(&mut cargo(&["run", "--release", "--package", package, "--example", name]))
}
