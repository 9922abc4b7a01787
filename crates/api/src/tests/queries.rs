//! What surrounds the evaluation of queries: turns, budgets, stats, the cache, what is told of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;

use super::{NOW_MS, http, start, start_app, start_with, test_app, test_config};
use crate::{Config, QueryLog};

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
}

#[tokio::test]
async fn stats_are_those_of_prometheus() {
    let running = start().await;
    let start_s = NOW_MS / 1000 - 60;
    let path = |query: &str, more: &str| {
        format!("/api/v1/query_range?query={query}&start={start_s}&end={}&step=30{more}", start_s + 60)
    };
    let stats =
        async |path: String| parsed(&http::get(running.address, &path).await.body)["data"]["stats"].clone();
    // Two series at each of three steps; a window of 1m has 4 samples of each, 15 s apart.
    let all = stats(path("sum(up)", "&stats=all")).await;
    assert_eq!(all["samples"]["totalQueryableSamples"], 6);
    let steps = serde_json::json!([[start_s, 2], [start_s + 30, 2], [start_s + 60, 2]]);
    assert_eq!(all["samples"]["totalQueryableSamplesPerStep"], steps);
    assert!(all["samples"]["peakSamples"].as_u64().is_some_and(|n| n > 0));
    for name in [
        "evalTotalTime",
        "resultSortTime",
        "queryPreparationTime",
        "innerEvalTime",
        "execQueueTime",
        "execTotalTime",
    ] {
        assert!(all["timings"][name].is_number(), "{name}: {all}");
    }
    let windows = stats(path("count_over_time(up[1m])", "&stats=all")).await;
    assert_eq!(windows["samples"]["totalQueryableSamples"], 24);
    // What a subquery's steps look at does not count, what is taken of them does.
    let subquery = stats(path("max_over_time(sum(up)[1m:30s])", "&stats=all")).await;
    assert_eq!(subquery["samples"]["totalQueryableSamples"], 6);
    let short = stats(path("sum(up)", "&stats=true")).await;
    assert_eq!(short["samples"]["totalQueryableSamples"], 6);
    assert!(short["samples"].get("totalQueryableSamplesPerStep").is_none());
    assert!(stats(path("sum(up)", "")).await.is_null());
    let one = stats("/api/v1/query?query=up&stats=all".to_owned()).await;
    assert_eq!(one["samples"]["totalQueryableSamplesPerStep"], serde_json::json!([[NOW_MS / 1000, 2]]));
    running.stop().await;
}

#[tokio::test]
async fn how_far_to_look_back_can_be_said() {
    let running = start().await;
    let at = NOW_MS / 1000 + 100;
    let count = async |more: &str| {
        let reply = http::get(running.address, &format!("/api/v1/query?query=up&time={at}{more}")).await;
        parsed(&reply.body)["data"]["result"].as_array().expect("a vector").len()
    };
    assert_eq!(
        (count("").await, count("&lookback_delta=1m").await, count("&lookback_delta=0").await),
        (2, 0, 2)
    );
    let wrong = http::get(running.address, "/api/v1/query?query=up&lookback_delta=x").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("error parsing lookback delta duration: cannot parse"), "{}", wrong.body);
    running.stop().await;
}

#[tokio::test]
async fn no_query_takes_more_than_its_budget() {
    let memory = start_with(Config { query_memory_bytes_max: 4096, ..test_config() }).await;
    let range = format!("start={}&end={}&step=1", NOW_MS / 1000 - 600, NOW_MS / 1000);
    let reply = http::get(memory.address, &format!("/api/v1/query_range?query=up&{range}")).await;
    assert_eq!(
        (reply.status, reply.body.contains("memory that one query may have")),
        (422, true),
        "{}",
        reply.body
    );
    assert_eq!(http::get(memory.address, "/api/v1/query?query=sum(up)").await.status, 200);
    memory.stop().await;

    let pool = start_with(Config { queries_memory_bytes_max: 1000, ..test_config() }).await;
    let reply = http::get(pool.address, "/api/v1/query?query=up").await;
    assert_eq!(
        (reply.status, reply.body.contains(r#""errorType":"unavailable""#)),
        (503, true),
        "{}",
        reply.body
    );
    assert_eq!(reply.header("retry-after"), Some("1"));
    pool.stop().await;

    let samples = start_with(Config { query_samples_max: 100, ..test_config() }).await;
    let reply = http::get(samples.address, &format!("/api/v1/query_range?query=up&{range}")).await;
    assert!(reply.body.contains("too many samples into memory"), "{}", reply.body);
    samples.stop().await;

    let answer = start_with(Config { answer_bytes_max: 2000, ..test_config() }).await;
    let reply = http::get(answer.address, &format!("/api/v1/query_range?query=up&{range}")).await;
    assert_eq!(
        (reply.status, reply.body.contains("the answer has more than")),
        (422, true),
        "{}",
        reply.body
    );
    assert_eq!(http::get(answer.address, "/api/v1/query?query=up").await.status, 200);
    answer.stop().await;
}

/// The body of an answer that came in chunks.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        whole.push_str(&rest[..length]);
        body = rest[length..].strip_prefix("\r\n").expect("a chunk's end");
    }
    assert!(body.is_empty(), "{body}");
    whole
}

#[tokio::test]
async fn a_large_answer_goes_out_while_it_is_written() {
    let running = start_with(test_config()).await;
    for (divisor, nocache) in [(7, "0"), (9, "1")] {
        let path = format!(
            "/api/v1/query_range?query=time()/{divisor}&start=1700000000&end=1700011000&step=1&nocache={nocache}"
        );
        let reply = http::get(running.address, &path).await;
        assert_eq!(
            (reply.status, reply.header("transfer-encoding")),
            (200, Some("chunked")),
            "{}",
            reply.head
        );
        let body = unchunked(&reply.body);
        let answer: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let values = answer["data"]["result"][0]["values"].as_array().expect("values");
        assert_eq!(values.len(), 11_001);
        assert_eq!(values[11_000][0], 1_700_011_000);
        assert_eq!(values[11_000][1], (1_700_011_000.0 / f64::from(divisor)).to_string());
        assert_eq!((&answer["status"], &answer["data"]["resultType"]), (&"success".into(), &"matrix".into()));
    }
    running.stop().await;

    let refused = start_with(Config { answer_bytes_max: 200_000, ..test_config() }).await;
    let path = "/api/v1/query_range?query=time()/7&start=1700000000&end=1700011000&step=1";
    let reply = http::get(refused.address, path).await;
    assert_eq!(
        (reply.status, reply.body.contains("the answer has more than")),
        (422, true),
        "{}",
        reply.head
    );
    refused.stop().await;
}

#[tokio::test]
async fn a_client_that_asks_much_does_not_keep_others_waiting() {
    let config = Config {
        queries_max: 2,
        queries_of_client_max: 1,
        queries_waiting_of_client_max: 2,
        ..test_config()
    };
    let running = start_with(config).await;
    let request =
        |path: &str, agent: &str| format!("GET {path} HTTP/1.0\r\nUser-Agent: {agent}\r\n\r\n").into_bytes();
    let heavy: Vec<_> = (0..3)
        .map(|_| {
            let (address, bytes) = (running.address, request("/api/v1/query?query=sum(slow)", "heavy"));
            tokio::spawn(async move { http::raw(address, &bytes).await })
        })
        .collect();
    super::resistance::until(&running, "vedette_api_queries_running 1").await;
    super::resistance::until(&running, "vedette_api_queries_waiting 2").await;
    let fourth =
        http::raw(running.address, &request("/api/v1/query?query=1", "heavy")).await.expect("an answer");
    assert_eq!((fourth.status, fourth.header("retry-after")), (503, Some("1")));
    let other =
        http::raw(running.address, &request("/api/v1/query?query=1", "light")).await.expect("an answer");
    assert_eq!(other.status, 200);
    heavy.iter().for_each(tokio::task::JoinHandle::abort);
    super::resistance::until(&running, "vedette_api_queries_running 0").await;
    running.stop().await;
}

#[tokio::test]
async fn the_cache_is_used_unless_it_is_off() {
    let running = start().await;
    let path =
        format!("/api/v1/query_range?query=up&start={}&end={}&step=15", NOW_MS / 1000 - 600, NOW_MS / 1000);
    let first = http::get(running.address, &path).await.body;
    for more in ["", "", "&nocache=1", "&stats=all"] {
        let again = http::get(running.address, &format!("{path}{more}")).await.body;
        assert_eq!(parsed(&again)["data"]["result"], parsed(&first)["data"]["result"], "{more}");
    }
    let queries = parsed(&http::get(running.address, "/api/vedette/v1/queries").await.body);
    assert_eq!(
        (&queries["cache"]["hits"], &queries["cache"]["misses"]),
        (&Value::from(2), &Value::from(1)),
        "{queries}"
    );
    assert!(queries["cache"]["bytes"].as_u64().is_some_and(|n| n > 1000));
    running.stop().await;
    let off = start_with(Config { query_cache_bytes_max: 0, ..test_config() }).await;
    assert_eq!(http::get(off.address, &path).await.body, first);
    let queries = parsed(&http::get(off.address, "/api/vedette/v1/queries").await.body);
    assert_eq!(queries["cache"]["misses"], 0);
    off.stop().await;
}

/// What it was told, as text.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl QueryLog for Told {
    fn begun(&self, number: usize, line: &[u8]) {
        self.0
            .lock()
            .expect("not poisoned")
            .push(format!("begun {number} {}", String::from_utf8_lossy(line)));
    }

    fn ended(&self, number: usize) {
        self.0.lock().expect("not poisoned").push(format!("ended {number}"));
    }

    fn wants_all(&self) -> bool {
        true
    }

    fn log(&self, line: &[u8]) {
        self.0.lock().expect("not poisoned").push(format!("log {}", String::from_utf8_lossy(line)));
    }

    fn interrupted(&self) -> Vec<String> {
        vec!["{\"query\":\"before\"}".to_owned()]
    }
}

#[tokio::test]
async fn queries_are_told_of_while_they_run_and_when_they_are_over() {
    let told = Arc::new(Told::default());
    let (mut app, folder) = test_app();
    app.query_log = Some(told.clone());
    let running = start_app(Config { slow_query: Duration::ZERO, ..test_config() }, app, folder).await;
    let address = running.address;
    let heavy = tokio::spawn(async move { http::get(address, "/api/v1/query?query=sum(slow)").await });
    super::resistance::until(&running, "vedette_api_queries_running 1").await;
    let mut queries = parsed(&http::get(address, "/api/vedette/v1/queries").await.body);
    while queries["active"].as_array().is_none_or(Vec::is_empty) {
        queries = parsed(&http::get(address, "/api/vedette/v1/queries").await.body);
    }
    assert_eq!(queries["active"][0]["asked"]["query"], "sum(slow)");
    assert_eq!(queries["interrupted"][0], "{\"query\":\"before\"}");
    heavy.abort();
    super::resistance::until(&running, "vedette_api_queries_running 0").await;
    http::get(address, "/api/v1/query?query=sum(up)&time=1700000000").await;
    http::get(address, "/api/v1/query?query=sum(").await;
    let queries = parsed(&http::get(address, "/api/vedette/v1/queries").await.body);
    let slow = |i: usize, name: &str| queries["slow"][i][name].clone();
    assert!(slow(0, "error").as_str().is_some_and(|e| e.contains("parse error")), "{queries}");
    assert_eq!((slow(1, "error"), slow(1, "series_read")), (Value::from(""), Value::from(2)));
    assert!(slow(1, "memory_bytes").as_u64() > Some(0) && slow(1, "answer_bytes").as_u64() > Some(50));
    assert_eq!(slow(2, "error"), "query was canceled in expression evaluation");
    assert!(super::resistance::metric(&running, "vedette_api_queries_slow_total 3").await);
    let lines = told.0.lock().expect("not poisoned").clone();
    assert!(
        lines.contains(&"ended 0".to_owned()) && lines[0].starts_with("begun 0 {\"query\":\"sum(slow)\""),
        "{lines:?}"
    );
    let logged =
        lines.iter().filter_map(|l| l.strip_prefix("log ")).find(|l| l.contains("sum(up)")).expect("a line");
    let logged = parsed(logged);
    assert_eq!(logged["params"]["query"], "sum(up)");
    assert_eq!(logged["params"]["start"], "2023-11-14T22:13:20Z");
    assert_eq!(logged["httpRequest"]["clientIP"], "127.0.0.1");
    assert_eq!(logged["stats"]["samples"]["totalQueryableSamples"], 2);
    // A range is watched, too, and answered all the same.
    let path = "/api/v1/query_range?query=up&start=1699999940&end=1700000000&step=30";
    let answer = parsed(&http::get(address, path).await.body);
    assert_eq!(answer["data"]["result"].as_array().map(Vec::len), Some(2), "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn explain_tells_what_each_node_did() {
    let running = start().await;
    let path = format!(
        "/api/vedette/v1/explain?query={}&start={}&end={}&step=60",
        "sum+by+(job)+(rate(requests_total[1m])+*+2)+or+(up)",
        NOW_MS / 1000 - 300,
        NOW_MS / 1000
    );
    let answer = parsed(&http::get(running.address, &path).await.body);
    assert_eq!(
        (&answer["steps"], &answer["series"], &answer["cacheable"]),
        (&6.into(), &3.into(), &true.into())
    );
    let nodes = answer["nodes"].as_array().expect("nodes");
    let shown: Vec<_> = nodes
        .iter()
        .map(|n| {
            let number = |name: &str| n[name].as_u64().expect("a number");
            let operation = n["operation"].as_str().expect("text");
            (
                operation,
                number("depth"),
                number("series_read"),
                number("samples_read"),
                number("series"),
                number("samples"),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("or", 0, 0, 0, 3, 18),
            ("sum by (job)", 1, 0, 0, 1, 6),
            ("*", 2, 0, 0, 1, 6),
            ("rate", 3, 0, 0, 1, 6),
            ("range selector", 4, 1, 24, 1, 24),
            ("number", 3, 0, 0, 1, 6),
            ("selector", 1, 2, 80, 2, 12),
        ],
        "{answer}"
    );
    assert_eq!(nodes[4]["text"], "requests_total[1m]");
    let wrong = http::get(running.address, "/api/vedette/v1/explain?query=sum(").await;
    assert_eq!((wrong.status, wrong.body.contains("remedy")), (400, true), "{}", wrong.body);
    running.stop().await;
}

#[tokio::test]
async fn a_query_stops_soon_after_its_client_left() {
    use tokio::io::AsyncWriteExt;
    let running = start().await;
    let mut stops = Vec::new();
    for _ in 0..5 {
        let mut stream = tokio::net::TcpStream::connect(running.address).await.expect("connects");
        stream
            .write_all(b"GET /api/v1/query?query=sum(slow) HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .expect("sends");
        super::resistance::until(&running, "vedette_api_queries_running 1").await;
        drop(stream);
        super::resistance::until(&running, "vedette_api_queries_running 0").await;
        let queries = parsed(&http::get(running.address, "/api/vedette/v1/queries").await.body);
        stops.push(queries["active"].as_array().is_some_and(Vec::is_empty));
    }
    // The whole query reads a hundred thousand series that take 2 ms each.
    assert!(stops.iter().all(|stopped| *stopped));
    assert!(
        super::resistance::metric(&running, "vedette_api_queries_unfinished_total{reason=\"canceled\"} 5")
            .await
    );
    running.stop().await;
}
