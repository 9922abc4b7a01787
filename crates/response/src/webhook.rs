//! Delivery by HTTP: a POST of Alertmanager's webhook message.

use std::{error::Error as _, sync::Arc, time::Duration};

use reqwest::{
    Client, ClientBuilder, Response, StatusCode, Url,
    header::{CONTENT_TYPE, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use vedette_sys::Clock;

use crate::{Intent, backoff, deliver::Failure};

/// Bytes of an answer that are looked at. More is never read.
const ANSWER_BYTES_MAX: usize = 4096;

/// Carries the notification's id, so that the receiver can tell repeats.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

pub struct Webhook {
    client: Client,
    url: Url,
    redirects_max: usize,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Makes the client; the reason says why that is impossible.
    pub fn new(
        url: &str,
        timeout: Duration,
        redirects_max: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let url = Url::parse(url).map_err(|e| e.to_string())?;
        // Fails when somebody installed one before; that one is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = match builder().build() {
            // A machine without certificates can still speak to who asks for none.
            Err(_) if url.scheme() == "http" => builder().tls_backend_preconfigured(no_trust()?).build(),
            made => made,
        };
        let client = client.map_err(|e| chain(&e))?;
        Ok(Self { client, url, redirects_max, timeout, clock })
    }

    /// The address without what may be secret in it.
    pub fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// One attempt.
    pub async fn deliver(&self, intent: &Intent) -> Result<(), Failure> {
        match tokio::time::timeout(self.timeout, self.attempt(intent)).await {
            Ok(result) => result,
            Err(_) => Err(self.retry(
                format!("{} did not answer within {:?}", self.place(), self.timeout),
                "Look at the receiver, or give it more time.",
            )),
        }
    }

    async fn attempt(&self, intent: &Intent) -> Result<(), Failure> {
        let mut url = self.url.clone();
        for _ in 0..=self.redirects_max {
            let request = self
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, "application/json")
                .header(IDEMPOTENCY_KEY, &intent.id)
                .body(intent.body.to_vec());
            let response = request.send().await.map_err(|error| {
                self.retry(
                    format!("cannot reach {}: {}", self.place(), chain(&error.without_url())),
                    "Start the receiver, or correct its address.",
                )
            })?;
            let status = response.status();
            match status {
                _ if status.is_success() => return Ok(()),
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    url = self.redirected(&url, &response)?;
                }
                _ if status.is_redirection() => {
                    return Err(Failure::Refused {
                        reason: format!("{} answered {status}, which would lose the message", self.place()),
                        remedy: "Configure the address that it redirects to.".to_owned(),
                    });
                }
                _ => return Err(self.failure(response).await),
            }
        }
        Err(Failure::Refused {
            reason: format!("{} redirects more than {} times", self.place(), self.redirects_max),
            remedy: "Configure the address that it redirects to in the end.".to_owned(),
        })
    }

    fn redirected(&self, from: &Url, response: &Response) -> Result<Url, Failure> {
        let target = response.headers().get(LOCATION).and_then(|v| v.to_str().ok());
        let url = target.and_then(|t| from.join(t).ok()).filter(|url| {
            // Never from a protected connection to an open one.
            url.scheme() == "https" || (url.scheme() == "http" && from.scheme() == "http")
        });
        url.ok_or_else(|| Failure::Refused {
            reason: format!("{} redirects to nowhere that can be followed", self.place()),
            remedy: "Configure the address that it redirects to.".to_owned(),
        })
    }

    async fn failure(&self, response: Response) -> Failure {
        let status = response.status();
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|text| backoff::retry_after(text, self.clock.unix_ms()));
        let said = first_line(response).await;
        let reason = format!("{} answered {status}{said}", self.place());
        let can_pass = status.is_server_error()
            || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        if can_pass {
            Failure::Retry { reason, remedy: "Look at the receiver's own log.".to_owned(), after }
        } else {
            Failure::Refused {
                reason,
                remedy: "Correct the receiver's address or what it expects.".to_owned(),
            }
        }
    }

    fn retry(&self, reason: String, remedy: &str) -> Failure {
        Failure::Retry { reason, remedy: remedy.to_owned(), after: None }
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("Vedette/", env!("CARGO_PKG_VERSION")))
        // Followed by hand: a client that turns POST into GET would lose the message.
        .redirect(Policy::none())
        .pool_max_idle_per_host(1)
}

/// Cryptography that trusts nobody.
fn no_trust() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    Ok(config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}

/// The first line of an answer, for people; no more of it is read than that may take.
async fn first_line(mut response: Response) -> String {
    let mut text = Vec::new();
    while text.len() < ANSWER_BYTES_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = ANSWER_BYTES_MAX - text.len();
                text.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) | Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&text);
    let line: String =
        text.trim().lines().next().unwrap_or("").chars().filter(|c| !c.is_control()).take(200).collect();
    if line.is_empty() { line } else { format!(": {line}") }
}

/// An error with its causes.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
