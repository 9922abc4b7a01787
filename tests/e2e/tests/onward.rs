//! What is pushed goes on to another server, by a server that keeps it and by an agent that keeps nothing.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, ensure};
use vedette_e2e::{
    http, parts,
    peer::Peer,
    program::{Vedette, free_port},
    skip, wait_for,
};

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(180);

/// Pushes lines of InfluxDB.
fn push(vedette: &Vedette, lines: &str) -> Result<()> {
    let (address, length) = (vedette.address, lines.len());
    let request = format!(
        "POST /write HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{lines}"
    );
    let answer = http::request(address, &request)?;
    ensure!(answer.status == 204, "{} {}", answer.status, answer.text());
    Ok(())
}

/// Waits until the receiver has the value of a series.
fn wait_far(address: SocketAddr, query: &str, value: &str) -> Result<()> {
    wait_for(query, SOON, || {
        let Ok(answer) = http::get(address, &format!("/api/v1/query?query={}", http::escape(query))) else {
            return Ok(None);
        };
        Ok(answer.text().contains(&format!("\"{value}\"]")).then_some(()))
    })
}

#[test]
fn what_is_pushed_and_recorded_goes_on_to_prometheus() -> Result<()> {
    let binary = parts().join("usr/bin/prometheus");
    if !binary.is_file() {
        skip!("prometheus as a receiver", "it is not unpacked");
    }
    for role in ["server", "agent"] {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let _receiver = Peer::receiver(&binary, folder.path(), address)?;
        let rules = if role == "server" { "rule_files: [rules.yml]\n" } else { "" };
        let plain = format!("global: {{evaluation_interval: 1s, external_labels: {{site: here}}}}\n{rules}");
        let sending = format!(
            "{plain}remote_write:\n- url: http://{address}/api/v1/write\n  \
             queue_config: {{batch_send_deadline: 100ms}}\n"
        );
        std::fs::write(
            folder.path().join("rules.yml"),
            "groups: [{name: g, rules: [{record: doubled, expr: '2 * pushed_v'}, {alert: High, expr: 'pushed_v > 5'}]}]\n",
        )?;
        let file = folder.path().join("prometheus.yml");
        // The receiver of the server comes with a later reading, when series are known already.
        std::fs::write(&file, if role == "server" { &plain } else { &sending })?;
        let mut vedette = Vedette::start_as(role, folder.path(), "prometheus_config: prometheus.yml\n")?;
        vedette.wait_ready(START)?;
        push(&vedette, "pushed,t=x v=3\n")?;
        if role == "server" {
            std::fs::write(&file, &sending)?;
            wait_for("the changed configuration", SOON, || {
                let text = http::get(vedette.address, "/api/v1/status/config")?.text();
                Ok(text.contains(&address.to_string()).then_some(()))
            })?;
        } else {
            // Lines without a time get that of their arrival: two in the same millisecond would be one sample.
            wait_far(address, "pushed_v{t=\"x\",site=\"here\"}", "3")?;
        }
        push(&vedette, "pushed,t=x v=7\nother v=1\n")?;
        wait_far(address, "pushed_v{t=\"x\",site=\"here\"}", "7")?;
        wait_far(address, "other_v{site=\"here\"}", "1")?;
        if role == "server" {
            wait_far(address, "doubled{t=\"x\",site=\"here\"}", "14")?;
            wait_far(address, "ALERTS{alertname=\"High\",alertstate=\"firing\",site=\"here\"}", "1")?;
        } else {
            let refused = http::get(vedette.address, "/api/v1/query?query=up")?;
            let words = "unavailable with Prometheus Agent";
            ensure!(refused.status == 422 && refused.text().contains(words), "{}", refused.text());
            for store in ["metrics", "events", "ruler"] {
                ensure!(!folder.path().join("data").join(store).exists(), "an agent has {store}");
            }
        }
        vedette.terminate(START)?;
    }
    Ok(())
}
