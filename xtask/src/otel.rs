//! OpenTelemetry's library for Python: a program with it pushes metrics to us in a test. Installed once
//! below `target/peers`, by the versions that `tests/peers` pins.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Result;

use crate::run::{check, root, target};

/// How long fetching the packages may take, as `timeout` takes it.
const INSTALL_SECONDS_MAX: &str = "600";

/// The folder with the packages, or why they cannot be had here.
pub fn packages() -> Result<PathBuf> {
    let requirements = root().join("tests/peers/otel-requirements.txt");
    let folder = target().join("peers/otel");
    let stamp = folder.join(".installed");
    let wanted = fs::read_to_string(&requirements)?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder)?;
    let mut install = Command::new("timeout");
    install.args([
        INSTALL_SECONDS_MAX,
        "python3",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--upgrade",
    ]);
    install.args(["--disable-pip-version-check", "--root-user-action=ignore", "--target"]);
    check(install.arg(&folder).arg("-r").arg(&requirements))?;
    fs::write(stamp, wanted)?;
    Ok(folder)
}
