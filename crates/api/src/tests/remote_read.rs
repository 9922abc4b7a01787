//! Remote read over TCP: messages are written and read here field by field, frames with the checksum
//! of the specification.

use std::{net::SocketAddr, sync::Arc};

use vedette_model::{Labels, NativeHistogram, SampleBuffer};
use vedette_tsdb::{
    RefRow,
    prometheus::{
        Refused,
        chunks::{self, crc32c},
    },
};
use vedette_wire::remote_write::{Item, Point, Request};

use super::{NOW_MS, http, http::Reply, start, start_app, start_with, test_app, test_config};
use crate::Config;

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A query for the last ten minutes: type, name and value of each matcher.
fn query(matchers: &[(u64, &str, &str)]) -> Vec<u8> {
    let mut query = Vec::new();
    number(&mut query, 1, (NOW_MS - 600_000) as u64);
    number(&mut query, 2, NOW_MS as u64);
    for (op, name, value) in matchers {
        let mut matcher = Vec::new();
        number(&mut matcher, 1, *op);
        bytes(&mut matcher, 2, name.as_bytes());
        bytes(&mut matcher, 3, value.as_bytes());
        bytes(&mut query, 3, &matcher);
    }
    query
}

fn request(queries: &[Vec<u8>], accepted: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    queries.iter().for_each(|query| bytes(&mut request, 1, query));
    if !accepted.is_empty() {
        bytes(&mut request, 2, accepted);
    }
    snap::raw::Encoder::new().compress_vec(&request).expect("compresses")
}

async fn send(address: SocketAddr, body: &[u8]) -> Reply {
    let mut request = format!(
        "POST /api/v1/read HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Encoding: snappy\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    http::raw(address, &request).await.expect("an answer")
}

/// The messages in the fields of a message that have this number, and the plain numbers.
fn fields(message: &[u8], wanted: u64) -> (Vec<&[u8]>, Vec<u64>) {
    let (mut parts, mut numbers) = (Vec::new(), Vec::new());
    let mut rest = message;
    let read = |rest: &mut &[u8]| {
        let mut value = 0_u64;
        for shift in (0..).step_by(7) {
            let byte = rest[0];
            *rest = &rest[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    };
    while !rest.is_empty() {
        let tag = read(&mut rest);
        if tag & 7 == 0 {
            let value = read(&mut rest);
            if tag >> 3 == wanted {
                numbers.push(value);
            }
        } else {
            let length = read(&mut rest) as usize;
            if tag >> 3 == wanted {
                parts.push(&rest[..length]);
            }
            rest = &rest[length..];
        }
    }
    (parts, numbers)
}

/// Labels, and samples as text.
type Found = Vec<(String, Vec<String>)>;

fn samples_of(answer: &[u8]) -> Vec<Found> {
    let message = snap::raw::Decoder::new().decompress_vec(answer).expect("is compressed");
    let results = fields(&message, 1).0;
    let series = |result: &&[u8]| {
        Request::new(result)
            .map(|item| {
                let Ok(Item::Series(series)) = item else { panic!("{item:?}") };
                let labels = Labels::from_pairs(series.labels().map(|pair| pair.expect("labels")));
                let points = series.points().map(|point| match point.expect("a point") {
                    Point::Sample { time_ms, value } => format!("{} {value}", time_ms - NOW_MS),
                    Point::Histogram(h) => {
                        let (time_ms, h) = h.decode().expect("a histogram");
                        format!("{} of {}", time_ms - NOW_MS, h.expect("is sound").count())
                    }
                    Point::Exemplar(_) => panic!("an exemplar"),
                });
                (labels.to_string(), points.collect())
            })
            .collect()
    };
    results.iter().map(series).collect()
}

/// The same of frames; and by query.
fn samples_of_frames(mut answer: &[u8]) -> Vec<Found> {
    let mut found: Vec<Found> = vec![Vec::new(); 2];
    while !answer.is_empty() {
        let (mut length, mut shift) = (0, 0);
        while {
            let byte = answer[0];
            answer = &answer[1..];
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            byte >= 0x80
        } {}
        let (sum, rest) = answer.split_first_chunk::<4>().expect("a checksum");
        let (message, rest) = rest.split_at(length);
        assert_eq!(crc32c(message), u32::from_be_bytes(*sum));
        answer = rest;
        let number = fields(message, 2).1.first().map_or(0, |n| *n as usize);
        for series in fields(message, 1).0 {
            let mut pairs = Vec::new();
            for label in fields(series, 1).0 {
                let text = |n| String::from_utf8(fields(label, n).0[0].to_vec()).expect("text");
                pairs.push((text(1), text(2)));
            }
            let mut samples = SampleBuffer::default();
            for chunk in fields(series, 2).0 {
                let encoding = fields(chunk, 3).1[0] as u8;
                let data = fields(chunk, 4).0[0];
                chunks::decode(encoding, data, &mut samples, &mut Refused::default()).expect("a chunk");
            }
            let rows = (0..samples.len()).map(|i| {
                let time = samples.times_ms[i] - NOW_MS;
                match samples.histogram(i) {
                    None => format!("{time} {}", samples.values[i]),
                    Some(h) => format!("{time} of {}", h.count()),
                }
            });
            let labels = Labels::from_pairs(pairs).to_string();
            match found[number].last_mut() {
                Some(last) if last.0 == labels => last.1.extend(rows),
                _ => found[number].push((labels, rows.collect())),
            }
        }
    }
    found
}

#[tokio::test]
async fn samples_and_frames_say_the_same() {
    let (app, folder) = test_app();
    let body = {
        let mut encoder = vedette_wire::remote_write::Encoder::default();
        encoder.begin_series([("__name__", "native"), ("job", "h")]);
        let histogram = NativeHistogram {
            sum: 2.0,
            counts: vedette_model::HistogramCounts::Integer {
                count: 5,
                zero_count: 5,
                positive: vec![],
                negative: vec![],
            },
            ..NativeHistogram::stale()
        };
        encoder.histogram(NOW_MS - 1000, &histogram).sample(NOW_MS, f64::INFINITY).end_series();
        snap::raw::Encoder::new().compress_vec(encoder.message()).expect("compresses")
    };
    app.writer.write(&crate::Protocol::RemoteWrite, &body);
    let running = start_app(test_config(), app, folder).await;
    let queries = [query(&[(0, "__name__", "up")]), query(&[(2, "job", "h|node"), (1, "job", "nothing")])];
    let reply = send(running.address, &request(&queries, &[])).await;
    assert_eq!((reply.status, reply.header("content-encoding")), (200, Some("snappy")), "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/x-protobuf"));
    let samples = samples_of(&reply.bytes);
    let reply = send(running.address, &request(&queries, &[9, 1, 0])).await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
    );
    let frames = samples_of_frames(&reply.bytes);
    // External labels are added to those that have them not.
    let node = r#"up{instance="localhost:9100", job="node", replica="a"}"#;
    let prometheus = r#"up{instance="localhost:9090", job="prometheus", replica="a"}"#;
    let labels = |found: &Found| found.iter().map(|(l, _)| l.clone()).collect::<Vec<_>>();
    assert_eq!(labels(&frames[0]), [prometheus, node]);
    assert_eq!(labels(&frames[1]), [r#"native{job="h", replica="a"}"#, node]);
    assert_eq!(frames[1][0].1, ["-1000 of 5", "0 inf"]);
    assert_eq!(frames[0][0].1.len(), 41);
    assert_eq!(
        (frames[0][0].1[0].as_str(), frames[0][0].1[40].as_str()),
        ("-600000 1", "0 1"),
        "{:?}",
        frames[0][0].0
    );
    let sorted = |mut found: Vec<Found>| {
        found.iter_mut().for_each(|f| f.sort());
        // A message has the floats of a series before its histograms.
        found.iter_mut().flatten().for_each(|(_, rows)| rows.sort());
        found
    };
    assert_eq!(sorted(samples), sorted(frames));
    running.stop().await;
}

#[tokio::test]
async fn external_labels_are_conditions_that_hold() {
    let running = start().await;
    for (matchers, series) in [
        (&[(0, "__name__", "up"), (0, "replica", "a")][..], 2),
        (&[(0, "__name__", "up"), (0, "replica", "b")], 0),
        // A series' own label is not the external one.
        (&[(0, "__name__", "up"), (0, "job", "ours")], 0),
        (&[(0, "__name__", "requests_total"), (0, "job", "ours")], 1),
    ] {
        let reply = send(running.address, &request(&[query(matchers)], &[0])).await;
        assert_eq!(samples_of(&reply.bytes)[0].len(), series, "{matchers:?}");
    }
    running.stop().await;
}

#[tokio::test]
async fn long_series_come_in_several_frames() {
    let (app, folder) = test_app();
    let store = vedette_tsdb::Tsdb::open(
        vedette_tsdb::Config::new(folder.path().join("other")),
        Arc::new(vedette_sys::RealFs),
        app.clock.clone(),
    )
    .expect("opens")
    .0;
    let reference = store.series(&Labels::from_pairs([("__name__", "long")])).expect("a series");
    for n in 0..300_000_i64 {
        // Values that no encoding makes small.
        let value = f64::from_bits((n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
        let row =
            RefRow::new(NOW_MS - 600_000 + n, std::slice::from_ref(&reference), std::slice::from_ref(&value));
        store.append(&[row]).expect("appends");
    }
    let app = crate::App { series: Arc::new(store), ..app };
    let running = start_app(test_config(), app, folder).await;
    let reply = send(running.address, &request(&[query(&[(0, "__name__", "long")])], &[1])).await;
    assert!(reply.bytes.len() > 2 << 20, "{} bytes", reply.bytes.len());
    let found = samples_of_frames(&reply.bytes);
    assert_eq!((found[0].len(), found[0][0].1.len()), (1, 300_000));
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_is_told() {
    let running = start_with(Config { query_samples_max: 50, body_bytes_max: 2000, ..test_config() }).await;
    let up = || query(&[(0, "__name__", "up")]);
    let empty = snap::raw::Encoder::new().compress_vec(&[]).expect("compresses");
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for (body, status, words) in [
        (request(&[up()], &[]), 400, "exceeded sample limit (50)"),
        (request(&[up()], &[7]), 400, "does not support any of the requested response types: [7]"),
        (request(&[query(&[(2, "job", "(")])], &[]), 400, "("),
        (request(&[query(&[(9, "job", "x")])], &[]), 400, "type that is not known"),
        (b"garbage".to_vec(), 400, "Snappy"),
        (vec![0; 2001], 413, "more than 2000 bytes"),
        (huge.to_vec(), 413, "more than 2000 bytes"),
        (request(&[up()], &[1]), 200, ""),
        (empty, 200, ""),
    ] {
        let reply = send(running.address, &body).await;
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.body.contains(words), "{words}: {}", reply.body);
    }
    running.stop().await;
}

/// A store that notes with every question that it lacks something.
struct Lacking(Arc<dyn vedette_model::MetricReader>, Option<Arc<vedette_model::Notes>>);

impl Lacking {
    fn note(&self) -> &dyn vedette_model::MetricReader {
        self.1.iter().for_each(|notes| notes.add("remote_read: far: away"));
        self.0.as_ref()
    }
}

impl vedette_model::MetricReader for Lacking {
    fn select(
        &self,
        select: &vedette_model::Select,
    ) -> Result<Box<dyn vedette_model::SeriesSet>, vedette_model::ReadError> {
        self.note().select(select)
    }

    fn noting(&self, notes: &Arc<vedette_model::Notes>) -> Option<Arc<dyn vedette_model::MetricReader>> {
        Some(Arc::new(Self(self.0.clone(), Some(notes.clone()))))
    }

    fn label_names(
        &self,
        query: &vedette_model::LabelQuery,
    ) -> Result<Vec<String>, vedette_model::ReadError> {
        self.note().label_names(query)
    }

    fn label_values(
        &self,
        name: &str,
        query: &vedette_model::LabelQuery,
    ) -> Result<Vec<String>, vedette_model::ReadError> {
        self.note().label_values(name, query)
    }

    fn series(&self, query: &vedette_model::LabelQuery) -> Result<Vec<Labels>, vedette_model::ReadError> {
        self.note().series(query)
    }

    fn metadata(&self, family: Option<&str>, limit: usize) -> Vec<vedette_model::MetricMetadata> {
        self.0.metadata(family, limit)
    }
}

#[tokio::test]
async fn what_an_answer_lacks_is_a_warning() {
    let (app, folder) = test_app();
    let app = crate::App { series: Arc::new(Lacking(app.series, None)), ..app };
    let running = start_app(test_config(), app, folder).await;
    let range = format!("start={0}&end={0}&step=1", NOW_MS / 1000);
    for path in [
        "query?query=up".to_owned(),
        format!("query_range?query=up&{range}"),
        format!("query_range?query=up&stats=all&{range}"),
        "series?match[]=up".to_owned(),
        "labels".to_owned(),
        "label/job/values".to_owned(),
    ] {
        let reply = http::get(running.address, &format!("/api/v1/{path}")).await;
        let warning = r#""warnings":["remote_read: far: away"]"#;
        assert!(reply.status == 200 && reply.body.contains(warning), "{path}: {}", reply.body);
        let is_whole = reply.body.contains("up") || reply.body.contains("job") || reply.body.contains("node");
        assert!(is_whole, "{path}: {}", reply.body);
    }
    running.stop().await;
}
