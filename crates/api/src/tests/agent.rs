//! A server without stores, whose refusals are those that Prometheus 3.14 gave with `--agent`.

use super::{http, start_app, test_app, test_config};
use crate::App;

#[tokio::test]
async fn what_needs_a_store_is_refused_as_by_prometheus_agent() {
    let (app, folder) = test_app();
    let running = start_app(test_config(), App { events: None, ..app }, folder).await;
    let words = r#"{"status":"error","errorType":"execution","error":"unavailable with Prometheus Agent"}"#;
    for path in [
        "query?query=up",
        "query_range?query=up&start=0&end=1&step=1",
        "query_exemplars?query=up",
        "format_query?query=up",
        "parse_query?query=up",
        "labels",
        "label/job/values",
        "series?match[]=up",
        "rules",
        "alerts",
        "alertmanagers",
        "status/tsdb",
        "status/tsdb/blocks",
        "search/metric_names",
        "search/label_values?label=x",
    ] {
        let reply = http::get(running.address, &format!("/api/v1/{path}")).await;
        assert_eq!((reply.status, reply.body.as_str()), (422, words), "{path}");
    }
    for path in ["query", "labels", "series", "admin/tsdb/snapshot", "admin/tsdb/clean_tombstones"] {
        let reply = http::post(running.address, &format!("/api/v1/{path}"), "", "").await;
        assert_eq!((reply.status, reply.body.as_str()), (422, words), "{path}");
    }
    let reply = http::get(running.address, "/federate?match[]=up").await;
    assert_eq!((reply.status, reply.body.as_str()), (500, "unsupported operation with WAL-only storage\n"));
    for path in
        ["targets", "targets/metadata", "scrape_pools", "metadata", "status/walreplay", "status/flags"]
    {
        assert_eq!(http::get(running.address, &format!("/api/v1/{path}")).await.status, 200, "{path}");
    }
    let features = http::get(running.address, "/api/v1/features").await.body;
    assert!(features.contains(r#""agent_mode":true,"server_mode":false"#), "{features}");
    for path in
        ["/api/vedette/v1/events", "/api/vedette/v1/events/1/tree", "/api/vedette/v1/explain?query=up"]
    {
        let reply = http::get(running.address, path).await;
        assert!(reply.status == 422 && reply.body.contains("Ask the server"), "{path}: {}", reply.body);
    }
    assert_eq!(http::get(running.address, "/metrics").await.status, 200);
    running.stop().await;
}
