//! `/api/v1/query_exemplars`.

use vedette_model::{LabelQuery, TimeRange};
use vedette_wire::{
    json::{Object, push_array},
    number::{push_plain, push_seconds},
    prometheus::{self as wire, ErrorType},
};

use super::{Failure, give, time};
use crate::{
    request::Call,
    routes::Handled,
    time::{FIRST_MS, LAST_MS},
};

/// Exemplars of the series that a query reads.
pub fn exemplars(call: Call) -> Handled {
    Box::pin(async move { give(body(call).await) })
}

async fn body(call: Call) -> Result<Vec<u8>, Failure> {
    let start_ms = time(&call.params, "start", FIRST_MS)?;
    let end_ms = time(&call.params, "end", LAST_MS)?;
    if end_ms < start_ms {
        let text = "end timestamp must not be before start timestamp";
        return Err((ErrorType::BadData, text.to_owned()));
    }
    let (shared, client) = (call.shared.clone(), call.client.clone());
    let run = move |_: &_| {
        let query = call.params.first("query");
        let max = call.shared.config.query_bytes_max;
        if query.len() > max {
            return Err((ErrorType::BadData, format!("the query has more than {max} bytes")));
        }
        let expr = vedette_promql::parse(query).map_err(|e| (ErrorType::BadData, e.to_string()))?;
        let matcher_sets: Vec<_> = expr.selectors().into_iter().map(|(s, _)| s.matchers.clone()).collect();
        if matcher_sets.is_empty() {
            return Ok(wire::answer(|out| out.extend_from_slice(b"[]")));
        }
        let query = LabelQuery { matcher_sets, range: TimeRange { start_ms, end_ms }, limit: 0 };
        let found = call.shared.app.series.exemplars(&query);
        let found = found.map_err(|e| (ErrorType::Execution, e.to_string()))?;
        Ok(wire::answer(|out| {
            push_array(out, &found, |out, (labels, exemplars)| {
                let mut object = Object::begin(out);
                object.labels("seriesLabels", labels);
                push_array(object.member("exemplars"), exemplars, |out, exemplar| {
                    let mut object = Object::begin(out);
                    object.labels("labels", &exemplar.labels);
                    let value = object.member("value");
                    value.push(b'"');
                    push_plain(value, exemplar.value);
                    value.push(b'"');
                    push_seconds(object.member("timestamp"), exemplar.time_ms);
                    object.end();
                });
                object.end();
            });
        }))
    };
    shared.gate.run(&client, None, run).await?
}
