//! Programs of others against ours: Prometheus' own command-line tool asks for what we hold.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};
use vedette_e2e::{parts, program::Vedette, skip, wait_for};

/// The reference built here, else Debian's.
fn promtool() -> Option<PathBuf> {
    let built = std::env::var_os("VEDETTE_PEERS").map(|p| PathBuf::from(p).join("promtool"));
    [built, Some(parts().join("usr/bin/promtool"))].into_iter().flatten().find(|p| p.is_file())
}

#[test]
fn promtool_asks_for_what_we_hold() -> Result<()> {
    let Some(promtool) = promtool() else {
        skip!("promtool", "neither built nor unpacked");
    };
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(Duration::from_secs(30))?;
    wait_for("samples", Duration::from_secs(30), || {
        Ok((!vedette.query("node_load1")?.is_empty()).then_some(()))
    })?;
    let url = format!("http://{}", vedette.address);
    let run = |args: &[&str]| -> Result<(bool, String)> {
        let out = Command::new(&promtool).args(args).output()?;
        Ok((
            out.status.success(),
            format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)),
        ))
    };
    for (args, expected) in [
        (vec!["query", "instant", &url, "node_load1"], "node_load1{"),
        (vec!["query", "instant", &url, "1 + 1"], "scalar: 2"),
        (vec!["query", "range", "--start=0", "--end=10", "--step=5s", &url, "vector(3)"], "3 @[10]"),
        (vec!["query", "series", "--match=node_load1", &url], "__name__=\"node_load1\""),
        (vec!["query", "labels", &url, "job"], "node-exporter"),
    ] {
        let (ok, text) = run(&args)?;
        ensure!(ok && text.contains(expected), "{args:?}: {text}");
    }
    let (ok, text) = run(&["query", "instant", &url, "sum("])?;
    ensure!(!ok && text.contains("bad_data") && text.contains("parse error"), "{text}");
    Ok(())
}
