//! The targets of scraping: expositions, the files that say what is scraped, and relabelling.

use std::path::Path;

use vedette_collector::discovery::dns::message;
use vedette_config::{
    discovery::DnsRecord,
    prometheus::{self, Mode, Surroundings},
    targets as lists, web,
};
use vedette_model::{
    Labels, MetricKind, NameScheme, RelabelConfig, RelabelRule, relabel as run_rules, relabel_steps,
};
use vedette_sys::SimFs;
use vedette_wire::exposition::{Dialect, Entry, Format, ProtobufEntry, ProtobufParser, TextParser, Writer};

pub fn text(bytes: &[u8]) {
    exposition(bytes, Dialect::Text);
}

pub fn openmetrics(bytes: &[u8]) {
    exposition(bytes, Dialect::OpenMetrics);
}

/// Told what comes next or not, or told something else: the samples are the same.
fn exposition(bytes: &[u8], dialect: Dialect) {
    let mut plain = TextParser::new(bytes, dialect);
    let mut told = plain.clone();
    let mut wrong = plain.clone();
    let mut before: &[u8] = b"";
    loop {
        let entry = plain.next();
        let series = match &entry {
            Some(Ok(Entry::Sample(sample))) => sample.series.bytes(),
            _ => b"",
        };
        // Only what is a whole series may be told.
        let is_sound = match &entry {
            Some(Ok(Entry::Sample(sample))) => sample.series.labels().is_ok(),
            _ => false,
        };
        let told = told.next_expecting(if is_sound { series } else { b"" });
        assert_eq!(format!("{entry:?}"), format!("{told:?}"));
        assert_eq!(format!("{entry:?}"), format!("{:?}", wrong.next_expecting(before)));
        match entry {
            None => break,
            Some(Err(error)) => assert!(error.at <= bytes.len() && error.line > 0, "{error:?}"),
            Some(Ok(Entry::Sample(sample))) => {
                let _ = (plain.start_ms(&sample), sample.exemplar.map(|e| e.labels()));
                if is_sound {
                    before = series;
                }
            }
            Some(Ok(_)) => {}
        }
    }
}

fn written(format: Format) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(format);
    writer.family("a_total", MetricKind::Counter, "", "help \\ \"x\"\nmore");
    writer.sample("a_total", [("le", "1"), ("b", "c\"\\\n")], 1.5, Some(1234));
    writer.family("h.é", MetricKind::Histogram, "é", "");
    writer.sample("h.é", [("x y", "z")], f64::NAN, None);
    writer.sample("h_bucket", [("le", "1e6")], 1e300, None);
    vec![writer.finish()]
}

pub fn text_seeds() -> Vec<Vec<u8>> {
    written(Format::Text)
}

pub fn openmetrics_seeds() -> Vec<Vec<u8>> {
    let mut all = written(Format::OpenMetrics);
    all.push(
        b"# TYPE a counter\n# UNIT a_s s\na_total{b=\"c\"} 1 2.5 # {d=\"e\"} 0.5 1.5\na_created{b=\"c\"} 1\n# EOF\n"
            .to_vec(),
    );
    all
}

pub fn protobuf(bytes: &[u8]) {
    let mut name = "";
    let mut points = 0;
    for entry in ProtobufParser::new(bytes) {
        match entry {
            Err(error) => assert!(error.at <= bytes.len(), "{error}"),
            Ok(ProtobufEntry::Family(family)) => name = family.name,
            Ok(ProtobufEntry::Metric(metric)) => {
                points += metric.points().count() + metric.native_exemplars().count();
                if let Some(Ok(point)) = metric.points().last() {
                    let _ = metric.pairs(name, point.part);
                }
                let _ = (metric.is_native(), metric.start_ms());
                if let Ok(Ok(histogram)) = metric.native() {
                    let _ = histogram.validate();
                }
                assert!(points <= 5 * bytes.len());
            }
        }
    }
}

pub fn protobuf_seeds() -> Vec<Vec<u8>> {
    // A histogram with a bucket, an exemplar and a native form, field by field.
    let message =
        b"\x38\x0a\x01h\x18\x04\x22\x31\x0a\x06\x0a\x01a\x12\x01b\x3a\x27\x08\x02\x11\0\0\0\0\0\0\x08\x40\
        \x1a\x0b\x08\x02\x11\0\0\0\0\0\0\xf0\x3f\x28\x06\x62\x04\x08\x02\x10\x01\x6a\x01\x02\x7a\x02\x08\x05";
    vec![message.to_vec()]
}

/// Answers of targets, behind the size of the pieces in which they arrive.
pub fn answer_seeds() -> Vec<Vec<u8>> {
    [
        "\x07HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\na 1\n",
        "\x03HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x, close\r\n\r\n\
         4;a=b\r\na 1\n\r\n00F\r\n0123456789abcde\r\n0\r\nTrailer: x\r\n\r\n",
        "\x40HTTP/1.0 404 Not Found\nContent-Length: 0\n\n",
        "\x014\r\na 1\n\r\n0\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

const RECORDS: [DnsRecord; 5] = [DnsRecord::A, DnsRecord::Aaaa, DnsRecord::Srv, DnsRecord::Mx, DnsRecord::Ns];

/// The answer of a name server, behind the kind of record that was asked for; its number is put right.
pub fn dns_reply(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let record = RECORDS[usize::from(*kind) % RECORDS.len()];
    let question = message::question(7, "a.example", record).expect("a name");
    let mut answer = rest.to_vec();
    if let Some(number) = answer.get_mut(..2) {
        number.copy_from_slice(&question[..2]);
    }
    if let Some(message::Reply::Known(answers)) = message::reply(&answer, &question, record) {
        assert!(answers.len() <= answer.len());
    }
}

pub fn dns_reply_seeds() -> Vec<Vec<u8>> {
    let datas: [&[u8]; 5] = [
        &[10, 0, 0, 1],
        &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        b"\0\x01\0\x02\x1f\x90\x01n\xc0\x0e",
        b"\0\x0a\xc0\x0c",
        b"\x02n.\x01\xff\0",
    ];
    let seed = |(kind, record): (usize, &DnsRecord)| {
        let question = message::question(7, "a.example", *record).expect("a name");
        // The question again without its record of options, and one answer.
        let mut seed = vec![kind as u8, 0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        seed.extend_from_slice(&question[12..question.len() - 11]);
        seed.extend_from_slice(&[0xc0, 12]);
        seed.extend_from_slice(&message::record_type(*record).to_be_bytes());
        seed.extend_from_slice(&[0, 1, 0, 0, 0, 60, 0, datas[kind].len() as u8]);
        seed.extend_from_slice(datas[kind]);
        seed
    };
    RECORDS.iter().enumerate().map(seed).collect()
}

/// What loads is shown as something that loads as well.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let fs = SimFs::new(1);
    let surroundings = Surroundings { fs: &fs, env: &|_| None };
    let path = Path::new("/etc/file.yml");
    for mode in [Mode::Server, Mode::Agent] {
        match prometheus::parse(path, text, mode, surroundings) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(config) => {
                let shown = config.to_yaml();
                if !shown.contains(['$', '@']) {
                    prometheus::parse(path, &shown, mode, surroundings)
                        .unwrap_or_else(|error| panic!("{error}: {shown}\nof {text:?}"));
                }
            }
        }
    }
    let _ = web::parse(path, text).map(|config| config.to_yaml());
}

pub fn config_seeds() -> Vec<Vec<u8>> {
    [
        "global: {scrape_interval: 15s, external_labels: {a: $b}}\nrule_files: ['*.yml']\n",
        "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['a:1'], labels: {b: c}}]\n  \
         relabel_configs: [{source_labels: [a], regex: (.*), target_label: b, action: lowercase}]\n  \
         kubernetes_sd_configs: [{role: pod, selectors: [{role: pod, label: 'a in (b)'}]}]\n",
        "remote_write: [{url: 'http://h', basic_auth: {username: a, password: b}}]\notlp: {}\n",
        "tls_server_config: &a {cert_file: a, key_file: b}\nhttp_server_config: {<<: *a, http2: false}\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub fn targets(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for name in ["t.yml", "t.json"] {
        for group in lists::parse(name, text).iter().flatten() {
            assert_eq!(group.discovered().count(), group.targets.len());
        }
    }
}

pub fn target_seeds() -> Vec<Vec<u8>> {
    vec![
        br#"[{"targets": ["a:1"], "labels": {"b": "c"}}]"#.to_vec(),
        b"- targets: [a]\n  labels: {b: c}\n".to_vec(),
    ]
}

/// A rule in five lines: pattern, replacement, target, source, and the number of its action.
pub fn relabel(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines: Vec<&str> = text.splitn(5, '\n').collect();
    let [regex, replacement, target, source, action] = lines.as_slice() else { return };
    let all = vedette_model::RelabelAction::ALL;
    let config = RelabelConfig {
        source_labels: vec!["a".into(), (*source).to_owned()],
        regex: Some((*regex).to_owned()),
        modulus: action.len() as u64,
        target_label: (*target).to_owned(),
        replacement: Some((*replacement).to_owned()),
        action: all[action.bytes().next().map_or(0, usize::from) % all.len()],
        separator: None,
    };
    for scheme in [NameScheme::Utf8, NameScheme::Legacy] {
        let Ok(rule) = RelabelRule::new(config.clone(), scheme) else { continue };
        let labels = Labels::from_pairs([("a", *source), ("b", *target), (*source, "x")]);
        let mut builder = labels.to_builder();
        let rules = [rule];
        let kept = run_rules(&rules, &mut builder);
        let steps = relabel_steps(&rules, &labels);
        assert_eq!((kept, builder.build()), (steps[0].kept, steps[0].labels.clone()));
    }
}

pub fn relabel_seeds() -> Vec<Vec<u8>> {
    vec![b"(.*)b\n${1}_$$\nt$1\na\n\0".to_vec(), b"a|(?P<n>b)\n$n\nt\nb\n\x05\x06".to_vec()]
}
