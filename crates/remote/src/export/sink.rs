//! The ways to the sinks: each delivers a batch and says what became of it.

mod elasticsearch;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod http;
mod influxdb;
mod kafka;
mod redis;
mod statsd;

use std::{io, sync::Arc};

use futures_util::future::BoxFuture;
use vedette_config::SecretSource;
use vedette_http_client::Options;
use vedette_sys::{Clock, Fs};

use super::{
    batch::{Batch, Delivery},
    target::{Export, SinkConfig},
};
use crate::HttpError;

/// Delivers batches.
pub trait Deliver: Send + Sync {
    /// Delivers one batch. Ends by the sink's timeout at the latest.
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery>;
}

/// Why a sink cannot be reached as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Its HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Its certificates cannot be used.
    #[error("its encryption cannot be used")]
    Tls(#[source] vedette_http_client::Error),
}

/// What sinks work with.
pub struct Surroundings<'a> {
    /// What HTTP clients are given.
    pub options: &'a Options,
    /// The disk.
    pub fs: &'a Arc<dyn Fs>,
    /// Time.
    pub clock: &'a Arc<dyn Clock>,
    /// The machine whose samples these are.
    pub machine: &'a str,
}

/// The way to the sink of an export.
pub fn open(export: &Export, around: &Surroundings<'_>) -> Result<Arc<dyn Deliver>, SinkError> {
    Ok(match &export.sink {
        SinkConfig::Elasticsearch(config) => {
            Arc::new(elasticsearch::Sink::new(config, export.timeout, around.options)?)
        }
        SinkConfig::InfluxDb(config) => {
            Arc::new(influxdb::Sink::new(config, export.timeout, around.options)?)
        }
        SinkConfig::Kafka(config) => Arc::new(kafka::Sink::new(config, export.timeout, around.clock)?),
        SinkConfig::Redis(config) => Arc::new(redis::Sink::new(config, export, around)?),
        SinkConfig::Statsd(config) => Arc::new(statsd::Sink::new(config)),
        SinkConfig::Stdout => Arc::new(file::Stdout),
        SinkConfig::File(config) => Arc::new(file::Sink::new(config, around.fs.clone())),
    })
}

/// A secret as it is now.
fn secret(source: &SecretSource) -> io::Result<String> {
    match source {
        SecretSource::Inline(secret) => Ok(secret.expose().to_owned()),
        SecretSource::File(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
            })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

fn again(message: impl Into<String>) -> Delivery {
    Delivery::Again { after: None, message: message.into() }
}

#[cfg(test)]
mod tests;
