//! `cargo xtask sim`: the simulation of the metric store, optimized, for as long as you like.
//!
//! The same cases run small as an ordinary test; where they stand, and what a case is, says
//! `crates/tsdb/tests/simulation`.

use anyhow::Result;

use crate::run::{cargo, check};

/// What is simulated.
#[derive(clap::Args)]
pub struct Sim {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds; without this, --seconds and --crash: 100
    #[arg(long)]
    seeds: Option<u64>,
    /// How many seconds at most
    #[arg(long)]
    seconds: Option<u64>,
    /// Only this fault: crash, error, read, full, flip or lie
    #[arg(long)]
    fault: Option<String>,
    /// Only the fault at this operation or place, as a finding names it
    #[arg(long)]
    crash: Option<u64>,
}

/// Builds the simulation and runs it; findings are printed with the command that repeats them.
pub fn sim(options: &Sim) -> Result<()> {
    let mut command = cargo(&[
        "run",
        "--quiet",
        "--locked",
        "--release",
        "--package",
        "vedette-tsdb",
        "--example",
        "simulate",
        "--",
    ]);
    let seeds = options.seeds.or(match options {
        Sim { crash: Some(_), .. } => Some(1),
        Sim { seconds: None, .. } => Some(100),
        _ => None,
    });
    let numbers = [
        ("--seed", Some(options.seed)),
        ("--seeds", seeds),
        ("--seconds", options.seconds),
        ("--crash", options.crash),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.arg(name).arg(number.to_string());
        }
    }
    if let Some(fault) = &options.fault {
        command.arg("--fault").arg(fault);
    }
    check(&mut command)
}
