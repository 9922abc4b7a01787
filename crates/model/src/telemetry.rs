//! Vedette's own metrics. Each crate declares its own in one `metrics.rs`; label sets are closed.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;

use crate::MetricKind;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// Adds `n`, which may be negative: for a gauge that several parts share.
    pub fn add(&self, n: f64) {
        let sum = |bits| Some((f64::from_bits(bits) + n).to_bits());
        // Never refused, as `sum` always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// Name, type and meaning of one family of own metrics.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// `vedette_<part>_<what>_<unit>`, with `_total` for counters.
    pub name: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// One sentence.
    pub help: &'static str,
}

impl Family {
    /// A family of numbers that only grow.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricKind::Counter, help }
    }

    /// A family of numbers that go up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: MetricKind::Gauge, help }
    }
}

/// Receives the metrics of a source.
pub trait MetricVisitor {
    /// Takes one value; all values of one family come in a row.
    fn value(&mut self, family: &Family, labels: &[(&str, &str)], value: f64);
}

/// A part that has metrics of its own.
pub trait MetricSource: Send + Sync {
    /// Tells all values to the visitor.
    fn visit(&self, visitor: &mut dyn MetricVisitor);
}

/// All sources of this process; cloning shares the list.
#[derive(Clone, Default)]
pub struct Telemetry(Arc<RwLock<Vec<Arc<dyn MetricSource>>>>);

impl Telemetry {
    /// Adds a source for as long as the process runs.
    pub fn register(&self, source: Arc<dyn MetricSource>) {
        self.0.write().push(source);
    }

    /// Tells all values of all sources to the visitor.
    pub fn visit(&self, visitor: &mut dyn MetricVisitor) {
        for source in self.0.read().iter() {
            source.visit(visitor);
        }
    }
}
