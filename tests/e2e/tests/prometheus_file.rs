//! `prometheus.yml` at work in the real program: discovery, scrapes, rules, and reading it again.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};
use vedette_e2e::{binary, http, program::Vedette, wait_for};

const START: Duration = Duration::from_secs(30);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";

/// A configuration whose only job has this name.
fn write(folder: &Path, job: &str) -> Result<()> {
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{site: here}}}}\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n- job_name: {job}\n  file_sd_configs: [{{files: [targets.json]}}]\n  \
         ec2_sd_configs: [{{region: nowhere}}]\n"
    );
    Ok(std::fs::write(folder.join("prometheus.yml"), text)?)
}

fn hang_up(vedette: &Vedette) -> Result<()> {
    let status = Command::new("kill").args(["-HUP", &vedette.pid().to_string()]).status()?;
    ensure!(status.success(), "cannot send SIGHUP");
    Ok(())
}

fn wait_value(vedette: &Vedette, expr: &str, expected: f64) -> Result<()> {
    wait_for(expr, SOON, || {
        let rows = vedette.query(expr)?;
        Ok((rows.len() == 1 && (rows[0].1 - expected).abs() < 1e-9).then_some(()))
    })
}

fn wait_metric(vedette: &Vedette, line: &str) -> Result<()> {
    wait_for(line, SOON, || {
        let text = http::get(vedette.address, "/metrics")?.text();
        Ok(text.lines().any(|have| have == line).then_some(()))
    })
}

#[test]
fn a_prometheus_file_is_put_to_work_and_read_again() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write(folder.path(), "first")?;
    let rules = "groups: [{name: g, rules: [{record: seen, expr: 'count(up == 1)'}, \
                 {alert: Here, expr: 'vector(1)', annotations: {at: '{{ $externalLabels.site }}'}}]}]\n";
    std::fs::write(folder.path().join("rules.yml"), rules)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    let targets = format!("[{{\"targets\": [\"{}\"], \"labels\": {{\"a\": \"b\"}}}}]", vedette.address);
    std::fs::write(folder.path().join("targets.json"), targets)?;
    wait_value(&vedette, "up{job=\"first\",a=\"b\"}", 1.0)?;
    wait_value(&vedette, "seen", 1.0)?;
    let alerts = vedette.get("/api/v1/alerts")?.to_string();
    ensure!(alerts.contains("\"at\":\"here\""), "{alerts}");
    wait_metric(&vedette, "vedette_discovery_not_run{config=\"first\",kind=\"ec2\"} 1")?;
    let part = vedette.part("discovery")?.to_string();
    ensure!(part.contains("ec2_sd_configs") && part.contains("http_sd_configs"), "{part}");

    // What is refused changes nothing and is seen.
    wait_metric(&vedette, "vedette_config_last_reload_successful 1")?;
    std::fs::write(folder.path().join("prometheus.yml"), "scrape_configs: [{}]\n")?;
    hang_up(&vedette)?;
    wait_metric(&vedette, "vedette_config_last_reload_successful 0")?;
    wait_metric(&vedette, "prometheus_config_last_reload_successful 0")?;
    let part = vedette.part("prometheus_config")?;
    ensure!(part["health"] == "degraded" && part.to_string().contains("prometheus.yml:1"), "{part}");
    wait_value(&vedette, "up{job=\"first\"}", 1.0)?;

    // By signal, and by itself.
    write(folder.path(), "second")?;
    hang_up(&vedette)?;
    wait_value(&vedette, "up{job=\"second\"}", 1.0)?;
    wait_for("the end of the first job", SOON, || {
        Ok(vedette.query("up{job=\"first\"}")?.is_empty().then_some(()))
    })?;
    write(folder.path(), "third")?;
    wait_value(&vedette, "up{job=\"third\"}", 1.0)?;
    wait_metric(&vedette, "vedette_config_last_reload_successful 1")?;
    let status = vedette.terminate(SOON)?;
    ensure!(status.success(), "{status}: {}", vedette.log());
    Ok(())
}

#[test]
fn a_prometheus_file_is_checked_without_starting() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let check = || {
        let file = folder.path().join("prometheus.yml");
        Command::new(binary()).args(["check", "prometheus-config"]).arg(file).output()
    };
    write(folder.path(), "a")?;
    std::fs::write(folder.path().join("rules.yml"), "groups: [{name: g, rules: [{record: a, expr: b}]}]\n")?;
    let out = check()?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(out.status.success() && said.contains("1 scrape jobs, 1 rules"), "{out:?}");
    std::fs::write(
        folder.path().join("rules.yml"),
        "groups: [{name: g, rules: [{record: a, expr: 'b('}]}]\n",
    )?;
    let out = check()?;
    let said = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.code() == Some(1) && said.contains("rules.yml"), "{out:?}");
    Ok(())
}
