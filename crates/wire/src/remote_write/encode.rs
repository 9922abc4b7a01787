//! Writing a request.

use vedette_model::{
    Exemplar, HistogramCounts, MetricKind, MetricMetadata, NativeHistogram, ResetHint, Span,
};

use super::fields::zigzag;

/// Appends a histogram as the message that [`HistogramMessage`](super::HistogramMessage) reads.
pub fn encode_histogram(out: &mut Vec<u8>, time_ms: i64, histogram: &NativeHistogram) {
    put_histogram(out, &mut Vec::new(), time_ms, histogram);
}

/// Collects the entries of one request. It may be used again after [`Encoder::clear`].
#[derive(Debug, Clone, Default)]
pub struct Encoder {
    message: Vec<u8>,
    /// The parts of the entry that is being written; each is as long as its nesting allows.
    series: Vec<u8>,
    inner: Vec<u8>,
    innermost: Vec<u8>,
}

impl Encoder {
    /// Bytes of the request so far.
    pub fn len(&self) -> usize {
        self.message.len()
    }

    /// Whether the request has no entry.
    pub fn is_empty(&self) -> bool {
        self.message.is_empty()
    }

    /// The request so far.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Begins a new request.
    pub fn clear(&mut self) {
        self.message.clear();
    }

    /// Begins a series; its samples follow, then [`Encoder::end_series`]. Labels must come in order
    /// of their names.
    pub fn begin_series<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> &mut Self {
        self.series.clear();
        put_labels(&mut self.series, &mut self.inner, labels);
        self
    }

    /// Begins a series with labels that are encoded already, as
    /// [`SeriesMessage::label_bytes`](super::SeriesMessage::label_bytes) gives them.
    pub fn begin_series_with(&mut self, label_bytes: &[u8]) -> &mut Self {
        self.series.clear();
        self.series.extend_from_slice(label_bytes);
        self
    }

    /// Adds a sample.
    pub fn sample(&mut self, time_ms: i64, value: f64) -> &mut Self {
        self.inner.clear();
        put_double(&mut self.inner, 1, value);
        put_number(&mut self.inner, 2, time_ms as u64);
        put_bytes(&mut self.series, 2, &self.inner);
        self
    }

    /// Adds an exemplar.
    pub fn exemplar(&mut self, exemplar: &Exemplar) -> &mut Self {
        self.inner.clear();
        put_labels(&mut self.inner, &mut self.innermost, &exemplar.labels);
        put_double(&mut self.inner, 2, exemplar.value);
        put_number(&mut self.inner, 3, exemplar.time_ms as u64);
        put_bytes(&mut self.series, 3, &self.inner);
        self
    }

    /// Adds a native histogram.
    pub fn histogram(&mut self, time_ms: i64, histogram: &NativeHistogram) -> &mut Self {
        self.inner.clear();
        put_histogram(&mut self.inner, &mut self.innermost, time_ms, histogram);
        put_bytes(&mut self.series, 4, &self.inner);
        self
    }

    /// Ends a series.
    pub fn end_series(&mut self) {
        put_bytes(&mut self.message, 1, &self.series);
    }

    /// Adds what is known of a metric family.
    pub fn metadata(&mut self, metadata: &MetricMetadata) {
        self.inner.clear();
        put_number(&mut self.inner, 1, kind_number(metadata.kind));
        for (field, text) in [(2, &metadata.family), (4, &metadata.help), (5, &metadata.unit)] {
            if !text.is_empty() {
                put_bytes(&mut self.inner, field, text.as_bytes());
            }
        }
        put_bytes(&mut self.message, 3, &self.inner);
    }
}

/// Writes a histogram message; 1.0 and 2.0 have the same.
pub(super) fn put_histogram(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    time_ms: i64,
    histogram: &NativeHistogram,
) {
    let (positive, negative) = match &histogram.counts {
        HistogramCounts::Integer { count, zero_count, positive, negative } => {
            // Of a choice between fields the chosen one is written even when it is zero.
            put_tag(out, 1, 0);
            put_varint(out, *count);
            put_tag(out, 6, 0);
            put_varint(out, *zero_count);
            (Buckets::Integer(positive), Buckets::Integer(negative))
        }
        HistogramCounts::Float { count, zero_count, positive, negative } => {
            put_tag(out, 2, 1);
            out.extend_from_slice(&count.to_le_bytes());
            put_tag(out, 7, 1);
            out.extend_from_slice(&zero_count.to_le_bytes());
            (Buckets::Float(positive), Buckets::Float(negative))
        }
    };
    put_double(out, 3, histogram.sum);
    put_number(out, 4, zigzag(i64::from(histogram.schema)));
    put_double(out, 5, histogram.zero_threshold);
    put_spans(out, scratch, 8, &histogram.negative_spans);
    negative.put(out, scratch, 9);
    put_spans(out, scratch, 11, &histogram.positive_spans);
    positive.put(out, scratch, 12);
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    put_number(out, 14, hint);
    put_number(out, 15, time_ms as u64);
    Buckets::Float(&histogram.custom_bounds).put(out, scratch, 15);
}

/// Counts of buckets: whole numbers as differences in a field, floats in the field after it.
enum Buckets<'a> {
    Integer(&'a [u64]),
    Float(&'a [f64]),
}

impl Buckets<'_> {
    fn put(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>, field: u64) {
        scratch.clear();
        match self {
            Self::Integer(counts) => {
                let mut before = 0_u64;
                for &count in *counts {
                    put_varint(scratch, zigzag(count.wrapping_sub(before) as i64));
                    before = count;
                }
                if !counts.is_empty() {
                    put_bytes(out, field, scratch);
                }
            }
            Self::Float(counts) => {
                for count in *counts {
                    scratch.extend_from_slice(&count.to_le_bytes());
                }
                if !counts.is_empty() {
                    put_bytes(out, field + 1, scratch);
                }
            }
        }
    }
}

/// The number of a type; 1.0 and 2.0 have the same.
pub(super) fn kind_number(kind: MetricKind) -> u64 {
    match kind {
        MetricKind::Unknown => 0,
        MetricKind::Counter => 1,
        MetricKind::Gauge => 2,
        MetricKind::Histogram => 3,
        MetricKind::GaugeHistogram => 4,
        MetricKind::Summary => 5,
        MetricKind::Info => 6,
        MetricKind::StateSet => 7,
    }
}

/// Appends labels as a series of a request has them; `scratch` is memory to work with.
pub fn push_labels<'a>(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    put_labels(out, scratch, labels);
}

pub(crate) fn put_labels<'a>(
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    for (name, value) in labels {
        scratch.clear();
        put_bytes(scratch, 1, name.as_bytes());
        put_bytes(scratch, 2, value.as_bytes());
        put_bytes(out, 1, scratch);
    }
}

fn put_spans(out: &mut Vec<u8>, scratch: &mut Vec<u8>, field: u64, spans: &[Span]) {
    for span in spans {
        scratch.clear();
        put_number(scratch, 1, zigzag(i64::from(span.offset)));
        put_number(scratch, 2, u64::from(span.length));
        put_bytes(out, field, scratch);
    }
}

/// Zero is what is there when nothing is written; minus zero is another number.
pub(super) fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    if value.to_bits() != 0 {
        put_tag(out, field, 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    if value != 0 {
        put_tag(out, field, 0);
        put_varint(out, value);
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_tag(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, field: u64, kind: u64) {
    put_varint(out, field << 3 | kind);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
