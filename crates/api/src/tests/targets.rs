//! Targets, scrape pools, exemplars and searches over HTTP.

use super::{http, start};

async fn body(path: &str, status: u16) -> String {
    let running = start().await;
    let reply = http::get(running.address, path).await;
    running.stop().await;
    assert_eq!(reply.status, status, "{path}: {}", reply.body);
    reply.body
}

async fn json(path: &str) -> serde_json::Value {
    let answer: serde_json::Value = serde_json::from_str(&body(path, 200).await).expect("JSON");
    assert_eq!(answer["status"], "success", "{path}");
    answer["data"].clone()
}

#[tokio::test]
async fn targets_are_told_as_asked() {
    let all = json("/api/v1/targets").await;
    let count = |data: &serde_json::Value| {
        let length = |key: &str| data[key].as_array().map(Vec::len);
        (length("activeTargets"), length("droppedTargets"), data["droppedTargetCounts"].to_string())
    };
    let counts = r#"{"dead":1,"node":0}"#.to_owned();
    assert_eq!(count(&all), (Some(3), Some(1), counts.clone()));
    assert_eq!(
        all["activeTargets"][2],
        serde_json::json!({
            "discoveredLabels": {"__address__": "localhost:9100", "__scheme__": "http", "job": "node"},
            "labels": {"instance": "localhost:9100", "job": "node"},
            "scrapePool": "node",
            "scrapeUrl": "http://localhost:9100/metrics",
            "globalUrl": "http://node:9100/metrics",
            "lastError": "",
            "lastScrape": "2023-11-14T22:13:20Z",
            "lastScrapeDuration": 0.006,
            "health": "up",
            "scrapeInterval": "1m30s",
            "scrapeTimeout": "10s",
        })
    );
    assert_eq!(all["activeTargets"][0]["lastError"], "connection refused");
    assert_eq!(all["activeTargets"][1]["lastScrape"], "0001-01-01T00:00:00Z");
    let null = "null".to_owned();
    for (query, expected) in [
        ("state=any", (Some(3), Some(1), counts.clone())),
        ("state=ACTIVE", (Some(3), Some(0), null.clone())),
        ("state=dropped", (Some(0), Some(1), counts.clone())),
        ("state=none", (Some(0), Some(0), null.clone())),
        ("scrapePool=node", (Some(1), Some(0), counts.clone())),
        ("scrapePool=nope", (Some(0), Some(0), counts)),
        ("scrapePool=dead&state=active", (Some(2), Some(0), null)),
    ] {
        assert_eq!(count(&json(&format!("/api/v1/targets?{query}")).await), expected, "{query}");
    }
}

#[tokio::test]
async fn metadata_of_targets_is_narrowed() {
    let lines =
        async |query: &str| json(&format!("/api/v1/targets/metadata?{query}")).await.as_array().map(Vec::len);
    assert_eq!(lines("").await, Some(4));
    // A target is never cut in two.
    assert_eq!(lines("limit=1").await, Some(2));
    assert_eq!(lines("limit=-1").await, Some(4));
    assert_eq!(lines("match_target=%7Binstance=~%22.*1%22%7D").await, Some(2));
    assert_eq!(lines("metric=nope").await, Some(0));
    let named = json("/api/v1/targets/metadata?metric=x_total&limit=1").await;
    let expected = serde_json::json!([{
        "target": {"instance": "localhost:9100", "job": "node"}, "type": "counter", "help": "H.", "unit": "",
    }]);
    assert_eq!(named, expected);
    let refused = body("/api/v1/targets/metadata?match_target=a%7B", 400).await;
    assert!(refused.contains(r#""error":"invalid parameter \"match_target\": 1:3"#), "{refused}");
    let refused = body("/api/v1/targets/metadata?limit=x", 400).await;
    assert_eq!(refused, r#"{"status":"error","errorType":"bad_data","error":"limit must be a number"}"#);
}

#[tokio::test]
async fn rules_of_a_pool_are_explained_step_by_step() {
    let path = "/api/v1/targets/relabel_steps";
    let steps = json(&format!("{path}?scrapePool=dead&labels=%7B%22__address__%22%3A%22a%3A1%22%7D")).await;
    let expected = serde_json::json!({"steps": [
        {
            "rule": {"source_labels": ["__address__"], "separator": ";", "regex": "dropped.*",
                "replacement": "$1", "action": "drop"},
            "output": {"__address__": "a:1"},
            "keep": true,
        },
        {
            "rule": {"separator": ";", "regex": "(.*)", "target_label": "env", "replacement": "prod",
                "action": "replace"},
            "output": {"__address__": "a:1", "env": "prod"},
            "keep": true,
        },
    ]});
    assert_eq!(steps, expected);
    let steps = json(&format!("{path}?scrapePool=dead&labels=%7B%22__address__%22%3A%22dropped%22%7D")).await;
    let steps = steps["steps"].as_array().expect("steps");
    assert!(
        steps.len() == 2 && steps.iter().all(|s| s["keep"] == false && s["output"] == serde_json::json!({}))
    );
    for (query, error) in [
        ("", "no scrapePool parameter provided"),
        ("scrapePool=dead", "no labels parameter provided"),
        ("scrapePool=dead&labels=x", "error parsing labels: "),
        ("scrapePool=dead&labels=%7B%22a%22:1%7D", "error parsing labels: "),
        ("scrapePool=no&labels=%7B%7D", r#"error retrieving scrape config: scrape pool \"no\" not found"#),
    ] {
        let refused = body(&format!("{path}?{query}"), 400).await;
        let expected = format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"#);
        assert!(refused.starts_with(&expected), "{query}: {refused}");
    }
}

#[tokio::test]
async fn pools_and_alertmanagers_are_listed() {
    for (path, expected) in [
        ("/api/v1/scrape_pools", r#"{"scrapePools":["dead","node"]}"#),
        ("/api/v1/scrape_pools/config?scrapePool=dead", r#"{"yaml":"job_name: dead\n"}"#),
        (
            "/api/v1/alertmanagers",
            r#"{"activeAlertmanagers":[{"url":"http://127.0.0.1:39093/api/v2/alerts"}],"droppedAlertmanagers":[{"url":"https://b.example:2/am/api/v2/alerts"}]}"#,
        ),
    ] {
        assert_eq!(json(path).await.to_string(), expected, "{path}");
    }
    let problems = body("/api/vedette/v1/discovery", 200).await;
    assert_eq!(problems, r#"{"problems":{"dead":["ec2_sd_configs is not run here"]}}"#);
    assert!(body("/api/v1/scrape_pools/config?scrapePool=x", 400).await.contains("not found"));
}

#[tokio::test]
async fn exemplars_of_a_querys_series_are_found() {
    let found = r#"[{"seriesLabels":{"__name__":"requests_total","path":"<a>&\"b\"\n"},"exemplars":[{"labels":{"trace_id":"abc"},"value":"0.5","timestamp":1699999998.500}]}]"#;
    let path = "/api/v1/query_exemplars?query=";
    for (query, data) in [
        ("sum(rate(requests_total%5B5m%5D))%2Bup", found),
        ("requests_total&start=1699999990&end=1700000000", found),
        ("requests_total&end=1699999990", "[]"),
        ("up", "[]"),
        ("1", "[]"),
    ] {
        let answer = body(&format!("{path}{query}"), 200).await;
        assert_eq!(answer, format!(r#"{{"status":"success","data":{data}}}"#), "{query}");
    }
    for (query, error) in [
        ("", "unknown position: parse error: no expression found in input"),
        ("up%7B", "1:4: parse error: "),
        ("up&start=5&end=1", "end timestamp must not be before start timestamp"),
    ] {
        let refused = body(&format!("{path}{query}"), 400).await;
        let expected = format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"#);
        assert!(refused.starts_with(&expected), "{query}: {refused}");
    }
    let running = start().await;
    let posted = http::post(running.address, "/api/v1/query_exemplars", "", "query=requests_total").await;
    assert!(posted.body.contains("trace_id"), "{}", posted.body);
    running.stop().await;
}

#[tokio::test]
async fn names_are_searched_as_they_are_typed() {
    let path = "/api/v1/search";
    for (query, expected) in [
        (
            "metric_names",
            "{\"results\":[{\"name\":\"requests_total\"},{\"name\":\"up\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "metric_names?search[]=rqst&include_metadata=true",
            "{\"results\":[{\"name\":\"requests_total\",\"type\":\"counter\",\"help\":\"Requests.\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "metric_names?batch_size=1&sort_by=alpha&sort_dir=dsc",
            "{\"results\":[{\"name\":\"up\"}]}\n{\"results\":[{\"name\":\"requests_total\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "metric_names?limit=1",
            "{\"results\":[{\"name\":\"requests_total\"}]}\n{\"status\":\"success\",\"has_more\":true,\"warnings\":[\"results truncated due to limit\"]}\n",
        ),
        ("metric_names?search[]=zz", "{\"results\":[]}\n{\"status\":\"success\",\"has_more\":false}\n"),
        (
            "label_names?search[]=IN&case_sensitive=false&include_score=true",
            "{\"results\":[{\"name\":\"instance\",\"score\":1}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "label_values?label=job&search[]=o&sort_by=score&fuzz_alg=jarowinkler",
            "{\"results\":[{\"value\":\"prometheus\"},{\"value\":\"node\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
        (
            "label_values?label=job&match[]=up%7Bjob=~%22n.*%22%7D",
            "{\"results\":[{\"value\":\"node\"}]}\n{\"status\":\"success\",\"has_more\":false}\n",
        ),
    ] {
        assert_eq!(body(&format!("{path}/{query}"), 200).await, expected, "{query}");
    }
    for (query, error) in [
        ("label_values", r#"missing required parameter \"label\""#),
        ("metric_names?sort_by=score", "sort_by=score requires search[] to be set"),
        ("metric_names?limit=x", r#"invalid limit \"x\": must be a positive integer"#),
        ("metric_names?limit=0", r#"invalid limit \"0\": must be a positive integer"#),
        ("metric_names?limit=100001", "limit 100001 exceeds the configured maximum (10000"),
        ("metric_names?fuzz_threshold=101", r#"invalid fuzz_threshold \"101\": must be 0-100"#),
        (
            "metric_names?fuzz_alg=x",
            r#"unsupported fuzz_alg \"x\": must be one of [subsequence jarowinkler]"#,
        ),
        ("metric_names?sort_dir=asc", "sort_dir is only valid when sort_by is set"),
        ("label_names?sort_by=x", r#"invalid sort_by \"x\" for label_names: must be \"alpha\" or \"score\""#),
        ("metric_names?case_sensitive=x", r#"invalid case_sensitive \"x\": must be boolean"#),
        ("metric_names?start=2&end=1", "end timestamp must not be before start timestamp"),
    ] {
        let refused = body(&format!("{path}/{query}"), 400).await;
        let expected = format!(r#"{{"status":"error","errorType":"bad_data","error":"{error}"#);
        assert!(refused.starts_with(&expected), "{query}: {refused}");
    }
}
