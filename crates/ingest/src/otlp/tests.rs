use std::collections::BTreeMap;

use vedette_config::prometheus::TranslationStrategy;
use vedette_model::{HistogramCounts, MetricReader};

use super::*;
use crate::remote_write::tests::{Rig, START_MS, rig};

/// A request of metrics of one resource, from their JSON.
fn request(resource: &str, metrics: &str) -> String {
    let metrics = metrics
        .replace("@0", &format!("{START_MS}000000"))
        .replace("@-", &format!("{}000000", START_MS - 1000));
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[{{
            "scope":{{"name":"lib","version":"1","attributes":[{{"key":"k","value":{{"stringValue":"v"}}}}]}},
            "schemaUrl":"u","metrics":[{metrics}]}}]}}]}}"#
    )
}

const SHOP: &str = r#"{"key":"service.name","value":{"stringValue":"shop"}},
    {"key":"service.namespace","value":{"stringValue":"eu"}},
    {"key":"service.instance.id","value":{"stringValue":"i1"}},
    {"key":"host.name","value":{"stringValue":"h"}}"#;

fn settings(change: impl FnOnce(&mut OtlpSettings)) -> OtlpSettings {
    let mut settings = OtlpSettings::default();
    change(&mut settings);
    settings
}

fn send(rig: &Rig, body: &str) -> Result<Written, WriteError> {
    rig.ingest.receiver().otlp(body.as_bytes(), true)
}

fn series(rig: &Rig) -> Vec<String> {
    rig.stored().into_keys().collect()
}

fn gauge(name: &str, attributes: &str, value: &str) -> String {
    format!(
        r#"{{"name":"{name}","unit":"By","description":"D.","gauge":{{"dataPoints":[
            {{"attributes":[{attributes}],"timeUnixNano":"@0","asDouble":{value}}}]}}}}"#
    )
}

fn sum(temporality: u8, points: &[(&str, &str, f64)]) -> String {
    let points: Vec<_> = points
        .iter()
        .map(|(start, time, value)| {
            format!(r#"{{"startTimeUnixNano":"{start}","timeUnixNano":"{time}","asDouble":{value}}}"#)
        })
        .collect();
    format!(
        r#"{{"name":"requests","unit":"1","sum":{{"aggregationTemporality":{temporality},"isMonotonic":true,
            "dataPoints":[{}]}}}}"#,
        points.join(",")
    )
}

#[test]
fn resources_name_targets_and_stand_in_target_info() {
    let rig = rig();
    let body = request(SHOP, &gauge("disk.used", r#"{"key":"disk.id","value":{"intValue":7}}"#, "2.5"));
    let written = send(&rig, &body).unwrap();
    assert_eq!(written, Written { samples: 2, ..Written::default() });
    assert_eq!(
        rig.stored(),
        BTreeMap::from([
            (r#"disk_used_bytes{disk_id="7", instance="i1", job="eu/shop"}"#.to_owned(), vec![(0, 2.5)]),
            (r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#.to_owned(), vec![(0, 1.0)]),
        ])
    );
    let metadata: Vec<_> = rig
        .tsdb
        .metadata(None, 0)
        .into_iter()
        .map(|m| format!("{} {} {} {}", m.family, m.kind.as_str(), m.unit, m.help))
        .collect();
    assert_eq!(metadata, ["disk_used_bytes gauge bytes D.", "target_info gauge  Target metadata"]);
    // A resource that is only identified has no target_info.
    let bare = r#"{"key":"service.name","value":{"stringValue":"shop"}}"#;
    send(&rig, &request(bare, &gauge("x", "", "1"))).unwrap();
    assert!(series(&rig).contains(&r#"x_bytes{job="shop"}"#.to_owned()));
    assert_eq!(series(&rig).len(), 3);
}

#[test]
fn the_configuration_decides_about_labels_and_names() {
    let a = r#"{"key":"host.name","value":{"stringValue":"own"}},{"key":"__name__","value":{"stringValue":"no"}}"#;
    type Case = (fn(&mut OtlpSettings), &'static str, [&'static str; 2]);
    let cases: [Case; 7] = [
        (
            |s| s.translation.promote_resource_attributes = vec!["host.name".into()],
            "",
            [
                r#"disk_used_bytes{host_name="h", instance="i1", job="eu/shop"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#,
            ],
        ),
        (
            |s| {
                s.translation.promote_all_resource_attributes = true;
                s.translation.ignore_resource_attributes = vec!["service.namespace".into()];
            },
            a,
            [
                r#"disk_used_bytes{host_name="own", instance="i1", job="eu/shop", service_instance_id="i1", service_name="shop"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#,
            ],
        ),
        (
            |s| s.translation.keep_identifying_resource_attributes = true,
            "",
            [
                r#"disk_used_bytes{instance="i1", job="eu/shop"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop", service_instance_id="i1", service_name="shop", service_namespace="eu"}"#,
            ],
        ),
        (
            |s| s.translation.promote_scope_metadata = true,
            "",
            [
                r#"disk_used_bytes{instance="i1", job="eu/shop", otel_scope_k="v", otel_scope_name="lib", otel_scope_schema_url="u", otel_scope_version="1"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#,
            ],
        ),
        (
            |s| s.translation.translation_strategy = TranslationStrategy::NoTranslation,
            a,
            [
                r#"target_info{"host.name"="h", instance="i1", job="eu/shop"}"#,
                r#"{"disk.used", "host.name"="own", instance="i1", job="eu/shop"}"#,
            ],
        ),
        (
            |s| s.type_and_unit_labels = true,
            "",
            [
                r#"disk_used_bytes{__type__="gauge", __unit__="bytes", instance="i1", job="eu/shop"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#,
            ],
        ),
        (
            |_| {},
            r#"{"key":"a.b","value":{"stringValue":"2"}},{"key":"a-b","value":{"stringValue":"1"}}"#,
            [
                r#"disk_used_bytes{a_b="1;2", instance="i1", job="eu/shop"}"#,
                r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#,
            ],
        ),
    ];
    for (change, attributes, expected) in cases {
        let rig = rig();
        rig.ingest.receiver().set_otlp(settings(change));
        send(&rig, &request(SHOP, &gauge("disk.used", attributes, "1"))).unwrap();
        let mut found = series(&rig);
        found.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn sums_have_start_timestamps_and_exemplars() {
    let rig = rig();
    let body = request(
        "",
        r#"{"name":"requests","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
            {"startTimeUnixNano":"@-","timeUnixNano":"@0","asInt":"5","exemplars":[
                {"timeUnixNano":"@0","asInt":1,"traceId":"00ff","spanId":"00",
                 "filteredAttributes":[{"key":"u","value":{"stringValue":"x"}}]},
                {"timeUnixNano":"@0","asDouble":2,"traceId":"01",
                 "filteredAttributes":[{"key":"u","value":{"stringValue":"LONG"}}]}]}]}}"#,
    )
    .replace("LONG", &"x".repeat(130));
    let written = send(&rig, &body).unwrap();
    assert_eq!(written.samples, 1);
    assert_eq!(series(&rig), ["requests_total"]);
    assert_eq!(rig.starts("requests_total"), [START_MS - 1000]);
    let all =
        vedette_model::LabelQuery { matcher_sets: vec![], range: vedette_model::TimeRange::ALL, limit: 0 };
    let exemplars = rig.tsdb.exemplars(&all).unwrap();
    let first = &exemplars[0].1[0];
    assert_eq!((first.labels.to_string().as_str(), first.value), (r#"{trace_id="00ff", u="x"}"#, 1.0));
}

const HISTOGRAM: &str = r#"{"name":"wait","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[
    {"timeUnixNano":"@0","count":"6","sum":7.5,"bucketCounts":[1,2,3],"explicitBounds":[0.25,10]}]}}"#;

#[test]
fn explicit_histograms_are_classic_or_have_custom_buckets() {
    let rig = rig();
    assert_eq!(send(&rig, &request("", HISTOGRAM)).unwrap().samples, 5);
    let stored: Vec<_> = rig.stored().into_iter().map(|(labels, s)| format!("{labels} {}", s[0].1)).collect();
    assert_eq!(
        stored,
        [
            r#"wait_seconds_bucket{le="+Inf"} 6"#,
            r#"wait_seconds_bucket{le="0.25"} 1"#,
            r#"wait_seconds_bucket{le="10"} 3"#,
            "wait_seconds_count 6",
            "wait_seconds_sum 7.5",
        ]
    );
    rig.ingest.receiver().set_otlp(settings(|s| s.translation.convert_histograms_to_nhcb = true));
    let written = send(&rig, &request("", HISTOGRAM)).unwrap();
    assert_eq!((written.samples, written.histograms), (1, 1));
    let native = &rig.histograms(&[("__name__", "wait_seconds")])[0].1;
    assert_eq!((native.schema, &native.custom_bounds[..], native.sum), (-53, &[0.25, 10.0][..], 7.5));
}

#[test]
fn exponential_histograms_are_native_ones() {
    let rig = rig();
    let body = request(
        "",
        r#"{"name":"wait","unit":"ms","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":"@0","count":"6","sum":7.5,"scale":3,"zeroCount":1,
             "positive":{"offset":4,"bucketCounts":[2,0,3]}}]}}"#,
    );
    assert_eq!(send(&rig, &body).unwrap().histograms, 1);
    let native = &rig.histograms(&[("__name__", "wait_milliseconds")])[0].1;
    assert_eq!((native.schema, native.count(), native.positive_spans[0].offset), (3, 6.0, 5));
}

#[test]
fn summaries_and_ended_series_are_stored() {
    let rig = rig();
    let body = request(
        "",
        r#"{"name":"q","summary":{"dataPoints":[{"timeUnixNano":"@0","count":2,"sum":3,
            "quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":2}]}]}},
           {"name":"gone","gauge":{"dataPoints":[{"timeUnixNano":"@0","flags":1}]}}"#,
    );
    assert_eq!(send(&rig, &body).unwrap().samples, 5);
    let stored = rig.stored();
    assert_eq!(stored[r#"q{quantile="0.5"}"#], [(0, 1.0)]);
    assert_eq!(stored[r#"q{quantile="1"}"#], [(0, 2.0)]);
    assert_eq!((stored["q_sum"][0].1, stored["q_count"][0].1), (3.0, 2.0));
    assert!(vedette_model::is_stale(stored["gone"][0].1));
}

#[test]
fn what_cannot_be_translated_is_told_and_the_rest_stored() {
    let bad_histogram = HISTOGRAM.replace("[1,2,3]", "[1,2]");
    for (metric, refused, words) in [
        (sum(1, &[("@-", "@0", 1.0)]), 1, "counts since the point before"),
        (sum(0, &[("@-", "@0", 1.0)]), 1, "does not say since when"),
        (gauge("日", "", "1").replace("By", ""), 1, "leaves nothing"),
        (gauge("x", r#"{"key":"","value":{}}"#, "1"), 1, "an attribute has no name"),
        (r#"{"name":"empty","gauge":{}}"#.to_owned(), 0, "has no points"),
        (r#"{"name":"nothing"}"#.to_owned(), 0, "has no points"),
        (
            r#"{"name":"e","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[
                {"timeUnixNano":"@0","count":9,"scale":-9}]}}"#
                .to_owned(),
            1,
            "has the scale -9",
        ),
    ] {
        let rig = rig();
        let body = request("", &format!("{metric},{}", gauge("good", "", "1")));
        let written = send(&rig, &body).unwrap();
        let text = written.refused.clone().unwrap_or_default();
        assert!(text.contains(words), "{text}");
        assert_eq!((written.refused_samples, written.samples), (refused, 1), "{text}");
    }
    let rig = rig();
    rig.ingest.receiver().set_otlp(settings(|s| s.translation.convert_histograms_to_nhcb = true));
    let written = send(&rig, &request("", &bad_histogram)).unwrap();
    assert!(written.refused.unwrap().contains("of 2 bounds has 2 buckets"));
    assert!(matches!(send(&rig, "{"), Err(WriteError::Malformed(_))));
    assert!(matches!(rig.ingest.receiver().otlp(&[0x0a, 5], false), Err(WriteError::Malformed(_))));
}

#[test]
fn deltas_are_stored_or_added_up_where_the_operator_wants_it() {
    let at = |ms: i64| format!("{}000000", START_MS + ms);
    let (t0, t1, t2, t3) = (at(0), at(10), at(20), at(30));
    let points = [(t0.as_str(), t1.as_str(), 2.0), (&t1, &t2, 3.0)];
    let late = [(t0.as_str(), t1.as_str(), 5.0), (&t2, &t3, 4.0)];

    let rig = rig();
    rig.ingest.receiver().set_otlp(settings(|s| s.delta = DeltaHandling::Stored));
    send(&rig, &request("", &sum(1, &points))).unwrap();
    assert_eq!(rig.stored()["requests_total"], [(10, 2.0), (20, 3.0)]);
    assert_eq!(rig.tsdb.metadata(None, 0)[0].kind, MetricKind::Unknown);

    let rig = crate::remote_write::tests::rig();
    rig.ingest.receiver().set_otlp(settings(|s| s.delta = DeltaHandling::Converted));
    send(&rig, &request("", &sum(1, &points))).unwrap();
    let written = send(&rig, &request("", &sum(1, &late))).unwrap();
    assert!(written.refused.unwrap().contains("came too late"));
    assert_eq!(rig.stored()["requests_total"], [(10, 2.0), (20, 5.0), (30, 9.0)]);
    assert_eq!(rig.starts("requests_total"), [START_MS; 3]);
}

#[test]
fn deltas_of_histograms_are_added_up() {
    let rig = rig();
    rig.ingest.receiver().set_otlp(settings(|s| s.delta = DeltaHandling::Converted));
    let explicit = |ms: i64, counts: &str, count: u64| {
        request(
            "",
            &format!(
                r#"{{"name":"w","histogram":{{"aggregationTemporality":1,"dataPoints":[{{"timeUnixNano":"{}000000",
                    "count":{count},"sum":1.5,"bucketCounts":[{counts}],"explicitBounds":[1]}}]}}}}"#,
                START_MS + ms
            ),
        )
    };
    send(&rig, &explicit(0, "1,2", 3)).unwrap();
    send(&rig, &explicit(10, "4,0", 4)).unwrap();
    let stored = rig.stored();
    assert_eq!(stored[r#"w_bucket{le="1"}"#], [(0, 1.0), (10, 5.0)]);
    assert_eq!(stored[r#"w_bucket{le="+Inf"}"#], [(0, 3.0), (10, 7.0)]);
    assert_eq!(stored["w_sum"], [(0, 1.5), (10, 3.0)]);
    let exponential = |ms: i64, scale: i32, offset: i32, count: u64| {
        request(
            "",
            &format!(
                r#"{{"name":"e","exponentialHistogram":{{"aggregationTemporality":1,"dataPoints":[
                    {{"timeUnixNano":"{}000000","count":{count},"sum":1,"scale":{scale},
                      "positive":{{"offset":{offset},"bucketCounts":[{count}]}}}}]}}}}"#,
                START_MS + ms
            ),
        )
    };
    send(&rig, &exponential(0, 3, 9, 2)).unwrap();
    send(&rig, &exponential(10, 2, 4, 5)).unwrap();
    let sums: Vec<_> = rig
        .histograms(&[("__name__", "e")])
        .iter()
        .map(|(_, h)| {
            let HistogramCounts::Integer { positive, .. } = &h.counts else { panic!("floats") };
            (h.schema, h.count(), h.positive_spans[0].offset, positive.clone())
        })
        .collect();
    assert_eq!(sums, [(3, 2.0, 10, vec![2]), (2, 7.0, 5, vec![7])]);
}

#[test]
fn target_info_covers_the_time_of_the_points() {
    let rig = rig();
    let at = |ms: i64| format!("{}000000", START_MS + ms);
    let (first, last) = (at(-400_000), at(0));
    let points = [("0", first.as_str(), 1.0), ("0", &last, 2.0)];
    send(&rig, &request(SHOP, &sum(2, &points))).unwrap();
    let info = &rig.stored()[r#"target_info{host_name="h", instance="i1", job="eu/shop"}"#];
    assert_eq!(info.iter().map(|(t, _)| *t).collect::<Vec<_>>(), [-400_000, -250_000, -100_000, 0]);
    // However far apart the points are.
    let points = [("0", "1", 1.0), ("0", last.as_str(), 3.0)];
    let written = send(&rig, &request(SHOP, &sum(2, &points))).unwrap();
    assert!(written.refused_samples < 1_100, "{written:?}");
}
