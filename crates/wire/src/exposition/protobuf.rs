//! Reading `io.prometheus.client.MetricFamily` messages, each with its length before it, in place.
//!
//! A metric is the bytes of its labels and a message of one of five kinds. Its parts (a value, or the
//! counts of a classic histogram, or the quantiles of a summary) come one by one without
//! allocation: [`Point::part`] and the label bytes name the series. Only a native histogram, which
//! is rare and large, is built.

use vedette_model::{HistogramError, METRIC_NAME, MetricKind, NativeHistogram, ResetHint};

use crate::remote_write::{
    DecodeError, LabelPairs,
    fields::{Cursor, Value, unzigzag},
    histogram::{Parts, decode_span, deltas, floats, push},
};

use super::value;

/// Reads an exposition family by family and metric by metric. After an error nothing more comes.
#[derive(Debug, Clone)]
pub struct ProtobufParser<'a> {
    rest: Cursor<'a>,
    family: Family<'a>,
    metrics: Cursor<'a>,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
pub enum ProtobufEntry<'a> {
    /// A family begins.
    Family(Family<'a>),
    /// A metric of the family that began last.
    Metric(MetricMessage<'a>),
}

/// A family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is about; may be empty.
    pub help: &'a str,
    /// Its unit; may be empty.
    pub unit: &'a str,
    /// Its type.
    pub kind: MetricKind,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct MetricMessage<'a> {
    labels: Cursor<'a>,
    kind: MetricKind,
    /// The message of its kind.
    body: Cursor<'a>,
    /// The time that the target tells, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
}

/// Which series of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// The only one, called like the family.
    Value,
    /// `_count`
    Count,
    /// `_sum`
    Sum,
    /// `_bucket` with this upper bound as `le`.
    Bucket(f64),
    /// Called like the family, with this `quantile`.
    Quantile(f64),
}

/// A sample of a metric.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a> {
    /// Which series.
    pub part: Part,
    /// Its value.
    pub value: f64,
    /// An exemplar.
    pub exemplar: Option<ProtobufExemplar<'a>>,
}

/// An exemplar.
#[derive(Debug, Clone, Copy)]
pub struct ProtobufExemplar<'a> {
    labels: Cursor<'a>,
    /// The observed value.
    pub value: f64,
    /// When it was observed, in milliseconds since the Unix epoch.
    pub time_ms: Option<i64>,
}

impl<'a> ProtobufParser<'a> {
    /// Begins with a body, its compression undone.
    pub fn new(body: &'a [u8]) -> Self {
        let family = Family { name: "", help: "", unit: "", kind: MetricKind::Unknown };
        Self { rest: Cursor::new(body), family, metrics: Cursor::new(&[]) }
    }

    fn entry(&mut self) -> Result<Option<ProtobufEntry<'a>>, DecodeError> {
        while !self.metrics.is_at_end() {
            if let (4, Value::Bytes(metric)) = self.metrics.field()? {
                return MetricMessage::read(metric, self.family.kind).map(|m| Some(ProtobufEntry::Metric(m)));
            }
        }
        if self.rest.is_at_end() {
            return Ok(None);
        }
        let message = self.rest.take_block()?;
        self.family = read_family(message)?;
        self.metrics = message;
        Ok(Some(ProtobufEntry::Family(self.family)))
    }
}

impl<'a> Iterator for ProtobufParser<'a> {
    type Item = Result<ProtobufEntry<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entry();
        if entry.is_err() {
            (self.rest, self.metrics) = (Cursor::new(&[]), Cursor::new(&[]));
        }
        entry.transpose()
    }
}

/// What a family says beside its metrics, wherever it says it.
fn read_family(message: Cursor<'_>) -> Result<Family<'_>, DecodeError> {
    let mut family = Family { name: "", help: "", unit: "", kind: MetricKind::Counter };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Bytes(name)) => family.name = text(name)?,
            (2, Value::Bytes(help)) => family.help = text(help)?,
            (3, Value::Varint(kind)) => {
                family.kind = match kind {
                    0 => MetricKind::Counter,
                    1 => MetricKind::Gauge,
                    2 => MetricKind::Summary,
                    3 => MetricKind::Unknown,
                    4 => MetricKind::Histogram,
                    5 => MetricKind::GaugeHistogram,
                    _ => return Err(begin.error("a family has a type that is not known")),
                };
            }
            (5, Value::Bytes(unit)) => family.unit = text(unit)?,
            (1..=5, Value::Bytes(_)) => {}
            (1..=5, _) => return Err(begin.error("a field of a family has the wrong kind")),
            _ => {}
        }
    }
    if family.name.is_empty() {
        return Err(message.error("a family has no name"));
    }
    Ok(family)
}

fn text(bytes: Cursor<'_>) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes.bytes()).map_err(|_| bytes.error("a text is not valid UTF-8"))
}

impl<'a> MetricMessage<'a> {
    fn read(message: Cursor<'a>, kind: MetricKind) -> Result<Self, DecodeError> {
        let wanted = match kind {
            MetricKind::Gauge => 2,
            MetricKind::Counter => 3,
            MetricKind::Summary => 4,
            MetricKind::Histogram | MetricKind::GaugeHistogram => 7,
            _ => 5,
        };
        let (mut first, mut last) = (None, message);
        let mut body = Cursor::new(&[]);
        let mut time_ms = None;
        let mut rest = message;
        while !rest.is_at_end() {
            let begin = rest;
            match rest.field()? {
                (1, Value::Bytes(_)) => {
                    first.get_or_insert(begin);
                    last = rest;
                }
                (6, Value::Varint(time)) => time_ms = Some(time as i64).filter(|time| *time != 0),
                (number, Value::Bytes(found)) if number == wanted => body = found,
                (1 | 6, _) => return Err(begin.error("a field of a metric has the wrong kind")),
                _ => {}
            }
        }
        let labels = first.map_or(Cursor::new(&[]), |first| first.until(last));
        Ok(Self { labels, kind, body, time_ms })
    }

    /// The labels as they were sent. Equal bytes are equal labels; the reverse need not hold.
    pub fn label_bytes(&self) -> &'a [u8] {
        self.labels.bytes()
    }

    /// The labels, without the metric name.
    pub fn labels(&self) -> LabelPairs<'a> {
        LabelPairs::at(self.labels)
    }

    /// Names and values of a series of the metric, in no order; the family's name with the suffix and
    /// the label of the part among them. They are checked by nobody yet.
    pub fn pairs(&self, family: &str, part: Part) -> Result<Vec<(String, String)>, DecodeError> {
        let mut pairs = Vec::with_capacity(8);
        let suffix = match part {
            Part::Value | Part::Quantile(_) => "",
            Part::Count => "_count",
            Part::Sum => "_sum",
            Part::Bucket(_) => "_bucket",
        };
        pairs.push((METRIC_NAME.to_owned(), format!("{family}{suffix}")));
        for pair in self.labels() {
            let (name, value) = pair?;
            pairs.push((name.to_owned(), value.to_owned()));
        }
        if let Part::Bucket(bound) | Part::Quantile(bound) = part {
            let mut text = Vec::with_capacity(8);
            value::push_canonical(&mut text, bound);
            let name = if matches!(part, Part::Bucket(_)) { "le" } else { "quantile" };
            let text = String::from_utf8(text).expect("BUG: numbers are written in ASCII");
            pairs.push((name.to_owned(), text));
        }
        Ok(pairs)
    }

    /// The samples of the metric: of a histogram those of its classic form.
    pub fn points(&self) -> Points<'a> {
        Points { metric: *self, rest: self.body, step: Step::Begin, last_bound: f64::NEG_INFINITY }
    }

    /// When counting began, in milliseconds since the Unix epoch, if that is told.
    pub fn start_ms(&self) -> Result<Option<i64>, DecodeError> {
        let wanted = match self.kind {
            MetricKind::Counter => 3,
            MetricKind::Summary => 4,
            MetricKind::Histogram | MetricKind::GaugeHistogram => 15,
            _ => return Ok(None),
        };
        let mut rest = self.body;
        while !rest.is_at_end() {
            match rest.field()? {
                (number, Value::Bytes(time)) if number == wanted => return read_time(time).map(Some),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether a histogram has a native form.
    pub fn is_native(&self) -> Result<bool, DecodeError> {
        if !matches!(self.kind, MetricKind::Histogram | MetricKind::GaugeHistogram) {
            return Ok(false);
        }
        let mut rest = self.body;
        while !rest.is_at_end() {
            match rest.field()? {
                (6, Value::Fixed64(bits)) if f64::from_bits(bits) > 0.0 => return Ok(true),
                (7, Value::Varint(count)) if count > 0 => return Ok(true),
                (9 | 12, Value::Bytes(_)) => return Ok(true),
                _ => {}
            }
        }
        Ok(false)
    }

    /// The native form of a histogram as it was sent: whether it contradicts itself is told by
    /// [`NativeHistogram::validate`]. The inner error is about this histogram alone.
    pub fn native(&self) -> Result<Result<NativeHistogram, HistogramError>, DecodeError> {
        let mut histogram = NativeHistogram { sum: 0.0, ..NativeHistogram::stale() };
        if self.kind == MetricKind::GaugeHistogram {
            histogram.reset_hint = ResetHint::Gauge;
        }
        let mut parts = Parts::default();
        let mut schema = 0;
        let mut rest = self.body;
        while !rest.is_at_end() {
            let begin = rest;
            match rest.field()? {
                (1, Value::Varint(count)) => parts.count_integer = Some(count),
                (2, Value::Fixed64(bits)) => histogram.sum = f64::from_bits(bits),
                (4, Value::Fixed64(bits)) => parts.count_float = positive(bits),
                (5, Value::Varint(number)) => schema = unzigzag(number),
                (6, Value::Fixed64(bits)) => histogram.zero_threshold = f64::from_bits(bits),
                (7, Value::Varint(count)) => parts.zero_integer = Some(count),
                (8, Value::Fixed64(bits)) => parts.zero_float = positive(bits),
                (9, Value::Bytes(span)) => push(&mut histogram.negative_spans, decode_span(span)?, begin)?,
                (10, value) => deltas(&mut parts.negative_deltas, value, begin)?,
                (11, value) => floats(&mut parts.negative_counts, value, begin)?,
                (12, Value::Bytes(span)) => push(&mut histogram.positive_spans, decode_span(span)?, begin)?,
                (13, value) => deltas(&mut parts.positive_deltas, value, begin)?,
                (14, value) => floats(&mut parts.positive_counts, value, begin)?,
                _ => {}
            }
        }
        // Float counts go before whole ones, if there are any.
        if parts.count_float.is_some() || parts.zero_float.is_some() {
            (parts.count_integer, parts.zero_integer) = (None, None);
        }
        let Ok(known) = i8::try_from(schema) else {
            let cut = schema.clamp(i64::from(i8::MIN), i64::from(i8::MAX)) as i8;
            return Ok(Err(HistogramError::Schema(cut)));
        };
        histogram.schema = known;
        Ok(parts.counts().map(|counts| {
            histogram.counts = counts;
            histogram
        }))
    }

    /// The exemplars of a native histogram; where it has none of its own, those of the classic
    /// buckets. Only those with a time.
    pub fn native_exemplars(&self) -> Exemplars<'a> {
        Exemplars { own: self.body, buckets: self.body, has_own: false }
    }
}

fn positive(bits: u64) -> Option<f64> {
    Some(f64::from_bits(bits)).filter(|count| *count > 0.0)
}

/// Exemplars of a native histogram.
#[derive(Debug, Clone)]
pub struct Exemplars<'a> {
    own: Cursor<'a>,
    buckets: Cursor<'a>,
    has_own: bool,
}

impl<'a> Exemplars<'a> {
    fn exemplar(&mut self) -> Result<Option<ProtobufExemplar<'a>>, DecodeError> {
        while !self.own.is_at_end() {
            if let (16, Value::Bytes(message)) = self.own.field()? {
                self.has_own = true;
                let exemplar = read_exemplar(message)?;
                if exemplar.time_ms.is_some() {
                    return Ok(Some(exemplar));
                }
            }
        }
        while !self.has_own && !self.buckets.is_at_end() {
            if let (3, Value::Bytes(bucket)) = self.buckets.field()?
                && let Some(exemplar) = read_bucket(bucket)?.2
                && exemplar.time_ms.is_some()
            {
                return Ok(Some(exemplar));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Exemplars<'a> {
    type Item = Result<ProtobufExemplar<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let exemplar = self.exemplar();
        if exemplar.is_err() {
            (self.own, self.buckets) = (Cursor::new(&[]), Cursor::new(&[]));
        }
        exemplar.transpose()
    }
}

impl<'a> ProtobufExemplar<'a> {
    /// The labels.
    pub fn labels(self) -> LabelPairs<'a> {
        LabelPairs::at(self.labels)
    }
}

/// The samples of a metric.
#[derive(Debug, Clone)]
pub struct Points<'a> {
    metric: MetricMessage<'a>,
    rest: Cursor<'a>,
    step: Step,
    last_bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Sum,
    Each,
    End,
}

impl<'a> Points<'a> {
    fn point(&mut self) -> Result<Option<Point<'a>>, DecodeError> {
        match (self.metric.kind, self.step) {
            (_, Step::End) => Ok(None),
            (MetricKind::Summary | MetricKind::Histogram | MetricKind::GaugeHistogram, Step::Begin) => {
                self.step = Step::Sum;
                let value = self.observations()?;
                Ok(Some(Point { part: Part::Count, value, exemplar: None }))
            }
            (MetricKind::Summary | MetricKind::Histogram | MetricKind::GaugeHistogram, Step::Sum) => {
                self.step = Step::Each;
                let value = last_float(self.metric.body, 2)?;
                Ok(Some(Point { part: Part::Sum, value, exemplar: None }))
            }
            (MetricKind::Summary, _) => self.quantile(),
            (MetricKind::Histogram | MetricKind::GaugeHistogram, _) => self.bucket(),
            _ => {
                self.step = Step::End;
                let value = last_float(self.metric.body, 1)?;
                let is_counter = self.metric.kind == MetricKind::Counter;
                let exemplar = if is_counter { counter_exemplar(self.metric.body)? } else { None };
                Ok(Some(Point { part: Part::Value, value, exemplar }))
            }
        }
    }

    /// Observations; a float goes before a whole number.
    fn observations(&self) -> Result<f64, DecodeError> {
        let (mut whole, mut float) = (0, 0.0);
        let mut rest = self.metric.body;
        while !rest.is_at_end() {
            match rest.field()? {
                (1, Value::Varint(count)) => whole = count,
                (4, Value::Fixed64(bits)) => float = f64::from_bits(bits),
                _ => {}
            }
        }
        Ok(if float == 0.0 { whole as f64 } else { float })
    }

    fn quantile(&mut self) -> Result<Option<Point<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let (3, Value::Bytes(quantile)) = self.rest.field()? {
                let part = Part::Quantile(last_float(quantile, 1)?);
                return Ok(Some(Point { part, value: last_float(quantile, 2)?, exemplar: None }));
            }
        }
        Ok(None)
    }

    fn bucket(&mut self) -> Result<Option<Point<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let (3, Value::Bytes(bucket)) = self.rest.field()? {
                let (bound, value, exemplar) = read_bucket(bucket)?;
                self.last_bound = bound;
                // Nothing is beyond the last one.
                if bound == f64::INFINITY {
                    self.step = Step::End;
                }
                return Ok(Some(Point { part: Part::Bucket(bound), value, exemplar }));
            }
        }
        // The last bucket may be left out: it has all observations.
        self.step = Step::End;
        let value = self.observations()?;
        Ok(Some(Point { part: Part::Bucket(f64::INFINITY), value, exemplar: None }))
    }
}

impl<'a> Iterator for Points<'a> {
    type Item = Result<Point<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let point = self.point();
        if point.is_err() {
            self.step = Step::End;
        }
        point.transpose()
    }
}

/// The float of a field, 0 where it is not there.
fn last_float(message: Cursor<'_>, wanted: u64) -> Result<f64, DecodeError> {
    let mut value = 0.0;
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (number, Value::Fixed64(bits)) if number == wanted => value = f64::from_bits(bits),
            (number, _) if number == wanted => return Err(begin.error("a value has the wrong kind")),
            _ => {}
        }
    }
    Ok(value)
}

fn counter_exemplar(message: Cursor<'_>) -> Result<Option<ProtobufExemplar<'_>>, DecodeError> {
    let mut rest = message;
    while !rest.is_at_end() {
        if let (2, Value::Bytes(exemplar)) = rest.field()? {
            return read_exemplar(exemplar).map(Some);
        }
    }
    Ok(None)
}

type Bucket<'a> = (f64, f64, Option<ProtobufExemplar<'a>>);

/// Bound, count and exemplar.
fn read_bucket(message: Cursor<'_>) -> Result<Bucket<'_>, DecodeError> {
    let (mut whole, mut float, mut bound, mut exemplar) = (0, 0.0, 0.0, None);
    let mut rest = message;
    while !rest.is_at_end() {
        match rest.field()? {
            (1, Value::Varint(count)) => whole = count,
            (2, Value::Fixed64(bits)) => bound = f64::from_bits(bits),
            (3, Value::Bytes(found)) => exemplar = Some(read_exemplar(found)?),
            (4, Value::Fixed64(bits)) => float = f64::from_bits(bits),
            _ => {}
        }
    }
    Ok((bound, if float == 0.0 { whole as f64 } else { float }, exemplar))
}

fn read_exemplar(message: Cursor<'_>) -> Result<ProtobufExemplar<'_>, DecodeError> {
    let mut exemplar = ProtobufExemplar { labels: message, value: 0.0, time_ms: None };
    let mut rest = message;
    while !rest.is_at_end() {
        match rest.field()? {
            (2, Value::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
            (3, Value::Bytes(time)) => exemplar.time_ms = Some(read_time(time)?),
            _ => {}
        }
    }
    Ok(exemplar)
}

/// Seconds and nanoseconds, as milliseconds.
fn read_time(message: Cursor<'_>) -> Result<i64, DecodeError> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    let mut rest = message;
    while !rest.is_at_end() {
        match rest.field()? {
            (1, Value::Varint(number)) => seconds = number as i64,
            (2, Value::Varint(number)) => nanos = i64::from(number as i32),
            _ => {}
        }
    }
    seconds
        .checked_mul(1000)
        .and_then(|ms| ms.checked_add(nanos / 1_000_000))
        .ok_or(message.error("a time is out of range"))
}
