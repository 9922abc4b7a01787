//! A list of targets that a web server gives.

use std::time::Duration;

use tokio::time::sleep;
use vedette_config::discovery::HttpDiscovery;
use vedette_http_client::{Bytes, Client, Limits, Request, header::CONTENT_TYPE};
use vedette_scrape::discovery::{HttpTargets, ListAnswer};

use super::{DiscoveryParts, Reporter};

/// A longer list is refused.
const BODY_BYTES_MAX: u64 = 16 << 20;

pub(super) struct HttpSource {
    targets: HttpTargets,
    client: Client,
}

impl HttpSource {
    pub(super) fn new(config: &HttpDiscovery, parts: &DiscoveryParts) -> Result<Self, String> {
        let client = Client::new(&config.client, &parts.http).map_err(|e| e.to_string())?;
        Ok(Self { targets: HttpTargets::new(config.clone()), client })
    }

    pub(super) async fn run(mut self, reporter: Reporter) {
        let interval = self.targets.config().refresh_interval.max(Duration::from_secs(1));
        loop {
            let outcome = match self.ask(interval).await {
                Ok(answer) => self.targets.take(&answer),
                Err(error) => Err(error),
            };
            let groups = outcome.is_ok().then(|| self.targets.groups().to_vec());
            if !reporter.tell(groups, outcome) {
                return;
            }
            sleep(interval).await;
        }
    }

    async fn ask(&self, interval: Duration) -> Result<ListAnswer, String> {
        let mut request = Request::get(self.targets.config().url.as_str());
        for (name, value) in self.targets.headers() {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::new()).map_err(|e| e.to_string())?;
        let limits = Limits { timeout: interval, body_bytes_max: BODY_BYTES_MAX };
        let response = self.client.send(request, limits).await.map_err(|e| e.to_string())?;
        let content_type = response.headers().get(CONTENT_TYPE).map(|v| v.as_bytes()).unwrap_or_default();
        let content_type = String::from_utf8_lossy(content_type).into_owned();
        let status = response.status().as_u16();
        let body = response.bytes().await.map_err(|e| e.to_string())?;
        Ok(ListAnswer { status, content_type, body: body.into() })
    }
}
