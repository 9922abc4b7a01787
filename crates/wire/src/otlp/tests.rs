use proptest::prelude::*;

use super::*;
use crate::remote_write::{
    encode::{put_bytes, put_number, put_varint},
    fields::zigzag,
};

fn message(fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    fields(&mut out);
    out
}

fn fixed(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn float(out: &mut Vec<u8>, field: u64, value: f64) {
    fixed(out, field, value.to_bits());
}

fn attribute(key: &str, value: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    message(|m| {
        put_bytes(m, 1, key.as_bytes());
        put_bytes(m, 2, &message(value));
    })
}

fn text(key: &str, value: &str) -> Vec<u8> {
    attribute(key, |m| put_bytes(m, 1, value.as_bytes()))
}

/// A request with everything that a request can hold, as Protocol Buffers.
fn whole_protobuf() -> Vec<u8> {
    let exemplar = message(|m| {
        put_bytes(m, 7, &text("user", "x"));
        fixed(m, 2, 5);
        fixed(m, 6, (-3_i64) as u64);
        put_bytes(m, 4, &[1, 2]);
        put_bytes(m, 5, &[0xab]);
    });
    let gauge = message(|m| {
        put_bytes(
            m,
            1,
            &message(|p| {
                put_bytes(p, 7, &text("a", "b"));
                fixed(p, 3, 1_000_000);
                fixed(p, 6, (-7_i64) as u64);
                put_number(p, 8, 1);
            }),
        );
    });
    let sum = message(|m| {
        put_bytes(
            m,
            1,
            &message(|p| {
                fixed(p, 2, 1);
                fixed(p, 3, 2);
                float(p, 4, 1.5);
                put_bytes(p, 5, &exemplar);
            }),
        );
        put_number(m, 2, 2);
        put_number(m, 3, 1);
    });
    let histogram = message(|m| {
        put_bytes(
            m,
            1,
            &message(|p| {
                fixed(p, 4, 3);
                float(p, 5, 4.5);
                put_bytes(p, 6, &[1_u64, 2].map(u64::to_le_bytes).concat());
                float(p, 7, 2.5);
            }),
        );
        put_number(m, 2, 1);
    });
    let exponential = message(|m| {
        let buckets = |offset: i64, counts: &[u8]| {
            message(|b| {
                put_number(b, 1, zigzag(offset));
                put_bytes(b, 2, counts);
            })
        };
        put_bytes(
            m,
            1,
            &message(|p| {
                fixed(p, 4, 9);
                put_number(p, 6, zigzag(-2));
                fixed(p, 7, 1);
                put_bytes(p, 8, &buckets(-4, &[1, 0, 2]));
                put_bytes(p, 9, &buckets(1, &[5]));
                float(p, 14, 0.25);
            }),
        );
        put_number(m, 2, 2);
    });
    let summary = message(|m| {
        put_bytes(
            m,
            1,
            &message(|p| {
                fixed(p, 4, 2);
                float(p, 5, 3.0);
                put_bytes(
                    p,
                    6,
                    &message(|q| {
                        float(q, 1, 0.5);
                        float(q, 2, 1.25);
                    }),
                );
            }),
        );
    });
    let metrics =
        [(5, "g", gauge), (7, "s", sum), (9, "h", histogram), (10, "e", exponential), (11, "q", summary)];
    let scope = message(|s| {
        put_bytes(
            s,
            1,
            &message(|m| {
                put_bytes(m, 1, b"lib");
                put_bytes(m, 2, b"1.2");
                put_bytes(m, 3, &text("k", "v"));
            }),
        );
        for (field, name, data) in &metrics {
            put_bytes(
                s,
                2,
                &message(|m| {
                    put_bytes(m, 1, name.as_bytes());
                    put_bytes(m, 2, b"About it.");
                    put_bytes(m, 3, b"By");
                    put_bytes(m, *field, data);
                }),
            );
        }
        put_bytes(s, 3, b"http://schema");
    });
    let resource = message(|r| {
        put_bytes(r, 1, &text("service.name", "shop"));
        put_bytes(r, 1, &attribute("n", |m| put_number(m, 3, 42)));
        put_bytes(r, 1, &attribute("yes", |m| put_number(m, 2, 1)));
        put_bytes(r, 1, &attribute("f", |m| float(m, 4, 0.5)));
        put_bytes(r, 1, &attribute("raw", |m| put_bytes(m, 7, &[1, 2, 3, 250])));
        put_bytes(
            r,
            1,
            &attribute("list", |m| {
                let one = message(|v| put_bytes(v, 1, b"<x>"));
                let two = message(|v| put_bytes(v, 6, &message(|map| put_bytes(map, 1, &text("z", "1")))));
                put_bytes(
                    m,
                    5,
                    &message(|list| {
                        put_bytes(list, 1, &one);
                        put_bytes(list, 1, &two);
                        put_bytes(list, 1, &[]);
                    }),
                );
            }),
        );
    });
    message(|m| {
        put_bytes(
            m,
            1,
            &message(|r| {
                put_bytes(r, 1, &resource);
                put_bytes(r, 2, &scope);
            }),
        );
    })
}

/// The same as JSON, with the freedoms that JSON has.
const WHOLE_JSON: &str = r#"{"resourceMetrics":[{"resource":{"attributes":[
    {"key":"service.name","value":{"stringValue":"shop"}},
    {"key":"n","value":{"intValue":"42"}},
    {"key":"yes","value":{"boolValue":true}},
    {"key":"f","value":{"doubleValue":0.5}},
    {"key":"raw","value":{"bytesValue":"AQID+g=="}},
    {"key":"list","value":{"arrayValue":{"values":[
        {"stringValue":"<x>"},
        {"kvlistValue":{"values":[{"key":"z","value":{"stringValue":"1"}}]}},
        {}]}}}]},
  "scopeMetrics":[{"scope":{"name":"lib","version":"1.2","attributes":[{"key":"k","value":{"stringValue":"v"}}]},
    "metrics":[
      {"name":"g","description":"About it.","unit":"By","gauge":{"dataPoints":[
        {"attributes":[{"key":"a","value":{"stringValue":"b"}}],"timeUnixNano":"1000000","asInt":-7,"flags":1}]}},
      {"name":"s","description":"About it.","unit":"By","sum":{"dataPoints":[
        {"startTimeUnixNano":1,"timeUnixNano":2,"asDouble":1.5,"exemplars":[
          {"filteredAttributes":[{"key":"user","value":{"stringValue":"x"}}],"timeUnixNano":"5","asInt":"-3",
           "spanId":"0102","traceId":"AB"}]}],
        "aggregationTemporality":"AGGREGATION_TEMPORALITY_CUMULATIVE","isMonotonic":true}},
      {"name":"h","description":"About it.","unit":"By","unknown":[1,{}],"histogram":{"dataPoints":[
        {"count":"3","sum":4.5,"bucketCounts":["1",2],"explicitBounds":[2.5]}],"aggregationTemporality":1}},
      {"name":"e","description":"About it.","unit":"By","exponentialHistogram":{"dataPoints":[
        {"count":9,"scale":-2,"zeroCount":"1","positive":{"offset":-4,"bucketCounts":["1","0","2"]},
         "negative":{"offset":1,"bucketCounts":[5]},"zeroThreshold":0.25}],"aggregationTemporality":2}},
      {"name":"q","description":"About it.","unit":"By","summary":{"dataPoints":[
        {"count":"2","sum":3,"quantileValues":[{"quantile":0.5,"value":"1.25"}]}]}}],
    "schemaUrl":"http://schema"}]}]}"#;

#[test]
fn both_forms_say_the_same() {
    let protobuf = whole_protobuf();
    let protobuf = Request::from_protobuf(&protobuf).unwrap();
    assert_eq!(protobuf, Request::from_json(WHOLE_JSON.as_bytes()).unwrap());
    let resource = &protobuf.resources[0];
    let texts: Vec<_> = resource.attributes.iter().map(|a| a.value.text()).collect();
    assert_eq!(texts, ["shop", "42", "true", "0.5", "AQID+g==", r#"["\u003cx\u003e",{"z":"1"},null]"#]);
    let metrics = &resource.scopes[0].metrics;
    assert_eq!(metrics.len(), 5);
    let Data::Gauge(points) = &metrics[0].data else { panic!("{:?}", metrics[0]) };
    assert_eq!((points[0].value, points[0].common.has_no_value()), (-7.0, true));
    let Data::Sum { points, temporality: Temporality::Cumulative, is_monotonic: true } = &metrics[1].data
    else {
        panic!("{:?}", metrics[1])
    };
    assert_eq!((points[0].exemplars[0].value, &points[0].exemplars[0].trace_id[..]), (-3.0, &[0xab][..]));
    let Data::ExponentialHistogram { points, .. } = &metrics[3].data else { panic!("{:?}", metrics[3]) };
    assert_eq!(points[0].positive, Buckets { offset: -4, counts: vec![1, 0, 2] });
}

#[test]
fn values_are_written_as_text() {
    for (value, text) in [
        (Value::Float(1e21), "1e+21"),
        (Value::Float(-2.5e-7), "-2.5e-7"),
        (Value::Float(1e20), "100000000000000000000"),
        (Value::Float(f64::NAN), "NaN"),
        (Value::Integer(i64::MIN), "-9223372036854775808"),
        (Value::Bytes(Cow::Borrowed(&[])), ""),
        (Value::Bytes(Cow::Borrowed(&[255, 254])), "//4="),
        (Value::Empty, ""),
        (Value::Map(vec![]), "{}"),
    ] {
        assert_eq!(value.text(), text, "{value:?}");
    }
    for bytes in [&b""[..], b"a", b"ab", b"abc", b"abcd", &[255; 7]] {
        let text = Value::Bytes(Cow::Borrowed(bytes)).text().into_owned();
        assert_eq!(value::from_base64(&text).as_deref(), Some(bytes));
        assert_eq!(value::from_base64(text.trim_end_matches('=')).as_deref(), Some(bytes));
    }
    assert_eq!((value::from_base64("a"), value::from_base64("a b=")), (None, None));
    assert_eq!(
        (value::from_hex("0Aff"), value::from_hex("0"), value::from_hex("xy")),
        (Some(vec![10, 255]), None, None)
    );
}

#[test]
fn what_is_wrong_is_told() {
    let deep = (0..70)
        .fold(Vec::new(), |inner, _| message(|m| put_bytes(m, 5, &message(|l| put_bytes(l, 1, &inner)))));
    let resource = |value: &[u8]| {
        let attribute = message(|m| put_bytes(m, 2, value));
        let resource = message(|m| put_bytes(m, 1, &attribute));
        message(|m| put_bytes(m, 1, &message(|r| put_bytes(r, 1, &resource))))
    };
    for (body, words) in [
        (resource(&deep), "too deep"),
        (resource(&[0x0a, 1, 0xff]), "not valid UTF-8"),
        (resource(&[0x08, 1]), "wrong kind"),
        (vec![0x0a, 9, 0], "longer than what holds it"),
    ] {
        let told = Request::from_protobuf(&body).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
    for (body, words) in [
        ("{", "EOF"),
        (r#"{"resourceMetrics":5}"#, "a list"),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"asInt":"x"}]}}]}]}]}"#,
            "a number",
        ),
    ] {
        let told = Request::from_json(body.as_bytes()).unwrap_err().to_string();
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_tree_takes_no_more_than_its_share() {
    let point = [0x0a, 0];
    let points = point.repeat(NODES_MAX + 1);
    let gauge = message(|m| put_bytes(m, 5, &points));
    let body =
        message(|m| put_bytes(m, 1, &message(|r| put_bytes(r, 2, &message(|s| put_bytes(s, 2, &gauge))))));
    assert!(Request::from_protobuf(&body).unwrap_err().to_string().contains("too many points"));
    let points = vec!["{}"; NODES_MAX + 1].join(",");
    let body = format!(r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{points}]}}}}]}}"#);
    assert!(Request::from_json(body.as_bytes()).unwrap_err().to_string().contains("too many points"));
}

#[test]
fn answers_of_partial_success_are_those_of_the_specification() {
    assert_eq!(partial_success_protobuf(3, "no"), [0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o']);
    let json = String::from_utf8(partial_success_json(3, "no")).unwrap();
    assert_eq!(json, r#"{"partialSuccess":{"rejectedDataPoints":"3","errorMessage":"no"}}"#);
}

proptest! {
    #[test]
    fn garbage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        is_json in any::<bool>(),
    ) {
        let mut body = if is_json { WHOLE_JSON.as_bytes().to_vec() } else { whole_protobuf() };
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.index(body.len() + 1));
        let request = if is_json { Request::from_json(&body) } else { Request::from_protobuf(&body) };
        if let Ok(request) = request {
            for attribute in request.resources.iter().flat_map(|r| &r.attributes) {
                let _ = attribute.value.text();
            }
        }
    }
}
