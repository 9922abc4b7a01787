//! Reading a request in place.

use vedette_model::{MetricKind, MetricMetadata};

use super::{
    DecodeError, HistogramMessage,
    fields::{Cursor, Value},
};

/// Tags of the fields that the hot path meets: number and "has a length" in one byte.
const TIME_SERIES: u8 = 1 << 3 | 2;
const LABEL: u8 = 1 << 3 | 2;
const SAMPLE: u8 = 2 << 3 | 2;
const LABEL_NAME: u8 = 1 << 3 | 2;
const LABEL_VALUE: u8 = 2 << 3 | 2;
const SAMPLE_VALUE: u8 = 1 << 3 | 1;
const SAMPLE_TIME: u8 = 2 << 3;

/// Bytes of a time that lies between the years 1971 and 2109.
const TIME_BYTES: usize = 6;

/// A request; iterates over what it holds. After an error nothing more comes.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    rest: Cursor<'a>,
    guesses: bool,
}

/// One entry of a request.
#[derive(Debug, Clone)]
pub enum Item<'a> {
    /// A series with its samples.
    Series(SeriesMessage<'a>),
    /// What is known of a metric family.
    Metadata(MetricMetadata),
}

/// A series with its samples.
#[derive(Debug, Clone, Copy)]
pub struct SeriesMessage<'a> {
    labels: Cursor<'a>,
    points: Cursor<'a>,
}

/// One sample, or an exemplar.
#[derive(Debug, Clone, Copy)]
pub enum Point<'a> {
    /// A number at a time.
    Sample {
        /// Milliseconds since the Unix epoch.
        time_ms: i64,
        /// The number.
        value: f64,
    },
    /// A native histogram.
    Histogram(HistogramMessage<'a>),
    /// An exemplar.
    Exemplar(ExemplarMessage<'a>),
}

/// An exemplar.
#[derive(Debug, Clone, Copy)]
pub struct ExemplarMessage<'a> {
    labels: Cursor<'a>,
    /// The observed value.
    pub value: f64,
    /// When it was observed, milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Names and values of labels in the order in which they were sent.
#[derive(Debug, Clone)]
pub struct LabelPairs<'a> {
    rest: Cursor<'a>,
}

/// The samples and exemplars of a series in the order in which they were sent.
#[derive(Debug, Clone)]
pub struct Points<'a> {
    rest: Cursor<'a>,
}

impl<'a> Request<'a> {
    /// A request, its compression undone.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: Cursor::new(message), guesses: false }
    }

    /// The same without walking over the labels of a series that looks as if it had one sample at
    /// its end. Such a guess is true if [`SeriesMessage::has_whole_labels`], and only then: a
    /// receiver that finds a series by its label bytes has asked this when it met them first, and
    /// need not ask again.
    pub fn guessing(message: &'a [u8]) -> Self {
        Self { guesses: true, ..Self::new(message) }
    }

    #[inline]
    fn item(&mut self) -> Result<Option<Item<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let Some(message) = self.rest.take_if(TIME_SERIES)? {
                let guess = if self.guesses { SeriesMessage::guess(message) } else { None };
                let series = guess.map_or_else(|| SeriesMessage::new(message), Ok);
                return series.map(|s| Some(Item::Series(s)));
            }
            // What later versions of the message add is passed over.
            if let (3, Value::Bytes(metadata)) = self.rest.field()? {
                return decode_metadata(metadata).map(|m| Some(Item::Metadata(m)));
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Request<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let item = self.item();
        if item.is_err() {
            self.rest = Cursor::new(&[]);
        }
        item.transpose()
    }
}

impl<'a> SeriesMessage<'a> {
    /// Labels, then one sample: its value, unless that is zero, and its time.
    #[inline]
    fn guess(message: Cursor<'a>) -> Option<Self> {
        const WITH_VALUE: usize = 9 + 1 + TIME_BYTES;
        const WITHOUT: usize = 1 + TIME_BYTES;
        let bytes = message.bytes();
        let with_value = bytes.last_chunk::<{ 2 + WITH_VALUE }>();
        let sample = match (with_value, bytes.last_chunk::<{ 2 + WITHOUT }>()) {
            (Some([SAMPLE, length, SAMPLE_VALUE, ..]), _) if usize::from(*length) == WITH_VALUE => WITH_VALUE,
            (_, Some([SAMPLE, length, SAMPLE_TIME, ..])) if usize::from(*length) == WITHOUT => WITHOUT,
            _ => return None,
        };
        let (labels, points) = message.split_before_last(2 + sample);
        Some(Self { labels, points })
    }

    /// Whether the label bytes are labels from beginning to end.
    pub fn has_whole_labels(label_bytes: &[u8]) -> bool {
        let mut rest = Cursor::new(label_bytes);
        while let Ok(Some(_)) = rest.take_if(LABEL) {}
        rest.is_at_end()
    }

    fn new(message: Cursor<'a>) -> Result<Self, DecodeError> {
        let mut rest = message;
        while rest.take_if(LABEL)?.is_some() {}
        let (labels, points) = (message.until(rest), rest);
        // Labels may be spread over the series. No sender is known that does this; for it the
        // labels reach up to the last of them, and both parts hold fields of the other.
        let mut last = None;
        while !rest.is_at_end() {
            if rest.take_if(SAMPLE)?.is_none() && rest.field()?.0 == 1 {
                last = Some(rest);
            }
        }
        Ok(match last {
            None => Self { labels, points },
            Some(last) => Self { labels: message.until(last), points: message },
        })
    }

    /// The labels as they were sent. Equal bytes are equal labels; the reverse need not hold.
    #[inline]
    pub fn label_bytes(self) -> &'a [u8] {
        self.labels.bytes()
    }

    /// Where the series' labels begin in the message.
    pub fn position(self) -> usize {
        self.labels.position()
    }

    /// The labels.
    pub fn labels(self) -> LabelPairs<'a> {
        LabelPairs { rest: self.labels }
    }

    /// Samples and exemplars.
    #[inline]
    pub fn points(self) -> Points<'a> {
        Points { rest: self.points }
    }
}

impl<'a> LabelPairs<'a> {
    /// The labels in bytes that [`SeriesMessage::label_bytes`] gave; places in errors are places in
    /// these.
    pub fn in_bytes(bytes: &'a [u8]) -> Self {
        Self { rest: Cursor::new(bytes) }
    }

    /// The labels among the fields of a message.
    pub(crate) fn at(message: Cursor<'a>) -> Self {
        Self { rest: message }
    }

    fn pair(&mut self) -> Result<Option<(&'a str, &'a str)>, DecodeError> {
        while !self.rest.is_at_end() {
            if let (1, Value::Bytes(label)) = self.rest.field()? {
                return decode_label(label).map(Some);
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = Result<(&'a str, &'a str), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.pair();
        if pair.is_err() {
            self.rest = Cursor::new(&[]);
        }
        pair.transpose()
    }
}

impl<'a> Points<'a> {
    fn point(&mut self) -> Result<Option<Point<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let Some(sample) = self.rest.take_if(SAMPLE)? {
                let (time_ms, value) = decode_sample(sample)?;
                return Ok(Some(Point::Sample { time_ms, value }));
            }
            match self.rest.field()? {
                (3, Value::Bytes(exemplar)) => {
                    return decode_exemplar(exemplar).map(|e| Some(Point::Exemplar(e)));
                }
                (4, Value::Bytes(histogram)) => {
                    return Ok(Some(Point::Histogram(HistogramMessage::new(histogram))));
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Points<'a> {
    type Item = Result<Point<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let point = self.point();
        if point.is_err() {
            self.rest = Cursor::new(&[]);
        }
        point.transpose()
    }
}

impl<'a> ExemplarMessage<'a> {
    /// The labels.
    pub fn labels(self) -> LabelPairs<'a> {
        LabelPairs { rest: self.labels }
    }
}

#[inline]
fn decode_sample(message: Cursor<'_>) -> Result<(i64, f64), DecodeError> {
    // As all senders write it: value, then time.
    if let [SAMPLE_VALUE, rest @ ..] = message.bytes()
        && let Some((value, [SAMPLE_TIME, ..])) = rest.split_first_chunk()
    {
        let value = f64::from_le_bytes(*value);
        let mut rest = message;
        rest.array::<10>()?;
        let time_ms = rest.varint()? as i64;
        if rest.is_at_end() {
            return Ok((time_ms, value));
        }
    }
    // Zeros may be left out.
    let (mut time_ms, mut value) = (0, 0.0);
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Fixed64(bits)) => value = f64::from_bits(bits),
            (2, Value::Varint(time)) => time_ms = time as i64,
            (1 | 2, _) => return Err(begin.error("a field of a sample has the wrong kind")),
            _ => {}
        }
    }
    Ok((time_ms, value))
}

fn decode_label<'a>(message: Cursor<'a>) -> Result<(&'a str, &'a str), DecodeError> {
    let mut rest = message;
    if let Some(name) = rest.take_if(LABEL_NAME)?
        && let Some(value) = rest.take_if(LABEL_VALUE)?
        && rest.is_at_end()
    {
        return Ok((text(name)?, text(value)?));
    }
    let (mut name, mut value) = ("", "");
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Bytes(bytes)) => name = text(bytes)?,
            (2, Value::Bytes(bytes)) => value = text(bytes)?,
            (1 | 2, _) => return Err(begin.error("a field of a label has the wrong kind")),
            _ => {}
        }
    }
    Ok((name, value))
}

fn decode_exemplar<'a>(message: Cursor<'a>) -> Result<ExemplarMessage<'a>, DecodeError> {
    let mut exemplar = ExemplarMessage { labels: message, value: 0.0, time_ms: 0 };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (2, Value::Fixed64(bits)) => exemplar.value = f64::from_bits(bits),
            (3, Value::Varint(time)) => exemplar.time_ms = time as i64,
            (2 | 3, _) => return Err(begin.error("a field of an exemplar has the wrong kind")),
            _ => {}
        }
    }
    Ok(exemplar)
}

fn decode_metadata(message: Cursor<'_>) -> Result<MetricMetadata, DecodeError> {
    let mut metadata = MetricMetadata {
        family: String::new(),
        kind: MetricKind::Unknown,
        unit: String::new(),
        help: String::new(),
    };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Varint(kind)) => metadata.kind = decode_kind(kind),
            (2, Value::Bytes(bytes)) => text(bytes)?.clone_into(&mut metadata.family),
            (4, Value::Bytes(bytes)) => text(bytes)?.clone_into(&mut metadata.help),
            (5, Value::Bytes(bytes)) => text(bytes)?.clone_into(&mut metadata.unit),
            (1 | 2 | 4 | 5, _) => return Err(begin.error("a field of metadata has the wrong kind")),
            _ => {}
        }
    }
    Ok(metadata)
}

pub(crate) fn decode_kind(kind: u64) -> MetricKind {
    match kind {
        1 => MetricKind::Counter,
        2 => MetricKind::Gauge,
        3 => MetricKind::Histogram,
        4 => MetricKind::GaugeHistogram,
        5 => MetricKind::Summary,
        6 => MetricKind::Info,
        7 => MetricKind::StateSet,
        _ => MetricKind::Unknown,
    }
}

fn text<'a>(bytes: Cursor<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes.bytes()).map_err(|_| bytes.error("a text is not valid UTF-8"))
}
