//! Classic histograms on their way to native ones with custom bounds.
//!
//! The parts of one histogram come in a row: buckets, count and sum of one metric, in any order. When
//! another metric begins, the one before is whole.

use vedette_model::{
    CUSTOM_BUCKETS_SCHEMA, Exemplar, HistogramCounts, METRIC_NAME, NativeHistogram, ResetHint, Span,
};

/// Names and values of labels, the metric name among them.
pub(crate) type Pairs = Vec<(String, String)>;

/// A part of a classic histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    /// The bucket with this upper bound.
    Bucket(f64),
    Count,
    Sum,
}

/// The histogram whose parts are coming.
#[derive(Debug, Default)]
pub(crate) struct Classic {
    /// What tells it from others.
    key: Vec<u8>,
    pairs: Pairs,
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
    time_ms: Option<i64>,
    start_ms: i64,
    exemplars: Vec<Exemplar>,
}

/// A whole one.
#[derive(Debug)]
pub(crate) struct Whole {
    /// What tells it from others.
    pub(crate) key: Vec<u8>,
    /// Its labels.
    pub(crate) pairs: Pairs,
    /// The time that the target tells.
    pub(crate) time_ms: Option<i64>,
    /// Since when it counts, or 0.
    pub(crate) start_ms: i64,
    /// Exemplars of its buckets.
    pub(crate) exemplars: Vec<Exemplar>,
    /// The native form, or `None` where the parts contradict each other.
    pub(crate) histogram: Option<NativeHistogram>,
}

/// Finds the part that labels name, and takes its suffix and bound away; `None` where they name none.
pub(crate) fn part(pairs: &mut Pairs) -> Option<Part> {
    let name = &mut pairs.iter_mut().find(|(name, _)| name == METRIC_NAME)?.1;
    for (suffix, part) in [("_count", Part::Count), ("_sum", Part::Sum)] {
        if let Some(family) = name.strip_suffix(suffix) {
            *name = family.to_owned();
            return Some(part);
        }
    }
    let family = name.strip_suffix("_bucket")?.to_owned();
    let at = pairs.iter().position(|(name, _)| name == "le")?;
    let bound: f64 = pairs[at].1.parse().ok()?;
    pairs.remove(at);
    pairs.iter_mut().find(|(name, _)| name == METRIC_NAME)?.1 = family;
    Some(Part::Bucket(bound))
}

impl Classic {
    /// Takes a part; gives the histogram before, if this part is of another one.
    pub(crate) fn take(
        &mut self,
        mut pairs: Pairs,
        part: Part,
        value: f64,
        time_ms: Option<i64>,
        start_ms: i64,
    ) -> Option<Whole> {
        pairs.sort_unstable();
        let key = key(&pairs);
        let before = if key == self.key { None } else { self.end() };
        if before.is_some() || self.key.is_empty() {
            *self = Self { key, pairs, time_ms, start_ms, ..Self::default() };
        }
        match part {
            Part::Bucket(bound) => self.buckets.push((bound, value)),
            Part::Count => self.count = Some(value),
            Part::Sum => self.sum = value,
        }
        before
    }

    /// Takes an exemplar of the part that came last.
    pub(crate) fn exemplar(&mut self, exemplar: Exemplar) {
        self.exemplars.push(exemplar);
    }

    /// Gives the histogram whose parts came last.
    pub(crate) fn end(&mut self) -> Option<Whole> {
        if self.key.is_empty() {
            return None;
        }
        let Self { key, pairs, buckets, count, sum, time_ms, start_ms, exemplars } = std::mem::take(self);
        let histogram = native(buckets, count, sum);
        Some(Whole { key, pairs, time_ms, start_ms, exemplars, histogram })
    }
}

/// Bytes that no line of a text has, so that they name nothing else.
fn key(pairs: &Pairs) -> Vec<u8> {
    let mut key = vec![0xff];
    for (name, value) in pairs {
        key.extend_from_slice(name.as_bytes());
        key.push(0xff);
        key.extend_from_slice(value.as_bytes());
        key.push(0xff);
    }
    key
}

/// The native form. Counts of buckets are cumulative there and single here.
fn native(mut buckets: Vec<(f64, f64)>, count: Option<f64>, sum: f64) -> Option<NativeHistogram> {
    if buckets.iter().any(|(bound, count)| bound.is_nan() || count.is_nan() || *count < 0.0) {
        return None;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = count.or(buckets.last().map(|(_, count)| *count))?;
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        buckets.push((f64::INFINITY, count));
    }
    let grow = buckets.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
    if !grow || buckets.last().is_none_or(|(_, last)| *last != count) {
        return None;
    }
    let custom_bounds: Vec<f64> = buckets[..buckets.len() - 1].iter().map(|(bound, _)| *bound).collect();
    let mut before = 0.0;
    let mut singles = Vec::new();
    let mut positive_spans: Vec<Span> = Vec::new();
    let mut end = 0;
    for (i, (_, cumulative)) in (0..).zip(&buckets) {
        let single = cumulative - before;
        before = *cumulative;
        if single == 0.0 {
            continue;
        }
        match positive_spans.last_mut().filter(|_| end == i) {
            Some(span) => span.length += 1,
            None => positive_spans.push(Span { offset: i - end, length: 1 }),
        }
        end = i + 1;
        singles.push(single);
    }
    let is_whole = |n: f64| n.fract() == 0.0 && n < 9e15;
    let counts = if is_whole(count) && buckets.iter().all(|(_, n)| is_whole(*n)) {
        HistogramCounts::Integer {
            count: count as u64,
            zero_count: 0,
            positive: singles.iter().map(|n| *n as u64).collect(),
            negative: Vec::new(),
        }
    } else {
        HistogramCounts::Float { count, zero_count: 0.0, positive: singles, negative: Vec::new() }
    };
    let histogram = NativeHistogram {
        reset_hint: ResetHint::Unknown,
        schema: CUSTOM_BUCKETS_SCHEMA,
        zero_threshold: 0.0,
        sum,
        positive_spans,
        negative_spans: Vec::new(),
        custom_bounds,
        counts,
    };
    histogram.validate().ok().map(|()| histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(name: &str, rest: &[(&str, &str)]) -> Pairs {
        let all = [(METRIC_NAME, name)].into_iter().chain(rest.iter().copied());
        all.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    fn take(classic: &mut Classic, mut pairs: Pairs, value: f64) -> Option<Whole> {
        let part = part(&mut pairs).expect("a part");
        classic.take(pairs, part, value, None, 0)
    }

    #[test]
    fn parts_become_one_histogram() {
        let mut classic = Classic::default();
        for (name, le, value) in [
            ("h_bucket", Some("0.5"), 0.0),
            ("h_bucket", Some("1"), 2.0),
            ("h_bucket", Some("5"), 2.0),
            ("h_bucket", Some("+Inf"), 6.0),
            ("h_sum", None, 12.5),
            ("h_count", None, 6.0),
        ] {
            let labels: Vec<_> = [("a", "b")].into_iter().chain(le.map(|le| ("le", le))).collect();
            assert!(take(&mut classic, pairs(name, &labels), value).is_none());
        }
        let before = take(&mut classic, pairs("h_count", &[("a", "c")]), 1.0).expect("whole");
        assert_eq!(before.pairs, pairs("h", &[("a", "b")]));
        let histogram = before.histogram.expect("sound");
        assert_eq!(histogram.custom_bounds, [0.5, 1.0, 5.0]);
        assert_eq!(histogram.positive_spans, [Span { offset: 1, length: 1 }, Span { offset: 1, length: 1 }]);
        let counts =
            HistogramCounts::Integer { count: 6, zero_count: 0, positive: vec![2, 4], negative: vec![] };
        assert_eq!((histogram.counts, histogram.sum), (counts, 12.5));
        // A count alone is one bucket.
        let last = classic.end().and_then(|whole| whole.histogram).expect("sound");
        assert_eq!((last.count(), last.custom_bounds.len()), (1.0, 0));
        assert!(classic.end().is_none());
    }

    #[test]
    fn contradictions_give_none() {
        let whole = |buckets: &[(f64, f64)], count| native(buckets.to_vec(), count, 0.0);
        assert!(whole(&[(1.0, 3.0), (2.0, 2.0)], None).is_none());
        assert!(whole(&[(1.0, 1.0), (1.0, 1.0)], None).is_none());
        assert!(whole(&[(1.0, 1.0), (f64::INFINITY, 2.0)], Some(3.0)).is_none());
        assert!(whole(&[(f64::NAN, 1.0)], None).is_none());
        assert!(whole(&[], None).is_none());
        let float = whole(&[(1.0, 0.5)], Some(1.0)).expect("sound");
        assert!(matches!(float.counts, HistogramCounts::Float { count: 1.0, .. }));
        assert_eq!(part(&mut pairs("h", &[("le", "1")])), None);
        assert_eq!(part(&mut pairs("h_bucket", &[("le", "x")])), None);
    }
}
