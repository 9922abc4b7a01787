//! Function calls: over ranges, and over the values of one time.

use vedette_model::{Labels, METRIC_NAME, MatchOp};

use super::{
    Evaluator, Result, Sink, calendar,
    column::{Grid, Histograms, NONE, Row, is_none, is_some},
    edges,
    mixed::MixedWindows,
    notes::{Note, Notes},
    numeric::{self, nan_first},
    samples::Samples,
    selector::{Take, Windows},
    string, window,
};
use crate::{
    QueryError,
    ast::{Call, Edges, Expr, ExprKind, ValueType},
    function::FunctionId,
    span::Span,
    syntax::{number::format_general, quote::quote},
};

impl Evaluator<'_> {
    /// Evaluates a call that returns a vector.
    pub fn call(&self, call: &Call, span: Span, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use FunctionId as F;
        let id = call.function.id;
        let arg = call.args.first();
        if let Some(f) = math(id)
            && let Some(arg) = arg
        {
            return self.map(arg, grid, sink, |v, _| f(v));
        }
        if let Some(f) = calendar::function(id) {
            return match arg {
                Some(arg) => self.map(arg, grid, sink, |v, _| f(v)),
                None => self.single(grid, sink, |i| f(grid.time(i) as f64 / 1000.0)),
            };
        }
        match id {
            F::Absent => self.absent(&call.args[0], grid, sink),
            F::AbsentOverTime => self.absent_over_time(&call.args[0], grid, sink),
            F::Vector => {
                let values = self.scalar(&call.args[0], grid)?;
                sink(Row::floats(Labels::empty(), false, values))
            }
            F::Timestamp => self.timestamp(&call.args[0], grid, sink),
            F::Round => {
                let nearest = self.parameter(call.args.get(1), 1.0, grid)?;
                self.map(&call.args[0], grid, sink, |v, i| {
                    // Dividing by the inverse keeps `round(x, 0.1)` free of digits from 0.1's error.
                    let inverse = 1.0 / nearest[i];
                    (v * inverse + 0.5).floor() / inverse
                })
            }
            F::Clamp => self.clamp(call, Some(1), Some(2), grid, sink),
            F::ClampMin => self.clamp(call, Some(1), None, grid, sink),
            F::ClampMax => self.clamp(call, None, Some(1), grid, sink),
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => self.sort(call, span, grid, sink),
            F::LabelReplace => self.label_replace(call, grid, sink),
            F::LabelJoin => self.label_join(call, grid, sink),
            F::HistogramQuantile => self.histogram_quantile(call, grid, sink),
            F::HistogramQuantiles => self.histogram_quantiles(call, grid, sink),
            F::HistogramFraction => self.histogram_fraction(call, grid, sink),
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramStddev
            | F::HistogramStdvar
            | F::HistogramSum => self.histogram_value(call, grid, sink),
            F::Info => self.info(call, grid, sink),
            F::StartTimestamp => self.start_timestamp(&call.args[0], grid, sink),
            _ => self.over_range(call, grid, sink),
        }
    }

    /// A call over a range.
    fn over_range(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use FunctionId as F;
        let id = call.function.id;
        let (ranges, scalars): (Vec<&Expr>, Vec<&Expr>) =
            call.args.iter().partition(|a| a.value_type() == ValueType::Matrix);
        let params = scalars.iter().map(|s| self.scalar(s, grid)).collect::<Result<Vec<_>>>()?;
        // As in Prometheus, places are those inside of parentheses around an argument.
        let range = ranges[0].unwrap_parens();
        let keeps_name = matches!(id, F::LastOverTime | F::FirstOverTime);
        // Prometheus tells the place of the first argument, whatever it is.
        let place = if range.span == call.args[0].unwrap_parens().span {
            place_of_range(range)
        } else {
            scalars[0].unwrap_parens().span
        };
        self.windows(range, grid, call.function.name, &mut |labels, drop_name, samples, windows| {
            if matches!(id, F::QuantileOverTime | F::DoubleExponentialSmoothing) {
                // Quantiles are those of floats.
                let floats = (id == F::QuantileOverTime).then(|| samples.split().0);
                let judged_samples = floats.as_ref().unwrap_or(&samples.columns);
                let mut slide = window::Slide::new(windows, judged_samples);
                let judged = (0..grid.count).filter(|step| {
                    let (low, high) = slide.at(*step);
                    low < high
                });
                self.check_parameters(id, &scalars, &params, judged)?;
            }
            let notes = self.notes(place, labels.metric_name());
            let mut values = self.column(grid.count, NONE)?;
            let mut histograms = Histograms::default();
            if samples.histograms.is_empty() {
                window::compute(id, &samples.columns, windows, &params, self.cancel, &mut values)?;
            } else {
                let mixed = MixedWindows { samples, windows, params: &params, notes };
                self.mixed_windows(id, &mixed, &mut values, &mut histograms)?;
            }
            if matches!(id, F::Rate | F::Increase) && !samples.columns.starts_ms.is_empty() {
                self.note_overlaps(samples, windows, &notes, grid.count);
            }
            self.hold(histograms.cells())?;
            let row = Row { labels, drop_name: drop_name || !keeps_name, values, histograms };
            if row.is_empty() {
                self.recycle(row.values);
                return Ok(());
            }
            if matches!(id, F::Rate | F::Increase) && row.has_floats() {
                self.note_non_counter(&row.labels, place);
            }
            sink(row)
        })?;
        params.into_iter().for_each(|p| self.recycle(p));
        Ok(())
    }

    /// Tells of samples of floats whose start timestamps contradict each other.
    fn note_overlaps(&self, samples: &Samples, windows: &Windows, notes: &Notes<'_>, steps: usize) {
        if windows.edges != Edges::Plain || !samples.histograms.is_empty() {
            return;
        }
        for _ in 0..edges::overlaps(&samples.columns, windows, steps) {
            notes.tell(Note::StartOverlap(notes.name));
        }
    }

    /// Looks at the parameters of those evaluations that have samples to judge.
    fn check_parameters(
        &self,
        id: FunctionId,
        exprs: &[&Expr],
        params: &[Vec<f64>],
        steps: impl Iterator<Item = usize>,
    ) -> Result<()> {
        for step in steps {
            if id == FunctionId::QuantileOverTime {
                self.warn_quantiles(exprs[0].unwrap_parens().span, &params[0][step..=step]);
                continue;
            }
            for (what, symbol, value) in
                [("smoothing", "sf", params[0][step]), ("trend", "tf", params[1][step])]
            {
                if !(value > 0.0 && value < 1.0) {
                    let message =
                        format!("invalid {what} factor. Expected: 0 < {symbol} < 1, got: {value:.6}");
                    return Err(QueryError::Execution(message));
                }
            }
        }
        Ok(())
    }

    /// Warns of each quantile outside 0 to 1.
    pub fn warn_quantiles(&self, span: Span, quantiles: &[f64]) {
        let mut last = None;
        for bad in quantiles.iter().filter(|q| !(0.0..=1.0).contains(*q)) {
            if last.replace(bad.to_bits()) != Some(bad.to_bits()) {
                let message =
                    format!("quantile value should be between 0 and 1, got {}", format_general(*bad));
                self.annotations.warn(span, message);
            }
        }
    }

    fn note_non_counter(&self, labels: &Labels, span: Span) {
        let name = labels.metric_name();
        let counter = match labels.get("__type__") {
            Some(kind) => matches!(kind, "counter" | "histogram" | "summary" | "unknown" | ""),
            None => ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)),
        };
        if !name.is_empty() && !counter {
            let message = match labels.get("__type__") {
                Some(kind) => format!(
                    "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {}: {}",
                    quote(kind),
                    quote(name)
                ),
                None => format!(
                    "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {}",
                    quote(name)
                ),
            };
            self.annotations.info(span, message);
        }
    }

    /// A scalar argument that may be left out.
    fn parameter(&self, arg: Option<&Expr>, default: f64, grid: &Grid) -> Result<Vec<f64>> {
        match arg {
            Some(arg) => self.scalar(arg, grid),
            None => self.column(grid.count, default),
        }
    }

    /// One series without labels.
    fn single(&self, grid: &Grid, sink: Sink<'_>, f: impl Fn(usize) -> f64) -> Result<()> {
        let mut values = self.column(grid.count, NONE)?;
        values.iter_mut().enumerate().for_each(|(i, v)| *v = f(i));
        sink(Row::floats(Labels::empty(), false, values))
    }

    /// `timestamp(v)`: of a selector the samples' own times, else the evaluation's.
    fn timestamp(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        if let ExprKind::Vector(selector) = &arg.unwrap_parens().kind {
            return self.select_instant(selector, arg.span, grid, Take::Time, &mut |mut row| {
                row.drop_name = true;
                sink(row)
            });
        }
        self.vector(arg, grid, &mut |mut row| {
            self.release(row.histograms.cells());
            row.histograms = Histograms::default();
            for (i, v) in row.values.iter_mut().enumerate().filter(|(_, v)| is_some(**v)) {
                *v = grid.time(i) as f64 / 1000.0;
            }
            row.drop_name = true;
            sink(row)
        })
    }

    /// `start_timestamp(v)`: of a selector's samples; of anything else it is not known.
    fn start_timestamp(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        match &arg.unwrap_parens().kind {
            ExprKind::Vector(selector) => {
                self.select_instant(selector, arg.span, grid, Take::Start, &mut |mut row| {
                    row.drop_name = true;
                    sink(row)
                })
            }
            _ => self.vector(arg, grid, &mut |row| {
                self.recycle_row(row);
                Ok(())
            }),
        }
    }

    /// Limits values to the given arguments; an empty span of values gives nothing.
    fn clamp(
        &self,
        call: &Call,
        min: Option<usize>,
        max: Option<usize>,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<()> {
        let min = self.parameter(min.map(|i| &call.args[i]), f64::NEG_INFINITY, grid)?;
        let max = self.parameter(max.map(|i| &call.args[i]), f64::INFINITY, grid)?;
        self.map(&call.args[0], grid, sink, |v, i| {
            let (min, max) = (min[i], max[i]);
            if min > max { NONE } else { numeric::max(min, numeric::min(max, v)) }
        })
    }

    fn absent(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let mut values = self.column(grid.count, 1.0)?;
        self.vector(arg, grid, &mut |row| {
            for (absent, v) in values.iter_mut().zip(&row.values) {
                if is_some(*v) {
                    *absent = NONE;
                }
            }
            self.recycle_row(row);
            Ok(())
        })?;
        self.emit_absent(arg, values, sink)
    }

    fn absent_over_time(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let mut values = self.column(grid.count, 1.0)?;
        self.windows(arg, grid, "absent_over_time", &mut |_, _, samples, windows| {
            let mut slide = window::Slide::new(windows, &samples.columns);
            for (step, absent) in values.iter_mut().enumerate() {
                let (low, high) = slide.at(step);
                if low < high {
                    *absent = NONE;
                }
            }
            Ok(())
        })?;
        self.emit_absent(arg, values, sink)
    }

    fn emit_absent(&self, arg: &Expr, values: Vec<f64>, sink: Sink<'_>) -> Result<()> {
        if values.iter().all(|v| is_none(*v)) {
            self.recycle(values);
            return Ok(());
        }
        sink(Row::floats(absent_labels(arg), false, values))
    }

    fn sort(&self, call: &Call, span: Span, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use FunctionId as F;
        let id = call.function.id;
        let by_value = matches!(id, F::Sort | F::SortDesc);
        if grid.start_ms != grid.end_ms {
            self.vector(&call.args[0], grid, &mut |mut row| {
                if by_value {
                    self.drop_histograms(&mut row);
                }
                sink(row)
            })?;
            // Of sorts in sorts the place of the outermost is told.
            if !call.args.iter().all(is_fixed_in_time) {
                let message =
                    "sort is ineffective for range queries since results are always ordered by labels";
                self.annotations.warn(span, message.to_owned());
            }
            return Ok(());
        }
        let mut rows = self.rows(&call.args[0], grid)?;
        if by_value {
            rows.iter_mut().for_each(|row| self.drop_histograms(row));
            // NaN comes last either way.
            let key = |row: &Row| row.values.first().copied().unwrap_or(NONE);
            rows.sort_by(|a, b| {
                let (a, b) = (key(a), key(b));
                let order = a.is_nan().cmp(&b.is_nan());
                order.then(if id == F::Sort { nan_first(a, b) } else { nan_first(b, a) })
            });
        } else {
            let names = call.args[1..].iter().map(string).collect::<Result<Vec<_>>>()?;
            rows.sort_by(|a, b| {
                let order = (names.iter())
                    .map(|n| natural(a.labels.get(n).unwrap_or(""), b.labels.get(n).unwrap_or("")))
                    .find(|o| o.is_ne())
                    .unwrap_or_else(|| a.labels.cmp(&b.labels));
                if id == F::SortByLabel { order } else { order.reverse() }
            });
        }
        rows.into_iter().try_for_each(sink)
    }
}

/// Labels of what `absent` answers: those that the selector fixes with `=`; any later matcher of
/// the label takes it away.
fn absent_labels(arg: &Expr) -> Labels {
    let selector = match &arg.unwrap_parens().kind {
        ExprKind::Vector(v) => v,
        ExprKind::Matrix(m) => &m.selector,
        _ => return Labels::empty(),
    };
    let mut builder = Labels::empty().to_builder();
    let mut set: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if matcher.op == MatchOp::Equal && !set.contains(&matcher.name.as_str()) {
            builder.set(&matcher.name, &matcher.value);
            set.push(&matcher.name);
        } else {
            builder.set(&matcher.name, "");
        }
    }
    builder.build()
}

/// Compares text with numbers in it by their values: `cpu2` before `cpu10`.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (da, db) = (digits(a), digits(b));
        if da > 0 && db > 0 {
            let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb)).then(da.cmp(&db));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[da..], &b[db..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

/// Where notes about a range are told: of a subquery at the beginning of the query, as Prometheus
/// no longer knows its place by then.
fn place_of_range(range: &Expr) -> Span {
    match range.unwrap_parens().kind {
        ExprKind::Subquery(_) => Span { start: 0, end: 0, line: 1, column: 1 },
        _ => range.span,
    }
}

/// Whether an expression has the same value at all times of a query, by what is written in it.
fn is_fixed_in_time(expr: &Expr) -> bool {
    use FunctionId as F;
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Vector(selector) => selector.shift.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.shift.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.shift.at.is_some(),
        ExprKind::Call(call) => {
            !matches!(call.function.id, F::Time | F::Timestamp | F::PredictLinear)
                && !call.function.name.starts_with("day")
                && !matches!(call.function.id, F::Hour | F::Minute | F::Month | F::Year)
                && call.args.iter().all(is_fixed_in_time)
        }
        _ => expr.children().into_iter().all(is_fixed_in_time),
    }
}

/// Beyond this the square of a value drowns the one that is added to it, and may overflow.
const SQUARE_DROWNS_ONE: f64 = (1_u64 << 28) as f64;

fn acosh(value: f64) -> f64 {
    if value > SQUARE_DROWNS_ONE { value.ln() + std::f64::consts::LN_2 } else { value.acosh() }
}

fn asinh(value: f64) -> f64 {
    let size = value.abs();
    if size > SQUARE_DROWNS_ONE {
        (size.ln() + std::f64::consts::LN_2).copysign(value)
    } else {
        value.asinh()
    }
}

/// Functions of one value.
pub fn math(id: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match id {
        F::Abs => f64::abs,
        F::Acos => f64::acos,
        F::Acosh => acosh,
        F::Asin => f64::asin,
        F::Asinh => asinh,
        F::Atan => f64::atan,
        F::Atanh => f64::atanh,
        F::Ceil => f64::ceil,
        F::Cos => f64::cos,
        F::Cosh => f64::cosh,
        F::Deg => |v| v * 180.0 / std::f64::consts::PI,
        F::Exp => f64::exp,
        F::Floor => f64::floor,
        F::Ln => f64::ln,
        F::Log10 => f64::log10,
        F::Log2 => f64::log2,
        F::Rad => |v| v * std::f64::consts::PI / 180.0,
        F::Sgn => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        F::Sin => f64::sin,
        F::Sinh => f64::sinh,
        F::Sqrt => f64::sqrt,
        F::Tan => f64::tan,
        F::Tanh => f64::tanh,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_labels_sort_by_value() {
        let mut labels = ["cpu10", "cpu2", "cpu02", "cpu", "a"];
        labels.sort_by(|a, b| natural(a, b));
        assert_eq!(labels, ["a", "cpu", "cpu2", "cpu02", "cpu10"]);
    }
}
