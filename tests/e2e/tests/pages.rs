//! A browser walks all pages: no console error, no request off the machine, nothing serious
//! from the accessibility checker.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use vedette_e2e::{program::Vedette, skip, wait_for};

#[test]
fn a_browser_walks_all_pages() -> Result<()> {
    if !Path::new("/usr/bin/chromium").exists() {
        skip!("pages", "there is no chromium; apt-get install -y --no-install-recommends chromium");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !root.join("ui/node_modules/playwright-core").exists() {
        skip!("pages", "the web app's packages are not installed; npm --prefix ui ci");
    }
    let folder = tempfile::tempdir()?;
    let rules = "groups:\n- name: test\n  interval: 1s\n  rules:\n  - alert: AlwaysFiring\n    expr: vector(1)\n    labels: {severity: warning}\n    annotations: {summary: An alert to look at}\n";
    std::fs::write(folder.path().join("rules.yml"), rules)?;
    let mut vedette = Vedette::start(folder.path(), Some("rules: {files: [rules.yml]}\n"))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    wait_for("some data", Duration::from_secs(60), || {
        Ok((!vedette.query("rate(node_cpu_seconds_total[10s])")?.is_empty()
            && !vedette.query("ALERTS")?.is_empty())
        .then_some(()))
    })?;
    let shots =
        std::env::var_os("VEDETTE_SCREENSHOTS").map_or_else(|| folder.path().join("shots"), Into::into);
    let out = Command::new("node")
        .arg(root.join("ui/e2e/walk.mjs"))
        .arg(format!("http://{}", vedette.address))
        .env("SHOTS", &shots)
        .output()?;
    println!("{}", String::from_utf8_lossy(&out.stdout));
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}
