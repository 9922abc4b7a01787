//! Reading a request in place.

use std::ops::Range;

use vedette_model::MetricKind;

use crate::remote_write::{
    DecodeError, HistogramMessage,
    decode::decode_kind,
    fields::{Cursor, Value},
};

/// Tags of the fields that the hot path meets: number and "has a length" in one byte.
const SYMBOL: u8 = 4 << 3 | 2;
const TIME_SERIES: u8 = 5 << 3 | 2;
const LABELS: u8 = 1 << 3 | 2;
const SAMPLE: u8 = 2 << 3 | 2;
const SAMPLE_VALUE: u8 = 1 << 3 | 1;
const SAMPLE_TIME: u8 = 2 << 3;

/// A request; iterates over what it holds. After an error nothing more comes.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    rest: Cursor<'a>,
}

/// One entry of a request.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// The next text of the table, as it was sent: whether it is UTF-8 was not looked at.
    Symbol(SymbolMessage<'a>),
    /// A series with its samples.
    Series(SeriesMessage<'a>),
}

/// A text of the table.
#[derive(Debug, Clone, Copy)]
pub struct SymbolMessage<'a>(Cursor<'a>);

/// A series, not read yet.
#[derive(Debug, Clone, Copy)]
pub struct SeriesMessage<'a>(Cursor<'a>);

/// What a series holds, in the order in which it was sent. After an error nothing more comes.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: Cursor<'a>,
}

/// One part of a series.
#[derive(Debug, Clone, Copy)]
pub enum Field<'a> {
    /// Names and values of labels in turn; what comes in several parts belongs together.
    Labels(Refs<'a>),
    /// A number at a time.
    Sample(SampleMessage),
    /// A native histogram.
    Histogram(HistogramMessage<'a>),
    /// An exemplar.
    Exemplar(ExemplarMessage<'a>),
    /// What is known of the metric.
    Metadata(MetadataMessage),
}

/// A number at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleMessage {
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// The number.
    pub value: f64,
    /// Since when it counts, 0 where that is not told.
    pub start_ms: i64,
}

/// An exemplar; its labels are told by [`ExemplarMessage::labels`].
#[derive(Debug, Clone, Copy)]
pub struct ExemplarMessage<'a> {
    message: Cursor<'a>,
    /// The observed value.
    pub value: f64,
    /// When it was observed, milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// What is known of a metric: type, and help and unit as numbers of symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataMessage {
    /// The type.
    pub kind: MetricKind,
    /// A sentence for people.
    pub help: u32,
    /// The unit.
    pub unit: u32,
}

/// Numbers of symbols. After an error nothing more comes.
#[derive(Debug, Clone, Copy)]
pub struct Refs<'a>(Cursor<'a>);

impl<'a> Request<'a> {
    /// A request, its compression undone.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: Cursor::new(message) }
    }

    #[inline]
    fn item(&mut self) -> Result<Option<Item<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let Some(series) = self.rest.take_if(TIME_SERIES)? {
                return Ok(Some(Item::Series(SeriesMessage(series))));
            }
            if let Some(symbol) = self.rest.take_if(SYMBOL)? {
                return Ok(Some(Item::Symbol(SymbolMessage(symbol))));
            }
            let begin = self.rest;
            match self.rest.field()? {
                (4, Value::Bytes(symbol)) => return Ok(Some(Item::Symbol(SymbolMessage(symbol)))),
                (5, Value::Bytes(series)) => return Ok(Some(Item::Series(SeriesMessage(series)))),
                (4 | 5, _) => return Err(begin.error("a field of a request has the wrong kind")),
                // The fields of 1.0; Prometheus reserves them so that none is taken for the other.
                (1..=3, _) => return Err(begin.error("a field of remote write 1.0 in a request of 2.0")),
                _ => {}
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

impl<'a> SymbolMessage<'a> {
    /// The text.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        self.0.bytes()
    }

    /// Where it stands in the message.
    pub fn range(self) -> Range<usize> {
        let begin = self.0.position();
        begin..begin + self.0.bytes().len()
    }
}

impl<'a> SeriesMessage<'a> {
    /// Where it stands in the message.
    pub fn range(self) -> Range<usize> {
        let begin = self.0.position();
        begin..begin + self.0.bytes().len()
    }

    /// The series that stands there in a message.
    ///
    /// # Panics
    ///
    /// If the range is none that [`SeriesMessage::range`] gave for this message.
    pub fn at(message: &'a [u8], range: Range<usize>) -> Self {
        Self(Cursor::within(message, range))
    }

    /// All that it holds.
    #[inline]
    pub fn fields(self) -> Fields<'a> {
        Fields { rest: self.0 }
    }
}

impl<'a> Fields<'a> {
    #[inline]
    fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        while !self.rest.is_at_end() {
            if let Some(refs) = self.rest.take_if(LABELS)? {
                return Ok(Some(Field::Labels(Refs(refs))));
            }
            if let Some(sample) = self.rest.take_if(SAMPLE)? {
                return decode_sample(sample).map(|s| Some(Field::Sample(s)));
            }
            let begin = self.rest;
            match self.rest.field()? {
                // Not packed: one number.
                (1, Value::Varint(_)) => {
                    return Ok(Some(Field::Labels(Refs(begin.until(self.rest).after_tag()?))));
                }
                (1, Value::Bytes(refs)) => return Ok(Some(Field::Labels(Refs(refs)))),
                (2, Value::Bytes(sample)) => return decode_sample(sample).map(|s| Some(Field::Sample(s))),
                (3, Value::Bytes(histogram)) => {
                    return Ok(Some(Field::Histogram(HistogramMessage::new(histogram))));
                }
                (4, Value::Bytes(exemplar)) => {
                    return decode_exemplar(exemplar).map(|e| Some(Field::Exemplar(e)));
                }
                (5, Value::Bytes(metadata)) => {
                    return decode_metadata(metadata).map(|m| Some(Field::Metadata(m)));
                }
                (1..=5, _) => return Err(begin.error("a field of a series has the wrong kind")),
                _ => {}
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let field = self.next_field();
        if field.is_err() {
            self.rest = Cursor::new(&[]);
        }
        field.transpose()
    }
}

impl Iterator for Refs<'_> {
    type Item = Result<u32, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_at_end() {
            return None;
        }
        let begin = self.0;
        let number = self.0.varint().and_then(|number| {
            u32::try_from(number).map_err(|_| begin.error("the number of a symbol is too large"))
        });
        if number.is_err() {
            self.0 = Cursor::new(&[]);
        }
        Some(number)
    }
}

impl<'a> ExemplarMessage<'a> {
    /// The labels: numbers of names and values in turn, appended to `out`.
    pub fn labels(self, out: &mut Vec<u32>) -> Result<(), DecodeError> {
        for field in (Fields { rest: self.message }).only_labels() {
            for number in field? {
                out.push(number?);
            }
        }
        Ok(())
    }
}

impl<'a> Fields<'a> {
    /// Only the labels, whatever the other fields mean.
    fn only_labels(mut self) -> impl Iterator<Item = Result<Refs<'a>, DecodeError>> {
        std::iter::from_fn(move || {
            while !self.rest.is_at_end() {
                let begin = self.rest;
                let refs = match self.rest.field() {
                    Ok((1, Value::Bytes(refs))) => Ok(Refs(refs)),
                    Ok((1, Value::Varint(_))) => begin.until(self.rest).after_tag().map(Refs),
                    Ok((1, _)) => Err(begin.error("a field of an exemplar has the wrong kind")),
                    Ok(_) => continue,
                    Err(error) => Err(error),
                };
                if refs.is_err() {
                    self.rest = Cursor::new(&[]);
                }
                return Some(refs);
            }
            None
        })
    }
}

#[inline]
fn decode_sample(message: Cursor<'_>) -> Result<SampleMessage, DecodeError> {
    let mut sample = SampleMessage { time_ms: 0, value: 0.0, start_ms: 0 };
    let mut rest = message;
    // As all senders write it: value, then time.
    if let [SAMPLE_VALUE, after @ ..] = message.bytes()
        && let Some((value, [SAMPLE_TIME, ..])) = after.split_first_chunk()
    {
        sample.value = f64::from_le_bytes(*value);
        rest.array::<10>()?;
        sample.time_ms = rest.varint()? as i64;
    }
    while !rest.is_at_end() {
        let begin = rest;
        match rest.field()? {
            (1, Value::Fixed64(bits)) => sample.value = f64::from_bits(bits),
            (2, Value::Varint(time)) => sample.time_ms = time as i64,
            (3, Value::Varint(time)) => sample.start_ms = time as i64,
            (1..=3, _) => return Err(begin.error("a field of a sample has the wrong kind")),
            _ => {}
        }
    }
    Ok(sample)
}

fn decode_exemplar(message: Cursor<'_>) -> Result<ExemplarMessage<'_>, DecodeError> {
    let mut exemplar = ExemplarMessage { message, value: 0.0, time_ms: 0 };
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

fn decode_metadata(message: Cursor<'_>) -> Result<MetadataMessage, DecodeError> {
    let mut metadata = MetadataMessage { kind: MetricKind::Unknown, help: 0, unit: 0 };
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        let number = |number: u64| {
            u32::try_from(number).map_err(|_| begin.error("the number of a symbol is too large"))
        };
        match rest.field()? {
            (1, Value::Varint(kind)) => metadata.kind = decode_kind(kind),
            (3, Value::Varint(help)) => metadata.help = number(help)?,
            (4, Value::Varint(unit)) => metadata.unit = number(unit)?,
            (1 | 3 | 4, _) => return Err(begin.error("a field of metadata has the wrong kind")),
            _ => {}
        }
    }
    Ok(metadata)
}
