//! Reference programs that are Go modules: built once, by the versions that `tests/peers` pins.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::run::{check, output, root, target};

/// How long building the programs may take, as `timeout` takes it: the first build fetches some
/// hundred modules, which a slow proxy can stretch without end.
const BUILD_SECONDS_MAX: &str = "1200";

/// What is built. One build for all, as they share most of their packages.
const PACKAGES: [&str; 4] = [
    "github.com/prometheus/prometheus/cmd/prometheus",
    "github.com/prometheus/prometheus/cmd/promtool",
    "./blocks",
    "./expositions",
];

/// Leaves out what needs the software kits of all clouds, which is most of the code, and what only
/// a debugger reads.
const OPTIONS: [&str; 6] = ["-p", "2", "-trimpath", "-ldflags=-s -w", "-tags", "remove_all_sd"];

/// The folder with the programs, or why they cannot be built here.
pub fn programs() -> Result<PathBuf> {
    let version = output(Command::new("go").arg("version"))
        .context("there is no Go; install Go 1.26 or later to build the reference programs")?;
    let folder = target().join("peers/go");
    let module = root().join("tests/peers");
    let stamp = folder.join(".built");
    let inputs = inputs(&module, version)?;
    let there = PACKAGES.iter().all(|p| folder.join(p.rsplit('/').next().unwrap_or(p)).is_file());
    if there && fs::read_to_string(&stamp).is_ok_and(|built| built == inputs) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let mut build = Command::new("timeout");
    build.args([BUILD_SECONDS_MAX, "go", "build"]).args(OPTIONS).arg("-o").arg(&folder).args(PACKAGES);
    check(build.current_dir(module).env("CGO_ENABLED", "0"))?;
    fs::write(stamp, inputs)?;
    Ok(folder)
}

/// Everything that the programs depend on: whoever changes it gets others.
fn inputs(module: &Path, version: String) -> Result<String> {
    let mut text = version;
    text.push_str(&OPTIONS.join(" "));
    let mut files = vec![module.join("go.mod"), module.join("go.sum")];
    for own in PACKAGES.iter().filter_map(|package| package.strip_prefix("./")) {
        for entry in fs::read_dir(module.join(own))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    for file in files {
        text.push_str(&fs::read_to_string(&file).with_context(|| file.display().to_string())?);
    }
    Ok(text)
}
