//! The questions to parts, and what comes of each: an answer, or why there is none.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;
use url::Url;
use vedette_http_client::{Bytes, Certificate, Client, Error as Fault, Limits, Options, Request};
use vedette_sys::{Clock, MonotonicTime};

use super::{
    endpoint::{self, Endpoints},
    etcd::MemberFigures,
    lease::Lease,
    probe::{Probe, Reply},
};
use crate::{Api, Error, Right, objects::Object as _};

/// A verbose answer has some 3 KB, and figures of etcd some 100 KB.
const BODY_BYTES_MAX: u64 = 4 << 20;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain, */*";

/// What came of one question.
pub(super) struct Asked {
    pub(super) began: MonotonicTime,
    pub(super) ended: MonotonicTime,
    pub(super) reply: Reply,
    /// Between us and whoever was asked.
    pub(super) certificates: Vec<Certificate>,
}

/// What came of asking a member of etcd.
pub(super) struct Member {
    pub(super) health: Asked,
    pub(super) figures: Option<MemberFigures>,
}

/// A health endpoint that is asked again and again.
pub(super) struct Endpoint {
    pub(super) part: &'static str,
    pub(super) instance: Box<str>,
    url: String,
    alike: Endpoints,
    options: Options,
    /// The client, and the number of the cluster's credentials that it shows.
    client: Mutex<(Client, u64)>,
}

impl Endpoint {
    /// Fails where its certificates cannot be used.
    pub(super) fn new(alike: &Endpoints, url: &Url, options: &Options) -> Result<Self, Fault> {
        Ok(Self {
            part: alike.part,
            instance: endpoint::instance(url),
            url: endpoint::asked(url),
            client: Mutex::new((Client::new(&alike.client, options)?, 0)),
            alike: alike.clone(),
            options: options.clone(),
        })
    }

    pub(super) async fn ask(&self, api: &Api, clock: &dyn Clock, timeout: Duration) -> Asked {
        let began = clock.monotonic();
        let (reply, certificates) = match self.client(api, timeout).await {
            Ok(client) => {
                let left = timeout.saturating_sub(clock.monotonic().since(began));
                fetch(&client, &self.url, left).await
            }
            Err(reason) => (Reply::Unasked(reason), Vec::new()),
        };
        Asked { began, ended: clock.monotonic(), reply, certificates }
    }

    /// The client of now: credentials of the cluster may have been made anew.
    async fn client(&self, api: &Api, timeout: Duration) -> Result<Client, String> {
        if !self.alike.use_cluster_token {
            return Ok(self.client.lock().0.clone());
        }
        let (auth, generation) = api.auth(timeout).await.map_err(|error| error.told())?;
        let mut current = self.client.lock();
        if current.1 != generation {
            let mut config = self.alike.client.clone();
            config.auth = auth;
            let client = Client::new(&config, &self.options).map_err(|error| error.to_string())?;
            *current = (client, generation);
        }
        Ok(current.0.clone())
    }
}

/// Asks an API server for its health.
pub(super) async fn probe(api: &Api, clock: &dyn Clock, timeout: Duration) -> Probe {
    let began = clock.monotonic();
    let (livez, readyz) =
        tokio::join!(reply(api, "/livez?verbose", timeout), reply(api, "/readyz?verbose", timeout));
    Probe { began, ended: clock.monotonic(), livez, readyz, certificates: api.certificates() }
}

async fn reply(api: &Api, path: &str, timeout: Duration) -> Reply {
    let answer = api.answer(path, TEXT, Limits { timeout, body_bytes_max: BODY_BYTES_MAX }).await;
    let response = match answer {
        Ok(response) => response,
        Err(error @ Error::Credentials(_)) => return Reply::Unasked(error.told()),
        Err(error) => {
            let trouble = match &error {
                Error::Transport(fault) => fault.certificate(),
                _ => None,
            };
            return match trouble {
                Some(trouble) => Reply::Distrusted(trouble, error.told()),
                None => Reply::Silence(error.told()),
            };
        }
    };
    let code = response.status().as_u16();
    match response.bytes().await {
        Ok(body) => Reply::Answer(code, String::from_utf8_lossy(&body).into_owned()),
        Err(error) => unanswered(&error),
    }
}

fn unanswered(fault: &Fault) -> Reply {
    match fault.certificate() {
        Some(trouble) => Reply::Distrusted(trouble, fault.to_string()),
        None => Reply::Silence(fault.to_string()),
    }
}

/// A lease by itself; `None` where it is not there. That it may not be seen is told with the right that is missing.
pub(super) async fn lease(
    api: &Api,
    namespace: &str,
    name: &str,
    timeout: Duration,
) -> Result<Option<Lease>, Error> {
    let name: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let path = format!("{}/{name}", Lease::RESOURCE.path(Some(namespace)));
    match api.get(&path, JSON, timeout).await {
        Ok(response) => {
            let body = response.bytes().await.map_err(Error::Transport)?;
            serde_json::from_slice(&body).map(Some).map_err(|error| Error::Answer(error.to_string()))
        }
        Err(Error::Refused(refusal)) if refusal.code == 404 => Ok(None),
        Err(Error::Refused(mut refusal)) if refusal.code == 403 => {
            let resource = Lease::RESOURCE.name();
            refusal.missing = Some(Right { verb: "get", resource, namespace: Some(namespace.into()) });
            Err(Error::Refused(refusal))
        }
        Err(error) => Err(error),
    }
}

/// As `v1.36.0`; empty where it cannot be had.
pub(super) async fn version(api: &Api, timeout: Duration) -> Box<str> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(rename = "gitVersion")]
        git: Box<str>,
    }
    let Ok(response) = api.get("/version", JSON, timeout).await else { return Box::default() };
    let Ok(body) = response.bytes().await else { return Box::default() };
    serde_json::from_slice::<Version>(&body).map_or_else(|_| Box::default(), |version| version.git)
}

/// Asks a member of etcd for its health and its figures.
pub(super) async fn member(client: &Client, endpoint: &Url, clock: &dyn Clock, timeout: Duration) -> Member {
    let base = endpoint.as_str().trim_end_matches('/');
    let (health, figures) = (format!("{base}/health"), format!("{base}/metrics"));
    let began = clock.monotonic();
    let ((reply, certificates), (figures, _)) =
        tokio::join!(fetch(client, &health, timeout), fetch(client, &figures, timeout));
    let figures = match figures {
        Reply::Answer(200, body) => Some(MemberFigures::read(&body)),
        _ => None,
    };
    Member { health: Asked { began, ended: clock.monotonic(), reply, certificates }, figures }
}

async fn fetch(client: &Client, url: &str, timeout: Duration) -> (Reply, Vec<Certificate>) {
    let Ok(request) = Request::get(url).body(Bytes::new()) else {
        return (Reply::Unasked("the URL of the endpoint cannot be used".to_owned()), Vec::new());
    };
    let uri = request.uri().clone();
    let reply = match client.send(request, Limits { timeout, body_bytes_max: BODY_BYTES_MAX }).await {
        Ok(response) => {
            let code = response.status().as_u16();
            match response.bytes().await {
                Ok(body) => Reply::Answer(code, String::from_utf8_lossy(&body).into_owned()),
                Err(error) => unanswered(&error),
            }
        }
        Err(error) => unanswered(&error),
    };
    (reply, client.certificates(&uri))
}
