//! Bad input and a hostile machine: each gives a clear message, nothing is lost, nothing panics.

use std::{net::TcpListener, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use vedette_e2e::{binary, http, is_root, program::Vedette, skip, wait_for, webhook::Webhook};

const START: Duration = Duration::from_secs(30);

/// Starts it, expects it to end by itself with a message that holds all of `parts`.
fn refuses(folder: &Path, config: Option<&str>, parts: &[&str]) -> Result<()> {
    let mut vedette = Vedette::start(folder, config)?;
    let status = vedette.wait_end(START).with_context(|| vedette.log())?;
    let log = vedette.log();
    ensure!(status.code() == Some(2), "{status}: {log}");
    for part in parts {
        ensure!(log.contains(part), "{part:?} is not in: {log}");
    }
    ensure!(!log.contains("panicked"), "{log}");
    Ok(())
}

#[test]
fn a_broken_configuration_names_line_and_remedy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    refuses(
        folder.path(),
        Some("collect:\n  intervall: 1s\n"),
        &["vedette.yml:2:", "intervall", "interval"],
    )?;
    let out =
        Command::new(binary()).args(["check", "config"]).arg(folder.path().join("vedette.yml")).output()?;
    ensure!(out.status.code() == Some(1), "{out:?}");
    refuses(folder.path(), Some("rules: {files: [nothing.yml]}\n"), &["nothing.yml"])
}

#[test]
fn a_broken_rule_names_its_place() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: sum(rate(x[5m)\n")?;
    refuses(folder.path(), Some("rules: {files: [rules.yml]}\n"), &["rules.yml", "parse error"])?;
    let out = Command::new(binary()).args(["rules", "check"]).arg(&rules).output()?;
    ensure!(out.status.code() == Some(1), "{out:?}");
    std::fs::write(
        &rules,
        "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: vector(1)\n    annotations: {summary: '{{ .Nope'}\n",
    )?;
    let out = Command::new(binary()).args(["rules", "check"]).arg(&rules).output()?;
    ensure!(out.status.code() == Some(1), "{out:?}");
    std::fs::write(&rules, "groups:\n- name: a\n  rules:\n  - alert: X\n    expr: vector(1)\n")?;
    let out = Command::new(binary()).args(["rules", "check"]).arg(&rules).output()?;
    ensure!(out.status.code() == Some(0), "{out:?}");
    Ok(())
}

#[test]
fn only_loopback_is_listened_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let out = Command::new(binary())
        .args(["up", "--listen", "0.0.0.0:0", "--data-dir"])
        .arg(folder.path())
        .output()?;
    let text = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(2) && text.contains("authentication"), "{out:?}");
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let out = Command::new(binary())
        .args(["up", "--listen", &address, "--data-dir"])
        .arg(folder.path())
        .output()?;
    let text = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(2) && text.contains(&address) && text.contains("--listen"), "{out:?}");
    Ok(())
}

#[test]
fn a_second_process_does_not_get_the_data_folder() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut first = Vedette::start(folder.path(), None)?;
    first.wait_ready(START)?;
    let pid = first.pid().to_string();
    let mut second = Vedette::start(folder.path(), None)?;
    let status = second.wait_end(START)?;
    ensure!(status.code() == Some(2) && second.log().contains(&pid), "{status}: {}", second.log());
    first.get("/api/v1/labels")?;
    Ok(())
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    if is_root() {
        // Root may write anywhere; a file in the folder's place is refused to all.
        std::fs::write(&data, "no folder")?;
    } else {
        std::fs::create_dir(&data)?;
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500))?;
    }
    refuses(folder.path(), None, &[&data.display().to_string()])
}

#[test]
fn a_full_disk_is_survived_and_shown() -> Result<()> {
    if !is_root() {
        skip!("full disk", "mounting a small file system needs root");
    }
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    let mounted =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(&data).status()?;
    ensure!(mounted.success(), "cannot mount a tmpfs");
    let result = full_disk(folder.path(), &data);
    let _ = Command::new("umount").arg("-l").arg(&data).status();
    result
}

fn full_disk(folder: &Path, data: &Path) -> Result<()> {
    let mut vedette = Vedette::start(folder, None)?;
    vedette.wait_ready(START)?;
    wait_for("samples", START, || Ok((!vedette.query("node_load1")?.is_empty()).then_some(())))?;
    let before = vedette.query("count_over_time(node_load1[1h])")?[0].1;
    let ballast = data.join("ballast");
    let _ = Command::new("dd")
        .args(["if=/dev/zero", "bs=1M"])
        .arg(format!("of={}", ballast.display()))
        .output()?;
    let shown = wait_for("the full disk on the status page", START, || {
        let status = vedette.get("/api/vedette/v1/status")?;
        let parts = status["parts"].as_array().cloned().unwrap_or_default();
        Ok(parts.into_iter().find(|p| {
            p["health"] != "ok"
                && (p["message"].to_string().contains("space") || p["message"].to_string().contains("full"))
        }))
    })?;
    ensure!(!shown["remedy"].as_str().unwrap_or("").is_empty(), "{shown}");
    ensure!(
        vedette.query("count_over_time(node_load1[1h])")?[0].1 >= before,
        "what was stored stays readable"
    );
    std::fs::remove_file(ballast)?;
    let during = vedette.query("count_over_time(node_load1[1h])")?[0].1;
    wait_for("samples after the disk has space again", START, || {
        Ok((vedette.query("count_over_time(node_load1[1h])")?[0].1 > during + 2.0).then_some(()))
    })?;
    vedette.kill()?;
    let mut again = Vedette::start(folder, None)?;
    again.wait_ready(START)?;
    ensure!(again.query("count_over_time(node_load1[1h])")?[0].1 >= before);
    Ok(())
}

#[test]
fn a_damaged_end_of_the_log_costs_no_more_than_that() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(START)?;
    wait_for("samples", START, || {
        Ok(vedette.query("count_over_time(node_load1[1h])")?.first().is_some_and(|r| r.1 > 3.0).then_some(()))
    })?;
    let before = vedette.query("count_over_time(node_load1[1h])")?[0].1;
    vedette.kill()?;
    let mut damaged = 0;
    for log in logs(&folder.path().join("data"))? {
        let mut bytes = std::fs::read(&log)?;
        if bytes.len() > 64 {
            let place = bytes.len() - 5;
            bytes[place] ^= 0x55;
            std::fs::write(&log, bytes)?;
            damaged += 1;
        }
    }
    ensure!(damaged > 0, "there are logs");
    let mut again = Vedette::start(folder.path(), None)?;
    again.wait_ready(START)?;
    let after = wait_for("samples", START, || {
        Ok(again.query("count_over_time(node_load1[1h])")?.first().map(|r| r.1))
    })?;
    ensure!(after + 2.0 >= before, "{before} samples before, {after} after");
    ensure!(!again.log().contains("panicked"), "{}", again.log());
    Ok(())
}

fn logs(folder: &Path) -> Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(logs(&path)?);
        } else if path.extension().is_some_and(|e| e == "log") {
            found.push(path);
        }
    }
    Ok(found)
}

#[test]
fn a_receiver_that_is_down_is_shown_and_told_later() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hook = Webhook::start()?;
    hook.answer_with(503);
    std::fs::write(
        folder.path().join("rules.yml"),
        "groups:\n- name: test\n  interval: 1s\n  rules:\n  - alert: AlwaysFiring\n    expr: vector(1)\n",
    )?;
    let config = format!(
        "rules: {{builtin: false, files: [rules.yml]}}\nnotify:\n  group_wait: 100ms\n  receivers:\n  - name: hook\n    webhook: {{url: '{}'}}\n",
        hook.url()
    );
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(START)?;
    wait_for("the receiver's failure on the status page", START, || {
        Ok(Some(vedette.part("notify.hook")?)
            .filter(|p| p["health"] != "ok" && p["message"].to_string().contains("503")))
    })?;
    vedette.kill()?;
    hook.answer_with(200);
    let mut again = Vedette::start(folder.path(), Some(&config))?;
    again.wait_ready(START)?;
    wait_for("the notification", Duration::from_secs(60), || Ok((!hook.alerts().is_empty()).then_some(())))?;
    Ok(())
}

#[test]
fn without_rights_for_the_sensor_everything_else_works() -> Result<()> {
    if !is_root() {
        skip!("sensor refused", "dropping capabilities needs root");
    }
    let folder = tempfile::tempdir()?;
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all", "--inh-caps", "-all"]).arg(binary());
    let mut vedette = Vedette::start_by(command, folder.path(), None)?;
    vedette.wait_ready(START)?;
    let part = wait_for("the sensor's account", START, || Ok(vedette.part("sensor").ok()))?;
    ensure!(part["health"] == "off" || part["health"] == "failed", "{part}");
    ensure!(
        !part["message"].as_str().unwrap_or("").is_empty()
            && !part["remedy"].as_str().unwrap_or("").is_empty(),
        "{part}"
    );
    wait_for("samples and the sensor's metric", START, || {
        Ok((!vedette.query("node_load1")?.is_empty() && vedette.query("vedette_sensor_up == 0")?.len() == 1)
            .then_some(()))
    })?;
    Ok(())
}

#[test]
fn bad_queries_are_answered_as_prometheus_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut vedette = Vedette::start(folder.path(), None)?;
    vedette.wait_ready(START)?;
    let long = "x".repeat(2_000_000);
    for (target, status, text) in [
        ("/api/v1/query?query=sum(", 400, "1:5: parse error"),
        ("/api/v1/query", 400, "bad_data"),
        ("/api/v1/query?query=up&time=never", 400, "time"),
        ("/api/v1/query_range?query=up&start=0&end=99999999&step=1", 400, "11,000"),
        ("/api/v1/query_range?query=up&start=10&end=0&step=1", 400, "end timestamp"),
        ("/api/v1/label/%FF/values", 400, "bad_data"),
        ("/api/v1/nothing", 404, ""),
        ("/api/vedette/v1/events?kind=nonsense", 400, "nonsense"),
        ("/api/vedette/v1/events/99999999", 404, ""),
    ] {
        let answer = http::get(vedette.address, target)?;
        ensure!(
            answer.status == status && answer.text().contains(text),
            "{target}: {} {}",
            answer.status,
            answer.text()
        );
    }
    let answer = http::post_form(vedette.address, "/api/v1/query", &[("query", &long)])?;
    ensure!(answer.status >= 400, "a huge query: {}", answer.status);
    let foreign = format!(
        "GET /api/v1/labels HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n",
        vedette.address.port()
    );
    let answer = http::request(vedette.address, &foreign)?;
    ensure!(answer.status >= 400 && answer.status < 500, "a foreign host name: {}", answer.status);
    for garbage in ["\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let _ = http::request(vedette.address, garbage);
    }
    vedette.get("/api/v1/labels")?;
    ensure!(!vedette.log().contains("panicked"), "{}", vedette.log());
    Ok(())
}
