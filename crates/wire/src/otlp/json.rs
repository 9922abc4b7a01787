//! Reading a request that is JSON, in the form that Protocol Buffers lay down for it, but for what OTLP
//! does otherwise: identifiers are hexadecimal, names are not known by other spellings, and what is not
//! known is passed over.
//!
//! The structs here are the form; the tree is made of them at once, point by point.

use std::{borrow::Cow, cell::Cell, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

use super::{
    Attribute, Buckets, Common, Data, Exemplar, ExponentialPoint, HistogramPoint, Metric, NODES_MAX,
    NumberPoint, Request, ResourceMetrics, ScopeMetrics, SummaryPoint, Temporality, Value,
    value::{from_base64, from_hex},
};

thread_local! {
    /// What the tree that this thread makes may still take.
    static NODES_LEFT: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn decode(body: &[u8]) -> serde_json::Result<Request<'_>> {
    NODES_LEFT.set(NODES_MAX);
    let form: RequestForm<'_> = serde_json::from_slice(body)?;
    Ok(Request { resources: form.resource_metrics.0 })
}

/// A list whose items are counted, and made from their form while they are read. `null` is none.
#[derive(Debug)]
struct Counted<T, F>(Vec<T>, PhantomData<F>);

impl<T, F> Default for Counted<T, F> {
    fn default() -> Self {
        Self(Vec::new(), PhantomData)
    }
}

impl<'de, T: From<F>, F: Deserialize<'de>> Deserialize<'de> for Counted<T, F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, F>(PhantomData<(T, F)>);

        impl<'de, T: From<F>, F: Deserialize<'de>> Visitor<'de> for Items<T, F> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_unit<E>(self) -> Result<Vec<T>, E> {
                Ok(Vec::new())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<T>, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = items.next_element::<F>()? {
                    let left = NODES_LEFT.get().checked_sub(1).ok_or_else(|| {
                        de::Error::custom("a request has too many points, attributes and exemplars")
                    })?;
                    NODES_LEFT.set(left);
                    out.push(T::from(item));
                }
                Ok(out)
            }
        }

        deserializer.deserialize_any(Items(PhantomData)).map(|items| Self(items, PhantomData))
    }
}

/// A number that may stand in quotes, as whole numbers of 64 bits do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Number {
    #[default]
    None,
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl Number {
    fn unsigned(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Unsigned(n) => n,
            Self::Signed(n) => n.max(0) as u64,
            Self::Float(n) => n as u64,
        }
    }

    fn signed(self) -> i64 {
        match self {
            Self::None => 0,
            Self::Unsigned(n) => i64::try_from(n).unwrap_or(i64::MAX),
            Self::Signed(n) => n,
            Self::Float(n) => n as i64,
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Unsigned(n) => n as f64,
            Self::Signed(n) => n as f64,
            Self::Float(n) => n,
        }
    }

    fn is_there(self) -> bool {
        self != Self::None
    }

    fn of_text(text: &str) -> Option<Self> {
        if let Ok(n) = text.parse() {
            return Some(Self::Unsigned(n));
        }
        if let Ok(n) = text.parse() {
            return Some(Self::Signed(n));
        }
        match text {
            "NaN" => Some(Self::Float(f64::NAN)),
            "Infinity" => Some(Self::Float(f64::INFINITY)),
            "-Infinity" => Some(Self::Float(f64::NEG_INFINITY)),
            text => text.parse().ok().map(Self::Float),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, in quotes or not")
            }

            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number::None)
            }

            fn visit_u64<E>(self, n: u64) -> Result<Number, E> {
                Ok(Number::Unsigned(n))
            }

            fn visit_i64<E>(self, n: i64) -> Result<Number, E> {
                Ok(Number::Signed(n))
            }

            fn visit_f64<E>(self, n: f64) -> Result<Number, E> {
                Ok(Number::Float(n))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                Number::of_text(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Digits)
    }
}

/// A kind of temporality by its number or its name.
#[derive(Debug, Clone, Copy, Default)]
struct TemporalityForm(Temporality);

impl<'de> Deserialize<'de> for TemporalityForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Number(u64),
            Name(Cow<'a, str>),
            None,
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Number(1) => Temporality::Delta,
            Form::Number(2) => Temporality::Cumulative,
            Form::Name(name) if name == "AGGREGATION_TEMPORALITY_DELTA" => Temporality::Delta,
            Form::Name(name) if name == "AGGREGATION_TEMPORALITY_CUMULATIVE" => Temporality::Cumulative,
            _ => Temporality::Unspecified,
        }))
    }
}

/// Bytes in hexadecimal digits.
#[derive(Debug, Default)]
struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        from_hex(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("an identifier is not in hexadecimal digits"))
    }
}

/// Bytes in base 64.
#[derive(Debug)]
struct Base64(Vec<u8>);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Cow<'de, str> = Deserialize::deserialize(deserializer)?;
        from_base64(&text).map(Self).ok_or_else(|| de::Error::custom("bytes are not in base 64"))
    }
}

type Attributes<'a> = Counted<Attribute<'a>, AttributeForm<'a>>;

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct RequestForm<'a> {
    #[serde(borrow)]
    resource_metrics: Counted<ResourceMetrics<'a>, ResourceMetricsForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ResourceMetricsForm<'a> {
    #[serde(borrow)]
    resource: ResourceForm<'a>,
    #[serde(borrow)]
    scope_metrics: Counted<ScopeMetrics<'a>, ScopeMetricsForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ResourceForm<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ScopeMetricsForm<'a> {
    #[serde(borrow)]
    scope: ScopeForm<'a>,
    #[serde(borrow)]
    metrics: Counted<Metric<'a>, MetricForm<'a>>,
    #[serde(borrow)]
    schema_url: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ScopeForm<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    attributes: Attributes<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct MetricForm<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Cow<'a, str>,
    #[serde(borrow)]
    unit: Cow<'a, str>,
    #[serde(borrow)]
    gauge: Option<PointsForm<NumberPoint<'a>, NumberForm<'a>>>,
    #[serde(borrow)]
    sum: Option<PointsForm<NumberPoint<'a>, NumberForm<'a>>>,
    #[serde(borrow)]
    histogram: Option<PointsForm<HistogramPoint<'a>, HistogramForm<'a>>>,
    #[serde(borrow)]
    exponential_histogram: Option<PointsForm<ExponentialPoint<'a>, ExponentialForm<'a>>>,
    #[serde(borrow)]
    summary: Option<PointsForm<SummaryPoint<'a>, SummaryForm<'a>>>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase", bound(deserialize = "T: From<F>, F: Deserialize<'de>"))]
struct PointsForm<T, F> {
    data_points: Counted<T, F>,
    aggregation_temporality: TemporalityForm,
    is_monotonic: bool,
}

impl<T, F> Default for PointsForm<T, F> {
    fn default() -> Self {
        Self {
            data_points: Counted::default(),
            aggregation_temporality: TemporalityForm::default(),
            is_monotonic: false,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct NumberForm<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
    start_time_unix_nano: Number,
    time_unix_nano: Number,
    flags: u32,
    as_double: Number,
    as_int: Number,
    #[serde(borrow)]
    exemplars: Counted<Exemplar<'a>, ExemplarForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct HistogramForm<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
    start_time_unix_nano: Number,
    time_unix_nano: Number,
    flags: u32,
    count: Number,
    sum: Option<Number>,
    bucket_counts: Vec<Number>,
    explicit_bounds: Vec<Number>,
    #[serde(borrow)]
    exemplars: Counted<Exemplar<'a>, ExemplarForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ExponentialForm<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
    start_time_unix_nano: Number,
    time_unix_nano: Number,
    flags: u32,
    count: Number,
    sum: Option<Number>,
    scale: i32,
    zero_count: Number,
    zero_threshold: Number,
    positive: BucketsForm,
    negative: BucketsForm,
    #[serde(borrow)]
    exemplars: Counted<Exemplar<'a>, ExemplarForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct BucketsForm {
    offset: i32,
    bucket_counts: Vec<Number>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct SummaryForm<'a> {
    #[serde(borrow)]
    attributes: Attributes<'a>,
    start_time_unix_nano: Number,
    time_unix_nano: Number,
    flags: u32,
    count: Number,
    sum: Number,
    quantile_values: Counted<(f64, f64), QuantileForm>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct QuantileForm {
    quantile: Number,
    value: Number,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ExemplarForm<'a> {
    #[serde(borrow)]
    filtered_attributes: Attributes<'a>,
    time_unix_nano: Number,
    as_double: Number,
    as_int: Number,
    span_id: Hex,
    trace_id: Hex,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AttributeForm<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<ValueForm<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct ValueForm<'a> {
    #[serde(borrow)]
    string_value: Option<Cow<'a, str>>,
    bool_value: Option<bool>,
    int_value: Option<Number>,
    double_value: Option<Number>,
    #[serde(borrow)]
    array_value: Option<ArrayForm<'a>>,
    #[serde(borrow)]
    kvlist_value: Option<MapForm<'a>>,
    bytes_value: Option<Base64>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ArrayForm<'a> {
    #[serde(borrow)]
    values: Counted<Value<'a>, Box<ValueForm<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MapForm<'a> {
    #[serde(borrow)]
    values: Counted<Attribute<'a>, Box<AttributeForm<'a>>>,
}

impl<'a> From<ResourceMetricsForm<'a>> for ResourceMetrics<'a> {
    fn from(form: ResourceMetricsForm<'a>) -> Self {
        Self { attributes: form.resource.attributes.0, scopes: form.scope_metrics.0 }
    }
}

impl<'a> From<ScopeMetricsForm<'a>> for ScopeMetrics<'a> {
    fn from(form: ScopeMetricsForm<'a>) -> Self {
        let ScopeForm { name, version, attributes } = form.scope;
        Self { name, version, attributes: attributes.0, schema_url: form.schema_url, metrics: form.metrics.0 }
    }
}

impl<'a> From<MetricForm<'a>> for Metric<'a> {
    fn from(form: MetricForm<'a>) -> Self {
        let data = if let Some(gauge) = form.gauge {
            Data::Gauge(gauge.data_points.0)
        } else if let Some(sum) = form.sum {
            Data::Sum {
                points: sum.data_points.0,
                temporality: sum.aggregation_temporality.0,
                is_monotonic: sum.is_monotonic,
            }
        } else if let Some(histogram) = form.histogram {
            let temporality = histogram.aggregation_temporality.0;
            Data::Histogram { points: histogram.data_points.0, temporality }
        } else if let Some(histogram) = form.exponential_histogram {
            let temporality = histogram.aggregation_temporality.0;
            Data::ExponentialHistogram { points: histogram.data_points.0, temporality }
        } else if let Some(summary) = form.summary {
            Data::Summary(summary.data_points.0)
        } else {
            Data::None
        };
        Self { name: form.name, description: form.description, unit: form.unit, data }
    }
}

fn common<'a>(attributes: Attributes<'a>, start: Number, time: Number, flags: u32) -> Common<'a> {
    Common { attributes: attributes.0, start_ns: start.unsigned(), time_ns: time.unsigned(), flags }
}

/// A whole number goes before one that is none, as only one of them should be there.
fn either(whole: Number, float: Number) -> f64 {
    if whole.is_there() { whole.signed() as f64 } else { float.float() }
}

impl<'a> From<NumberForm<'a>> for NumberPoint<'a> {
    fn from(form: NumberForm<'a>) -> Self {
        Self {
            common: common(form.attributes, form.start_time_unix_nano, form.time_unix_nano, form.flags),
            value: either(form.as_int, form.as_double),
            exemplars: form.exemplars.0,
        }
    }
}

impl<'a> From<HistogramForm<'a>> for HistogramPoint<'a> {
    fn from(form: HistogramForm<'a>) -> Self {
        Self {
            common: common(form.attributes, form.start_time_unix_nano, form.time_unix_nano, form.flags),
            count: form.count.unsigned(),
            sum: form.sum.map(Number::float),
            buckets: form.bucket_counts.into_iter().map(Number::unsigned).collect(),
            bounds: form.explicit_bounds.into_iter().map(Number::float).collect(),
            exemplars: form.exemplars.0,
        }
    }
}

impl<'a> From<ExponentialForm<'a>> for ExponentialPoint<'a> {
    fn from(form: ExponentialForm<'a>) -> Self {
        Self {
            common: common(form.attributes, form.start_time_unix_nano, form.time_unix_nano, form.flags),
            count: form.count.unsigned(),
            sum: form.sum.map(Number::float),
            scale: form.scale,
            zero_count: form.zero_count.unsigned(),
            zero_threshold: form.zero_threshold.float(),
            positive: form.positive.into(),
            negative: form.negative.into(),
            exemplars: form.exemplars.0,
        }
    }
}

impl From<BucketsForm> for Buckets {
    fn from(form: BucketsForm) -> Self {
        let counts = form.bucket_counts.into_iter().map(Number::unsigned).collect();
        Self { offset: form.offset, counts }
    }
}

impl<'a> From<SummaryForm<'a>> for SummaryPoint<'a> {
    fn from(form: SummaryForm<'a>) -> Self {
        Self {
            common: common(form.attributes, form.start_time_unix_nano, form.time_unix_nano, form.flags),
            count: form.count.unsigned(),
            sum: form.sum.float(),
            quantiles: form.quantile_values.0,
        }
    }
}

impl From<QuantileForm> for (f64, f64) {
    fn from(form: QuantileForm) -> Self {
        (form.quantile.float(), form.value.float())
    }
}

impl<'a> From<ExemplarForm<'a>> for Exemplar<'a> {
    fn from(form: ExemplarForm<'a>) -> Self {
        Self {
            attributes: form.filtered_attributes.0,
            time_ns: form.time_unix_nano.unsigned(),
            value: either(form.as_int, form.as_double),
            trace_id: form.trace_id.0,
            span_id: form.span_id.0,
        }
    }
}

impl<'a> From<AttributeForm<'a>> for Attribute<'a> {
    fn from(form: AttributeForm<'a>) -> Self {
        Self { key: form.key, value: form.value.map_or(Value::Empty, Value::from) }
    }
}

impl<'a> From<Box<AttributeForm<'a>>> for Attribute<'a> {
    fn from(form: Box<AttributeForm<'a>>) -> Self {
        (*form).into()
    }
}

impl<'a> From<Box<ValueForm<'a>>> for Value<'a> {
    fn from(form: Box<ValueForm<'a>>) -> Self {
        (*form).into()
    }
}

impl<'a> From<ValueForm<'a>> for Value<'a> {
    fn from(form: ValueForm<'a>) -> Self {
        if let Some(text) = form.string_value {
            Self::Text(text)
        } else if let Some(value) = form.bool_value {
            Self::Bool(value)
        } else if let Some(value) = form.int_value {
            Self::Integer(value.signed())
        } else if let Some(value) = form.double_value {
            Self::Float(value.float())
        } else if let Some(list) = form.array_value {
            Self::List(list.values.0)
        } else if let Some(map) = form.kvlist_value {
            Self::Map(map.values.0)
        } else if let Some(bytes) = form.bytes_value {
            Self::Bytes(Cow::Owned(bytes.0))
        } else {
            Self::Empty
        }
    }
}
