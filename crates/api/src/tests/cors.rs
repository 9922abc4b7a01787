//! Pages of other origins, against what Prometheus 3.14 answers them.

use super::{http, start, start_with, test_config};
use crate::{Config, Origins};

const NAMED: &str = "Origin: https://grafana.example\r\n";
const OTHER: &str = "Origin: https://evil.example\r\n";
const QUERY: &str = "/api/v1/query?query=1";

fn named() -> Config {
    let origins = Origins::matching("https://(grafana|wall).example").expect("an expression");
    Config { origins, ..test_config() }
}

#[tokio::test]
async fn a_page_of_an_origin_that_is_named_may_ask_and_change_nothing() {
    let running = start_with(named()).await;
    let address = running.address;
    let allow = "access-control-allow-origin";
    let reply = http::request(address, "GET", QUERY, NAMED, "").await;
    assert_eq!((reply.status, reply.header(allow)), (200, Some("https://grafana.example")));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(reply.header("access-control-expose-headers"), Some("Date"));
    assert!(reply.head.to_lowercase().contains("vary: origin"), "{}", reply.head);
    let reply = http::request(address, "OPTIONS", QUERY, NAMED, "").await;
    assert_eq!((reply.status, reply.header(allow)), (204, Some("https://grafana.example")));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let reply = http::request(address, "POST", "/api/v1/query", &format!("{NAMED}{form}"), "query=1").await;
    assert_eq!((reply.status, reply.header(allow)), (200, Some("https://grafana.example")));

    // Nothing else is for other pages, and nothing is for pages that are not named.
    for (method, path, headers, status) in [
        ("POST", "/api/v1/write", NAMED, 403),
        ("POST", "/api/v1/admin/tsdb/snapshot", NAMED, 403),
        ("POST", "/-/quit", NAMED, 403),
        ("GET", "/metrics", NAMED, 200),
        ("GET", "/api/vedette/v1/events", NAMED, 200),
        ("POST", "/api/v1/query", OTHER, 403),
        ("GET", QUERY, OTHER, 200),
        ("GET", QUERY, "Origin: https://grafana.example.evil.example\r\n", 200),
    ] {
        let reply = http::request(address, method, path, headers, "").await;
        let allowed = reply.header(allow).filter(|_| !path.starts_with("/api/v1/") || headers != NAMED);
        assert_eq!((reply.status, allowed), (status, None), "{method} {path} {headers}");
    }
    running.stop().await;
}

#[tokio::test]
async fn where_nobody_is_asked_who_they_are_no_page_may_read() {
    let running = start().await;
    let reply = http::request(running.address, "GET", QUERY, NAMED, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    running.stop().await;
}

#[tokio::test]
async fn addresses_are_there_under_the_prefix_as_well() {
    let running = start_with(Config { prefix: "/prom".to_owned(), ..test_config() }).await;
    for (path, status) in [
        ("/prom/api/v1/query?query=1", 200),
        ("/api/v1/query?query=1", 200),
        ("/prom/-/ready", 200),
        ("/prom/metrics", 200),
        ("/promx/api/v1/query?query=1", 404),
        ("/prom/prom/api/v1/labels", 404),
    ] {
        let reply = http::get(running.address, path).await;
        let is_page = reply.body.contains("<html") || reply.body.contains("<!doctype");
        assert_eq!(if is_page { 404 } else { reply.status }, status, "{path}");
    }
    running.stop().await;
}
