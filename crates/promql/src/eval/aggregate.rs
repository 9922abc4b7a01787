//! Aggregations. Groups get dense numbers; those that can be computed sample by sample hold one
//! accumulator for each group and time, the others hold their input's columns.

use hashbrown::HashMap;
use vedette_model::Labels;

use super::{
    DESCRIPTIVE, Evaluator, Result, Sink,
    column::{Grid, NONE, Row, is_none, is_some},
    histogram_sums::GroupSums,
    notes::Note,
    numeric::{Mean, Sum, Welford, nan_first, quantile},
};
use crate::{
    QueryError,
    ast::{Aggregate, AggregateOp},
    span::Span,
    syntax::number::format_general,
};

/// So many evaluations are gone through at a time where samples are chosen, so that those of all
/// series stay near; fewer where more samples than this are chosen of them.
const STEPS_TOGETHER: usize = 64;
const CHOSEN_MAX: usize = 1 << 16;

/// Numbers the groups.
#[derive(Default)]
struct Groups {
    /// By the text of the labels that are left, so that they are built once for each group, and not
    /// for each series.
    places: HashMap<Vec<u8>, usize>,
    key: Vec<u8>,
    labels: Vec<Labels>,
    drop_name: Vec<bool>,
}

impl Groups {
    /// The group of a series.
    fn place(&mut self, aggregate: &Aggregate, row: &Row) -> usize {
        self.key.clear();
        for text in kept(aggregate, &row.labels).flat_map(|(name, value)| [name, value]) {
            self.key.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.key.extend_from_slice(text.as_bytes());
        }
        let place = match self.places.get(&self.key[..]) {
            Some(place) => *place,
            None => {
                let next = self.labels.len();
                self.places.insert(self.key.clone(), next);
                self.labels.push(group_labels(aggregate, &row.labels));
                self.drop_name.push(false);
                next
            }
        };
        self.drop_name[place] |= row.drop_name;
        place
    }
}

/// The labels that name a series' group.
pub fn group_labels(aggregate: &Aggregate, labels: &Labels) -> Labels {
    Labels::from_sorted(kept(aggregate, labels))
}

fn kept<'l>(aggregate: &'l Aggregate, labels: &'l Labels) -> impl Iterator<Item = (&'l str, &'l str)> {
    let none_is_kept = !aggregate.without && aggregate.grouping.is_empty();
    let labels = (!none_is_kept).then(|| labels.iter()).into_iter().flatten();
    labels.filter(|(name, _)| {
        let named = aggregate.grouping.iter().any(|n| n == name);
        if aggregate.without { !named && !DESCRIPTIVE.contains(name) } else { named }
    })
}

impl Evaluator<'_> {
    pub fn aggregate(&self, aggregate: &Aggregate, span: Span, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        use AggregateOp as A;
        match aggregate.op {
            A::Sum => self.fold::<Sum>(aggregate, grid, sink, Sum::add, |s| s.get()),
            A::Avg => self.fold::<Mean>(aggregate, grid, sink, Mean::add, |m| m.get()),
            A::Stdvar => self.fold::<Welford>(aggregate, grid, sink, Welford::add, |v| v.get()),
            A::Stddev => self.fold::<Welford>(aggregate, grid, sink, Welford::add, |v| v.get().sqrt()),
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
                self.select_from(aggregate, span, grid, sink)
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
        let takes_histograms = matches!(aggregate.op, AggregateOp::Count | AggregateOp::Group);
        self.vector(&aggregate.expr, grid, &mut |mut row| {
            if !takes_histograms {
                self.ignore_histograms(aggregate, aggregate.expr.unwrap_parens().span, &mut row);
            }
            let place = groups.place(aggregate, &row);
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
            self.recycle_row(row);
            Ok(())
        })?;
        for ((labels, drop_name), values) in groups.labels.into_iter().zip(groups.drop_name).zip(columns) {
            sink(Row::floats(labels, drop_name, values))?;
        }
        Ok(())
    }

    /// Makes holes of the histograms, and tells so.
    fn ignore_histograms(&self, aggregate: &Aggregate, span: Span, row: &mut Row) {
        if !row.histograms.is_empty() {
            let ignored = row.take_histograms();
            self.release(ignored.cells());
            self.notes(span, "").tell(Note::IgnoredInAggregation(aggregate.op.as_str()));
        }
    }

    /// Aggregations with an accumulator of several numbers.
    fn fold<S: Default + Clone + Copy>(
        &self,
        aggregate: &Aggregate,
        grid: &Grid,
        sink: Sink<'_>,
        add: impl Fn(&mut S, f64),
        get: impl Fn(S) -> f64,
    ) -> Result<()> {
        let mut groups = Groups::default();
        let mut states: Vec<Vec<(bool, S)>> = Vec::new();
        let mut sums: Vec<GroupSums> = Vec::new();
        let takes_histograms = matches!(aggregate.op, AggregateOp::Sum | AggregateOp::Avg);
        let cells = size_of::<(bool, S)>().div_ceil(8) * grid.count;
        self.vector(&aggregate.expr, grid, &mut |mut row| {
            if !takes_histograms {
                self.ignore_histograms(aggregate, aggregate.expr.unwrap_parens().span, &mut row);
            }
            let histograms = row.take_histograms();
            let place = groups.place(aggregate, &row);
            if place == states.len() {
                self.hold(cells)?;
                states.push(vec![(false, S::default()); grid.count]);
            }
            for (state, v) in states[place].iter_mut().zip(&row.values).filter(|(_, v)| is_some(**v)) {
                state.0 = true;
                add(&mut state.1, *v);
            }
            if !histograms.is_empty() {
                if sums.len() <= place {
                    sums.resize_with(place + 1, GroupSums::default);
                }
                let notes = self.notes(aggregate.expr.unwrap_parens().span, row.labels.metric_name());
                sums[place].add(aggregate.op, &histograms, |step| states[place][step].0, &notes);
                self.release(histograms.cells());
            }
            self.recycle(row.values);
            Ok(())
        })?;
        let mut sums = sums.into_iter();
        for ((labels, drop_name), states) in groups.labels.into_iter().zip(groups.drop_name).zip(states) {
            let mut values = self.column(grid.count, NONE)?;
            for (value, (_, state)) in values.iter_mut().zip(&states).filter(|(_, s)| s.0) {
                *value = get(*state);
            }
            let notes = self.notes(aggregate.expr.unwrap_parens().span, "");
            let histograms = sums.next().unwrap_or_default().finish(&mut values, |i| states[i].0, &notes);
            self.release(cells);
            self.hold(histograms.cells())?;
            sink(Row { labels, drop_name, values, histograms })?;
        }
        Ok(())
    }

    /// Aggregations that look at all samples of a group and time together.
    fn select_from(&self, aggregate: &Aggregate, span: Span, grid: &Grid, sink: Sink<'_>) -> Result<()> {
        let parameter_expr = aggregate.parameter.as_ref().expect("BUG: the parser demands the parameter");
        let parameter = self.scalar(parameter_expr, grid)?;
        if aggregate.op == AggregateOp::Quantile {
            // Of all times only the farthest are told.
            let farthest = [
                parameter.iter().copied().find(|q| q.is_nan()),
                parameter.iter().copied().filter(|q| *q > 1.0).max_by(f64::total_cmp),
                parameter.iter().copied().filter(|q| *q < 0.0).min_by(f64::total_cmp),
            ];
            farthest
                .into_iter()
                .flatten()
                .for_each(|q| self.warn_quantiles(parameter_expr.unwrap_parens().span, &[q]));
        }
        // NaN is no small number, but a mistake.
        let largest = parameter.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b < a { a } else { b });
        let nothing = match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk => largest < 1.0,
            AggregateOp::LimitRatio => parameter.iter().all(|r| *r == 0.0),
            _ => false,
        };
        let mut groups = Groups::default();
        let mut members: Vec<Vec<Row>> = Vec::new();
        self.vector(&aggregate.expr, grid, &mut |mut row| {
            match aggregate.op {
                _ if nothing => {}
                AggregateOp::Quantile => {
                    self.ignore_histograms(aggregate, aggregate.expr.unwrap_parens().span, &mut row);
                }
                AggregateOp::Topk | AggregateOp::Bottomk => self.ignore_histograms(aggregate, span, &mut row),
                _ => {}
            }
            let place = groups.place(aggregate, &row);
            if place == members.len() {
                members.push(Vec::new());
            }
            members[place].push(row);
            Ok(())
        })?;
        if nothing {
            return Ok(());
        }
        self.check_counts(aggregate, &parameter)?;
        if aggregate.op == AggregateOp::LimitRatio {
            self.warn_ratios(parameter_expr.unwrap_parens().span, &parameter);
        }
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
                    sink(Row::floats(labels, groups.drop_name[place], values))?;
                }
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    let top = aggregate.op == AggregateOp::Topk;
                    emit(extremes(rows, &parameter, top, grid))?;
                }
                AggregateOp::Limitk => emit(limit(rows, &parameter))?,
                _ => emit(limit_ratio(rows, &parameter))?,
            }
        }
        Ok(())
    }

    /// Warns of the largest and smallest ratio beyond the ends.
    fn warn_ratios(&self, span: Span, ratios: &[f64]) {
        let largest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        for (ratio, cap) in [(largest, 1), (smallest, -1)] {
            if (cap > 0 && ratio > 1.0) || (cap < 0 && ratio < -1.0) {
                let message = format!(
                    "ratio value should be between -1 and 1, got {}, capping to {cap}",
                    format_general(ratio)
                );
                self.annotations.warn(span, message);
            }
        }
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
}

/// `topk` and `bottomk`: keeps the best samples of each time, NaN being worst. At a single time
/// the best series comes first. Which of equal samples stay is told by the order in which a binary
/// heap, worst sample on top, loses them.
fn extremes(mut rows: Vec<Row>, parameter: &[f64], top: bool, grid: &Grid) -> Vec<Row> {
    let worse = |a: f64, b: f64| a.is_nan() || if top { a < b } else { a > b };
    let below = |a: &(f64, usize), b: &(f64, usize)| worse(a.0, b.0);
    // Values, and the places of their rows.
    let mut heap: Vec<(f64, usize)> = Vec::new();
    let mut kept: Vec<(usize, f64, usize)> = Vec::new();
    let most = parameter.iter().copied().fold(1.0, f64::max).min(rows.len().max(1) as f64);
    let together = (CHOSEN_MAX / most as usize).clamp(1, STEPS_TOGETHER);
    for first in (0..grid.count).step_by(together) {
        let steps = first..grid.count.min(first + together);
        kept.clear();
        let columns: Vec<&[f64]> = rows.iter().map(|row| &row.values[steps.clone()]).collect();
        for (i, k) in parameter[steps.clone()].iter().enumerate() {
            let k = if *k < 1.0 { 0 } else { *k as usize };
            heap.clear();
            if k == 0 {
                continue;
            }
            for (place, value) in columns.iter().map(|column| column[i]).enumerate() {
                if is_none(value) {
                    continue;
                }
                if heap.len() < k {
                    heap.push((value, place));
                    sift_up(&mut heap, below);
                    continue;
                }
                let worst = heap[0].0;
                if worse(worst, value) && !(worst.is_nan() && value.is_nan()) {
                    heap[0] = (value, place);
                    sift_down(&mut heap, below);
                }
            }
            kept.extend(heap.iter().map(|(value, place)| (first + i, *value, *place)));
        }
        rows.iter_mut().for_each(|row| row.values[steps.clone()].fill(NONE));
        kept.iter().for_each(|(step, value, place)| rows[*place].values[*step] = *value);
    }
    rows.retain(|r| !r.is_empty());
    if grid.count == 1 {
        rows.sort_by(|a, b| {
            let (a, b) = (a.values[0], b.values[0]);
            let by_value = if top { nan_first(b, a) } else { nan_first(a, b) };
            a.is_nan().cmp(&b.is_nan()).then(by_value)
        });
    }
    rows
}

/// Puts the last member of a heap into its place.
fn sift_up<T>(heap: &mut [T], below: impl Fn(&T, &T) -> bool) {
    let mut i = heap.len() - 1;
    while i > 0 && below(&heap[i], &heap[(i - 1) / 2]) {
        heap.swap(i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

/// Puts the first member of a heap into its place.
fn sift_down<T>(heap: &mut [T], below: impl Fn(&T, &T) -> bool) {
    let mut i = 0;
    while 2 * i + 1 < heap.len() {
        let (left, right) = (2 * i + 1, 2 * i + 2);
        let next = if right < heap.len() && below(&heap[right], &heap[left]) { right } else { left };
        if !below(&heap[next], &heap[i]) {
            break;
        }
        heap.swap(i, next);
        i = next;
    }
}

/// The labels as Prometheus hashes them: each name and value with its length before it.
fn label_bytes(labels: &Labels) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(labels.heap_bytes());
    let mut push = |text: &str| {
        match u8::try_from(text.len()) {
            Ok(length) if length < u8::MAX => bytes.push(length),
            _ => {
                bytes.push(u8::MAX);
                bytes.extend_from_slice(&(text.len() as u32).to_le_bytes()[..3]);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    };
    for (name, value) in labels.iter() {
        push(name);
        push(value);
    }
    bytes
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
    rows.retain_mut(|row| {
        row.drop_holes();
        !row.is_empty()
    });
    rows
}

/// `limit_ratio`: keeps series whose hash lies in the given share of all hashes; a negative ratio
/// keeps those that its complement leaves out.
fn limit_ratio(mut rows: Vec<Row>, parameter: &[f64]) -> Vec<Row> {
    for row in &mut rows {
        let place = xxhash_rust::xxh64::xxh64(&label_bytes(&row.labels), 0) as f64 / u64::MAX as f64;
        for (v, ratio) in row.values.iter_mut().zip(parameter) {
            let ratio = ratio.clamp(-1.0, 1.0);
            let kept = if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio };
            if !kept {
                *v = NONE;
            }
        }
    }
    rows.retain_mut(|row| {
        row.drop_holes();
        !row.is_empty()
    });
    rows
}
