//! Who may come in, and how: encryption, users, headers and rate of requests as a `web.yml` has them.
//!
//! The settings and the files that they name are read again while the server runs, when a connection
//! comes and the last look is a second old. What cannot be used is told and never put in force: the
//! door before it stays. A door that asked who comes is never followed by one that does not, where the
//! server is reached from elsewhere.

mod client_cert;
mod names;
mod rate;
mod tls;
mod users;

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap, StatusCode,
    header::{AUTHORIZATION, HeaderName, HeaderValue, WWW_AUTHENTICATE},
};
use parking_lot::{Mutex, RwLock};
use tokio_rustls::TlsAcceptor;
use vedette_config::web::{ClientAuth, Config as WebConfig};
use vedette_model::status::{Health, Part, StatusBoard};
use vedette_sys::{Clock, MonotonicTime};

use self::{rate::Rate, users::Users};
use crate::{
    answer::{Answer, text},
    metrics::Metrics,
};

/// How old a look at the settings may become.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The settings of the web server with the files that they name.
#[derive(Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// The `web.yml`.
    pub config: WebConfig,
    /// The certificate and those that lead to its root, as PEM; empty without encryption.
    pub certificate: Vec<u8>,
    /// Its key, as PEM; empty without encryption.
    pub key: Vec<u8>,
    /// Certificates of those who vouch for clients, as PEM, if they are named.
    pub client_ca: Option<Vec<u8>>,
}

/// Where the settings of the web server are. Called on blocking threads.
pub trait WebSource: Send + Sync {
    /// Reads them; the error is for the operator and names the file.
    fn read(&self) -> Result<WebSettings, String>;
}

/// Settings, ready for use.
pub struct Door {
    tls: Option<TlsAcceptor>,
    users: Users,
    headers: Vec<(HeaderName, HeaderValue)>,
    rate: Option<Rate>,
    /// Whether only clients with a certificate that was verified come in.
    certified: bool,
}

impl Door {
    /// A door that is open to everyone who reaches it.
    pub fn open() -> Self {
        Self { tls: None, users: Users::default(), headers: Vec::new(), rate: None, certified: false }
    }

    /// The door that these settings describe.
    pub fn new(settings: &WebSettings) -> Result<Self, String> {
        let config = &settings.config;
        let tls = config.tls.as_ref().map(|tls| tls::acceptor(tls, settings, config.http2)).transpose()?;
        let headers =
            config.headers.iter().map(|(name, value)| -> Result<(HeaderName, HeaderValue), String> {
                let refuse = || format!("http_server_config.headers: {name} cannot have this value");
                let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refuse())?;
                Ok((header, HeaderValue::from_str(value).map_err(|_| refuse())?))
            });
        Ok(Self {
            certified: config.tls.as_ref().is_some_and(|t| t.client_auth == ClientAuth::RequireAndVerify),
            tls,
            users: Users::new(&config.users),
            headers: headers.collect::<Result<_, String>>()?,
            rate: config.rate_limit.map(Rate::new),
        })
    }

    /// Whether everyone who comes in is known.
    pub fn authenticates(&self) -> bool {
        self.certified || !self.users.is_empty()
    }

    /// What encrypts connections, if they are to be.
    pub fn tls(&self) -> Option<&TlsAcceptor> {
        self.tls.as_ref()
    }

    /// Lets a request in, or says why not.
    pub async fn check(&self, headers: &HeaderMap, now: MonotonicTime, metrics: &Metrics) -> Option<Answer> {
        if self.rate.as_ref().is_some_and(|rate| !rate.allows(now)) {
            metrics.refused_rate.inc();
            return Some(text(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests\n"));
        }
        if self.users.is_empty() || self.users.knows(headers.get(AUTHORIZATION)).await {
            return None;
        }
        metrics.refused_login.inc();
        let mut answer = text(StatusCode::UNAUTHORIZED, "Unauthorized\n");
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        Some(answer)
    }

    /// Adds the headers that every answer is to have.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

/// The door in force.
pub struct Web {
    source: Option<Arc<dyn WebSource>>,
    door: RwLock<Arc<Door>>,
    last: Mutex<Last>,
    /// Whether a door that does not ask who comes may be put in force.
    may_be_open: bool,
    status: StatusBoard,
    clock: Arc<dyn Clock>,
}

/// The last look at the settings.
struct Last {
    time: MonotonicTime,
    settings: Option<WebSettings>,
    error: String,
}

impl Web {
    /// Reads the settings for the first time.
    pub fn new(
        source: Option<Arc<dyn WebSource>>,
        local: bool,
        status: StatusBoard,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let settings = source.as_ref().map(|source| source.read()).transpose()?;
        let door = settings.as_ref().map_or_else(|| Ok(Door::open()), Door::new)?;
        let web = Self {
            source,
            door: RwLock::new(Arc::new(door)),
            last: Mutex::new(Last { time: clock.monotonic(), settings, error: String::new() }),
            may_be_open: local,
            status,
            clock,
        };
        web.tell(&web.last.lock());
        Ok(web)
    }

    /// The door in force, after a look at the settings where the last one is old.
    pub async fn door(self: &Arc<Self>) -> Arc<Door> {
        if self.source.is_some() && self.clock.monotonic().since(self.last.lock().time) >= LOOK_AFTER {
            let web = Arc::clone(self);
            let _ = tokio::task::spawn_blocking(move || web.look()).await;
        }
        self.current()
    }

    /// The door in force.
    pub fn current(&self) -> Arc<Door> {
        Arc::clone(&self.door.read())
    }

    fn look(&self) {
        let Some(source) = &self.source else { return };
        // Who finds another at it need not look.
        let Some(mut last) = self.last.try_lock() else { return };
        last.time = self.clock.monotonic();
        let outcome = source.read().and_then(|settings| {
            if last.settings.as_ref() == Some(&settings) {
                return Ok(());
            }
            let door = Door::new(&settings)?;
            if !self.may_be_open && !door.authenticates() {
                return Err(
                    "it neither names users nor asks clients for certificates, but others than this \
                            machine reach the server"
                        .to_owned(),
                );
            }
            *self.door.write() = Arc::new(door);
            last.settings = Some(settings);
            tracing::info!("the settings of the web server were read anew");
            Ok(())
        });
        let error = outcome.err().unwrap_or_default();
        if error != last.error {
            if !error.is_empty() {
                tracing::warn!(
                    error,
                    "the settings of the web server cannot be used; those before stay in force"
                );
            }
            last.error = error;
        }
        self.tell(&last);
    }

    fn tell(&self, last: &Last) {
        let Some(settings) = &last.settings else { return };
        let part = if last.error.is_empty() {
            Part::ok()
        } else {
            let message = format!("the settings before stay in force: {}", last.error);
            Part::new(Health::Degraded, message, "Correct the file; it is read again by itself.")
        };
        let config = &settings.config;
        self.status.post(
            "web server",
            part.fact("encryption", if config.tls.is_some() { "TLS" } else { "none" })
                .fact("users", config.users.len()),
        );
    }
}
