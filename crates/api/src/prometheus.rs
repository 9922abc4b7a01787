//! Prometheus' HTTP API: what Grafana's data source and `promtool query` need, with the same
//! texts, statuses and order of checks, and what its remote write sends to.

pub mod admin;
pub mod exemplars;
pub mod features;
pub mod federate;
mod fuzzy;
pub mod notifications;
pub mod otlp;
pub mod query;
pub mod read;
pub mod rules;
pub mod search;
pub mod series;
pub mod status;
mod syntax;
pub mod targets;
pub mod tsdb;
pub mod write;

use hyper::{
    StatusCode,
    header::{HeaderValue, RETRY_AFTER},
};
use vedette_model::{Matcher, TimeRange};
use vedette_wire::prometheus::ErrorType;

use crate::{
    answer::{Answer, json, prometheus_error},
    evaluation::Reason,
    gate::Refused,
    request::Params,
    time::{FIRST_MS, LAST_MS, parse_time_ms},
};

/// A refusal: its kind and text.
pub(crate) type Failure = (ErrorType, String);

impl Reason for Failure {
    fn reason(&self) -> &str {
        &self.1
    }
}

/// What Prometheus says when an answer was cut.
const CUT: &str = "results truncated due to limit";

/// What Prometheus says when a query's turn did not come in time.
const TIMED_OUT_WAITING: &str = "query timed out in query queue";

/// How soon a client should ask again that was refused because others ask too much.
const RETRY_AFTER_SECONDS: &str = "1";

fn invalid(name: &str, reason: impl std::fmt::Display) -> Failure {
    (ErrorType::BadData, format!("invalid parameter {name:?}: {reason}"))
}

fn give(result: Result<Vec<u8>, Failure>) -> Answer {
    match result {
        Ok(body) => json(StatusCode::OK, body),
        Err((kind, message)) => {
            let mut answer = prometheus_error(kind, &message);
            if kind == ErrorType::Unavailable || message == TIMED_OUT_WAITING {
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            answer
        }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => (
                ErrorType::Unavailable,
                "too many queries wait already; ask again later, or ask less often".to_owned(),
            ),
            Refused::ClientFull => (
                ErrorType::Unavailable,
                "too many queries of this client wait already; ask again later, or ask less often".to_owned(),
            ),
            Refused::TimedOutWaiting => (ErrorType::Timeout, TIMED_OUT_WAITING.to_owned()),
            Refused::TimedOutRunning => {
                (ErrorType::Timeout, "query timed out in expression evaluation".to_owned())
            }
            Refused::Died => (ErrorType::Internal, "BUG: the query ended without result".to_owned()),
        }
    }
}

/// The time that a parameter names, or `otherwise` where it is not given.
fn time(params: &Params, name: &str, otherwise: i64) -> Result<i64, Failure> {
    match params.given(name) {
        None => Ok(otherwise),
        Some(text) => parse_time_ms(text)
            .map_err(|reason| invalid(name, format_args!("invalid time value for '{name}': {reason}"))),
    }
}

/// `start` and `end`; without them everything.
fn time_range(params: &Params) -> Result<TimeRange, Failure> {
    Ok(TimeRange { start_ms: time(params, "start", FIRST_MS)?, end_ms: time(params, "end", LAST_MS)? })
}

/// `limit`; 0 means no limit.
fn limit(params: &Params) -> Result<usize, Failure> {
    match params.given("limit") {
        None => Ok(0),
        Some(text) => match text.parse::<i64>() {
            Ok(limit) => usize::try_from(limit).map_err(|_| invalid("limit", "limit must be non-negative")),
            Err(_) => Err(invalid("limit", format_args!("cannot parse {text:?} to a valid limit"))),
        },
    }
}

/// What Go's `strconv.ParseBool` takes.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        _ => None,
    }
}

/// The sets of matchers that `match[]` names.
fn matcher_sets(params: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    params
        .all("match[]")
        .map(|selector| {
            let matchers = vedette_promql::parse_selector(selector).map_err(|e| invalid("match[]", e))?;
            if matchers.iter().all(Matcher::matches_empty) {
                return Err(invalid("match[]", "match[] must contain at least one non-empty matcher"));
            }
            Ok(matchers)
        })
        .collect()
}
