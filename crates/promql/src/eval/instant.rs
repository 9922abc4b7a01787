//! Function calls: over ranges, and over the values of one time.

use vedette_model::{Labels, METRIC_NAME, MatchOp};

use super::{
    Evaluator, Result, Sink,
    column::{Grid, NONE, Row, is_none, is_some},
    numeric::nan_first,
    string, window,
};
use crate::{
    QueryError,
    ast::{Call, Expr, ExprKind, ValueType},
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
        if let Some(f) = calendar(id) {
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
                sink(Row { labels: Labels::empty(), drop_name: false, values })
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
            // These look at native histograms only, and leave numbers out.
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramStddev
            | F::HistogramStdvar
            | F::HistogramSum => self.vector(&call.args[0], grid, &mut |row| {
                self.recycle(row.values);
                Ok(())
            }),
            F::Info => self.info(call, grid, sink),
            F::StartTimestamp => Err(QueryError::Unsupported { what: "start_timestamp()".to_owned() }),
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
        self.check_parameters(id, &scalars, &params)?;
        let range = ranges[0];
        let keeps_name = matches!(id, F::LastOverTime | F::FirstOverTime);
        self.windows(range, grid, call.function.name, &mut |labels, drop_name, samples, windows| {
            let mut values = self.column(grid.count, NONE)?;
            window::compute(id, samples, windows, &params, self.cancel, &mut values)?;
            if values.iter().all(|v| is_none(*v)) {
                self.recycle(values);
                return Ok(());
            }
            if matches!(id, F::Rate | F::Increase) {
                self.note_non_counter(&labels, range.span);
            }
            sink(Row { labels, drop_name: drop_name || !keeps_name, values })
        })?;
        params.into_iter().for_each(|p| self.recycle(p));
        Ok(())
    }

    fn check_parameters(&self, id: FunctionId, exprs: &[&Expr], params: &[Vec<f64>]) -> Result<()> {
        match id {
            FunctionId::QuantileOverTime => self.warn_quantiles(exprs[0].span, &params[0]),
            FunctionId::DoubleExponentialSmoothing => {
                for (what, values) in [("smoothing", &params[0]), ("trend", &params[1])] {
                    if let Some(bad) = values.iter().find(|v| !(**v > 0.0 && **v < 1.0)) {
                        let symbol = if what == "smoothing" { "sf" } else { "tf" };
                        let message =
                            format!("invalid {what} factor. Expected: 0 < {symbol} < 1, got: {bad:.6}");
                        return Err(QueryError::Execution(message));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Warns of quantiles outside 0 to 1.
    pub fn warn_quantiles(&self, span: Span, quantiles: &[f64]) {
        if let Some(bad) = quantiles.iter().find(|q| !(0.0..=1.0).contains(*q)) {
            let message = format!("quantile value should be between 0 and 1, got {}", format_general(*bad));
            self.annotations.warn(span, message);
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
        sink(Row { labels: Labels::empty(), drop_name: false, values })
    }

    /// `timestamp(v)`: of a selector the samples' own times, else the evaluation's.
    fn timestamp(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        match &arg.unwrap_parens().kind {
            ExprKind::Vector(selector) => self.select_instant(selector, grid, true, &mut |mut row| {
                row.drop_name = true;
                sink(row)
            }),
            _ => self.map(arg, grid, sink, |_, i| grid.time(i) as f64 / 1000.0),
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
            if min > max {
                NONE
            } else if v.is_nan() || min.is_nan() || max.is_nan() {
                f64::NAN
            } else {
                v.min(max).max(min)
            }
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
            self.recycle(row.values);
            Ok(())
        })?;
        self.emit_absent(arg, values, sink)
    }

    fn absent_over_time(&self, arg: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let mut values = self.column(grid.count, 1.0)?;
        self.windows(arg, grid, "absent_over_time", &mut |_, _, samples, windows| {
            let mut slide = window::Slide::new(windows, samples);
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
        sink(Row { labels: absent_labels(arg), drop_name: false, values })
    }

    fn sort(&self, call: &Call, span: Span, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use FunctionId as F;
        if self.query.step_ms != 0 {
            let message = "sort is ineffective for range queries since results are always ordered by labels";
            self.annotations.warn(span, message.to_owned());
            return self.vector(&call.args[0], grid, sink);
        }
        let mut rows = self.rows(&call.args[0], grid)?;
        let id = call.function.id;
        if matches!(id, F::Sort | F::SortDesc) {
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

/// Labels of what `absent` answers: those that the selector fixes with a single `=`.
fn absent_labels(arg: &Expr) -> Labels {
    let selector = match &arg.unwrap_parens().kind {
        ExprKind::Vector(v) => v,
        ExprKind::Matrix(m) => &m.selector,
        _ => return Labels::empty(),
    };
    let fixed = selector.matchers.iter().filter(|m| {
        m.name != METRIC_NAME
            && m.op == MatchOp::Equal
            && selector.matchers.iter().filter(|other| other.name == m.name).count() == 1
    });
    Labels::from_pairs(fixed.map(|m| (&m.name, &m.value)))
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

/// Functions of one value.
fn math(id: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match id {
        F::Abs => f64::abs,
        F::Acos => f64::acos,
        F::Acosh => f64::acosh,
        F::Asin => f64::asin,
        F::Asinh => f64::asinh,
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

/// Functions of a Unix time in UTC.
fn calendar(id: FunctionId) -> Option<fn(f64) -> f64> {
    use FunctionId as F;
    Some(match id {
        F::Minute => |t| on_day(t, |_, second| second / 60 % 60),
        F::Hour => |t| on_day(t, |_, second| second / 3600),
        F::DayOfWeek => |t| on_day(t, |day, _| (day + 4).rem_euclid(7)),
        F::DayOfMonth => |t| on_day(t, |day, _| civil(day).2),
        F::DayOfYear => |t| on_day(t, |day, _| day - days_until(civil(day).0, 1) + 1),
        F::DaysInMonth => |t| {
            on_day(t, |day, _| {
                let (year, month, _) = civil(day);
                let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                days_until(next_year, next) - days_until(year, month)
            })
        },
        F::Month => |t| on_day(t, |day, _| civil(day).1),
        F::Year => |t| on_day(t, |day, _| civil(day).0),
        _ => return None,
    })
}

/// Gives days since the epoch and seconds of the day to `f`. What is no time stays NaN.
fn on_day(time: f64, f: fn(i64, i64) -> i64) -> f64 {
    // Years beyond this are of no use, and calculating with them could overflow.
    if !time.is_finite() || time.abs() > 1e15 {
        return f64::NAN;
    }
    let seconds = time as i64;
    f(seconds.div_euclid(86_400), seconds.rem_euclid(86_400)) as f64
}

/// Year, month and day of days since 1970-01-01, in the Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years are counted from March, so that the leap day is the last.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to the first of a month.
fn days_until(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_agrees_with_itself_over_eight_centuries() {
        let mut before = civil(-200_000);
        for day in -199_999..100_000 {
            let (year, month, d) = civil(day);
            assert_eq!(days_until(year, month) + d - 1, day);
            let next_day = (before.0, before.1, before.2 + 1) == (year, month, d);
            assert!(next_day || d == 1, "{before:?} then {:?}", (year, month, d));
            before = (year, month, d);
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }

    #[test]
    fn numbers_in_labels_sort_by_value() {
        let mut labels = ["cpu10", "cpu2", "cpu02", "cpu", "a"];
        labels.sort_by(|a, b| natural(a, b));
        assert_eq!(labels, ["a", "cpu", "cpu2", "cpu02", "cpu10"]);
    }
}
