//! The door itself: who sends, whether the batch was taken before, and what it is answered.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use vedette_eventdb::EventDb;
use vedette_model::{
    Batch, Origin, Payload, Rejected, Sink,
    telemetry::{MetricSource, MetricVisitor},
};
use vedette_sys::Clock;
use vedette_tsdb::Tsdb;

use crate::{
    Config, Receiver, events,
    metrics::{self, Answer, Metrics},
    origin::Sender,
    samples::Door,
};

/// Longest tenant, cluster or source name.
const NAME_BYTES_MAX: usize = 256;
/// Senders that are taken as having sent just now.
const RECENT_SENDERS: usize = 16;

/// The one door into the stores. Shared as `Arc<Ingest>`. Those who push without numbering what they
/// send come by its [`Ingest::receiver`].
pub struct Ingest {
    config: Config,
    tsdb: Arc<Tsdb>,
    events: Arc<EventDb>,
    clock: Arc<dyn Clock>,
    /// The one that sent last comes last.
    senders: RwLock<Vec<Arc<Known>>>,
    receiver: Arc<Receiver>,
    metrics: Arc<Metrics>,
}

/// A sender; the names stand outside of the lock so that it is found without taking it.
struct Known {
    origin: Origin,
    sender: Mutex<Sender>,
}

/// Figures for the status page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Samples stored.
    pub samples: u64,
    /// Samples not stored, for whatever reason.
    pub rejected_samples: u64,
    /// Events stored.
    pub events: u64,
    /// Events not stored.
    pub rejected_events: u64,
    /// Batches answered with "again later".
    pub retries: u64,
    /// Batches that were taken before.
    pub duplicate_batches: u64,
    /// Batches that never came.
    pub missing_batches: u64,
    /// Senders remembered.
    pub origins: u64,
}

impl Ingest {
    /// A door in front of these stores.
    pub fn new(config: Config, tsdb: Arc<Tsdb>, events: Arc<EventDb>, clock: Arc<dyn Clock>) -> Self {
        let metrics = Arc::<Metrics>::default();
        let receiver = Receiver::of_store(config.clone(), tsdb.clone(), clock.clone(), metrics.clone());
        let receiver = Arc::new(receiver);
        Self { config, tsdb, events, clock, senders: RwLock::default(), receiver, metrics }
    }

    /// The door for those who push.
    pub fn receiver(&self) -> &Arc<Receiver> {
        &self.receiver
    }

    /// Figures for the status page.
    pub fn stats(&self) -> Stats {
        let m = &self.metrics;
        Stats {
            samples: m.samples.get(),
            rejected_samples: m.all_rejected_samples(),
            events: m.events.get(),
            rejected_events: m.all_rejected_events(),
            retries: m.answered(Answer::Retry).get(),
            duplicate_batches: m.answered(Answer::Duplicate).get(),
            missing_batches: m.missing_batches.get(),
            origins: self.senders.read().len() as u64,
        }
    }

    fn take(&self, batch: &Batch) -> Result<Answer, Rejected> {
        let known = self.sender(&batch.origin)?;
        let mut sender = known.sender.lock();
        sender.enter_epoch(batch.origin.epoch);
        if sender.batches.has(batch.seq) {
            return Ok(Answer::Duplicate);
        }
        match &batch.payload {
            Payload::Samples(samples) => {
                let now_ms = self.clock.unix_ms();
                let Self { config, tsdb, metrics, .. } = self;
                Door { config, tsdb, metrics, now_ms }.accept(&mut sender, samples)?;
            }
            Payload::Events(events) => {
                events::accept(&self.config, &self.events, &self.metrics, self.clock.unix_ns(), events)?;
            }
        }
        self.metrics.missing_batches.add(sender.batches.take(batch.seq));
        Ok(Answer::Accepted)
    }

    fn sender(&self, origin: &Origin) -> Result<Arc<Known>, Rejected> {
        let same = |known: &Arc<Known>| {
            let o = &known.origin;
            (&o.source, &o.cluster, &o.tenant) == (&origin.source, &origin.cluster, &origin.tenant)
        };
        // Among the last few the order does not matter, and they are found without waiting.
        if let Some(known) = self.senders.read().iter().rev().take(RECENT_SENDERS).find(|k| same(k)) {
            return Ok(known.clone());
        }
        let names = [&origin.tenant, &origin.cluster, &origin.source];
        if origin.source.is_empty() || names.iter().any(|n| n.len() > NAME_BYTES_MAX) {
            return Err(Rejected::Invalid(format!(
                "a sender needs a source, and names of at most {NAME_BYTES_MAX} bytes"
            )));
        }
        let mut senders = self.senders.write();
        let known = match senders.iter().position(same) {
            Some(at) => senders.remove(at),
            None => {
                if senders.len() >= self.config.origins_max.max(1) {
                    senders.remove(0);
                }
                Arc::new(Known { origin: origin.clone(), sender: Mutex::new(Sender::new(origin.epoch)) })
            }
        };
        senders.push(known.clone());
        Ok(known)
    }
}

impl Sink for Ingest {
    fn accept(&self, batch: &Batch) -> Result<(), Rejected> {
        let result = self.take(batch);
        let answer = match &result {
            Ok(answer) => *answer,
            Err(Rejected::UnknownSeries(_)) => Answer::UnknownSeries,
            Err(Rejected::Retry(_)) => Answer::Retry,
            Err(Rejected::Invalid(_)) => Answer::Invalid,
        };
        self.metrics.answered(answer).inc();
        result.map(|_| ())
    }
}

impl MetricSource for Ingest {
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        let sizes = self.receiver.sizes(self.senders.read().len());
        metrics::visit(&self.metrics, &sizes, visitor);
    }
}

/// "Again later", with the whole chain of causes: the sender shows it.
pub(crate) fn retry(error: &dyn std::error::Error) -> Rejected {
    Rejected::Retry(chain(error))
}

/// An error with the whole chain of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
