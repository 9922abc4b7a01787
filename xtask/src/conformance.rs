//! Conformance suites: each is a runner in the crate that it judges, over a folder of cases.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::run::{cargo, check, root};

struct Suite {
    name: &'static str,
    package: &'static str,
    test: &'static str,
}

const SUITES: &[Suite] = &[Suite { name: "promql", package: "vedette-promql", test: "conformance" }];

/// Runs a suite over `dir`, or over the shared cases.
pub fn run(name: &str, dir: Option<PathBuf>) -> Result<()> {
    let Some(suite) = SUITES.iter().find(|s| s.name == name) else {
        let names: Vec<_> = SUITES.iter().map(|s| s.name).collect();
        bail!("no suite is called {name:?}; there are: {}", names.join(", "));
    };
    let dir = dir.unwrap_or_else(|| root().join("../shared/conformance").join(name));
    if !dir.is_dir() {
        println!("there are no cases at {}", dir.display());
        println!("0 passed, 0 failed, 1 skipped");
        return Ok(());
    }
    check(
        cargo(&["test", "--quiet", "--locked", "--package", suite.package, "--test", suite.test])
            .env("VEDETTE_CONFORMANCE_DIR", dir.canonicalize()?),
    )
}
