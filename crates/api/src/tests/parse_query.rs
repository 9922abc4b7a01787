//! The tree of an expression, as Prometheus gives it.

use super::{http, start};

const TREES: &[(&str, &str)] = &[
    (r#"1"#, r#"{"type":"numberLiteral","val":"1"}"#),
    (r#""a<b""#, r#"{"type":"stringLiteral","val":"a\u003cb"}"#),
    (r#"5m"#, r#"{"type":"numberLiteral","val":"300"}"#),
    (r#"1e21"#, r#"{"type":"numberLiteral","val":"1000000000000000000000"}"#),
    (r#"-Inf"#, r#"{"type":"numberLiteral","val":"-Inf"}"#),
    (
        r#"up"#,
        r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#,
    ),
    (
        r#"up{job="x",a=~"b.*",c!="d",e!~"f"}"#,
        r#"{"anchored":false,"matchers":[{"name":"job","type":"=","value":"x"},{"name":"a","type":"=~","value":"b.*"},{"name":"c","type":"!=","value":"d"},{"name":"e","type":"!~","value":"f"},{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#,
    ),
    (
        r#"{"a b",c="d"}"#,
        r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a b"},{"name":"c","type":"=","value":"d"}],"name":"","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"}"#,
    ),
    (
        r#"up @ 12.5 offset -1m30s"#,
        r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":-90000,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":12500,"type":"vectorSelector"}"#,
    ),
    (
        r#"up @ end() smoothed"#,
        r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"offsetExpr":null,"smoothed":true,"startOrEnd":"end","timestamp":null,"type":"vectorSelector"}"#,
    ),
    (
        r#"-(a)"#,
        r#"{"expr":{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"parenExpr"},"op":"-","type":"unaryExpr"}"#,
    ),
    (
        r#"a <= bool 1"#,
        r#"{"bool":true,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":null,"op":"\u003c=","rhs":{"type":"numberLiteral","val":"1"},"type":"binaryExpr"}"#,
    ),
    (
        r#"1 + 2"#,
        r#"{"bool":false,"lhs":{"type":"numberLiteral","val":"1"},"matching":null,"op":"+","rhs":{"type":"numberLiteral","val":"2"},"type":"binaryExpr"}"#,
    ),
    (
        r#"a * on(x,y) group_left(z) b"#,
        r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"many-to-one","fillValues":{"lhs":null,"rhs":null},"include":["z"],"labels":["x","y"],"on":true},"op":"*","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#,
    ),
    (
        r#"a + ignoring(x) group_right fill(0.5) b"#,
        r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"one-to-many","fillValues":{"lhs":0.5,"rhs":0.5},"include":[],"labels":["x"],"on":false},"op":"+","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#,
    ),
    (
        r#"a and fill_left"#,
        r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"many-to-many","fillValues":{"lhs":null,"rhs":null},"include":[],"labels":[],"on":false},"op":"and","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"fill_left"}],"name":"fill_left","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#,
    ),
    (
        r#"a + fill_right(-1) b"#,
        r#"{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":{"card":"one-to-one","fillValues":{"lhs":null,"rhs":-1},"include":[],"labels":[],"on":false},"op":"+","rhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"b"}],"name":"b","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"type":"binaryExpr"}"#,
    ),
    (
        r#"sum without (x,"y z") (a)"#,
        r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":["x","y z"],"op":"sum","param":null,"type":"aggregation","without":true}"#,
    ),
    (
        r#"topk(3, a)"#,
        r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":[],"op":"topk","param":{"type":"numberLiteral","val":"3"},"type":"aggregation","without":false}"#,
    ),
    (
        r#"count_values("v", a)"#,
        r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"grouping":[],"op":"count_values","param":{"type":"stringLiteral","val":"v"},"type":"aggregation","without":false}"#,
    ),
    (
        r#"label_join(a,"b",",","c")"#,
        r#"{"args":[{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},{"type":"stringLiteral","val":"b"},{"type":"stringLiteral","val":","},{"type":"stringLiteral","val":"c"}],"func":{"argTypes":["vector","string","string","string"],"name":"label_join","returnType":"vector","variadic":-1},"type":"call"}"#,
    ),
    (
        r#"hour()"#,
        r#"{"args":[],"func":{"argTypes":["vector"],"name":"hour","returnType":"vector","variadic":1},"type":"call"}"#,
    ),
    (
        r#"histogram_quantiles(a, "q", 0.5)"#,
        r#"{"args":[{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},{"type":"stringLiteral","val":"q"},{"type":"numberLiteral","val":"0.5"}],"func":{"argTypes":["vector","string","scalar","scalar"],"name":"histogram_quantiles","returnType":"vector","variadic":9},"type":"call"}"#,
    ),
    (
        r#"rate(up[5m] anchored offset 1ms @ start())"#,
        r#"{"args":[{"anchored":true,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":1,"offsetExpr":null,"range":300000,"rangeExpr":null,"smoothed":false,"startOrEnd":"start","timestamp":null,"type":"matrixSelector"}],"func":{"argTypes":["matrix"],"name":"rate","returnType":"vector","variadic":0},"type":"call"}"#,
    ),
    (
        r#"max_over_time((a > 5)[1h:] @ 3 offset 2m)"#,
        r#"{"args":[{"expr":{"expr":{"bool":false,"lhs":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"matching":null,"op":"\u003e","rhs":{"type":"numberLiteral","val":"5"},"type":"binaryExpr"},"type":"parenExpr"},"offset":120000,"offsetExpr":null,"range":3600000,"rangeExpr":null,"startOrEnd":null,"step":0,"stepExpr":null,"timestamp":3000,"type":"subquery"}],"func":{"argTypes":["matrix"],"name":"max_over_time","returnType":"vector","variadic":0},"type":"call"}"#,
    ),
    (
        r#"a[5m:1500ms]"#,
        r#"{"expr":{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"a"}],"name":"a","offset":0,"offsetExpr":null,"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"vectorSelector"},"offset":0,"offsetExpr":null,"range":300000,"rangeExpr":null,"startOrEnd":null,"step":1500,"stepExpr":null,"timestamp":null,"type":"subquery"}"#,
    ),
    (
        r#"up[min_of(5m,-(step()+1.5))]"#,
        r#"{"anchored":false,"matchers":[{"name":"__name__","type":"=","value":"up"}],"name":"up","offset":0,"offsetExpr":null,"range":0,"rangeExpr":{"lhs":{"duration":true,"type":"numberLiteral","val":"300"},"op":"min_of","rhs":{"lhs":null,"op":"-","rhs":{"lhs":{"lhs":null,"op":"step","rhs":null,"type":"durationExpr","wrapped":false},"op":"+","rhs":{"duration":false,"type":"numberLiteral","val":"1.5"},"type":"durationExpr","wrapped":true},"type":"durationExpr","wrapped":false},"type":"durationExpr","wrapped":false},"smoothed":false,"startOrEnd":null,"timestamp":null,"type":"matrixSelector"}"#,
    ),
];

/// All bytes but letters and digits as `%xx`.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") })
        .collect()
}

#[tokio::test]
async fn trees_are_those_of_prometheus() {
    let running = start().await;
    for (query, tree) in TREES {
        let expected = format!(r#"{{"status":"success","data":{tree}}}"#);
        let reply =
            http::get(running.address, &format!("/api/v1/parse_query?query={}", encoded(query))).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, expected.as_str()), "{query}");
        let form = format!("query={}", encoded(query));
        let reply = http::post(running.address, "/api/v1/parse_query", "", &form).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, expected.as_str()), "{query}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_does_not_parse_is_told_alike_everywhere() {
    let running = start().await;
    for (query, error) in [
        ("sum(", "1:5: parse error: unclosed left parenthesis"),
        ("up{a=~\"(\"}", "1:4: parse error: error parsing regexp: missing closing ): `(`"),
        ("1 and 1", "1:1: parse error: set operator \\\"and\\\" not allowed in binary scalar expression"),
        ("", "unknown position: parse error: no expression found in input"),
    ] {
        let expected = format!(
            r#"{{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": {error}"}}"#
        );
        for path in ["parse_query", "format_query", "query"] {
            let path = format!("/api/v1/{path}?query={}", encoded(query));
            let reply = http::get(running.address, &path).await;
            assert_eq!((reply.status, reply.body.as_str()), (400, expected.as_str()), "{path}");
            let form = format!("query={}", encoded(query));
            let reply = http::post(running.address, &path[..path.find('?').unwrap_or(0)], "", &form).await;
            assert_eq!((reply.status, reply.body.as_str()), (400, expected.as_str()), "{path} by POST");
        }
    }
    running.stop().await;
}
