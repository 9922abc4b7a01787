//! Native histograms: one sample that holds a whole distribution in sparse buckets.
//!
//! The model is Prometheus' (its native histogram specification): exponential schemas -4 to 8,
//! where a bucket's bounds grow by the factor `2^(2^-schema)`, and schema -53 with bounds of its
//! own. Counts are kept as they came, whole numbers or floats, so that what was stored can be
//! given back unchanged.

/// The schema of a histogram whose bucket bounds are told one by one.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;

/// The smallest and largest exponential schema.
pub const EXPONENTIAL_SCHEMAS: std::ops::RangeInclusive<i8> = -4..=8;

/// What a source says of the sample before, so that a reader need not look for a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResetHint {
    /// Nothing is known: compare.
    #[default]
    Unknown,
    /// Counting began anew with this sample.
    Reset,
    /// Counting went on.
    NotReset,
    /// The histogram goes up and down; there is no reset.
    Gauge,
}

/// A stretch of neighbouring buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// Buckets between the end of the stretch before and this one; in the first stretch the
    /// index of its first bucket.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// Counts, as the source sent them.
#[derive(Debug, Clone, PartialEq)]
pub enum HistogramCounts {
    /// Whole numbers.
    Integer {
        /// Observations.
        count: u64,
        /// Observations in the zero bucket.
        zero_count: u64,
        /// For each bucket of the positive spans its own count, not a difference.
        positive: Vec<u64>,
        /// The same for the negative spans.
        negative: Vec<u64>,
    },
    /// Floats, as arithmetic gives them.
    Float {
        /// Observations.
        count: f64,
        /// Observations in the zero bucket.
        zero_count: f64,
        /// For each bucket of the positive spans its own count.
        positive: Vec<f64>,
        /// The same for the negative spans.
        negative: Vec<f64>,
    },
}

/// A native histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeHistogram {
    /// How it relates to the sample before.
    pub reset_hint: ResetHint,
    /// Resolution: -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Sum of the observations. The bit pattern of the staleness marker ends the series.
    pub sum: f64,
    /// Buckets of positive observations, or all buckets of custom bounds.
    pub positive_spans: Vec<Span>,
    /// Buckets of negative observations.
    pub negative_spans: Vec<Span>,
    /// Upper bounds, growing, without +Inf, where the schema is custom; else empty.
    pub custom_bounds: Vec<f64>,
    /// The counts.
    pub counts: HistogramCounts,
}

/// Why a histogram is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistogramError {
    /// The schema is none of those known.
    #[error("histogram schema {0} is not known; -4 to 8 and -53 are")]
    Schema(i8),
    /// Spans and counts differ in number.
    #[error("the {0} spans of a histogram have another number of buckets than there are counts")]
    Spans(&'static str),
    /// A span after the first begins before the end of the one before it.
    #[error("a {0} span of a histogram has a negative offset")]
    Offset(&'static str),
    /// More buckets than any source has.
    #[error("a histogram of more than {0} buckets")]
    TooManyBuckets(usize),
    /// A count below zero.
    #[error("a bucket of a histogram has a negative count")]
    NegativeCount,
    /// Custom bounds that do not grow, are not finite, or stand where there must be none.
    #[error("the custom bounds of a histogram do not grow, are not finite, or do not fit its schema")]
    CustomBounds,
    /// The zero threshold is negative or no number.
    #[error("the zero threshold of a histogram is negative or not a number")]
    ZeroThreshold,
    /// The total is smaller than what the buckets hold.
    #[error("a histogram counts fewer observations than its buckets hold")]
    Count,
}

/// More buckets than this are refused.
pub const HISTOGRAM_BUCKETS_MAX: usize = 100_000;

impl NativeHistogram {
    /// Checks what a foreign source sent.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let custom = self.schema == CUSTOM_BUCKETS_SCHEMA;
        if !custom && !EXPONENTIAL_SCHEMAS.contains(&self.schema) {
            return Err(HistogramError::Schema(self.schema));
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold);
        }
        let (positive, negative) = match &self.counts {
            HistogramCounts::Integer { positive, negative, .. } => (positive.len(), negative.len()),
            HistogramCounts::Float { positive, negative, .. } => (positive.len(), negative.len()),
        };
        check_spans(&self.positive_spans, positive, "positive")?;
        check_spans(&self.negative_spans, negative, "negative")?;
        let grow = self.custom_bounds.windows(2).all(|w| w[0] < w[1])
            && self.custom_bounds.iter().all(|b| b.is_finite());
        let fit = if custom {
            negative == 0
                && self.custom_bounds.len() <= HISTOGRAM_BUCKETS_MAX
                && last_bucket(&self.positive_spans).is_none_or(|i| i <= self.custom_bounds.len() as i64)
        } else {
            self.custom_bounds.is_empty()
        };
        if !grow || !fit {
            return Err(HistogramError::CustomBounds);
        }
        self.check_counts()
    }

    /// Whether this ends the series, as the staleness marker does among floats.
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// Number of observations.
    pub fn count(&self) -> f64 {
        match self.counts {
            HistogramCounts::Integer { count, .. } => count as f64,
            HistogramCounts::Float { count, .. } => count,
        }
    }

    /// The histogram that ends a series.
    pub fn stale() -> Self {
        Self {
            reset_hint: ResetHint::Unknown,
            schema: 0,
            zero_threshold: 0.0,
            sum: crate::stale_nan(),
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            custom_bounds: Vec::new(),
            counts: HistogramCounts::Integer {
                count: 0,
                zero_count: 0,
                positive: Vec::new(),
                negative: Vec::new(),
            },
        }
    }

    /// Bytes of heap memory.
    pub fn heap_bytes(&self) -> usize {
        let counts = match &self.counts {
            HistogramCounts::Integer { positive, negative, .. } => positive.capacity() + negative.capacity(),
            HistogramCounts::Float { positive, negative, .. } => positive.capacity() + negative.capacity(),
        };
        let spans = self.positive_spans.capacity() + self.negative_spans.capacity();
        (counts + spans + self.custom_bounds.capacity()) * 8
    }

    fn check_counts(&self) -> Result<(), HistogramError> {
        match &self.counts {
            HistogramCounts::Integer { count, zero_count, positive, negative } => {
                let total = positive
                    .iter()
                    .chain(negative)
                    .try_fold(*zero_count, |sum, &n| sum.checked_add(n))
                    .ok_or(HistogramError::Count)?;
                // Observations of NaN are counted, and are in no bucket.
                if total > *count || (!self.sum.is_nan() && total != *count) {
                    return Err(HistogramError::Count);
                }
            }
            HistogramCounts::Float { count, zero_count, positive, negative } => {
                let parts = [*count, *zero_count];
                if parts.iter().chain(positive).chain(negative).any(|&n| n < 0.0) {
                    return Err(HistogramError::NegativeCount);
                }
            }
        }
        Ok(())
    }
}

fn check_spans(spans: &[Span], counts: usize, which: &'static str) -> Result<(), HistogramError> {
    if counts > HISTOGRAM_BUCKETS_MAX || spans.len() > HISTOGRAM_BUCKETS_MAX {
        return Err(HistogramError::TooManyBuckets(HISTOGRAM_BUCKETS_MAX));
    }
    if spans.iter().skip(1).any(|s| s.offset < 0) {
        return Err(HistogramError::Offset(which));
    }
    let buckets = spans.iter().fold(0u64, |sum, s| sum.saturating_add(u64::from(s.length)));
    if buckets != counts as u64 {
        return Err(HistogramError::Spans(which));
    }
    Ok(())
}

fn last_bucket(spans: &[Span]) -> Option<i64> {
    let end = spans.iter().map(|s| i64::from(s.offset) + i64::from(s.length)).sum::<i64>();
    (!spans.is_empty()).then_some(end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> NativeHistogram {
        NativeHistogram {
            reset_hint: ResetHint::Unknown,
            schema: 3,
            zero_threshold: 0.001,
            sum: 12.5,
            positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
            negative_spans: vec![Span { offset: 0, length: 1 }],
            custom_bounds: Vec::new(),
            counts: HistogramCounts::Integer {
                count: 11,
                zero_count: 1,
                positive: vec![2, 3, 4],
                negative: vec![1],
            },
        }
    }

    #[test]
    fn sound_histograms_are_taken() {
        sound().validate().unwrap();
        NativeHistogram::stale().validate().unwrap();
        let custom = NativeHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            zero_threshold: 0.0,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            negative_spans: Vec::new(),
            custom_bounds: vec![1.0, 2.5],
            counts: HistogramCounts::Float {
                count: 6.5,
                zero_count: 0.0,
                positive: vec![1.0, 2.0, 3.5],
                negative: Vec::new(),
            },
            ..sound()
        };
        custom.validate().unwrap();
    }

    #[test]
    fn each_contradiction_is_named() {
        let integer = |count, positive: Vec<u64>| HistogramCounts::Integer {
            count,
            zero_count: 1,
            positive,
            negative: vec![1],
        };
        for (bad, error) in [
            (NativeHistogram { schema: 9, ..sound() }, HistogramError::Schema(9)),
            (NativeHistogram { zero_threshold: f64::NAN, ..sound() }, HistogramError::ZeroThreshold),
            (
                NativeHistogram { counts: integer(11, vec![2, 3]), ..sound() },
                HistogramError::Spans("positive"),
            ),
            (NativeHistogram { counts: integer(12, vec![2, 3, 4]), ..sound() }, HistogramError::Count),
            (NativeHistogram { counts: integer(10, vec![2, 3, 4]), ..sound() }, HistogramError::Count),
            (NativeHistogram { custom_bounds: vec![1.0], ..sound() }, HistogramError::CustomBounds),
            (
                NativeHistogram {
                    positive_spans: vec![Span { offset: 0, length: 2 }, Span { offset: -1, length: 1 }],
                    ..sound()
                },
                HistogramError::Offset("positive"),
            ),
            (
                NativeHistogram {
                    counts: HistogramCounts::Float {
                        count: 1.0,
                        zero_count: 0.0,
                        positive: vec![1.0, -1.0, 0.0],
                        negative: vec![0.0],
                    },
                    ..sound()
                },
                HistogramError::NegativeCount,
            ),
        ] {
            assert_eq!(bad.validate(), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn an_observed_nan_is_in_no_bucket() {
        let mut histogram = sound();
        histogram.sum = f64::NAN;
        let HistogramCounts::Integer { count, .. } = &mut histogram.counts else { unreachable!() };
        *count = 12;
        histogram.validate().unwrap();
    }
}
