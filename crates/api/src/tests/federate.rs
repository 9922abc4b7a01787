//! `/federate` over TCP, in text and in messages of Protocol Buffers.

use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, HistogramCounts, MetricKind, NativeHistogram, ResetHint, Span, stale_nan,
};
use vedette_wire::{
    exposition::{ProtobufEntry, ProtobufParser},
    remote_write::Encoder,
};

use super::{NOW_MS, http, start, start_app, test_app, test_config};
use crate::Protocol;

const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

fn histogram(custom: bool, hint: ResetHint) -> NativeHistogram {
    NativeHistogram {
        reset_hint: hint,
        schema: if custom { CUSTOM_BUCKETS_SCHEMA } else { 3 },
        zero_threshold: if custom { 0.0 } else { 0.001 },
        sum: 12.5,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        negative_spans: Vec::new(),
        custom_bounds: if custom { vec![0.5, 1.0] } else { Vec::new() },
        counts: HistogramCounts::Integer { count: 5, zero_count: 0, positive: vec![2, 3], negative: vec![] },
    }
}

fn app() -> (crate::App, tempfile::TempDir) {
    let (app, folder) = test_app();
    let mut encoder = Encoder::default();
    let mut add = |name: &str, time_ms: i64, value: f64| {
        encoder.begin_series([("__name__", name)]).sample(NOW_MS + time_ms, value).end_series();
    };
    add("gone", -1000, 5.0);
    add("gone", -10, stale_nan());
    add("old", -300_001, 1.0);
    add("within", -300_000, 1e6);
    add("dotted.name", -5, 1.0);
    for (name, custom, hint) in [
        ("native", false, ResetHint::Unknown),
        ("native_gauge", false, ResetHint::Gauge),
        ("nhcb", true, ResetHint::Unknown),
    ] {
        encoder.begin_series([("__name__", name), ("a", "b")]);
        encoder.histogram(NOW_MS - 7, &histogram(custom, hint)).end_series();
    }
    let body = snap::raw::Encoder::new().compress_vec(encoder.message()).expect("compresses");
    app.writer.write(&Protocol::RemoteWrite, &body);
    (app, folder)
}

async fn get(address: std::net::SocketAddr, target: &str, accept: &str) -> http::Reply {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: {accept}\r\n\r\n");
    http::raw(address, request.as_bytes()).await.expect("an answer")
}

#[tokio::test]
async fn text_has_what_is_current_with_external_labels() {
    let (app, folder) = app();
    let running = start_app(test_config(), app, folder).await;
    for (selectors, expected) in [
        ("", ""),
        ("?match[]=nothing", ""),
        ("?match[]=gone&match[]=old", ""),
        (
            "?match[]=within",
            "# TYPE within untyped\nwithin{instance=\"\",job=\"ours\",replica=\"a\"} 1e+06 1699999700000\n",
        ),
        (
            "?match[]=up&match[]={job=%22node%22}",
            "# TYPE up untyped\n\
             up{instance=\"localhost:9090\",job=\"prometheus\",replica=\"a\"} 1 1700000000000\n\
             up{instance=\"localhost:9100\",job=\"node\",replica=\"a\"} 0 1700000000000\n",
        ),
        (
            "?match[]={__name__=~%22native|nhcb%22}",
            "# TYPE nhcb histogram\n\
             nhcb_bucket{a=\"b\",instance=\"\",job=\"ours\",replica=\"a\",le=\"0.5\"} 0 1699999999993\n\
             nhcb_bucket{a=\"b\",instance=\"\",job=\"ours\",replica=\"a\",le=\"1\"} 2 1699999999993\n\
             nhcb_bucket{a=\"b\",instance=\"\",job=\"ours\",replica=\"a\",le=\"+Inf\"} 5 1699999999993\n\
             nhcb_sum{a=\"b\",instance=\"\",job=\"ours\",replica=\"a\"} 12.5 1699999999993\n\
             nhcb_count{a=\"b\",instance=\"\",job=\"ours\",replica=\"a\"} 5 1699999999993\n",
        ),
        (
            "?match[]={%22dotted.name%22}",
            "# TYPE dotted_name untyped\ndotted_name{instance=\"\",job=\"ours\",replica=\"a\"} 1 1699999999995\n",
        ),
    ] {
        let reply = get(running.address, &format!("/federate{selectors}"), "*/*").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, expected), "{selectors}");
        assert_eq!(
            reply.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8; escaping=underscores")
        );
    }
    let target = "/federate?match[]={%22dotted.name%22}";
    let reply = get(running.address, target, "text/plain;version=0.0.4;escaping=allow-utf-8").await;
    assert!(reply.body.contains("\n{\"dotted.name\",instance="), "{}", reply.body);
    running.stop().await;
}

#[tokio::test]
async fn messages_have_native_histograms() {
    let (app, folder) = app();
    let running = start_app(test_config(), app, folder).await;
    let reply = get(running.address, "/federate?match[]={__name__=~%22n.*|within%22}", PROTOBUF).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(
        reply.header("content-type").expect("a type").starts_with("application/vnd.google.protobuf; proto=")
    );
    let mut found = Vec::new();
    for entry in ProtobufParser::new(&reply.bytes) {
        match entry.expect("an entry") {
            ProtobufEntry::Family(family) => found.push(format!("{} {}", family.name, family.kind.as_str())),
            ProtobufEntry::Metric(metric) => {
                let labels: Vec<_> = metric.labels().map(|pair| pair.expect("labels").0).collect();
                let values: Vec<_> = metric.points().map(|point| point.expect("a point").value).collect();
                let what = if metric.is_native().expect("is sound") {
                    let native = metric.native().expect("is read").expect("is sound");
                    native.validate().expect("does not contradict itself");
                    format!("native {} {:?} {}", native.schema, native.positive_spans, native.count())
                } else {
                    format!("{values:?}")
                };
                found.push(format!("{labels:?} at {:?}: {what}", metric.time_ms.map(|t| t - NOW_MS)));
            }
        }
    }
    let labels = r#"["a", "instance", "job", "replica"]"#;
    let native = "native 3 [Span { offset: 1, length: 2 }] 5";
    assert_eq!(
        found,
        [
            "native histogram".to_owned(),
            format!("{labels} at Some(-7): {native}"),
            format!("native_gauge {}", MetricKind::GaugeHistogram.as_str()),
            format!("{labels} at Some(-7): {native}"),
            "nhcb histogram".to_owned(),
            format!("{labels} at Some(-7): [5.0, 12.5, 0.0, 2.0, 5.0]"),
            "within unknown".to_owned(),
            r#"["instance", "job", "replica"] at Some(-300000): [1000000.0]"#.to_owned(),
        ]
    );
    running.stop().await;
}

#[tokio::test]
async fn a_selector_that_is_none_is_told() {
    let running = start().await;
    let reply = get(running.address, "/federate?match[]=up&match[]=-x", "*/*").await;
    assert_eq!(reply.status, 400);
    assert!(reply.body.contains("parse error"), "{}", reply.body);
    running.stop().await;
}
