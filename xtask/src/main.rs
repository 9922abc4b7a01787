//! The one door to all automation: `cargo xtask <command>`.
//!
//! `.ci/run` calls `cargo xtask ci`; people call `up` and `test`. Everything that a command
//! needs beyond git, a C compiler, Rust and Node it fetches itself, or it says what is missing.

mod ahead;
mod bench;
mod built;
mod conformance;
mod debian;
mod docs;
mod expositions;
mod fuzz;
mod guest;
mod jvm;
mod layers;
mod otel;
mod peers;
mod promql;
mod run;
mod sim;
mod test;
mod tidy;
mod web;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, starts and tests Vedette", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the web app and the release binary, then start `vedette up`
    Up {
        /// Arguments for `vedette up`, after `--`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Run tests; without a lane: fast and e2e
    Test {
        /// Only this lane
        #[arg(long, value_enum)]
        lane: Option<Lane>,
    },
    /// Run what the continuous integration runs: tidy and all lanes
    Ci,
    /// Check formatting, lints, layers, documents and links
    Tidy,
    /// Write the generated files (API types, reference pages) anew
    Gen,
    /// Run a conformance suite and count its cases
    Conformance {
        /// Name of the suite
        suite: String,
        /// Folder with the cases instead of `../shared/conformance/SUITE`
        dir: Option<PathBuf>,
    },
    /// Run end-to-end tests, all or those whose name contains NAME
    E2e {
        /// Part of a test's name
        name: Option<String>,
    },
    /// Fuzz the decoders of foreign bytes, all or one; or PromQL's answers against Prometheus'
    Fuzz(fuzz::Fuzz),
    /// Simulate the metric store on a disk that fails at every write
    Sim(sim::Sim),
    /// Print a table of measured figures
    Bench(bench::Bench),
    /// Build the release binary at `target/release/vedette`
    Dist,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Lane {
    /// Unit, property, simulation and conformance tests
    Fast,
    /// The running program against real parts
    E2e,
    /// Against reference programs that are built here
    Peers,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Up { args } => run::up(&args),
        Command::Test { lane: None } => test::lanes(&[Lane::Fast, Lane::E2e]),
        Command::Test { lane: Some(lane) } => test::lanes(&[lane]),
        Command::Ci => test::ci(),
        Command::Tidy => tidy::tidy(),
        Command::Gen => docs::generate(),
        Command::Conformance { suite, dir } => conformance::run(&suite, dir),
        Command::E2e { name } => test::e2e(name.as_deref()),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Sim(options) => sim::sim(&options),
        Command::Bench(args) => bench::bench(&args),
        Command::Dist => run::dist(),
    }
}
