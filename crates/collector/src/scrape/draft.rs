//! The samples of one scrape on their way into a batch.

use std::sync::Arc;

use vedette_model::{HistogramCounts, HistogramSample, NativeHistogram, Row, Samples};
use vedette_wire::exposition::{Dialect, PageForm};

use super::numbers::DROPPED;

/// A batch that is being made. Its memory is used again when the batch was taken.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) samples: Samples,
    /// The samples at the time of the scrape.
    row: Row,
    /// Samples with times that the target tells: time, number, value and start.
    timed: Vec<(i64, u32, f64, i64)>,
    /// Zeros at the start of counting.
    zeros: Vec<(i64, u32)>,
    zero_histograms: Vec<HistogramSample>,
    spare: Vec<Row>,
}

impl Draft {
    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        let Samples { defined, retired, released, metadata, rows, histograms, exemplars } = &mut self.samples;
        defined.clear();
        retired.clear();
        released.clear();
        metadata.clear();
        histograms.clear();
        exemplars.clear();
        // A page with times of its own may have as many rows as samples.
        self.spare.extend(rows.drain(..).take(64));
        self.spare.truncate(64);
        clear(&mut self.row);
        self.timed.clear();
        self.zeros.clear();
        self.zero_histograms.clear();
    }

    /// Takes the memory of a batch that was handed on.
    pub(crate) fn reuse(&mut self, samples: Samples) {
        self.samples = samples;
    }

    /// Adds a sample at the time of the scrape.
    #[inline]
    pub(crate) fn push(&mut self, number: u32, value: f64, start_ms: i64) {
        if start_ms != 0 || !self.row.starts_ms.is_empty() {
            self.row.starts_ms.resize(self.row.values.len(), 0);
            self.row.starts_ms.push(start_ms);
        }
        self.row.series.push(number);
        self.row.values.push(value);
    }

    /// Takes all samples of a page, which are the first of the scrape, if it has this form.
    pub(crate) fn push_page(
        &mut self,
        form: &PageForm,
        body: &[u8],
        dialect: Dialect,
        numbers: &[u32],
        has_dropped: bool,
    ) -> bool {
        let Row { series, values, .. } = &mut self.row;
        if !form.read(body, dialect, values) {
            values.clear();
            return false;
        }
        series.extend_from_slice(numbers);
        if has_dropped {
            let mut kept = numbers.iter().map(|number| *number != DROPPED);
            values.retain(|_| kept.next().unwrap_or(true));
            series.retain(|number| *number != DROPPED);
        }
        true
    }

    /// Adds a sample with a time of its own.
    pub(crate) fn push_timed(&mut self, time_ms: i64, number: u32, value: f64, start_ms: i64) {
        self.timed.push((time_ms, number, value, start_ms));
    }

    /// Adds a zero at the start of counting, be it an empty histogram of the same form.
    pub(crate) fn push_zero(&mut self, time_ms: i64, number: u32, histogram: Option<&NativeHistogram>) {
        let Some(histogram) = histogram else {
            self.zeros.push((time_ms, number));
            return;
        };
        let zero = NativeHistogram {
            sum: 0.0,
            positive_spans: Vec::new(),
            negative_spans: Vec::new(),
            counts: HistogramCounts::Integer {
                count: 0,
                zero_count: 0,
                positive: Vec::new(),
                negative: Vec::new(),
            },
            ..histogram.clone()
        };
        let (series, histogram) = (number, Arc::new(zero));
        self.zero_histograms.push(HistogramSample { time_ms, series, start_ms: 0, histogram });
    }

    /// Takes the samples of the scrape back, as it failed; definitions and the like as well.
    pub(crate) fn take_back(&mut self) {
        self.samples.defined.clear();
        self.samples.histograms.clear();
        self.samples.exemplars.clear();
        self.timed.clear();
        self.zeros.clear();
        self.zero_histograms.clear();
        clear(&mut self.row);
    }

    /// Puts everything into rows. The row of the scrape's own time comes last.
    pub(crate) fn finish(&mut self, time_ms: i64) {
        self.zeros.sort_unstable();
        for i in 0..self.zeros.len() {
            let (time_ms, number) = self.zeros[i];
            let row = self.row_of(time_ms, true);
            row.series.push(number);
            row.values.push(0.0);
        }
        // Equal times stay in the order of the page.
        self.timed.sort_by_key(|sample| sample.0);
        for i in 0..self.timed.len() {
            let (time_ms, number, value, start_ms) = self.timed[i];
            let row = self.row_of(time_ms, false);
            if start_ms != 0 || !row.starts_ms.is_empty() {
                row.starts_ms.resize(row.values.len(), 0);
                row.starts_ms.push(start_ms);
            }
            row.series.push(number);
            row.values.push(value);
        }
        let mut row = std::mem::take(&mut self.row);
        row.time_ms = time_ms;
        self.samples.rows.push(row);
        self.row = self.spare.pop().map(cleared).unwrap_or_default();
        if !self.zero_histograms.is_empty() {
            self.zero_histograms.append(&mut self.samples.histograms);
            std::mem::swap(&mut self.zero_histograms, &mut self.samples.histograms);
        }
    }

    fn row_of(&mut self, time_ms: i64, newest_only: bool) -> &mut Row {
        let is_it = |row: &Row| row.time_ms == time_ms && row.newest_only == newest_only;
        if !self.samples.rows.last().is_some_and(is_it) {
            let spare = self.spare.pop().map(cleared).unwrap_or_default();
            self.samples.rows.push(Row { time_ms, newest_only, ..spare });
        }
        self.samples.rows.last_mut().expect("BUG: a row was pushed if there was none")
    }
}

fn cleared(mut row: Row) -> Row {
    clear(&mut row);
    row
}

fn clear(row: &mut Row) {
    row.series.clear();
    row.values.clear();
    row.starts_ms.clear();
    row.newest_only = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_one_time_each_and_the_scrapes_own_is_the_last() {
        let mut draft = Draft::default();
        for _ in 0..2 {
            draft.clear();
            draft.push(1, 1.0, 0);
            draft.push_timed(7, 2, 2.0, 0);
            draft.push(3, 3.0, 5);
            draft.push_timed(6, 4, 4.0, 0);
            draft.push_timed(7, 5, 5.0, 1);
            draft.push_zero(5, 3, None);
            draft.finish(9);
            let row = |time_ms, series: &[u32], values: &[f64], starts_ms: &[i64]| Row {
                time_ms,
                series: series.to_vec(),
                values: values.to_vec(),
                starts_ms: starts_ms.to_vec(),
                newest_only: time_ms == 5,
            };
            assert_eq!(
                draft.samples.rows,
                [
                    row(5, &[3], &[0.0], &[]),
                    row(6, &[4], &[4.0], &[]),
                    row(7, &[2, 5], &[2.0, 5.0], &[0, 1]),
                    row(9, &[1, 3], &[1.0, 3.0], &[0, 5]),
                ]
            );
        }
    }
}
