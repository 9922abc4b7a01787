//! Vedette's own API, expositions, health.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{NOW_MS, Running, http, sample_events, start, start_with, test_config};
use crate::Config;

async fn ids(running: &Running, filter: &str) -> Vec<String> {
    let reply = http::get(running.address, &format!("/api/vedette/v1/events?{filter}")).await;
    assert_eq!(reply.status, 200, "{filter}: {}", reply.body);
    let answer: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let events = answer["events"].as_array().expect("events").iter();
    events.map(|e| e["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test]
async fn events_are_searched() {
    let running = start().await;
    let all = ids(&running, "").await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by_key(|id| std::cmp::Reverse(id.parse::<u64>().expect("a number"))), "{all:?}");
    let at = |second: i64| NOW_MS - 60_000 + second * 1000;
    for (filter, expected) in [
        ("kind=exec".to_owned(), vec![&all[5], &all[3]]),
        ("kind=exec&kind=exit".to_owned(), vec![&all[5], &all[3], &all[2]]),
        ("process=13:130&kind=exec".to_owned(), vec![&all[3]]),
        ("severity=warning".to_owned(), vec![&all[1]]),
        ("text=NC&kind=exec".to_owned(), vec![&all[3]]),
        ("text=leads+shell".to_owned(), vec![&all[1]]),
        (format!("from={}&to={}", at(2), at(3)), vec![&all[4], &all[3]]),
        (format!("before={}&limit=1", all[2]), vec![&all[3]]),
        ("container=abc".to_owned(), vec![]),
    ] {
        let mut expected: Vec<String> = expected.into_iter().cloned().collect();
        expected.sort_by_key(|id| std::cmp::Reverse(id.parse::<u64>().expect("a number")));
        assert_eq!(ids(&running, &filter).await, expected, "{filter}");
    }
    for filter in ["kind=x", "from=x", "before=-1", "limit=0", "limit=1001", "process=1", "severity=bad"] {
        let reply = http::get(running.address, &format!("/api/vedette/v1/events?{filter}")).await;
        assert_eq!(reply.status, 400, "{filter}");
        let problem: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        assert!(problem["error"].is_string() && problem["remedy"].is_string(), "{}", reply.body);
    }
    running.stop().await;
}

#[tokio::test]
async fn one_event_and_its_tree() {
    let running = start().await;
    let exec = ids(&running, "process=13:130&kind=exec").await.remove(0);
    let reply = http::get(running.address, &format!("/api/vedette/v1/events/{exec}")).await;
    assert!(reply.body.contains(r#""process.command_line":"nc -i""#), "{}", reply.body);
    let reply = http::get(running.address, &format!("/api/vedette/v1/events/{exec}/tree")).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let tree: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let init = &tree["root"];
    let bash = &init["children"][0];
    let nc = &bash["children"][0];
    assert_eq!(init["process"]["name"], "init");
    assert_eq!((&init["focus"], &bash["focus"], &nc["focus"]), (&false.into(), &false.into(), &true.into()));
    assert_eq!(bash["process"]["pid"], 12);
    assert_eq!(nc["process"]["command_line"], "nc -i");
    assert_eq!(nc["exited"], serde_json::json!({"code": 1, "signal": false}));
    assert_eq!(nc["started_unix_nano"], ((NOW_MS - 58_000) * 1_000_000).to_string());
    assert_eq!(nc["events"].as_array().expect("events").len(), 3);
    // From the shell, its child is seen below it.
    let exec = ids(&running, "process=12:120&kind=exec").await.remove(0);
    let reply = http::get(running.address, &format!("/api/vedette/v1/events/{exec}/tree")).await;
    let tree: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(tree["root"]["children"][0]["focus"], true);
    assert_eq!(tree["root"]["children"][0]["children"][0]["process"]["name"], "nc");
    let loss = ids(&running, "kind=loss").await.remove(0);
    for (path, status) in [
        (format!("{loss}/tree"), 404),
        ("999999999/tree".into(), 404),
        ("x".into(), 400),
        ("99999999999999999999".into(), 400),
    ] {
        let reply = http::get(running.address, &format!("/api/vedette/v1/events/{path}")).await;
        assert_eq!(reply.status, status, "{path}");
    }
    running.stop().await;
}

/// Opens the stream and reads until it says that it is open.
async fn watch(running: &Running, filter: &str) -> BufReader<tokio::net::TcpStream> {
    let mut stream = tokio::net::TcpStream::connect(running.address).await.expect("connects");
    let request = format!("GET /api/vedette/v1/events/live?{filter} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut reader = BufReader::new(stream);
    let head = lines_until(&mut reader, |line| line == ": open").await;
    assert!(head.iter().any(|l| l.eq_ignore_ascii_case("content-type: text/event-stream")), "{head:?}");
    reader
}

async fn lines_until(
    reader: &mut BufReader<tokio::net::TcpStream>,
    found: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        let read = tokio::time::timeout(http::PATIENCE, reader.read_line(&mut line)).await;
        assert!(read.expect("in time").expect("reads") > 0, "the stream ended after {lines:?}");
        lines.push(line.trim_end().to_owned());
        if found(line.trim_end()) {
            return lines;
        }
    }
}

#[tokio::test]
async fn live_events_come_as_they_are_stored() {
    let running = start().await;
    let mut reader = watch(&running, "kind=exec&text=nc").await;
    let mut events = sample_events();
    running.events.as_ref().expect("events").append(&mut events).expect("appends");
    let lines = lines_until(&mut reader, |line| line.starts_with("data: ")).await;
    let data = lines.last().and_then(|l| l.strip_prefix("data: ")).expect("data");
    let event: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(event["id"], events[2].id.to_string());
    assert!(lines.contains(&format!("id: {}", events[2].id)), "{lines:?}");
    // A stream that is open does not hold up the end of the server.
    running.stop().await;
}

#[tokio::test]
async fn readers_of_live_events_are_counted_and_bounded() {
    let running = start_with(Config { live_readers_max: 1, ..test_config() }).await;
    let first = watch(&running, "").await;
    let reply = http::get(running.address, "/api/vedette/v1/events/live").await;
    assert_eq!(reply.status, 503);
    drop(first);
    // The place is free again once the server has seen that the reader left.
    loop {
        running.events.as_ref().expect("events").append(&mut sample_events()).expect("appends");
        let metrics = http::get(running.address, "/metrics").await.body;
        if metrics.contains("vedette_api_live_readers 0\n") {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(watch(&running, "").await);
    running.stop().await;
}

#[tokio::test]
async fn status_findings_containers_and_health() {
    let running = start().await;
    let reply = http::get(running.address, "/api/vedette/v1/status").await;
    let status: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    assert_eq!(status["host"], serde_json::json!({"name": "node", "id": "m", "kernel": "6.1.0"}));
    assert_eq!((&status["now_unix_ms"], &status["started_unix_ms"]), (&NOW_MS.into(), &NOW_MS.into()));
    assert_eq!(
        status["parts"],
        serde_json::json!([
            {"name": "sensor", "health": "off", "message": "no rights", "remedy": "run as root", "facts": []},
            {"name": "tsdb", "health": "ok", "message": "", "remedy": "", "facts": [{"name": "series", "value": "3"}]},
        ])
    );
    let reply = http::get(running.address, "/api/vedette/v1/findings").await;
    let findings: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let order: Vec<_> = findings["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .map(|f| {
            (f["severity"].as_str().expect("text").to_owned(), f["state"].as_str().expect("text").to_owned())
        })
        .collect();
    let expected = [("critical", "firing"), ("warning", "firing"), ("critical", "resolved")];
    assert_eq!(order, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    let reply = http::get(running.address, "/api/vedette/v1/containers").await;
    assert_eq!(
        reply.body,
        r#"{"containers":[{"container.id":"abc","container.name":"c1","container.image.name":"","k8s.pod.name":"","k8s.namespace.name":"","k8s.pod.uid":"","vedette.workload.kind":"","vedette.workload.name":"","container.runtime":"","cgroup":""}]}"#
    );
    assert_eq!(http::get(running.address, "/-/healthy").await.status, 200);
    assert_eq!(http::get(running.address, "/-/ready").await.status, 200);
    running.ready.store(false, Ordering::Release);
    assert_eq!(http::get(running.address, "/-/ready").await.status, 503);
    assert_eq!(
        http::get(running.address, "/version").await.body,
        r#"{"version":"0.1.0","revision":"r1","branch":"","buildUser":"","buildDate":"","goVersion":""}"#
    );
    let reply = http::get(running.address, "/api/vedette/v1/nothing").await;
    assert_eq!((reply.status, reply.header("content-type")), (404, Some("application/json")));
    running.stop().await;
}

#[tokio::test]
async fn own_metrics_count_requests() {
    let running = start().await;
    http::get(running.address, "/api/v1/labels").await;
    http::get(running.address, "/api/v1/labels?start=x").await;
    let reply = http::get(running.address, "/metrics").await;
    assert_eq!(reply.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in [
        "# TYPE vedette_api_requests_total counter",
        "vedette_api_requests_total{route=\"/api/v1/labels\",status=\"2xx\"} 1",
        "vedette_api_requests_total{route=\"/api/v1/labels\",status=\"4xx\"} 1",
        "vedette_api_requests_in_flight 1",
    ] {
        assert!(reply.body.lines().any(|l| l == line), "{line} is not in\n{}", reply.body);
    }
    let reply = http::get_with(running.address, "/metrics", "Accept: application/openmetrics-text\r\n").await;
    assert!(reply.body.ends_with("# EOF\n"), "{}", reply.body);
    running.stop().await;
}

/// It is sent while it is written, and nothing of it gets lost between the pieces.
#[tokio::test]
async fn the_state_of_clusters_is_exposed() {
    let running = start().await;
    let text = http::get(running.address, "/metrics/kube-state").await;
    assert_eq!(text.bytes, "kube_text 1\n".repeat(20_001).into_bytes());
    let accept = "Accept: application/openmetrics-text\r\n";
    let open = http::get_with(running.address, "/metrics/kube-state", accept).await;
    assert_eq!(open.bytes, "kube_open 1\n".repeat(20_001).into_bytes());
    running.stop().await;
}

#[tokio::test]
async fn collected_values_are_exposed() {
    let running = start().await;
    assert_eq!(
        http::get(running.address, "/metrics/node").await.body,
        "# HELP node_cpu_seconds_total H.\n# TYPE node_cpu_seconds_total counter\n\
         node_cpu_seconds_total{cpu=\"0\"} 1\nnode_cpu_seconds_total{cpu=\"1\"} 2e+06\n\
         # HELP node_load1 H.\n# TYPE node_load1 gauge\nnode_load1 0.75\n\
         # TYPE node_unknown_count untyped\nnode_unknown_count 5\n\
         # HELP node_wait H.\n# TYPE node_wait summary\nnode_wait_count 3\nnode_wait_sum 4\n"
    );
    assert_eq!(
        http::get(running.address, "/metrics/cadvisor").await.body,
        "# TYPE container_cpu_usage_seconds_total untyped\ncontainer_cpu_usage_seconds_total{id=\"/a\"} 7 1700000000000\n"
    );
    running.stop().await;
}
