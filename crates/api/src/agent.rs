//! What a server without stores refuses, in the words of Prometheus' agent: it scrapes, receives and
//! sends on, and has nothing to ask for.

use hyper::StatusCode;
use vedette_wire::prometheus::ErrorType;

use crate::answer::{Answer, own_error, prometheus_error, text};

/// The refusal of a route that needs a store.
pub fn refusal(path: &str) -> Option<Answer> {
    match path {
        "/api/v1/query"
        | "/api/v1/query_range"
        | "/api/v1/query_exemplars"
        | "/api/v1/format_query"
        | "/api/v1/parse_query"
        | "/api/v1/series"
        | "/api/v1/labels"
        | "/api/v1/label/{name}/values"
        | "/api/v1/search/metric_names"
        | "/api/v1/search/label_names"
        | "/api/v1/search/label_values"
        | "/api/v1/rules"
        | "/api/v1/alerts"
        | "/api/v1/alertmanagers"
        | "/api/v1/status/tsdb"
        | "/api/v1/status/tsdb/blocks"
        | "/api/v1/admin/tsdb/delete_series"
        | "/api/v1/admin/tsdb/clean_tombstones"
        | "/api/v1/admin/tsdb/snapshot" => {
            Some(prometheus_error(ErrorType::Execution, "unavailable with Prometheus Agent"))
        }
        "/api/v1/read" | "/federate" => {
            Some(text(StatusCode::INTERNAL_SERVER_ERROR, "unsupported operation with WAL-only storage\n"))
        }
        "/api/v1.3/events"
        | "/api/v1.3/events/{path*}"
        | "/api/v2.1/events"
        | "/api/v2.1/events/{path*}"
        | "/api/vedette/v1/audit/{cluster}"
        | "/api/vedette/v1/explain"
        | "/api/vedette/v1/events"
        | "/api/vedette/v1/events/live"
        | "/api/vedette/v1/events/{id}"
        | "/api/vedette/v1/events/{id}/tree"
        | "/api/vedette/v1/findings" => Some(own_error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "an agent keeps nothing and judges nothing",
            "Ask the server that it sends to.",
        )),
        _ => None,
    }
}
