//! InfluxDB 1, 2 and 3: the line protocol. A point that comes again has the same series and time, and
//! takes the place of the first.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use vedette_http_client::{Client, Options};
use vedette_sys::Clock;

use super::{Deliver, again, http};
use crate::{
    HttpError,
    export::{
        batch::{Batch, Delivery},
        target::{InfluxDb, InfluxVersion},
    },
    http::Server,
};

const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// The way to a server.
pub struct Sink {
    server: Server,
    clock: Arc<dyn Clock>,
    gzip: bool,
    is_v3: bool,
}

impl Sink {
    /// A client as the configuration says.
    pub fn new(config: &InfluxDb, timeout: Duration, options: &Options) -> Result<Self, HttpError> {
        let url = format!("{}{}", config.url.trim_end_matches('/'), target(&config.version));
        let server = Server::new(Client::new(&config.client, options), &url, &[], timeout)?;
        let is_v3 = matches!(config.version, InfluxVersion::V3 { .. });
        Ok(Self { server, clock: options.clock.clone(), gzip: config.gzip, is_v3 })
    }
}

/// Path and query.
pub(super) fn target(version: &InfluxVersion) -> String {
    let mut query = Serializer::new(String::new());
    let path = match version {
        InfluxVersion::V1 { database, retention_policy } => {
            query.append_pair("db", database);
            if !retention_policy.is_empty() {
                query.append_pair("rp", retention_policy);
            }
            query.append_pair("precision", "ms");
            "/write"
        }
        InfluxVersion::V2 { org, bucket } => {
            query.append_pair("org", org).append_pair("bucket", bucket).append_pair("precision", "ms");
            "/api/v2/write"
        }
        InfluxVersion::V3 { database } => {
            query.append_pair("db", database);
            query.append_pair("precision", "millisecond").append_pair("accept_partial", "true");
            "/api/v3/write_lp"
        }
    };
    format!("{path}?{}", query.finish())
}

impl Deliver for Sink {
    fn deliver(&self, batch: Arc<Batch>) -> BoxFuture<'static, Delivery> {
        let (server, clock, gzip, is_v3) = (self.server.clone(), self.clock.clone(), self.gzip, self.is_v3);
        Box::pin(async move {
            let answered = http::post(server, clock, batch.bytes.clone(), CONTENT_TYPE, gzip).await;
            match answered {
                Err(message) => again(message),
                Ok(answer) if answer.status == 400 => refused(&answer, &batch, is_v3),
                Ok(answer) => answer.delivery(),
            }
        })
    }
}

#[derive(Deserialize)]
struct PartialWrite {
    #[serde(default)]
    data: Vec<RefusedLine>,
}

#[derive(Deserialize)]
struct RefusedLine {
    line_number: usize,
}

/// A part of the lines may have been written; versions differ in how they tell.
pub(super) fn refused(answer: &http::Answer, batch: &Batch, is_v3: bool) -> Delivery {
    let message = answer.text();
    if is_v3 {
        let told: Option<PartialWrite> = serde_json::from_slice(&answer.body).ok();
        let lines = told.map(|told| told.data).unwrap_or_default();
        let refused: Vec<_> = lines.iter().filter_map(|line| line.line_number.checked_sub(1)).collect();
        let is_known = refused.iter().all(|at| *at < batch.documents.len());
        if !refused.is_empty() && is_known {
            return Delivery::Partly { refused, again: Vec::new(), message };
        }
        return Delivery::Refused { taken: 0, message };
    }
    let text = String::from_utf8_lossy(&answer.body);
    let dropped = text.rsplit_once("dropped=").and_then(|(_, rest)| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    let taken = dropped.map_or(0, |dropped| batch.points().saturating_sub(dropped));
    Delivery::Refused { taken, message }
}
