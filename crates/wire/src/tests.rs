//! Expectations stand in Prometheus' and Alertmanager's documentation, or follow from how Go
//! writes numbers and text.

use std::{net::IpAddr, sync::Arc};

use proptest::prelude::*;
use vedette_model::{
    Ancestor, Container, Event, Fact, Finding, FindingState, Host, Labels, MetricKind, MetricMetadata,
    Process, ProcessKey, Severity, Socket, SocketDirection, StreamTarget, Transport,
};

use crate::{
    exposition::{Format, Writer},
    json, number, prometheus,
    vedette::{self, typescript},
    webhook,
};

fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn values_are_written_as_go_writes_them() {
    for (value, json, text) in [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (1.0, "1", "1"),
        (0.1, "0.1", "0.1"),
        (1.0 / 3.0, "0.3333333333333333", "0.3333333333333333"),
        (123_456.0, "123456", "123456"),
        (1e6, "1000000", "1e+06"),
        (8_201_039_872.0, "8201039872", "8.201039872e+09"),
        (1e20, "100000000000000000000", "1e+20"),
        (1e21, "1e+21", "1e+21"),
        (-1.5e21, "-1.5e+21", "-1.5e+21"),
        (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "0.00001", "1e-05"),
        (1e-6, "0.000001", "1e-06"),
        (9.9e-7, "9.9e-07", "9.9e-07"),
        (5e-324, "5e-324", "5e-324"),
        (f64::NAN, "NaN", "NaN"),
        (f64::INFINITY, "+Inf", "+Inf"),
        (f64::NEG_INFINITY, "-Inf", "-Inf"),
    ] {
        assert_eq!(written(|out| number::push_value(out, value)), json, "{value:e} in JSON");
        assert_eq!(written(|out| number::push_shortest(out, value)), text, "{value:e} in text");
    }
    for (value, expected) in [(1.0, "1e+00"), (0.0, "0e+00"), (123.5, "1.235e+02"), (1e-10, "1e-10")] {
        assert_eq!(written(|out| number::push_exponent(out, value)), expected);
    }
}

#[test]
fn times_are_seconds_with_up_to_three_decimals() {
    for (time_ms, point, scalar) in [
        (0, "0", "0"),
        (1_435_781_451_781, "1435781451.781", "1435781451.781"),
        (1_435_781_451_000, "1435781451", "1435781451"),
        (1_100, "1.100", "1.1"),
        (1_005, "1.005", "1.005"),
        (-1, "-0.001", "-0.001"),
        (-1_500, "-1.500", "-1.5"),
        (i64::MIN, "-9223372036854775.808", "-9223372036854775.808"),
    ] {
        assert_eq!(written(|out| number::push_seconds(out, time_ms)), point);
        assert_eq!(written(|out| number::push_seconds_short(out, time_ms)), scalar);
    }
    assert_eq!(number::rfc3339(1_435_781_451_781_000_000), "2015-07-01T20:10:51.781Z");
    assert_eq!(number::rfc3339(0), "1970-01-01T00:00:00Z");
    assert!(number::rfc3339(i64::MIN).starts_with("1677-"));
}

#[test]
fn text_is_escaped() {
    assert_eq!(
        written(|out| json::push_text(out, "a\"\\\n\r\t\u{1}\u{7f}<>&é\u{2028}")),
        "\"a\\\"\\\\\\n\\r\\t\\u0001\u{7f}<>&é\u{2028}\""
    );
    assert_eq!(
        written(|out| json::push_text_for_html(out, "<b>&\u{2028}\u{2029}\u{2030}é")),
        "\"\\u003cb\\u003e\\u0026\\u2028\\u2029\u{2030}é\""
    );
}

proptest! {
    #[test]
    fn any_text_is_read_back(text in any::<String>()) {
        for push in [json::push_text, json::push_text_for_html] {
            let out = written(|out| push(out, &text));
            prop_assert_eq!(serde_json::from_str::<String>(&out).expect("valid JSON"), text.clone());
        }
    }

    #[test]
    fn plain_numbers_are_read_back_and_as_short_as_the_standard_library_writes_them(
        whole in any::<i64>(), places in 0i32..20, bits in any::<u64>()
    ) {
        let (decimal, float) = (whole as f64 / 10f64.powi(places), f64::from_bits(bits));
        let near = (whole % 1_000_000_000) as f64 / 10f64.powi(places % 5);
        for value in [decimal, near, near + f64::EPSILON * near, float].into_iter().filter(|v| v.is_finite()) {
            // Of two numbers that are as near and as short Go takes the even one, others do not.
            let text = written(|out| number::push_plain(out, value));
            prop_assert_eq!(text.parse::<f64>().expect("a number").to_bits(), value.to_bits());
            prop_assert_eq!(text.len(), format!("{value}").len(), "{}", text);
        }
    }

    #[test]
    fn series_of_one_matrix_are_written_as_each_alone(
        series in proptest::collection::vec(proptest::collection::btree_set(0i64..40, 0..20), 0..6)
    ) {
        let mut times = prometheus::PointTimes::default();
        for points in series {
            let points = || points.iter().map(|n| (n * 500 - 3_000, *n as f64));
            let alone = written(|out| prometheus::matrix_series(out, &Labels::empty(), points()));
            let with = |out: &mut _| prometheus::matrix_series_with(&mut times, out, &Labels::empty(), points());
            prop_assert_eq!(written(with), alone);
        }
    }

    #[test]
    fn any_number_is_read_back(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(!value.is_nan());
        for push in [number::push_value, number::push_shortest, number::push_plain, number::push_exponent] {
            let out = written(|out| push(out, value));
            prop_assert_eq!(out.parse::<f64>().expect("a number").to_bits(), bits, "{}", out);
        }
    }
}

#[test]
fn plain_numbers_are_as_go_writes_them() {
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "-0"),
        (-1.5, "-1.5"),
        (0.05, "0.05"),
        (1.007, "1.007"),
        (1234.0625, "1234.0625"),
        (9_007_199_254_740_993.0, "9007199254740992"),
        (1e20, "100000000000000000000"),
        (731_186_621_637_823.0 + 0.25, "731186621637823.2"),
        (1e-5, "0.00001"),
    ] {
        assert_eq!(written(|out| number::push_plain(out, value)), text);
    }
}

#[test]
fn query_answers_are_those_of_the_documentation() {
    let up = Labels::from_pairs([("__name__", "up"), ("job", "prometheus"), ("instance", "localhost:9090")]);
    let vector = prometheus::answer(|out| {
        prometheus::query_data(out, "vector", |out| {
            json::push_array(out, [1.0], |out, v| {
                prometheus::vector_element(out, &up, 1_435_781_451_781, v);
            });
        });
    });
    assert_eq!(
        String::from_utf8(vector).expect("UTF-8"),
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"localhost:9090","job":"prometheus"},"value":[1435781451.781,"1"]}]}}"#
    );
    let matrix = written(|out| {
        prometheus::matrix_series(out, &up, [(1_435_781_430_781, 1.0), (1_435_781_445_781, f64::NAN)]);
    });
    assert_eq!(
        matrix,
        r#"{"metric":{"__name__":"up","instance":"localhost:9090","job":"prometheus"},"values":[[1435781430.781,"1"],[1435781445.781,"NaN"]]}"#
    );
    let bucket = |boundary_rule, lower, upper, count| prometheus::HistogramBucket {
        boundary_rule,
        lower,
        upper,
        count,
    };
    let buckets = [bucket(3, -0.25, 0.25, 3.0), bucket(0, 0.5, f64::INFINITY, 1e22)];
    assert_eq!(
        written(|out| prometheus::vector_histogram(out, &Labels::empty(), 1_500, (42.0, 1.5), buckets)),
        r#"{"metric":{},"histogram":[1.500,{"count":"42","sum":"1.5","buckets":[[3,"-0.25","0.25","3"],[0,"0.5","+Inf","1e+22"]]}]}"#
    );
    assert_eq!(
        written(|out| prometheus::mixed_matrix_series(
            out,
            &Labels::empty(),
            [(1_000, 2.0)].into_iter(),
            [2_000],
            |out, time_ms| prometheus::histogram_point(out, time_ms, (0.0, f64::NAN), [])
        )),
        r#"{"metric":{},"values":[[1,"2"]],"histograms":[[2,{"count":"0","sum":"NaN"}]]}"#
    );
    assert_eq!(written(|out| prometheus::scalar(out, 1_100, 1e21)), r#"[1.1,"1000000000000000000000"]"#);
    assert_eq!(written(|out| prometheus::string(out, 1_000, "a<b")), r#"[1,"a\u003cb"]"#);
    assert_eq!(
        written(|out| prometheus::success(out, &["w".into()], &["i".into()], |out| prometheus::texts(
            out,
            &["a", "b"]
        ))),
        r#"{"status":"success","data":["a","b"],"warnings":["w"],"infos":["i"]}"#
    );
    assert_eq!(
        String::from_utf8(prometheus::error(prometheus::ErrorType::BadData, "invalid parameter \"query\"")),
        Ok(r#"{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\""}"#.into())
    );
    let entry = |help: &str| MetricMetadata {
        family: "cortex_ring_tokens".into(),
        kind: MetricKind::Gauge,
        unit: String::new(),
        help: help.into(),
    };
    assert_eq!(
        written(|out| prometheus::metadata(out, &[entry("one"), entry("two"), entry("three")], 2)),
        r#"{"cortex_ring_tokens":[{"type":"gauge","help":"one","unit":""},{"type":"gauge","help":"two","unit":""}]}"#
    );
}

#[test]
fn rules_and_alerts_are_those_of_the_documentation() {
    let alert = prometheus::Alert {
        labels: Labels::from_pairs([("alertname", "HighRequestLatency"), ("severity", "page")]),
        annotations: Labels::from_pairs([("summary", "High request latency")]),
        state: prometheus::AlertState::Firing,
        active_ns: Some(1_530_714_172_000_000_000),
        keep_firing_since_ns: None,
        value: 1.0,
    };
    let group = prometheus::RuleGroup {
        name: "example".into(),
        file: "/rules.yaml".into(),
        interval_seconds: 60.0,
        limit: 0,
        evaluation_seconds: 0.000_312_805,
        last_evaluation_ns: Some(1_700_056_212_789_563_000),
        rules: vec![
            prometheus::Rule {
                name: "HighRequestLatency".into(),
                query: "job:request_latency_seconds:mean5m{job=\"myjob\"} > 0.5".into(),
                labels: Labels::from_pairs([("severity", "page")]),
                health: prometheus::RuleHealth::Ok,
                last_error: String::new(),
                evaluation_seconds: 0.000_312_805,
                last_evaluation_ns: None,
                alerting: Some(prometheus::AlertingRule {
                    state: prometheus::AlertState::Firing,
                    hold_seconds: 600.0,
                    keep_firing_seconds: 60.0,
                    annotations: Labels::from_pairs([("summary", "High request latency")]),
                    alerts: vec![alert.clone()],
                }),
            },
            prometheus::Rule {
                name: "job:http_inprogress_requests:sum".into(),
                query: "sum by (job) (http_inprogress_requests)".into(),
                labels: Labels::empty(),
                health: prometheus::RuleHealth::Err,
                last_error: "no".into(),
                evaluation_seconds: 0.0,
                last_evaluation_ns: None,
                alerting: None,
            },
        ],
    };
    assert_eq!(
        written(|out| prometheus::rule_groups(out, [&group])),
        concat!(
            r#"{"groups":[{"name":"example","file":"/rules.yaml","rules":[{"state":"firing","name":"HighRequestLatency","#,
            r#""query":"job:request_latency_seconds:mean5m{job=\"myjob\"} \u003e 0.5","duration":600,"keepFiringFor":60,"#,
            r#""labels":{"severity":"page"},"annotations":{"summary":"High request latency"},"alerts":[{"labels":"#,
            r#"{"alertname":"HighRequestLatency","severity":"page"},"annotations":{"summary":"High request latency"},"#,
            r#""state":"firing","activeAt":"2018-07-04T14:22:52Z","value":"1e+00"}],"health":"ok","#,
            r#""evaluationTime":0.000312805,"lastEvaluation":"0001-01-01T00:00:00Z","type":"alerting"},"#,
            r#"{"name":"job:http_inprogress_requests:sum","query":"sum by (job) (http_inprogress_requests)","#,
            r#""health":"err","lastError":"no","evaluationTime":0,"lastEvaluation":"0001-01-01T00:00:00Z","#,
            r#""type":"recording"}],"interval":60,"limit":0,"evaluationTime":0.000312805,"#,
            r#""lastEvaluation":"2023-11-15T13:50:12.789563Z"}]}"#
        )
    );
    assert!(written(|out| prometheus::alerts(out, [&alert])).starts_with(r#"{"alerts":[{"labels":"#));
}

#[test]
fn accept_chooses_the_form() {
    for (accept, expected) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/html,*/*;q=0.8", Format::Text),
        ("application/openmetrics-text", Format::OpenMetrics),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text;version=7.0.0,text/plain;q=0.2", Format::Text),
        ("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;version=1.0.0;q=0.1", Format::Text),
        ("application/openmetrics-text;q=x;;=,", Format::Text),
    ] {
        assert_eq!(Format::accepted(accept), expected, "{accept:?}");
    }
}

#[test]
fn exposition_is_written_in_both_forms() {
    let write = |format| {
        let mut writer = Writer::new(format);
        writer.family("http_requests_total", MetricKind::Counter, "", "The total\nof \"requests\" \\.");
        writer.sample(
            "http_requests_total",
            [("method", "post"), ("path", "C:\\\"x\"\n")],
            1027.0,
            Some(1_395_066_363_500),
        );
        writer.family("odd", MetricKind::Counter, "", "");
        writer.sample("odd", [], f64::NAN, None);
        writer.family("process_seconds", MetricKind::Gauge, "seconds", "Time.");
        writer.sample("process_seconds", [("späte", "1")], 1e7, None);
        writer.family("my.metric", MetricKind::Unknown, "", "");
        writer.sample("my.metric", [("a", "b")], 1.0, None);
        String::from_utf8(writer.finish()).expect("UTF-8")
    };
    assert_eq!(
        write(Format::Text),
        "# HELP http_requests_total The total\\nof \"requests\" \\\\.\n\
         # TYPE http_requests_total counter\n\
         http_requests_total{method=\"post\",path=\"C:\\\\\\\"x\\\"\\n\"} 1027 1395066363500\n\
         # TYPE odd counter\nodd NaN\n\
         # HELP process_seconds Time.\n# TYPE process_seconds gauge\nprocess_seconds{\"späte\"=\"1\"} 1e+07\n\
         # TYPE \"my.metric\" untyped\n{\"my.metric\",a=\"b\"} 1\n"
    );
    assert_eq!(
        write(Format::OpenMetrics),
        "# HELP http_requests The total\\nof \\\"requests\\\" \\\\.\n\
         # TYPE http_requests counter\n\
         http_requests_total{method=\"post\",path=\"C:\\\\\\\"x\\\"\\n\"} 1027 1395066363.500\n\
         # TYPE odd unknown\nodd NaN\n\
         # HELP process_seconds Time.\n# TYPE process_seconds gauge\n# UNIT process_seconds seconds\nprocess_seconds{\"späte\"=\"1\"} 1e+07\n\
         # TYPE \"my.metric\" unknown\n{\"my.metric\",a=\"b\"} 1\n# EOF\n"
    );
}

#[test]
fn a_webhook_message_is_alertmanagers() {
    let group = Labels::from_pairs([("alertname", "A")]);
    let annotations = Labels::from_pairs([("summary", "s"), ("own", "1")]);
    let first = Labels::from_pairs([("alertname", "A"), ("pod", "x")]);
    let second = Labels::from_pairs([("alertname", "A"), ("pod", "y")]);
    let other = Labels::from_pairs([("summary", "s"), ("own", "2")]);
    let message = webhook::Message::new(
        "team",
        "{}:{alertname=\"A\"}",
        &group,
        "http://127.0.0.1:9090",
        vec![
            webhook::Alert::new(
                &first,
                &annotations,
                1_530_714_172_000_000_000,
                None,
                "http://g",
                "00000000000000ab",
            ),
            webhook::Alert::new(&second, &other, 0, Some(1_530_714_172_500_000_000), "", "0000000000000001"),
        ],
        3,
    );
    assert_eq!(
        String::from_utf8(message.to_json()).expect("UTF-8"),
        concat!(
            r#"{"receiver":"team","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A","pod":"x"},"#,
            r#""annotations":{"own":"1","summary":"s"},"startsAt":"2018-07-04T14:22:52Z","endsAt":"0001-01-01T00:00:00Z","#,
            r#""generatorURL":"http://g","fingerprint":"00000000000000ab"},{"status":"resolved","labels":"#,
            r#"{"alertname":"A","pod":"y"},"annotations":{"own":"2","summary":"s"},"startsAt":"1970-01-01T00:00:00Z","#,
            r#""endsAt":"2018-07-04T14:22:52.5Z","generatorURL":"","fingerprint":"0000000000000001"}],"#,
            r#""groupLabels":{"alertname":"A"},"commonLabels":{"alertname":"A"},"commonAnnotations":{"summary":"s"},"#,
            r#""externalURL":"http://127.0.0.1:9090","version":"4","groupKey":"{}:{alertname=\"A\"}","truncatedAlerts":3}"#
        )
    );
    let none = webhook::Message::new("r", "", &group, "", Vec::new(), 0);
    assert_eq!(none.status, webhook::Status::Resolved);
}

fn event(fact: Fact) -> Event {
    Event {
        id: 12,
        time_ns: 1_700_000_000_000_000_001,
        host: Arc::new(Host { name: "node".into(), id: "m".into(), boot_id: "b".into() }),
        container: None,
        process: None,
        fact,
    }
}

fn socket() -> Socket {
    Socket {
        transport: Transport::Tcp,
        direction: SocketDirection::Outbound,
        local: IpAddr::from([127, 0, 0, 1]),
        local_port: 1,
        peer: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1]),
        peer_port: 4444,
    }
}

fn json_of(event: &Event) -> String {
    serde_json::to_string(&vedette::Event::from(event)).expect("serializes")
}

#[test]
fn an_event_is_flat_and_leaves_out_what_is_absent() {
    let head = r#"{"id":"12","time_unix_nano":"1700000000000000001","kind":"KIND","host.name":"node""#;
    let connection = r#""network.transport":"tcp","vedette.network.direction":"outbound","network.local.address":"127.0.0.1","network.local.port":1,"network.peer.address":"fe80::1","network.peer.port":4444"#;
    for (fact, tail) in [
        (
            Fact::Exec {
                streams: [
                    StreamTarget::Pty { number: 3 },
                    StreamTarget::Socket(socket()),
                    StreamTarget::Pipe { inode: 123 },
                ],
                upper_layer: true,
                unlinked: false,
            },
            r#","vedette.streams":["pty 3","socket tcp outbound [fe80::1]:4444","pipe 123"],"vedette.exec.upper_layer":true,"vedette.exec.unlinked":false}"#.to_owned(),
        ),
        (
            Fact::Fork { child: ProcessKey { pid: 5, start_ns: u64::MAX } },
            r#","vedette.child.pid":5,"vedette.child.start_ns":"18446744073709551615"}"#.to_owned(),
        ),
        (Fact::Exit { code: 9, signal: true }, r#","process.exit.code":9,"vedette.exit.signal":true}"#.to_owned()),
        (Fact::Connection(socket()), format!(",{connection}}}")),
        (
            Fact::StreamRedirect { stream: 0, target: StreamTarget::Socket(socket()) },
            format!(",{connection},\"vedette.stream\":0}}"),
        ),
        (
            Fact::StreamRedirect { stream: 1, target: StreamTarget::OtherSocket { inode: 7 } },
            r#","vedette.streams":["socket 7"],"vedette.stream":1}"#.to_owned(),
        ),
        (Fact::PtyOpen { number: 4 }, r#","vedette.pty":4}"#.to_owned()),
        (Fact::OomKill { count: 2 }, r#","vedette.count":2}"#.to_owned()),
        (Fact::ContainerStart, "}".to_owned()),
        (Fact::ContainerStop, "}".to_owned()),
        (
            Fact::Loss { place: "bulk".into(), count: 3 },
            r#","vedette.count":3,"vedette.loss.place":"bulk"}"#.to_owned(),
        ),
    ] {
        let kind = fact.kind().as_str();
        assert_eq!(json_of(&event(fact)), head.replace("KIND", kind) + &tail);
    }
}

#[test]
fn an_event_tells_container_process_and_finding() {
    let mut e = event(Fact::Finding(Box::new(Finding {
        fingerprint: 0xFF,
        rule: "reverse-shell".into(),
        severity: Severity::Critical,
        title: "t".into(),
        description: "d".into(),
        labels: Labels::from_pairs([("alertname", "ReverseShell")]),
        first_ns: 1,
        last_ns: 2,
        count: 3,
        state: FindingState::Firing,
        ancestry: vec!["bash(12)".into()],
        evidence: vec!["e".into()],
        event_ids: vec![1],
    })));
    e.container = Some(Arc::new(Container { id: "abc".into(), name: "c1".into(), ..Container::default() }));
    e.process = Some(Arc::new(Process {
        key: ProcessKey { pid: 12, start_ns: 34 },
        name: "bash".into(),
        executable: "/bin/bash".into(),
        args: vec!["bash".into(), "-i".into()],
        args_truncated: true,
        uid: 0,
        ancestors: Arc::from([Ancestor {
            key: ProcessKey { pid: 1, start_ns: 2 },
            name: "init".into(),
            executable: String::new(),
        }]),
    }));
    assert_eq!(
        json_of(&e),
        concat!(
            r#"{"id":"12","time_unix_nano":"1700000000000000001","kind":"finding","host.name":"node","container.id":"abc","#,
            r#""container.name":"c1","process.pid":12,"process.start_ns":"34","process.parent_pid":1,"process.command":"bash","#,
            r#""process.executable.path":"/bin/bash","process.command_args":["bash","-i"],"process.command_line":"bash -i","#,
            r#""vedette.command_args_truncated":true,"process.real_user.id":0,"process.ancestors":[{"pid":1,"start_ns":"2","#,
            r#""name":"init","executable":""}],"finding":{"fingerprint":"00000000000000ff","rule":"reverse-shell","#,
            r#""severity":"critical","title":"t","description":"d","labels":{"alertname":"ReverseShell"},"first_unix_nano":"1","#,
            r#""last_unix_nano":"2","count":3,"state":"firing","ancestry":["bash(12)"],"evidence":["e"],"event_ids":["1"]}}"#
        )
    );
}

#[test]
fn the_web_apps_types_are_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ui/src/api/types.ts");
    let current = typescript::file();
    if std::env::var_os("VEDETTE_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("folder is made");
        std::fs::write(&path, &current).expect("file is written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is stale; run VEDETTE_UPDATE=1 cargo test -p vedette-wire",
        path.display()
    );
}
