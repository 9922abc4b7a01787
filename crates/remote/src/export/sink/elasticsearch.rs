//! Elasticsearch and OpenSearch: `_bulk`.
//!
//! Documents are made under ids of their own (`create`), so one that comes again is told by status 409
//! and is there once. In a data stream that holds within one backing index: a document that comes again
//! behind a rollover is there twice.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use vedette_http_client::{Client, Options};
use vedette_sys::Clock;

use super::{Deliver, again, http};
use crate::{
    HttpError,
    export::{
        batch::{Batch, Delivery},
        target::Elasticsearch,
    },
    http::Server,
};

const CONTENT_TYPE: &str = "application/x-ndjson";
/// What is looked at in the answer; the rest is not sent.
const FILTER: &str = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";
const CONFLICT: u16 = 409;

/// The way to a cluster.
pub struct Sink {
    server: Server,
    clock: Arc<dyn Clock>,
    gzip: bool,
}

impl Sink {
    /// A client as the configuration says.
    pub fn new(config: &Elasticsearch, timeout: Duration, options: &Options) -> Result<Self, HttpError> {
        let url = format!("{}/_bulk?{FILTER}", config.url.trim_end_matches('/'));
        let server = Server::new(Client::new(&config.client, options), &url, &[], timeout)?;
        Ok(Self { server, clock: options.clock.clone(), gzip: config.gzip })
    }
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let (server, clock, gzip) = (self.server.clone(), self.clock.clone(), self.gzip);
        Box::pin(async move {
            let answered = http::post(server, clock, batch.bytes.clone(), CONTENT_TYPE, gzip).await;
            match answered {
                Err(message) => again(message),
                Ok(answer) if (200..300).contains(&answer.status) => {
                    outcome(&answer.body, batch.documents.len())
                }
                Ok(answer) => answer.delivery(),
            }
        })
    }
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Made,
}

#[derive(Deserialize)]
struct Made {
    status: u16,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    reason: String,
}

/// What the answer says of each document.
pub(super) fn outcome(body: &[u8], documents: usize) -> Delivery {
    let answer: Answer = match serde_json::from_slice(body) {
        Ok(answer) => answer,
        Err(error) => return again(format!("the answer is not one of _bulk: {error}")),
    };
    if !answer.errors {
        return Delivery::Taken;
    }
    if answer.items.len() != documents {
        return again(format!("it answers for {} of {documents} documents", answer.items.len()));
    }
    let (mut refused, mut later, mut message) = (Vec::new(), Vec::new(), String::new());
    for (at, Item { create }) in answer.items.iter().enumerate() {
        let list = match create.status {
            200..=299 | CONFLICT => continue,
            400 | 413 | 422 => &mut refused,
            _ => &mut later,
        };
        list.push(at);
        if let (true, Some(error)) = (message.is_empty(), &create.error) {
            let reason: String = error.reason.chars().take(300).collect();
            message = format!("status {}: {}: {reason}", create.status, error.r#type);
        }
    }
    if refused.is_empty() && later.is_empty() {
        return Delivery::Taken;
    }
    Delivery::Partly { refused, again: later, message }
}
