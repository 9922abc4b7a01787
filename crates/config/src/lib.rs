//! The configuration files of the programs that Vedette takes the place of, read as they are.
//!
//! `prometheus.yml` ([`prometheus`]), `web.yml` ([`web`]) and lists of targets ([`targets`]): what
//! their keys mean, their defaults, what contradicts what. What comes out is checked: whoever
//! works by it need not ask again. Secrets are kept apart ([`Secret`]) and are not shown.
//!
//! Every refusal names file, line, column and key, and says what would be right. Files, the
//! environment included, are handed in; what is done by a configuration is the business of others.

pub mod discovery;
mod error;
mod fields;
mod http_client;
pub mod prometheus;
mod relabel;
mod scalar;
mod secret;
mod shown;
pub mod targets;
pub mod web;
mod yaml;

pub use error::Error;
pub use http_client::{
    Assertion, Auth, ClientTls, Header, HttpClient, OAuth2, Pem, Proxy, SigV4, TlsVersion, without_password,
};
pub use secret::{Secret, SecretSource};

/// A duration as Prometheus' files have it: `1h30m` and the like, `0` without a unit.
pub fn parse_duration(text: &str) -> Option<std::time::Duration> {
    scalar::duration(text)
}

/// A duration as Prometheus writes it.
pub fn show_duration(duration: std::time::Duration) -> String {
    scalar::duration_text(duration)
}
