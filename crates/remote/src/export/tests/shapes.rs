//! What is written for each sink.

use serde_json::Value;

use super::*;
use crate::{
    export::{encode::Run, series::SeriesTable},
    spool::record,
};

fn table(encoder: &Encoder, all: &[&[(&str, &str)]]) -> SeriesTable {
    let mut table = SeriesTable::default();
    let mut writer = record::Writer::default();
    writer.begin();
    for (at, labels) in all.iter().enumerate() {
        writer.define(at as u32, &Labels::from_pairs(labels.iter().copied()));
    }
    let mut snappy = snap::raw::Encoder::new();
    let (_, bytes) = writer.finish(1, 0, &mut snappy);
    let mut body = Vec::new();
    record::body(bytes, &mut snap::raw::Decoder::new(), &mut body).expect("a body");
    let any = vec![Vec::new()];
    for entry in record::Entries::new(&body) {
        if let Ok(record::Entry::Definition { number, bytes, labels }) = entry {
            table.define(number, bytes, labels, &any, encoder);
        }
    }
    table
}

const TIME_MS: i64 = 1_700_000_000_123;
const POD: [(&str, &str); 5] = [
    ("container", "app"),
    ("namespace", "shop"),
    ("pod", "web-1"),
    ("name", "k8s_app"),
    (
        "id",
        "/kubepods/pod1/cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
    ),
];

/// What is written for samples of one group, given as further labels and values.
fn written(shape: Shape, form: Form, samples: &[(&[(&str, &str)], f64)]) -> (Documents, String) {
    let encoder = Encoder::new(shape, form, "m 1", &[("site".into(), "here".into())]);
    let labels: Vec<Vec<_>> =
        samples.iter().map(|(own, _)| own.iter().chain(&POD).copied().collect()).collect();
    let labels: Vec<&[(&str, &str)]> = labels.iter().map(Vec::as_slice).collect();
    let mut table = table(&encoder, &labels);
    let points: Vec<_> = samples.iter().enumerate().map(|(at, (_, value))| (at as u32, *value)).collect();
    let mut out = Documents::default();
    let group = table.series(0).group;
    let run = Run { time_ms: TIME_MS, place: Default::default(), group, points: &points };
    encoder.encode(&mut out, &run, &mut table);
    assert_eq!(out.points(), samples.len() as u64, "every sample is counted once");
    let text = String::from_utf8(out.bytes.clone()).expect("text");
    (out, text)
}

const CPU: &[(&str, &str)] = &[("__name__", "container_cpu_usage_seconds_total"), ("cpu", "total")];
const CPU1: &[(&str, &str)] = &[("__name__", "container_cpu_usage_seconds_total"), ("cpu", "cpu01")];
const RSS: &[(&str, &str)] = &[("__name__", "container_memory_rss")];
const FAULTS: &[(&str, &str)] = &[
    ("__name__", "container_memory_failures_total"),
    ("failure_type", "pgmajfault"),
    ("scope", "hierarchy"),
];
const RECEIVED: &[(&str, &str)] =
    &[("__name__", "container_network_receive_bytes_total"), ("interface", "eth0")];
const FS: &[(&str, &str)] = &[("__name__", "container_fs_usage_bytes"), ("device", "/dev/a b")];
const READ: &[(&str, &str)] = &[("__name__", "container_fs_reads_bytes_total"), ("device", "/dev/vda")];
const ALL: [(&[(&str, &str)], f64); 7] =
    [(CPU, 1.5), (CPU1, 0.5), (RSS, 4096.0), (FAULTS, 7.0), (RECEIVED, 100.0), (FS, 2048.0), (READ, 512.0)];

#[test]
fn our_own_documents_have_all_labels_and_every_figure_of_one_set_of_them() {
    let form = Form::Objects { lines: false, dialect: Dialect::Kafka };
    let (out, text) = written(Shape::Vedette, form, &[(RSS, 4096.5), (&[("__name__", "x\"y")], -0.25)]);
    assert_eq!(out.documents.len(), 1);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["@timestamp"], "2023-11-14T22:13:20.123Z");
    assert_eq!(value["machine"], "m 1");
    assert_eq!(value["labels"]["pod"], "web-1");
    assert_eq!(value["labels"]["site"], "here");
    assert_eq!(value["metrics"]["container_memory_rss"], 4096.5);
    assert_eq!(value["metrics"]["x\"y"], -0.25);
}

#[test]
fn bulk_names_index_and_id_before_each_document() {
    let form = |per| Form::Bulk { index: "logs".into(), per, is_stream: true };
    for (per, index) in
        [(IndexPer::Never, "logs"), (IndexPer::Day, "logs-2023.11.14"), (IndexPer::Month, "logs-2023.11")]
    {
        let (out, text) = written(Shape::Cadvisor, form(per), &ALL);
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["create"]["_index"], index);
        assert_eq!(lines[0]["create"]["_id"], format!("{:032x}", out.documents[0].id));
        assert_eq!(lines[1]["@timestamp"], "2023-11-14T22:13:20.123Z");
    }
    // The same samples give the same id, others another.
    let id = |samples: &[_]| written(Shape::Vedette, form(IndexPer::Never), samples).0.documents[0].id;
    assert_eq!(id(&[(RSS, 1.0)]), id(&[(RSS, 1.0)]));
    assert_ne!(id(&[(RSS, 1.0)]), id(&[(RSS, 1.0), (&[("__name__", "y")], 1.0)]));
}

#[test]
fn documents_of_cadvisor_have_its_names_and_units() {
    let form = |dialect| Form::Objects { lines: false, dialect };
    let (_, text) = written(Shape::Cadvisor, form(Dialect::Microseconds), &ALL);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["timestamp"], 1_700_000_000_123_000_i64);
    assert_eq!(value["machine_name"], "m 1");
    assert_eq!(value["container_Name"], "k8s_app");
    assert_eq!(value["container_Id"], Value::Null);
    let stats = &value["container_stats"];
    assert_eq!(stats["timestamp"], "2023-11-14T22:13:20.123Z");
    assert_eq!(stats["cpu"]["usage"]["total"], 1_500_000_000_i64);
    assert_eq!(stats["cpu"]["usage"]["per_cpu_usage"], serde_json::json!([0, 500_000_000]));
    assert_eq!(stats["cpu"]["usage"]["user"], Value::Null, "what is not known is not told");
    assert_eq!(stats["memory"]["rss"], 4096);
    assert_eq!(stats["memory"]["hierarchical_data"]["pgmajfault"], 7);
    assert_eq!(stats["network"]["rx_bytes"], 100);
    assert_eq!(stats["network"]["interfaces"][0]["name"], "eth0");
    assert_eq!(stats["filesystem"][0]["device"], "/dev/a b");
    assert_eq!(stats["filesystem"][0]["usage"], 2048);
    assert_eq!(stats["diskio"]["io_service_bytes"][0]["stats"]["Read"], 512);

    let (_, text) = written(Shape::Cadvisor, form(Dialect::Kafka), &ALL);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(value["timestamp"], "2023-11-14T22:13:20.123Z");
    assert_eq!(value["container_Id"], "0123456789abcdef".repeat(4));
    assert_eq!(value["container_labels"]["io.kubernetes.pod.namespace"], "shop");
}

#[test]
fn a_figure_that_is_not_read_every_time_is_told_as_it_was() {
    let form = Form::Objects { lines: true, dialect: Dialect::Microseconds };
    let encoder = Encoder::new(Shape::Cadvisor, form, "m", &[]);
    let mut table = table(&encoder, &[&[CPU[0], CPU[1], POD[4]], &[RSS[0], POD[4]]]);
    let group = table.series(0).group;
    let mut out = Documents::default();
    for points in [&[(0, 1.0), (1, 5.0)][..], &[(0, 2.0)][..]] {
        encoder.encode(&mut out, &Run { time_ms: 1, place: Default::default(), group, points }, &mut table);
    }
    let second: Value = serde_json::from_slice(out.document(1)).expect("JSON");
    assert_eq!(second["container_stats"]["cpu"]["usage"]["total"], 2_000_000_000);
    assert_eq!(second["container_stats"]["memory"]["rss"], 5);
    assert_eq!(table.groups(), 1);
}

#[test]
fn points_of_influxdb_are_lines_that_end_where_they_should() {
    let (out, text) = written(
        Shape::Vedette,
        Form::Lines,
        &[(&[("__name__", "a b,c"), ("path", "C:\\x,y=z\\"), ("time", "t\nu")], 1.5), (RSS, 3.0)],
    );
    assert_eq!(out.documents.len(), 2);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "a\\ b\\,c,machine=m\\ 1,container=app,id=/kubepods/pod1/cri-containerd-\
         0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope,name=k8s_app,namespace=shop,\
         path=C:\\x\\,y\\=z_,pod=web-1,site=here,time_=t\\ u value=1.5 1700000000123"
    );
    assert!(lines[1].ends_with(" value=3 1700000000123"), "{}", lines[1]);
}

#[test]
fn points_of_cadvisor_are_those_of_its_driver() {
    let (_, text) = written(Shape::Cadvisor, Form::Lines, &ALL);
    let tags = "machine=m\\ 1,container_name=k8s_app,io.kubernetes.container.name=app,\
                io.kubernetes.pod.name=web-1,io.kubernetes.pod.namespace=shop";
    let expected = [
        format!("cpu_usage_total,{tags} value=1500000000i 1700000000123"),
        format!("memory_rss,{tags} value=4096i 1700000000123"),
        format!("memory_failure,{tags},failure_type=pgmajfault,scope=hierarchical value=7i 1700000000123"),
        format!("cpu_usage_per_cpu,{tags},instance=1 value=500000000i 1700000000123"),
        format!("rx_bytes,{tags} value=100i 1700000000123"),
        format!("fs_usage,{tags},device=/dev/a\\ b,type=usage value=2048i 1700000000123"),
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn gauges_of_statsd() {
    let form = || Form::Statsd { prefix: "db".into() };
    let (_, text) = written(Shape::Cadvisor, form(), &ALL);
    let expected = [
        "db.k8s_app.cpu_cumulative_usage:1500000000|g",
        "db.k8s_app.memory_rss:4096|g",
        "db.k8s_app.rx_bytes:100|g",
        "db.k8s_app./dev/a_b.fs_usage:2048|g",
        "db.k8s_app.fs_summary.fs_usage:2048|g",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);

    let (out, text) = written(Shape::Vedette, form(), &[(RSS, 1.0), (&[("__name__", "x:|y")], -2.5)]);
    assert_eq!(out.documents.len(), 2);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("db.container_memory_rss:1|g|#machine:m_1,container:app,"), "{}", lines[0]);
    // Without the first one it would be a change by -2.5.
    assert!(lines[1].starts_with("db.x__y:0|g|#") && lines[2].starts_with("db.x__y:-2.5|g|#"), "{lines:?}");
}

#[test]
fn lines_of_standard_output() {
    let (out, text) = written(Shape::Cadvisor, Form::Text, &ALL);
    assert_eq!(out.documents.len(), 1);
    assert!(text.starts_with("cName=k8s_app host=m_1 timestamp=1700000000123000000 "), "{text}");
    for figure in [
        " cpu_usage_total=1500000000 ",
        " cpu_cumulative_usage=1500000000 ",
        " cpu_usage_per_cpu.1=500000000 ",
        " memory_failure.hierarchical.pgmajfault=7 ",
        " rx_bytes=100 ",
        " /dev/a_b.fs_usage=2048 ",
        " fs_summary.fs_usage=2048\n",
    ] {
        assert!(text.contains(figure), "{figure} is not in {text}");
    }
}

#[test]
fn what_cadvisor_has_no_place_for_is_left_out() {
    let form = Form::Objects { lines: false, dialect: Dialect::Kafka };
    let encoder = Encoder::new(Shape::Cadvisor, form, "m", &[]);
    for name in ["container_pressure_io_waiting_seconds_total", "node_load1", ""] {
        assert!(
            encoder.describe(&Labels::from_pairs([("__name__", name), ("id", "/x")])).is_none(),
            "{name}"
        );
    }
}

proptest! {
    /// Whatever labels there are, JSON is JSON, and a line is one line of three parts.
    #[test]
    fn any_text_stays_in_its_place(name in "\\PC{1,8}|[\\\\ ,=\n\"]{1,6}", value in "\\PC{0,8}|[\\\\ ,=\n\"]{1,6}",
        number in proptest::num::f64::NORMAL) {
        let own: &[(&str, &str)] = &[("__name__", "container_x"), (&name, &value)];
        let form = Form::Objects { lines: false, dialect: Dialect::Kafka };
        let (_, text) = written(Shape::Vedette, form, &[(own, number)]);
        let read: Value = serde_json::from_str(&text).expect("JSON");
        if !value.is_empty() && !POD.iter().any(|(n, _)| *n == name) {
            prop_assert_eq!(read["labels"][&name].as_str(), Some(value.as_str()));
        }
        // The reader of the test is a little off in the last digit.
        let told = read["metrics"]["container_x"].as_f64().expect("a number");
        prop_assert!((told / number - 1.0).abs() < 1e-12, "{told} {number}");
        let (_, text) = written(Shape::Vedette, Form::Lines, &[(own, number)]);
        prop_assert_eq!(text.matches('\n').count(), 1);
        // Spaces that are not escaped separate the parts.
        let mut separators = 0;
        let bytes = text.as_bytes();
        for at in 1..bytes.len() {
            separators += usize::from(bytes[at] == b' ' && bytes[at - 1] != b'\\');
        }
        prop_assert_eq!(separators, 2, "{}", text);
    }
}
