//! Prometheus' HTTP API: what Grafana's data source and `promtool query` need, with the same
//! texts, statuses and order of checks, and what its remote write sends to.

pub mod admin;
pub mod query;
pub mod rules;
pub mod series;
pub mod status;
pub mod write;

use hyper::StatusCode;
use vedette_model::{Matcher, TimeRange};
use vedette_wire::prometheus::ErrorType;

use crate::{
    answer::{Answer, json, prometheus_error},
    gate::Refused,
    request::Params,
    time::{FIRST_MS, LAST_MS, parse_time_ms},
};

/// A refusal: its kind and text.
type Failure = (ErrorType, String);

/// What Prometheus says when an answer was cut.
const CUT: &str = "results truncated due to limit";

fn invalid(name: &str, reason: impl std::fmt::Display) -> Failure {
    (ErrorType::BadData, format!("invalid parameter {name:?}: {reason}"))
}

fn give(result: Result<Vec<u8>, Failure>) -> Answer {
    match result {
        Ok(body) => json(StatusCode::OK, body),
        Err((kind, message)) => prometheus_error(kind, &message),
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => (
                ErrorType::Unavailable,
                "too many queries wait already; ask again later, or ask less often".to_owned(),
            ),
            Refused::TimedOutWaiting => (ErrorType::Timeout, "query timed out in query queue".to_owned()),
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
