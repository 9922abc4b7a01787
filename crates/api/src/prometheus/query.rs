//! `/api/v1/query`, `/api/v1/query_range`, `/api/v1/format_query`, `/api/v1/parse_query`.

use std::{sync::Arc, time::Duration};

use vedette_promql::{Answered, Expr, Histogram, Points, QueryError, QueryOutput, Series, Value};
use vedette_wire::{
    json::push_array,
    prometheus::{self as wire, ErrorType, QueryStats},
};

use super::{CUT, Failure, give, invalid, limit, time};
use crate::{
    answer::flowing,
    evaluation::{self, Asked, Evaluated, Evaluation, Times},
    flow::{self, Flow, Outlet},
    gate::Turn,
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
    Box::pin(async move {
        let flow = Arc::new(Flow::default());
        match flow::begin(range_body(call, Arc::clone(&flow)), flow).await {
            flow::Answered::Whole(result) => give(result),
            flow::Answered::Stream(stream) => flowing(stream),
        }
    })
}

/// Writes an expression for people.
pub fn format(call: Call) -> Handled {
    Box::pin(async move { give(format_body(call).await) })
}

/// Writes an expression as a tree for programs.
pub fn parsed(call: Call) -> Handled {
    Box::pin(async move { give(parsed_body(call).await) })
}

/// The expression and the time or range of times at which a request wants it evaluated.
pub fn asked(call: &Call, ranged: bool) -> Result<(Asked, usize), Failure> {
    let params = &call.params;
    let limit = limit(params)?;
    let times = if ranged {
        range_times(params)?
    } else {
        Times::At(time(params, "time", call.shared.app.clock.unix_ms())?)
    };
    let timeout = timeout(params)?;
    let lookback_ms = params.given("lookback_delta").map(parse_duration_ms).transpose();
    let lookback_ms = lookback_ms
        .map_err(|reason| (ErrorType::BadData, format!("error parsing lookback delta duration: {reason}")))?;
    let asked = Asked {
        query: query(call)?,
        times,
        lookback_ms,
        timeout,
        observed: params.given("stats").is_some(),
        cached: !matches!(params.first("nocache"), "1" | "true"),
        client: call.client.clone(),
        path: call.path,
    };
    Ok((asked, limit))
}

async fn instant_body(call: Call) -> Result<Vec<u8>, Failure> {
    let (asked, limit) = asked(&call, false)?;
    evaluate(&call, asked, limit, None).await
}

/// What is left of the answer when its pieces are in `flow`.
async fn range_body(call: Call, flow: Arc<Flow>) -> Result<Vec<u8>, Failure> {
    let (asked, limit) = asked(&call, true)?;
    evaluate(&call, asked, limit, Some(flow)).await
}

fn range_times(params: &Params) -> Result<Times, Failure> {
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
    let steps = (i128::from(end_ms) - i128::from(start_ms)) / i128::from(step_ms);
    if steps > i128::from(POINTS_MAX) {
        return Err((
            ErrorType::BadData,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)"
                .to_owned(),
        ));
    }
    Ok(Times::Range(start_ms, end_ms, step_ms))
}

async fn format_body(call: Call) -> Result<Vec<u8>, Failure> {
    let query = query(&call)?;
    let run = move |_: &_| {
        let text = vedette_promql::pretty(&parse(&query)?);
        Ok(wire::answer(|out| vedette_wire::json::push_text_for_html(out, &text)))
    };
    call.shared.gate.run(&call.client, None, run).await?
}

async fn parsed_body(call: Call) -> Result<Vec<u8>, Failure> {
    let query = query(&call)?;
    let run = move |_: &_| {
        let expr = parse(&query)?;
        Ok(wire::answer(|out| super::syntax::push_expr(out, &expr)))
    };
    call.shared.gate.run(&call.client, None, run).await?
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

/// Evaluates a query and writes its answer, the series of a range into `flow`.
async fn evaluate(
    call: &Call,
    asked: Asked,
    limit: usize,
    flow: Option<Arc<Flow>>,
) -> Result<Vec<u8>, Failure> {
    let by_step = call.params.first("stats") == "all";
    let bytes_max = call.shared.config.answer_bytes_max;
    let clock = Arc::clone(&call.shared.app.clock);
    let is_observed = asked.observed;
    let write = move |turn: &Turn, evaluation: Evaluation<'_>| {
        // What is only tried is not sent before it is known whether it was quick.
        let flow = flow.as_ref().filter(|_| !turn.is_tried());
        let outlet = flow.map(|flow| Outlet::new(Arc::clone(flow), Arc::clone(&clock)));
        let stats = |evaluated: &mut Evaluated| {
            evaluated.observer.take().map(|_| QueryStats {
                samples_by_step: evaluated.stats.samples_by_step.take().filter(|_| by_step),
                ..std::mem::take(&mut evaluated.stats)
            })
        };
        if is_observed || flow.is_none() {
            let mut evaluated = evaluation.whole().map_err(|error| failure(&error))?;
            let stats = stats(&mut evaluated);
            let Evaluated { output, notes, .. } = evaluated;
            let answer = write(turn, output, notes, (limit, bytes_max), stats.as_ref())?;
            let bytes = answer.len();
            return Ok((answer, bytes));
        }
        let mut matrix = Matrix::new(Allowance { turn, held: 0, bytes_max, refusal: None }, limit, outlet);
        let evaluated = evaluation.each(&mut |series| matrix.push(series));
        // One that is watched for the log has them still.
        let output = evaluated.and_then(|Evaluated { mut output, notes, .. }| {
            if let Value::Matrix(series) = &mut output.value {
                std::mem::take(series).iter().try_for_each(|series| matrix.push(series.as_answered()))?;
            }
            Ok((output, notes))
        });
        matrix.end(output)
    };
    evaluation::run(call.shared.clone(), asked, write).await
}

/// What Prometheus' API says of an error.
pub fn failure(error: &QueryError) -> Failure {
    let kind = match error {
        QueryError::Parse(_) | QueryError::Invalid(_) => return invalid("query", error),
        QueryError::Execution(_)
        | QueryError::Unsupported { .. }
        | QueryError::TooManySamples
        | QueryError::TooMuchMemory { .. } => ErrorType::Execution,
        QueryError::MemoryExhausted => ErrorType::Unavailable,
        QueryError::Timeout => ErrorType::Timeout,
        QueryError::Canceled => ErrorType::Canceled,
        QueryError::Storage(_) => ErrorType::Internal,
    };
    (kind, error.to_string())
}

fn write(
    turn: &Turn,
    output: QueryOutput,
    notes: Vec<String>,
    (limit, bytes_max): (usize, usize),
    stats: Option<&QueryStats>,
) -> Result<Vec<u8>, Failure> {
    let mut warnings: Vec<String> = output.warnings.iter().map(ToString::to_string).chain(notes).collect();
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
    let mut out = Vec::with_capacity(size_guess(&value).min(bytes_max));
    let mut allowance = Allowance { turn, held: 0, bytes_max, refusal: None };
    let kind = value.value_type().as_str();
    wire::success(&mut out, &warnings, &infos, |out| {
        let result = |out: &mut Vec<u8>| match value {
            Value::Scalar { time_ms, value } => wire::scalar(out, time_ms, value),
            Value::String { time_ms, value } => wire::string(out, time_ms, &value),
            Value::Vector(samples) => push_array(out, samples, |out, s| {
                if !allowance.goes_on(0, out) {
                    return;
                }
                match &s.histogram {
                    None => wire::vector_element(out, &s.labels, s.time_ms, s.value),
                    Some(h) => {
                        wire::vector_histogram(out, &s.labels, s.time_ms, (h.count, h.sum), buckets(h));
                    }
                }
            }),
            Value::Matrix(series) => {
                let mut times = wire::PointTimes::default();
                // Each series goes when it is written, so that not everything is there twice.
                push_array(out, series, |out, s| {
                    if allowance.goes_on(0, out) {
                        matrix_series(&mut times, out, s.as_answered());
                    }
                });
            }
        };
        match stats {
            Some(stats) => wire::query_data_with_stats(out, kind, result, stats),
            None => wire::query_data(out, kind, result),
        }
    });
    allowance.goes_on(0, &out);
    match allowance.refusal {
        Some(refusal) => Err(refusal),
        None => Ok(out),
    }
}

/// How large an answer may become while it is written.
struct Allowance<'t> {
    turn: &'t Turn,
    /// Bytes of the answer that the query's budget knows of.
    held: usize,
    bytes_max: usize,
    refusal: Option<Failure>,
}

impl Allowance<'_> {
    /// Whether more may be written after `out`, and the bytes that were sent before. Once the answer
    /// is refused nothing more is.
    fn goes_on(&mut self, sent: usize, out: &[u8]) -> bool {
        if self.refusal.is_some() {
            return false;
        }
        let judged = if sent + out.len() > self.bytes_max {
            Err((
                ErrorType::Execution,
                format!(
                    "the answer has more than {} MiB; narrow the selectors, aggregate, or ask for fewer steps",
                    self.bytes_max >> 20
                ),
            ))
        } else {
            let more = (out.len() - self.held) as u64;
            let held = self.turn.cancel.check().and_then(|()| self.turn.cancel.hold_bytes(more));
            held.map_err(|error| failure(&error))
        };
        self.held = out.len();
        self.refusal = judged.err();
        self.refusal.is_none()
    }
}

/// A matrix that is written series by series, and sent in pieces.
struct Matrix<'t> {
    out: Vec<u8>,
    times: wire::PointTimes,
    allowance: Allowance<'t>,
    limit: usize,
    outlet: Option<Outlet>,
    series: usize,
    /// Bytes that were sent.
    sent: usize,
}

impl<'t> Matrix<'t> {
    fn new(allowance: Allowance<'t>, limit: usize, outlet: Option<Outlet>) -> Self {
        let (out, times) = (Vec::with_capacity(4096), wire::PointTimes::default());
        let mut matrix = Self { out, times, allowance, limit, outlet, series: 0, sent: 0 };
        wire::begin_matrix(&mut matrix.out);
        matrix
    }

    fn push(&mut self, series: Answered<'_>) -> Result<(), QueryError> {
        self.series += 1;
        if self.limit > 0 && self.series > self.limit {
            return Ok(());
        }
        if self.series > 1 {
            self.out.push(b',');
        }
        matrix_series(&mut self.times, &mut self.out, series);
        if !self.allowance.goes_on(self.sent, &self.out) {
            return Err(QueryError::Canceled);
        }
        if let Some(outlet) = &mut self.outlet {
            let before = self.out.len();
            outlet.flow(&mut self.out, &self.allowance.turn.cancel)?;
            if self.out.len() < before {
                self.sent += before;
                self.allowance.held = 0;
            }
        }
        Ok(())
    }

    /// What is left to be sent, and the size of all.
    fn end(
        mut self,
        output: Result<(QueryOutput, Vec<String>), QueryError>,
    ) -> Result<(Vec<u8>, usize), Failure> {
        if let Some(refusal) = self.allowance.refusal {
            return Err(refusal);
        }
        let (output, notes) = output.map_err(|error| failure(&error))?;
        let mut warnings: Vec<String> =
            output.warnings.iter().map(ToString::to_string).chain(notes).collect();
        let infos: Vec<String> = output.infos.iter().map(ToString::to_string).collect();
        if self.limit > 0 && self.series > self.limit {
            warnings.push(CUT.to_owned());
        }
        wire::end_matrix(&mut self.out, &warnings, &infos);
        let bytes = self.sent + self.out.len();
        Ok((self.out, bytes))
    }
}

fn matrix_series(times: &mut wire::PointTimes, out: &mut Vec<u8>, series: Answered<'_>) {
    let labels = series.labels;
    if !series.histograms.is_empty() {
        let points: Vec<_> = series.points.iter().collect();
        let points = points.into_iter();
        return wire::mixed_matrix_series(out, labels, points, series.histograms, |out, (time_ms, h)| {
            wire::histogram_point(out, *time_ms, (h.count, h.sum), buckets(h));
        });
    }
    match series.points {
        Points::Each(each) => {
            wire::matrix_series_with(times, out, labels, each.iter().map(|p| (p.time_ms, p.value)));
        }
        steps @ Points::Steps { .. } => wire::matrix_series_with(times, out, labels, steps.iter()),
        Points::Written { start_ms, step_ms, values } => {
            let written = values.iter().enumerate().filter(|(_, value)| value.is_some());
            let points = written.map(|(step, value)| (start_ms + step_ms * step as i64, value));
            wire::matrix_series_by(times, out, labels, points, |out, value| match value.text() {
                Some(text) => out.extend_from_slice(text),
                None => vedette_wire::number::push_value(out, value.value().unwrap_or(f64::NAN)),
            });
        }
    }
}

/// The populated buckets.
fn buckets(histogram: &Histogram) -> impl Iterator<Item = wire::HistogramBucket> + '_ {
    histogram.buckets().filter(|b| b.count != 0.0).map(|b| wire::HistogramBucket {
        boundary_rule: b.boundary_rule(),
        lower: b.lower,
        upper: b.upper,
        count: b.count,
    })
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
        Value::Matrix(series) => {
            256 + {
                let bytes = |s: &Series| 128 + s.points.len() * 32 + s.histograms.len() * 512;
                256 + series.iter().map(bytes).sum::<usize>()
            }
        }
    }
}
