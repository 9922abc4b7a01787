//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/format_query`.

use std::{sync::Arc, time::Duration};

use vedette_promql::{Cancel, Expr, Limits, QueryError, QueryOutput, Value};
use vedette_wire::{
    json::push_array,
    prometheus::{self as wire, ErrorType},
};

use super::{CUT, Failure, give, invalid, limit, time};
use crate::{
    app::{App, Shared},
    request::{Call, Params},
    routes::Handled,
    time::{parse_duration_ms, parse_time_ms, parse_timeout},
};

/// Points that one series of a range query may have.
const POINTS_MAX: i64 = 11_000;

/// Evaluates at one time.
pub fn instant(call: Call) -> Handled {
    Box::pin(async move { give(instant_body(call).await) })
}

/// Evaluates over a range of times.
pub fn range(call: Call) -> Handled {
    Box::pin(async move { give(range_body(call).await) })
}

/// Writes an expression for people.
pub fn format(call: Call) -> Handled {
    Box::pin(async move { give(format_body(call).await) })
}

async fn instant_body(call: Call) -> Result<Vec<u8>, Failure> {
    let params = &call.params;
    let limit = limit(params)?;
    let time_ms = time(params, "time", call.shared.app.clock.unix_ms())?;
    let timeout = timeout(params)?;
    let query = query(&call)?;
    evaluate(call.shared, timeout, limit, query, move |app, expr, cancel| {
        app.engine.instant(app.series.as_ref(), expr, time_ms, &Limits::default(), cancel)
    })
    .await
}

async fn range_body(call: Call) -> Result<Vec<u8>, Failure> {
    let params = &call.params;
    let limit = limit(params)?;
    let time = |name| parse_time_ms(params.first(name)).map_err(|reason| invalid(name, reason));
    let (start_ms, end_ms) = (time("start")?, time("end")?);
    if end_ms < start_ms {
        return Err(invalid("end", "end timestamp must not be before start time"));
    }
    let step_ms = parse_duration_ms(params.first("step")).map_err(|reason| invalid("step", reason))?;
    if step_ms <= 0 {
        return Err(invalid(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    // The difference of two times may exceed 64 bits.
    if (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms) > i128::from(POINTS_MAX) {
        return Err((
            ErrorType::BadData,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
                .to_owned(),
        ));
    }
    let timeout = timeout(params)?;
    let query = query(&call)?;
    evaluate(call.shared, timeout, limit, query, move |app, expr, cancel| {
        let times = (start_ms, end_ms, step_ms);
        app.engine.range(app.series.as_ref(), expr, times, &Limits::default(), cancel)
    })
    .await
}

async fn format_body(call: Call) -> Result<Vec<u8>, Failure> {
    let query = query(&call)?;
    let run = move |_: &_| {
        let text = vedette_promql::pretty(&parse(&query)?);
        Ok(wire::answer(|out| vedette_wire::json::push_text_for_html(out, &text)))
    };
    call.shared.gate.run(None, run).await?
}

fn timeout(params: &Params) -> Result<Option<Duration>, Failure> {
    params.given("timeout").map(parse_timeout).transpose().map_err(|reason| invalid("timeout", reason))
}

fn query(call: &Call) -> Result<String, Failure> {
    let query = call.params.first("query");
    let max = call.shared.config.query_bytes_max;
    if query.len() > max {
        return Err(invalid("query", format_args!("the query has more than {max} bytes")));
    }
    Ok(query.to_owned())
}

fn parse(query: &str) -> Result<Expr, Failure> {
    vedette_promql::parse(query).map_err(|errors| invalid("query", errors))
}

/// Parses, evaluates and writes the answer, all on a blocking thread: many regular expressions
/// take long to parse.
async fn evaluate(
    shared: Arc<Shared>,
    timeout: Option<Duration>,
    limit: usize,
    query: String,
    run: impl FnOnce(&App, &Expr, &Cancel) -> Result<QueryOutput, QueryError> + Send + 'static,
) -> Result<Vec<u8>, Failure> {
    let inner = shared.clone();
    let work = move |cancel: &Cancel| {
        let output = run(&inner.app, &parse(&query)?, cancel).map_err(|error| failure(&error))?;
        Ok(write(output, limit))
    };
    shared.gate.run(timeout, work).await?
}

fn failure(error: &QueryError) -> Failure {
    let kind = match error {
        QueryError::Parse(_) => return invalid("query", error),
        QueryError::Invalid(_) => return invalid("query", error),
        QueryError::Execution(_) | QueryError::Unsupported { .. } | QueryError::TooManySamples => {
            ErrorType::Execution
        }
        QueryError::Timeout => ErrorType::Timeout,
        QueryError::Canceled => ErrorType::Canceled,
        QueryError::Storage(_) => ErrorType::Internal,
    };
    (kind, error.to_string())
}

fn write(output: QueryOutput, limit: usize) -> Vec<u8> {
    let mut warnings: Vec<String> = output.warnings.iter().map(ToString::to_string).collect();
    let infos: Vec<String> = output.infos.iter().map(ToString::to_string).collect();
    let mut value = output.value;
    let cut = match &mut value {
        Value::Vector(samples) => cut(samples, limit),
        Value::Matrix(series) => cut(series, limit),
        Value::Scalar { .. } | Value::String { .. } => false,
    };
    if cut {
        warnings.push(CUT.to_owned());
    }
    let mut out = Vec::with_capacity(size_guess(&value));
    wire::success(&mut out, &warnings, &infos, |out| match &value {
        Value::Scalar { time_ms, value } => {
            wire::query_data(out, "scalar", |out| wire::scalar(out, *time_ms, *value));
        }
        Value::String { time_ms, value } => {
            wire::query_data(out, "string", |out| wire::string(out, *time_ms, value));
        }
        Value::Vector(samples) => wire::query_data(out, "vector", |out| {
            push_array(out, samples, |out, s| wire::vector_element(out, &s.labels, s.time_ms, s.value));
        }),
        Value::Matrix(series) => wire::query_data(out, "matrix", |out| {
            push_array(out, series, |out, s| {
                wire::matrix_series(out, &s.labels, s.points.iter().map(|p| (p.time_ms, p.value)));
            });
        }),
    });
    out
}

fn cut<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let cut = limit > 0 && items.len() > limit;
    if cut {
        items.truncate(limit);
    }
    cut
}

/// About how many bytes the answer will have, so that the buffer rarely moves.
fn size_guess(value: &Value) -> usize {
    match value {
        Value::Scalar { .. } | Value::String { .. } => 256,
        Value::Vector(samples) => 256 + samples.len() * 192,
        Value::Matrix(series) => 256 + series.iter().map(|s| 128 + s.points.len() * 32).sum::<usize>(),
    }
}
