//! Finds out whether counting began anew between two histograms.

use vedette_model::ResetHint;

use super::{
    Histogram,
    arithmetic::{into, shared_bounds},
    bounds,
    buckets::Buckets,
};

impl Histogram {
    /// Whether counting began anew since `previous`, as this histogram's hint says, else as the
    /// counts tell.
    pub(crate) fn is_reset_since(&self, previous: &Self) -> bool {
        match self.hint {
            ResetHint::Reset => true,
            ResetHint::NotReset => false,
            // A gauge that is used as a counter is looked at like one.
            ResetHint::Unknown | ResetHint::Gauge => self.counts_fell_since(previous),
        }
    }

    /// Whether this sample continues the run of counter samples that `previous` belongs to: same
    /// layout, no count lower.
    pub(crate) fn continues(&self, previous: &Self) -> bool {
        self.schema == previous.schema
            && self.zero_threshold == previous.zero_threshold
            && self.bounds == previous.bounds
            && self.hint != ResetHint::Reset
            && !self.counts_fell_since(previous)
    }

    fn counts_fell_since(&self, previous: &Self) -> bool {
        if self.count < previous.count {
            return true;
        }
        if self.is_custom() {
            if !previous.is_custom() {
                return true;
            }
            if self.bounds != previous.bounds {
                return self.shared_counts_fell_since(previous);
            }
        }
        // A source gets finer only by starting anew.
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        if self.is_custom() {
            return fell(&self.positive, &previous.positive, |_| false);
        }
        let (zero_count, threshold) = previous.zero_bucket_up_to(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let skip = |i: i32| bounds::exponential(i64::from(i), self.schema) <= self.zero_threshold;
        [(&self.positive, &previous.positive), (&self.negative, &previous.negative)].into_iter().any(
            |(now, before)| {
                if previous.schema == self.schema {
                    fell(now, before, skip)
                } else {
                    let mut reduced = before.clone();
                    reduced.reduce(previous.schema, self.schema);
                    fell(now, &reduced, skip)
                }
            },
        )
    }

    /// The same for custom bounds that differ: in the bounds that both have.
    fn shared_counts_fell_since(&self, previous: &Self) -> bool {
        let shared = shared_bounds(&self.bounds, &previous.bounds);
        let regrouped = |h: &Self| {
            let mut buckets = h.positive.clone();
            buckets.regroup(into(&h.bounds, &shared));
            buckets
        };
        fell(&regrouped(self), &regrouped(previous), |_| false)
    }
}

/// Whether a populated bucket is gone or counts less; buckets at the beginning that `skip` names
/// are not looked at.
fn fell(now: &Buckets, before: &Buckets, skip: impl Fn(i32) -> bool) -> bool {
    let mut current = now.iter().peekable();
    for (index, count) in before.iter().skip_while(|(i, _)| skip(*i)) {
        while current.next_if(|(i, _)| *i < index).is_some() {}
        match current.peek() {
            Some((i, c)) if *i == index && *c < count => return true,
            Some((i, _)) if *i == index => {}
            _ if count != 0.0 => return true,
            _ => {}
        }
    }
    false
}
