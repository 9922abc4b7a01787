//! Prometheus' API.

use super::{http, start};

const UP_NODE: &str = r#"{"__name__":"up","instance":"localhost:9100","job":"node"}"#;
const UP_PROMETHEUS: &str = r#"{"__name__":"up","instance":"localhost:9090","job":"prometheus"}"#;

#[tokio::test]
async fn answers_are_prometheus_bytes() {
    let running = start().await;
    let series = format!(r#"{{"status":"success","data":[{UP_PROMETHEUS},{UP_NODE}]}}"#);
    for (path, body) in [
        (
            "/api/v1/query?query=up%7Bjob%3D%22node%22%7D",
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{UP_NODE},"value":[1700000000,"0"]}}]}}}}"#),
        ),
        (
            "/api/v1/query?query=up%7Bjob%3D%22node%22%7D%2B0.5&time=1699999990.125",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"instance":"localhost:9100","job":"node"},"value":[1699999990.125,"0.5"]}]}}"#.to_owned(),
        ),
        (
            "/api/v1/query?query=1%2F0&time=2023-11-14T22:13:20.5Z",
            r#"{"status":"success","data":{"resultType":"scalar","result":[1700000000.5,"+Inf"]}}"#.to_owned(),
        ),
        (
            "/api/v1/query?query=%22a%3Cb%22&time=1.5",
            r#"{"status":"success","data":{"resultType":"string","result":[1.5,"a\u003cb"]}}"#.to_owned(),
        ),
        (
            "/api/v1/query?query=none",
            r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#.to_owned(),
        ),
        (
            "/api/v1/query?query=requests_total%5B30s%5D",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"requests_total","path":"<a>&\"b\"\n"},"values":[[1699999985,"39"],[1700000000,"40"]]}]}}"#.to_owned(),
        ),
        (
            "/api/v1/query_range?query=sum(up)&start=1699999970&end=1700000000&step=15",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1699999970,"1"],[1699999985,"1"],[1700000000,"1"]]}]}}"#.to_owned(),
        ),
        ("/api/v1/series?match[]=up", series.clone()),
        ("/api/v1/series?match%5B%5D=up&match[]=up&start=1699999000&end=1700000000", series),
        (
            "/api/v1/series?match[]=up&limit=1",
            format!(r#"{{"status":"success","data":[{UP_PROMETHEUS}],"warnings":["results truncated due to limit"]}}"#),
        ),
        ("/api/v1/labels", r#"{"status":"success","data":["__name__","instance","job","path"]}"#.to_owned()),
        (
            "/api/v1/labels?match[]=requests_total",
            r#"{"status":"success","data":["__name__","path"]}"#.to_owned(),
        ),
        (
            "/api/v1/label/path/values",
            r#"{"status":"success","data":["\u003ca\u003e\u0026\"b\"\n"]}"#.to_owned(),
        ),
        ("/api/v1/label/U__job/values", r#"{"status":"success","data":["node","prometheus"]}"#.to_owned()),
        ("/api/v1/label/none/values", r#"{"status":"success","data":[]}"#.to_owned()),
        (
            "/api/v1/metadata?metric=up",
            r#"{"status":"success","data":{"up":[{"type":"gauge","help":"Whether it is up.","unit":""}]}}"#.to_owned(),
        ),
        ("/api/v1/metadata?limit=0", r#"{"status":"success","data":{}}"#.to_owned()),
        (
            "/api/v1/format_query?query=sum(up)by(job)",
            r#"{"status":"success","data":"sum by (job) (up)"}"#.to_owned(),
        ),
        (
            "/api/v1/alerts",
            r#"{"status":"success","data":{"alerts":[{"labels":{"alertname":"Up"},"annotations":{},"state":"firing","activeAt":"2023-11-14T22:13:20Z","value":"1e+00"}]}}"#.to_owned(),
        ),
        (
            "/api/v1/rules?type=record",
            r#"{"status":"success","data":{"groups":[{"name":"g","file":"f.yaml","rules":[{"name":"job:up:sum","query":"up \u003e 0","labels":{"severity":"page"},"health":"ok","evaluationTime":0.5,"lastEvaluation":"2023-11-14T22:13:20Z","type":"recording"}],"interval":15,"limit":0,"evaluationTime":0.5,"lastEvaluation":"2023-11-14T22:13:20Z"}]}}"#.to_owned(),
        ),
        ("/api/v1/rules?rule_group[]=other", r#"{"status":"success","data":{"groups":[]}}"#.to_owned()),
        (
            "/api/v1/rules?match[]=%7Bseverity%3D%22none%22%7D",
            r#"{"status":"success","data":{"groups":[]}}"#.to_owned(),
        ),
    ] {
        let reply = http::get(running.address, path).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, body.as_str()), "{path}");
        assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn errors_are_prometheus_words() {
    let running = start().await;
    let bad = |text: &str| format!(r#"{{"status":"error","errorType":"bad_data","error":"{text}"}}"#);
    for (path, status, body) in [
        (
            "/api/v1/query_range?query=up&start=x&end=1&step=1",
            400,
            bad(r#"invalid parameter \"start\": cannot parse \"x\" to a valid timestamp"#),
        ),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            400,
            bad(r#"invalid parameter \"end\": end timestamp must not be before start time"#),
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            400,
            bad(
                r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
            ),
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=",
            400,
            bad(r#"invalid parameter \"step\": cannot parse \"\" to a valid duration"#),
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=11001&step=1",
            400,
            bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        ),
        (
            "/api/v1/query_range?query=up&start=-9e15&end=9e15&step=1ms",
            400,
            bad(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ),
        ),
        (
            "/api/v1/query?query=up&time=soon",
            400,
            bad(
                r#"invalid parameter \"time\": invalid time value for 'time': cannot parse \"soon\" to a valid timestamp"#,
            ),
        ),
        (
            "/api/v1/query?query=up&limit=-1",
            400,
            bad(r#"invalid parameter \"limit\": limit must be non-negative"#),
        ),
        (
            "/api/v1/query?query=up&timeout=x",
            400,
            bad(r#"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#),
        ),
        ("/api/v1/series", 400, bad("no match[] parameter provided")),
        ("/api/v1/series?match[]=%7Ba%3D~%22.*%22%7D", 400, String::new()),
        ("/api/v1/labels?match[]=%7B", 400, String::new()),
        ("/api/v1/metadata?limit=x", 400, bad("limit must be a number")),
        (
            "/api/v1/rules?type=other",
            400,
            bad(r#"invalid parameter \"type\": not supported value \"other\""#),
        ),
    ] {
        let reply = http::get(running.address, path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        if !body.is_empty() {
            assert_eq!(reply.body, body, "{path}");
        }
        assert!(reply.body.starts_with(r#"{"status":"error","errorType":"#), "{path}: {}", reply.body);
    }
    let long = format!("query={}1", "1%2B".repeat(100_000));
    let reply = http::post(running.address, "/api/v1/query", "", &long).await;
    assert_eq!(reply.body, bad(r#"invalid parameter \"query\": the query has more than 131072 bytes"#));
    let reply = http::get(running.address, "/api/v1/query?query=up%20%2B").await;
    assert_eq!(reply.status, 400);
    let place = r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: "#;
    assert!(reply.body.starts_with(place), "{}", reply.body);
    let reply = http::get(running.address, "/api/v1/query?query=up%20%2B%20on(x)%20up").await;
    assert_eq!(reply.status, 422, "{}", reply.body);
    assert!(
        reply.body.starts_with(r#"{"status":"error","errorType":"execution","error":""#),
        "{}",
        reply.body
    );
    running.stop().await;
}

#[tokio::test]
async fn forms_are_taken_as_well() {
    let running = start().await;
    let by_get = http::get(running.address, "/api/v1/query?query=sum(up)").await;
    let by_post = http::post(running.address, "/api/v1/query", "", "query=sum%28up%29").await;
    assert_eq!((by_post.status, by_post.body), (200, by_get.body));
    // What the form says comes before what the address says, as in Go.
    let both = http::post(running.address, "/api/v1/labels?limit=1", "", "match%5B%5D=up&limit=2").await;
    assert_eq!(
        both.body,
        r#"{"status":"success","data":["__name__","instance"],"warnings":["results truncated due to limit"]}"#
    );
    let reply = http::post(running.address, "/api/v1/rules", "", "").await;
    assert_eq!((reply.status, reply.header("allow")), (405, Some("GET, OPTIONS")));
    running.stop().await;
}

#[tokio::test]
async fn build_info_names_both() {
    let running = start().await;
    let reply = http::get(running.address, "/api/v1/status/buildinfo").await;
    assert_eq!(
        reply.body,
        r#"{"status":"success","data":{"version":"3.14.0","revision":"r1","branch":"vedette 0.1.0","buildUser":"","buildDate":"","goVersion":""}}"#
    );
    let reply = http::get(running.address, "/api/v1/status/runtimeinfo").await;
    assert!(reply.body.contains(r#""serverTime":"2023-11-14T22:13:20Z""#), "{}", reply.body);
    running.stop().await;
}
