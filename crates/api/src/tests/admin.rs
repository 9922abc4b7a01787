//! Deleting and snapshots over HTTP, down to the store.

use super::{http, start_app, test_app, test_config};

const DELETE: &str = "/api/v1/admin/tsdb/delete_series";
const CLEAN: &str = "/api/v1/admin/tsdb/clean_tombstones";
const SNAPSHOT: &str = "/api/v1/admin/tsdb/snapshot";

async fn put(address: std::net::SocketAddr, path: &str, body: &str) -> http::Reply {
    let request = format!(
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    http::raw(address, request.as_bytes()).await.expect("an answer")
}

#[tokio::test]
async fn without_the_operators_word_nothing_is_done() {
    let (mut app, folder) = test_app();
    app.admin = None;
    let running = start_app(test_config(), app, folder).await;
    for path in [DELETE, CLEAN, SNAPSHOT] {
        let reply = http::post(running.address, &format!("{path}?match[]=up"), "", "").await;
        assert_eq!(reply.status, 503);
        let refusal = r#"{"status":"error","errorType":"unavailable","error":"admin APIs disabled"}"#;
        assert_eq!(reply.body, refusal);
        assert_eq!(http::get(running.address, path).await.status, 405);
    }
    let answer = http::get(running.address, "/api/v1/query?query=count(up)").await;
    assert!(answer.body.contains(r#""2"]"#), "{}", answer.body);
    running.stop().await;
}

#[tokio::test]
async fn what_is_deleted_is_not_found_again() {
    let (app, folder) = test_app();
    let running = start_app(test_config(), app, folder).await;
    let count = async |query: &str| {
        http::get(running.address, &format!("/api/v1/query?query=count({query})")).await.body
    };
    // A part of the time, in the parameters of the address.
    let path = format!("{DELETE}?match[]=up%7Bjob%3D%22node%22%7D&start=1699999985&end=1700000000");
    let reply = http::post(running.address, &path, "", "").await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    let deleted = http::get(running.address, "/api/v1/query?query=count_over_time(up%5B1h%5D)").await.body;
    assert!(deleted.contains(r#""job":"node"},"value":[1700000000,"39"]"#), "{deleted}");
    assert!(deleted.contains(r#""job":"prometheus"},"value":[1700000000,"41"]"#), "{deleted}");
    // All of several selectors, in a form that is put.
    let reply = put(running.address, DELETE, "match[]=up&match%5B%5D=none").await;
    assert_eq!(reply.status, 204, "{}", reply.body);
    assert!(count("up").await.contains(r#""result":[]"#));
    assert!(count("requests_total").await.contains(r#""1"]"#));
    let series = http::get(running.address, "/api/v1/series?match[]=up").await.body;
    assert_eq!(series, r#"{"status":"success","data":[]}"#);
    assert_eq!(http::post(running.address, CLEAN, "", "").await.status, 204);
    running.stop().await;
}

#[tokio::test]
async fn refusals_are_prometheus_texts() {
    let (app, folder) = test_app();
    let running = start_app(test_config(), app, folder).await;
    for (path, status, word) in [
        (DELETE.to_owned(), 400, "no match[] parameter provided"),
        (format!("{DELETE}?match[]=%7B"), 400, "invalid parameter \\\"match[]\\\""),
        (format!("{DELETE}?match[]=%7Ba=~%22.*%22%7D"), 400, "at least one non-empty matcher"),
        (format!("{DELETE}?match[]=up&start=x"), 400, "invalid parameter \\\"start\\\""),
        (format!("{DELETE}?match[]=up&start=20&end=10"), 400, "end timestamp must not be before start time"),
        (
            format!("{SNAPSHOT}?skip_head=maybe"),
            400,
            "unable to parse boolean skip_head argument: strconv.ParseBool: parsing \\\"maybe\\\": invalid syntax",
        ),
    ] {
        let reply = http::post(running.address, &path, "", "").await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        assert!(reply.body.contains(word), "{path}: {}", reply.body);
    }
    let foreign = http::post(running.address, SNAPSHOT, "Origin: http://evil.example\r\n", "").await;
    assert_eq!(foreign.status, 403);
    running.stop().await;
}

#[tokio::test]
async fn a_snapshot_is_told_by_its_name() {
    let (app, folder) = test_app();
    let root = folder.path().to_owned();
    let running = start_app(test_config(), app, folder).await;
    for body in ["", "skip_head=true"] {
        let reply = http::post(running.address, SNAPSHOT, "", body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        let answer: serde_json::Value = serde_json::from_str(&reply.body).expect("JSON");
        let name = answer["data"]["name"].as_str().expect("a name");
        assert!(name.starts_with("20231114T221320Z-"), "{name}");
        assert_eq!(answer["status"], "success");
        let snapshot = root.join("snapshots").join(name);
        assert!(snapshot.join("segments").is_dir());
        assert_eq!(snapshot.join("wal").is_dir(), body.is_empty());
    }
    running.stop().await;
}
