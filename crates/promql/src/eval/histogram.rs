//! Functions of histograms: classic ones, which are series that differ in their `le` label only,
//! and native ones.

use std::collections::HashMap;

use vedette_model::Labels;

use super::{
    Evaluator, Result, Sink,
    annotations::{Detail, Monotonicity},
    classic::{self, Bucket, Forced},
    column::{Grid, Histograms, NONE, Row, is_none, is_some},
    join, label_name,
};
use crate::{
    Histogram,
    ast::{Call, Expr},
    function::FunctionId,
    histogram::{NanNote, Quantile},
    output::AnnotationKind,
    span::Span,
    syntax::{number::format_general, quote::quote},
};

const FIXED: &str = "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";

/// One classic histogram's series: bounds with their columns.
struct Classic {
    labels: Labels,
    buckets: Vec<(f64, Vec<f64>)>,
}

/// A series of native histograms.
struct Native {
    labels: Labels,
    histograms: Histograms,
}

/// The histograms of a vector.
struct Gathered {
    classic: Vec<Classic>,
    native: Vec<Native>,
    span: Span,
}

/// What is asked of each histogram, at each evaluation.
enum Question<'q> {
    Quantile(&'q [f64]),
    Fraction(&'q [f64], &'q [f64]),
}

impl Evaluator<'_> {
    pub fn histogram_quantile(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let quantiles = self.scalar(&call.args[0], grid)?;
        self.warn_quantiles(call.args[0].unwrap_parens().span, &quantiles);
        let gathered = self.gather(&call.args[1], grid)?;
        self.answer(gathered, &Question::Quantile(&quantiles), grid, sink)
    }

    pub fn histogram_fraction(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let lower = self.scalar(&call.args[0], grid)?;
        let upper = self.scalar(&call.args[1], grid)?;
        let gathered = self.gather(&call.args[2], grid)?;
        self.answer(gathered, &Question::Fraction(&lower, &upper), grid, sink)
    }

    fn answer(&self, gathered: Gathered, question: &Question<'_>, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let mut rows = Vec::new();
        for native in &gathered.native {
            let values = self.native_values(native, question, gathered.span, grid)?;
            rows.push(Row::floats(native.labels.clone(), true, values));
        }
        let all_classic = rows.is_empty();
        for classic in gathered.classic {
            let asked = std::slice::from_ref(question);
            let values = self.classic_values(&classic, asked, gathered.span, grid)?.swap_remove(0);
            let row = Row::floats(self.finish(classic), true, values);
            if all_classic {
                sink(row)?;
            } else {
                rows.push(row);
            }
        }
        // Series that were classic at one time and native at another are one.
        join(rows)?.into_iter().try_for_each(sink)
    }

    pub fn histogram_quantiles(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let label = label_name(&call.args[1], "label name in histogram_quantiles()")?;
        let columns = call.args[2..].iter().map(|a| self.scalar(a, grid)).collect::<Result<Vec<_>>>()?;
        for (arg, column) in call.args[2..].iter().zip(&columns) {
            self.warn_quantiles(arg.unwrap_parens().span, column);
        }
        let gathered = self.gather(&call.args[0], grid)?;
        let questions: Vec<Question<'_>> = columns.iter().map(|column| Question::Quantile(column)).collect();
        let mut rows = Vec::new();
        for native in &gathered.native {
            for (question, quantiles) in questions.iter().zip(&columns) {
                let values = self.native_values(native, question, gathered.span, grid)?;
                self.by_quantile(&native.labels, label, quantiles, values, &mut rows)?;
            }
        }
        for classic in &gathered.classic {
            let answers = self.classic_values(classic, &questions, gathered.span, grid)?;
            for (values, quantiles) in answers.into_iter().zip(&columns) {
                self.by_quantile(&classic.labels, label, quantiles, values, &mut rows)?;
            }
        }
        gathered.classic.into_iter().for_each(|c| _ = self.finish(c));
        join(rows)?.into_iter().try_for_each(sink)
    }

    /// The label tells the quantile; where that varies so does the series.
    fn by_quantile(
        &self,
        labels: &Labels,
        label: &str,
        quantiles: &[f64],
        values: Vec<f64>,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        let mut distinct: Vec<f64> = Vec::new();
        for (q, _) in quantiles.iter().zip(&values).filter(|(_, v)| is_some(**v)) {
            if !distinct.iter().any(|d| d.to_bits() == q.to_bits()) {
                distinct.push(*q);
            }
        }
        for q in distinct {
            let mut own = self.column(values.len(), NONE)?;
            for (i, own) in own.iter_mut().enumerate().filter(|(i, _)| quantiles[*i].to_bits() == q.to_bits())
            {
                *own = values[i];
            }
            rows.push(Row::floats(labels.to_builder().set(label, &with_fraction(q)).build(), true, own));
        }
        self.recycle(values);
        Ok(())
    }

    /// Functions of one native histogram; floats are left out.
    pub fn histogram_value(&self, call: &Call, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let f: fn(&Histogram) -> f64 = match call.function.id {
            FunctionId::HistogramCount => |h| h.count,
            FunctionId::HistogramSum => |h| h.sum,
            FunctionId::HistogramAvg => |h| h.sum / h.count,
            FunctionId::HistogramStdvar => Histogram::variance,
            _ => |h| h.variance().sqrt(),
        };
        self.vector(&call.args[0], grid, &mut |mut row| {
            let histograms = row.take_histograms();
            row.values.fill(NONE);
            for (i, histogram) in histograms.iter() {
                row.values[i] = f(histogram);
            }
            self.release(histograms.cells());
            if histograms.is_empty() {
                self.recycle(row.values);
                return Ok(());
            }
            row.drop_name = true;
            sink(row)
        })
    }

    /// Gives a histogram's columns back; its labels remain.
    fn finish(&self, histogram: Classic) -> Labels {
        histogram.buckets.into_iter().for_each(|(_, column)| self.recycle(column));
        histogram.labels
    }

    /// Gathers series into histograms. Where one is classic and native at the same time it is neither.
    fn gather(&self, expr: &Expr, grid: &Grid) -> Result<Gathered> {
        let expr = expr.unwrap_parens();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut classic: Vec<Classic> = Vec::new();
        let mut native: Vec<Native> = Vec::new();
        self.vector(expr, grid, &mut |mut row| {
            let histograms = row.take_histograms();
            if !histograms.is_empty() {
                native.push(Native { labels: row.labels.clone(), histograms });
            }
            if row.is_empty() {
                self.recycle(row.values);
                return Ok(());
            }
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
            let next = classic.len();
            let place = *places.entry(labels.clone()).or_insert(next);
            if place == next {
                classic.push(Classic { labels, buckets: Vec::new() });
            }
            classic[place].buckets.push((upper, row.values));
            Ok(())
        })?;
        for native in &mut native {
            let Some(classic) = places.get(&native.labels).map(|place| &mut classic[*place]) else {
                continue;
            };
            let labels = &native.labels;
            native.histograms.map(|i, histogram| {
                if classic.buckets.iter().all(|(_, column)| is_none(column[i])) {
                    return Some(histogram.clone());
                }
                let message =
                    format!("vector contains a mix of classic and native histograms{}", for_metric(labels));
                self.annotations.warn(expr.span, message);
                classic.buckets.iter_mut().for_each(|(_, column)| column[i] = NONE);
                None
            });
        }
        Ok(Gathered { classic, native, span: expr.span })
    }

    fn native_values(
        &self,
        native: &Native,
        question: &Question<'_>,
        span: Span,
        grid: &Grid,
    ) -> Result<Vec<f64>> {
        let mut values = self.column(grid.count, NONE)?;
        for (i, histogram) in native.histograms.iter() {
            let Quantile { value, note } = match question {
                Question::Quantile(quantiles) => histogram.quantile(quantiles[i]),
                Question::Fraction(lower, upper) => histogram.fraction(lower[i], upper[i]),
            };
            values[i] = value;
            if let Some(note) = note {
                let text = match note {
                    NanNote::Result => "input to histogram_quantile has NaN observations, result is NaN",
                    NanNote::Skew => {
                        "input to histogram_quantile has NaN observations, result is skewed higher"
                    }
                    NanNote::LeftOut => {
                        "input to histogram_fraction has NaN observations, which are excluded from all fractions"
                    }
                };
                self.annotations.info(span, format!("{text}{}", for_metric(&native.labels)));
            }
        }
        Ok(values)
    }

    /// The answers to each question. As in Prometheus a question finds the buckets as the one
    /// before left them.
    fn classic_values(
        &self,
        histogram: &Classic,
        questions: &[Question<'_>],
        span: Span,
        grid: &Grid,
    ) -> Result<Vec<Vec<f64>>> {
        let mut answers =
            questions.iter().map(|_| self.column(grid.count, NONE)).collect::<Result<Vec<_>>>()?;
        let mut buckets: Vec<Bucket> = Vec::with_capacity(histogram.buckets.len());
        for i in 0..grid.count {
            buckets.clear();
            for (upper, column) in &histogram.buckets {
                if !is_none(column[i]) {
                    buckets.push(Bucket { upper: *upper, count: column[i] });
                }
            }
            if buckets.is_empty() {
                continue;
            }
            for (values, question) in answers.iter_mut().zip(questions) {
                let (value, forced) = match question {
                    Question::Quantile(quantiles) => classic::quantile(quantiles[i], &mut buckets),
                    Question::Fraction(lower, upper) => {
                        (classic::fraction(lower[i], upper[i], &mut buckets), None)
                    }
                };
                values[i] = value;
                if let Some(forced) = forced {
                    self.note_forced(forced, &histogram.labels, span, grid.time(i));
                }
            }
        }
        Ok(answers)
    }

    fn note_forced(&self, forced: Forced, labels: &Labels, span: Span, at_ms: i64) {
        let detail = Detail::Monotonicity(Monotonicity {
            bucket_min: forced.bucket_min,
            bucket_max: forced.bucket_max,
            difference_max: forced.difference_max,
            samples: 1,
            first_ms: at_ms,
            last_ms: at_ms,
        });
        self.annotations.add(AnnotationKind::Info, span, format!("{FIXED}{}", for_metric(labels)), detail);
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
