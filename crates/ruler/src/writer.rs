//! Samples of rules on their way into the store, as batches over a dictionary of series.
//!
//! A batch that the store cannot take now is kept and sent again unchanged; what comes meanwhile
//! waits behind it, up to a bound.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use vedette_alerting::RuleSample;
use vedette_model::{
    Batch, HistogramSample, Labels, Origin, Payload, Rejected, Row, Samples, SeriesDefinition, Sink, is_stale,
};

use crate::metrics::Metrics;

/// Samples that wait behind a batch that is not taken; of more, the oldest are dropped.
const WAITING_MAX: usize = 100_000;

pub(crate) struct Writer {
    sink: Arc<dyn Sink>,
    metrics: Arc<Metrics>,
    origin: Origin,
    seq: u64,
    numbers: HashMap<Labels, u32>,
    free: Vec<u32>,
    waiting: Vec<RuleSample>,
    unsent: Option<Batch>,
}

impl Writer {
    pub(crate) fn new(sink: Arc<dyn Sink>, origin: Origin, metrics: Arc<Metrics>) -> Self {
        let (numbers, free, waiting) = (HashMap::new(), Vec::new(), Vec::new());
        Self { sink, metrics, origin, seq: 0, numbers, free, waiting, unsent: None }
    }

    /// Writes the samples, or keeps them for the next call. `Err` says why the store took none.
    pub(crate) fn write(&mut self, samples: Vec<RuleSample>) -> Result<(), String> {
        self.waiting.extend(samples);
        if let Some(batch) = self.unsent.take() {
            self.send(batch)?;
        }
        if !self.waiting.is_empty() {
            let samples = std::mem::take(&mut self.waiting);
            let batch = self.batch(samples);
            self.send(batch)?;
        }
        Ok(())
    }

    /// Whether something waits to be sent again.
    pub(crate) fn is_behind(&self) -> bool {
        self.unsent.is_some()
    }

    fn send(&mut self, batch: Batch) -> Result<(), String> {
        let count = sample_count(&batch);
        let mut result = self.sink.accept(&batch);
        let mut batch = batch;
        if let Err(Rejected::UnknownSeries(_)) = result {
            batch = self.with_all_defined(batch);
            result = self.sink.accept(&batch);
        }
        match result {
            Ok(()) => {
                self.metrics.samples_written.add(count);
                Ok(())
            }
            Err(Rejected::Invalid(reason)) => {
                self.metrics.samples_dropped.add(count);
                Err(reason)
            }
            Err(reason) => {
                self.unsent = Some(batch);
                let excess = self.waiting.len().saturating_sub(WAITING_MAX);
                self.waiting.drain(..excess);
                self.metrics.samples_dropped.add(excess as u64);
                Err(reason.to_string())
            }
        }
    }

    fn batch(&mut self, samples: Vec<RuleSample>) -> Batch {
        let mut defined = Vec::new();
        let mut rows: BTreeMap<i64, Row> = BTreeMap::new();
        let last_ms = samples.iter().map(|s| s.time_ms).max().unwrap_or(0);
        let mut retired: Vec<Labels> = Vec::new();
        let mut histograms = Vec::new();
        for sample in samples {
            let series = self.number(&sample.labels, &mut defined);
            let over = is_stale(sample.value);
            if over {
                retired.push(sample.labels.clone());
            } else {
                retired.retain(|l| *l != sample.labels);
            }
            if let Some(histogram) = sample.histogram {
                histograms.push(HistogramSample { time_ms: sample.time_ms, series, start_ms: 0, histogram });
                continue;
            }
            // Of a retired series the receiver itself marks the end, at the time of the last row.
            if !(over && sample.time_ms == last_ms) {
                let row = rows.entry(sample.time_ms).or_default();
                row.series.push(series);
                row.values.push(sample.value);
            }
        }
        rows.entry(last_ms).or_default();
        let retired = retired.iter().filter_map(|labels| self.numbers.remove(labels)).collect::<Vec<_>>();
        self.free.extend(&retired);
        let rows = rows.into_iter().map(|(time_ms, row)| Row { time_ms, ..row }).collect();
        self.seq += 1;
        let payload = Payload::Samples(Samples { defined, retired, rows, histograms, ..Samples::default() });
        Batch { origin: self.origin.clone(), seq: self.seq, payload }
    }

    fn number(&mut self, labels: &Labels, defined: &mut Vec<SeriesDefinition>) -> u32 {
        if let Some(series) = self.numbers.get(labels) {
            return *series;
        }
        let next = u32::try_from(self.numbers.len() + self.free.len()).unwrap_or(u32::MAX);
        let series = self.free.pop().unwrap_or(next);
        self.numbers.insert(labels.clone(), series);
        defined.push(SeriesDefinition { series, labels: labels.clone() });
        series
    }

    /// The receiver started anew: the batch with all series that are in use.
    fn with_all_defined(&self, mut batch: Batch) -> Batch {
        if let Payload::Samples(samples) = &mut batch.payload {
            for (labels, series) in &self.numbers {
                if samples.defined.iter().all(|d| d.series != *series) {
                    samples.defined.push(SeriesDefinition { series: *series, labels: labels.clone() });
                }
            }
            // A series that ends with this batch is no longer in the dictionary; nobody knows it
            // there either, so there is nothing to end.
            let known = |n: &u32| samples.defined.iter().any(|d| d.series == *n);
            samples.retired.retain(known);
            samples.histograms.retain(|h| known(&h.series));
            for row in &mut samples.rows {
                let kept = row.series.iter().zip(&row.values).filter(|(n, _)| known(n));
                let (series, values) = kept.map(|(n, v)| (*n, *v)).unzip();
                (row.series, row.values) = (series, values);
            }
        }
        batch
    }
}

fn sample_count(batch: &Batch) -> u64 {
    match &batch.payload {
        Payload::Samples(samples) => {
            samples.rows.iter().map(|r| r.series.len() as u64).sum::<u64>() + samples.histograms.len() as u64
        }
        Payload::Events(_) => 0,
    }
}
