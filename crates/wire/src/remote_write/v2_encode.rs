//! Writing a request of remote write 2.0: the message `io.prometheus.write.v2.Request`.
//!
//! Every text stands once in a table of symbols; series name their labels by places in it. The
//! caller keeps track of which text has which place, as it knows its texts better than a table
//! of hashes would: so a series costs a few numbers.

use vedette_model::{MetricKind, NativeHistogram};

use super::encode::{kind_number, put_bytes, put_double, put_histogram, put_number, put_tag, put_varint};

/// The `Content-Type` of a request.
pub const CONTENT_TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// The value of the header `X-Prometheus-Remote-Write-Version`.
pub const VERSION: &str = "2.0.0";

/// Field of a request.
const SYMBOLS: u64 = 4;
const TIME_SERIES: u64 = 5;
/// Fields of a series.
const LABEL_REFS: u64 = 1;
const SAMPLES: u64 = 2;
const HISTOGRAMS: u64 = 3;
const EXEMPLARS: u64 = 4;
const METADATA: u64 = 5;
/// Field of a histogram.
const HISTOGRAM_START: u64 = 17;

/// Collects the entries of one request. It may be used again after [`Encoder::clear`].
#[derive(Debug, Clone)]
pub struct Encoder {
    symbols: Vec<u8>,
    symbols_count: u32,
    entries: Vec<u8>,
    /// The parts of the entry that is being written; each is as long as its nesting allows.
    series: Vec<u8>,
    inner: Vec<u8>,
    innermost: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        let mut encoder = Self {
            symbols: Vec::new(),
            symbols_count: 0,
            entries: Vec::new(),
            series: Vec::new(),
            inner: Vec::new(),
            innermost: Vec::new(),
        };
        encoder.clear();
        encoder
    }
}

impl Encoder {
    /// Begins a new request. Its first symbol is the empty text, as the protocol wants it.
    pub fn clear(&mut self) {
        self.symbols.clear();
        self.entries.clear();
        self.symbols_count = 0;
        self.symbol("");
    }

    /// Appends the request so far to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.symbols);
        out.extend_from_slice(&self.entries);
    }

    /// Bytes of the request so far.
    pub fn len(&self) -> usize {
        self.symbols.len() + self.entries.len()
    }

    /// Whether the request has no series.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a text to the table and gives its place. Place 0 is the empty text.
    pub fn symbol(&mut self, text: &str) -> u32 {
        put_bytes(&mut self.symbols, SYMBOLS, text.as_bytes());
        self.symbols_count += 1;
        self.symbols_count - 1
    }

    /// Begins a series; its samples follow, then [`Encoder::end_series`]. `refs` are the places of
    /// names and values in turn, in order of the names.
    pub fn begin_series(&mut self, refs: impl IntoIterator<Item = u32>) -> &mut Self {
        self.series.clear();
        put_refs(&mut self.series, &mut self.innermost, refs);
        self
    }

    /// Adds a sample; `start_ms` 0 is none.
    #[inline]
    pub fn sample(&mut self, time_ms: i64, start_ms: i64, value: f64) -> &mut Self {
        self.inner.clear();
        put_double(&mut self.inner, 1, value);
        put_number(&mut self.inner, 2, time_ms as u64);
        put_number(&mut self.inner, 3, start_ms as u64);
        put_bytes(&mut self.series, SAMPLES, &self.inner);
        self
    }

    /// Adds a native histogram; `start_ms` 0 is none.
    pub fn histogram(&mut self, time_ms: i64, start_ms: i64, histogram: &NativeHistogram) -> &mut Self {
        self.inner.clear();
        put_histogram(&mut self.inner, &mut self.innermost, time_ms, histogram);
        put_number(&mut self.inner, HISTOGRAM_START, start_ms as u64);
        put_bytes(&mut self.series, HISTOGRAMS, &self.inner);
        self
    }

    /// Adds an exemplar, with the places of its labels.
    pub fn exemplar(&mut self, time_ms: i64, value: f64, refs: impl IntoIterator<Item = u32>) -> &mut Self {
        self.inner.clear();
        put_refs(&mut self.inner, &mut self.innermost, refs);
        put_double(&mut self.inner, 2, value);
        put_number(&mut self.inner, 3, time_ms as u64);
        put_bytes(&mut self.series, EXEMPLARS, &self.inner);
        self
    }

    /// Adds what is known of the series' family, with the places of its texts.
    pub fn metadata(&mut self, kind: MetricKind, help: u32, unit: u32) -> &mut Self {
        self.inner.clear();
        put_number(&mut self.inner, 1, kind_number(kind));
        put_number(&mut self.inner, 3, u64::from(help));
        put_number(&mut self.inner, 4, u64::from(unit));
        if !self.inner.is_empty() {
            put_bytes(&mut self.series, METADATA, &self.inner);
        }
        self
    }

    /// Ends a series.
    pub fn end_series(&mut self) {
        put_bytes(&mut self.entries, TIME_SERIES, &self.series);
    }
}

fn put_refs(out: &mut Vec<u8>, scratch: &mut Vec<u8>, refs: impl IntoIterator<Item = u32>) {
    scratch.clear();
    for reference in refs {
        put_varint(scratch, u64::from(reference));
    }
    if !scratch.is_empty() {
        put_tag(out, LABEL_REFS, 2);
        put_varint(out, scratch.len() as u64);
        out.extend_from_slice(scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One series, written as the definition of the message says it is.
    #[test]
    fn a_request_is_written_as_the_protocol_says() {
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            encoder.clear();
            assert!(encoder.is_empty());
            let [name, up, help] = ["__name__", "up", "Is it?"].map(|text| encoder.symbol(text));
            encoder.begin_series([name, up]).sample(1000, 5, 1.0).exemplar(7, 2.0, [name, up]);
            encoder.metadata(MetricKind::Gauge, help, 0).end_series();
        }
        let mut out = Vec::new();
        encoder.write_to(&mut out);
        assert_eq!(encoder.len(), out.len());
        let mut expected = vec![0x22, 0]; // field 4, the empty symbol
        expected.extend_from_slice(b"\x22\x08__name__\x22\x02up\x22\x06Is it?");
        expected.extend_from_slice(&[0x2a, 4 + 16 + 17 + 6]); // field 5, the series
        expected.extend_from_slice(&[0x0a, 2, 1, 2]); // labels
        expected
            .extend_from_slice(&[0x12, 14, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xe8, 0x07, 0x18, 5]);
        expected.extend_from_slice(&[0x22, 15, 0x0a, 2, 1, 2, 0x11, 0, 0, 0, 0, 0, 0, 0, 0x40, 0x18, 7]);
        expected.extend_from_slice(&[0x2a, 4, 0x08, 2, 0x18, 3]);
        assert_eq!(out, expected);
    }
}
