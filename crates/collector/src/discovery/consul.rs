//! Services of Consul by blocking queries: one waits for changes of the catalogue, one for each
//! service that is watched.
//!
//! A query that is answered is asked again after the refresh interval with the index of the answer;
//! one that fails after a while with the same index.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::{task::JoinSet, time::sleep};
use vedette_config::discovery::Consul;
use vedette_http_client::{Bytes, Client, Limits, Request, status_text};
use vedette_scrape::discovery::ConsulTargets;

use super::{DiscoveryParts, Reporter};

/// A blocking query waits for two minutes and a sixteenth of that; the rest is for the network.
const TIMEOUT: Duration = Duration::from_secs(150);
const RETRY_AFTER: Duration = Duration::from_secs(15);
const BODY_BYTES_MAX: u64 = 64 << 20;

pub(super) struct ConsulSource {
    targets: ConsulTargets,
    client: Client,
}

/// What is asked: the catalogue, or one service.
type What = Option<String>;

/// What is asked of, and how it went.
struct Watch {
    /// Tells it from an earlier watch over the same service, whose query may still be under way.
    id: u64,
    index: u64,
    error: Option<String>,
}

/// All watches, and the queries that are under way.
#[derive(Default)]
struct Watches {
    all: BTreeMap<What, Watch>,
    asked: JoinSet<(What, u64, Answer)>,
    next_id: u64,
}

/// An answer and its index.
type Answer = Result<(Bytes, u64), String>;

impl ConsulSource {
    pub(super) fn new(config: &Consul, parts: &DiscoveryParts) -> Result<Self, String> {
        let client = Client::new(&config.client, &parts.http).map_err(|e| e.to_string())?;
        let targets = ConsulTargets::new(config.clone());
        targets.catalogue_url(0).map_err(|e| format!("server {:?}: {e}", config.server))?;
        Ok(Self { targets, client })
    }

    pub(super) async fn run(mut self, reporter: Reporter) {
        let mut watches = Watches::default();
        let config = self.targets.config().clone();
        if config.services.is_empty() || !config.tags.is_empty() || !config.filter.is_empty() {
            self.watch(None, &mut watches);
        } else {
            // Who may not read the catalogue can still watch the services that are named.
            let named: BTreeMap<&str, [&str; 0]> = config.services.iter().map(|s| (s.as_str(), [])).collect();
            let catalogue = serde_json::to_vec(&named).expect("BUG: a map of texts can be written as JSON");
            if let Err(error) = self.targets.take_catalogue(&catalogue) {
                reporter.tell(None, Err(error));
                return;
            }
            self.watch_services(&mut watches);
        }
        while let Some(done) = watches.asked.join_next().await {
            // A query is not lost unless the runtime ends.
            let Ok((what, id, answer)) = done else { return };
            // A service that is gone from the catalogue is asked for no more.
            let Some(watch) = watches.all.get_mut(&what).filter(|watch| watch.id == id) else { continue };
            let outcome = match answer {
                Ok((body, index)) => {
                    // An index that went back belongs to another life of the server.
                    watch.index = if index < watch.index { 0 } else { index };
                    match &what {
                        None => self.targets.take_catalogue(&body),
                        Some(service) => self.targets.take_service(service, &body),
                    }
                }
                Err(error) => Err(error),
            };
            let pause = if outcome.is_ok() { config.refresh_interval } else { RETRY_AFTER };
            watch.error = outcome.err();
            let index = watch.index;
            if what.is_none() {
                self.watch_services(&mut watches);
            }
            self.ask(what, id, index, pause, &mut watches.asked);
            let error = watches.all.values().find_map(|watch| watch.error.clone());
            if !reporter.tell(Some(self.targets.groups()), error.map_or(Ok(()), Err)) {
                return;
            }
        }
    }

    /// Watches services that are new in the catalogue and forgets those that are gone.
    fn watch_services(&self, watches: &mut Watches) {
        let services: BTreeSet<&str> = self.targets.services().collect();
        watches.all.retain(|what, _| what.as_ref().is_none_or(|service| services.contains(service.as_str())));
        for service in services {
            let what = Some(service.to_owned());
            if !watches.all.contains_key(&what) {
                self.watch(what, watches);
            }
        }
    }

    fn watch(&self, what: What, watches: &mut Watches) {
        let id = watches.next_id;
        watches.next_id += 1;
        watches.all.insert(what.clone(), Watch { id, index: 0, error: None });
        self.ask(what, id, 0, Duration::ZERO, &mut watches.asked);
    }

    fn ask(
        &self,
        what: What,
        id: u64,
        index: u64,
        pause: Duration,
        asked: &mut JoinSet<(What, u64, Answer)>,
    ) {
        let url = match &what {
            None => self.targets.catalogue_url(index),
            Some(service) => self.targets.service_url(service, index),
        };
        let client = self.client.clone();
        let token = self.targets.config().token.clone();
        asked.spawn(async move {
            sleep(pause).await;
            let answer = async {
                let mut request = Request::get(url.map_err(|e| e.to_string())?.as_str());
                if let Some(token) = token {
                    request = request.header("X-Consul-Token", token.expose());
                }
                let request = request.body(Bytes::new()).map_err(|e| e.to_string())?;
                let limits = Limits { timeout: TIMEOUT, body_bytes_max: BODY_BYTES_MAX };
                let response = client.send(request, limits).await.map_err(|e| e.to_string())?;
                let status = response.status();
                let index =
                    response.headers().get("X-Consul-Index").and_then(|v| v.to_str().ok()?.parse().ok());
                let body = response.bytes().await.map_err(|e| e.to_string())?;
                if !status.is_success() {
                    let said: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                    return Err(format!("the server answered {}: {said}", status_text(status)));
                }
                Ok((body, index.unwrap_or(0)))
            };
            let answer = answer.await;
            (what, id, answer)
        });
    }
}
