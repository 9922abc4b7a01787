//! Reading a request that is a message of Protocol Buffers.

use std::borrow::Cow;

use super::{
    Attribute, Buckets, Data, Exemplar, ExponentialPoint, HistogramPoint, Metric, NODES_MAX, NumberPoint,
    Request, ResourceMetrics, ScopeMetrics, SummaryPoint, Temporality, Value,
};
use crate::remote_write::{
    DecodeError,
    fields::{self, Cursor, unzigzag},
};

/// Values within values; deeper ones are refused.
const DEPTH_MAX: usize = 64;

type Result<T> = std::result::Result<T, DecodeError>;

pub(super) fn decode(body: &[u8]) -> Result<Request<'_>> {
    let mut reader = Reader { nodes_left: NODES_MAX };
    let mut request = Request::default();
    each(Cursor::new(body), |number, value, begin| {
        if number == 1 {
            request.resources.push(reader.resource(message(value, begin)?)?);
        }
        Ok(())
    })?;
    Ok(request)
}

/// Goes through the fields of a message.
fn each<'a>(
    message: Cursor<'a>,
    mut field: impl FnMut(u64, fields::Value<'a>, Cursor<'a>) -> Result<()>,
) -> Result<()> {
    let mut rest = message;
    while !rest.is_at_end() {
        let begin = rest;
        let (number, value) = rest.field()?;
        field(number, value, begin)?;
    }
    Ok(())
}

fn wrong(begin: Cursor<'_>) -> DecodeError {
    begin.error("a field has the wrong kind")
}

fn message<'a>(value: fields::Value<'a>, begin: Cursor<'a>) -> Result<Cursor<'a>> {
    match value {
        fields::Value::Bytes(message) => Ok(message),
        _ => Err(wrong(begin)),
    }
}

fn text<'a>(value: fields::Value<'a>, begin: Cursor<'a>) -> Result<Cow<'a, str>> {
    let bytes = message(value, begin)?;
    let text = std::str::from_utf8(bytes.bytes()).map_err(|_| bytes.error("a text is not valid UTF-8"))?;
    Ok(Cow::Borrowed(text))
}

fn varint(value: fields::Value<'_>, begin: Cursor<'_>) -> Result<u64> {
    match value {
        fields::Value::Varint(number) => Ok(number),
        _ => Err(wrong(begin)),
    }
}

fn fixed(value: fields::Value<'_>, begin: Cursor<'_>) -> Result<u64> {
    match value {
        fields::Value::Fixed64(bits) => Ok(bits),
        _ => Err(wrong(begin)),
    }
}

fn float(value: fields::Value<'_>, begin: Cursor<'_>) -> Result<f64> {
    fixed(value, begin).map(f64::from_bits)
}

/// A whole number that may be negative, in 32 bits.
fn signed(value: fields::Value<'_>, begin: Cursor<'_>) -> Result<i32> {
    i32::try_from(unzigzag(varint(value, begin)?)).map_err(|_| begin.error("a number is out of range"))
}

fn temporality(number: u64) -> Temporality {
    match number {
        1 => Temporality::Delta,
        2 => Temporality::Cumulative,
        _ => Temporality::Unspecified,
    }
}

/// Repeated numbers of eight bytes come packed, or one by one.
fn fixed_list(out: &mut Vec<u64>, value: fields::Value<'_>, begin: Cursor<'_>) -> Result<()> {
    match value {
        fields::Value::Fixed64(bits) => out.push(bits),
        fields::Value::Bytes(mut packed) => {
            while !packed.is_at_end() {
                out.push(u64::from_le_bytes(packed.array()?));
            }
        }
        _ => return Err(wrong(begin)),
    }
    Ok(())
}

/// Counts what the tree takes.
struct Reader {
    nodes_left: usize,
}

impl Reader {
    fn node(&mut self, begin: Cursor<'_>) -> Result<()> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or_else(|| {
            begin.error("a request has too many points, attributes and exemplars; one more is")
        })?;
        Ok(())
    }

    fn resource<'a>(&mut self, cursor: Cursor<'a>) -> Result<ResourceMetrics<'a>> {
        self.node(cursor)?;
        let mut resource = ResourceMetrics::default();
        each(cursor, |number, value, begin| {
            match number {
                1 => each(message(value, begin)?, |number, value, begin| {
                    if number == 1 {
                        resource.attributes.push(self.attribute(message(value, begin)?, 0)?);
                    }
                    Ok(())
                })?,
                2 => resource.scopes.push(self.scope(message(value, begin)?)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(resource)
    }

    fn scope<'a>(&mut self, cursor: Cursor<'a>) -> Result<ScopeMetrics<'a>> {
        self.node(cursor)?;
        let mut scope = ScopeMetrics::default();
        each(cursor, |number, value, begin| {
            match number {
                1 => each(message(value, begin)?, |number, value, begin| {
                    match number {
                        1 => scope.name = text(value, begin)?,
                        2 => scope.version = text(value, begin)?,
                        3 => scope.attributes.push(self.attribute(message(value, begin)?, 0)?),
                        _ => {}
                    }
                    Ok(())
                })?,
                2 => scope.metrics.push(self.metric(message(value, begin)?)?),
                3 => scope.schema_url = text(value, begin)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(scope)
    }

    fn metric<'a>(&mut self, cursor: Cursor<'a>) -> Result<Metric<'a>> {
        self.node(cursor)?;
        let mut metric = Metric::default();
        each(cursor, |number, value, begin| {
            match number {
                1 => metric.name = text(value, begin)?,
                2 => metric.description = text(value, begin)?,
                3 => metric.unit = text(value, begin)?,
                5 => metric.data = Data::Gauge(self.points(message(value, begin)?, Self::number)?.0),
                7 => {
                    let (points, temporality, is_monotonic) =
                        self.points(message(value, begin)?, Self::number)?;
                    metric.data = Data::Sum { points, temporality, is_monotonic };
                }
                9 => {
                    let (points, temporality, _) = self.points(message(value, begin)?, Self::histogram)?;
                    metric.data = Data::Histogram { points, temporality };
                }
                10 => {
                    let (points, temporality, _) = self.points(message(value, begin)?, Self::exponential)?;
                    metric.data = Data::ExponentialHistogram { points, temporality };
                }
                11 => metric.data = Data::Summary(self.points(message(value, begin)?, Self::summary)?.0),
                _ => {}
            }
            Ok(())
        })?;
        Ok(metric)
    }

    /// Points of one kind, their temporality, and whether they only go up.
    fn points<'a, P>(
        &mut self,
        cursor: Cursor<'a>,
        read: impl Fn(&mut Self, Cursor<'a>) -> Result<P>,
    ) -> Result<(Vec<P>, Temporality, bool)> {
        let (mut points, mut told, mut is_monotonic) = (Vec::new(), Temporality::Unspecified, false);
        each(cursor, |number, value, begin| {
            match number {
                1 => {
                    self.node(begin)?;
                    points.push(read(self, message(value, begin)?)?);
                }
                2 => told = temporality(varint(value, begin)?),
                3 => is_monotonic = varint(value, begin)? != 0,
                _ => {}
            }
            Ok(())
        })?;
        Ok((points, told, is_monotonic))
    }

    fn number<'a>(&mut self, cursor: Cursor<'a>) -> Result<NumberPoint<'a>> {
        let mut point = NumberPoint::default();
        each(cursor, |number, value, begin| {
            match number {
                2 => point.common.start_ns = fixed(value, begin)?,
                3 => point.common.time_ns = fixed(value, begin)?,
                4 => point.value = float(value, begin)?,
                5 => point.exemplars.push(self.exemplar(message(value, begin)?)?),
                6 => point.value = fixed(value, begin)? as i64 as f64,
                7 => point.common.attributes.push(self.attribute(message(value, begin)?, 0)?),
                8 => point.common.flags = varint(value, begin)? as u32,
                _ => {}
            }
            Ok(())
        })?;
        Ok(point)
    }

    fn histogram<'a>(&mut self, cursor: Cursor<'a>) -> Result<HistogramPoint<'a>> {
        let mut point = HistogramPoint::default();
        let mut bounds = Vec::new();
        each(cursor, |number, value, begin| {
            match number {
                2 => point.common.start_ns = fixed(value, begin)?,
                3 => point.common.time_ns = fixed(value, begin)?,
                4 => point.count = fixed(value, begin)?,
                5 => point.sum = Some(float(value, begin)?),
                6 => fixed_list(&mut point.buckets, value, begin)?,
                7 => fixed_list(&mut bounds, value, begin)?,
                8 => point.exemplars.push(self.exemplar(message(value, begin)?)?),
                9 => point.common.attributes.push(self.attribute(message(value, begin)?, 0)?),
                10 => point.common.flags = varint(value, begin)? as u32,
                _ => {}
            }
            Ok(())
        })?;
        point.bounds = bounds.into_iter().map(f64::from_bits).collect();
        Ok(point)
    }

    fn exponential<'a>(&mut self, cursor: Cursor<'a>) -> Result<ExponentialPoint<'a>> {
        let mut point = ExponentialPoint::default();
        each(cursor, |number, value, begin| {
            match number {
                1 => point.common.attributes.push(self.attribute(message(value, begin)?, 0)?),
                2 => point.common.start_ns = fixed(value, begin)?,
                3 => point.common.time_ns = fixed(value, begin)?,
                4 => point.count = fixed(value, begin)?,
                5 => point.sum = Some(float(value, begin)?),
                6 => point.scale = signed(value, begin)?,
                7 => point.zero_count = fixed(value, begin)?,
                8 => point.positive = buckets(message(value, begin)?)?,
                9 => point.negative = buckets(message(value, begin)?)?,
                10 => point.common.flags = varint(value, begin)? as u32,
                11 => point.exemplars.push(self.exemplar(message(value, begin)?)?),
                14 => point.zero_threshold = float(value, begin)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(point)
    }

    fn summary<'a>(&mut self, cursor: Cursor<'a>) -> Result<SummaryPoint<'a>> {
        let mut point = SummaryPoint::default();
        each(cursor, |number, value, begin| {
            match number {
                2 => point.common.start_ns = fixed(value, begin)?,
                3 => point.common.time_ns = fixed(value, begin)?,
                4 => point.count = fixed(value, begin)?,
                5 => point.sum = float(value, begin)?,
                6 => {
                    self.node(begin)?;
                    let mut pair = (0.0, 0.0);
                    each(message(value, begin)?, |number, value, begin| {
                        match number {
                            1 => pair.0 = float(value, begin)?,
                            2 => pair.1 = float(value, begin)?,
                            _ => {}
                        }
                        Ok(())
                    })?;
                    point.quantiles.push(pair);
                }
                7 => point.common.attributes.push(self.attribute(message(value, begin)?, 0)?),
                8 => point.common.flags = varint(value, begin)? as u32,
                _ => {}
            }
            Ok(())
        })?;
        Ok(point)
    }

    fn exemplar<'a>(&mut self, cursor: Cursor<'a>) -> Result<Exemplar<'a>> {
        self.node(cursor)?;
        let mut exemplar = Exemplar::default();
        each(cursor, |number, value, begin| {
            match number {
                2 => exemplar.time_ns = fixed(value, begin)?,
                3 => exemplar.value = float(value, begin)?,
                4 => exemplar.span_id = message(value, begin)?.bytes().to_vec(),
                5 => exemplar.trace_id = message(value, begin)?.bytes().to_vec(),
                6 => exemplar.value = fixed(value, begin)? as i64 as f64,
                7 => exemplar.attributes.push(self.attribute(message(value, begin)?, 0)?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(exemplar)
    }

    fn attribute<'a>(&mut self, cursor: Cursor<'a>, depth: usize) -> Result<Attribute<'a>> {
        self.node(cursor)?;
        let mut attribute = Attribute::default();
        each(cursor, |number, value, begin| {
            match number {
                1 => attribute.key = text(value, begin)?,
                2 => attribute.value = self.value(message(value, begin)?, depth)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attribute)
    }

    fn value<'a>(&mut self, cursor: Cursor<'a>, depth: usize) -> Result<Value<'a>> {
        if depth >= DEPTH_MAX {
            return Err(cursor.error("a value lies too deep within others"));
        }
        let mut found = Value::Empty;
        each(cursor, |number, value, begin| {
            found = match number {
                1 => Value::Text(text(value, begin)?),
                2 => Value::Bool(varint(value, begin)? != 0),
                3 => Value::Integer(varint(value, begin)? as i64),
                4 => Value::Float(float(value, begin)?),
                5 => {
                    let mut values = Vec::new();
                    each(message(value, begin)?, |number, value, begin| {
                        if number == 1 {
                            self.node(begin)?;
                            values.push(self.value(message(value, begin)?, depth + 1)?);
                        }
                        Ok(())
                    })?;
                    Value::List(values)
                }
                6 => {
                    let mut attributes = Vec::new();
                    each(message(value, begin)?, |number, value, begin| {
                        if number == 1 {
                            attributes.push(self.attribute(message(value, begin)?, depth + 1)?);
                        }
                        Ok(())
                    })?;
                    Value::Map(attributes)
                }
                7 => Value::Bytes(Cow::Borrowed(message(value, begin)?.bytes())),
                _ => return Ok(()),
            };
            Ok(())
        })?;
        Ok(found)
    }
}

fn buckets(cursor: Cursor<'_>) -> Result<Buckets> {
    let mut buckets = Buckets::default();
    each(cursor, |number, value, begin| {
        match (number, value) {
            (1, value) => buckets.offset = signed(value, begin)?,
            (2, fields::Value::Varint(count)) => buckets.counts.push(count),
            (2, fields::Value::Bytes(mut packed)) => {
                while !packed.is_at_end() {
                    buckets.counts.push(packed.varint()?);
                }
            }
            (2, _) => return Err(wrong(begin)),
            _ => {}
        }
        Ok(())
    })?;
    Ok(buckets)
}
