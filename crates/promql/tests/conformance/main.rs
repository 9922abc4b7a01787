//! Runs test scripts in Prometheus' test language.
//!
//! Without further ado it runs the project's own scripts in `tests/conformance/promql`, all of
//! which must pass. `VEDETTE_CONFORMANCE_DIR` names another folder of scripts; set but empty it
//! means `../shared/conformance/promql` beside the project. Every `eval` is a case; failures are
//! named, the last line counts.

mod histogram;
mod run;
mod script;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let own = root.join("tests/conformance/promql");
    let folder = match std::env::var_os("VEDETTE_CONFORMANCE_DIR") {
        None => own,
        Some(given) if given.is_empty() => root.join("../shared/conformance/promql"),
        Some(given) => PathBuf::from(given),
    };
    let mut scripts: Vec<PathBuf> = match std::fs::read_dir(&folder) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(e) => {
            println!("{}: {e}: the suite is skipped", folder.display());
            println!("0 passed, 0 failed, 1 skipped");
            return ExitCode::SUCCESS;
        }
    };
    scripts.retain(|p| p.extension().is_some_and(|e| e == "test"));
    scripts.sort();
    let (mut passed, mut failed) = (0, 0);
    for path in &scripts {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let counts =
            match std::fs::read_to_string(path).map_err(|e| e.to_string()).and_then(|t| script::read(&t)) {
                Ok(commands) => run::run(&name, &commands),
                Err(e) => {
                    println!("FAILED {name}: {e}");
                    (0, 1)
                }
            };
        println!("{name}: {} passed, {} failed", counts.0, counts.1);
        passed += counts.0;
        failed += counts.1;
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    if failed > 0 || passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
