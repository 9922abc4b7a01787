//! The requests of Grafana's Prometheus data source, as it sends them, answered in the shape that it
//! reads. The same requests are asked of Prometheus itself where it can be had ([`super::peers`]).

use super::{http, start};

/// A request: method, path, and body of a form.
pub type Request = (&'static str, &'static str, &'static str);

/// As version 13 sends them, with the headers of [`HEADERS`]; times are float seconds.
pub const REQUESTS: &[Request] = &[
    // "Save & test", and what it asks to learn the flavour.
    ("POST", "/api/v1/query", "query=1%2B1&time=1700000000"),
    ("GET", "/api/v1/status/buildinfo", ""),
    // The query editor.
    ("GET", "/api/v1/metadata?limit=40000&limit_per_metric=1", ""),
    ("GET", "/api/v1/label/__name__/values?end=1700000000&limit=40000&start=1699996400", ""),
    ("GET", "/api/v1/label/job/values?end=1700000000&limit=40000&match%5B%5D=up&start=1699996400", ""),
    ("GET", "/api/v1/label/U__http_2e_status/values?end=1700000000&limit=40000&start=1699996400", ""),
    (
        "POST",
        "/api/v1/labels",
        "end=1700000000&limit=40000&match%5B%5D=%7B__name__%3D%22up%22%7D&start=1699996400",
    ),
    ("GET", "/api/v1/labels?end=1700000000&limit=40000&start=1699996400", ""),
    ("POST", "/api/v1/series", "end=1700000000&limit=40000&match%5B%5D=up&start=1699996400"),
    ("GET", "/api/v1/series?end=1700000000&limit=40000&match%5B%5D=up&start=1699996400", ""),
    // Panels, tables and annotations.
    ("POST", "/api/v1/query_range", "end=1700000000.000&query=up&start=1699999700.000&step=15"),
    (
        "POST",
        "/api/v1/query_range",
        "end=1700000000&query=rate%28requests_total%5B5m%5D%29&start=1699999700&step=15.000",
    ),
    ("GET", "/api/v1/query_range?end=1700000000&query=up&start=1699999700&step=15", ""),
    ("POST", "/api/v1/query", "query=topk%285%2C+up%29&time=1700000000.123"),
    ("POST", "/api/v1/query_exemplars", "end=1700000000&query=up&start=1699999700"),
    // What it shows when the expression is wrong.
    ("POST", "/api/v1/query_range", "end=1700000000&query=up%7B&start=1699999700&step=15"),
    ("POST", "/api/v1/query_range", "end=1700000000&query=up&start=1500000000&step=1"),
    // The list of rules.
    ("GET", "/api/v1/rules", ""),
    ("GET", "/api/v1/alerts", ""),
];

/// What comes with each of them.
pub const HEADERS: &str = "User-Agent: Grafana/13.0.1\r\nX-Grafana-Org-Id: 1\r\nX-Datasource-Uid: P1809F7CD0C75ACF3\r\n\
    X-Dashboard-Uid: d\r\nX-Panel-Id: 2\r\nX-Grafana-User: admin\r\nAccept-Encoding: gzip\r\n";

#[tokio::test]
async fn every_request_is_answered_in_the_shape_that_is_read() {
    let expected: &[(u16, &str)] = &[
        (200, r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000,"2"]}}"#),
        (200, r#"{"status":"success","data":{"version":"3.14.0","#),
        (
            200,
            r#"{"status":"success","data":{"requests_total":[{"type":"counter","help":"Requests.","unit":""}],"#,
        ),
        (200, r#"{"status":"success","data":["requests_total","up"]}"#),
        (200, r#"{"status":"success","data":["node","prometheus"]}"#),
        (200, r#"{"status":"success","data":[]}"#),
        (200, r#"{"status":"success","data":["__name__","instance","job"]}"#),
        (200, r#"{"status":"success","data":["__name__","instance","job","path"]}"#),
        (200, r#"{"status":"success","data":[{"__name__":"up","instance":"#),
        (200, r#"{"status":"success","data":[{"__name__":"up","instance":"#),
        (200, r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","#),
        (200, r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"path":"#),
        (200, r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","#),
        (200, r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","#),
        (200, r#"{"status":"success","data":[]}"#),
        (
            400,
            r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:4: parse error: "#,
        ),
        (
            400,
            r#"{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution of 11,000 points"#,
        ),
        (200, r#"{"status":"success","data":{"groups":[{"name":"g","file":"f.yaml","rules":["#),
        (200, r#"{"status":"success","data":{"alerts":[{"labels":{"#),
    ];
    assert_eq!(REQUESTS.len(), expected.len());
    let running = start().await;
    for ((method, path, body), (status, begin)) in REQUESTS.iter().zip(expected) {
        let reply = match *method {
            "GET" => http::get_with(running.address, path, HEADERS).await,
            _ => http::post(running.address, path, HEADERS, body).await,
        };
        assert_eq!(reply.status, *status, "{method} {path} {body}: {}", reply.body);
        assert!(reply.body.starts_with(begin), "{method} {path} {body}: {}", reply.body);
        assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
    }
    running.stop().await;
}
