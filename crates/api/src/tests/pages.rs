//! Pages, headers, redirects.

use super::{http, start};

#[tokio::test]
async fn page_addresses_lead_to_the_web_app() {
    let running = start().await;
    for path in ["/", "/alerts", "/explore/metrics?q=up", "/explore/events", "/status", "/anything/else"] {
        let reply = http::get(running.address, path).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some("text/html; charset=utf-8")),
            "{path}"
        );
    }
    for (path, status) in [
        ("/assets/none.js", 404),
        ("/../../etc/passwd.txt", 404),
        ("/api", 404),
        ("/api/other", 404),
        ("/metrics/other", 404),
        ("/-/other", 404),
    ] {
        assert_eq!(http::get(running.address, path).await.status, status, "{path}");
    }
    let reply = http::get(running.address, "/graph?g0.expr=up&g0.tab=0&g0.range_input=1h").await;
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("/explore/metrics?q=up&from=now-1h&to=now"))
    );
    running.stop().await;
}

#[tokio::test]
async fn every_answer_is_hardened() {
    let running = start().await;
    for path in ["/", "/api/v1/labels", "/api/vedette/v1/status", "/metrics", "/none.js", "/api/none"] {
        let reply = http::get(running.address, path).await;
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert!(policy.contains("script-src 'self';"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert_eq!(reply.header("access-control-allow-origin"), None, "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn head_goes_where_get_goes() {
    let running = start().await;
    let request =
        format!("HEAD /api/v1/labels HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", running.address);
    let reply = http::raw(running.address, request.as_bytes()).await.expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
    running.stop().await;
}
