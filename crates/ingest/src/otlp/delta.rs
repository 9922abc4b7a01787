//! Totals of points that count since the point before.
//!
//! Of each series the sum of what came is kept, and the time since when it counts. A series of which
//! nothing came for a while is forgotten, and begins anew when it comes back.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use vedette_model::{CUSTOM_BUCKETS_SCHEMA, HistogramCounts, NativeHistogram};
use vedette_wire::otlp::HistogramPoint;

/// Series whose totals are kept; further ones are refused.
const TOTALS_MAX: usize = 200_000;
/// After so long without a point a total is forgotten.
const SILENT_MS_MAX: i64 = 5 * 60_000;

/// The time of a point, and since when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub start_ms: i64,
    pub time_ms: i64,
}

/// The totals of all series.
#[derive(Default)]
pub(crate) struct Totals(Mutex<HashMap<u128, Total>>);

/// One request that adds to the totals. Unless it is kept it leaves no trace: its sender sends it again.
pub(crate) struct Adding<'a> {
    totals: MutexGuard<'a, HashMap<u128, Total>>,
    /// What was there before, in the order in which it was changed.
    before: Vec<(u128, Option<Total>)>,
}

#[derive(Clone)]
struct Total {
    start_ms: i64,
    /// Time of the last point.
    time_ms: i64,
    /// When the last point came.
    came_ms: i64,
    sum: Sum,
}

#[derive(Clone)]
enum Sum {
    Number(f64),
    Histogram(Arc<NativeHistogram>),
}

impl Totals {
    /// Begins a request; others wait for its end.
    pub fn begin(&self) -> Adding<'_> {
        Adding { totals: self.0.lock(), before: Vec::new() }
    }
}

impl Drop for Adding<'_> {
    fn drop(&mut self) {
        while let Some((series, before)) = self.before.pop() {
            match before {
                Some(total) => self.totals.insert(series, total),
                None => self.totals.remove(&series),
            };
        }
    }
}

impl Adding<'_> {
    /// The request was stored, and is not sent again.
    pub fn keep(mut self) {
        self.before.clear();
    }

    /// Adds a number; gives since when the total counts, and the total.
    pub fn add(&mut self, series: u128, span: &Span, now_ms: i64, delta: f64) -> Result<(i64, f64), String> {
        self.before.push((series, self.totals.get(&series).cloned()));
        let total = place(&mut self.totals, series, span, now_ms, || Sum::Number(0.0))?;
        let sum = match total.sum {
            Sum::Number(sum) => sum + delta,
            Sum::Histogram(_) => delta,
        };
        total.sum = Sum::Number(sum);
        Ok((total.start_ms, sum))
    }

    /// Adds a histogram; where its buckets mean something else than before, the total begins anew.
    pub fn add_histogram(
        &mut self,
        series: u128,
        span: &Span,
        now_ms: i64,
        delta: NativeHistogram,
    ) -> Result<(i64, NativeHistogram), String> {
        delta.validate().map_err(|e| e.to_string())?;
        self.before.push((series, self.totals.get(&series).cloned()));
        let total = place(&mut self.totals, series, span, now_ms, || Sum::Number(0.0))?;
        let sum = match &total.sum {
            Sum::Histogram(before) => match added(before, &delta) {
                Some(sum) => sum,
                None => {
                    total.start_ms = span.start_ms;
                    delta
                }
            },
            Sum::Number(_) => delta,
        };
        let sum = Arc::new(sum);
        total.sum = Sum::Histogram(sum.clone());
        Ok((total.start_ms, NativeHistogram::clone(&sum)))
    }
}

/// The total of a series, which this point is the newest of.
fn place<'a>(
    totals: &'a mut HashMap<u128, Total>,
    series: u128,
    span: &Span,
    now_ms: i64,
    nothing: impl Fn() -> Sum,
) -> Result<&'a mut Total, String> {
    if !totals.contains_key(&series) && totals.len() >= TOTALS_MAX {
        totals.retain(|_, total| now_ms - total.came_ms <= SILENT_MS_MAX);
        if totals.len() >= TOTALS_MAX {
            return Err(format!("more than {TOTALS_MAX} series count since the point before"));
        }
    }
    let begin = || Total { start_ms: span.start_ms, time_ms: i64::MIN, came_ms: now_ms, sum: nothing() };
    let total = totals.entry(series).or_insert_with(begin);
    if now_ms - total.came_ms > SILENT_MS_MAX {
        *total = begin();
    }
    if span.time_ms <= total.time_ms || (span.start_ms != 0 && span.start_ms < total.start_ms) {
        return Err("a point that counts since the one before came too late".to_owned());
    }
    total.time_ms = span.time_ms;
    total.came_ms = now_ms;
    Ok(total)
}

/// Counts of buckets by their indexes.
fn buckets(spans: &[vedette_model::Span], counts: &[u64]) -> Vec<(i64, u64)> {
    let mut next = 0_i64;
    let mut counts = counts.iter();
    let mut out = Vec::new();
    for span in spans {
        next += i64::from(span.offset);
        for _ in 0..span.length {
            out.push((next, counts.next().copied().unwrap_or(0)));
            next += 1;
        }
    }
    out
}

/// The sum of two histograms of whole counts; `None` where their buckets cannot be compared, or where
/// the sum is more than can be counted. The coarser of two resolutions is that of the sum.
fn added(a: &NativeHistogram, b: &NativeHistogram) -> Option<NativeHistogram> {
    let is_custom = |h: &NativeHistogram| h.schema == CUSTOM_BUCKETS_SCHEMA;
    if is_custom(a) != is_custom(b)
        || a.custom_bounds != b.custom_bounds
        || a.zero_threshold != b.zero_threshold
    {
        return None;
    }
    let schema = a.schema.min(b.schema);
    let (
        HistogramCounts::Integer { count, zero_count, positive, negative },
        HistogramCounts::Integer {
            count: count_b,
            zero_count: zero_b,
            positive: positive_b,
            negative: negative_b,
        },
    ) = (&a.counts, &b.counts)
    else {
        return None;
    };
    let sum = |spans_a: &_, counts_a: &_, spans_b: &_, counts_b: &_| {
        let coarser = |h: &NativeHistogram, buckets: Vec<(i64, u64)>| {
            let shift = if is_custom(h) { 0 } else { (h.schema - schema) as u32 };
            buckets.into_iter().map(move |(index, count)| (((index - 1) >> shift) + 1, count))
        };
        let mut all = std::collections::BTreeMap::<i64, u64>::new();
        for (index, count) in
            coarser(a, buckets(spans_a, counts_a)).chain(coarser(b, buckets(spans_b, counts_b)))
        {
            let sum = all.entry(index).or_default();
            *sum = sum.checked_add(count)?;
        }
        super::histograms::sparse(all.into_iter()).ok()
    };
    let (positive_spans, positive) = sum(&a.positive_spans, positive, &b.positive_spans, positive_b)?;
    let (negative_spans, negative) = sum(&a.negative_spans, negative, &b.negative_spans, negative_b)?;
    Some(NativeHistogram {
        schema,
        sum: a.sum + b.sum,
        positive_spans,
        negative_spans,
        counts: HistogramCounts::Integer {
            count: count.checked_add(*count_b)?,
            zero_count: zero_count.checked_add(*zero_b)?,
            positive,
            negative,
        },
        ..b.clone()
    })
}

/// Puts a total with custom buckets in the place of what a point says.
pub(super) fn put_total(point: &mut HistogramPoint<'_>, total: &NativeHistogram, start_ms: i64) {
    let HistogramCounts::Integer { count, positive, .. } = &total.counts else { return };
    let mut counts = vec![0; point.bounds.len() + 1];
    for (index, count) in buckets(&total.positive_spans, positive) {
        if let Some(place) = usize::try_from(index).ok().and_then(|at| counts.get_mut(at)) {
            *place = count;
        }
    }
    point.count = *count;
    point.buckets = counts;
    point.sum = point.sum.map(|_| total.sum);
    point.common.start_ns = start_ms.max(0) as u64 * 1_000_000;
}
