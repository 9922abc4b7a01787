//! Hands the batches of a lane to the sink in their order, and keeps those that it cannot take now.
//!
//! What waits is bounded by its samples: the oldest go first, and every one that goes is counted.

use std::{collections::VecDeque, sync::Arc};

use vedette_model::{Batch, Origin, Payload, Rejected, Samples, Sink};

use super::metrics::Metrics;

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It was taken; its memory can be used again.
    Taken(Samples),
    /// It waits until the sink can take it.
    Waits,
    /// The sink does not know a series of it: all must be defined anew.
    UnknownSeries,
    /// The sink will never take it.
    Refused(String),
}

/// The way to the sink.
pub(crate) struct Outbox {
    sink: Arc<dyn Sink>,
    origin: Origin,
    seq: u64,
    waiting: VecDeque<Samples>,
    waiting_samples: usize,
    waiting_samples_max: usize,
    told: usize,
    refusal: Option<String>,
    metrics: Arc<Metrics>,
}

impl Outbox {
    pub(crate) fn new(
        sink: Arc<dyn Sink>,
        origin: Origin,
        waiting_samples_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            sink,
            origin,
            seq: 0,
            waiting: VecDeque::new(),
            waiting_samples: 0,
            waiting_samples_max,
            told: 0,
            refusal: None,
            metrics,
        }
    }

    /// Why the sink takes nothing at the moment.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends a batch behind all that wait.
    pub(crate) fn send(&mut self, samples: Samples) -> Sent {
        if self.waiting.is_empty() {
            return match self.hand_over(samples) {
                Handed::Over(sent) => sent,
                Handed::Back(samples) => {
                    self.wait(samples);
                    Sent::Waits
                }
            };
        }
        self.wait(samples);
        self.retry()
    }

    /// Sends again what waits.
    pub(crate) fn retry(&mut self) -> Sent {
        let mut result = Sent::Waits;
        while let Some(samples) = self.waiting.pop_front() {
            let count = count(&samples);
            match self.hand_over(samples) {
                Handed::Back(samples) => {
                    self.waiting.push_front(samples);
                    break;
                }
                Handed::Over(sent) => {
                    self.waiting_samples -= count;
                    match sent {
                        Sent::Taken(_) | Sent::Waits => {}
                        Sent::Refused(reason) => {
                            tracing::error!(reason, "a batch of samples was refused for good");
                        }
                        Sent::UnknownSeries => {
                            self.metrics.dropped_samples.add(count as u64);
                            result = Sent::UnknownSeries;
                            break;
                        }
                    }
                }
            }
        }
        self.tell();
        result
    }

    /// Begins a new numbering of series: whatever waits was of the old one.
    pub(crate) fn begin_epoch(&mut self) {
        self.origin.epoch += 1;
        self.seq = 0;
        self.metrics.dropped_samples.add(self.waiting_samples as u64);
        self.waiting.clear();
        self.waiting_samples = 0;
        self.tell();
    }

    fn hand_over(&mut self, samples: Samples) -> Handed {
        let batch =
            Batch { origin: self.origin.clone(), seq: self.seq + 1, payload: Payload::Samples(samples) };
        let result = self.sink.accept(&batch);
        let Payload::Samples(samples) = batch.payload else { return Handed::Over(Sent::Waits) };
        match result {
            Ok(()) => {
                self.seq += 1;
                self.refusal = None;
                Handed::Over(Sent::Taken(samples))
            }
            Err(Rejected::Retry(reason)) => {
                self.refusal = Some(reason);
                Handed::Back(samples)
            }
            Err(Rejected::UnknownSeries(_)) => Handed::Over(Sent::UnknownSeries),
            Err(Rejected::Invalid(reason)) => {
                self.metrics.dropped_samples.add(count(&samples) as u64);
                Handed::Over(Sent::Refused(reason))
            }
        }
    }

    fn wait(&mut self, samples: Samples) {
        self.waiting_samples += count(&samples);
        self.waiting.push_back(samples);
        while self.waiting_samples > self.waiting_samples_max {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.waiting_samples -= count(&oldest);
            self.metrics.dropped_samples.add(count(&oldest) as u64);
        }
        self.tell();
    }

    /// Several lanes share the gauge, so each tells what its own queue grew by.
    fn tell(&mut self) {
        self.metrics.waiting_samples.add(self.waiting_samples as f64 - self.told as f64);
        self.told = self.waiting_samples;
    }
}

/// Whether the sink has a batch now.
enum Handed {
    Over(Sent),
    Back(Samples),
}

/// At least one, so that batches without samples are bounded as well.
fn count(samples: &Samples) -> usize {
    1 + samples.rows.iter().map(|row| row.values.len()).sum::<usize>() + samples.histograms.len()
}
