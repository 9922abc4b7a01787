//! `/federate`: the newest samples of selected series as an exposition, which another server scrapes.
//!
//! As with Prometheus: what is older than the lookback or ended is left out; families have no type but
//! that of histograms, since a sample is all that is known; native histograms go to those who take
//! messages of Protocol Buffers, while those with custom buckets go to all in their classic form;
//! external labels are added to series that have them not.

use std::sync::Arc;

use hyper::{
    StatusCode,
    header::{ACCEPT, CONTENT_TYPE, HeaderValue, VARY},
};
use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Hints, Labels, METRIC_NAME, Matcher, MetricKind, NativeHistogram, SampleBuffer,
    Select, TimeRange, is_stale,
};
use vedette_wire::{
    exposition::{Escaping, Format, ProtobufWriter, Writer, classic_buckets, is_gauge_histogram},
    number::push_shortest,
};

use crate::{
    answer::{Answer, text, whole},
    app::Shared,
    gate::Turn,
    request::Call,
    routes::Handled,
};

/// The label by which targets are told apart: whoever scrapes this must not put the address of this
/// server there, so that series without it say so.
const INSTANCE: &str = "instance";

/// The newest sample of a series.
struct Newest {
    labels: Labels,
    time_ms: i64,
    value: f64,
    histogram: Option<Arc<NativeHistogram>>,
}

/// In which form the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Negotiated {
    is_protobuf: bool,
    escaping: Escaping,
}

/// `/federate`
pub fn federate(call: Call) -> Handled {
    Box::pin(async move {
        let negotiated = negotiate(call.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or(""));
        let (shared, client) = (call.shared.clone(), call.client.clone());
        let run = move |turn: &Turn| {
            let sets = call
                .params
                .all("match[]")
                .map(vedette_promql::parse_selector)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| (StatusCode::BAD_REQUEST, e.to_string()))?;
            body(&call.shared, turn, sets, negotiated)
        };
        match shared.gate.run(&client, None, run).await {
            Ok(Ok(body)) => answer(negotiated, body),
            Ok(Err((status, message))) => text(status, message + "\n"),
            Err(refused) => text(StatusCode::SERVICE_UNAVAILABLE, super::Failure::from(refused).1 + "\n"),
        }
    })
}

fn answer(negotiated: Negotiated, body: Vec<u8>) -> Answer {
    let mut answer = whole(StatusCode::OK, "", body);
    let form = if negotiated.is_protobuf {
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    } else {
        Format::Text.content_type()
    };
    let content_type = format!("{form}; escaping={}", negotiated.escaping.as_str());
    if let Ok(content_type) = HeaderValue::from_str(&content_type) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// The most wanted of what `Accept` names: text 0.0.4 or delimited messages. As with Prometheus
/// OpenMetrics is not among them, and where escaping is not spoken of, underscores are put.
fn negotiate(accept: &str) -> Negotiated {
    let mut ranges: Vec<(f64, Vec<&str>)> = accept
        .split(',')
        .map(|range| {
            let parts: Vec<&str> = range.split(';').map(str::trim).collect();
            let quality =
                parts.iter().find_map(|p| p.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
            (quality, parts)
        })
        .collect();
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut escaping = Escaping::Underscores;
    for (_, parts) in &ranges {
        let parameter = |name: &str| {
            parts.iter().skip(1).filter_map(|p| p.split_once('=')).find(|(n, _)| *n == name).map(|(_, v)| v)
        };
        if let Some(wanted) = parameter("escaping").and_then(Escaping::of_name) {
            escaping = wanted;
        }
        let version = parameter("version").unwrap_or("");
        match parts[0] {
            "application/vnd.google.protobuf"
                if parameter("proto") == Some("io.prometheus.client.MetricFamily")
                    && parameter("encoding") == Some("delimited") =>
            {
                return Negotiated { is_protobuf: true, escaping };
            }
            "text/plain" if matches!(version, "" | "0.0.4") => break,
            _ => {}
        }
    }
    Negotiated { is_protobuf: false, escaping }
}

type Failed = (StatusCode, String);

fn body(
    shared: &Shared,
    turn: &Turn,
    sets: Vec<Vec<Matcher>>,
    negotiated: Negotiated,
) -> Result<Vec<u8>, Failed> {
    let mut newest = Vec::new();
    let several = sets.len() > 1;
    for matchers in sets {
        collect(shared, turn, matchers, &mut newest)?;
    }
    if several {
        newest.sort_by(|a, b| a.labels.cmp(&b.labels));
        newest.dedup_by(|a, b| a.labels == b.labels);
    }
    newest.sort_by(|a, b| a.labels.metric_name().cmp(b.labels.metric_name()));
    let external = (shared.app.external_labels)();
    let mut out = if negotiated.is_protobuf {
        Out::Protobuf(ProtobufWriter::default())
    } else {
        Out::Text(Writer::new(Format::Text))
    };
    let bytes_max = shared.config.answer_bytes_max;
    let mut before = None;
    for sample in &newest {
        out.sample(sample, &external, negotiated.escaping, &mut before);
        if out.bytes() > bytes_max {
            let text = format!("the answer has more than {} MiB; narrow match[]", bytes_max >> 20);
            return Err((StatusCode::BAD_REQUEST, text));
        }
    }
    Ok(out.finish())
}

/// Adds the newest samples of the series that satisfy all matchers.
fn collect(
    shared: &Shared,
    turn: &Turn,
    matchers: Vec<Matcher>,
    out: &mut Vec<Newest>,
) -> Result<(), Failed> {
    let internal = |error: &dyn std::fmt::Display| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let now_ms = shared.app.clock.unix_ms();
    let range = TimeRange { start_ms: now_ms - shared.app.engine.config().lookback_ms, end_ms: now_ms };
    let select = Select { matchers, range, hints: Hints::default(), series_max: 0 };
    let set = shared.app.series.select(&select).map_err(|e| internal(&e))?;
    turn.cancel.hold_bytes((set.len() * size_of::<Newest>()) as u64).map_err(|e| internal(&e))?;
    let mut samples = SampleBuffer::default();
    for series in 0..set.len() {
        turn.cancel.check().map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
        samples.clear();
        set.read(series, range, &mut samples).map_err(|e| internal(&e))?;
        let Some(last) = samples.len().checked_sub(1) else { continue };
        let (time_ms, value) = (samples.times_ms[last], samples.values[last]);
        let labels = set.labels(series);
        if is_stale(value) || labels.metric_name().is_empty() {
            continue;
        }
        turn.cancel.hold_bytes(labels.heap_bytes() as u64).map_err(|e| internal(&e))?;
        out.push(Newest { labels, time_ms, value, histogram: samples.histogram(last).cloned() });
    }
    Ok(())
}

enum Out {
    Text(Writer),
    Protobuf(ProtobufWriter),
}

impl Out {
    /// Writes a sample, and a family before it where the one before it was of another.
    fn sample<'a>(
        &mut self,
        sample: &'a Newest,
        external: &'a Labels,
        escaping: Escaping,
        before: &mut Option<(&'a str, MetricKind)>,
    ) {
        let kind = match &sample.histogram {
            None => MetricKind::Unknown,
            Some(h) if is_gauge_histogram(h) => MetricKind::GaugeHistogram,
            Some(_) => MetricKind::Histogram,
        };
        let is_native = sample.histogram.as_ref().is_some_and(|h| h.schema != CUSTOM_BUCKETS_SCHEMA);
        if is_native && matches!(self, Self::Text(_)) {
            return;
        }
        let name = sample.labels.metric_name();
        let escaped_name = escaping.escape(name);
        if before.replace((name, kind)) != Some((name, kind)) {
            match self {
                Self::Text(writer) => writer.family(&escaped_name, kind, "", ""),
                Self::Protobuf(writer) => writer.family(&escaped_name, kind),
            }
        }
        let labels: Vec<_> =
            labels(&sample.labels, external).map(|(name, value)| (escaping.escape(name), value)).collect();
        let pairs = || labels.iter().map(|(name, value)| (name.as_ref(), *value));
        match (self, &sample.histogram) {
            (Self::Text(writer), None) => {
                writer.sample(&escaped_name, pairs(), sample.value, Some(sample.time_ms));
            }
            (Self::Protobuf(writer), None) => writer.value(pairs(), sample.value, sample.time_ms),
            (Self::Protobuf(writer), Some(histogram)) => writer.histogram(pairs(), histogram, sample.time_ms),
            (Self::Text(writer), Some(histogram)) => {
                let name = |suffix: &str| format!("{escaped_name}{suffix}");
                let mut buckets = classic_buckets(histogram);
                buckets.push((f64::INFINITY, histogram.count()));
                for (bound, count) in buckets {
                    let mut le = Vec::new();
                    push_shortest(&mut le, bound);
                    let le = String::from_utf8(le).expect("BUG: numbers are written in ASCII");
                    let bound = [("le", le.as_str())];
                    let pairs = labels.iter().map(|(name, value)| (name.as_ref(), *value)).chain(bound);
                    writer.sample(&name("_bucket"), pairs, count, Some(sample.time_ms));
                }
                writer.sample(&name("_sum"), pairs(), histogram.sum, Some(sample.time_ms));
                writer.sample(&name("_count"), pairs(), histogram.count(), Some(sample.time_ms));
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Text(writer) => writer.bytes(),
            Self::Protobuf(writer) => writer.bytes(),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Text(writer) => writer.finish(),
            Self::Protobuf(writer) => writer.finish(),
        }
    }
}

/// The labels of a series but its name, then the external ones that it has not, in order of their
/// names; `instance` is among them with an empty value unless one of them is called so.
fn labels<'a>(own: &'a Labels, external: &'a Labels) -> impl Iterator<Item = (&'a str, &'a str)> {
    let mut added: Vec<(&str, &str)> = external.iter().collect();
    if external.get(INSTANCE).is_none() {
        let at = added.partition_point(|(name, _)| *name < INSTANCE);
        added.insert(at, (INSTANCE, ""));
    }
    added.retain(|(name, _)| own.get(name).is_none());
    own.iter().filter(|(name, _)| *name != METRIC_NAME).chain(added)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_most_wanted_one_that_is_known() {
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let prometheus = format!(
            "{protobuf};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        let text = prometheus.replace("q=0.6", "q=0.1");
        for (accept, is_protobuf, escaping) in [
            ("", false, Escaping::Underscores),
            ("*/*", false, Escaping::Underscores),
            ("application/openmetrics-text;version=1.0.0", false, Escaping::Underscores),
            (protobuf, true, Escaping::Underscores),
            (&format!("{protobuf};escaping=dots"), true, Escaping::Dots),
            (&format!("{protobuf};encoding=text"), true, Escaping::Underscores),
            ("application/vnd.google.protobuf;encoding=text", false, Escaping::Underscores),
            (&prometheus, true, Escaping::Underscores),
            (&text, false, Escaping::AllowUtf8),
            ("text/plain;version=0.0.4;escaping=values;q=0.5,text/plain;q=nonsense", false, Escaping::Values),
        ] {
            assert_eq!(negotiate(accept), Negotiated { is_protobuf, escaping }, "{accept}");
        }
    }
}
