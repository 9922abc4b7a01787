//! Quantiles and shares of classic histograms: series that differ in their `le` label only.

use std::collections::HashMap;

use vedette_model::Labels;

use super::{
    Evaluator, Result, Sink,
    column::{Grid, NONE, Row, is_none, is_some},
    label_name,
};
use crate::{
    ast::{Call, Expr},
    span::Span,
    syntax::{number::format_general, quote::quote},
};

/// Counts that differ by less than this share of themselves differ by rounding only.
const ROUNDING: f64 = 1e-12;

/// Cumulative count of observations up to a bound.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// One histogram's series: bounds with their columns.
struct Histogram {
    labels: Labels,
    buckets: Vec<(f64, Vec<f64>)>,
}

impl Evaluator<'_> {
    pub fn histogram_quantile(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let quantiles = self.scalar(&call.args[0], grid)?;
        self.warn_quantiles(call.args[0].span, &quantiles);
        let histograms = self.histograms(&call.args[1], grid)?;
        for histogram in histograms {
            let values =
                self.evaluate(&histogram, grid, call.args[1].span, "histogram_quantile", &|i, b| {
                    quantile(quantiles[i], b)
                })?;
            let labels = self.finish(histogram);
            sink(Row { labels, drop_name: true, values })?;
        }
        Ok(())
    }

    pub fn histogram_quantiles(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let label = label_name(&call.args[1], "label name in histogram_quantiles()")?;
        let columns = call.args[2..].iter().map(|a| self.scalar(a, grid)).collect::<Result<Vec<_>>>()?;
        for (arg, column) in call.args[2..].iter().zip(&columns) {
            self.warn_quantiles(arg.span, column);
        }
        let mut rows = Vec::new();
        for histogram in self.histograms(&call.args[0], grid)? {
            for quantiles in &columns {
                let values =
                    self.evaluate(&histogram, grid, call.args[0].span, "histogram_quantiles", &|i, b| {
                        quantile(quantiles[i], b)
                    })?;
                // The label tells the quantile; where that varies so does the series.
                let mut distinct: Vec<f64> = Vec::new();
                for (q, _) in quantiles.iter().zip(&values).filter(|(_, v)| is_some(**v)) {
                    if !distinct.iter().any(|d| d.to_bits() == q.to_bits()) {
                        distinct.push(*q);
                    }
                }
                for q in distinct {
                    let mut own = self.column(grid.count, NONE)?;
                    for (i, own) in
                        own.iter_mut().enumerate().filter(|(i, _)| quantiles[*i].to_bits() == q.to_bits())
                    {
                        *own = values[i];
                    }
                    let labels = histogram.labels.to_builder().set(label, &with_fraction(q)).build();
                    rows.push(Row { labels, drop_name: true, values: own });
                }
                self.recycle(values);
            }
            self.finish(histogram);
        }
        super::join(rows)?.into_iter().try_for_each(sink)
    }

    pub fn histogram_fraction(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let lower = self.scalar(&call.args[0], grid)?;
        let upper = self.scalar(&call.args[1], grid)?;
        for histogram in self.histograms(&call.args[2], grid)? {
            let values =
                self.evaluate(&histogram, grid, call.args[2].span, "histogram_fraction", &|i, b| {
                    fraction(lower[i], upper[i], b)
                })?;
            let labels = self.finish(histogram);
            sink(Row { labels, drop_name: true, values })?;
        }
        Ok(())
    }

    /// Gives a histogram's columns back; its labels remain.
    fn finish(&self, histogram: Histogram) -> Labels {
        histogram.buckets.into_iter().for_each(|(_, column)| self.recycle(column));
        histogram.labels
    }

    /// Gathers series into histograms.
    fn histograms(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Histogram>> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut histograms: Vec<Histogram> = Vec::new();
        self.vector(expr, grid, &mut |row| {
            let le = row.labels.get("le").unwrap_or("");
            let Ok(upper) = le.parse::<f64>() else {
                let message = format!(
                    "bucket label \"le\" is missing or has a malformed value of {}{}",
                    quote(le),
                    for_metric(&row.labels)
                );
                self.annotations.warn(expr.span, message);
                return Ok(());
            };
            let labels = row.labels.drop(&["le"]);
            let next = histograms.len();
            let place = *places.entry(labels.clone()).or_insert(next);
            if place == next {
                histograms.push(Histogram { labels, buckets: Vec::new() });
            }
            histograms[place].buckets.push((upper, row.values));
            Ok(())
        })?;
        Ok(histograms)
    }

    fn evaluate(
        &self,
        histogram: &Histogram,
        grid: &Grid,
        span: Span,
        function: &str,
        f: &dyn Fn(usize, &[Bucket]) -> f64,
    ) -> Result<Vec<f64>> {
        let mut values = self.column(grid.count, NONE)?;
        let mut buckets: Vec<Bucket> = Vec::with_capacity(histogram.buckets.len());
        for (i, value) in values.iter_mut().enumerate() {
            buckets.clear();
            for (upper, column) in &histogram.buckets {
                if !is_none(column[i]) {
                    buckets.push(Bucket { upper: *upper, count: column[i] });
                }
            }
            if buckets.is_empty() {
                continue;
            }
            if prepare(&mut buckets) {
                let message = format!(
                    "input to {function} needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){}",
                    for_metric(&histogram.labels)
                );
                self.annotations.info(span, message);
            }
            *value = f(i, &buckets);
        }
        Ok(values)
    }
}

/// A quantile as a label's value, always with a fraction: `1.0`.
fn with_fraction(quantile: f64) -> String {
    let text = format_general(quantile);
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') { text + ".0" } else { text }
}

fn for_metric(labels: &Labels) -> String {
    match labels.metric_name() {
        "" => String::new(),
        name => format!(" for metric name {}", quote(name)),
    }
}

/// Sorts buckets, adds those of one bound, and makes the counts grow; tells whether that took
/// more than removing rounding errors.
fn prepare(buckets: &mut Vec<Bucket>) -> bool {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|next, first| {
        let same = next.upper == first.upper;
        if same {
            first.count += next.count;
        }
        same
    });
    // Counts are meaningless without the bucket of everything.
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return false;
    }
    let mut forced = false;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        let (count, difference) = (bucket.count, (bucket.count - before).abs());
        let rounding = difference <= ROUNDING * (count.abs() + before.abs());
        if rounding || count < before {
            forced |= !rounding;
            bucket.count = before;
        } else {
            before = count;
        }
    }
    forced
}

/// The `q`-quantile, observations being spread evenly within buckets.
fn quantile(q: f64, buckets: &[Bucket]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let Some((all, bounded)) = buckets.split_last() else { return f64::NAN };
    if all.upper != f64::INFINITY || bounded.is_empty() || all.count == 0.0 || all.count.is_nan() {
        return f64::NAN;
    }
    let rank = q * all.count;
    let place = bounded.partition_point(|b| b.count < rank);
    let Some(bucket) = bounded.get(place) else { return bounded[bounded.len() - 1].upper };
    if place == 0 && bucket.upper <= 0.0 {
        return bucket.upper;
    }
    let (lower, below) = match place.checked_sub(1) {
        Some(before) => (bounded[before].upper, bounded[before].count),
        None => (0.0, 0.0),
    };
    lower + (bucket.upper - lower) * ((rank - below) / (bucket.count - below))
}

/// The share of observations between two values.
fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let Some(all) = buckets.last() else { return f64::NAN };
    if all.upper != f64::INFINITY
        || all.count == 0.0
        || all.count.is_nan()
        || lower.is_nan()
        || upper.is_nan()
    {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets) - rank_of(lower, buckets)) / all.count
}

/// How many observations lie at or below a value.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut below = 0.0;
    for (i, bucket) in buckets.iter().enumerate() {
        let lower = match i.checked_sub(1) {
            Some(before) => buckets[before].upper,
            // A first bucket above zero begins at zero.
            None if bucket.upper > 0.0 => 0.0,
            None => f64::NEG_INFINITY,
        };
        if lower >= value {
            return below;
        }
        if bucket.upper > value {
            if lower == f64::NEG_INFINITY {
                // Without a lower bound nothing is known of where in the bucket they lie.
                return if value == f64::NEG_INFINITY { 0.0 } else { bucket.count };
            }
            if bucket.upper == f64::INFINITY {
                return below;
            }
            return below + (bucket.count - below) * ((value - lower) / (bucket.upper - lower));
        }
        below = bucket.count;
    }
    below
}
