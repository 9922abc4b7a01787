//! The targets: for each decoder of foreign bytes what must hold whatever the bytes are.
//!
//! None may panic, run without end or take memory out of proportion; some promise more, which
//! is asserted here.

use std::{path::Path, sync::Arc};

use vedette_gotemplate::{Limits, NoFunctions, Template, Value};
use vedette_sys::{Flush, Fs as _, LogConfig, RecordLog, SimFs};

use crate::{cluster, kubernetes, receive, scrape, store};

/// One target.
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Folders of this project whose files are good beginnings.
    pub seeds: &'static [&'static str],
    /// Good beginnings that are made, not kept.
    pub made: fn() -> Vec<Vec<u8>>,
    /// Tries one input.
    pub run: fn(&[u8]),
}

/// Where files are enough.
fn none() -> Vec<Vec<u8>> {
    Vec::new()
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "promql", seeds: &["content/rules", "tests/conformance/promql"], made: none, run: promql },
    Target { name: "regexp", seeds: &[], made: regexp_seeds, run: regexp },
    Target { name: "selector", seeds: &[], made: none, run: selector },
    Target { name: "rule-file", seeds: &["content/rules"], made: none, run: rule_file },
    Target { name: "detection", seeds: &["content/detections"], made: none, run: detection },
    Target { name: "template", seeds: &["content/rules"], made: none, run: template },
    Target { name: "kernel-record", seeds: &[], made: none, run: kernel_record },
    Target { name: "record-log", seeds: &[], made: none, run: record_log },
    Target { name: "wal", seeds: &[], made: store::wal_seeds, run: store::wal },
    Target { name: "segment", seeds: &[], made: vedette_tsdb::fuzzing::segments, run: store::segment },
    Target { name: "chunk", seeds: &[], made: store::chunk_seeds, run: store::chunk },
    Target { name: "prometheus-block", seeds: &[], made: store::block_seeds, run: store::block },
    Target { name: "exposition-text", seeds: &[], made: scrape::text_seeds, run: scrape::text },
    Target { name: "openmetrics", seeds: &[], made: scrape::openmetrics_seeds, run: scrape::openmetrics },
    Target { name: "exposition-protobuf", seeds: &[], made: scrape::protobuf_seeds, run: scrape::protobuf },
    Target {
        name: "scrape-answer",
        seeds: &[],
        made: scrape::answer_seeds,
        run: vedette_collector::scrape::fuzzing::answer,
    },
    Target { name: "dns-reply", seeds: &[], made: scrape::dns_reply_seeds, run: scrape::dns_reply },
    Target { name: "prometheus-config", seeds: &[], made: scrape::config_seeds, run: scrape::config },
    Target { name: "target-list", seeds: &[], made: scrape::target_seeds, run: scrape::targets },
    Target { name: "relabel", seeds: &[], made: scrape::relabel_seeds, run: scrape::relabel },
    Target { name: "remote-write", seeds: &[], made: store::remote_write_seeds, run: store::remote_write },
    Target {
        name: "remote-write-v2",
        seeds: &[],
        made: receive::remote_write_v2_seeds,
        run: receive::remote_write_v2,
    },
    Target { name: "remote-read", seeds: &[], made: receive::remote_read_seeds, run: receive::remote_read },
    Target {
        name: "remote-read-answer",
        seeds: &[],
        made: receive::remote_read_answer_seeds,
        run: receive::remote_read_answer,
    },
    Target {
        name: "spool-record",
        seeds: &[],
        made: vedette_remote::fuzzing::spool_records,
        run: vedette_remote::fuzzing::spool_record,
    },
    Target {
        name: "redis-answer",
        seeds: &[],
        made: vedette_remote::fuzzing::redis_answers,
        run: vedette_remote::fuzzing::redis_answer,
    },
    Target {
        name: "bulk-answer",
        seeds: &[],
        made: vedette_remote::fuzzing::bulk_answers,
        run: vedette_remote::fuzzing::bulk_answer,
    },
    Target {
        name: "otlp-protobuf",
        seeds: &[],
        made: receive::otlp_protobuf_seeds,
        run: receive::otlp_protobuf,
    },
    Target { name: "otlp-json", seeds: &[], made: receive::otlp_json_seeds, run: receive::otlp_json },
    Target { name: "influx-lines", seeds: &[], made: receive::influx_seeds, run: receive::influx_lines },
    Target { name: "graphite", seeds: &[], made: receive::graphite_seeds, run: receive::graphite_line },
    Target {
        name: "certificate",
        seeds: &[],
        made: vedette_http_client::fuzzing::certificates,
        run: vedette_http_client::fuzzing::certificate,
    },
    Target {
        name: "kube-list",
        seeds: &[],
        made: vedette_k8s::fuzzing::lists,
        run: vedette_k8s::fuzzing::list,
    },
    Target {
        name: "kube-watch",
        seeds: &[],
        made: vedette_k8s::fuzzing::watches,
        run: vedette_k8s::fuzzing::events,
    },
    Target {
        name: "pod-record",
        seeds: &[],
        made: vedette_k8s::fuzzing::pod_records,
        run: vedette_k8s::fuzzing::pod_record,
    },
    Target { name: "kube-object", seeds: &[], made: cluster::objects, run: cluster::object },
    Target {
        name: "capacity-dump",
        seeds: &[],
        made: vedette_capacity::fuzzing::snapshots,
        run: vedette_capacity::fuzzing::snapshot,
    },
    Target {
        name: "custom-resource",
        seeds: &[],
        made: kubernetes::custom_resource_seeds,
        run: kubernetes::custom_resource,
    },
    Target {
        name: "custom-resource-config",
        seeds: &[],
        made: kubernetes::custom_config_seeds,
        run: kubernetes::custom_config,
    },
    Target { name: "audit-records", seeds: &[], made: kubernetes::audit_seeds, run: kubernetes::audit },
];

/// What parses is written for people in a form that parses to the same text again.
fn promql(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match vedette_promql::parse(text) {
        Ok(expression) => {
            let pretty = vedette_promql::pretty(&expression);
            let again = vedette_promql::parse(&pretty)
                .unwrap_or_else(|error| panic!("{pretty:?} of {text:?} does not parse: {error}"));
            assert_eq!(vedette_promql::pretty(&again), pretty, "of {text:?}");
            let line = expression.to_string();
            assert_eq!(again.to_string(), line, "of {text:?}");
            let again = vedette_promql::parse(&line)
                .unwrap_or_else(|error| panic!("{line:?} of {text:?} does not parse: {error}"));
            assert_eq!(again.to_string(), line, "of {text:?}");
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}

fn regexp_seeds() -> Vec<Vec<u8>> {
    ["a.*|b.+c?\n", "(?i)[^k-s]{2,3}\nK", r"\Qa\E\b[[:alpha:]\pL]", "(?P<n>a)(b|)\nab\n$n ${1}"]
        .map(|seed| seed.as_bytes().to_vec())
        .into()
}

/// The first line is an expression, the second a text, the third a template. What is known of an
/// expression holds for whatever it matches.
fn regexp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let (expression, text) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
    if let Ok(regexp) = vedette_model::Regexp::new(expression) {
        let matches = regexp.matches(text);
        assert!(!matches || text.starts_with(regexp.prefix()));
        assert_eq!(regexp.matches(""), regexp.matches_empty());
        if let Some(values) = regexp.values() {
            assert_eq!(values.iter().any(|v| v == text), matches);
        }
    }
    if let Ok(regexp) = vedette_model::GroupRegexp::new(expression) {
        let _ = regexp.expand(text, lines.next().unwrap_or("$1$n"));
    }
}

fn selector(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = vedette_promql::parse_selector(text);
}

/// What loads has no error to tell; what does not tells at least one.
fn rule_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(problems) = vedette_alerting::load("rules.yml", text) {
        assert!(!problems.is_empty());
    }
}

fn detection(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = vedette_detection::Detections::load([("detection.md", text)]);
}

fn template(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut set = Template::new();
    if set.add("fuzz", text, &NoFunctions).is_ok() {
        let limits = Limits { output_bytes_max: 1 << 16, steps_max: 10_000, depth_max: 50 };
        if let Ok(out) = set.execute("fuzz", &Value::Str("x".into()), &NoFunctions, &limits) {
            assert!(out.len() <= limits.output_bytes_max);
        }
    }
}

fn kernel_record(bytes: &[u8]) {
    let _ = vedette_ebpf::decode(bytes);
}

/// Whatever became of a segment's bytes, the log opens, takes records, and gives those back.
fn record_log(bytes: &[u8]) {
    let fs = Arc::new(SimFs::new(1));
    let folder = Path::new("log");
    let config = LogConfig { segment_bytes_max: 1 << 20, record_bytes_max: 1 << 16, flush: Flush::Always };
    let open = |each: &mut dyn FnMut(&[u8])| {
        RecordLog::open(Arc::clone(&fs) as _, folder, config, &mut |_, record| each(record))
            .map(|(log, _)| log)
    };
    let mut log = open(&mut |_| {}).expect("an empty log opens");
    for record in [&b"first"[..], &[7; 300], b"", b"third"] {
        log.append(record).expect("an open log takes a record");
    }
    drop(log);
    for name in fs.list(folder).expect("the folder is there") {
        let mut content = fs.read(&name).expect("the segment is there");
        // Three bytes are a change: where, and to what.
        for change in bytes.chunks_exact(3) {
            let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % content.len();
            content[place] = change[2];
        }
        fs.put(&name, content);
    }
    let Ok(mut log) = open(&mut |_| {}) else { return };
    log.append(b"last").expect("an open log takes a record");
    drop(log);
    let mut last = Vec::new();
    open(&mut |record| last = record.to_vec()).expect("what opened once opens again");
    assert_eq!(last, b"last");
}
