//! Native histograms in evaluation: counts are floats, as arithmetic gives them, and buckets are
//! named by their index, so that two histograms are merged like sorted lists.
//!
//! Invariants: a histogram of custom bounds has no negative buckets, no zero bucket, and no bucket
//! beyond its bounds; an exponential one has no bounds. The zero threshold is a number from zero.

mod arithmetic;
mod bounds;
mod buckets;
mod reset;
mod statistics;
#[cfg(test)]
mod tests;
mod trim;

use std::{fmt, sync::Arc};

use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, EXPONENTIAL_SCHEMAS, HistogramCounts, HistogramError, NativeHistogram, ResetHint,
};

use self::buckets::{Buckets, Cell};
pub(crate) use self::{
    arithmetic::{HistogramMean, Incompatible, Merged},
    statistics::{NanNote, Quantile},
    trim::Keep,
};
use crate::{eval::numeric::Sum, syntax::number::format_general};

/// A native histogram with float counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram<C = f64> {
    /// How it relates to the sample before.
    pub hint: ResetHint,
    /// Resolution: -4 to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: C,
    /// Observations.
    pub count: C,
    /// Sum of the observations.
    pub sum: C,
    positive: Buckets<C>,
    negative: Buckets<C>,
    /// Upper bounds without +Inf where the schema is custom.
    bounds: Arc<[f64]>,
}

/// A bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
    /// Whether the lower bound belongs to the bucket.
    pub lower_inclusive: bool,
    /// Whether the upper bound belongs to the bucket.
    pub upper_inclusive: bool,
    /// Observations.
    pub count: f64,
}

impl Bucket {
    /// How the interfaces of Prometheus tell which bounds belong to the bucket: 0 the upper, 1 the
    /// lower, 2 none, 3 both.
    pub fn boundary_rule(&self) -> u8 {
        match (self.lower_inclusive, self.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        }
    }
}

impl Histogram {
    /// Reads the stored form.
    pub fn from_native(native: &NativeHistogram) -> Result<Self, HistogramError> {
        let custom = native.schema == CUSTOM_BUCKETS_SCHEMA;
        if !custom && !EXPONENTIAL_SCHEMAS.contains(&native.schema) {
            return Err(HistogramError::Schema(native.schema));
        }
        if native.zero_threshold.is_nan() || native.zero_threshold < 0.0 {
            return Err(HistogramError::ZeroThreshold);
        }
        let (positive, negative) = (&native.positive_spans, &native.negative_spans);
        let (count, zero_count, positive, negative) = match &native.counts {
            HistogramCounts::Integer { count, zero_count, positive: p, negative: n } => (
                *count as f64,
                *zero_count as f64,
                Buckets::from_spans(positive, p.iter().map(|c| *c as f64), "positive")?,
                Buckets::from_spans(negative, n.iter().map(|c| *c as f64), "negative")?,
            ),
            HistogramCounts::Float { count, zero_count, positive: p, negative: n } => (
                *count,
                *zero_count,
                Buckets::from_spans(positive, p.iter().copied(), "positive")?,
                Buckets::from_spans(negative, n.iter().copied(), "negative")?,
            ),
        };
        let bounds: Arc<[f64]> = native.custom_bounds.as_slice().into();
        let fits = if custom {
            let inside = positive.iter().next().is_none_or(|(i, _)| i >= 0)
                && positive.last_index().is_none_or(|i| i64::from(i) <= bounds.len() as i64);
            inside && negative.is_empty() && bounds.windows(2).all(|w| w[0] < w[1])
        } else {
            bounds.is_empty()
        };
        if !fits || bounds.iter().any(|b| b.is_nan()) {
            return Err(HistogramError::CustomBounds);
        }
        Ok(Self {
            hint: native.reset_hint,
            schema: native.schema,
            zero_threshold: if custom { 0.0 } else { native.zero_threshold },
            zero_count: if custom { 0.0 } else { zero_count },
            count,
            sum: native.sum,
            positive,
            negative,
            bounds,
        })
    }

    /// The form in which it is stored.
    pub fn to_native(&self) -> NativeHistogram {
        let (positive_spans, positive) = self.positive.to_spans();
        let (negative_spans, negative) = self.negative.to_spans();
        NativeHistogram {
            reset_hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            sum: self.sum,
            positive_spans,
            negative_spans,
            custom_bounds: self.bounds.to_vec(),
            counts: HistogramCounts::Float {
                count: self.count,
                zero_count: self.zero_count,
                positive,
                negative,
            },
        }
    }

    /// Upper bounds, without +Inf, of a histogram that has bounds of its own.
    pub fn custom_bounds(&self) -> &[f64] {
        &self.bounds
    }

    /// Number of values that it takes as much memory as.
    pub(crate) fn cells(&self) -> usize {
        12 + (self.positive.len() + self.negative.len()) * 3 / 2
    }

    /// The same with another relation to the sample before.
    pub fn with_hint(&self, hint: ResetHint) -> Self {
        Self { hint, ..self.clone() }
    }

    /// What remains for readers of count and sum only.
    pub(crate) fn without_buckets(&self) -> Self {
        Self { hint: self.hint, count: self.count, sum: self.sum, ..Self::empty(self.schema) }
    }

    /// No observations.
    pub(crate) fn empty(schema: i8) -> Self {
        Self {
            hint: ResetHint::Unknown,
            schema,
            zero_threshold: 0.0,
            zero_count: 0.0,
            count: 0.0,
            sum: 0.0,
            positive: Buckets::default(),
            negative: Buckets::default(),
            bounds: Arc::new([]),
        }
    }

    /// No observations, in the bounds of another.
    pub(crate) fn empty_like(other: &Self) -> Self {
        Self { bounds: Arc::clone(&other.bounds), ..Self::empty(other.schema) }
    }

    /// Whether all that counts is the same, to the last bit; also empty buckets make a difference.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        self.schema == other.schema
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && same(self.zero_count, other.zero_count)
            && self.zero_threshold == other.zero_threshold
            && self.bounds == other.bounds
            && self.positive.same_as(&other.positive)
            && self.negative.same_as(&other.negative)
    }

    /// The buckets from lowest to highest, empty ones too. Bounds beside the zero bucket are cut
    /// where they overlap it.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> + '_ {
        let zero = (self.zero_count > 0.0).then_some(Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        });
        let cut = |mut bucket: Bucket| {
            if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
                bucket.upper = -self.zero_threshold;
            } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
                bucket.lower = self.zero_threshold;
            }
            bucket
        };
        let negative = self.negative.iter().rev().map(move |(i, c)| cut(self.negative_bucket(i, c)));
        let positive = self.positive.iter().map(move |(i, c)| cut(self.positive_bucket(i, c)));
        negative.chain(zero).chain(positive)
    }

    fn positive_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (self.bound(i64::from(index) - 1), self.bound(i64::from(index)));
        let custom = self.is_custom();
        Bucket { lower, upper, lower_inclusive: custom && index == 0, upper_inclusive: true, count }
    }

    fn negative_bucket(&self, index: i32, count: f64) -> Bucket {
        let (lower, upper) = (-self.bound(i64::from(index)), -self.bound(i64::from(index) - 1));
        Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count }
    }
}

impl<C: Cell> Histogram<C> {
    /// Whether it has bounds of its own.
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Removes empty buckets.
    pub(crate) fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// The same in other cells.
    fn map<D: Cell>(&self, f: impl Fn(C) -> D + Copy) -> Histogram<D> {
        Histogram {
            hint: self.hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: f(self.zero_count),
            count: f(self.count),
            sum: f(self.sum),
            positive: self.positive.map(f),
            negative: self.negative.map(f),
            bounds: Arc::clone(&self.bounds),
        }
    }

    /// Upper bound of a bucket above zero.
    fn bound(&self, index: i64) -> f64 {
        if !self.is_custom() {
            return bounds::exponential(index, self.schema);
        }
        match usize::try_from(index) {
            Ok(index) => self.bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }
}

/// A sum of histograms that keeps the errors of its additions.
pub(crate) type HistogramSum = Histogram<Sum>;

impl HistogramSum {
    pub(crate) fn of(first: &Histogram) -> Self {
        first.map(|value| {
            let mut sum = Sum::default();
            sum.add(value);
            sum
        })
    }

    pub(crate) fn get(&self) -> Histogram {
        self.map(Cell::total)
    }

    /// Whether some count left the range of numbers.
    pub(crate) fn is_infinite(&self) -> bool {
        [self.zero_count, self.count, self.sum].into_iter().any(Cell::is_infinite)
            || self.positive.cells().chain(self.negative.cells()).any(Cell::is_infinite)
    }
}

impl fmt::Display for Histogram {
    /// As Prometheus writes it: `{count:3, sum:7, (1,2]:3}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_general(self.count), format_general(self.sum))?;
        let negative = self.negative.iter().rev().map(|(i, c)| self.negative_bucket(i, c));
        let zero = Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        };
        let positive = self.positive.iter().map(|(i, c)| self.positive_bucket(i, c));
        for bucket in negative.chain([zero]).chain(positive).filter(|b| b.count != 0.0) {
            let open = if bucket.lower_inclusive { '[' } else { '(' };
            let close = if bucket.upper_inclusive { ']' } else { ')' };
            let [lower, upper, count] = [bucket.lower, bucket.upper, bucket.count].map(format_general);
            write!(f, ", {open}{lower},{upper}{close}:{count}")?;
        }
        f.write_str("}")
    }
}
