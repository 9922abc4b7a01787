//! What a histogram says of its observations: quantiles, shares, variance.

use super::{Bucket, Histogram, trim::fraction_below};
use crate::eval::numeric::Sum;

/// What observations of NaN, which are in no bucket, did to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NanNote {
    /// The answer is NaN.
    Result,
    /// The answer is higher, as NaN counts as the highest value.
    Skew,
    /// They are left out.
    LeftOut,
}

/// A quantile.
#[derive(Debug, Clone, Copy)]
pub struct Quantile {
    /// The value.
    pub value: f64,
    /// What NaN did to it.
    pub note: Option<NanNote>,
}

/// A share of the observations.
pub type Fraction = Quantile;

fn plain(value: f64) -> Quantile {
    Quantile { value, note: None }
}

impl Histogram {
    /// The `q`-quantile.
    pub(crate) fn quantile(&self, q: f64) -> Quantile {
        if q < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return plain(f64::NAN);
        }
        // Counted from the nearer end. NaN stands above all buckets, so then from below.
        if self.sum.is_nan() || q < 0.5 {
            self.quantile_in(self.buckets(), q * self.count, true)
        } else {
            self.quantile_in(self.buckets().rev(), (1.0 - q) * self.count, false)
        }
    }

    fn quantile_in(&self, mut buckets: impl Iterator<Item = Bucket>, rank: f64, upward: bool) -> Quantile {
        let none =
            Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
        let (mut bucket, mut count) = (none, 0.0);
        for next in buckets.by_ref().filter(|b| b.count != 0.0) {
            bucket = next;
            count += bucket.count;
            if count >= rank {
                break;
            }
        }
        if self.is_custom() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return plain(bucket.upper);
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return plain(bucket.lower);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            bucket = self.half_of_zero(bucket);
        }
        // Rounding errors may make the buckets hold more than there is.
        count = count.min(self.count);
        if count < rank {
            return if self.sum.is_nan() {
                Quantile { value: f64::NAN, note: Some(NanNote::Result) }
            } else {
                plain(bucket.upper)
            };
        }
        let place = if upward { rank - (count - bucket.count) } else { count - rank };
        let mut note = None;
        if self.sum.is_nan() {
            let all = buckets.fold(count, |sum, b| sum + b.count);
            // Infinities of both signs also sum up to NaN, but they are in buckets.
            note = (all < self.count).then_some(NanNote::Skew);
        }
        let fraction = place / bucket.count;
        let Bucket { lower, upper, .. } = bucket;
        let value = if self.is_custom() || (lower <= 0.0 && upper >= 0.0) {
            lower + (upper - lower) * fraction
        } else {
            let (low, high) = (lower.abs().log2(), upper.abs().log2());
            if lower > 0.0 {
                (low + (high - low) * fraction).exp2()
            } else {
                -(high + (low - high) * (1.0 - fraction)).exp2()
            }
        };
        Quantile { value, note }
    }

    /// Beside positive buckets only the zero bucket begins at zero; likewise below.
    fn half_of_zero(&self, bucket: Bucket) -> Bucket {
        match (self.negative.is_empty(), self.positive.is_empty()) {
            (true, false) => Bucket { lower: 0.0, ..bucket },
            (false, true) => Bucket { upper: 0.0, ..bucket },
            _ => bucket,
        }
    }

    /// The share of observations between two values.
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> Fraction {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return plain(f64::NAN);
        }
        if lower >= upper {
            return plain(0.0);
        }
        let (mut count, mut note) = (self.count, None);
        if self.sum.is_nan() {
            count = self.buckets().fold(0.0, |sum, b| sum + b.count);
            note = (count < self.count).then_some(NanNote::LeftOut);
        }
        let rank = |value: f64| {
            self.rank(value).filter(|r| *r <= count || r.is_nan() || count.is_nan()).unwrap_or(count)
        };
        Fraction { value: (rank(upper) - rank(lower)) / self.count, note }
    }

    /// How many observations lie below a value, `None` if all buckets do.
    fn rank(&self, value: f64) -> Option<f64> {
        let mut below = 0.0;
        for mut bucket in self.buckets() {
            let around_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
            if around_zero {
                bucket = self.half_of_zero(bucket);
            }
            if bucket.lower >= value {
                return Some(below);
            }
            if bucket.upper > value {
                let linear = self.is_custom() || around_zero;
                if linear && bucket.lower == f64::NEG_INFINITY {
                    // Nothing is known of where in the bucket they lie.
                    return Some(bucket.count);
                }
                return Some(
                    below + bucket.count * fraction_below(bucket.lower, bucket.upper, value, linear),
                );
            }
            below += bucket.count;
        }
        None
    }

    /// The variance, each observation standing in the middle of its bucket.
    pub(crate) fn variance(&self) -> f64 {
        let mean = self.sum / self.count;
        let mut squares = Sum::default();
        for bucket in self.buckets().filter(|b| b.count != 0.0) {
            let Bucket { lower, upper, count, .. } = bucket;
            let middle = if self.is_custom() {
                (upper + lower) / 2.0
            } else if lower <= 0.0 && upper >= 0.0 {
                0.0
            } else {
                (upper * lower).sqrt().copysign(upper)
            };
            let delta = middle - mean;
            squares.add(count * delta * delta);
        }
        squares.get() / self.count
    }
}
