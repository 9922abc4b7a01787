//! Numbers for series and the definitions that a receiver needs.
//!
//! A number is used again only after the pass that retired it, so a receiver that takes the
//! passes in order never confuses two series.

use std::{collections::HashSet, sync::Arc};

use parking_lot::Mutex;
use vedette_model::{Labels, METRIC_NAME, MetricKind, MetricMetadata, Row, Samples, SeriesDefinition};

/// Gives out numbers; cloning shares the source.
#[derive(Debug, Clone, Default)]
pub struct SeriesNumbers(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    next: u32,
    free: Vec<u32>,
}

impl PartialEq for SeriesNumbers {
    /// A source of numbers is no setting: configurations that differ in nothing else are the same.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SeriesNumbers {}

impl SeriesNumbers {
    fn take(&self) -> u32 {
        let mut numbers = self.0.lock();
        numbers.free.pop().unwrap_or_else(|| {
            numbers.next += 1;
            numbers.next - 1
        })
    }

    fn give_back(&self, retired: &mut Vec<u32>) {
        if !retired.is_empty() {
            self.0.lock().free.append(retired);
        }
    }
}

/// A defined series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series(u32);

/// What all series of one name have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: MetricKind,
    pub(crate) help: &'a str,
}

impl<'a> Family<'a> {
    pub(crate) const fn counter(name: &'a str, help: &'a str) -> Self {
        Self { name, kind: MetricKind::Counter, help }
    }

    pub(crate) const fn gauge(name: &'a str, help: &'a str) -> Self {
        Self { name, kind: MetricKind::Gauge, help }
    }

    pub(crate) const fn untyped(name: &'a str, help: &'a str) -> Self {
        Self { name, kind: MetricKind::Unknown, help }
    }
}

/// All series of one reader.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    numbers: SeriesNumbers,
    defined: HashSet<u32>,
    families: HashSet<String>,
    /// Retired in the last pass: free from the next one on.
    retired: Vec<u32>,
}

impl SeriesTable {
    pub(crate) fn new(numbers: SeriesNumbers) -> Self {
        Self { numbers, defined: HashSet::new(), families: HashSet::new(), retired: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.defined.len()
    }

    /// Begins a pass. Its samples go into the first row that has the same time, else into a row of
    /// their own.
    pub(crate) fn pass<'a>(&'a mut self, time_ms: i64, samples: &'a mut Samples) -> Pass<'a> {
        self.numbers.give_back(&mut self.retired);
        let same = samples.rows.iter().position(|row| row.time_ms == time_ms && !row.series.is_empty());
        let row = same.unwrap_or_else(|| empty_row(samples, 0, time_ms, self.defined.len() + 16));
        Pass { time_ms, row, slow_row: None, table: self, samples }
    }
}

/// An empty row from `from` on, made if there is none: memory that the caller gave back is used again.
fn empty_row(samples: &mut Samples, from: usize, time_ms: i64, space: usize) -> usize {
    let found = samples.rows.iter().skip(from).position(|row| row.series.is_empty());
    let place = found.map_or(samples.rows.len(), |i| from + i);
    if let Some(row) = samples.rows.get_mut(place) {
        row.time_ms = time_ms;
        row.values.clear();
    } else {
        let (series, values) = (Vec::with_capacity(space), Vec::with_capacity(space));
        samples.rows.push(Row { time_ms, series, values, ..Row::default() });
    }
    place
}

/// One pass of a reader: where its samples go.
pub(crate) struct Pass<'a> {
    pub(crate) time_ms: i64,
    /// Where the series of every pass go. They are the same each time, which a receiver may use.
    row: usize,
    /// Where series that have no value in most passes go.
    slow_row: Option<usize>,
    table: &'a mut SeriesTable,
    samples: &'a mut Samples,
}

impl Pass<'_> {
    /// Defines a series, and its family if it is new.
    pub(crate) fn define(&mut self, family: Family<'_>, labels: &[(&str, &str)]) -> Series {
        let named = labels.iter().copied().chain([(METRIC_NAME, family.name)]);
        let labels = Labels::from_pairs(named);
        if !self.table.families.contains(family.name) {
            let known = MetricMetadata {
                family: family.name.to_owned(),
                kind: family.kind,
                unit: String::new(),
                help: family.help.to_owned(),
            };
            self.table.families.insert(known.family.clone());
            self.samples.metadata.push(known);
        }
        let series = self.table.numbers.take();
        self.table.defined.insert(series);
        self.samples.defined.push(SeriesDefinition { series, labels });
        Series(series)
    }

    /// Gives the value of a series; at most one a pass.
    pub(crate) fn put(&mut self, series: Series, value: f64) {
        self.put_in(self.row, series, value);
    }

    /// As [`Pass::put`], for a series that has no value in most passes.
    pub(crate) fn put_slow(&mut self, series: Series, value: f64) {
        let row = match self.slow_row {
            Some(row) => row,
            None => {
                let row = empty_row(self.samples, self.row + 1, self.time_ms, self.table.defined.len() + 16);
                *self.slow_row.insert(row)
            }
        };
        self.put_in(row, series, value);
    }

    fn put_in(&mut self, row: usize, series: Series, value: f64) {
        if let Some(row) = self.samples.rows.get_mut(row) {
            row.series.push(series.0);
            row.values.push(value);
        }
    }

    /// Ends a series.
    pub(crate) fn retire(&mut self, series: Series) {
        if self.table.defined.remove(&series.0) {
            self.samples.retired.push(series.0);
            self.table.retired.push(series.0);
        }
    }
}

/// A series that is defined when it has its first value.
#[derive(Debug, Default)]
pub(crate) struct LazySeries(Option<Series>);

impl LazySeries {
    /// Gives a value; `define` makes the series of the first one.
    pub(crate) fn put_with(
        &mut self,
        pass: &mut Pass<'_>,
        value: f64,
        define: impl FnOnce(&mut Pass<'_>) -> Series,
    ) {
        let series = *self.0.get_or_insert_with(|| define(pass));
        pass.put(series, value);
    }

    /// As [`LazySeries::put_with`], for a series that has no value in most passes.
    pub(crate) fn put_slow_with(
        &mut self,
        pass: &mut Pass<'_>,
        value: f64,
        define: impl FnOnce(&mut Pass<'_>) -> Series,
    ) {
        let series = *self.0.get_or_insert_with(|| define(pass));
        pass.put_slow(series, value);
    }

    pub(crate) fn put(
        &mut self,
        pass: &mut Pass<'_>,
        family: Family<'_>,
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let series = *self.0.get_or_insert_with(|| pass.define(family, labels));
        pass.put(series, value);
    }

    pub(crate) fn retire(&mut self, pass: &mut Pass<'_>) {
        if let Some(series) = self.0.take() {
            pass.retire(series);
        }
    }

    pub(crate) fn is_defined(&self) -> bool {
        self.0.is_some()
    }
}
