//! `/api/v1/features`: what clients may ask for.
//!
//! The groups and names are Prometheus'; what it offers behind a switch, Vedette offers always.

use vedette_promql::FUNCTIONS;
use vedette_wire::{json::Object, prometheus as wire};

use super::give;
use crate::{request::Call, routes::Handled};

/// Tells which features there are.
pub fn features(call: Call) -> Handled {
    Box::pin(async move {
        let shared = &call.shared;
        let is_agent = shared.app.events.is_none();
        let api = [
            ("admin", shared.app.admin.is_some()),
            ("exclude_alerts", true),
            ("label_values_match", true),
            ("lifecycle", shared.config.lifecycle),
            ("openapi_3.1", true),
            ("query_stats", true),
            ("query_warnings", true),
            ("remote_write_receiver", true),
            ("search", true),
            ("search_fuzz_alg_jarowinkler", true),
            ("search_fuzz_alg_subsequence", true),
            ("time_range_labels", true),
            ("time_range_series", true),
        ];
        let functions: Vec<(&str, bool)> = FUNCTIONS.iter().map(|f| (f.name, true)).collect();
        let groups: [(&str, Vec<(&str, bool)>); 6] = [
            ("api", api.to_vec()),
            ("prometheus", vec![("agent_mode", is_agent), ("server_mode", !is_agent)]),
            ("promql", offered(PROMQL)),
            ("promql_functions", functions),
            ("promql_operators", offered(OPERATORS)),
            ("tsdb", offered(&["exemplar_storage", "native_histograms", "st_storage"])),
        ];
        give(Ok(wire::answer(|out| {
            let mut object = Object::begin(out);
            for (name, features) in groups {
                let mut group = Object::begin(object.member(name));
                for (feature, is_there) in features {
                    let word: &[u8] = if is_there { b"true" } else { b"false" };
                    group.member(feature).extend_from_slice(word);
                }
                group.end();
            }
            object.end();
        })))
    })
}

fn offered<'a>(names: &[&'a str]) -> Vec<(&'a str, bool)> {
    names.iter().map(|name| (*name, true)).collect()
}

const PROMQL: &[&str] = &[
    "anchored",
    "at_modifier",
    "bool",
    "by",
    "duration_expr",
    "fill",
    "fill_left",
    "fill_right",
    "group_left",
    "group_right",
    "ignoring",
    "negative_offset",
    "offset",
    "on",
    "per_query_lookback_delta",
    "per_step_stats",
    "smoothed",
    "subqueries",
    "without",
];

const OPERATORS: &[&str] = &[
    "!=",
    "!~",
    "%",
    "*",
    "+",
    "-",
    "/",
    "<",
    "</",
    "<=",
    "==",
    "=~",
    ">",
    ">/",
    ">=",
    "@",
    "^",
    "and",
    "atan2",
    "avg",
    "bottomk",
    "count",
    "count_values",
    "group",
    "limit_ratio",
    "limitk",
    "max",
    "min",
    "or",
    "quantile",
    "stddev",
    "stdvar",
    "sum",
    "topk",
    "unless",
];
