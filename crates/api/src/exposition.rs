//! `/metrics`, `/metrics/node`, `/metrics/cadvisor`, `/metrics/kube-state`.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{
    HeaderMap, StatusCode,
    header::{ACCEPT, HeaderValue, VARY},
};
use vedette_model::{
    MetricKind,
    telemetry::{Family, MetricVisitor, Telemetry},
};
use vedette_promql::Cancel;
use vedette_wire::{
    exposition::{Format, Writer},
    prometheus::ErrorType,
};

use crate::{
    answer::{Answer, Body, whole},
    app::Shared,
    flow::{self, Answered, Flow, Outlet},
    latest::{LatestSamples, Source},
    request::Call,
    routes::Handled,
};

/// Tells the state of the objects of clusters as metrics.
pub trait KubeState: Send + Sync {
    /// Writes the page in this format. `take` is given pieces of it, takes what is in them, and tells whether it
    /// wants more. Whether the page is whole.
    fn write(&self, format: Format, take: &mut dyn FnMut(&mut Vec<u8>) -> bool) -> bool;
}

/// Vedette's own metrics.
pub fn own(call: Call) -> Handled {
    Box::pin(written(call, |format, shared| write_own(format, &shared.app.telemetry)))
}

/// The newest values of this machine.
pub fn node(call: Call) -> Handled {
    // cAdvisor tells when it looked, node_exporter does not.
    Box::pin(written(call, |format, shared| write_latest(format, &*shared.app.latest, Source::Node, false)))
}

/// The newest values of the containers.
pub fn containers(call: Call) -> Handled {
    Box::pin(written(call, |format, shared| {
        write_latest(format, &*shared.app.latest, Source::Containers, true)
    }))
}

/// The state of the objects of clusters, sent while it is written: a large cluster makes a page of many megabytes.
pub fn kube_state(call: Call) -> Handled {
    Box::pin(async move {
        let format = accepted(&call.headers);
        let flow = Arc::new(Flow::default());
        let mut outlet = Outlet::strict(flow.clone(), call.shared.app.clock.clone());
        let work = tokio::task::spawn_blocking(move || {
            let (mut rest, cancel) = (Vec::new(), Cancel::new());
            let is_whole = call.shared.app.kube_state.write(format, &mut |piece| {
                if rest.is_empty() {
                    std::mem::swap(&mut rest, piece);
                } else {
                    rest.append(piece);
                }
                outlet.flow(&mut rest, &cancel).is_ok()
            });
            if is_whole { Ok(rest) } else { Err((ErrorType::Canceled, "the client is too slow".to_owned())) }
        });
        let work = async move {
            let bug = |_| Err((ErrorType::Internal, "BUG: the page could not be written".to_owned()));
            work.await.unwrap_or_else(bug)
        };
        match flow::begin(work, flow).await {
            Answered::Whole(Ok(text)) => give(format, text),
            Answered::Whole(Err((_, reason))) => {
                whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", reason)
            }
            Answered::Stream(stream) => {
                let mut answer = give(format, Vec::new());
                *answer.body_mut() = Body::Flow(stream);
                answer
            }
        }
    })
}

/// Parts that are asked may wait for a lock or a disk, so they are asked on a thread that may.
async fn written(call: Call, write: impl FnOnce(Format, &Shared) -> Vec<u8> + Send + 'static) -> Answer {
    let format = accepted(&call.headers);
    match tokio::task::spawn_blocking(move || write(format, &call.shared)).await {
        Ok(text) => give(format, text),
        Err(_) => {
            whole(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "BUG: the values could not be written")
        }
    }
}

fn accepted(headers: &HeaderMap) -> Format {
    Format::accepted(headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or(""))
}

fn give(format: Format, text: Vec<u8>) -> Answer {
    let mut answer = whole(StatusCode::OK, format.content_type(), text);
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// Several sources may have values of one family; an exposition has each family once.
fn write_own(format: Format, telemetry: &Telemetry) -> Vec<u8> {
    type Row = (Vec<(String, String)>, f64);
    #[derive(Default)]
    struct Families(BTreeMap<&'static str, (Option<Family>, Vec<Row>)>);
    impl MetricVisitor for Families {
        fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64) {
            let (known, rows) = self.0.entry(family.name).or_default();
            known.get_or_insert(*family);
            let labels = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
            rows.push((labels, value));
        }
    }
    let mut families = Families::default();
    telemetry.visit(&mut families);
    let mut writer = Writer::new(format);
    for (name, (family, rows)) in &families.0 {
        if let Some(family) = family {
            writer.family(name, family.kind, "", family.help);
        }
        for (labels, value) in rows {
            writer.sample(name, labels.iter().map(|(n, v)| (n.as_str(), v.as_str())), *value, None);
        }
    }
    writer.finish()
}

/// Room for a page, so that it is rarely moved as it grows.
const PAGE_BYTES: usize = 1 << 20;

fn write_latest(format: Format, latest: &dyn LatestSamples, source: Source, with_time: bool) -> Vec<u8> {
    let mut writer = Writer::with_capacity(format, PAGE_BYTES);
    let mut open = String::new();
    latest.visit(source, &mut |sample| {
        if open != sample.family {
            sample.family.clone_into(&mut open);
            match sample.metadata {
                Some(m) => writer.family(&open, m.kind, &m.unit, &m.help),
                None => writer.family(&open, MetricKind::Unknown, "", ""),
            }
        }
        writer.row(sample.text, sample.value, with_time.then_some(sample.time_ms));
    });
    writer.finish()
}
