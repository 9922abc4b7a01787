//! Exporters that people run, scraped for real: Debian's node exporter and blackbox exporter, the latter
//! by the relabelling that its users write.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{http, parts, peer::Peer, program::Vedette, skip, wait_for};

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(120);

const CONFIG: &str = "prometheus_config: prometheus.yml\ncollect: {figures: off, sensor: off}\n";

/// One of Debian's exporters, or `None` where it is not unpacked.
fn exporter(name: &str, folder: &Path, address: SocketAddr, args: &[String]) -> Result<Option<Peer>> {
    let binary = parts().join("usr/bin").join(name);
    if !binary.is_file() {
        return Ok(None);
    }
    let mut command = Command::new(binary);
    command.arg(format!("--web.listen-address={address}")).args(args);
    let mut peer = Peer::start(&mut command, folder, name, address)?;
    peer.wait_ready("/metrics", START)?;
    Ok(Some(peer))
}

fn wait_value(vedette: &Vedette, expr: &str, expected: f64) -> Result<()> {
    wait_for(&format!("{expr} = {expected}"), SOON, || {
        let rows = vedette.query(expr)?;
        Ok((rows.len() == 1 && (rows[0].1 - expected).abs() < 1e-9).then_some(()))
    })
}

/// What the API tells of the target of this job and instance.
fn target(vedette: &Vedette, job: &str, instance: &str) -> Result<Value> {
    let targets = vedette.targets()?;
    let of = |t: &&Value| t["labels"]["job"] == job && t["labels"]["instance"] == instance;
    targets.iter().find(of).cloned().with_context(|| format!("there is no target {job} {instance}"))
}

/// The names of samples in an exposition of text.
fn sample_names(body: &str) -> BTreeSet<String> {
    let samples = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.filter_map(|line| Some(line.split(['{', ' ']).next()?.to_owned())).collect()
}

#[test]
fn the_node_exporter_is_scraped_with_all_its_families_and_their_metadata() -> Result<()> {
    const NAME: &str = "prometheus-node-exporter";
    let folder = tempfile::tempdir()?;
    let (address, absent) = (Peer::free_address()?, Peer::free_address()?);
    let Some(node) = exporter(NAME, folder.path(), address, &[])? else {
        skip!(NAME, "it is not unpacked");
    };
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
         - job_name: node\n  static_configs: [{{targets: ['{address}']}}]\n\
         - job_name: absent\n  static_configs: [{{targets: ['{absent}']}}]\n"
    );
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    wait_value(&vedette, "up{job=\"node\"}", 1.0)?;

    // Every name that it tells is there. What is told for the first time by the second scrape comes.
    let told = sample_names(&http::get(address, "/metrics")?.text());
    ensure!(told.len() > 100, "{told:?}");
    wait_for("all names of the exporter", SOON, || {
        let path = format!("/api/v1/label/__name__/values?match[]={}", http::escape("{job=\"node\"}"));
        let answer = vedette.get(&path)?;
        let stored: BTreeSet<&str> =
            answer["data"].as_array().context("no list")?.iter().filter_map(Value::as_str).collect();
        let missing: Vec<_> = told.iter().filter(|name| !stored.contains(name.as_str())).collect();
        ensure!(missing.is_empty(), "{missing:?} are not there");
        Ok(Some(()))
    })?;
    let kept = "scrape_samples_scraped{job=\"node\"} == bool scrape_samples_post_metric_relabeling";
    wait_value(&vedette, kept, 1.0)?;

    // The metadata of families, of all targets and of this one.
    let all = vedette.get("/api/v1/metadata?metric=node_cpu_seconds_total")?;
    ensure!(all["data"]["node_cpu_seconds_total"][0]["type"] == "counter", "{all}");
    ensure!(all["data"]["node_cpu_seconds_total"][0]["help"].to_string().contains("CPU"), "{all}");
    let path =
        format!("/api/v1/targets/metadata?metric=node_load1&match_target={}", http::escape("{job=\"node\"}"));
    let of_target = vedette.get(&path)?;
    ensure!(of_target["data"][0]["type"] == "gauge", "{of_target}");
    ensure!(of_target["data"][0]["target"]["instance"] == address.to_string(), "{of_target}");

    // Nobody listens there.
    wait_value(&vedette, "up{job=\"absent\"}", 0.0)?;
    let gone = target(&vedette, "absent", &absent.to_string())?;
    ensure!(gone["health"] == "down", "{gone}");
    ensure!(gone["lastError"].to_string().contains("connection refused"), "{gone}");
    let sound = target(&vedette, "node", &address.to_string())?;
    ensure!(sound["health"] == "up" && sound["lastError"] == "", "{sound}");

    // It ends: its series end at once, and the target says why. It comes back: they go on.
    drop(node);
    wait_value(&vedette, "up{job=\"node\"}", 0.0)?;
    wait_for("the end of its series", SOON, || {
        Ok(vedette.query("node_load1{job=\"node\"}")?.is_empty().then_some(()))
    })?;
    let ended = target(&vedette, "node", &address.to_string())?;
    ensure!(ended["health"] == "down" && ended["lastError"].to_string().contains("refused"), "{ended}");
    let _node = exporter(NAME, folder.path(), address, &[])?;
    wait_value(&vedette, "up{job=\"node\"}", 1.0)?;
    wait_value(&vedette, "count(node_load1{job=\"node\"})", 1.0)?;
    Ok(())
}

#[test]
fn the_blackbox_exporter_probes_what_relabelling_tells_it() -> Result<()> {
    const NAME: &str = "prometheus-blackbox-exporter";
    let folder = tempfile::tempdir()?;
    let (address, closed) = (Peer::free_address()?, Peer::free_address()?);
    let modules = folder.path().join("blackbox.yml");
    std::fs::write(&modules, "modules: {http_2xx: {prober: http}, tcp_connect: {prober: tcp}}\n")?;
    let args = [format!("--config.file={}", modules.display())];
    let Some(_blackbox) = exporter(NAME, folder.path(), address, &args)? else {
        skip!(NAME, "it is not unpacked");
    };
    // As its own documentation has it: the target becomes a parameter, and the exporter is asked.
    let probe = |module: &str, targets: &[String]| {
        format!(
            "- job_name: {module}\n  metrics_path: /probe\n  params: {{module: [{module}]}}\n  \
             static_configs: [{{targets: {targets:?}}}]\n  relabel_configs:\n  \
             - {{source_labels: [__address__], target_label: __param_target}}\n  \
             - {{source_labels: [__param_target], target_label: instance}}\n  \
             - {{target_label: __address__, replacement: '{address}'}}\n"
        )
    };
    let (sound, wrong) = (format!("http://{address}/"), format!("http://{address}/probe"));
    let text = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n{}{}{}",
        probe("http_2xx", &[sound.clone(), wrong.clone()]),
        probe("tcp_connect", &[address.to_string(), closed.to_string()]),
        probe("unknown", std::slice::from_ref(&sound)),
    );
    std::fs::write(folder.path().join("prometheus.yml"), text)?;
    let mut vedette = Vedette::start(folder.path(), Some(CONFIG))?;
    vedette.wait_ready(START)?;
    for (job, instance, success) in [
        ("http_2xx", &sound, 1.0),
        // It answers with 400, as it is told no target.
        ("http_2xx", &wrong, 0.0),
        ("tcp_connect", &address.to_string(), 1.0),
        ("tcp_connect", &closed.to_string(), 0.0),
    ] {
        let of = format!("{{job=\"{job}\", instance=\"{instance}\"}}");
        wait_value(&vedette, &format!("probe_success{of}"), success)?;
        // That the probe fails is no failure of the scrape.
        wait_value(&vedette, &format!("up{of}"), 1.0)?;
    }
    wait_value(&vedette, &format!("probe_http_status_code{{instance=\"{wrong}\"}}"), 400.0)?;
    let asked = target(&vedette, "http_2xx", &sound)?;
    ensure!(asked["discoveredLabels"]["__address__"] == sound, "{asked}");
    ensure!(asked["scrapeUrl"].to_string().contains(&format!("{address}/probe?")), "{asked}");
    ensure!(asked["labels"].as_object().is_some_and(|labels| labels.len() == 2), "{asked}");
    let help = vedette.get("/api/v1/metadata?metric=probe_success")?;
    ensure!(help["data"]["probe_success"][0]["type"] == "gauge", "{help}");
    // A module that it does not have.
    wait_value(&vedette, "up{job=\"unknown\"}", 0.0)?;
    let refused = target(&vedette, "unknown", &sound)?;
    ensure!(refused["lastError"].to_string().contains("HTTP status 400"), "{refused}");
    Ok(())
}
