//! The newest values of what is collected, for those who scrape Vedette like an exporter.

use std::collections::HashMap;

use parking_lot::Mutex;
use vedette_model::{Batch, Labels, MetricMetadata, Payload, Samples, is_stale};

/// Which exporter Vedette stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// node_exporter: `job="node-exporter"`.
    Node,
    /// cAdvisor: `metrics_path="/metrics/cadvisor"`.
    Containers,
}

/// Everything newest of one source, in any order.
#[derive(Debug, Clone, Default)]
pub struct Latest {
    /// What is known of the families.
    pub metadata: Vec<MetricMetadata>,
    /// The samples.
    pub samples: Vec<LatestSample>,
}

/// The newest sample of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct LatestSample {
    /// Labels, without those that a scrape adds.
    pub labels: Labels,
    /// Value.
    pub value: f64,
    /// Milliseconds since the Unix epoch.
    pub time_ms: i64,
}

/// Knows the newest values.
pub trait LatestSamples: Send + Sync {
    /// The newest values of one source.
    fn latest(&self, source: Source) -> Latest;
}

/// Keeps the newest values of all batches that it is shown.
#[derive(Default)]
pub struct LatestTable(Mutex<HashMap<String, Sender>>);

/// What one sender's numbers mean now.
#[derive(Default)]
struct Sender {
    epoch: u64,
    metadata: HashMap<String, MetricMetadata>,
    series: Vec<Option<Entry>>,
}

struct Entry {
    source: Source,
    sample: Option<LatestSample>,
    labels: Labels,
}

/// Labels that a scrape of these endpoints would add again.
const TARGET_LABELS: [&str; 3] = ["job", "instance", "metrics_path"];

/// Numbers are given from zero up; a sender that uses others is not worth the memory.
const SERIES_MAX: u32 = 1 << 22;

impl LatestTable {
    /// Takes the values of a batch that was accepted.
    pub fn observe(&self, batch: &Batch) {
        let Payload::Samples(samples) = &batch.payload else { return };
        let mut senders = self.0.lock();
        let sender = match senders.get_mut(&batch.origin.source) {
            Some(sender) => sender,
            None => senders.entry(batch.origin.source.clone()).or_default(),
        };
        if sender.epoch != batch.origin.epoch {
            *sender = Sender { epoch: batch.origin.epoch, ..Sender::default() };
        }
        sender.observe(samples);
    }
}

impl Sender {
    fn observe(&mut self, samples: &Samples) {
        for entry in &samples.metadata {
            self.metadata.insert(entry.family.clone(), entry.clone());
        }
        for definition in &samples.defined {
            if definition.series >= SERIES_MAX {
                continue;
            }
            let place = definition.series as usize;
            if self.series.len() <= place {
                self.series.resize_with(place + 1, || None);
            }
            self.series[place] = source_of(&definition.labels).map(|source| Entry {
                source,
                sample: None,
                labels: definition.labels.drop(&TARGET_LABELS),
            });
        }
        for row in &samples.rows {
            for (series, value) in row.series.iter().zip(&row.values) {
                let Some(Some(entry)) = self.series.get_mut(*series as usize) else { continue };
                entry.sample = (!is_stale(*value)).then(|| LatestSample {
                    labels: entry.labels.clone(),
                    value: *value,
                    time_ms: row.time_ms,
                });
            }
        }
        for series in &samples.retired {
            if let Some(entry) = self.series.get_mut(*series as usize) {
                *entry = None;
            }
        }
    }
}

impl LatestSamples for LatestTable {
    fn latest(&self, source: Source) -> Latest {
        let senders = self.0.lock();
        let mut out = Latest::default();
        for sender in senders.values() {
            out.metadata.extend(sender.metadata.values().cloned());
            let entries = sender.series.iter().flatten().filter(|entry| entry.source == source);
            out.samples.extend(entries.filter_map(|entry| entry.sample.clone()));
        }
        out
    }
}

fn source_of(labels: &Labels) -> Option<Source> {
    if labels.get("metrics_path") == Some("/metrics/cadvisor") {
        Some(Source::Containers)
    } else if labels.get("job") == Some("node-exporter") {
        Some(Source::Node)
    } else {
        None
    }
}
