//! Samples on their way to another server: the agent sends what it scrapes to Prometheus, and loses
//! nothing when it is killed while Prometheus is away.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use vedette_e2e::{
    http, parts,
    peer::Peer,
    program::{Vedette, free_port},
    skip, wait_for,
};

const START: Duration = Duration::from_secs(60);
/// Generous: a machine may be busy.
const SOON: Duration = Duration::from_secs(180);

/// The value of one of the program's own metrics, of whichever receiver.
fn own(vedette: &Vedette, name: &str) -> Result<f64> {
    let text = http::get(vedette.address, "/metrics")?.text();
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("no {name}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

/// How many samples the receiver has; one that comes again is not counted again.
fn there(address: SocketAddr) -> Result<f64> {
    let text = http::get(address, "/metrics")?.text();
    let line = text.lines().find(|line| line.starts_with("prometheus_tsdb_head_samples_appended_total"));
    let line = line.context("the receiver does not count its samples")?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}

#[test]
fn an_agent_that_is_killed_while_prometheus_is_away_loses_nothing() -> Result<()> {
    let binary = parts().join("usr/bin/prometheus");
    if !binary.is_file() {
        skip!("prometheus as a receiver", "it is not unpacked");
    }
    // A receiver of 2.42 is told 2.0 first: it does not look at the type of what it gets.
    for message in ["prometheus.WriteRequest", "io.prometheus.write.v2.Request"] {
        let folder = tempfile::tempdir()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let config = |target: SocketAddr| {
            format!(
                "global: {{scrape_interval: 1s, external_labels: {{site: here}}}}\n\
                 scrape_configs:\n- job_name: itself\n  static_configs: [{{targets: ['{target}']}}]\n\
                 remote_write:\n- url: http://{address}/api/v1/write\n  name: far\n  protobuf_message: {message}\n  \
                 queue_config: {{batch_send_deadline: 100ms, max_backoff: 1s}}\n"
            )
        };
        let file = folder.path().join("prometheus.yml");
        // The first one scrapes nobody in particular: its `up` is 0, and is sent all the same.
        std::fs::write(&file, config(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?))))?;
        let own_config = "prometheus_config: prometheus.yml\n";
        let mut agent = Vedette::start_as("agent", folder.path(), own_config)?;
        agent.wait_ready(START)?;
        std::fs::write(&file, config(agent.address))?;
        let spooled = wait_for("spooled samples", SOON, || {
            let spooled = own(&agent, "vedette_remote_spool_samples_in_total")?;
            Ok((spooled > 2000.0).then_some(spooled))
        })?;
        agent.kill()?;

        let mut agent = Vedette::start_as("agent", folder.path(), own_config)?;
        agent.wait_ready(START)?;
        let waiting = own(&agent, "vedette_remote_storage_samples_pending{")?;
        ensure!(waiting >= spooled, "{waiting} wait after the kill, {spooled} were spooled before");
        let _receiver = Peer::receiver(&binary, folder.path(), address)?;
        wait_for(
            "what was spooled at the receiver",
            SOON,
            || Ok((there(address)? >= spooled).then_some(())),
        )?;
        ensure!(own(&agent, "vedette_remote_storage_protocol_version{")? < 1.5, "2.42 speaks 1.0 only");
        let lost = own(&agent, "vedette_remote_storage_samples_failed_total{")?;
        ensure!(lost < 0.5, "{lost} samples were refused: {}", agent.log());
        let refused = http::get(agent.address, "/api/v1/query?query=up")?;
        ensure!(
            refused.text().contains("unavailable with Prometheus Agent"),
            "{} {}",
            refused.status,
            refused.text()
        );
    }
    Ok(())
}
