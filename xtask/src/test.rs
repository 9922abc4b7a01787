//! The lanes: what runs in each, how long it took, what was skipped.
//!
//! A test that cannot run here prints `SKIPPED name: reason` and passes; the lane counts and
//! names every one of them at its end, so that a skip never looks like a success.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{
    Lane, bench, debian, fuzz,
    run::{cargo, check, command, release_binary, target},
    tidy, web,
};

/// How long building a reference program may take, as `timeout` takes it.
const GO_BUILD_SECONDS_MAX: &str = "1200";

/// How long each fuzz target runs with every change.
const FUZZ_SECONDS: u32 = 3;

/// Runs lanes one after another; all run even if one fails.
pub fn lanes(lanes: &[Lane]) -> Result<()> {
    let mut report = Report::default();
    for lane in lanes {
        report.step(lane_name(*lane), |skips| lane_run(*lane, skips));
    }
    report.finish()
}

/// `cargo xtask ci`
pub fn ci() -> Result<()> {
    let mut report = Report::default();
    report.step("tidy", |_| tidy::tidy());
    for lane in [Lane::Fast, Lane::E2e, Lane::Peers] {
        report.step(lane_name(lane), |skips| lane_run(lane, skips));
    }
    report.step("fuzz", fuzz_briefly);
    report.finish()
}

/// A look with every change; who searches for long calls `cargo xtask fuzz`.
fn fuzz_briefly(skips: &mut Vec<String>) -> Result<()> {
    if Command::new("c++").arg("--version").output().is_err() {
        skips.push("fuzz: there is no C++ compiler to build libFuzzer with; install g++".into());
        return Ok(());
    }
    fuzz::fuzz(None, FUZZ_SECONDS)
}

fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Fast => "fast",
        Lane::E2e => "e2e",
        Lane::Peers => "peers",
    }
}

fn lane_run(lane: Lane, skips: &mut Vec<String>) -> Result<()> {
    match lane {
        Lane::Fast => fast(skips),
        Lane::E2e => e2e_with(None, skips),
        Lane::Peers => peers(skips),
    }
}

fn fast(skips: &mut Vec<String>) -> Result<()> {
    // What answers like Prometheus is asked by its own promtool; where that cannot be had, the
    // test that wants it says so.
    debian::unpacked(&["prometheus"])?;
    let mut tests =
        cargo(&["test", "--locked", "--workspace", "--exclude", "vedette-e2e", "--", "--show-output"]);
    watched(&mut tests, skips)?;
    web::install()?;
    check(&mut command("npm", &["--prefix", "ui", "run", "lint"]))?;
    check(&mut command("npm", &["--prefix", "ui", "test"]))
}

/// `cargo xtask e2e [NAME]`
pub fn e2e(name: Option<&str>) -> Result<()> {
    let mut report = Report::default();
    report.step("e2e", |skips| e2e_with(name, skips));
    report.finish()
}

fn e2e_with(name: Option<&str>, skips: &mut Vec<String>) -> Result<()> {
    web::build()?;
    let binary = release_binary()?;
    let parts = debian::prepare()?;
    let mut tests =
        cargo(&["test", "--locked", "--package", "vedette-e2e", "--", "--show-output", "--test-threads=1"]);
    tests.env("VEDETTE_BINARY", &binary).env("VEDETTE_PARTS", &parts.root);
    tests.env("VEDETTE_MISSING", parts.missing.join("; "));
    if let Some(name) = name {
        tests.arg(name);
    }
    watched(&mut tests, skips)?;
    if name.is_none_or(|name| "bench tsdb".contains(name)) {
        skips.extend(bench::small(&binary)?.map(|reason| format!("bench tsdb: {reason}")));
    }
    Ok(())
}

fn peers(skips: &mut Vec<String>) -> Result<()> {
    // The reference programs are Go modules; a machine without Go cannot build them.
    if Command::new("go").arg("version").output().is_err() {
        skips.push(
            "peers lane: there is no Go; install Go 1.26 or later to build the reference programs".into(),
        );
        return Ok(());
    }
    let tools = target().join("peers/go");
    std::fs::create_dir_all(&tools)?;
    // The first build fetches some hundred modules, which a slow proxy can stretch without end.
    let mut build = Command::new("timeout");
    build.args([GO_BUILD_SECONDS_MAX, "go", "build", "-o"]).arg(&tools);
    build.args(["github.com/prometheus/prometheus/cmd/promtool", "./blocks"]);
    build.current_dir(crate::run::root().join("tests/peers")).env("CGO_ENABLED", "0");
    if let Err(error) = check(&mut build) {
        skips.push(format!("peers lane: promtool cannot be built here: {error:#}"));
        return Ok(());
    }
    let binary = release_binary()?;
    let mut tests = cargo(&[
        "test",
        "--locked",
        "--package",
        "vedette-e2e",
        "--test",
        "peers",
        "--",
        "--show-output",
        "--test-threads=1",
    ]);
    tests.env("VEDETTE_BINARY", binary).env("VEDETTE_PEERS", &tools);
    watched(&mut tests, skips)?;
    // Sample by sample, against the packages of Prometheus.
    let mut tests =
        cargo(&["test", "--locked", "--package", "vedette-tsdb", "--lib", "blocks_of_prometheus"]);
    tests.env("VEDETTE_PEERS", tools);
    watched(&mut tests, skips)
}

/// Runs a test command, passes on what it prints and collects its skips.
fn watched(command: &mut Command, skips: &mut Vec<String>) -> Result<()> {
    eprintln!("$ {command:?}");
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
    let stdout = child.stdout.take().context("BUG: standard output is piped")?;
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        if let Some(skip) = String::from_utf8_lossy(&line).trim().strip_prefix("SKIPPED ") {
            skips.push(skip.to_owned());
        }
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("tests failed ({status})");
    }
    Ok(())
}

#[derive(Default)]
struct Report {
    steps: Vec<(String, Duration, Option<anyhow::Error>)>,
    skips: Vec<String>,
}

impl Report {
    #[expect(clippy::disallowed_methods, reason = "this is how long a developer waited, not product time")]
    fn step(&mut self, name: &str, work: impl FnOnce(&mut Vec<String>) -> Result<()>) {
        let start = std::time::Instant::now();
        let error = work(&mut self.skips).err();
        if let Some(error) = &error {
            eprintln!("{name}: {error:#}");
        }
        self.steps.push((name.to_owned(), start.elapsed(), error));
    }

    fn finish(self) -> Result<()> {
        println!();
        for (name, time, error) in &self.steps {
            let verdict = error.as_ref().map_or_else(|| "ok".to_owned(), |e| format!("FAILED: {e:#}"));
            println!("{name:6} {:>5.0} s  {verdict}", time.as_secs_f64());
        }
        println!("skipped: {}", self.skips.len());
        for skip in &self.skips {
            println!("  {skip}");
        }
        let failed = self.steps.iter().filter(|s| s.2.is_some()).count();
        if failed > 0 {
            bail!("{failed} of {} steps failed", self.steps.len());
        }
        Ok(())
    }
}
