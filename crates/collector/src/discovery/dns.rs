//! Names whose records are targets, asked for at the name servers of the machine.
//!
//! The question goes to each server of `/etc/resolv.conf` in turn until one knows, by UDP, and by TCP
//! where the answer is too long. That nobody knows the name is an answer, too: it has no targets.

mod client;
pub mod message;
mod resolv_conf;

use std::time::Duration;

use tokio::time::sleep;
use vedette_config::discovery::DnsDiscovery;
use vedette_scrape::discovery::DnsTargets;

use super::Reporter;

use client::look_up;
use resolv_conf::ResolvConf;

const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) struct DnsSource {
    targets: DnsTargets,
    interval: Duration,
    /// Servers that are asked instead of those of the machine.
    servers: Option<ResolvConf>,
}

impl DnsSource {
    pub(super) fn new(config: &DnsDiscovery) -> Self {
        let interval = config.refresh_interval.max(Duration::from_secs(1));
        Self { targets: DnsTargets::new(config.clone()), interval, servers: None }
    }

    /// Asks these servers.
    #[cfg(test)]
    pub(super) fn with_servers(mut self, servers: Vec<std::net::SocketAddr>) -> Self {
        self.servers = Some(ResolvConf { servers, search: Vec::new(), dots_min: 1 });
        self
    }

    /// What is known.
    #[cfg(test)]
    pub(super) fn targets(&self) -> &DnsTargets {
        &self.targets
    }

    pub(super) async fn run(mut self, reporter: Reporter) {
        loop {
            let outcome = self.refresh().await;
            if !reporter.tell(Some(self.targets.groups().to_vec()), outcome) {
                return;
            }
            sleep(self.interval).await;
        }
    }

    /// Asks for all names. Those that cannot be asked for keep their targets.
    pub(super) async fn refresh(&mut self) -> Result<(), String> {
        let servers = match &self.servers {
            Some(servers) => servers.clone(),
            None => {
                // It may change while we run, as with a new network.
                let text = tokio::fs::read_to_string(RESOLV_CONF).await;
                ResolvConf::parse(&text.map_err(|e| format!("cannot read {RESOLV_CONF}: {e}"))?)
            }
        };
        let record = self.targets.record();
        let mut errors = Vec::new();
        for number in 0..self.targets.names().len() {
            let name = self.targets.names()[number].clone();
            match look_up(&servers, &name, record).await {
                Ok(answers) => self.targets.take(number, &answers),
                Err(error) => errors.push(format!("{name:?}: {error}")),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}
