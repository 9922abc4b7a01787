//! Pages, headers, redirects.

use super::{http, start, start_with, test_config};
use crate::Config;

#[tokio::test]
async fn page_addresses_lead_to_the_web_app() {
    let running = start().await;
    for path in [
        "/",
        "/alerts",
        "/explore/metrics?q=up",
        "/explore/events",
        "/status",
        "/anything/else",
        "/hosts/node-1.example",
        "/containers/system.slice/cri-containerd-2f0c.scope?host=node-1.example",
    ] {
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
        (302, Some("explore/metrics?q=up&from=now-1h&to=now"))
    );
    running.stop().await;
}

/// Whoever is asked through a proxy does not know under which path it is seen.
#[tokio::test]
async fn pages_name_everything_relative_to_their_address() {
    let running = start_with(Config { prefix: "/vedette".to_owned(), ..test_config() }).await;
    for (path, up) in [
        ("/", "./"),
        ("/alerts", "./"),
        ("/status/", "../"),
        ("/explore/metrics?q=a/b", "../"),
        ("/containers/a/b.scope", "../../"),
        ("/vedette/", "./"),
        ("/vedette/alerts", "./"),
        ("/vedette/explore/metrics", "../"),
    ] {
        let reply = http::get(running.address, path).await;
        assert_eq!(reply.status, 200, "{path}");
        // Without the web app there is nothing to name.
        if reply.body.contains("<div id=\"app\">") {
            let base = format!("<meta name=\"vedette-base\" content=\"{up}\" />");
            assert!(reply.body.contains(&base), "{path}: {}", reply.body);
            assert!(reply.body.contains(&format!("src=\"{up}assets/")), "{path}: {}", reply.body);
            assert!(!reply.body.contains("=\"/"), "{path}: {}", reply.body);
        }
    }
    let reply = http::get(running.address, "/vedette?x=1").await;
    assert_eq!((reply.status, reply.header("location")), (302, Some("/vedette/?x=1")));
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
