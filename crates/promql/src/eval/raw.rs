//! Range expressions that stand alone: their samples are the answer.

use std::sync::Arc;

use super::{Evaluator, Result, column::Grid, samples::Samples, selector::Windows};
use crate::{
    QueryError,
    ast::{Edges, Expr},
    output::{Point, Series},
};

impl Evaluator<'_> {
    /// The samples of a range expression.
    pub fn raw(&self, expr: &Expr, grid: &Grid) -> Result<Vec<Series>> {
        let mut out: Vec<Series> = Vec::new();
        self.windows(expr, grid, "", &mut |labels, drop_name, samples, windows| {
            let (points, histograms) = match windows.edges {
                Edges::Plain => inside(samples, windows),
                edges => {
                    if !samples.histograms.is_empty() {
                        let name = if edges == Edges::Anchored { "anchored" } else { "smoothed" };
                        return Err(QueryError::Execution(format!(
                            "{name} modifier is not supported with histograms"
                        )));
                    }
                    (extended(samples, windows), Vec::new())
                }
            };
            if points.is_empty() && histograms.is_empty() {
                return Ok(());
            }
            self.hold(2 * points.len() + histograms.iter().map(|(_, h)| h.cells()).sum::<usize>())?;
            let labels = if drop_name { labels.drop(&super::DESCRIPTIVE) } else { labels };
            out.push(Series { labels, points, histograms });
            Ok(())
        })?;
        let mut seen = std::collections::HashSet::new();
        if out.iter().any(|s| !seen.insert(s.labels.clone())) {
            return Err(QueryError::Execution(
                "vector cannot contain metrics with the same labelset".to_owned(),
            ));
        }
        Ok(out)
    }
}

type Points = (Vec<Point>, Vec<(i64, Arc<crate::Histogram>)>);

fn inside(samples: &Samples, windows: &Windows) -> Points {
    let end = windows.references.last();
    let (mut points, mut histograms) = (Vec::new(), Vec::new());
    for (i, time_ms) in samples.columns.times_ms.iter().copied().enumerate() {
        if time_ms <= end - windows.range_ms || time_ms > end {
            continue;
        }
        match samples.histogram(i) {
            Some(histogram) => histograms.push((time_ms, Arc::clone(histogram))),
            None => points.push(Point { time_ms, value: samples.columns.values[i] }),
        }
    }
    (points, histograms)
}

/// The samples inside the window, and those that are made up at its ends.
fn extended(samples: &Samples, windows: &Windows) -> Vec<Point> {
    let (times, values) = (&samples.columns.times_ms, &samples.columns.values);
    let end = windows.references.last();
    let start = end - windows.range_ms;
    let smoothed = windows.edges == Edges::Smoothed;
    let mut last = times.len() - 1;
    let mut first = times[..last].partition_point(|t| *t <= start).saturating_sub(1);
    if smoothed {
        last = times[..last].partition_point(|t| *t < end);
    }
    if times[last] <= start {
        return Vec::new();
    }
    let between = |i: usize, at: i64| {
        let (since, whole) = ((at - times[i]) as f64, (times[i + 1] - times[i]) as f64);
        values[i] + (values[i + 1] - values[i]) * since / whole
    };
    let left = if smoothed && times[first] < start { between(first, start) } else { values[first] };
    let right = if smoothed && last > 0 && times[last] > end { between(last - 1, end) } else { values[last] };
    first += usize::from(times[first] <= start);
    let stop = last + usize::from(times[last] < end);
    let inner = (first..stop.max(first)).map(|i| Point { time_ms: times[i], value: values[i] });
    let ends = [Point { time_ms: start, value: left }, Point { time_ms: end, value: right }];
    ends[..1].iter().copied().chain(inner).chain(ends[1..].iter().copied()).collect()
}
