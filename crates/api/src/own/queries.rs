//! Queries that run and ran, and how a query is evaluated.

use hyper::StatusCode;
use vedette_promql::{NodeProfile, Value};
use vedette_wire::{prometheus::ErrorType, vedette};

use super::Problem;
use crate::{
    answer::{json, own},
    evaluation::{self, Reason, Times},
    gate::Turn,
    prometheus::{
        Failure,
        query::{asked, failure},
    },
    request::Call,
    routes::Handled,
};

/// Bytes of a node's text that are shown.
const TEXT_BYTES_MAX: usize = 300;

/// What runs, what took long, what ran when the process before ended.
pub fn queries(call: Call) -> Handled {
    Box::pin(async move {
        let shared = &call.shared;
        let cache = shared.cache.as_ref().map(|cache| cache.stats()).unwrap_or_default();
        own(&vedette::QueriesAnswer {
            active: shared.queries.active(shared.app.clock.as_ref()),
            slow: shared.queries.slow(),
            interrupted: shared.interrupted.clone(),
            slow_from_seconds: shared.queries.slow_from().as_secs_f64(),
            waiting: shared.metrics.queries_waiting.get(),
            memory_bytes: shared.gate.memory_bytes(),
            memory_bytes_max: shared.config.queries_memory_bytes_max,
            cache: vedette::CacheFigures {
                hits: cache.hits,
                partial_hits: cache.partial_hits,
                misses: cache.misses,
                bypassed: cache.bypassed,
                entries: cache.entries,
                bytes: cache.bytes,
            },
        })
    })
}

/// Evaluates an expression and tells what each of its nodes read, gave and took.
pub fn explain(call: Call) -> Handled {
    Box::pin(async move {
        match explain_body(&call).await {
            Ok(body) => json(StatusCode::OK, body),
            Err(problem) => problem.into(),
        }
    })
}

async fn explain_body(call: &Call) -> Result<Vec<u8>, Problem> {
    let ranged = call.params.given("step").is_some();
    let (mut asked, _) = asked(call, ranged)?;
    asked.observed = true;
    let (query, times) = (asked.query.clone(), asked.times);
    let write = move |turn: &Turn, evaluation: evaluation::Evaluation<'_>| {
        let evaluated = evaluation.whole().map_err(|error| Problem::from(failure(&error)))?;
        let profiles = evaluated.observer.as_ref().map_or_else(Vec::new, |o| o.nodes());
        let (output, stats) = (&evaluated.output, &evaluated.stats);
        let series = match &output.value {
            Value::Vector(samples) => samples.len(),
            Value::Matrix(series) => series.len(),
            Value::Scalar { .. } | Value::String { .. } => 1,
        };
        let answer = vedette::ExplainAnswer {
            query: vedette_promql::pretty(&evaluated.expr),
            steps: match times {
                Times::At(_) => 1,
                Times::Range(start_ms, end_ms, step_ms) => ((end_ms - start_ms) / step_ms + 1).unsigned_abs(),
            },
            cacheable: ranged && vedette_promql::RangeCache::fits(&evaluated.expr),
            run_seconds: stats.eval_total_seconds,
            find_seconds: stats.preparation_seconds,
            queue_seconds: stats.queue_seconds,
            series: series as u64,
            series_read: output.stats.series_selected,
            samples_read: output.stats.samples_read,
            samples_looked_at: stats.samples,
            samples_peak: output.stats.samples_peak,
            memory_bytes: turn.memory.peak_bytes(),
            notes: output
                .warnings
                .iter()
                .chain(&output.infos)
                .map(ToString::to_string)
                .chain(evaluated.notes.iter().cloned())
                .collect(),
            nodes: (0..profiles.len()).map(|i| node(&query, &profiles, i)).collect(),
        };
        let body = serde_json::to_vec(&answer).expect("BUG: our own answers have text keys only");
        let bytes = body.len();
        Ok((body, bytes))
    };
    evaluation::run(call.shared.clone(), asked, write).await
}

fn node(query: &str, profiles: &[NodeProfile], at: usize) -> vedette::ExplainNode {
    let profile = &profiles[at];
    let below = profiles[at + 1..].iter().take_while(|p| p.depth > profile.depth);
    let children_ns: u64 = below.filter(|p| p.depth == profile.depth + 1).map(|p| p.nanoseconds).sum();
    let seconds = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64();
    let text = profile.span.text(query);
    let cut =
        text.char_indices().map(|(i, c)| i + c.len_utf8()).take_while(|end| *end <= TEXT_BYTES_MAX).last();
    let cut = cut.unwrap_or(0);
    vedette::ExplainNode {
        operation: profile.operation.clone(),
        text: if cut < text.len() { format!("{}…", &text[..cut]) } else { text.to_owned() },
        depth: profile.depth,
        series_read: profile.series_read,
        samples_read: profile.samples_read,
        series: profile.series,
        samples: profile.samples,
        bytes: profile.bytes,
        evaluations: profile.evaluations,
        seconds: seconds(profile.nanoseconds),
        own_seconds: seconds(profile.nanoseconds.saturating_sub(children_ns)),
    }
}

impl Reason for Problem {
    fn reason(&self) -> &str {
        &self.1
    }
}

impl From<Failure> for Problem {
    fn from((kind, message): Failure) -> Self {
        let status = StatusCode::from_u16(kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let remedy = match kind {
            ErrorType::BadData => "Correct the expression or the parameter.",
            ErrorType::Timeout | ErrorType::Unavailable | ErrorType::Canceled => "Ask again later.",
            ErrorType::Execution => "Narrow the selectors or the range, or correct the expression.",
            ErrorType::Internal | ErrorType::NotFound => "The Status page says how each part is.",
        };
        Self(status, message, remedy)
    }
}
