//! `/api/v1/search/{metric_names,label_names,label_values}`: names as somebody types them.
//!
//! The answer is JSON by the line: batches of results, and at the end whether there were more.

use std::cmp::Ordering;

use hyper::StatusCode;
use vedette_model::{LabelQuery, METRIC_NAME, MetricMetadata, ReadError};
use vedette_wire::{
    json::{Object, push_array},
    prometheus::ErrorType,
};

use super::{CUT, Failure, fuzzy::Pattern, give, matcher_sets, time};
use crate::{
    answer::{Answer, whole},
    request::{Call, Params},
    routes::Handled,
};

/// More terms would only cost time.
const TERMS_MAX: usize = 32;
/// Results of one search.
const LIMIT_MAX: usize = 10_000;
const LIMIT: usize = 100;
/// How far back is searched where nothing is said.
const BACK_MS: i64 = 3_600_000;

/// Searches metric names.
pub fn metric_names(call: Call) -> Handled {
    Box::pin(async move { answer(search(call, Kind::MetricNames).await) })
}

/// Searches label names.
pub fn label_names(call: Call) -> Handled {
    Box::pin(async move { answer(search(call, Kind::LabelNames).await) })
}

/// Searches the values of a label.
pub fn label_values(call: Call) -> Handled {
    Box::pin(async move { answer(search(call, Kind::LabelValues).await) })
}

fn answer(found: Result<Vec<u8>, Failure>) -> Answer {
    match found {
        Ok(lines) => whole(StatusCode::OK, "application/x-ndjson; charset=utf-8", lines),
        refused => give(refused),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    MetricNames,
    LabelNames,
    LabelValues,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::MetricNames => "metric_names",
            Self::LabelNames => "label_names",
            Self::LabelValues => "label_values",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    NameDown,
    Score,
}

/// What is asked.
struct Wanted {
    patterns: Vec<Pattern>,
    order: Order,
    with_score: bool,
    with_metadata: bool,
    limit: usize,
    batch: usize,
    label: String,
}

struct Hit {
    text: String,
    score: f64,
}

async fn search(call: Call, kind: Kind) -> Result<Vec<u8>, Failure> {
    let now_ms = call.shared.app.clock.unix_ms();
    let start_ms = time(&call.params, "start", now_ms - BACK_MS)?;
    let end_ms = time(&call.params, "end", now_ms)?;
    if end_ms < start_ms {
        return Err(bad("end timestamp must not be before start timestamp"));
    }
    let (shared, client) = (call.shared.clone(), call.client.clone());
    let run = move |_: &_| {
        let query = LabelQuery {
            matcher_sets: matcher_sets(&call.params)?,
            range: vedette_model::TimeRange { start_ms, end_ms },
            limit: 0,
        };
        let wanted = Wanted::read(&call.params, kind)?;
        let found = candidates(&call, &query, kind, &wanted);
        let found = found.map_err(|e| (ErrorType::Execution, e.to_string()))?;
        let mut hits: Vec<Hit> = found.into_iter().filter_map(|text| wanted.judge(text)).collect();
        wanted.sort(&mut hits);
        let has_more = hits.len() > wanted.limit;
        hits.truncate(wanted.limit);
        let metadata =
            if wanted.with_metadata { call.shared.app.series.metadata(None, 0) } else { Vec::new() };
        Ok(write(&hits, kind, &wanted, &metadata, has_more))
    };
    shared.gate.run(&client, None, run).await?
}

fn candidates(
    call: &Call,
    query: &LabelQuery,
    kind: Kind,
    wanted: &Wanted,
) -> Result<Vec<String>, ReadError> {
    let series = &call.shared.app.series;
    match kind {
        Kind::MetricNames => series.label_values(METRIC_NAME, query),
        Kind::LabelNames => series.label_names(query),
        Kind::LabelValues => series.label_values(&wanted.label, query),
    }
}

impl Wanted {
    fn read(params: &Params, kind: Kind) -> Result<Self, Failure> {
        let terms: Vec<&str> = params.all("search[]").collect();
        if terms.len() > TERMS_MAX {
            let count = terms.len();
            return Err(bad(format!("too many search[] terms: got {count}, maximum is {TERMS_MAX}")));
        }
        let threshold = match params.given("fuzz_threshold") {
            None => 0,
            Some(text) => text
                .parse::<u8>()
                .ok()
                .filter(|threshold| *threshold <= 100)
                .ok_or_else(|| bad(format!("invalid fuzz_threshold {text:?}: must be 0-100")))?,
        };
        let jaro_winkler = match params.first("fuzz_alg") {
            "" | "subsequence" => false,
            "jarowinkler" => true,
            other => {
                let known = "[subsequence jarowinkler]";
                return Err(bad(format!("unsupported fuzz_alg {other:?}: must be one of {known}")));
            }
        };
        let case_sensitive = flag(params, "case_sensitive", true)?;
        let with_score = flag(params, "include_score", false)?;
        let order = order(params, kind, !terms.is_empty())?;
        let number = |name: &str, otherwise: usize| match params.given(name) {
            None => Ok(otherwise),
            Some(text) => text
                .parse::<i64>()
                .ok()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|n| *n > 0)
                .ok_or_else(|| bad(format!("invalid {name} {text:?}: must be a positive integer"))),
        };
        let limit = number("limit", LIMIT)?;
        if limit > LIMIT_MAX {
            return Err(bad(format!("limit {limit} exceeds the configured maximum ({LIMIT_MAX})")));
        }
        let batch = number("batch_size", LIMIT)?;
        let label = params.first("label").to_owned();
        if kind == Kind::LabelValues && label.is_empty() {
            return Err(bad("missing required parameter \"label\""));
        }
        let pattern =
            |term: &&str| Pattern::new(term, f64::from(threshold) / 100.0, jaro_winkler, case_sensitive);
        Ok(Self {
            patterns: terms.iter().filter(|term| !term.is_empty()).map(pattern).collect(),
            order,
            with_score,
            with_metadata: kind == Kind::MetricNames && flag(params, "include_metadata", false)?,
            limit,
            batch,
            label,
        })
    }

    /// The text with the best score that any pattern gives, if one takes it.
    fn judge(&self, text: String) -> Option<Hit> {
        if self.patterns.is_empty() {
            return Some(Hit { text, score: 1.0 });
        }
        let scores = self.patterns.iter().filter_map(|pattern| pattern.score(&text));
        let score = scores.max_by(f64::total_cmp)?;
        Some(Hit { text, score })
    }

    fn sort(&self, hits: &mut [Hit]) {
        hits.sort_by(|a, b| match self.order {
            Order::Name => a.text.cmp(&b.text),
            Order::NameDown => b.text.cmp(&a.text),
            Order::Score => match b.score.total_cmp(&a.score) {
                Ordering::Equal => a.text.cmp(&b.text),
                other => other,
            },
        });
    }
}

fn order(params: &Params, kind: Kind, has_terms: bool) -> Result<Order, Failure> {
    let (by, direction) = (params.first("sort_by"), params.first("sort_dir"));
    if !direction.is_empty() && by.is_empty() {
        return Err(bad("sort_dir is only valid when sort_by is set"));
    }
    if !direction.is_empty() && by == "score" {
        return Err(bad("sort_dir is not supported for sort_by=score"));
    }
    if !matches!(direction, "" | "asc" | "dsc") {
        return Err(bad(format!("invalid sort_dir {direction:?}: must be \"asc\" or \"dsc\"")));
    }
    if by == "score" && !has_terms {
        return Err(bad("sort_by=score requires search[] to be set"));
    }
    match by {
        "score" => Ok(Order::Score),
        "alpha" if direction == "dsc" => Ok(Order::NameDown),
        "" | "alpha" => Ok(Order::Name),
        _ => {
            let kind = kind.as_str();
            Err(bad(format!("invalid sort_by {by:?} for {kind}: must be \"alpha\" or \"score\"")))
        }
    }
}

fn flag(params: &Params, name: &str, otherwise: bool) -> Result<bool, Failure> {
    match params.given(name) {
        None => Ok(otherwise),
        Some(text) => {
            super::go_bool(text).ok_or_else(|| bad(format!("invalid {name} {text:?}: must be boolean")))
        }
    }
}

fn bad(text: impl Into<String>) -> Failure {
    (ErrorType::BadData, text.into())
}

fn write(hits: &[Hit], kind: Kind, wanted: &Wanted, metadata: &[MetricMetadata], has_more: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + hits.len() * 64);
    let batches = hits.chunks(wanted.batch.max(1)).map(Some);
    // There is a line of results even where there are none.
    let batches = if hits.is_empty() { vec![None] } else { batches.collect() };
    for batch in batches {
        let mut object = Object::begin(&mut out);
        push_array(object.member("results"), batch.unwrap_or_default(), |out, hit| {
            let mut object = Object::begin(out);
            object.text(if kind == Kind::LabelValues { "value" } else { "name" }, &hit.text);
            if wanted.with_score {
                object.number("score", hit.score);
            }
            let family = metadata.binary_search_by(|m| m.family.as_str().cmp(&hit.text)).ok();
            if let Some(family) = family.map(|place| &metadata[place]) {
                object.text("type", family.kind.as_str());
                for (name, text) in [("help", &family.help), ("unit", &family.unit)] {
                    if !text.is_empty() {
                        object.text(name, text);
                    }
                }
            }
            object.end();
        });
        object.end();
        out.push(b'\n');
    }
    let mut object = Object::begin(&mut out);
    object.text("status", "success");
    object.member("has_more").extend_from_slice(if has_more { b"true" } else { b"false" });
    if has_more {
        push_array(object.member("warnings"), [CUT], vedette_wire::json::push_text);
    }
    object.end();
    out.push(b'\n');
    out
}
