//! Judges what becomes of the metrics of the parts of Kubernetes, by the table of their families.
//!
//! Vedette takes these families from whoever tells them, so there are four kinds of cases:
//!
//! * `read`: a page with the family as its part writes it gives its name, type, labels and values ([`pages`]);
//! * `recorded`: so does the page of a real part, and it tells what the table says ([`pages`]);
//! * `used`: rules and dashboards of others that use the family can be read, and find it ([`uses`]);
//! * `own`: families that Vedette itself uses are in the table, with those labels ([`own`]).
//!
//! `VEDETTE_CONFORMANCE_DIR` names the folder with the table; without it, or empty, it is
//! `../shared/conformance/metrics` beside the project. Recordings, rules and dashboards lie in folders beside it.

#![expect(clippy::unwrap_used, reason = "a test whose files cannot be read has failed")]

mod own;
mod pages;
mod table;
mod uses;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What came of the cases.
#[derive(Default)]
pub struct Score {
    passed: usize,
    failed: usize,
    skipped: BTreeMap<String, usize>,
}

impl Score {
    /// Notes a case: `Err` says what is wrong.
    pub fn note(&mut self, kind: &str, name: &str, result: Result<(), String>) {
        match result {
            Ok(()) => self.passed += 1,
            Err(how) => {
                self.failed += 1;
                println!("FAILED {kind} {name}: {how}");
            }
        }
    }

    /// Notes a case that cannot be judged here.
    pub fn skip(&mut self, kind: &str, reason: &str) {
        *self.skipped.entry(format!("{kind}: {reason}")).or_default() += 1;
    }
}

fn main() -> ExitCode {
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR").filter(|given| !given.is_empty()) {
        Some(given) => PathBuf::from(given),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/metrics"),
    };
    let path = folder.join("control_plane.tsv");
    let Ok(text) = fs::read_to_string(&path) else {
        println!("SKIPPED control_plane: there is no {}", path.display());
        println!("0 passed, 0 failed, 1 skipped");
        return ExitCode::SUCCESS;
    };
    let table = match table::read(&text) {
        Ok(table) => table,
        Err(error) => {
            println!("FAILED control_plane: {error}\n0 passed, 1 failed, 0 skipped");
            return ExitCode::FAILURE;
        }
    };
    let mut score = Score::default();
    pages::judge_read(&table, &mut score);
    pages::judge_recorded(&table, &folder.join("../expositions"), &mut score);
    uses::judge(&table, &folder.join(".."), &mut score);
    own::judge(&table, &Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &mut score);
    let Score { passed, failed, skipped } = score;
    for (reason, cases) in &skipped {
        println!("SKIPPED control_plane {reason}: {cases} families");
    }
    println!("{passed} passed, {failed} failed, {} skipped", skipped.values().sum::<usize>());
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
