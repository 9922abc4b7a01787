//! OTLP and InfluxDB's line protocol over TCP; and remote write 2.0 as far as HTTP is concerned.

use std::{io::Write, net::SocketAddr};

use super::{NOW_MS, http, http::Reply, start, start_with, test_config};
use crate::Config;

async fn send(address: SocketAddr, target: &str, headers: &str, body: &[u8]) -> Reply {
    let mut request = format!(
        "POST {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    http::raw(address, &request).await.expect("an answer")
}

async fn value(address: SocketAddr, query: &str) -> String {
    http::get(address, &format!("/api/v1/query?query={query}")).await.body
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("a buffer takes all");
    encoder.finish().expect("a buffer takes all")
}

const OTLP: &str = "/api/v1/otlp/v1/metrics";
const JSON: &str = "Content-Type: application/json\r\n";
const GZIP: &str = "Content-Encoding: gzip\r\n";

fn metrics(temporality: u8) -> String {
    format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[
            {{"name":"queue.size","gauge":{{"dataPoints":[{{"timeUnixNano":"{NOW_MS}000000","asInt":"3"}}]}}}},
            {{"name":"done","sum":{{"isMonotonic":true,"aggregationTemporality":{temporality},
              "dataPoints":[{{"timeUnixNano":"{NOW_MS}000000","asDouble":4}}]}}}}]}}]}}]}}"#
    )
}

#[tokio::test]
async fn metrics_of_opentelemetry_can_be_queried() {
    let running = start().await;
    let reply = send(running.address, OTLP, JSON, metrics(2).as_bytes()).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "{}"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert!(value(running.address, "queue_size").await.contains(r#""3"]"#));
    assert!(value(running.address, "done_total").await.contains(r#""4"]"#));
    let headers = format!("Content-Type: application/x-protobuf\r\n{GZIP}");
    let reply = send(running.address, OTLP, &headers, &gzip(b"")).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    running.stop().await;
}

/// An API server sends again what is answered with 5xx, and drops what is answered with 4xx.
#[tokio::test]
async fn audit_records_go_to_their_cluster() {
    let running = start().await;
    let long = vec![b'x'; test_config().write_bytes_max + 1];
    for (target, headers, body, status, words) in [
        ("main", JSON, &b"good"[..], 204, ""),
        ("main", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", &gzip(b"good"), 204, ""),
        ("main", "Content-Type: application/x-www-form-urlencoded\r\n", b"good", 204, ""),
        ("a%20b", JSON, b"later", 503, "a b waits\n"),
        ("other", JSON, b"bad", 400, "other is not watched\n"),
        ("main", "Content-Encoding: br\r\n", b"good", 415, "Content-Encoding br"),
        ("main", JSON, &long, 413, "send fewer"),
    ] {
        let reply = send(running.address, &format!("/api/vedette/v1/audit/{target}"), headers, body).await;
        assert_eq!(reply.status, status, "{target} {}", reply.body);
        assert!(reply.body.contains(words), "{target} {}", reply.body);
        assert_eq!(reply.header("retry-after").is_some(), status == 503);
    }
    let reply = http::get(running.address, "/api/vedette/v1/audit/main").await;
    assert_eq!(reply.status, 405);
    running.stop().await;
}

#[tokio::test]
async fn points_that_are_refused_are_counted_in_the_answer() {
    let running = start().await;
    let reply = send(running.address, OTLP, JSON, metrics(1).as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert!(
        reply.body.starts_with(r#"{"partialSuccess":{"rejectedDataPoints":"1","errorMessage":"#),
        "{}",
        reply.body
    );
    let none = metrics(1).replace("gauge", "nothing");
    for (headers, body, status, words) in [
        (JSON, none.as_bytes(), 400, "1 of 1 samples were not stored"),
        (JSON, b"{", 400, "EOF"),
        ("Content-Type: text/plain\r\n", b"", 415, "unsupported content type: text/plain"),
        ("", b"", 415, "application/json, application/x-protobuf"),
        ("Content-Type: application/x-protobuf\r\n", &[0x0a, 9], 400, "at byte"),
        ("Content-Type: application/json\r\nContent-Encoding: br\r\n", b"{}", 415, "Content-Encoding br"),
        ("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"{}", 400, "gzip"),
    ] {
        let reply = send(running.address, OTLP, headers, body).await;
        assert_eq!(reply.status, status, "{headers}{}", reply.body);
        assert!(reply.body.contains(words), "{headers}{}", reply.body);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_body_that_grows_is_cut_off() {
    let running = start_with(Config { push_bytes_max: 10_000, ..test_config() }).await;
    let reply = send(running.address, OTLP, &format!("{JSON}{GZIP}"), &gzip(&[b' '; 10_001])).await;
    assert_eq!(reply.status, 413, "{}", reply.body);
    let reply = send(running.address, "/write", GZIP, &gzip(&[b'\n'; 10_000])).await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    running.stop().await;
}

#[tokio::test]
async fn lines_of_influxdb_can_be_queried() {
    let running = start().await;
    let seconds = NOW_MS / 1000;
    // What curl says of any body, too.
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    for (target, headers, line, query) in [
        ("/write?db=d&precision=s", "", format!("cpu,host=a usage=1.5 {seconds}"), r#"cpu_usage{db="d"}"#),
        ("/write", form, format!("mem free=1.5 {NOW_MS}000000"), "mem_free"),
        ("/api/v2/write?org=o&bucket=b&precision=ms", form, format!("m2 f=1.5 {NOW_MS}"), r#"m2_f{db="b"}"#),
        ("/influx/write?precision=u", "", format!("m3 f=1.5 {NOW_MS}000"), "m3_f"),
        ("/influx/api/v2/write", "", "m4 f=1.5".to_owned(), "m4_f"),
    ] {
        let reply = send(running.address, target, headers, line.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (204, ""), "{target}");
        let query = query.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        assert!(value(running.address, &query).await.contains(r#","1.5"]"#), "{query}");
    }
    let reply = send(running.address, "/write", GZIP, &gzip(b"zipped f=1")).await;
    assert_eq!(reply.status, 204);
    assert!(value(running.address, "zipped_f").await.contains(r#""1"]"#));
    for (target, body, status, answer) in [
        (
            "/write",
            "good f=1\nbad",
            400,
            r#"{"error":"partial write: 1 other parts were refused; the first: line 2: it has no fields"}"#,
        ),
        (
            "/api/v2/write",
            "bad",
            400,
            r#"{"code":"invalid","message":"1 other parts were refused; the first: line 1: it has no fields"}"#,
        ),
        (
            "/write?precision=y",
            "",
            400,
            r#"{"error":"the precision \"y\" is not known; use one of ns, us, ms, s, m, h"}"#,
        ),
    ] {
        let reply = send(running.address, target, "", body.as_bytes()).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, answer), "{target}");
    }
    running.stop().await;
}

#[tokio::test]
async fn answers_to_remote_write_2_count_what_is_stored() {
    let running = start().await;
    let headers = "Content-Type: application/x-protobuf;proto=io.prometheus.write.v2.Request\r\nContent-Encoding: snappy\r\n";
    let mut sample = vec![0x09];
    sample.extend(2.5_f64.to_le_bytes());
    sample.push(0x10);
    let mut time = NOW_MS as u64;
    while time >= 0x80 {
        sample.push(time as u8 | 0x80);
        time >>= 7;
    }
    sample.push(time as u8);
    let series = |refs: &[u8]| {
        let mut series = vec![0x0a, refs.len() as u8];
        series.extend(refs);
        series.extend([0x12, sample.len() as u8]);
        series.extend(&sample);
        [&[0x2a, series.len() as u8][..], &series].concat()
    };
    let symbols = [&b"\x22\x00\x22\x08__name__\x22\x03two"[..]].concat();
    let send_series = async |refs: &[&[u8]]| {
        let message = [symbols.clone(), refs.iter().flat_map(|r| series(r)).collect()].concat();
        let body = snap::raw::Encoder::new().compress_vec(&message).expect("compresses");
        send(running.address, "/api/v1/write", headers, &body).await
    };
    let written = |reply: &Reply| {
        ["samples", "histograms", "exemplars"]
            .map(|kind| reply.header(&format!("x-prometheus-remote-write-{kind}-written")).map(str::to_owned))
    };
    let counts = |n: [&str; 3]| n.map(|n| Some(n.to_owned()));
    let reply = send_series(&[&[1, 2]]).await;
    assert_eq!((reply.status, written(&reply)), (204, counts(["1", "0", "0"])), "{}", reply.body);
    assert!(value(running.address, "two").await.contains(r#""2.5"]"#));
    let reply = send_series(&[&[1, 2], &[1, 9]]).await;
    assert_eq!((reply.status, written(&reply)), (400, counts(["1", "0", "0"])));
    assert!(reply.body.contains("names the symbol 9"), "{}", reply.body);
    let reply = send(running.address, "/api/v1/write", headers, b"garbage").await;
    assert_eq!((reply.status, written(&reply)), (400, counts(["0", "0", "0"])));
    // Senders of 1.0 do not know these headers.
    let reply =
        send(running.address, "/api/v1/write", "", &snap::raw::Encoder::new().compress_vec(b"").expect("c"))
            .await;
    assert_eq!((reply.status, written(&reply)), (204, [None, None, None]));
    running.stop().await;
}
