//! The sensor's own metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use vedette_model::telemetry::{Counter, Family, MetricSource, MetricVisitor};

use crate::{abi::CLASSES, sensor::Losses};

const SEEN: Family =
    Family::counter("vedette_ebpf_events_total", "Kernel events seen by the sensor programs, by class.");
const DROPPED: Family = Family::counter(
    "vedette_ebpf_events_dropped_total",
    "Kernel events for which the ring had no room, by class.",
);
const MALFORMED: Family = Family::counter(
    "vedette_ebpf_malformed_records_total",
    "Records from the kernel that could not be decoded.",
);

/// The sensor's own metrics.
#[derive(Debug, Default)]
pub struct SensorMetrics {
    seen: [AtomicU64; CLASSES.len()],
    dropped: [AtomicU64; CLASSES.len()],
    pub(crate) malformed: Counter,
}

impl SensorMetrics {
    pub(crate) fn set(&self, losses: &Losses) {
        for (i, class) in losses.classes.iter().enumerate() {
            self.seen[i].store(class.seen, Ordering::Relaxed);
            self.dropped[i].store(class.dropped, Ordering::Relaxed);
        }
    }
}

impl MetricSource for SensorMetrics {
    #[expect(clippy::cast_precision_loss, reason = "samples are f64")]
    fn visit(&self, visitor: &mut dyn MetricVisitor) {
        for (family, counts) in [(&SEEN, &self.seen), (&DROPPED, &self.dropped)] {
            for (class, count) in CLASSES.iter().zip(counts) {
                visitor.value(family, &[("class", class)], count.load(Ordering::Relaxed) as f64);
            }
        }
        visitor.value(&MALFORMED, &[], self.malformed.get() as f64);
    }
}
