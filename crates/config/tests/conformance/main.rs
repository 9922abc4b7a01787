//! Reads the configuration files of a folder and holds the outcome against its `cases.tsv`.
//!
//! `VEDETTE_CONFORMANCE_SUITE` is `prometheus-config` or `file_sd`, `VEDETTE_CONFORMANCE_DIR` the
//! folder; without them the folders `../shared/conformance/SUITE` beside the project are read, where
//! they are. A refusal must name file, line and the same field and reason as the expectation. Failures
//! are named, the last line counts.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use vedette_config::{
    prometheus::{self, Mode, Surroundings},
    targets,
};
use vedette_sys::RealFs;

const SUITES: [&str; 2] = ["prometheus-config", "file_sd"];

fn main() -> ExitCode {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let wanted = std::env::var("VEDETTE_CONFORMANCE_SUITE").ok();
    let folder = std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|d| !d.is_empty()).map(PathBuf::from);
    let mut counts = Counts::default();
    for suite in SUITES.iter().filter(|s| wanted.as_deref().is_none_or(|w| w == **s)) {
        // A folder without a suite is that of the first.
        let folder = folder.clone().filter(|_| wanted.is_some() || *suite == SUITES[0]);
        run(suite, &folder.unwrap_or_else(|| shared.join(suite)), &mut counts);
    }
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    if counts.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
}

fn run(suite: &str, folder: &Path, counts: &mut Counts) {
    let cases = match std::fs::read_to_string(folder.join("cases.tsv")) {
        Ok(cases) => cases,
        Err(error) => {
            println!("{}: {error}: the suite is skipped", folder.join("cases.tsv").display());
            counts.skipped += 1;
            return;
        }
    };
    for line in cases.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let name = cells[0];
        let outcome = match suite {
            "file_sd" => {
                let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
                let verdict = targets::parse(name, &text).map(drop).map_err(|e| e.to_string());
                judge(verdict, cells.get(1).copied().unwrap_or_default(), "")
            }
            _ => {
                let mode = if cells.get(1) == Some(&"agent") { Mode::Agent } else { Mode::Server };
                let verdict = load(&folder.join(name), mode);
                judge(
                    verdict,
                    cells.get(2).copied().unwrap_or_default(),
                    cells.get(3).copied().unwrap_or_default(),
                )
            }
        };
        match outcome {
            Ok(()) => counts.passed += 1,
            Err(why) => {
                counts.failed += 1;
                println!("FAILED {suite}/{name}: {why}");
            }
        }
    }
}

/// Reads a file; what is shown of a sound one must be sound as well, and must hold no secret.
fn load(path: &Path, mode: Mode) -> Result<(), String> {
    let env = |name: &str| (name == "TEST").then(|| "value".to_owned());
    let surroundings = Surroundings { fs: &RealFs, env: &env };
    let config = prometheus::load(path, mode, surroundings).map_err(|e| e.to_string())?;
    let shown = config.to_yaml();
    if shown.contains("mysecret") {
        panic!("BUG: a secret of {} is shown:\n{shown}", path.display());
    }
    // Dollars of the environment are gone by now.
    let again = prometheus::parse(path, &shown.replace('$', "$$"), mode, surroundings);
    match again {
        Err(error) if !shown.contains('$') => panic!("BUG: what is shown does not load: {error}\n{shown}"),
        _ => Ok(()),
    }
}

fn judge(verdict: Result<(), String>, expected: &str, about: &str) -> Result<(), String> {
    match (verdict, expected) {
        (Ok(()), "load") => Ok(()),
        (Ok(()), _) => Err(format!("loads, but should not: {about}")),
        (Err(error), "load") => Err(format!("should load, but: {error}")),
        (Err(error), _) => {
            if !has_place(&error) {
                return Err(format!("names no line: {error}"));
            }
            let missing: Vec<&str> = key_words(about)
                .into_iter()
                .filter(|word| !error.to_lowercase().contains(&word.to_lowercase()))
                .collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("lacks {missing:?} of {about:?}: {error}")) }
        }
    }
}

/// `file:line:column: `
fn has_place(error: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = error.split(':').collect();
    parts.windows(2).any(|pair| is_number(pair[0]) && is_number(pair[1]))
}

/// The names of fields and what stands in quotes: what another wording must have as well. Names of
/// types in Go, and places in files, are the upstream's own.
fn key_words(about: &str) -> Vec<&str> {
    let about = about.split(" in type ").next().unwrap_or(about);
    about
        .split(|c: char| !(c.is_alphanumeric() || "_.-".contains(c)))
        .map(|word| word.trim_matches(|c| ".-".contains(c)))
        .filter(|word| word.contains('_') && !word.ends_with("_sd") && !word.contains(".bad.yml"))
        .filter(|word| !word.starts_with("testdata"))
        .collect()
}
