//! `</` and `>/`: what remains of a histogram at one side of a value. Where the value lies inside a
//! bucket the observations are taken to be spread as for quantiles; count and sum are estimated
//! anew from what remains.

use super::{Bucket, Histogram};

/// Which observations stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those up to the value.
    Below,
    /// Those from the value.
    Above,
}

/// Where a bucket stands, which says how its observations are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    Linear,
    Positive,
    Negative,
}

impl Histogram {
    /// Removes the observations at one side of `at`.
    pub(crate) fn trim(&mut self, at: f64, keep: Keep) {
        let above_zero = if self.is_custom() { Spread::Linear } else { Spread::Positive };
        let (mut count, mut sum, mut changed) = (0.0, 0.0, false);
        let populated = |buckets: &super::Buckets| buckets.cells().any(|c| c != 0.0);
        let (has_positive, has_negative) = (populated(&self.positive), populated(&self.negative));
        let mut take = |bucket: Bucket, spread: Spread| {
            let (kept, middle) = part(bucket, at, keep, spread);
            changed |= kept != bucket.count;
            count += kept;
            sum += middle * kept;
            kept
        };
        let (mut positive, mut negative) = (self.positive.clone(), self.negative.clone());
        positive.update(|i, c| take(self.positive_bucket(i, c), above_zero));
        negative.update(|i, c| take(self.negative_bucket(i, c), Spread::Negative));
        if self.zero_count > 0.0 {
            // Only positive buckets beside it: the zero bucket begins at zero; likewise below.
            let lower = if has_positive && !has_negative { 0.0 } else { -self.zero_threshold };
            let upper = if has_negative && !has_positive { 0.0 } else { self.zero_threshold };
            let (kept, middle) = part_of_zero((lower, upper), self.zero_count, at, keep);
            changed |= kept != self.zero_count;
            count += kept;
            sum += middle * kept;
            self.zero_count = kept;
        }
        (self.positive, self.negative) = (positive, negative);
        if changed {
            (self.count, self.sum) = (count, sum);
            self.compact();
        }
    }
}

/// How many of a bucket's observations stay, and what they are on average.
fn part(bucket: Bucket, at: f64, keep: Keep, spread: Spread) -> (f64, f64) {
    let Bucket { lower, upper, count, .. } = bucket;
    let (whole, none) = match keep {
        Keep::Below => (upper <= at, lower >= at || at.is_nan()),
        Keep::Above => (lower >= at, upper <= at || at.is_nan()),
    };
    if whole {
        return (count, middle(lower, upper, spread));
    }
    if none {
        return (0.0, 0.0);
    }
    if lower.is_infinite() || upper.is_infinite() {
        return part_of_endless(bucket, at, keep);
    }
    let below = count * fraction_below(lower, upper, at, spread == Spread::Linear);
    match keep {
        Keep::Below => (below, middle(lower, at, spread)),
        Keep::Above => (count - below, middle(at, upper, spread)),
    }
}

/// The same for a bucket that ends nowhere, with the value inside.
fn part_of_endless(Bucket { lower, upper, count, .. }: Bucket, at: f64, keep: Keep) -> (f64, f64) {
    if lower == f64::NEG_INFINITY {
        // A first bucket that ends above zero is taken to begin at zero.
        let from_zero = upper > 0.0 && upper.is_finite();
        return match keep {
            Keep::Below if from_zero && at > 0.0 => (count * at / upper, at / 2.0),
            Keep::Below if upper <= 0.0 => (count, at),
            Keep::Above if from_zero && at >= 0.0 => (count * (1.0 - at / upper), (at + upper) / 2.0),
            // Nothing is known of where in the bucket they lie.
            _ => (0.0, 0.0),
        };
    }
    match keep {
        Keep::Below => (0.0, 0.0),
        Keep::Above => (count, at),
    }
}

/// The same for the zero bucket.
fn part_of_zero((lower, upper): (f64, f64), count: f64, at: f64, keep: Keep) -> (f64, f64) {
    let width = upper - lower;
    match keep {
        Keep::Below if at <= lower => (0.0, 0.0),
        Keep::Above if at >= upper && at > lower => (0.0, 0.0),
        Keep::Below if at >= upper => (count, (lower + upper) / 2.0),
        Keep::Above if at <= lower => (count, (lower + upper) / 2.0),
        Keep::Below => (count * ((at - lower) / width), (lower + at) / 2.0),
        Keep::Above => (count * ((upper - at) / width), (at + upper) / 2.0),
    }
}

/// The average of observations between two values.
fn middle(lower: f64, upper: f64, spread: Spread) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) => match spread {
            Spread::Linear => (lower + upper) / 2.0,
            Spread::Positive => (lower * upper).abs().sqrt(),
            Spread::Negative => -(lower * upper).abs().sqrt(),
        },
    }
}

/// The share of a bucket below a value inside it. Exponential buckets are even on a logarithmic scale.
pub(super) fn fraction_below(lower: f64, upper: f64, at: f64, linear: bool) -> f64 {
    if linear {
        return (at - lower) / (upper - lower);
    }
    let [lower, upper, place] = [lower, upper, at].map(|v| v.abs().log2());
    if at > 0.0 { (place - lower) / (upper - lower) } else { 1.0 - (place - upper) / (lower - upper) }
}
