use std::collections::BTreeMap;

use proptest::prelude::*;
use vedette_model::{LabelQuery, MetricReader, TimeRange};

use crate::{
    Config,
    intake::{WriteError, Written},
    remote_write::tests::{Rig, START_MS, compress, rig, rig_with},
};

/// A request, written field by field as the specification numbers them.
#[derive(Default, Clone)]
struct Sender {
    symbols: Vec<String>,
    series: Vec<u8>,
}

/// A message of Protocol Buffers.
#[derive(Default, Clone)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, field: u64, value: u64) -> Self {
        push_varint(&mut self.0, field << 3);
        push_varint(&mut self.0, value);
        self
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        push_varint(&mut self.0, field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        push_varint(&mut self.0, field << 3 | 2);
        push_varint(&mut self.0, bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn packed(self, field: u64, numbers: &[u32]) -> Self {
        let mut bytes = Vec::new();
        numbers.iter().for_each(|n| push_varint(&mut bytes, u64::from(*n)));
        self.bytes(field, &bytes)
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn sample(time_ms: i64, value: f64, start_ms: i64) -> Message {
    let sample = Message::default().double(1, value).varint(2, (START_MS + time_ms) as u64);
    if start_ms == 0 { sample } else { sample.varint(3, (START_MS + start_ms) as u64) }
}

/// A histogram with custom buckets: three observations in two of them.
fn custom_histogram(time_ms: i64, start_ms: i64, count: u64) -> Message {
    Message::default()
        .varint(1, count)
        .double(3, 4.5)
        .varint(4, (53 << 1) - 1)
        .bytes(11, &Message::default().varint(2, 2).0)
        .bytes(12, &[2, 2])
        .varint(15, (START_MS + time_ms) as u64)
        .bytes(16, &[1.0_f64, 2.5].map(f64::to_le_bytes).concat())
        .varint(17, (START_MS + start_ms) as u64)
}

impl Sender {
    fn symbol(&mut self, text: &str) -> u32 {
        if self.symbols.is_empty() {
            self.symbols.push(String::new());
        }
        let at = self.symbols.iter().position(|s| s == text).unwrap_or_else(|| {
            self.symbols.push(text.to_owned());
            self.symbols.len() - 1
        });
        at as u32
    }

    fn refs(&mut self, labels: &[(&str, &str)]) -> Vec<u32> {
        labels.iter().flat_map(|(n, v)| [*n, *v]).map(|text| self.symbol(text)).collect()
    }

    /// A series with such labels and such further fields.
    fn series(&mut self, labels: &[(&str, &str)], fields: &[(u64, Message)]) -> &mut Self {
        let refs = self.refs(labels);
        self.series_of(&refs, fields)
    }

    fn series_of(&mut self, refs: &[u32], fields: &[(u64, Message)]) -> &mut Self {
        let whole = fields.iter().fold(Message::default().packed(1, refs), |m, (n, f)| m.bytes(*n, &f.0));
        self.series.extend(Message::default().bytes(5, &whole.0).0);
        self
    }

    fn message(&self) -> Vec<u8> {
        let symbols = self.symbols.iter().fold(Message::default(), |m, s| m.bytes(4, s.as_bytes()));
        [symbols.0, self.series.clone()].concat()
    }

    fn send(&self, rig: &Rig) -> Result<Written, WriteError> {
        rig.ingest.receiver().remote_write_v2(&compress(&self.message()))
    }
}

const A: &[(&str, &str)] = &[("__name__", "a_total"), ("job", "x")];
const B: &[(&str, &str)] = &[("__name__", "b"), ("job", "x")];

#[test]
fn samples_are_stored_with_start_timestamps_and_labels_are_parsed_once() {
    let rig = rig();
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(0, 1.0, -500)), (2, sample(10, 2.0, -500))]);
    sender.series(B, &[(2, sample(0, 7.0, 0))]);
    let written = sender.send(&rig).unwrap();
    assert_eq!(written, Written { samples: 3, ..Written::default() });
    // The same labels by other numbers, after other symbols.
    let mut other = Sender::default();
    other.symbol("first");
    other.series(B, &[(2, sample(20, 8.0, 0))]).series(A, &[(2, sample(20, 3.0, 15))]);
    assert_eq!(other.send(&rig).unwrap().samples, 2);
    assert_eq!(rig.parsed(), 2.0);
    assert_eq!(
        rig.stored(),
        BTreeMap::from([
            (r#"a_total{job="x"}"#.to_owned(), vec![(0, 1.0), (10, 2.0), (20, 3.0)]),
            (r#"b{job="x"}"#.to_owned(), vec![(0, 7.0), (20, 8.0)]),
        ])
    );
    assert_eq!(rig.starts("a_total"), [START_MS - 500, START_MS - 500, START_MS + 15]);
    assert_eq!(rig.starts("b"), [0, 0]);
}

#[test]
fn a_zero_stands_where_counting_began_if_that_is_wished_for() {
    let rig = rig_with(Config { zeros_at_start: true, ..Config::default() });
    let month_ms = 31 * 86_400_000;
    let request = |a: (i64, f64, i64), b: (i64, f64, i64)| {
        let mut sender = Sender::default();
        sender.series(A, &[(2, sample(a.0, a.1, a.2))]).series(B, &[(2, sample(b.0, b.1, b.2))]);
        sender.send(&rig).unwrap()
    };
    let stored = |count| Written { samples: count, ..Written::default() };
    assert_eq!(request((0, 1.0, -500), (0, 7.0, 0)), stored(2));
    assert_eq!(request((10, 2.0, -500), (10, 7.0, 0)), stored(2));
    // It began anew, and one began longer ago than is stored, which is no fault of its samples.
    assert_eq!(request((20, 1.0, 15), (20, 7.0, -month_ms)), stored(2));
    // A start among the samples of a request does not make them late.
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(30, 2.0, 15)), (2, sample(50, 1.0, 40))]);
    assert_eq!(sender.send(&rig).unwrap(), stored(2));
    let all = rig.stored();
    let expected = [(-500, 0.0), (0, 1.0), (10, 2.0), (15, 0.0), (20, 1.0), (30, 2.0), (50, 1.0)];
    assert_eq!(all[r#"a_total{job="x"}"#], expected);
    assert_eq!(all[r#"b{job="x"}"#], [(0, 7.0), (10, 7.0), (20, 7.0)]);
}

#[test]
fn histograms_exemplars_and_metadata_are_stored() {
    let rig = rig();
    let mut sender = Sender::default();
    let trace = sender.refs(&[("trace_id", "abc")]);
    let (help, unit) = (sender.symbol("How long."), sender.symbol("seconds"));
    let exemplar =
        |refs: &[u32]| Message::default().packed(1, refs).double(2, 9.0).varint(3, START_MS as u64);
    let metadata = |kind| Message::default().varint(1, kind).varint(3, help.into()).varint(4, unit.into());
    let name = [("__name__", "wait_seconds")];
    sender.series(&name, &[(3, custom_histogram(0, -10, 3)), (4, exemplar(&trace)), (5, metadata(3))]);
    sender.series(&[("__name__", "wait_seconds_count")], &[(2, sample(0, 3.0, 0)), (5, metadata(3))]);
    sender.series(A, &[(2, sample(0, 1.0, 0)), (5, metadata(1))]);
    let expected = Written { samples: 3, histograms: 1, exemplars: 1, ..Written::default() };
    assert_eq!(sender.send(&rig).unwrap(), expected);
    let histograms = rig.histograms(&name);
    assert_eq!(histograms.len(), 1);
    assert_eq!((histograms[0].1.schema, &histograms[0].1.custom_bounds[..]), (-53, &[1.0, 2.5][..]));
    assert_eq!(rig.starts("wait_seconds"), [START_MS - 10]);
    let all = LabelQuery { matcher_sets: vec![], range: TimeRange::ALL, limit: 0 };
    let exemplars = rig.tsdb.exemplars(&all).unwrap();
    assert_eq!(exemplars[0].1[0].labels.get("trace_id"), Some("abc"));
    let metadata: Vec<_> = rig
        .tsdb
        .metadata(None, 0)
        .into_iter()
        .map(|m| format!("{} {} {} {}", m.family, m.kind.as_str(), m.unit, m.help))
        .collect();
    assert_eq!(metadata, ["a_total counter seconds How long.", "wait_seconds histogram seconds How long."]);
}

#[test]
fn what_is_good_is_stored_and_what_is_not_is_told() {
    let rig = rig();
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(0, 1.0, 0))]);
    sender.send(&rig).unwrap();
    let good = || (2, sample(5, 2.0, 0));
    let bad_exemplar = Message::default().packed(1, &[1, 99]).varint(3, START_MS as u64);
    type Case<'a> = (&'a [(&'a str, &'a str)], Vec<(u64, Message)>, u64, &'a str);
    let cases: [Case<'_>; 8] = [
        (A, vec![(2, sample(0, 9.0, 0))], 1, "1 of 2 samples were not stored: 1 out of order"),
        (&[("job", "x")], vec![good()], 1, "a series has no label __name__"),
        (&[("__name__", "c"), ("x", "1"), ("x", "2")], vec![good()], 1, "has the label \"x\" twice"),
        (&[("__name__", "c")], vec![], 0, "a series has neither a sample nor a histogram"),
        (&[("__name__", "c")], vec![(3, custom_histogram(0, 0, 2))], 1, "fewer observations"),
        (A, vec![good(), (4, bad_exemplar)], 0, "an exemplar names the symbol 99"),
        (&[("__name__", "c\u{0}")], vec![(5, Message::default().varint(3, 77)), good()], 0, "metadata names"),
        (&[("__name__", "d")], vec![(2, sample(1 << 40, 1.0, 0))], 1, "too far in the future"),
    ];
    for (labels, fields, refused, words) in cases {
        let mut sender = Sender::default();
        sender.series(B, &[good()]).series(labels, &fields);
        let written = sender.send(&rig).unwrap();
        let text = written.refused.clone().unwrap_or_default();
        assert!(text.contains(words), "{labels:?}: {text}");
        assert_eq!(written.refused_samples, refused, "{labels:?}: {text}");
        assert!(written.samples >= 1, "{labels:?}: {written:?}");
    }
}

#[test]
fn numbers_of_symbols_that_are_not_there_cost_their_series_only() {
    let rig = rig();
    for (refs, words) in
        [(&[1, 2, 3][..], "3 numbers"), (&[1, 99], "names the symbol 99"), (&[50, 1], "names the symbol 50")]
    {
        let mut sender = Sender::default();
        sender.series(B, &[(2, sample(0, 1.0, 0))]);
        sender.series_of(refs, &[(2, sample(0, 1.0, 0)), (2, sample(1, 1.0, 0))]);
        sender.series(A, &[(2, sample(0, 1.0, 0))]);
        let written = sender.send(&rig).unwrap();
        assert_eq!((written.samples, written.refused_samples), (2, 2), "{written:?}");
        assert!(written.refused.as_ref().unwrap().contains(words), "{written:?}");
    }
    assert_eq!(rig.stored().len(), 2);
}

#[test]
fn symbols_may_stand_behind_the_series_and_need_not_be_text() {
    let rig = rig();
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(0, 1.0, 0))]);
    let symbols = sender.symbols.iter().fold(Message::default(), |m, s| m.bytes(4, s.as_bytes()));
    let message = [sender.series.clone(), symbols.0].concat();
    assert_eq!(rig.ingest.receiver().remote_write_v2(&compress(&message)).unwrap().samples, 1);
    let broken = Message::default().bytes(4, b"__name__").bytes(4, &[0xff]);
    let series = Message::default().packed(1, &[0, 1]).bytes(2, &sample(0, 1.0, 0).0);
    let message = broken.bytes(5, &series.0).0;
    let written = rig.ingest.receiver().remote_write_v2(&compress(&message)).unwrap();
    assert!(written.refused.unwrap().contains("not valid UTF-8"));
}

#[test]
fn exemplars_out_of_order_are_told() {
    let rig = rig();
    let exemplar =
        |time_ms: i64| (4, Message::default().double(2, 1.0).varint(3, (START_MS + time_ms) as u64));
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(0, 1.0, 0)), exemplar(10)]);
    assert_eq!(sender.send(&rig).unwrap().exemplars, 1);
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(5, 1.0, 0)), exemplar(5)]);
    let written = sender.send(&rig).unwrap();
    assert_eq!((written.samples, written.exemplars), (1, 0));
    assert!(written.refused.unwrap().contains("1 exemplars out of order"));
}

#[test]
fn a_message_of_the_other_version_stores_nothing() {
    let rig = rig_with(Config::default());
    let mut sender = Sender::default();
    sender.series(A, &[(2, sample(0, 1.0, 0))]);
    let mut message = sender.message();
    message.extend(Message::default().bytes(1, b"").0);
    let error = rig.ingest.receiver().remote_write_v2(&compress(&message)).unwrap_err();
    assert!(matches!(&error, WriteError::Malformed(text) if text.contains("remote write 1.0")), "{error}");
    assert!(rig.stored().is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Both protocols store the same.
    #[test]
    fn the_store_holds_what_a_map_holds(
        requests in prop::collection::vec(
            prop::collection::vec((0..10_u8, 0..4_u8, -1000..1000_i64), 1..20), 1..6),
    ) {
        let rig = rig();
        let mut model: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
        for (i, request) in requests.iter().enumerate() {
            let mut sender = Sender::default();
            for (n, (series, extra, value)) in request.iter().enumerate() {
                let time = (i * 100 + n) as i64;
                let (series, extra) = (series.to_string(), "x".repeat(usize::from(*extra)));
                let labels = [("__name__", "m"), ("extra", extra.as_str()), ("series", series.as_str())];
                sender.series(&labels, &[(2, sample(time, *value as f64, 0))]);
                let labels = vedette_model::Labels::from_pairs(labels).to_string();
                model.entry(labels).or_default().insert(time, *value as f64);
            }
            sender.send(&rig).unwrap();
        }
        let model: BTreeMap<_, Vec<_>> = model.into_iter().map(|(l, s)| (l, s.into_iter().collect())).collect();
        prop_assert_eq!(rig.stored(), model);
    }

    #[test]
    fn garbage_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let rig = rig();
        let mut sender = Sender::default();
        sender.series(A, &[(2, sample(0, 1.0, 5)), (3, custom_histogram(0, 0, 3))]).series(B, &[]);
        let mut message = sender.message();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        message.truncate(cut.index(message.len() + 1));
        let _ = rig.ingest.receiver().remote_write_v2(&compress(&message));
    }
}
