//! HTTP: Prometheus' API, Vedette's own API, expositions, live events and the web app, on one port.
//!
//! The server is closed by design: every route stands in one table with its right
//! ([`routes::ROUTES`]), every request passes the same guard before a handler sees it, and
//! everything a client can make grow (connections, headers, bodies, queries, waiting, answers
//! that nobody reads) has a limit in [`Config`]. Storage and judgement are synchronous; handlers
//! call them on blocking threads through [`gate::Gate`], which also ends them when the client
//! has left.

mod agent;
mod answer;
mod app;
mod assets;
mod cadvisor;
mod config;
mod connection;
mod cors;
mod evaluation;
mod exposition;
mod flow;
mod gate;
mod guard;
mod influx;
mod latest;
mod metrics;
mod openapi;
mod own;
mod prometheus;
mod push;
mod queries;
mod quick;
mod request;
pub mod routes;
mod server;
mod time;
mod web;

pub use app::{Alertmanagers, App, BuildInfo, CapacityReader, Job, Judgement, Program, Reload, SeriesAdmin};
pub use config::{Config, ConfigError};
pub use cors::Origins;
pub use exposition::KubeState;
pub use latest::{LatestSample, LatestSamples, SeriesCourse, Source};
pub use push::{Counts, InfluxPrecision, Protocol, RemoteWriter, RemoteWritten};
pub use queries::QueryLog;
pub use server::{Error, Server};
pub use web::{WebSettings, WebSource};

#[cfg(test)]
mod tests;
