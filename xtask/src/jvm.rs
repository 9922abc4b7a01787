//! Servers that run on the machine's JVM from artefacts of Maven, by the versions that `tests/peers/jvm`
//! pins. Copied once below `target/peers/jvm`.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::run::{check, output, root, target};

/// How long fetching the artefacts may take, as `timeout` takes it.
const COPY_SECONDS_MAX: &str = "600";

/// What is copied: the project that names it, and the folder that gets it, are called so.
const PROJECTS: [&str; 2] = ["kafka", "opensearch"];

/// The folder with the artefacts, or why they cannot be had here.
pub fn artefacts() -> Result<PathBuf> {
    output(Command::new("mvn").arg("--version")).context("there is no Maven; install maven")?;
    let folder = target().join("peers/jvm");
    fs::create_dir_all(&folder)?;
    for name in PROJECTS {
        let project = root().join(format!("tests/peers/jvm/{name}.xml"));
        let stamp = folder.join(format!(".{name}"));
        let wanted = fs::read_to_string(&project)?;
        if fs::read_to_string(&stamp).is_ok_and(|copied| copied == wanted) {
            continue;
        }
        let mut copy = Command::new("timeout");
        copy.args([COPY_SECONDS_MAX, "mvn", "-q", "-B", "-f"]).arg(&project);
        copy.arg("dependency:copy-dependencies");
        check(copy.arg(format!("-DoutputDirectory={}", folder.join(name).display())))?;
        fs::write(stamp, wanted)?;
    }
    Ok(folder)
}
