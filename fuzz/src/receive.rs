//! The targets of what is received beside remote write 1.0: its version 2, requests of remote read,
//! metrics of OpenTelemetry, lines of InfluxDB and Graphite.

use std::{path::Path, sync::Arc};

use vedette_config::prometheus::{Mode, Surroundings, parse};
use vedette_model::{
    ChunkSummary, Hints, LabelQuery, Labels, MetricMetadata, MetricReader, ReadError, SampleBuffer, Select,
    SeriesSet, TimeRange, status::StatusBoard,
};
use vedette_remote::{Answered, DecodeChunk, Fetch, MergedReader, ReadSource};
use vedette_sys::SimFs;
use vedette_tsdb::{
    fuzzing::{block_chunks, crc32c},
    prometheus::{Refused, chunks},
};
use vedette_wire::{
    graphite, influx,
    otlp::{self, Data},
    remote_read::ReadRequest,
    remote_read_client::STREAM_CONTENT_TYPE,
    remote_write::v2::{Field, Item, Request, SeriesMessage},
};

/// Reads everything that a request of remote write 2.0 holds; what stands somewhere in it can be found
/// there again.
pub fn remote_write_v2(message: &[u8]) {
    for item in Request::new(message) {
        match item {
            Ok(Item::Symbol(symbol)) => assert_eq!(&message[symbol.range()], symbol.bytes()),
            Ok(Item::Series(series)) => {
                for field in SeriesMessage::at(message, series.range()).fields() {
                    match field {
                        Ok(Field::Labels(refs)) => _ = refs.filter(Result::is_ok).count(),
                        Ok(Field::Histogram(histogram)) => {
                            if let Ok(decoded) = histogram.decode_with_start() {
                                let _ = decoded.histogram.map(|h| h.validate());
                            }
                        }
                        Ok(Field::Exemplar(exemplar)) => _ = exemplar.labels(&mut Vec::new()),
                        Ok(Field::Sample(_) | Field::Metadata(_)) => {}
                        Err(error) => assert!(error.at <= message.len(), "{error}"),
                    }
                }
            }
            Err(error) => assert!(error.at <= message.len(), "{error}"),
        }
    }
}

/// Two symbols, and a series with a sample, a histogram, an exemplar and metadata.
pub fn remote_write_v2_seeds() -> Vec<Vec<u8>> {
    let series: &[&[u8]] = &[
        &[0x0a, 2, 1, 2],
        &[0x12, 14, 0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x10, 0xe8, 0x07, 0x18, 7],
        &[0x1a, 8, 0x08, 1, 0x20, 6, 0x30, 1, 0x78, 9],
        &[0x22, 6, 0x0a, 2, 1, 2, 0x18, 5],
        &[0x2a, 4, 0x08, 1, 0x18, 2],
    ];
    let series = series.concat();
    let mut message = b"\x22\x00\x22\x08__name__\x22\x01a".to_vec();
    message.extend([0x2a, series.len() as u8]);
    message.extend(series);
    vec![message]
}

pub fn remote_read(message: &[u8]) {
    match ReadRequest::decode(message) {
        Ok(request) => _ = request.answer_kind(),
        Err(error) => assert!(error.at <= message.len(), "{error}"),
    }
}

pub fn remote_read_seeds() -> Vec<Vec<u8>> {
    let matcher = b"\x08\x02\x12\x03job\x1a\x02.*";
    let hints = b"\x08\x0f\x12\x04rate\x2a\x03pod\x30\x01\x38\x05";
    let mut query = vec![0x08, 1, 0x10, 9, 0x1a, matcher.len() as u8];
    query.extend(matcher);
    query.extend([0x22, hints.len() as u8]);
    query.extend(hints);
    let mut message = vec![0x0a, query.len() as u8];
    message.extend(query);
    message.extend([0x12, 2, 1, 0]);
    vec![message]
}

/// A store that has nothing.
struct Nothing;

impl SeriesSet for Nothing {
    fn len(&self) -> usize {
        0
    }

    fn labels(&self, _: usize) -> Labels {
        Labels::empty()
    }

    fn summaries(&self, _: usize, _: TimeRange, _: &mut Vec<ChunkSummary>) {}

    fn read(&self, _: usize, _: TimeRange, _: &mut SampleBuffer) -> Result<(), ReadError> {
        Ok(())
    }
}

impl MetricReader for Nothing {
    fn select(&self, _: &Select) -> Result<Box<dyn SeriesSet>, ReadError> {
        Ok(Box::new(Nothing))
    }

    fn label_names(&self, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn label_values(&self, _: &str, _: &LabelQuery) -> Result<Vec<String>, ReadError> {
        Ok(Vec::new())
    }

    fn series(&self, _: &LabelQuery) -> Result<Vec<Labels>, ReadError> {
        Ok(Vec::new())
    }

    fn metadata(&self, _: Option<&str>, _: usize) -> Vec<MetricMetadata> {
        Vec::new()
    }
}

/// A source that says what it is given.
struct Says(Answered);

impl Fetch for Says {
    fn fetch(&self, _: Vec<u8>) -> Result<Answered, String> {
        Ok(self.0.clone())
    }
}

/// The answer of a source of remote read: the first byte tells whether the rest is a message of samples, a
/// stream as it is, or frames whose lengths and checksums are put right, divided by a byte of their own.
/// What is read of it is in order.
pub fn remote_read_answer(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let (content_type, body) = match kind % 3 {
        0 => {
            let body = snap::raw::Encoder::new().compress_vec(rest).expect("short enough");
            ("application/x-protobuf", body)
        }
        1 => (STREAM_CONTENT_TYPE, rest.to_vec()),
        _ => (STREAM_CONTENT_TYPE, rest.split(|b| *b == 0xfe).flat_map(frame).collect()),
    };
    let yaml = "remote_read: [{url: 'http://far/', read_recent: true}]\n";
    let fs = SimFs::new(1);
    let surroundings = Surroundings { fs: &fs, env: &|_| None };
    let config = parse(Path::new("p.yml"), yaml, Mode::Server, surroundings).expect("sound");
    let says = Says(Answered { content_type: content_type.to_owned(), body });
    let source = ReadSource::new(&config.remote_read[0], &Labels::empty(), Arc::new(says));
    let decode: DecodeChunk =
        |encoding, data, out| chunks::decode(encoding, data, out, &mut Refused::default()).is_some();
    let reader = MergedReader::new(Arc::new(Nothing), Arc::new(|| 0), decode, StatusBoard::default());
    reader.set_sources(vec![source]);
    let select =
        Select { matchers: Vec::new(), range: TimeRange::ALL, hints: Hints::default(), series_max: 0 };
    let Ok(set) = reader.select(&select) else { return };
    let mut samples = SampleBuffer::default();
    for series in 0..set.len() {
        samples.clear();
        set.read(series, TimeRange::ALL, &mut samples).expect("it was read");
        assert!(samples.times_ms.is_sorted_by(|a, b| a < b));
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut length = message.len();
    while length > 0x7f {
        frame.push(length as u8 | 0x80);
        length >>= 7;
    }
    frame.push(length as u8);
    frame.extend_from_slice(&crc32c(message).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// A message of samples, and a frame for each kind of chunk.
pub fn remote_read_answer_seeds() -> Vec<Vec<u8>> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length > 0x7f {
            out.push(length as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
        out.extend_from_slice(bytes);
        out
    };
    let label = field(1, &[field(1, b"__name__"), field(2, b"up")].concat());
    let sample = field(2, &[&[0x09][..], &1.5_f64.to_le_bytes(), &[0x10, 7]].concat());
    let series = field(1, &[label.clone(), sample].concat());
    let mut seeds = vec![[&[0][..], &field(1, &series)].concat()];
    for chunk in block_chunks() {
        let Some((encoding, data)) = chunk.split_first() else { continue };
        let chunk = [&[0x08, 1, 0x10, 9, 0x18, *encoding][..], &field(4, data)].concat();
        let series = field(1, &[label.clone(), field(2, &chunk)].concat());
        seeds.push([&[2][..], &series].concat());
    }
    seeds
}

pub fn otlp_protobuf(body: &[u8]) {
    if let Ok(request) = otlp::Request::from_protobuf(body) {
        read(&request);
    }
}

pub fn otlp_json(body: &[u8]) {
    if let Ok(request) = otlp::Request::from_json(body) {
        read(&request);
    }
}

/// All values have a text.
fn read(request: &otlp::Request<'_>) {
    for resource in &request.resources {
        let of_points =
            resource.scopes.iter().flat_map(|s| &s.metrics).filter_map(|metric| match &metric.data {
                Data::Gauge(points) | Data::Sum { points, .. } => Some(points),
                _ => None,
            });
        let of_points = of_points.flatten().flat_map(|point| &point.common.attributes);
        for attribute in resource.attributes.iter().chain(of_points) {
            let _ = attribute.value.text();
        }
    }
}

pub fn otlp_protobuf_seeds() -> Vec<Vec<u8>> {
    let wrap = |field: u8, inner: &[u8]| [&[field << 3 | 2, inner.len() as u8][..], inner].concat();
    let attribute = |value: &[u8]| [b"\x0a\x01k".to_vec(), wrap(2, value)].concat();
    let point = [wrap(7, &attribute(b"\x0a\x01v")), vec![0x31, 1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let buckets = wrap(8, b"\x08\x03\x12\x02\x01\x02");
    let list = wrap(5, &wrap(1, b"\x18\x05"));
    let data = [
        wrap(5, &wrap(1, &point)),
        [wrap(7, &[wrap(1, &point), vec![0x10, 2, 0x18, 1]].concat())].concat(),
        wrap(9, &wrap(1, &[0x21, 1, 0, 0, 0, 0, 0, 0, 0, 0x32, 8, 1, 0, 0, 0, 0, 0, 0, 0])),
        wrap(10, &wrap(1, &buckets)),
        wrap(11, &wrap(1, &wrap(6, &[0x09, 0, 0, 0, 0, 0, 0, 0, 0]))),
    ];
    let metric = |data: &[u8]| wrap(2, &[b"\x0a\x01m\x1a\x02By".to_vec(), data.to_vec()].concat());
    let resource = wrap(1, &wrap(1, &attribute(&list)));
    let request = |data: &Vec<u8>| wrap(1, &[resource.clone(), wrap(2, &metric(data))].concat());
    data.iter().map(request).collect()
}

pub fn otlp_json_seeds() -> Vec<Vec<u8>> {
    let point = r#"{"attributes":[{"key":"k","value":{"arrayValue":{"values":[{"intValue":"5"},{"bytesValue":"AQ=="}]}}}],
        "timeUnixNano":"7","asDouble":1.5,"flags":1,"exemplars":[{"traceId":"0a","asInt":"2"}]}"#;
    [
        format!(r#""gauge":{{"dataPoints":[{point}]}}"#),
        format!(r#""sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{point}]}}"#),
        r#""histogram":{"dataPoints":[{"count":"3","bucketCounts":["1",2],"explicitBounds":[2.5]}]}"#
            .to_owned(),
        r#""exponentialHistogram":{"dataPoints":[{"scale":-2,"positive":{"offset":1,"bucketCounts":[1]}}]}"#
            .to_owned(),
        r#""summary":{"dataPoints":[{"quantileValues":[{"quantile":"NaN","value":2}]}]}"#.to_owned(),
    ]
    .map(|data| {
        format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"m",{data}}}]}}]}}]}}"#)
            .into_bytes()
    })
    .into()
}

/// There are never more lines than line ends allow, and none takes more than there is.
pub fn influx_lines(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let most = text.matches('\n').count() + 1;
    let mut count = 0;
    for line in influx::Lines::new(text) {
        count += 1;
        match line {
            Ok(line) => assert!(!line.fields.is_empty() && line.measurement.len() <= text.len()),
            Err(error) => assert!(error.line <= most, "{error}"),
        }
    }
    assert!(count <= most);
}

pub fn influx_seeds() -> Vec<Vec<u8>> {
    vec![
        b"# x\ncpu,host=a\\ b,dc=x usage=1.5,n=-3i,t=\"a \\\"b\\\"\nc\",up=t 1700000000\n,x=y f=1e3 -5\n"
            .to_vec(),
    ]
}

pub fn graphite_line(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for line in text.lines() {
        if let Ok(Some(line)) = graphite::Line::read(line) {
            assert!(!line.path.is_empty() && line.tags.iter().all(|(name, _)| !name.is_empty()));
        }
    }
}

pub fn graphite_seeds() -> Vec<Vec<u8>> {
    vec![b"a.b;host=x;y= 1.5 1700000000.5\nc -1e3 -1\nd 4\n".to_vec()]
}
