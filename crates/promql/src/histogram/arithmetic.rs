//! Sums, differences and multiples. Two histograms are brought to the coarser of their schemas,
//! to a zero bucket that holds both of theirs, and to the bounds that both have.

use std::sync::Arc;

use vedette_model::ResetHint;

use super::{
    Histogram, HistogramSum, bounds,
    buckets::{Buckets, Cell},
};

/// Exponential and custom bounds have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incompatible;

/// What happened when two histograms were merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// One began anew, the other went on.
    pub collision: bool,
    /// Custom bounds differed; those that both have remain.
    pub reconciled: bool,
}

impl<C: Cell> Histogram<C> {
    /// Adds another histogram.
    pub fn add(&mut self, other: &Histogram) -> Result<Merged, Incompatible> {
        self.merge(other, 1.0)
    }

    /// Subtracts another histogram.
    pub fn subtract(&mut self, other: &Histogram) -> Result<Merged, Incompatible> {
        self.merge(other, -1.0)
    }

    /// Multiplies. A negative multiple is no counter.
    pub fn multiply(&mut self, factor: f64) {
        self.each_total(|c| c.scale(factor));
        self.positive.scale(factor);
        self.negative.scale(factor);
        if factor < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }

    /// Whether a further addition could leave the range of numbers.
    fn is_large(&self) -> bool {
        let large = |c: C| c.total().abs() >= 1e300 || c.total().is_nan();
        [self.zero_count, self.count, self.sum].into_iter().any(large)
            || self.positive.cells().chain(self.negative.cells()).any(large)
    }

    fn each_total(&mut self, f: impl Fn(&mut C)) {
        f(&mut self.zero_count);
        f(&mut self.count);
        f(&mut self.sum);
    }

    fn merge(&mut self, other: &Histogram, factor: f64) -> Result<Merged, Incompatible> {
        if self.is_custom() != other.is_custom() {
            return Err(Incompatible);
        }
        let collision = self.merge_hint(other.hint);
        self.count.put(factor * other.count);
        self.sum.put(factor * other.sum);
        if self.is_custom() {
            let reconciled = self.bounds != other.bounds;
            if reconciled {
                self.merge_bounds(other, factor);
            } else {
                self.positive.add(&other.positive, factor, |_| false);
            }
            return Ok(Merged { collision, reconciled });
        }
        let zero_count = self.merge_zero_bucket(other);
        self.zero_count.put(factor * zero_count);
        self.reduce_to(other.schema);
        let (schema, threshold) = (self.schema, self.zero_threshold);
        let in_zero_bucket = |i: i32| bounds::exponential(i64::from(i), schema) <= threshold;
        for (own, foreign) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            if other.schema > schema {
                let mut reduced = foreign.clone();
                reduced.reduce(other.schema, schema);
                own.add(&reduced, factor, in_zero_bucket);
            } else {
                own.add(foreign, factor, in_zero_bucket);
            }
        }
        Ok(Merged { collision, reconciled: false })
    }

    /// Goes to a coarser schema, if it is one.
    pub fn reduce_to(&mut self, schema: i8) {
        if schema < self.schema && !self.is_custom() {
            self.positive.reduce(self.schema, schema);
            self.negative.reduce(self.schema, schema);
            self.schema = schema;
        }
    }

    /// The hint of a sum; tells whether the two contradict each other.
    fn merge_hint(&mut self, other: ResetHint) -> bool {
        use ResetHint::{Gauge, NotReset, Reset, Unknown};
        let (merged, collision) = match (self.hint, other) {
            (a, b) if a == b => (a, false),
            (Gauge, _) | (_, Gauge) => (Gauge, false),
            (Reset, NotReset) | (NotReset, Reset) => (Unknown, true),
            _ => (Unknown, false),
        };
        self.hint = merged;
        collision
    }

    /// Widens the zero bucket until it holds that of the other and ends inside no populated
    /// bucket of either; gives the other's count in it.
    fn merge_zero_bucket(&mut self, other: &Histogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold != self.zero_threshold {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_bucket_up_to(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_bucket_up_to(threshold);
                let (schema, threshold) = (self.schema, self.zero_threshold);
                let outside = |i: i32| bounds::exponential(i64::from(i) - 1, schema) >= threshold;
                self.positive.retain(outside);
                self.negative.retain(outside);
            }
        }
        count
    }

    /// Count and width of a zero bucket of at least this width. Where that would end inside a
    /// populated bucket it takes all of it.
    pub(super) fn zero_bucket_up_to(&self, threshold: f64) -> (C, f64) {
        let mut threshold = threshold;
        if threshold == self.zero_threshold {
            return (self.zero_count, threshold);
        }
        let bound = |index: i64| bounds::exponential(index, self.schema);
        'again: loop {
            let mut count = self.zero_count;
            for (side, is_negative) in [(&self.positive, false), (&self.negative, true)] {
                for (index, cell) in side.iter() {
                    let index = i64::from(index);
                    if bound(index - 1) >= threshold {
                        break;
                    }
                    count.absorb(cell);
                    if bound(index) > threshold {
                        if !cell.is_zero() {
                            threshold = bound(index);
                            if is_negative {
                                // More positive buckets may be inside now.
                                continue 'again;
                            }
                        }
                        break;
                    }
                }
            }
            return (count, threshold);
        }
    }

    /// Adds a histogram of other custom bounds: both go to the bounds that they share.
    fn merge_bounds(&mut self, other: &Histogram, factor: f64) {
        let shared = shared_bounds(&self.bounds, &other.bounds);
        self.positive.regroup(into(&self.bounds, &shared));
        let mut foreign: Buckets = other.positive.clone();
        foreign.regroup(into(&other.bounds, &shared));
        self.positive.add(&foreign, factor, |_| false);
        self.positive.compact();
        self.bounds = shared.into();
    }
}

impl Histogram {
    /// Divides. Nothing is left of buckets that are divided by zero.
    pub(crate) fn divide(&mut self, by: f64) {
        self.each_total(|c| *c /= by);
        if by == 0.0 {
            self.positive.clear();
            self.negative.clear();
            return;
        }
        self.positive = self.positive.map(|c| c / by);
        self.negative = self.negative.map(|c| c / by);
        if by < 0.0 {
            self.hint = ResetHint::Gauge;
        }
    }
}

/// A mean of histograms: kept as a sum until that overflows, then as a running mean.
#[derive(Debug, Clone)]
pub struct HistogramMean {
    sum: HistogramSum,
    count: f64,
    running: bool,
}

impl HistogramMean {
    pub fn of(first: &Histogram) -> Self {
        Self { sum: HistogramSum::of(first), count: 1.0, running: false }
    }

    pub fn add(&mut self, value: &Histogram) -> Result<Merged, Incompatible> {
        self.count += 1.0;
        if !self.running {
            // Counts that may overflow are rare; only for these the sum is copied.
            if !value.is_large() && !self.sum.is_large() {
                return self.sum.add(value);
            }
            let mut next = self.sum.clone();
            let merged = next.add(value)?;
            if !next.is_infinite() {
                self.sum = next;
                return Ok(merged);
            }
            self.running = true;
            self.sum.multiply(1.0 / (self.count - 1.0));
        }
        self.sum.multiply((self.count - 1.0) / self.count);
        let mut share = value.clone();
        share.divide(self.count);
        self.sum.add(&share)
    }

    pub fn get(&self) -> Histogram {
        if self.running {
            return self.sum.get();
        }
        let mut mean = self.sum.get();
        mean.divide(self.count);
        mean
    }
}

/// The bounds that both have.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut shared = Vec::new();
    let mut rest = b;
    for bound in a {
        while let [first, others @ ..] = rest
            && first < bound
        {
            rest = others;
        }
        if rest.first() == Some(bound) {
            shared.push(*bound);
        }
    }
    shared
}

/// Names the bucket among `shared` bounds that holds a bucket of `own` bounds.
pub(super) fn into<'b>(own: &'b Arc<[f64]>, shared: &'b [f64]) -> impl Fn(i32) -> i32 + 'b {
    move |index| {
        let upper = usize::try_from(index).ok().and_then(|i| own.get(i));
        upper.map_or(shared.len(), |upper| shared.partition_point(|bound| bound < upper)) as i32
    }
}
