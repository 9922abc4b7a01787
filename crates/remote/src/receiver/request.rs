//! Requests: the points of one, and its body in the version that is spoken.

use std::sync::Arc;

use vedette_config::prometheus::WriteMessage;
use vedette_model::MetricMetadata;
use vedette_sys::MonotonicTime;
use vedette_wire::remote_write::{self, v2_encode};

use super::{Point, Value, series::SeriesTable};

/// A request that is to be made.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Names the request in its answer.
    pub id: u64,
    /// Which version its body is of.
    pub message: WriteMessage,
    /// The body, compressed.
    pub body: Arc<[u8]>,
    /// How often it has failed.
    pub failures: u32,
}

/// Points, or metadata, on their way.
pub struct Request {
    pub id: u64,
    pub points: Vec<Point>,
    /// Slots that wait for its end.
    pub slots: Vec<usize>,
    /// When it was made.
    pub begun: MonotonicTime,
    pub state: State,
    pub failures: u32,
    body: Option<(WriteMessage, Arc<[u8]>)>,
    /// Further bodies of metadata, to be sent after this one.
    parts: Vec<Arc<[u8]>>,
    /// Families, where it is one of metadata.
    pub families: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for an answer.
    UnderWay { since: MonotonicTime },
    /// It is sent again then.
    Waiting { until: MonotonicTime },
}

impl Request {
    pub fn none() -> Self {
        Self::of_points(0, Vec::new(), Vec::new(), MonotonicTime::default())
    }

    pub fn of_points(id: u64, points: Vec<Point>, slots: Vec<usize>, now: MonotonicTime) -> Self {
        let state = State::UnderWay { since: now };
        Self { id, points, slots, begun: now, state, failures: 0, body: None, parts: Vec::new(), families: 0 }
    }

    /// One body after the other.
    pub fn of_metadata(id: u64, mut parts: Vec<Arc<[u8]>>, families: usize, now: MonotonicTime) -> Self {
        parts.reverse();
        let body = parts.pop().map(|body| (WriteMessage::V1, body));
        Self { body, parts, families, ..Self::of_points(id, Vec::new(), Vec::new(), now) }
    }

    pub fn is_metadata(&self) -> bool {
        self.families > 0
    }

    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && !self.is_metadata()
    }

    pub fn is_due(&self, now: MonotonicTime) -> bool {
        matches!(self.state, State::Waiting { until } if until <= now)
    }

    /// Takes the next part of the metadata; `false` where there is none.
    pub fn next_part(&mut self) -> bool {
        self.body = self.parts.pop().map(|body| (WriteMessage::V1, body));
        self.failures = 0;
        self.body.is_some()
    }

    /// Its body, where that is of the version `message`. Metadata is of 1.0.
    pub fn body_for(&self, message: WriteMessage) -> Option<&Arc<[u8]>> {
        let (of, body) = self.body.as_ref()?;
        (*of == message || self.is_metadata()).then_some(body)
    }

    pub fn message(&self) -> WriteMessage {
        self.body.as_ref().map_or(WriteMessage::V1, |(message, _)| *message)
    }

    pub fn body_bytes(&self) -> u64 {
        self.body.as_ref().map_or(0, |(_, body)| body.len() as u64)
    }

    pub fn forget_body(&mut self) {
        self.body = None;
    }

    pub fn attempt(&self) -> Attempt {
        let (message, body) = self.body.clone().expect("BUG: a request is encoded before it is sent");
        Attempt { id: self.id, message, body, failures: self.failures }
    }

    /// Samples, histograms and exemplars.
    pub fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for point in &self.points {
            counts[match point.value {
                Value::Float(_) => 0,
                Value::Histogram(_) => 1,
                Value::Exemplar(_) => 2,
            }] += 1;
        }
        counts
    }
}

/// What encodes bodies; kept for its memory.
pub struct Encoders {
    v1: remote_write::Encoder,
    v2: v2_encode::Encoder,
    message: Vec<u8>,
    snappy: snap::raw::Encoder,
    packed: Vec<u8>,
    /// For each text of the receiver the request that had it last, and its place there.
    places: Vec<(u64, u32)>,
    request: u64,
}

impl Default for Encoders {
    fn default() -> Self {
        Self {
            v1: remote_write::Encoder::default(),
            v2: v2_encode::Encoder::default(),
            message: Vec::new(),
            snappy: snap::raw::Encoder::new(),
            packed: Vec::new(),
            places: Vec::new(),
            request: 0,
        }
    }
}

impl Encoders {
    /// Encodes the points of a request.
    pub fn encode(
        &mut self,
        request: &mut Request,
        message: WriteMessage,
        series: &mut SeriesTable,
        metadata_version: u64,
        find: &mut dyn FnMut(&str) -> Option<Arc<MetricMetadata>>,
    ) {
        self.message.clear();
        match message {
            WriteMessage::V1 => self.encode_v1(&request.points, series),
            WriteMessage::V2 => self.encode_v2(&request.points, series, metadata_version, find),
        }
        request.body = Some((message, self.pack()));
    }

    /// Encodes metadata for 1.0.
    pub fn encode_metadata(&mut self, all: &[Arc<MetricMetadata>]) -> Arc<[u8]> {
        self.message.clear();
        self.v1.clear();
        for metadata in all {
            self.v1.metadata(metadata);
        }
        self.message.extend_from_slice(self.v1.message());
        self.pack()
    }

    /// Texts have new numbers.
    pub fn forget(&mut self) {
        self.places.clear();
    }

    fn encode_v1(&mut self, points: &[Point], series: &SeriesTable) {
        self.v1.clear();
        for same in points.chunk_by(|a, b| a.series == b.series) {
            let refs = &series.get(same[0].series).refs;
            let text = |number: u32| series.symbols.text(number);
            self.v1.begin_series(refs.chunks_exact(2).map(|pair| (text(pair[0]), text(pair[1]))));
            for point in same {
                match &point.value {
                    Value::Float(value) => self.v1.sample(point.time_ms, *value),
                    Value::Histogram(histogram) => self.v1.histogram(point.time_ms, histogram),
                    Value::Exemplar(exemplar) => self.v1.exemplar(exemplar),
                };
            }
            self.v1.end_series();
        }
        self.message.extend_from_slice(self.v1.message());
    }

    fn encode_v2(
        &mut self,
        points: &[Point],
        series: &mut SeriesTable,
        metadata_version: u64,
        find: &mut dyn FnMut(&str) -> Option<Arc<MetricMetadata>>,
    ) {
        self.v2.clear();
        self.request += 1;
        for same in points.chunk_by(|a, b| a.series == b.series) {
            let own = same[0].series;
            let metadata = series.metadata(own, metadata_version, find);
            self.places.resize(series.symbols.len(), (0, 0));
            for number in series.get(own).refs.iter().chain([&metadata.help, &metadata.unit]) {
                place(&mut self.places, self.request, &mut self.v2, *number, series);
            }
            let places = &self.places;
            self.v2.begin_series(series.get(own).refs.iter().map(|number| places[*number as usize].1));
            for point in same {
                match &point.value {
                    Value::Float(value) => {
                        self.v2.sample(point.time_ms, point.start_ms, *value);
                    }
                    Value::Histogram(histogram) => {
                        self.v2.histogram(point.time_ms, point.start_ms, histogram);
                    }
                    Value::Exemplar(exemplar) => {
                        // Values of exemplars hardly come twice.
                        let labels = &exemplar.labels;
                        let refs: Vec<u32> = labels
                            .iter()
                            .flat_map(|(n, v)| [n, v])
                            .map(|text| self.v2.symbol(text))
                            .collect();
                        self.v2.exemplar(exemplar.time_ms, exemplar.value, refs);
                    }
                }
            }
            let (help, unit) = (metadata.help as usize, metadata.unit as usize);
            self.v2.metadata(metadata.kind, self.places[help].1, self.places[unit].1).end_series();
        }
        self.v2.write_to(&mut self.message);
    }

    fn pack(&mut self) -> Arc<[u8]> {
        self.packed.resize(snap::raw::max_compress_len(self.message.len()), 0);
        let bytes = self.snappy.compress(&self.message, &mut self.packed);
        Arc::from(&self.packed[..bytes.expect("BUG: a request is shorter than 4 GiB")])
    }
}

/// Sees to it that the request that is written has a text.
#[inline]
fn place(
    places: &mut [(u64, u32)],
    request: u64,
    encoder: &mut v2_encode::Encoder,
    number: u32,
    series: &SeriesTable,
) {
    let place = &mut places[number as usize];
    if place.0 != request {
        // The empty text has the first place in every request.
        *place = (request, if number == 0 { 0 } else { encoder.symbol(series.symbols.text(number)) });
    }
}
