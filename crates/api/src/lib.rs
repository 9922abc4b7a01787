//! HTTP: Prometheus' API, Vedette's own API, expositions, live events and the web app, on one port.
//!
//! The server is closed by design: every route stands in one table with its right
//! ([`routes::ROUTES`]), every request passes the same guard before a handler sees it, and
//! everything a client can make grow (connections, headers, bodies, queries, waiting, answers
//! that nobody reads) has a limit in [`Config`]. Storage and judgement are synchronous; handlers
//! call them on blocking threads through [`gate::Gate`], which also ends them when the client
//! has left.

mod answer;
mod app;
mod assets;
mod config;
mod connection;
mod exposition;
mod gate;
mod guard;
mod latest;
mod metrics;
mod own;
mod prometheus;
mod request;
pub mod routes;
mod server;
mod time;

pub use app::{App, BuildInfo, Judgement, RemoteWriter, RemoteWritten, SeriesAdmin};
pub use config::{Config, ConfigError};
pub use latest::{Latest, LatestSample, LatestSamples, Source};
pub use server::{Error, Server};

#[cfg(test)]
mod tests;
