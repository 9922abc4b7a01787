//! The web app: installs its packages when the lock file has changed, and builds it.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::run::{check, command, output, root};

/// The oldest Node that the build tools run on.
const NODE_MAJOR_MIN: u32 = 20;
/// Debian 12 itself has only Node 18.
const NODE_REMEDY: &str = "get it from https://nodejs.org, or on Debian 13 by apt-get install nodejs npm";

/// Installs the packages of the web app unless those of the lock file are there.
pub fn install() -> Result<()> {
    node_version()?;
    let ui = root().join("ui");
    let wanted = fs::read(ui.join("package-lock.json")).context("cannot read ui/package-lock.json")?;
    let stamp = ui.join("node_modules/.vedette-lock");
    if fs::read(&stamp).is_ok_and(|have| have == wanted) {
        return Ok(());
    }
    check(&mut command("npm", &["--prefix", "ui", "ci", "--no-audit", "--no-fund"]))?;
    fs::write(stamp, wanted)?;
    Ok(())
}

/// Builds the web app into `ui/dist` unless it is newer than all of its sources.
pub fn build() -> Result<()> {
    install()?;
    let ui = root().join("ui");
    let built = modified(&ui.join("dist/index.html"));
    let sources = [
        "src",
        "public",
        "index.html",
        "package-lock.json",
        "svelte.config.js",
        "tsconfig.json",
        "vite.config.ts",
    ];
    let newest = sources.iter().filter_map(|s| newest(&ui.join(s))).max();
    if built.is_some() && built > newest {
        return Ok(());
    }
    check(&mut command("npm", &["--prefix", "ui", "run", "build"]))
}

fn node_version() -> Result<()> {
    let text = output(&mut command("node", &["--version"]))
        .with_context(|| format!("the web app needs Node {NODE_MAJOR_MIN} or later; {NODE_REMEDY}"))?;
    let major: u32 = text.trim().trim_start_matches('v').split('.').next().unwrap_or("").parse().unwrap_or(0);
    if major < NODE_MAJOR_MIN {
        bail!("the web app needs Node {NODE_MAJOR_MIN} or later, this is {}; {NODE_REMEDY}", text.trim());
    }
    Ok(())
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn newest(path: &Path) -> Option<std::time::SystemTime> {
    if !path.is_dir() {
        return modified(path);
    }
    fs::read_dir(path).ok()?.filter_map(|e| newest(&e.ok()?.path())).max()
}
