//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage counters and runs them.
//!
//! libFuzzer comes with a crate. What is found lies in `target/fuzz/found`, what covers new code in
//! `target/fuzz/corpus`.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{
    built::built,
    promql,
    run::{cargo, check, output, root, target, vedette_binary},
};

/// `cargo xtask fuzz`
#[derive(Debug, clap::Args)]
pub struct Fuzz {
    /// Name of the target; `promql-diff` sends random queries to Prometheus and to Vedette
    target: Option<String>,
    /// How long each target runs; default 60 without --queries
    #[arg(long)]
    seconds: Option<u32>,
    /// `promql-diff`: how many queries
    #[arg(long)]
    queries: Option<u64>,
    /// `promql-diff`: what the random numbers begin with; default: another every time
    #[arg(long)]
    seed: Option<u64>,
    /// `promql-diff`: only this query of the seed, as a finding names it
    #[arg(long)]
    only: Option<u64>,
    /// `promql-diff`: no native histograms
    #[arg(long)]
    floats: bool,
}

/// How long a target runs that is called by hand.
const SECONDS: u32 = 60;
/// The program of all targets.
const PROGRAM: &str = "vedette-fuzz";
/// The target that is no decoder.
const PROMQL_DIFF: &str = "promql-diff";

/// Runs what was asked for.
pub fn run(options: &Fuzz) -> Result<()> {
    if options.target.as_deref() != Some(PROMQL_DIFF) {
        return fuzz(options.target.as_deref(), options.seconds.unwrap_or(SECONDS));
    }
    let limited = options.queries.is_some() || options.only.is_some();
    let seconds = options.seconds.or((!limited).then_some(SECONDS));
    let diff = promql::DiffOptions {
        queries: options.queries.unwrap_or(u64::MAX),
        limit: seconds.map(|s| Duration::from_secs(s.into())),
        seed: options.seed.unwrap_or_else(|| vedette_sys::Random::from_system().below(1 << 32)),
        only: options.only,
        floats: options.floats,
    };
    promql::diff(&diff, &vedette_binary()?)
}

/// Longest input and most memory of a run.
const INPUT_BYTES_MAX: u32 = 8192;
const MEMORY_MIB_MAX: u32 = 2048;

/// Runs one target, or all, for `seconds` each. An input once found bad is tried first.
pub fn fuzz(name: Option<&str>, seconds: u32) -> Result<()> {
    let binary = build()?;
    let listed = output(Command::new(&binary).env("VEDETTE_FUZZ_TARGET", "list"))?;
    let targets: Vec<Vec<&str>> = listed
        .lines()
        .map(|line| line.split_whitespace().collect())
        .filter(|words: &Vec<&str>| name.is_none_or(|name| words.first() == Some(&name)))
        .collect();
    if targets.is_empty() {
        bail!("there is no fuzz target of that name; there are:\n{listed}");
    }
    let mut failed = Vec::new();
    for words in &targets {
        let Some((name, seeds)) = words.split_first() else { continue };
        if let Err(error) = run_target(&binary, name, seeds, seconds) {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    println!("{} passed, {} failed", targets.len() - failed.len(), failed.len());
    if !failed.is_empty() {
        bail!("found by {}: see target/fuzz/found", failed.join(", "));
    }
    Ok(())
}

fn run_target(binary: &PathBuf, name: &str, seeds: &[&str], seconds: u32) -> Result<()> {
    let corpus = target().join("fuzz/corpus").join(name);
    let found = target().join("fuzz/found").join(name);
    // What was found and mended stays tried for ever.
    let kept = root().join("fuzz/regressions").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let made = target().join("fuzz/made").join(name);
    fs::create_dir_all(&made)?;
    check(Command::new(binary).env("VEDETTE_FUZZ_TARGET", name).env("VEDETTE_FUZZ_SEEDS", &made))?;
    // A program begins with the peak of memory of the one that starts it, which libFuzzer takes for its
    // own: it is started by a shell, whose children begin anew.
    let mut fuzzer = Command::new("sh");
    fuzzer.args(["-c", "\"$0\" \"$@\"; exit $?"]).arg(binary);
    fuzzer.env("VEDETTE_FUZZ_TARGET", name).env("RUST_BACKTRACE", "1").arg(&corpus);
    fuzzer.args(seeds.iter().map(|s| root().join(s)).chain([kept, made]).filter(|folder| folder.is_dir()));
    fuzzer.args([
        format!("-artifact_prefix={}/", found.display()),
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        "-timeout=10".to_owned(),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ]);
    check(&mut fuzzer)
}

/// Fuzzing executes much: more optimized than tests, which are compiled more often.
const OPTIMIZED: (&str, &str) = ("CARGO_PROFILE_DEV_OPT_LEVEL", "1");

/// Asked for as one of the tests of all crates, so that foreign crates have the features they have there.
pub fn build() -> Result<PathBuf> {
    let mut build = cargo(&["test", "--locked", "--workspace", "--no-run", "--bin", PROGRAM]);
    build.args(["--features", "vedette-fuzz/fuzzing"]).env(OPTIMIZED.0, OPTIMIZED.1);
    build.env("RUSTC_WORKSPACE_WRAPPER", root().join("fuzz/rustc-with-counters"));
    let built = built(&mut build).context("fuzz targets need a C++ compiler besides Rust")?;
    let program = built.into_iter().find(|program| program.name == PROGRAM);
    Ok(program.context("cargo names no fuzz targets")?.executable)
}
