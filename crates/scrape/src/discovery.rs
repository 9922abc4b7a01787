//! What sources say of targets, with their meta labels, and what is kept when they fail.
//!
//! Files are read here; the answers of servers are handed in, as asking them takes time. Whatever fails, the last good targets stay: a source that is gone for an hour must
//! not end the watch over what it named.

mod consul;
mod dns;
mod docker;
mod file;
mod http;
mod refresh;

use serde::{Deserialize, Deserializer};

pub use consul::ConsulTargets;
pub use dns::{DnsAnswer, DnsTargets};
pub use docker::DockerTargets;
pub use file::FileTargets;
pub use http::{HttpTargets, ListAnswer};
pub use refresh::Refresh;

/// `host:port`, with brackets around an IPv6 address.
fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A label called like something that may have any letters in its name.
fn label_name(prefix: &str, name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    prefix.chars().chain(name.chars().map(letter)).collect()
}

/// Programs written in Go send null for what is empty.
fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
