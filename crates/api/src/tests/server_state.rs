//! What the server says of itself, and what it can be told, over HTTP.

use std::sync::{Arc, atomic::Ordering};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use vedette_model::status::{Health, Part};

use super::{FixedProgram, http, start, start_app, start_with, test_app, test_config};
use crate::{Config, routes::ROUTES};

#[tokio::test]
async fn state_is_told_in_prometheus_shape() {
    let running = start().await;
    for (path, words) in [
        ("config", &[r#"{"yaml":"global: {}\n"}"#][..]),
        ("flags", &[r#"{"config.file":"p.yml","web.listen-address":"x"}"#]),
        ("walreplay", &[r#"{"min":0,"max":0,"current":0}"#]),
        ("buildinfo", &[r#""version":"3.14.0""#, r#""goVersion""#]),
        (
            "runtimeinfo",
            &[
                r#""startTime":"2023-11-14T22:13:20Z","CWD":"/"#,
                r#""reloadConfigSuccess":true,"lastConfigTime":"2023-11-14T22:13:20Z","corruptionCount":0"#,
                r#""GOMEMLIMIT":9223372036854775807,"GOGC":"","GODEBUG":"","storageRetention":"15d""#,
            ],
        ),
        (
            "tsdb?limit=1",
            &[
                r#""headStats":{"numSeries":3,"numLabelPairs":7,"chunkCount":3,"minTime":1699999400000,"maxTime":1700000000000}"#,
                r#""seriesCountByMetricName":[{"name":"up","value":2}]"#,
                r#""labelValueCountByLabelName":[{"name":"__name__","value":2}]"#,
                r#""seriesCountByLabelValuePair":[{"name":"__name__=up","value":2}]"#,
            ],
        ),
        ("tsdb/blocks", &[r#"{"blocks":[]}"#]),
        (
            "self_metrics",
            &[
                r#""name":"vedette_api_connections","help":"#,
                r#""type":"GAUGE","metric":[{"gauge":{"value":1}}]"#,
            ],
        ),
    ] {
        let reply = http::get(running.address, &format!("/api/v1/status/{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        serde_json::from_str::<serde_json::Value>(&reply.body).expect("JSON");
        for word in words {
            assert!(reply.body.contains(word), "{path}: {} lacks {word}", reply.body);
        }
    }
    for (limit, error) in [
        ("0", "limit must be a positive number"),
        ("x", "limit must be a positive number"),
        ("10001", "limit must not exceed 10000"),
    ] {
        let reply = http::get(running.address, &format!("/api/v1/status/tsdb?limit={limit}")).await;
        assert_eq!(reply.status, 400);
        assert!(reply.body.ends_with(&format!(r#""error":"{error}"}}"#)), "{}", reply.body);
    }
    running.stop().await;
}

#[tokio::test]
async fn features_name_every_function() {
    let running = start().await;
    let reply = http::get(running.address, "/api/v1/features").await;
    let answer: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
    let data = &answer["data"];
    assert_eq!(data["api"]["lifecycle"], false);
    assert_eq!(data["api"]["admin"], true);
    assert_eq!(
        data["promql_functions"].as_object().map(serde_json::Map::len),
        Some(vedette_promql::FUNCTIONS.len())
    );
    running.stop().await;
}

#[tokio::test]
async fn the_description_has_every_address() {
    let running = start().await;
    let reply = http::get(running.address, "/api/v1/openapi.yaml").await;
    assert_eq!(reply.header("content-type"), Some("application/yaml; charset=utf-8"));
    for route in ROUTES {
        assert!(reply.body.contains(&format!("\n  \"{}\":\n", route.path)), "{}", route.path);
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_told_as_prometheus_tells_it() {
    let running = start().await;
    let ask = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        http::raw(running.address, request.as_bytes()).await.expect("an answer")
    };
    for (method, path, status, body, allow) in [
        ("GET", "/api/v1/nosuch", 404, "404 page not found\n", None),
        ("GET", "/api/v1/", 404, "404 page not found\n", None),
        ("GET", "/-/nosuch", 404, "404 page not found\n", None),
        ("DELETE", "/api/v1/query", 405, "Method Not Allowed\n", Some("GET, OPTIONS, POST")),
        ("POST", "/api/v1/metadata", 405, "Method Not Allowed\n", Some("GET, OPTIONS")),
        ("GET", "/api/v1/write", 405, "Method Not Allowed\n", Some("OPTIONS, POST")),
        ("OPTIONS", "/api/v1/query", 204, "", None),
        ("GET", "/-/reload", 405, "Only POST or PUT requests allowed\n", Some("POST, PUT")),
        ("POST", "/-/reload", 403, "Lifecycle API is not enabled.", None),
        ("PUT", "/-/quit", 403, "Lifecycle API is not enabled.", None),
    ] {
        let reply = ask(method, path).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, body), "{method} {path}");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_program_is_told_to_reload_and_to_end() {
    let config = || Config { lifecycle: true, ..test_config() };
    let running = start_with(config()).await;
    let reply = http::post(running.address, "/-/reload", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    running.stop().await;
    let (mut app, folder) = test_app();
    let program = FixedProgram { reload_error: Some("p.yml:1: no".into()), ..FixedProgram::default() };
    let quit = program.quit.clone();
    app.program = Arc::new(program);
    let running = start_app(config(), app, folder).await;
    let reply = http::post(running.address, "/-/reload", "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (500, "failed to reload config: p.yml:1: no\n"));
    let listed = http::get(running.address, "/api/v1/notifications").await;
    assert!(listed.body.contains("Configuration reload has failed: p.yml:1: no"), "{}", listed.body);
    let foreign = http::post(running.address, "/-/quit", "Origin: http://evil.example\r\n", "").await;
    assert_eq!((foreign.status, quit.load(Ordering::Acquire)), (403, false));
    let reply = http::post(running.address, "/-/quit", "", "").await;
    assert_eq!((reply.status, quit.load(Ordering::Acquire)), (200, true));
    running.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_streamed() {
    let (app, folder) = test_app();
    let status = app.status.clone();
    status.post("eventdb", Part::new(Health::Failed, "disk full", "make room"));
    let running = start_app(test_config(), app, folder).await;
    let listed = http::get(running.address, "/api/v1/notifications").await;
    let expected = r#"{"status":"success","data":[{"text":"eventdb: disk full","date":"2023-11-14T22:13:20Z","active":true}]}"#;
    assert_eq!(listed.body, expected);
    let mut stream = TcpStream::connect(running.address).await.expect("connects");
    let request = "GET /api/v1/notifications/live HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sends");
    let mut seen = String::new();
    for word in [r#""active":true"#, r#""active":false"#] {
        let read = async {
            while !seen.contains(word) {
                let mut piece = [0; 4096];
                let length = stream.read(&mut piece).await.expect("reads");
                assert!(length > 0, "the stream ended: {seen}");
                seen += &String::from_utf8_lossy(&piece[..length]);
            }
        };
        tokio::time::timeout(http::PATIENCE, read).await.expect("it comes");
        status.post("eventdb", Part::ok());
    }
    assert!(seen.contains("text/event-stream"), "{seen}");
    drop(stream);
    running.stop().await;
}
