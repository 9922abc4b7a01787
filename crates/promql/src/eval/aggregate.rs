//! Aggregations. Groups get dense numbers; those that can be computed sample by sample hold one
//! accumulator for each group and time, the others hold their input's columns.

use std::collections::HashMap;

use vedette_model::{Labels, METRIC_NAME};

use super::{
    DESCRIPTIVE, Evaluator, Result, Sink,
    column::{Grid, NONE, Row, is_none, is_some},
    numeric::{Mean, Sum, Variance, nan_first, quantile},
    string,
};
use crate::{
    QueryError,
    ast::{Aggregate, AggregateOp, ExprKind},
    syntax::{
        number::{format_general, format_plain},
        quote::quote_bytes,
    },
};

/// Numbers the groups.
#[derive(Default)]
struct Groups {
    places: HashMap<Labels, usize>,
    labels: Vec<Labels>,
    drop_name: Vec<bool>,
}

impl Groups {
    /// The group of a series with these labels left.
    fn place(&mut self, labels: Labels, drop_name: bool) -> usize {
        let next = self.labels.len();
        let place = *self.places.entry(labels).or_insert_with_key(|labels| {
            self.labels.push(labels.clone());
            self.drop_name.push(false);
            next
        });
        self.drop_name[place] |= drop_name;
        place
    }
}

/// The labels that name a series' group.
fn group_labels(aggregate: &Aggregate, labels: &Labels) -> Labels {
    if aggregate.without {
        let without = labels.drop(&aggregate.grouping);
        if without.get(METRIC_NAME).is_some()
            || without.get("__type__").is_some()
            || without.get("__unit__").is_some()
        {
            return without.drop(&DESCRIPTIVE);
        }
        without
    } else if aggregate.grouping.is_empty() {
        Labels::empty()
    } else {
        labels.keep(&aggregate.grouping)
    }
}

impl Evaluator<'_> {
    pub fn aggregate(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use AggregateOp as A;
        match aggregate.op {
            A::Sum => self.fold::<Sum>(aggregate, grid, sink, Sum::add, |s| s.get()),
            A::Avg => self.fold::<Mean>(aggregate, grid, sink, Mean::add, |m| m.get()),
            A::Stdvar => self.fold::<Variance>(aggregate, grid, sink, Variance::add, |v| v.get()),
            A::Stddev => self.fold::<Variance>(aggregate, grid, sink, Variance::add, |v| v.get().sqrt()),
            A::Count => self.reduce(aggregate, grid, sink, 1.0, |old, _| old + 1.0),
            A::Group => self.reduce(aggregate, grid, sink, 1.0, |_, _| 1.0),
            A::Min => self.reduce(
                aggregate,
                grid,
                sink,
                NONE,
                |old, v| if v < old || old.is_nan() { v } else { old },
            ),
            A::Max => self.reduce(
                aggregate,
                grid,
                sink,
                NONE,
                |old, v| if v > old || old.is_nan() { v } else { old },
            ),
            A::Topk | A::Bottomk | A::Limitk | A::LimitRatio | A::Quantile => {
                self.select_from(aggregate, grid, sink)
            }
            A::CountValues => self.count_values(aggregate, grid, sink),
        }
    }

    /// Aggregations whose accumulator is a plain number; `first` is its value after the first
    /// sample, or a hole for the sample itself.
    fn reduce(
        &self,
        aggregate: &Aggregate,
        grid: &Grid,
        sink: Sink<'_>,
        first: f64,
        step: impl Fn(f64, f64) -> f64,
    ) -> Result<()> {
        let mut groups = Groups::default();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        self.vector(&aggregate.expr, grid, &mut |row| {
            let place = groups.place(group_labels(aggregate, &row.labels), row.drop_name);
            if place == columns.len() {
                columns.push(self.column(grid.count, NONE)?);
            }
            for (old, v) in columns[place].iter_mut().zip(&row.values).filter(|(_, v)| is_some(**v)) {
                *old = match (is_none(*old), is_none(first)) {
                    (false, _) => step(*old, *v),
                    (true, false) => first,
                    (true, true) => *v,
                };
            }
            self.recycle(row.values);
            Ok(())
        })?;
        for ((labels, drop_name), values) in groups.labels.into_iter().zip(groups.drop_name).zip(columns) {
            sink(Row { labels, drop_name, values })?;
        }
        Ok(())
    }

    /// Aggregations with an accumulator of several numbers.
    fn fold<S: Default + Clone + Copy>(
        &self,
        aggregate: &Aggregate,
        grid: &Grid,
        sink: Sink<'_>,
        add: fn(&mut S, f64),
        get: fn(S) -> f64,
    ) -> Result<()> {
        let mut groups = Groups::default();
        let mut states: Vec<Vec<(bool, S)>> = Vec::new();
        let cells = size_of::<(bool, S)>().div_ceil(8) * grid.count;
        self.vector(&aggregate.expr, grid, &mut |row| {
            let place = groups.place(group_labels(aggregate, &row.labels), row.drop_name);
            if place == states.len() {
                self.hold(cells)?;
                states.push(vec![(false, S::default()); grid.count]);
            }
            for (state, v) in states[place].iter_mut().zip(&row.values).filter(|(_, v)| is_some(**v)) {
                state.0 = true;
                add(&mut state.1, *v);
            }
            self.recycle(row.values);
            Ok(())
        })?;
        for ((labels, drop_name), states) in groups.labels.into_iter().zip(groups.drop_name).zip(states) {
            let mut values = self.column(grid.count, NONE)?;
            for (value, (_, state)) in values.iter_mut().zip(&states).filter(|(_, s)| s.0) {
                *value = get(*state);
            }
            self.release(cells);
            sink(Row { labels, drop_name, values })?;
        }
        Ok(())
    }

    /// Aggregations that look at all samples of a group and time together.
    fn select_from(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let parameter_expr = aggregate.parameter.as_ref().expect("BUG: the parser demands the parameter");
        let parameter = self.scalar(parameter_expr, grid)?;
        if aggregate.op == AggregateOp::Quantile {
            self.warn_quantiles(parameter_expr.span, &parameter);
        }
        let mut groups = Groups::default();
        let mut members: Vec<Vec<Row>> = Vec::new();
        self.vector(&aggregate.expr, grid, &mut |row| {
            let place = groups.place(group_labels(aggregate, &row.labels), row.drop_name);
            if place == members.len() {
                members.push(Vec::new());
            }
            members[place].push(row);
            Ok(())
        })?;
        if members.is_empty() {
            return Ok(());
        }
        self.check_counts(aggregate, &parameter)?;
        for (place, rows) in members.into_iter().enumerate() {
            let before = rows.len();
            let mut emit = |rows: Vec<Row>| {
                self.release((before - rows.len()) * grid.count);
                rows.into_iter().try_for_each(&mut *sink)
            };
            match aggregate.op {
                AggregateOp::Quantile => {
                    let values = self.quantiles(rows, &parameter, grid)?;
                    let labels = groups.labels[place].clone();
                    sink(Row { labels, drop_name: groups.drop_name[place], values })?;
                }
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    let top = aggregate.op == AggregateOp::Topk;
                    emit(extremes(rows, &parameter, top, grid))?;
                }
                AggregateOp::Limitk => emit(limit(rows, &parameter))?,
                _ => {
                    for ratio in parameter.iter().filter(|r| r.abs() > 1.0) {
                        let cap = ratio.signum();
                        let message = format!(
                            "ratio value should be between -1 and 1, got {}, capping to {cap}",
                            format_general(*ratio)
                        );
                        self.annotations.warn(parameter_expr.span, message);
                    }
                    emit(limit_ratio(rows, &parameter))?;
                }
            }
        }
        Ok(())
    }

    fn check_counts(&self, aggregate: &Aggregate, parameter: &[f64]) -> Result<()> {
        use AggregateOp as A;
        for value in parameter {
            let problem = match aggregate.op {
                A::Topk | A::Bottomk | A::Limitk if value.is_nan() => "Parameter value is NaN".to_owned(),
                A::Topk | A::Bottomk | A::Limitk if *value >= i64::MAX as f64 => {
                    format!("Scalar value {} overflows int64", format_general(*value))
                }
                A::Topk | A::Bottomk | A::Limitk if *value <= i64::MIN as f64 => {
                    format!("Scalar value {} underflows int64", format_general(*value))
                }
                A::LimitRatio if value.is_nan() => "Ratio value is NaN".to_owned(),
                _ => continue,
            };
            return Err(QueryError::Execution(problem));
        }
        Ok(())
    }

    fn quantiles(&self, rows: Vec<Row>, parameter: &[f64], grid: &Grid) -> Result<Vec<f64>> {
        let mut values = self.column(grid.count, NONE)?;
        let mut scratch = Vec::with_capacity(rows.len());
        for (i, value) in values.iter_mut().enumerate() {
            scratch.clear();
            scratch.extend(rows.iter().map(|r| r.values[i]).filter(|v| is_some(*v)));
            if !scratch.is_empty() {
                *value = quantile(parameter[i], &mut scratch);
            }
        }
        rows.into_iter().for_each(|r| self.recycle(r.values));
        Ok(values)
    }

    fn count_values(&self, aggregate: &Aggregate, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let parameter = aggregate.parameter.as_ref().expect("BUG: the parser demands the parameter");
        let label = string(parameter)?;
        if let ExprKind::String(text) = &parameter.unwrap_parens().kind
            && (label.is_empty() || text.raw.is_some())
        {
            let message = format!("invalid label name {}", quote_bytes(text.as_bytes()));
            return Err(QueryError::Execution(message));
        }
        let mut groups = Groups::default();
        let mut columns: Vec<Vec<f64>> = Vec::new();
        // By group and bits of the value, so that a value is written out once only.
        let mut known: HashMap<(Labels, u64), usize> = HashMap::new();
        self.vector(&aggregate.expr, grid, &mut |row| {
            let own = group_labels(aggregate, &row.labels);
            for (i, v) in row.values.iter().enumerate().filter(|(_, v)| is_some(**v)) {
                let place = match known.get(&(own.clone(), v.to_bits())) {
                    Some(place) => *place,
                    None => {
                        let labels = own.to_builder().set(label, &format_plain(*v)).build();
                        let place = groups.place(labels, row.drop_name);
                        known.insert((own.clone(), v.to_bits()), place);
                        place
                    }
                };
                if place == columns.len() {
                    columns.push(self.column(grid.count, NONE)?);
                }
                let count = &mut columns[place][i];
                *count = if is_none(*count) { 1.0 } else { *count + 1.0 };
            }
            self.recycle(row.values);
            Ok(())
        })?;
        for ((labels, drop_name), values) in groups.labels.into_iter().zip(groups.drop_name).zip(columns) {
            sink(Row { labels, drop_name: drop_name && label != METRIC_NAME, values })?;
        }
        Ok(())
    }
}

/// `topk` and `bottomk`: keeps the best samples of each time, NaN being worst. At a single time
/// the best series comes first.
fn extremes(mut rows: Vec<Row>, parameter: &[f64], top: bool, grid: &Grid) -> Vec<Row> {
    let order = |a: f64, b: f64| {
        let by_value = if top { nan_first(b, a) } else { nan_first(a, b) };
        a.is_nan().cmp(&b.is_nan()).then(by_value)
    };
    let mut places: Vec<usize> = Vec::with_capacity(rows.len());
    for (i, k) in parameter.iter().enumerate() {
        let k = if *k < 1.0 { 0 } else { *k as usize };
        places.clear();
        places.extend((0..rows.len()).filter(|r| is_some(rows[*r].values[i])));
        if k >= places.len() {
            continue;
        }
        places.sort_by(|a, b| order(rows[*a].values[i], rows[*b].values[i]));
        for place in &places[k..] {
            rows[*place].values[i] = NONE;
        }
    }
    rows.retain(|r| r.values.iter().any(|v| is_some(*v)));
    if grid.count == 1 {
        rows.sort_by(|a, b| order(a.values[0], b.values[0]));
    }
    rows
}

/// `limitk`: keeps the first samples of each time.
fn limit(mut rows: Vec<Row>, parameter: &[f64]) -> Vec<Row> {
    let mut left: Vec<i64> = parameter.iter().map(|k| *k as i64).collect();
    for row in &mut rows {
        for (v, left) in row.values.iter_mut().zip(&mut left).filter(|(v, _)| is_some(**v)) {
            *left -= 1;
            if *left < 0 {
                *v = NONE;
            }
        }
    }
    rows.retain(|r| r.values.iter().any(|v| is_some(*v)));
    rows
}

/// `limit_ratio`: keeps series whose hash lies in the given share of all hashes; a negative ratio
/// keeps those that its complement leaves out.
fn limit_ratio(mut rows: Vec<Row>, parameter: &[f64]) -> Vec<Row> {
    for row in &mut rows {
        let place = row.labels.stable_hash() as f64 / u64::MAX as f64;
        for (v, ratio) in row.values.iter_mut().zip(parameter) {
            let ratio = ratio.clamp(-1.0, 1.0);
            let kept = if ratio >= 0.0 { place < ratio || ratio == 1.0 } else { place >= 1.0 + ratio };
            if !kept {
                *v = NONE;
            }
        }
    }
    rows.retain(|r| r.values.iter().any(|v| is_some(*v)));
    rows
}
