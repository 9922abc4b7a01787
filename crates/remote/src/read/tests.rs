use parking_lot::Mutex;
use proptest::prelude::*;
use vedette_wire::remote_write::Encoder;

use super::*;

/// A store that has what it is given.
struct Store(BTreeMap<Labels, SampleBuffer>);

struct StoreSet(Vec<(Labels, SampleBuffer)>);

impl SeriesSet for StoreSet {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, series: usize) -> Labels {
        self.0[series].0.clone()
    }

    fn summaries(&self, _: usize, _: TimeRange, _: &mut Vec<ChunkSummary>) {}

    fn read(&self, series: usize, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        merge(&self.0[series].1, &SampleBuffer::default(), range, out);
        Ok(())
    }
}

impl MetricReader for Store {
    fn select(&self, select: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        let fits = |l: &Labels| select.matchers.iter().all(|m| m.matches(l.get(&m.name).unwrap_or("")));
        let found = self.0.iter().filter(|(l, _)| fits(l)).map(|(l, s)| (l.clone(), s.clone()));
        Ok(Box::new(StoreSet(found.collect())))
    }

    fn label_names(&self, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn series(&self, _: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        Ok(self.0.keys().cloned().collect())
    }

    fn metadata(&self, _: Option<&str>, _: usize) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

/// A source that answers with samples, and keeps the questions.
struct FarStore {
    answer: Result<Vec<u8>, String>,
    asked: Mutex<Vec<Vec<u8>>>,
}

impl Fetch for FarStore {
    fn fetch(&self, body: Vec<u8>) -> Result<Answered, String> {
        self.asked.lock().push(snap::raw::Decoder::new().decompress_vec(&body).unwrap());
        let body =
            snap::raw::Encoder::new().compress_vec(self.answer.as_ref().map_err(Clone::clone)?).unwrap();
        Ok(Answered { content_type: "application/x-protobuf".into(), body })
    }
}

/// An answer of samples by the definition of the message: one result of the series.
fn answer(series: &[(Labels, Vec<(i64, f64)>)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    for (labels, points) in series {
        encoder.begin_series(labels.iter());
        for (time_ms, value) in points {
            encoder.sample(*time_ms, *value);
        }
        encoder.end_series();
    }
    let mut message = vec![0x0a];
    let mut length = encoder.len();
    while length >= 0x80 {
        message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap());
    message.extend_from_slice(encoder.message());
    message
}

fn source(
    config: impl FnOnce(&mut ReadSource),
    answer: Result<Vec<u8>, String>,
) -> (ReadSource, Arc<FarStore>) {
    let elsewhere = Arc::new(FarStore { answer, asked: Mutex::default() });
    let mut source = ReadSource {
        name: "far".into(),
        required: Vec::new(),
        read_recent: true,
        external: Labels::empty(),
        frame_bytes_max: 1 << 20,
        fetch: elsewhere.clone(),
        asked: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    };
    config(&mut source);
    (source, elsewhere)
}

fn reader(local: BTreeMap<Labels, SampleBuffer>, start_ms: i64, source: ReadSource) -> MergedReader {
    let decode: DecodeChunk = |_, _, _| false;
    let start = Arc::new(move || start_ms);
    let reader = MergedReader::new(Arc::new(Store(local)), start, decode, StatusBoard::default());
    reader.set_sources(vec![source]);
    reader
}

fn up(n: &str) -> Labels {
    Labels::from_pairs([("__name__", "up"), ("n", n)])
}

fn select(range: TimeRange) -> Select {
    let hints = vedette_model::Hints::default();
    Select { matchers: vec![Matcher::equal("__name__", "up")], range, hints, series_max: 0 }
}

fn samples(points: &[(i64, f64)]) -> SampleBuffer {
    let mut buffer = SampleBuffer::default();
    for (time_ms, value) in points {
        buffer.push(*time_ms, *value);
    }
    buffer
}

fn all(reader: &dyn MetricReader, range: TimeRange) -> Vec<(Labels, SampleBuffer)> {
    let set = reader.select(&select(range)).unwrap();
    let read = |i| {
        let mut out = SampleBuffer::default();
        set.read(i, range, &mut out).unwrap();
        (set.labels(i), out)
    };
    (0..set.len()).map(read).collect()
}

fn points() -> impl Strategy<Value = BTreeMap<(u8, i64), i32>> {
    prop::collection::btree_map((0_u8..6, 0_i64..40), any::<i32>(), 0..60)
}

proptest! {
    /// Against a map of all points, where those of the own store come last.
    #[test]
    fn both_are_read_as_one(own in points(), far in points(), start in 0_i64..40, end in 0_i64..40) {
        let by_series = |points: &BTreeMap<(u8, i64), i32>| {
            let mut series: BTreeMap<Labels, Vec<(i64, f64)>> = BTreeMap::new();
            for ((n, time), value) in points {
                series.entry(up(&n.to_string())).or_default().push((*time, f64::from(*value)));
            }
            series
        };
        let local = by_series(&own).into_iter().map(|(l, p)| (l, samples(&p))).collect();
        let far_series: Vec<_> = by_series(&far).into_iter().collect();
        let (source, _) = source(|_| (), Ok(answer(&far_series)));
        let range = TimeRange { start_ms: start, end_ms: end.max(start) };
        let mut expected = far;
        expected.extend(own);
        expected.retain(|(_, time), _| range.contains(*time));
        let expected = by_series(&expected);
        let mut found = all(&reader(local, 0, source), range);
        prop_assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        found.retain(|(_, samples)| !samples.is_empty());
        let expected: Vec<_> = expected.into_iter().map(|(l, p)| (l, samples(&p))).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn garbage_is_told_of_and_the_own_store_answers(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let (source, _) = source(|_| (), Ok(bytes));
        let local = BTreeMap::from([(up("a"), samples(&[(1, 1.0)]))]);
        let found = all(&reader(local, 0, source), TimeRange::ALL);
        prop_assert!(found.iter().any(|(labels, _)| *labels == up("a")));
    }
}

#[test]
fn samples_in_disorder_are_put_in_order() {
    let (source, _) = source(|_| (), Ok(answer(&[(up("a"), vec![(5, 5.0), (3, 3.0), (5, 6.0), (4, 4.0)])])));
    let found = all(&reader(BTreeMap::new(), 0, source), TimeRange::ALL);
    assert_eq!(found, [(up("a"), samples(&[(3, 3.0), (4, 4.0), (5, 5.0)]))]);
}

#[test]
fn a_source_is_asked_for_what_it_is_there_for() {
    let range = TimeRange { start_ms: 10, end_ms: 30 };
    // Only for times before those of the own store.
    let (recent, elsewhere) = source(|s| s.read_recent = false, Ok(Vec::new()));
    let merged = reader(BTreeMap::new(), 20, recent);
    all(&merged, range);
    all(&merged, TimeRange { start_ms: 20, end_ms: 30 });
    let asked = elsewhere.asked.lock();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0][2..6], [0x08, 10, 0x10, 19]);
    // Only queries that have its matchers.
    for (required, count) in [("up", 1), ("down", 0)] {
        let (source, elsewhere) =
            source(|s| s.required = vec![("__name__".into(), required.into())], Ok(Vec::new()));
        all(&reader(BTreeMap::new(), 0, source), range);
        assert_eq!(elsewhere.asked.lock().len(), count);
    }
}

#[test]
fn labels_of_this_server_are_asked_for_and_taken_off() {
    let far = Labels::from_pairs([("__name__", "up"), ("cluster", "east"), ("n", "a")]);
    let external = Labels::from_pairs([("cluster", "east")]);
    let (source, elsewhere) = source(|s| s.external = external, Ok(answer(&[(far, vec![(15, 1.0)])])));
    let merged = reader(BTreeMap::from([(up("a"), samples(&[(16, 2.0)]))]), 0, source);
    let found = all(&merged, TimeRange { start_ms: 10, end_ms: 30 });
    assert_eq!(found, [(up("a"), samples(&[(15, 1.0), (16, 2.0)]))]);
    let asked = elsewhere.asked.lock()[0].clone();
    assert!(asked.windows(15).any(|w| w == b"\x12\x07cluster\x1a\x04east"));
}

#[test]
fn a_source_that_fails_is_told_of() {
    let (source, _) = source(|_| (), Err("status 500: no".into()));
    let merged = reader(BTreeMap::from([(up("a"), samples(&[(16, 2.0)]))]), 0, source);
    assert_eq!(all(&merged, TimeRange::ALL).len(), 1);
    let part = merged.parts.status.get("remote read far").unwrap();
    assert_eq!((part.health, part.message.as_str()), (Health::Degraded, "status 500: no"));
    // Each question is told of its own failures, and names are never asked of sources.
    let query = LabelQuery { matcher_sets: vec![Vec::new()], range: TimeRange::ALL, limit: 0 };
    let ask = |work: &dyn Fn(&dyn MetricReader)| {
        let notes = Arc::<Notes>::default();
        work(&*merged.noting(&notes).expect("there is a source"));
        notes.all()
    };
    let failed = ["remote_read: far: status 500: no"];
    assert_eq!(ask(&|reader| assert_eq!(all(reader, TimeRange::ALL).len(), 1)), failed);
    assert_eq!(ask(&|reader| assert_eq!(reader.series(&query).unwrap().len(), 1)), failed);
    assert_eq!(ask(&|reader| drop(reader.label_names(&query))), ["not implemented"]);
    assert_eq!(ask(&|reader| drop(reader.label_values("job", &query))), ["not implemented"]);
    merged.set_sources(Vec::new());
    assert!(merged.noting(&Arc::default()).is_none(), "answers are whole");
}
