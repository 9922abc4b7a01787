//! Programs of others against ours: Prometheus' own command-line tool asks for what we hold, and
//! Prometheus itself sends us what it has scraped.

use std::{
    collections::{BTreeMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    binary, http, parts,
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

/// What a command of ours or of others printed.
fn output(program: &Path, args: &[&str]) -> Result<String> {
    let out = Command::new(program).args(args).output()?;
    ensure!(
        out.status.success(),
        "{} {args:?}: {}{}",
        program.display(),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(String::from_utf8(out.stdout)?)
}

/// promtool opens a folder of blocks as a whole store, which has a log.
fn promtool_dump(promtool: &Path, blocks: &Path) -> Result<Vec<String>> {
    std::fs::create_dir_all(blocks.join("wal"))?;
    let text = output(promtool, &["tsdb", "dump", &blocks.display().to_string()])?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// Imports blocks into a new store, exports them again, and gives our dump.
fn through_vedette(blocks: &Path, data: &Path, exported: &Path, span: &str) -> Result<Vec<String>> {
    let [blocks, data, exported] = [blocks, data, exported].map(|path| path.display().to_string());
    let vedette = binary();
    output(&vedette, &["tsdb", "import", "--data-dir", &data, &blocks])?;
    output(&vedette, &["tsdb", "export", "--data-dir", &data, "--output", &exported, "--block-span", span])?;
    let verified = output(&vedette, &["tsdb", "verify", "--data-dir", &data])?;
    ensure!(verified.starts_with("ok: "), "{verified}");
    let dump = output(&vedette, &["tsdb", "dump", "--data-dir", &data])?;
    let mut lines: Vec<String> = dump.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn blocks_of_promtool_come_and_go() -> Result<()> {
    let Some(promtool) = promtool() else {
        skip!("blocks", "promtool is neither built nor unpacked");
    };
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let mut text = String::from("# TYPE requests counter\n");
    for i in 0..2000 {
        let time = 1_700_000_000 + i * 15;
        text += &format!("requests_total{{path=\"/a\\\"\\\\b\\n\",code=\"200\"}} {} {time}\n", i * i);
    }
    text += "# TYPE load gauge\n";
    for i in 0..2000 {
        let value = [0.25, -1e-7, 1e21, 123_456.0, 1_234_567.5, 5e-324][i % 6];
        text += &format!("load {value:?} {}.{:03}\n", 1_700_000_000 + i * 10, i % 1000);
    }
    for (i, value) in ["NaN", "+Inf", "-Inf", "-0"].iter().enumerate() {
        text += &format!("load {value} {}\n", 1_700_050_000 + i);
    }
    text += "# EOF\n";
    std::fs::write(at("metrics.txt"), text)?;
    let [metrics, made] = [at("metrics.txt"), at("made")].map(|path| path.display().to_string());
    output(&promtool, &["tsdb", "create-blocks-from", "openmetrics", &metrics, &made])?;
    let theirs = promtool_dump(&promtool, &at("made"))?;
    ensure!(theirs.len() == 4004, "{}", theirs.len());
    for span in ["2h", "1d"] {
        let (data, exported) = (at(&format!("data-{span}")), at(&format!("exported-{span}")));
        let ours = through_vedette(&at("made"), &data, &exported, span)?;
        ensure!(ours == theirs, "our dump of their blocks differs");
        ensure!(promtool_dump(&promtool, &exported)? == theirs, "their dump of our blocks differs");
        let exported = exported.display().to_string();
        let list = output(&promtool, &["tsdb", "list", &exported])?;
        let count = |line: &str| line.split_whitespace().nth(4).and_then(|n| n.parse::<u64>().ok());
        ensure!(list.lines().filter_map(count).sum::<u64>() == 4004, "{list}");
        output(&promtool, &["tsdb", "analyze", &exported])?;
    }
    Ok(())
}

#[test]
fn native_histograms_of_prometheus_come_and_go() -> Result<()> {
    let tools = std::env::var_os("VEDETTE_PEERS").map(PathBuf::from);
    let Some(tools) = tools.filter(|tools| tools.join("blocks").is_file()) else {
        skip!("blocks with native histograms", "the program that writes them is not built");
    };
    let (program, promtool) = (tools.join("blocks"), tools.join("promtool"));
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    for encodings in ["plain", "st"] {
        let [made, data, exported] =
            ["made", "data", "exported"].map(|name| at(&format!("{name}-{encodings}")));
        output(&program, &["write", &made.display().to_string(), encodings])?;
        let ours = through_vedette(&made, &data, &exported, "1d")?;
        let theirs = promtool_dump(&promtool, &made)?;
        // promtool leaves out a sample wherever the kind of samples changes, at the start of
        // histograms too; what it prints, we print.
        let shown: HashSet<&str> = ours.iter().map(String::as_str).collect();
        let missing: Vec<&String> = theirs.iter().filter(|line| !shown.contains(line.as_str())).collect();
        ensure!(missing.is_empty(), "{encodings}: not in our dump: {:?}", &missing[..missing.len().min(3)]);
        ensure!(
            promtool_dump(&promtool, &exported)? == theirs,
            "{encodings}: their dump of our blocks differs"
        );
        let theirs = shown_samples(&program, &made)?;
        ensure!(ours.len() == theirs.len(), "{encodings}: {} of {} samples", ours.len(), theirs.len());
        ensure!(
            shown_samples(&program, &exported)? == theirs,
            "{encodings}: samples differ after the way back"
        );
    }
    Ok(())
}

/// Every sample as Prometheus' packages read it: labels, time, kind, schema, zero threshold, sum
/// and count. Start timestamps are not written; buckets are compared through the dumps, as how
/// they are laid out depends on the chunk.
fn shown_samples(program: &Path, blocks: &Path) -> Result<Vec<String>> {
    let text = output(program, &["show", &blocks.display().to_string()])?;
    let mut lines = Vec::new();
    for line in text.lines() {
        let (head, rest) = line.split_once(" start ").context("a line of a sample")?;
        let (_, rest) = rest.split_once(' ').context("a start")?;
        let rest = rest.split(" positive ").next().unwrap_or(rest);
        // Which sample is the first of its chunk, and so has no hint, is not compared either.
        let rest = rest.replace("hint 2", "hint 0");
        lines.push(format!("{head} {rest}"));
    }
    lines.sort();
    Ok(lines)
}
