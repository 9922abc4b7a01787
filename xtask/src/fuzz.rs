//! `cargo xtask fuzz`: builds the targets of `fuzz/` with coverage counters and runs them.
//!
//! The stable compiler can do this: the counters are a pass of LLVM, and libFuzzer comes with a
//! crate. What is found lies in `target/fuzz/found`, what covers new code in `target/fuzz/corpus`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::run::{check, output, root, target};

/// What makes LLVM count edges and report comparisons, and libFuzzer find both.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

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
        if let Err(error) = run(&binary, name, seeds, seconds) {
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

fn run(binary: &PathBuf, name: &str, seeds: &[&str], seconds: u32) -> Result<()> {
    let corpus = target().join("fuzz/corpus").join(name);
    let found = target().join("fuzz/found").join(name);
    // What was found and mended stays tried for ever.
    let kept = root().join("fuzz/regressions").join(name);
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let made = target().join("fuzz/made").join(name);
    fs::create_dir_all(&made)?;
    check(Command::new(binary).env("VEDETTE_FUZZ_TARGET", name).env("VEDETTE_FUZZ_SEEDS", &made))?;
    let mut fuzzer = Command::new(binary);
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

fn build() -> Result<PathBuf> {
    let host = output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let folder = target().join("fuzz");
    let mut build = Command::new("cargo");
    build.args(["build", "--locked", "--release", "--manifest-path"]).arg(root().join("fuzz/Cargo.toml"));
    // Named, so that build scripts and procedural macros are made without counters.
    build.args(["--target", host.trim(), "--target-dir"]).arg(&folder).env("RUSTFLAGS", COVERAGE);
    check(&mut build).context("fuzz targets need a C++ compiler besides Rust")?;
    Ok(folder.join(host.trim()).join("release/vedette-fuzz"))
}
