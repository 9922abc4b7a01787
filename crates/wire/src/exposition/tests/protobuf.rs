//! Messages made field by field.

use proptest::prelude::*;
use vedette_model::{HistogramCounts, Labels, MetricKind, ResetHint};

use crate::exposition::{Part, ProtobufEntry, ProtobufParser};

/// A message under construction.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, number: u64, mut value: u64) -> Self {
        push_varint(&mut self.0, number << 3);
        push_varint(&mut self.0, std::mem::take(&mut value));
        self
    }

    fn zigzag(self, number: u64, value: i64) -> Self {
        self.varint(number, crate::remote_write::fields::zigzag(value))
    }

    fn double(mut self, number: u64, value: f64) -> Self {
        push_varint(&mut self.0, number << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, number: u64, bytes: impl AsRef<[u8]>) -> Self {
        push_varint(&mut self.0, number << 3 | 2);
        push_varint(&mut self.0, bytes.as_ref().len() as u64);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn message(self, number: u64, message: Self) -> Self {
        self.bytes(number, message.0)
    }

    fn label(self, name: &str, value: &str) -> Self {
        self.message(1, Self::default().bytes(1, name).bytes(2, value))
    }

    fn time(self, number: u64, seconds: u64, nanos: u64) -> Self {
        self.message(number, Self::default().varint(1, seconds).varint(2, nanos))
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn new() -> Message {
    Message::default()
}

fn family(name: &str, kind: u64) -> Message {
    new().bytes(1, name).bytes(2, "help").varint(3, kind)
}

fn body(families: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    for family in families {
        push_varint(&mut out, family.0.len() as u64);
        out.extend_from_slice(&family.0);
    }
    out
}

fn exemplar(id: &str, value: f64) -> Message {
    new().label("id", id).double(2, value)
}

/// All classic samples as text.
fn read(body: &[u8]) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    let mut name = "";
    for entry in ProtobufParser::new(body) {
        match entry.map_err(|e| e.to_string())? {
            ProtobufEntry::Family(family) => {
                name = family.name;
                lines.push(format!("{} {} {}", family.name, family.kind.as_str(), family.unit));
            }
            ProtobufEntry::Metric(metric) => {
                for point in metric.points() {
                    let point = point.map_err(|e| e.to_string())?;
                    let pairs = metric.pairs(name, point.part).map_err(|e| e.to_string())?;
                    let mut line = format!("{} {}", Labels::from_pairs(pairs), point.value);
                    if let Some(time_ms) = metric.time_ms {
                        line.push_str(&format!(" @{time_ms}"));
                    }
                    if let Some(start) = metric.start_ms().map_err(|e| e.to_string())? {
                        line.push_str(&format!(" since {start}"));
                    }
                    if let Some(exemplar) = point.exemplar {
                        let labels: Vec<_> = exemplar.labels().filter_map(Result::ok).collect();
                        line.push_str(&format!(" # {labels:?} {} {:?}", exemplar.value, exemplar.time_ms));
                    }
                    lines.push(line);
                }
            }
        }
    }
    Ok(lines)
}

#[test]
fn all_kinds_are_read() {
    let counter = new()
        .label("a", "b")
        .message(3, new().double(1, 5.0).message(2, exemplar("7", 1.0).time(3, 2, 5_000_000)).time(3, 9, 0));
    let summary = new()
        .message(4, new().varint(1, 3).double(2, 6.0).message(3, new().double(1, 0.5).double(2, 2.0)))
        .varint(6, 1234);
    let histogram = new().message(
        7,
        new()
            .varint(1, 4)
            .double(2, 8.0)
            .message(3, new().varint(1, 1).double(2, 1.0).message(3, exemplar("8", 0.5)))
            .message(3, new().double(4, 2.5).double(2, 2.0)),
    );
    let body = body(&[
        family("c", 0).bytes(5, "s").message(4, counter),
        family("g", 1).message(4, new().message(2, new().double(1, -1.0))).message(4, new().label("x", "y")),
        family("s", 2).message(4, summary),
        family("u", 3).message(4, new().message(5, new().double(1, 2.0))),
        family("h", 4).message(4, histogram),
        // Metrics before the name, and a family without any.
        new().message(4, new().message(2, new().double(1, 3.0))).varint(3, 1).bytes(1, "late"),
        family("empty", 1),
    ]);
    assert_eq!(
        read(&body).expect("sound"),
        [
            "c counter s",
            "c{a=\"b\"} 5 since 9000 # [(\"id\", \"7\")] 1 Some(2005)",
            "g gauge ",
            "g -1",
            "g{x=\"y\"} 0",
            "s summary ",
            "s_count 3 @1234",
            "s_sum 6 @1234",
            "s{quantile=\"0.5\"} 2 @1234",
            "u unknown ",
            "u 2",
            "h histogram ",
            "h_count 4",
            "h_sum 8",
            "h_bucket{le=\"1.0\"} 1 # [(\"id\", \"8\")] 0.5 None",
            "h_bucket{le=\"2.0\"} 2.5",
            "h_bucket{le=\"+Inf\"} 4",
            "late gauge ",
            "late 3",
            "empty gauge ",
        ]
    );
}

#[test]
fn native_histograms_are_built() {
    let span = |offset, length| new().zigzag(1, offset).varint(2, length);
    let packed: Vec<u8> = [2, 1, -1].iter().flat_map(|n: &i64| vec![((n << 1) ^ (n >> 63)) as u8]).collect();
    let native = new()
        .varint(1, 7)
        .double(2, 3.5)
        .zigzag(5, 3)
        .double(6, 0.001)
        .varint(7, 0)
        .message(12, span(-2, 3))
        .bytes(13, packed)
        .message(16, exemplar("1", 0.1))
        .message(16, exemplar("2", 0.2).time(3, 1, 0))
        .time(15, 5, 0);
    let body = body(&[family("h", 5).message(4, new().message(7, native))]);
    let metric = ProtobufParser::new(&body)
        .filter_map(|e| match e.expect("sound") {
            ProtobufEntry::Metric(metric) => Some(metric),
            ProtobufEntry::Family(family) => {
                assert_eq!(family.kind, MetricKind::GaugeHistogram);
                None
            }
        })
        .next()
        .expect("a metric");
    assert!(metric.is_native().expect("sound"));
    let histogram = metric.native().expect("sound").expect("sound");
    histogram.validate().expect("sound");
    assert_eq!((histogram.schema, histogram.sum, histogram.reset_hint), (3, 3.5, ResetHint::Gauge));
    let HistogramCounts::Integer { count, positive, .. } = histogram.counts else { panic!("floats") };
    assert_eq!((count, positive), (7, vec![2, 3, 2]));
    let times: Vec<_> = metric.native_exemplars().map(|e| e.expect("sound").time_ms).collect();
    assert_eq!(times, [Some(1000)]);
    assert_eq!(metric.start_ms().expect("sound"), Some(5000));
    assert_eq!(metric.points().next().expect("a part").expect("sound").part, Part::Count);
}

#[test]
fn what_is_broken_is_named() {
    let whole = body(&[family("a", 1).message(4, new().label("a", "b").message(2, new().double(1, 1.0)))]);
    assert_eq!(read(&whole).expect("sound").len(), 2);
    for cut in 1..whole.len() {
        read(&whole[..cut]).expect_err("cut off");
    }
    for (broken, word) in [
        (family("", 1), "no name"),
        (family("a", 9), "type"),
        (new().bytes(1, [0xff]).varint(3, 1), "UTF-8"),
        (new().varint(1, 1), "wrong kind"),
        (family("a", 1).message(4, new().message(2, new().varint(1, 1))), "wrong kind"),
    ] {
        let error = read(&body(&[broken])).expect_err(word);
        assert!(error.contains(word), "{error}");
    }
}

proptest! {
    #[test]
    fn garbage_is_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in 0..6u64) {
        let _ = read(&bytes);
        let body = body(&[family("a", kind).bytes(4, &bytes), family("a", kind).message(4, new().bytes(7, &bytes))]);
        let _ = read(&body);
        for entry in ProtobufParser::new(&body).flatten() {
            if let ProtobufEntry::Metric(metric) = entry {
                let _ = (metric.is_native(), metric.native().map(|h| h.map(|h| h.validate())), metric.start_ms());
                prop_assert!(metric.native_exemplars().count() <= body.len());
                prop_assert!(metric.points().count() <= body.len() + 3);
            }
        }
    }
}
