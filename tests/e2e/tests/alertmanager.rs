//! Debian's Alertmanager gets the alerts of a configuration of Prometheus.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use vedette_e2e::{
    http, parts,
    program::{Vedette, free_port},
    skip, wait_for,
};

/// Alerts that were sent before the Alertmanagers were known are sent again after a minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// Alertmanager, killed when dropped.
struct Alertmanager {
    child: Child,
    address: SocketAddr,
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Alertmanager {
    /// One that tells nobody, below the path `/am`. Debian's has its templates below `/usr/share`, which
    /// stand in for the machine's own in a name space of its own.
    fn start(folder: &Path) -> Result<Self> {
        let parts = parts();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = folder.join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")?;
        let log = std::fs::File::create(folder.join("alertmanager.log"))?;
        let child = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg("mount --bind \"$1/usr/share\" /usr/share && shift && exec \"$@\"")
            .arg("sh")
            .arg(&parts)
            .arg(parts.join("usr/bin/prometheus-alertmanager"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("alertmanager").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.route-prefix=/am", "--cluster.listen-address="])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start unshare")?;
        Ok(Self { child, address })
    }

    /// Whether it is ready; an error if it has ended.
    fn is_ready(&mut self) -> Result<bool> {
        ensure!(self.child.try_wait()?.is_none(), "Alertmanager ended");
        Ok(http::get(self.address, "/am/-/ready").is_ok_and(|a| a.status == 200))
    }

    /// The alerts that it knows as active.
    fn alerts(&self) -> Result<Vec<Value>> {
        let answer = http::get(self.address, "/am/api/v2/alerts?active=true")?;
        Ok(answer.json()?.as_array().context("no list of alerts")?.clone())
    }
}

/// Sends a sample of now, with the value 1, by remote write.
#[expect(clippy::disallowed_methods, reason = "other programs live by the clock of the machine")]
fn send_sample(address: SocketAddr, name: &str) -> Result<()> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let label = [field(1, b"__name__"), field(2, name.as_bytes())].concat();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
    let mut sample = [&[0x09][..], &1.0_f64.to_le_bytes(), &[0x10]].concat();
    let mut rest = now_ms;
    while rest > 0x7f {
        sample.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    sample.push(rest as u8);
    let message = field(1, &[field(1, &label), field(2, &sample)].concat());
    // As snappy writes what it does not compress.
    let length = u8::try_from(message.len())?;
    ensure!(length < 60, "the message is too long for its head");
    let body = [&[length, (length - 1) << 2][..], &message].concat();
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Encoding: snappy\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&[head.as_bytes(), &body].concat())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 20"), "{answer}");
    Ok(())
}

#[test]
fn alertmanager_gets_alerts_and_their_end() -> Result<()> {
    if !parts().join("usr/bin/prometheus-alertmanager").is_file() {
        skip!("alertmanager", "Debian's prometheus-alertmanager is not unpacked");
    }
    let folder = tempfile::tempdir()?;
    let mut alertmanager = Alertmanager::start(folder.path())?;
    if wait_for("Alertmanager", PATIENCE, || Ok(alertmanager.is_ready()?.then_some(()))).is_err() {
        let log = std::fs::read_to_string(folder.path().join("alertmanager.log"))?;
        // Where nobody may make a name space, there is no Alertmanager of Debian's.
        if log.contains("unshare") || log.contains("mount:") {
            skip!("alertmanager", "no name space can be made here: {}", log.trim());
        }
        anyhow::bail!("Alertmanager does not start: {log}");
    }
    let (address, dead) = (alertmanager.address, free_port()?);
    let write = |file: &str, text: &str| std::fs::write(folder.path().join(file), text);
    write(
        "prometheus.yml",
        &format!(
            "global: {{evaluation_interval: 1s, external_labels: {{cluster: c1, replica: r1}}}}\n\
             rule_files: [rules.yml]\n\
             alerting:\n  alert_relabel_configs: [{{regex: replica, action: labeldrop}}]\n  alertmanagers:\n  \
             - {{path_prefix: /am, static_configs: [{{targets: ['{address}']}}]}}\n  \
             - {{static_configs: [{{targets: ['127.0.0.1:{dead}']}}]}}\n"
        ),
    )?;
    write(
        "rules.yml",
        "groups:\n- name: g\n  rules:\n  - alert: Burning\n    expr: absent(water)\n    labels: {severity: page}\n    \
         annotations: {summary: 'it burns: {{ $value }}'}\n",
    )?;
    let config = format!("prometheus_config: {}\n", folder.path().join("prometheus.yml").display());
    let mut vedette = Vedette::start(folder.path(), Some(&config))?;
    vedette.wait_ready(PATIENCE)?;
    let alert = wait_for("the alert", PATIENCE, || {
        let alerts = alertmanager.alerts()?;
        Ok(alerts.into_iter().find(|a| a["labels"]["alertname"] == "Burning"))
    })?;
    let labels = serde_json::json!({"alertname": "Burning", "severity": "page", "cluster": "c1"});
    ensure!(alert["labels"] == labels, "{alert}");
    ensure!(alert["annotations"]["summary"] == "it burns: 1", "{alert}");
    let link = alert["generatorURL"].as_str().unwrap_or_default();
    ensure!(link.ends_with("/graph?g0.expr=absent%28water%29&g0.tab=1"), "{link}");
    // The one that is not there is told of, and does not keep alerts from the other.
    let known = http::get(vedette.address, "/api/v1/alertmanagers")?;
    let known = known.json()?;
    let urls = known["data"]["activeAlertmanagers"].to_string();
    ensure!(urls.contains(&format!("http://{address}/am/api/v2/alerts")), "{known}");
    ensure!(urls.contains(&format!("http://127.0.0.1:{dead}/api/v2/alerts")), "{known}");
    let lost = format!(
        "vedette_response_alerts_lost_total{{alertmanager=\"http://127.0.0.1:{dead}/api/v2/alerts\"}}"
    );
    wait_for("the loss", PATIENCE, || {
        let metrics = http::get(vedette.address, "/metrics")?.text();
        Ok(metrics.lines().any(|l| l.starts_with(&lost) && !l.ends_with(" 0")).then_some(()))
    })?;
    // Over: told at once, not only when what was told has run out.
    send_sample(vedette.address, "water")?;
    wait_for("the end of the alert", PATIENCE, || Ok(alertmanager.alerts()?.is_empty().then_some(())))?;
    Ok(())
}
