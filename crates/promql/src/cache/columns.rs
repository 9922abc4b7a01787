//! The series of an answer, with a place for each step.
//!
//! An answer that is asked for again is written once, and each value that comes later as well: most
//! of what it takes to hand one on is to write its numbers.

use std::cmp::Ordering;

use vedette_model::Labels;

use super::steps::Steps;
use crate::{
    Answered, Points, QueryError,
    output::{WriteNumber, Written},
};

/// Series sorted by labels. Answers with histograms are not kept, so that there are none.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    series: Vec<Column>,
    /// Places at the front of each column that are not used any more.
    unused: usize,
    bytes_of_labels: usize,
    is_written: bool,
}

#[derive(Debug, Clone)]
struct Column {
    labels: Labels,
    values: Vec<Written>,
}

impl Columns {
    /// Adds a series of these steps behind the others. False if it cannot be kept.
    pub fn push(&mut self, steps: Steps, answered: Answered<'_>) -> bool {
        if !answered.histograms.is_empty() {
            return false;
        }
        let count = steps.count() as usize;
        let values = match answered.points {
            Points::Steps { start_ms, values, .. } if start_ms == steps.first_ms && values.len() == count => {
                values.iter().map(|v| Written::number(*v)).collect()
            }
            points => {
                let mut all = vec![Written::NONE; count];
                points
                    .iter()
                    .for_each(|(time_ms, value)| all[steps.place(time_ms) as usize] = Written::number(value));
                all
            }
        };
        let labels = answered.labels.clone();
        self.bytes_of_labels += labels.heap_bytes();
        self.series.push(Column { labels, values });
        true
    }

    /// Hands on what the series have at the `wanted` steps, which are among `steps`.
    pub fn each(
        &self,
        steps: Steps,
        wanted: Steps,
        emit: &mut dyn FnMut(Answered<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let from = self.unused + steps.place(wanted.first_ms) as usize;
        let to = from + wanted.count() as usize;
        for Column { labels, values } in &self.series {
            let values = &values[from..to];
            if values.iter().any(Written::is_some) {
                let points = Points::Written { start_ms: wanted.first_ms, step_ms: wanted.step_ms, values };
                emit(Answered { labels, points, histograms: &[] })?;
            }
        }
        Ok(())
    }

    /// Has places for the steps `to` instead of `from`; what is new has no values.
    pub fn move_to(&mut self, from: Steps, to: Steps) {
        let shift = self.unused as i64 + from.place(to.first_ms);
        let count = to.count() as usize;
        if let Ok(unused) = usize::try_from(shift) {
            self.unused = unused;
            // In the old places in front of the first steps there may be anything.
            let fresh = usize::try_from(-from.place(to.first_ms)).unwrap_or(0).min(count);
            for column in &mut self.series {
                if unused + count > column.values.capacity() {
                    column.values.reserve_exact(unused + count - column.values.len() + count / 4);
                }
                column.values.resize(unused + count, Written::NONE);
                column.values[unused..unused + fresh].fill(Written::NONE);
            }
            // Each place is moved four times at most.
            if self.unused > count / 4 {
                self.series.iter_mut().for_each(|c| drop(c.values.drain(..unused)));
                self.unused = 0;
            }
        } else {
            let fresh = usize::try_from(-from.place(to.first_ms)).unwrap_or(0).min(count);
            for column in &mut self.series {
                column.values.splice(..self.unused, std::iter::repeat_n(Written::NONE, fresh));
                column.values.resize(count, Written::NONE);
            }
            self.unused = 0;
        }
    }

    /// Puts the values of a piece of the `steps` in place of those that are there.
    pub fn replace(&mut self, steps: Steps, piece: Steps, with: Self) {
        let from = self.unused + steps.place(piece.first_ms) as usize;
        let to = from + piece.count() as usize;
        let whole = self.unused + steps.count() as usize;
        let mut with = with.series.into_iter().peekable();
        let mut new = Vec::new();
        for column in &mut self.series {
            let values = &mut column.values[from..to];
            loop {
                match with.peek().map_or(Ordering::Greater, |next| next.labels.cmp(&column.labels)) {
                    Ordering::Less => new.extend(with.next()),
                    Ordering::Equal => {
                        values.copy_from_slice(&with.next().expect("BUG: it was just seen").values);
                        break;
                    }
                    Ordering::Greater => {
                        values.fill(Written::NONE);
                        break;
                    }
                }
            }
        }
        new.extend(with);
        if new.is_empty() {
            return;
        }
        for column in &mut new {
            let mut values = vec![Written::NONE; whole];
            values[from..to].copy_from_slice(&column.values);
            column.values = values;
            self.bytes_of_labels += column.labels.heap_bytes();
        }
        self.series.append(&mut new);
        // Two sorted stretches: this merges them.
        self.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// Writes all numbers that are not written yet.
    pub fn write(&mut self, write: WriteNumber) {
        if !std::mem::replace(&mut self.is_written, true) {
            let mut scratch = Vec::new();
            let unused = self.unused;
            let values = self.series.iter_mut().flat_map(|column| &mut column.values[unused..]);
            values.for_each(|value| value.write(write, &mut scratch));
        }
    }

    /// Lets series go that have no value.
    pub fn drop_empty(&mut self) {
        let Self { series, unused, bytes_of_labels, .. } = self;
        series.retain(|column| {
            let is_used = column.values[*unused..].iter().any(Written::is_some);
            if !is_used {
                *bytes_of_labels -= column.labels.heap_bytes();
            }
            is_used
        });
    }

    /// About how many bytes the series take.
    pub fn heap_bytes(&self) -> usize {
        let of_values = self.series.first().map_or(0, |c| c.values.capacity() * size_of::<Written>());
        self.bytes_of_labels + self.series.len() * (size_of::<Column>() + of_values)
    }
}
