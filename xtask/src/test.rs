//! The lanes: what runs in each, how long it took, what was skipped.
//!
//! A test that cannot run here prints `SKIPPED name: reason` and passes; the lane counts and
//! names every one of them at its end, so that a skip never looks like a success.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    Lane, ahead, bench,
    built::TestPrograms,
    conformance, debian, fuzz, guest, jvm, otel, peers, promql,
    run::{cargo, check, command},
    tidy, web,
};

/// Random queries that Prometheus and Vedette answer with every change, and what they begin with:
/// the same every time, so that a change answers for itself only.
const PROMQL_DIFF_QUERIES: u64 = 10_000;
const PROMQL_DIFF_SEED: u64 = 1;

/// One file of tests that fails must not hide what the others would tell.
const ALL: &str = "--no-fail-fast";

/// The folder of end-to-end tests.
const E2E: &str = "tests/e2e";
/// Tests that start programs do so one after the other.
const ONE_BY_ONE: [&str; 2] = ["--show-output", "--test-threads=1"];

/// How long each fuzz target runs with every change.
const FUZZ_SECONDS: u32 = 3;

/// Runs lanes one after another; all run even if one fails.
pub fn lanes(lanes: &[Lane]) -> Result<()> {
    let mut report = Report::default();
    for lane in lanes {
        report.lane(*lane);
    }
    report.finish()
}

/// `cargo xtask ci`
pub fn ci() -> Result<()> {
    let mut report = Report::default();
    thread::scope(|scope| {
        scope.spawn(ahead::fetch);
        report.step("tidy", |_| tidy::tidy());
    });
    report.lane(Lane::Fast);
    thread::scope(|scope| {
        scope.spawn(ahead::build);
        report.lane(Lane::E2e);
    });
    report.lane(Lane::Peers);
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

fn fast(skips: &mut Vec<String>) -> Result<()> {
    // What answers like Prometheus is asked by its own promtool; where that cannot be had, the
    // test that wants it says so.
    debian::unpacked(&["prometheus"])?;
    // Before the program is built, which holds it.
    web::build()?;
    let mut tests =
        cargo(&["test", "--locked", "--workspace", "--exclude", "vedette-e2e", ALL, "--", "--show-output"]);
    watched(&mut tests, skips)?;
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
    let parts = debian::prepare()?;
    let programs = TestPrograms::build()?;
    let binary = programs.program("vedette")?;
    let mut failed = 0;
    for mut tests in programs.commands(E2E) {
        tests.args(ONE_BY_ONE).env("VEDETTE_BINARY", &binary).env("VEDETTE_PARTS", &parts.root);
        tests.env("VEDETTE_MISSING", parts.missing.join("; "));
        opentelemetry(&mut tests);
        // One file of tests that fails must not hide what the others would tell.
        failed += usize::from(watched(tests.args(name), skips).is_err());
    }
    ensure!(failed == 0, "{failed} files of tests failed");
    // Exports, to Debian's servers.
    let mut tests = sinks(&programs)?;
    watched(tests.args(name).args(["--skip", "jvm"]).env("VEDETTE_PARTS", &parts.root), skips)?;
    for bench in bench::SMALL {
        if name.is_none_or(|name| format!("bench {bench}").contains(name)) {
            skips.extend(bench::small(bench, &programs)?.map(|reason| format!("bench {bench}: {reason}")));
        }
    }
    Ok(())
}

/// The tests that export to real servers.
fn sinks(programs: &TestPrograms) -> Result<Command> {
    let mut tests = programs.command("crates/remote", "sinks")?;
    tests.arg("--ignored").args(ONE_BY_ONE);
    Ok(tests)
}

fn peers(skips: &mut Vec<String>) -> Result<()> {
    web::build()?;
    let programs = TestPrograms::build()?;
    let binary = programs.program("vedette")?;
    match jvm::artefacts() {
        Ok(folder) => watched(sinks(&programs)?.arg("jvm").env("VEDETTE_JVM", folder), skips)?,
        Err(error) => skips
            .push(format!("export to Kafka and OpenSearch: their artefacts cannot be had here: {error:#}")),
    }
    virtual_machine(&programs, &binary, skips)?;
    control_plane(&programs, &binary, skips)?;
    match peers::programs() {
        Ok(tools) => peers_tests(&programs, &binary, &tools, skips)?,
        Err(error) => {
            skips.push(format!("peers lane: the reference programs cannot be built here: {error:#}"));
            if let Err(error) = debian::package("prometheus") {
                skips.push(format!("peers lane: nor does Debian's Prometheus stand in: {error:#}"));
                return Ok(());
            }
        }
    }
    match conformance::folder(conformance::PROMQL_COMPLIANCE, None) {
        Some(folder) => promql::compliance(&folder, &binary)?,
        None => skips.push("promql-compliance: its queries are not there".into()),
    }
    if promql::Reference::find()?.is_old() {
        skips.push("promql-diff: Debian's Prometheus does not know the syntax of random queries".into());
        return Ok(());
    }
    let options = promql::DiffOptions {
        queries: PROMQL_DIFF_QUERIES,
        limit: None,
        seed: PROMQL_DIFF_SEED,
        only: None,
        floats: false,
    };
    promql::diff(&options, &binary)
}

/// What needs a kernel unlike this machine's.
fn virtual_machine(programs: &TestPrograms, binary: &Path, skips: &mut Vec<String>) -> Result<()> {
    let tree = match guest::tree() {
        Ok(tree) => tree,
        Err(error) => {
            skips.push(format!("virtual machine: its parts cannot be had here: {error:#}"));
            return Ok(());
        }
    };
    let parts = debian::prepare()?;
    let mut tests = programs.command(E2E, "guest")?;
    tests.args(ONE_BY_ONE).env("VEDETTE_BINARY", binary).env("VEDETTE_GUEST", tree);
    watched(tests.env("VEDETTE_PARTS", &parts.root), skips)
}

/// What needs a real API server.
fn control_plane(programs: &TestPrograms, binary: &Path, skips: &mut Vec<String>) -> Result<()> {
    let folder = match peers::kubernetes() {
        Ok(folder) => folder,
        Err(error) => {
            skips.push(format!("real control plane of Kubernetes: it cannot be built here: {error:#}"));
            return Ok(());
        }
    };
    let parts = debian::prepare()?;
    let mut tests = programs.command(E2E, "control_plane")?;
    tests.args(ONE_BY_ONE).env("VEDETTE_BINARY", binary).env("VEDETTE_KUBERNETES", folder);
    watched(tests.env("VEDETTE_PARTS", &parts.root), skips)
}

fn peers_tests(programs: &TestPrograms, binary: &Path, tools: &Path, skips: &mut Vec<String>) -> Result<()> {
    for name in ["peers", "receive"] {
        let mut tests = programs.command(E2E, name)?;
        tests.args(ONE_BY_ONE).env("VEDETTE_BINARY", binary).env("VEDETTE_PEERS", tools);
        opentelemetry(&mut tests);
        watched(&mut tests, skips)?;
    }
    for (folder, program, test) in [
        // Sample by sample, against the packages of Prometheus.
        ("crates/tsdb", "vedette_tsdb", "blocks_of_prometheus"),
        // Status, type and shape of answers, asked of both, and what its promtool makes of ours.
        ("crates/api", "vedette_api", "tests::peers"),
        ("crates/api", "vedette_api", "tests::promtool"),
        // Line by line, against its parsers.
        ("crates/wire", "conformance", ""),
    ] {
        let mut tests = programs.command(folder, program)?;
        watched(tests.args([test, "--show-output"]).env("VEDETTE_PEERS", tools), skips)?;
    }
    // Body by body, scraped and stored by both.
    for suite in conformance::EXPOSITIONS {
        match conformance::folder(suite, None) {
            Some(folder) => {
                conformance::scraped_by(suite, &folder, tools, binary)?.map_err(anyhow::Error::msg)?;
            }
            None => skips.push(format!("{suite}: its bodies are not there")),
        }
    }
    Ok(())
}

/// Tells tests where OpenTelemetry's library is; without it the test that wants it says so.
fn opentelemetry(tests: &mut Command) {
    match otel::packages() {
        Ok(packages) => _ = tests.env("VEDETTE_OTEL", packages),
        Err(error) => eprintln!("OpenTelemetry's library cannot be installed: {error:#}"),
    }
}

/// Runs a test command, passes on what it prints and collects its skips. What tests printed that
/// passed is left out: it would hide what one printed that failed.
fn watched(command: &mut Command, skips: &mut Vec<String>) -> Result<()> {
    eprintln!("$ {command:?}");
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start the tests")?;
    let stdout = child.stdout.take().context("BUG: standard output is piped")?;
    let mut out = std::io::stdout().lock();
    let mut of_successes = false;
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        let skip = text.trim().strip_prefix("SKIPPED ");
        skips.extend(skip.map(str::to_owned));
        of_successes = match text.as_ref() {
            "successes:" => true,
            "failures:" => false,
            text if text.starts_with("test result: ") => false,
            _ => of_successes,
        };
        if of_successes && skip.is_none() {
            continue;
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
    fn lane(&mut self, lane: Lane) {
        match lane {
            Lane::Fast => self.step("fast", fast),
            Lane::E2e => self.step("e2e", |skips| e2e_with(None, skips)),
            Lane::Peers => self.step("peers", peers),
        }
    }

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
