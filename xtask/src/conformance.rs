//! Conformance suites: each is a runner over a folder of cases, most of them in the crate that
//! they judge.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use crate::{
    expositions, peers, promql,
    run::{cargo, check, root, vedette_binary},
};

struct Suite {
    name: &'static str,
    package: &'static str,
    test: &'static str,
    /// Whether the programs of `tests/peers` know what is right.
    asks_peers: bool,
    /// Other runners for some of the cases: their packages and tests.
    also: &'static [(&'static str, &'static str)],
}

const fn suite(name: &'static str, package: &'static str) -> Suite {
    Suite { name, package, test: "conformance", asks_peers: false, also: &[] }
}

const SUITES: &[Suite] = &[
    Suite { test: "cadvisor", ..suite("cadvisor", "vedette-host") },
    Suite { asks_peers: true, ..suite("exposition", "vedette-wire") },
    Suite { asks_peers: true, ..suite("expositions", "vedette-wire") },
    suite("file_sd", "vedette-config"),
    suite("k8s-recordings", "vedette-k8s"),
    Suite {
        test: "metrics",
        also: &[("vedette-k8s", "kube_state"), ("vedette-alerting", "control_plane")],
        ..suite("metrics", "vedette-host")
    },
    suite("nk", "vedette-capacity"),
    Suite { test: "node_exporter", ..suite("node_exporter", "vedette-host") },
    suite("prometheus-config", "vedette-config"),
    suite("promql", "vedette-promql"),
];

/// The suites whose bodies are also scraped and stored, beside Prometheus.
pub const EXPOSITIONS: [&str; 2] = ["exposition", "expositions"];

/// The suite that asks the running program.
pub const PROMQL_COMPLIANCE: &str = "promql-compliance";

/// Runs a suite over `dir`, or over the shared cases.
pub fn run(name: &str, dir: Option<PathBuf>) -> Result<()> {
    let suite = SUITES.iter().find(|s| s.name == name);
    if suite.is_none() && name != PROMQL_COMPLIANCE {
        let names: Vec<_> = SUITES.iter().map(|s| s.name).chain([PROMQL_COMPLIANCE]).collect();
        bail!("no suite is called {name:?}; there are: {}", names.join(", "));
    }
    let Some(dir) = folder(name, dir) else {
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(());
    };
    let Some(suite) = suite else { return promql::compliance(&dir, &vedette_binary()?) };
    let through_loop = if EXPOSITIONS.contains(&suite.name) { scraped(suite.name, &dir)? } else { Ok(()) };
    if !suite.also.is_empty() {
        let first = (suite.package, suite.test);
        return several([first].iter().chain(suite.also), &dir);
    }
    let mut tests = runner(suite.package, suite.test);
    if suite.asks_peers {
        match peers::programs() {
            Ok(programs) => _ = tests.env("VEDETTE_PEERS", programs),
            // Without them the runner says what it skips.
            Err(error) => println!("the reference programs cannot be built here: {error:#}"),
        }
    }
    tests.env("VEDETTE_CONFORMANCE_SUITE", suite.name);
    check(tests.env("VEDETTE_CONFORMANCE_DIR", dir.canonicalize()?))?;
    through_loop.map_err(anyhow::Error::msg)
}

fn runner(package: &str, test: &str) -> Command {
    cargo(&["test", "--quiet", "--locked", "--package", package, "--test", test])
}

/// Several runners over one folder, whose counts are added up: the last line is that of the suite.
fn several<'a>(runners: impl Iterator<Item = &'a (&'a str, &'a str)>, dir: &Path) -> Result<()> {
    let (mut counts, mut has_failed) = ([0_usize; 3], false);
    for (package, test) in runners {
        let mut tests = runner(package, test);
        let ran =
            tests.env("VEDETTE_CONFORMANCE_DIR", dir.canonicalize()?).stderr(Stdio::inherit()).output()?;
        has_failed |= !ran.status.success();
        let text = String::from_utf8_lossy(&ran.stdout);
        let Some((told, [passed, failed, skipped])) =
            text.trim_end().rsplit_once('\n').and_then(|(told, last)| {
                let mut words = last.split(", ").map(|part| part.split_once(' ')?.0.parse::<usize>().ok());
                Some((told, [words.next()??, words.next()??, words.next()??]))
            })
        else {
            bail!("{package} {test} gives no counts: {text}");
        };
        println!("{told}");
        for (sum, count) in counts.iter_mut().zip([passed, failed, skipped]) {
            *sum += count;
        }
    }
    let [passed, failed, skipped] = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if has_failed { bail!("{failed} cases failed") } else { Ok(()) }
}

/// Expositions through the whole loop. What differs is an error that is told after the suite, whose last
/// line counts.
fn scraped(suite: &str, dir: &Path) -> Result<Result<(), String>> {
    let programs = match peers::programs() {
        Ok(programs) => programs,
        Err(error) => {
            println!("SKIPPED expositions through the loop: {error:#}");
            return Ok(Ok(()));
        }
    };
    scraped_by(suite, dir, &programs, &vedette_binary()?)
}

/// The same by these programs.
pub fn scraped_by(suite: &str, dir: &Path, peers: &Path, vedette: &Path) -> Result<Result<(), String>> {
    let (passed, failed) = expositions::compare(suite, dir, peers, vedette)?;
    println!("{suite} scraped and stored: {passed} the same as Prometheus, {failed} not");
    Ok(if failed == 0 { Ok(()) } else { Err(format!("{failed} scraped bodies are stored in another way")) })
}

/// The folder with a suite's cases, if there is one.
pub fn folder(name: &str, dir: Option<PathBuf>) -> Option<PathBuf> {
    let dir = dir.unwrap_or_else(|| root().join("../shared/conformance").join(name));
    if !dir.is_dir() {
        println!("there are no cases at {}", dir.display());
        return None;
    }
    Some(dir)
}
