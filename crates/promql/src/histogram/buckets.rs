//! One side of a histogram: the buckets that are there, with their counts, in columns.
//!
//! Invariant: `index` grows, and both columns are equally long.

use vedette_model::{HISTOGRAM_BUCKETS_MAX, HistogramError, Span};

use super::bounds;
use crate::eval::numeric::Sum;

/// A number that counts are added to: a plain one, or one that keeps the error of its additions.
pub trait Cell: Copy + Default {
    /// Adds a number.
    fn put(&mut self, value: f64);
    /// Adds another cell.
    fn absorb(&mut self, other: Self);
    /// Multiplies.
    fn scale(&mut self, factor: f64);
    /// The number.
    fn total(self) -> f64;
    /// Whether this counts nothing.
    fn is_zero(self) -> bool;
    /// Whether additions left the range of numbers.
    fn is_infinite(self) -> bool;
}

impl Cell for f64 {
    fn put(&mut self, value: f64) {
        *self += value;
    }

    fn absorb(&mut self, other: Self) {
        *self += other;
    }

    fn scale(&mut self, factor: f64) {
        *self *= factor;
    }

    fn total(self) -> f64 {
        self
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }

    fn is_infinite(self) -> bool {
        f64::is_infinite(self)
    }
}

impl Cell for Sum {
    fn put(&mut self, value: f64) {
        self.add(value);
    }

    fn absorb(&mut self, other: Self) {
        self.merge(other);
    }

    fn scale(&mut self, factor: f64) {
        *self = Sum::scale(*self, factor);
    }

    fn total(self) -> f64 {
        self.get()
    }

    fn is_zero(self) -> bool {
        self.get() == 0.0
    }

    fn is_infinite(self) -> bool {
        Sum::is_infinite(self)
    }
}

/// Buckets of one side.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets<C = f64> {
    index: Vec<i32>,
    count: Vec<C>,
}

impl Buckets {
    /// Reads spans; whatever they say, this takes no more memory than the counts do.
    pub fn from_spans(
        spans: &[Span],
        counts: impl ExactSizeIterator<Item = f64>,
        which: &'static str,
    ) -> Result<Self, HistogramError> {
        let total = counts.len();
        if total > HISTOGRAM_BUCKETS_MAX || spans.len() > HISTOGRAM_BUCKETS_MAX {
            return Err(HistogramError::TooManyBuckets(HISTOGRAM_BUCKETS_MAX));
        }
        if spans.iter().skip(1).any(|s| s.offset < 0) {
            return Err(HistogramError::Offset(which));
        }
        let told = spans.iter().fold(0u64, |sum, s| sum.saturating_add(u64::from(s.length)));
        if told != total as u64 {
            return Err(HistogramError::Spans(which));
        }
        let mut index = Vec::with_capacity(total);
        let mut next = 0i64;
        for span in spans {
            next += i64::from(span.offset);
            for _ in 0..span.length {
                index.push(i32::try_from(next).map_err(|_| HistogramError::Spans(which))?);
                next += 1;
            }
        }
        Ok(Self { index, count: counts.collect() })
    }

    /// Spans and counts as they are stored.
    pub fn to_spans(&self) -> (Vec<Span>, Vec<f64>) {
        let mut spans: Vec<Span> = Vec::new();
        let mut end = 0i64;
        for index in &self.index {
            let offset = i64::from(*index) - end;
            match spans.last_mut() {
                Some(span) if offset == 0 => span.length += 1,
                // Gaps that a span cannot tell do not come from any source; they are cut short.
                _ => spans.push(Span { offset: i32::try_from(offset).unwrap_or(i32::MAX), length: 1 }),
            }
            end = i64::from(*index) + 1;
        }
        (spans, self.count.clone())
    }

    /// Whether layout and bits of the counts are the same.
    pub fn same_as(&self, other: &Self) -> bool {
        self.index == other.index
            && self.count.iter().zip(&other.count).all(|(a, b)| a.to_bits() == b.to_bits())
    }

    /// Changes each count, given its index, if it is not zero.
    pub fn update(&mut self, mut f: impl FnMut(i32, f64) -> f64) {
        for (index, count) in self.index.iter().zip(&mut self.count).filter(|(_, c)| **c != 0.0) {
            *count = f(*index, *count);
        }
    }
}

impl<C: Cell> Buckets<C> {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, C)> + '_ {
        self.index.iter().copied().zip(self.count.iter().copied())
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn cells(&self) -> impl Iterator<Item = C> + '_ {
        self.count.iter().copied()
    }

    pub fn last_index(&self) -> Option<i32> {
        self.index.last().copied()
    }

    /// The same buckets in other cells.
    pub fn map<D: Cell>(&self, f: impl Fn(C) -> D) -> Buckets<D> {
        Buckets { index: self.index.clone(), count: self.count.iter().map(|c| f(*c)).collect() }
    }

    pub fn scale(&mut self, factor: f64) {
        self.count.iter_mut().for_each(|c| c.scale(factor));
    }

    /// Adds `factor` times the counts of `other`, leaving out the first ones as long as `skip` says so.
    pub fn add(&mut self, other: &Buckets, factor: f64, skip: impl Fn(i32) -> bool) {
        let begin = other.index.iter().take_while(|i| skip(**i)).count();
        let (index, count) = (&other.index[begin..], &other.count[begin..]);
        if index == self.index {
            for (own, value) in self.count.iter_mut().zip(count) {
                own.put(factor * value);
            }
            return;
        }
        if index.is_empty() {
            return;
        }
        let longest = self.index.len() + index.len();
        let mut merged = Self { index: Vec::with_capacity(longest), count: Vec::with_capacity(longest) };
        let (mut a, mut b) = (0, 0);
        while a < self.index.len() || b < index.len() {
            let own = self.index.get(a);
            let foreign = index.get(b);
            let next = match (own, foreign) {
                (Some(x), Some(y)) => *x.min(y),
                (Some(x), None) | (None, Some(x)) => *x,
                (None, None) => break,
            };
            let mut cell = C::default();
            if own == Some(&next) {
                cell = self.count[a];
                a += 1;
            }
            if foreign == Some(&next) {
                cell.put(factor * count[b]);
                b += 1;
            }
            merged.index.push(next);
            merged.count.push(cell);
        }
        *self = merged;
    }

    /// Merges the buckets into those that `target` names, which must grow with the index.
    pub fn regroup(&mut self, target: impl Fn(i32) -> i32) {
        let mut kept = 0;
        for i in 0..self.index.len() {
            let index = target(self.index[i]);
            if kept > 0 && self.index[kept - 1] == index {
                let cell = self.count[i];
                self.count[kept - 1].absorb(cell);
            } else {
                self.index[kept] = index;
                self.count[kept] = self.count[i];
                kept += 1;
            }
        }
        self.index.truncate(kept);
        self.count.truncate(kept);
    }

    /// Merges into the buckets of a coarser schema.
    pub fn reduce(&mut self, from: i8, to: i8) {
        if to < from {
            self.regroup(|index| bounds::coarser(index, from, to));
        }
    }

    /// Removes the buckets that count nothing.
    pub fn compact(&mut self) {
        self.retain(|_| true);
    }

    /// Removes the buckets that count nothing or that `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(i32) -> bool) {
        let mut kept = 0;
        for i in 0..self.index.len() {
            if !self.count[i].is_zero() && keep(self.index[i]) {
                self.index[kept] = self.index[i];
                self.count[kept] = self.count[i];
                kept += 1;
            }
        }
        self.index.truncate(kept);
        self.count.truncate(kept);
    }

    pub fn clear(&mut self) {
        self.index.clear();
        self.count.clear();
    }
}
