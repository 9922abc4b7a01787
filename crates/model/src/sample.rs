//! Samples and what is known of a metric family.

/// The bit pattern of the NaN that marks the end of a series, as Prometheus defines it
/// (`model/value`): a reader treats the series as gone from that time on.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker.
pub fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Whether `value` is the staleness marker, and not some other NaN.
#[inline]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MetricKind {
    /// Only goes up, except when its source restarts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets.
    Histogram,
    /// Buckets of what is there now, which go up and down.
    GaugeHistogram,
    /// Precomputed quantiles.
    Summary,
    /// A gauge that is always 1 and carries its facts as labels.
    Info,
    /// One of several named states.
    StateSet,
    /// Not told by the source.
    Unknown,
}

impl MetricKind {
    /// The word used in expositions and by the metadata endpoint.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
            Self::Unknown => "unknown",
        }
    }
}

/// What a source says of a metric family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricMetadata {
    /// Name of the family.
    pub family: String,
    /// Its type.
    pub kind: MetricKind,
    /// The unit, or an empty string.
    pub unit: String,
    /// A sentence for people, or an empty string.
    pub help: String,
}
