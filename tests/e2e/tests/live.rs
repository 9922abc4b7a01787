//! What a newcomer sees: the program starts without configuration and shows this machine.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use vedette_e2e::{binary, http, program::Vedette, wait_for};

#[test]
fn shows_this_machine_within_seconds_of_the_start() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(Duration::from_secs(30))?;
    wait_for("CPU rates", Duration::from_secs(30), || {
        Ok(vedette
            .query("sum by (mode) (rate(node_cpu_seconds_total[10s]))")?
            .iter()
            .any(|(m, _)| m["mode"] == "idle")
            .then_some(()))
    })?;
    for metric in [
        "node_load1",
        "node_memory_MemTotal_bytes",
        "node_filesystem_size_bytes",
        "node_network_receive_bytes_total",
    ] {
        let rows = vedette.query(metric)?;
        ensure!(!rows.is_empty(), "{metric} has no series");
        ensure!(rows.iter().all(|(m, _)| m["job"] == "node-exporter"), "{metric}: {rows:?}");
    }
    for (path, text) in [
        ("/-/healthy", ""),
        ("/metrics", "vedette_"),
        ("/metrics/node", "# TYPE node_cpu_seconds_total counter"),
        ("/api/v1/status/buildinfo", "\"status\":\"success\""),
        ("/api/v1/rules", "\"groups\""),
        ("/api/v1/labels", "__name__"),
        ("/", "<html"),
        ("/explore/metrics", "<html"),
    ] {
        let answer = http::get(vedette.address, path)?;
        ensure!(
            answer.status == 200 && answer.text().contains(text),
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let up = vedette.part("collector.node")?;
    ensure!(up["health"] == "ok", "{up}");
    vedette.terminate(Duration::from_secs(20))?;
    Ok(())
}

#[test]
fn the_command_line_asks_a_running_program() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(Duration::from_secs(30))?;
    let url = format!("http://{}", vedette.address);
    let run = |args: &[&str]| -> Result<(i32, String, String)> {
        let out = Command::new(binary()).args(args).output()?;
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        Ok((out.status.code().context("ended by a signal")?, text(&out.stdout), text(&out.stderr)))
    };
    wait_for("an answer", Duration::from_secs(20), || {
        let (code, out, _) = run(&["query", "node_load1", "--url", &url])?;
        Ok((code == 0 && out.contains("node_load1{")).then_some(()))
    })?;
    let (code, out, err) = run(&["query", "sum(", "--url", &url])?;
    ensure!(code == 2 && err.contains("parse error") && out.is_empty(), "{code} {out} {err}");
    let (code, out, _) = run(&["query", "vector(1)", "--since", "10s", "-o", "json", "--url", &url])?;
    ensure!(code == 0 && serde_json::from_str::<serde_json::Value>(&out)?["resultType"] == "matrix", "{out}");
    let (code, _, err) = run(&["query", "1", "--url", "http://127.0.0.1:1"])?;
    ensure!(code == 2 && err.contains("vedette up"), "{err}");
    let (code, _, _) = run(&["events", "--since", "1m", "--url", &url])?;
    ensure!(code == 0);
    let (code, _, err) = run(&["frobnicate"])?;
    ensure!(code == 3 && err.contains("frobnicate"), "{code} {err}");
    for (args, text) in
        [(vec!["--help"], "vedette up"), (vec!["version"], "0.1"), (vec!["completions", "bash"], "_vedette")]
    {
        let (code, out, _) = run(&args)?;
        ensure!(code == 0 && out.contains(text), "{args:?}: {out}");
    }
    Ok(())
}
