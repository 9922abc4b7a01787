//! What the operator can set, and its bounds.

use std::{net::SocketAddr, time::Duration};

use crate::Origins;

/// Settings of the server. The defaults are for one machine and a handful of people.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where to listen. Others than loopback addresses are taken only where everyone who comes is asked
    /// who they are.
    pub listen: SocketAddr,
    /// Whether everyone who comes is asked who they are: users are named, or clients must have a
    /// certificate that is verified.
    pub authenticated: bool,
    /// Connections at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a client may take to send a request's head, and to stay silent between requests.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long a client may take nothing of an answer before it is cut off.
    pub write_timeout: Duration,
    /// Bytes of a request's head.
    pub header_bytes_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// Bytes of the body of one remote-write request.
    pub write_bytes_max: usize,
    /// Bytes of a pushed body when the compression of its transport is undone.
    pub push_bytes_max: usize,
    /// Bytes of the bodies of all remote-write requests that are under way.
    pub writes_bytes_max: usize,
    /// Remote-write requests that are stored at a time; further ones wait for their turn.
    pub writes_max: usize,
    /// Bytes of one query's text.
    pub query_bytes_max: usize,
    /// Queries that run at a time.
    pub queries_max: usize,
    /// Of these, how many one client may have.
    pub queries_of_client_max: usize,
    /// Threads that all queries together may have beside their own, for those that take long.
    pub query_threads: usize,
    /// Queries that wait for their turn; further ones are refused.
    pub queries_waiting_max: usize,
    /// Of these, how many one client may have.
    pub queries_waiting_of_client_max: usize,
    /// How long one query may wait and run.
    pub query_timeout: Duration,
    /// Samples that one query may hold at a time.
    pub query_samples_max: u64,
    /// Bytes of memory that one query may hold.
    pub query_memory_bytes_max: u64,
    /// Bytes of memory that all queries together may hold.
    pub queries_memory_bytes_max: u64,
    /// Bytes of the answer to one query.
    pub answer_bytes_max: usize,
    /// Bytes of answers that are kept to be given again; 0 keeps none.
    pub query_cache_bytes_max: usize,
    /// Queries that take at least so long are logged and shown.
    pub slow_query: Duration,
    /// Whether the program can be told over HTTP to read its configuration anew, and to end.
    pub lifecycle: bool,
    /// Readers of live events at a time, and as many of notifications.
    pub live_readers_max: usize,
    /// Which pages of other origins may read answers of Prometheus' API.
    pub origins: Origins,
    /// A path under which all addresses are there as well, as `/prometheus`; empty for none.
    pub prefix: String,
    /// How long requests may finish when the server is told to stop.
    pub shutdown_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9090)),
            authenticated: false,
            connections_max: 512,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            header_bytes_max: 64 * 1024,
            body_bytes_max: 2 * 1024 * 1024,
            write_bytes_max: 32 * 1024 * 1024,
            push_bytes_max: 64 * 1024 * 1024,
            writes_bytes_max: 128 * 1024 * 1024,
            writes_max: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            query_bytes_max: 128 * 1024,
            queries_max: 20,
            queries_of_client_max: 15,
            query_threads: 0,
            queries_waiting_max: 1000,
            queries_waiting_of_client_max: 250,
            query_timeout: Duration::from_secs(120),
            query_samples_max: 50_000_000,
            query_memory_bytes_max: 512 << 20,
            queries_memory_bytes_max: 1 << 30,
            answer_bytes_max: 256 << 20,
            query_cache_bytes_max: 64 << 20,
            slow_query: Duration::from_secs(5),
            lifecycle: false,
            live_readers_max: 64,
            origins: Origins::default(),
            prefix: String::new(),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct ConfigError {
    /// Name of the field.
    pub field: &'static str,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Config {
    /// Refuses what cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let refuse = |field, reason: String| Err(ConfigError { field, reason });
        if !self.listen.ip().is_loopback() && !self.authenticated {
            return refuse(
                "listen",
                format!(
                    "{} is not a loopback address; whoever reaches it could read everything, because no \
                     authentication is configured. Name users or ask clients for certificates in a web.yml \
                     (--web-config), or listen on 127.0.0.1:{port} or [::1]:{port} and reach it from elsewhere \
                     through ssh -L {port}:127.0.0.1:{port}",
                    self.listen,
                    port = self.listen.port()
                ),
            );
        }
        for (field, value, min) in [
            ("connections_max", self.connections_max, 1),
            // hyper needs that much for a buffer.
            ("header_bytes_max", self.header_bytes_max, 8192),
            ("body_bytes_max", self.body_bytes_max, 1024),
            ("write_bytes_max", self.write_bytes_max, 1024),
            ("writes_bytes_max", self.writes_bytes_max, self.write_bytes_max),
            ("writes_max", self.writes_max, 1),
            ("query_bytes_max", self.query_bytes_max, 1),
            ("queries_max", self.queries_max, 1),
            ("queries_of_client_max", self.queries_of_client_max, 1),
            ("answer_bytes_max", self.answer_bytes_max, 1024),
        ] {
            if value < min {
                return refuse(field, format!("{value} is too small; the least is {min}"));
            }
        }
        for (field, value) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
            ("query_timeout", self.query_timeout),
        ] {
            if value.is_zero() {
                return refuse(field, "must be longer than zero".to_owned());
            }
        }
        Ok(())
    }
}
