//! Writing `io.prometheus.client.MetricFamily` messages, each with its length before it: as much of
//! it as federation needs, which is values of no type and histograms with float counts.

use vedette_model::{HistogramCounts, MetricKind, NativeHistogram, ResetHint, Span};

use crate::remote_write::{
    encode::{put_bytes, put_number, put_varint},
    fields::zigzag,
};

/// Writes one exposition.
#[derive(Debug, Default)]
pub struct ProtobufWriter {
    out: Vec<u8>,
    family: Vec<u8>,
    metric: Vec<u8>,
    inner: Vec<u8>,
    innermost: Vec<u8>,
}

impl ProtobufWriter {
    /// Begins a family, which is untyped, a histogram or a gauge histogram.
    pub fn family(&mut self, name: &str, kind: MetricKind) {
        self.end_family();
        put_bytes(&mut self.family, 1, name.as_bytes());
        let kind = match kind {
            MetricKind::Histogram => 4,
            MetricKind::GaugeHistogram => 5,
            _ => 3,
        };
        put_tagged(&mut self.family, 3, kind);
    }

    /// A metric that is a number.
    pub fn value<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        value: f64,
        time_ms: i64,
    ) {
        self.inner.clear();
        put_float(&mut self.inner, 1, value);
        self.metric(labels, 5, time_ms);
    }

    /// A metric that is a histogram: native where its buckets are exponential, else classic, since the
    /// format knows no others.
    pub fn histogram<'a>(
        &mut self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        histogram: &NativeHistogram,
        time_ms: i64,
    ) {
        self.inner.clear();
        put_float(&mut self.inner, 2, histogram.sum);
        put_float(&mut self.inner, 4, histogram.count());
        if histogram.schema == vedette_model::CUSTOM_BUCKETS_SCHEMA {
            for (bound, count) in classic_buckets(histogram) {
                self.innermost.clear();
                put_float(&mut self.innermost, 2, bound);
                put_float(&mut self.innermost, 4, count);
                put_bytes(&mut self.inner, 3, &self.innermost);
            }
        } else {
            self.native(histogram);
        }
        self.metric(labels, 7, time_ms);
    }

    /// The finished exposition.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        self.out
    }

    /// Bytes so far.
    pub fn bytes(&self) -> usize {
        self.out.len() + self.family.len()
    }

    fn native(&mut self, histogram: &NativeHistogram) {
        put_tagged(&mut self.inner, 5, zigzag(i64::from(histogram.schema)));
        put_float(&mut self.inner, 6, histogram.zero_threshold);
        let (zero, positive, negative) = match &histogram.counts {
            HistogramCounts::Integer { zero_count, positive, negative, .. } => {
                let float = |counts: &[u64]| counts.iter().map(|&n| n as f64).collect::<Vec<_>>();
                (*zero_count as f64, float(positive), float(negative))
            }
            HistogramCounts::Float { zero_count, positive, negative, .. } => {
                (*zero_count, positive.clone(), negative.clone())
            }
        };
        put_float(&mut self.inner, 8, zero);
        for (field, spans, counts) in
            [(9, &histogram.negative_spans, negative), (12, &histogram.positive_spans, positive)]
        {
            for Span { offset, length } in spans {
                self.innermost.clear();
                put_number(&mut self.innermost, 1, zigzag(i64::from(*offset)));
                put_number(&mut self.innermost, 2, u64::from(*length));
                put_bytes(&mut self.inner, field, &self.innermost);
            }
            if !counts.is_empty() {
                self.innermost.clear();
                for count in counts {
                    self.innermost.extend_from_slice(&count.to_le_bytes());
                }
                put_bytes(&mut self.inner, field + 2, &self.innermost);
            }
        }
    }

    /// Adds what stands in `inner` as the field `kind` of a metric.
    fn metric<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>, kind: u64, time_ms: i64) {
        self.metric.clear();
        for (name, value) in labels {
            self.innermost.clear();
            put_bytes(&mut self.innermost, 1, name.as_bytes());
            put_bytes(&mut self.innermost, 2, value.as_bytes());
            put_bytes(&mut self.metric, 1, &self.innermost);
        }
        put_bytes(&mut self.metric, kind, &self.inner);
        put_tagged(&mut self.metric, 6, time_ms as u64);
        put_bytes(&mut self.family, 4, &self.metric);
    }

    fn end_family(&mut self) {
        if !self.family.is_empty() {
            put_varint(&mut self.out, self.family.len() as u64);
            self.out.extend_from_slice(&self.family);
            self.family.clear();
        }
    }
}

/// Bounds of a histogram with custom buckets, each with the observations up to it; the last bucket,
/// which has all, is left out.
pub fn classic_buckets(histogram: &NativeHistogram) -> Vec<(f64, f64)> {
    let mut counts = vec![0.0; histogram.custom_bounds.len()];
    let mut put = |at: i64, count: f64| {
        if let Some(place) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
            *place = count;
        }
    };
    let mut indexes = Vec::new();
    let mut next = 0_i64;
    for span in &histogram.positive_spans {
        next += i64::from(span.offset);
        indexes.extend((0..i64::from(span.length)).map(|n| next + n));
        next += i64::from(span.length);
    }
    match &histogram.counts {
        HistogramCounts::Integer { positive, .. } => {
            indexes.iter().zip(positive).for_each(|(at, count)| put(*at, *count as f64));
        }
        HistogramCounts::Float { positive, .. } => {
            indexes.iter().zip(positive).for_each(|(at, count)| put(*at, *count));
        }
    }
    let mut sum = 0.0;
    let cumulative = counts.into_iter().map(|count| {
        sum += count;
        sum
    });
    histogram.custom_bounds.iter().copied().zip(cumulative).collect()
}

/// Whether a histogram goes up and down.
pub fn is_gauge_histogram(histogram: &NativeHistogram) -> bool {
    histogram.reset_hint == ResetHint::Gauge
}

/// Unlike in other messages a zero is written, as readers ask whether the field is there.
fn put_float(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_tagged(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}
