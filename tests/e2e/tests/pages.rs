//! A browser walks all pages: no console error, no request off the machine, nothing serious
//! from the accessibility checker.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use vedette_e2e::{
    containers::{Containerd, unavailable},
    program::Vedette,
    skip, wait_for,
};

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
    let containerd = some_containers(folder.path())?;
    let sockets = containerd.iter().map(|c| c.socket().display().to_string()).collect::<Vec<_>>();
    let config = format!(
        "rules: {{files: [rules.yml]}}\ncollect: {{runtime_sockets: [{}]}}\nexternal_url: http://localhost{PREFIX}\n",
        sockets.join(", ")
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    wait_for("some data", Duration::from_secs(60), || {
        Ok((!vedette.query("rate(node_cpu_seconds_total[10s])")?.is_empty()
            && !vedette.query("ALERTS")?.is_empty()
            && (containerd.is_none() || vedette.query(CONTAINERS_MOVE)?.len() == 2))
            .then_some(()))
    })?;
    let shots =
        std::env::var_os("VEDETTE_SCREENSHOTS").map_or_else(|| folder.path().join("shots"), Into::into);
    let mut walk = Command::new("node");
    if containerd.is_some() {
        walk.env("CONTAINERS", "1");
    }
    let out = walk
        .arg(root.join("ui/e2e/walk.mjs"))
        .arg(format!("http://{}{PREFIX}", vedette.address))
        .env("SHOTS", &shots)
        .output()?;
    println!("{}", String::from_utf8_lossy(&out.stdout));
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

/// The pages are looked at as behind a proxy, where all that they ask for must be under the same path.
const PREFIX: &str = "/tools/vedette";

/// Both containers have been seen often enough for a rate.
const CONTAINERS_MOVE: &str = "rate(container_cpu_usage_seconds_total{name=~\"busy|idle\"}[10s])";

/// Two containers for the pages to show, or `None` where there can be none.
fn some_containers(folder: &Path) -> Result<Option<Containerd>> {
    if let Some(reason) = unavailable() {
        println!("pages: without containers: {reason}");
        return Ok(None);
    }
    let mut containerd = Containerd::start(&folder.join("containerd"))?;
    let busy = "while :; do n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; sleep 0.3; done";
    containerd.run("busy", &["--memory-limit", "67108864"], busy)?;
    containerd.run("idle", &[], "while :; do sleep 1; done")?;
    Ok(Some(containerd))
}
