//! The containers of a Docker daemon, asked by its socket or over the network.

use std::{path::PathBuf, time::Duration};

use tokio::time::sleep;
use vedette_config::discovery::Docker;
use vedette_http_client::{Bytes, Client, Limits, Options, Request, status_text};
use vedette_scrape::discovery::DockerTargets;

use super::{DiscoveryParts, Reporter};

const BODY_BYTES_MAX: u64 = 64 << 20;
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

pub(super) struct DockerSource {
    targets: DockerTargets,
    client: Client,
    /// What stands before the paths.
    base: String,
}

impl DockerSource {
    pub(super) fn new(config: &Docker, parts: &DiscoveryParts) -> Result<Self, String> {
        let mut options = Options { unix_socket: None, ..parts.http.clone() };
        let base = match config.host.split_once("://") {
            Some(("unix", path)) => {
                options.unix_socket = Some(PathBuf::from(path));
                "http://docker".to_owned()
            }
            Some(("tcp", address)) => format!("http://{address}"),
            Some(("http" | "https", _)) => config.host.clone(),
            _ => {
                return Err(format!(
                    "host {:?} is no address of a daemon; write unix:///path, tcp://host:port or \
                     http://host:port",
                    config.host
                ));
            }
        };
        let client = Client::new(&config.client, &options).map_err(|e| e.to_string())?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self { targets: DockerTargets::new(config.clone()), client, base })
    }

    pub(super) async fn run(mut self, reporter: Reporter) {
        let interval = self.targets.config().refresh_interval.max(Duration::from_secs(1));
        loop {
            let outcome = self.refresh(interval.min(TIMEOUT_MAX)).await;
            let groups = outcome.is_ok().then(|| self.targets.groups().to_vec());
            if !reporter.tell(groups, outcome) {
                return;
            }
            sleep(interval).await;
        }
    }

    async fn refresh(&mut self, timeout: Duration) -> Result<(), String> {
        let networks = self.ask(self.targets.networks_path(), timeout).await?;
        let containers = self.ask(&self.targets.containers_path(), timeout).await?;
        self.targets.take(&containers, &networks)
    }

    async fn ask(&self, path: &str, timeout: Duration) -> Result<Bytes, String> {
        let request = Request::get(format!("{}{path}", self.base));
        let request = request.body(Bytes::new()).map_err(|e| e.to_string())?;
        let limits = Limits { timeout, body_bytes_max: BODY_BYTES_MAX };
        let response = self.client.send(request, limits).await.map_err(|e| e.to_string())?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("the daemon answered {path} with {}", status_text(status)));
        }
        response.bytes().await.map_err(|e| e.to_string())
    }
}
