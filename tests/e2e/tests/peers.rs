//! Programs of others against ours: Prometheus' own command-line tool asks for what we hold, and
//! Prometheus itself sends us what it has scraped.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    http, parts,
    program::{Vedette, free_port},
    skip, wait_for,
};

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

/// A program of others; it is killed when dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Prometheus that scrapes itself every second and sends what it gets to `url`.
fn prometheus(binary: &Path, folder: &Path, url: &str) -> Result<(Peer, SocketAddr)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let config = format!(
        "global: {{scrape_interval: 1s}}\n\
         scrape_configs:\n- job_name: itself\n  static_configs: [{{targets: ['{address}']}}]\n\
         remote_write:\n- url: {url}\n  queue_config: {{batch_send_deadline: 100ms}}\n  metadata_config: {{send_interval: 1s}}\n"
    );
    let file = folder.join("prometheus.yml");
    std::fs::write(&file, config)?;
    let log = std::fs::File::create(folder.join("prometheus.log"))?;
    let child = Command::new(binary)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
        .arg(format!("--web.listen-address={address}"))
        .args(["--web.console.templates=/", "--web.console.libraries=/"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok((Peer(child), address))
}

/// The vector of an instant query: values by label sets.
fn vector(address: SocketAddr, expr: &str, time: f64) -> Result<BTreeMap<String, String>> {
    let target = format!("/api/v1/query?query={}&time={time}", http::escape(expr));
    let answer = http::get(address, &target)?.json()?;
    let rows = answer["data"]["result"].as_array().with_context(|| format!("no vector: {answer}"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let labels: BTreeMap<_, _> = row["metric"].as_object().into_iter().flatten().collect();
            (serde_json::to_string(&labels).unwrap_or_default(), row["value"][1].to_string())
        })
        .collect())
}

#[test]
fn what_prometheus_sends_is_there() -> Result<()> {
    let binary = parts().join("usr/bin/prometheus");
    if !binary.is_file() {
        skip!("prometheus as a sender", "it is not unpacked");
    }
    let folder = tempfile::tempdir()?;
    let config = "collect: {figures: off, sensor: off}\nrules: {builtin: false}\n";
    let mut vedette = Vedette::start(folder.path(), Some(config))?;
    vedette.wait_ready(Duration::from_secs(30))?;
    let url = format!("http://{}/api/v1/write", vedette.address);
    let (_peer, theirs) = prometheus(&binary, folder.path(), &url)?;
    let ours = vedette.address;
    // Both are asked for a time at which the samples have arrived.
    let time: f64 = wait_for("twenty scrapes", Duration::from_secs(90), || {
        let newest = "max(timestamp(prometheus_tsdb_head_series)) and count_over_time(up[1m]) > 20";
        let newest = newest.replace(" and ", " and on() ");
        let rows = vedette.query(&newest)?;
        Ok(rows.first().map(|row| row.1.floor() - 3.0))
    })?;
    for expr in [
        "up",
        "{job=\"itself\"}",
        "count by (__name__) ({job=\"itself\"})",
        "count_over_time(go_gc_duration_seconds[10s])",
        "rate(prometheus_http_requests_total[10s])",
        "histogram_quantile(0.9, rate(prometheus_http_request_duration_seconds_bucket[15s]))",
    ] {
        let (expected, found) = (vector(theirs, expr, time)?, vector(ours, expr, time)?);
        ensure!(!expected.is_empty(), "{expr}: Prometheus has nothing at {time}");
        ensure!(
            expected == found,
            "{expr} at {time}: {} rows of Prometheus, {} of ours; different: {:?}",
            expected.len(),
            found.len(),
            expected.iter().find(|(labels, value)| found.get(*labels) != Some(*value))
        );
    }
    let metadata = wait_for("metadata", Duration::from_secs(30), || {
        let answer = vedette.get("/api/v1/metadata?metric=go_goroutines")?;
        Ok(answer["data"]["go_goroutines"][0].as_object().cloned())
    })?;
    ensure!(metadata.get("type") == Some(&Value::from("gauge")), "{metadata:?}");
    let sent = http::get(theirs, "/metrics")?.text();
    let failed = sent
        .lines()
        .filter(|l| l.starts_with("prometheus_remote_storage_samples_failed_total"))
        .all(|l| l.ends_with(" 0"));
    ensure!(failed, "Prometheus could not send all: {sent}");
    Ok(())
}
