//! What came in, and what became of it. Every loss is counted here with its reason.

use vedette_model::{
    MetricKind,
    telemetry::{Counter, Family, MetricVisitor},
};

/// Why a sample or event was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Labels,
    SeriesLimit,
    OutOfOrder,
    TooOld,
    Future,
    Size,
}

impl Reason {
    const ALL: [Self; 6] =
        [Self::Labels, Self::SeriesLimit, Self::OutOfOrder, Self::TooOld, Self::Future, Self::Size];

    fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::SeriesLimit => "series_limit",
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::Future => "future",
            Self::Size => "size",
        }
    }
}

/// What a batch was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    Duplicate,
    UnknownSeries,
    Retry,
    Invalid,
}

impl Answer {
    const ALL: [Self; 5] = [Self::Accepted, Self::Duplicate, Self::UnknownSeries, Self::Retry, Self::Invalid];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::UnknownSeries => "unknown_series",
            Self::Retry => "retry",
            Self::Invalid => "invalid",
        }
    }
}

/// Counts since the start of the process.
#[derive(Default)]
pub(crate) struct Metrics {
    answers: [Counter; Answer::ALL.len()],
    pub missing_batches: Counter,
    pub samples: Counter,
    pub duplicate_samples: Counter,
    rejected_samples: [Counter; Reason::ALL.len()],
    pub stale_markers: Counter,
    pub events: Counter,
    rejected_events: [Counter; Reason::ALL.len()],
}

impl Metrics {
    pub(crate) fn answered(&self, answer: Answer) -> &Counter {
        &self.answers[answer as usize]
    }

    pub(crate) fn rejected_samples(&self, reason: Reason) -> &Counter {
        &self.rejected_samples[reason as usize]
    }

    pub(crate) fn rejected_events(&self, reason: Reason) -> &Counter {
        &self.rejected_events[reason as usize]
    }

    pub(crate) fn all_rejected_samples(&self) -> u64 {
        self.rejected_samples.iter().map(Counter::get).sum()
    }

    pub(crate) fn all_rejected_events(&self) -> u64 {
        self.rejected_events.iter().map(Counter::get).sum()
    }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: MetricKind::Counter, help }
}

const BATCHES: Family = counter("vedette_ingest_batches_total", "Batches by what they were answered.");
const MISSING: Family =
    counter("vedette_ingest_missing_batches_total", "Batches that never came, by the senders' numbering.");
const SAMPLES: Family = counter("vedette_ingest_samples_total", "Samples stored.");
const DUPLICATES: Family = counter(
    "vedette_ingest_duplicate_samples_total",
    "Samples that were stored already, with the same value.",
);
const REJECTED_SAMPLES: Family =
    counter("vedette_ingest_rejected_samples_total", "Samples not stored, by reason.");
const MARKERS: Family =
    counter("vedette_ingest_stale_markers_total", "Staleness markers written for series that ended.");
const EVENTS: Family = counter("vedette_ingest_events_total", "Events stored.");
const REJECTED_EVENTS: Family =
    counter("vedette_ingest_rejected_events_total", "Events not stored, by reason.");
const ORIGINS: Family =
    Family { name: "vedette_ingest_origins", kind: MetricKind::Gauge, help: "Senders remembered." };

#[expect(clippy::cast_precision_loss, reason = "counts of one process stay far below 2^53")]
pub(crate) fn visit(metrics: &Metrics, origins: usize, visitor: &mut dyn MetricVisitor) {
    for answer in Answer::ALL {
        let value = metrics.answered(answer).get() as f64;
        visitor.value(&BATCHES, &[("answer", answer.as_str())], value);
    }
    for (family, counter) in [
        (&MISSING, &metrics.missing_batches),
        (&SAMPLES, &metrics.samples),
        (&DUPLICATES, &metrics.duplicate_samples),
        (&MARKERS, &metrics.stale_markers),
        (&EVENTS, &metrics.events),
    ] {
        visitor.value(family, &[], counter.get() as f64);
    }
    let rejected =
        [(&REJECTED_SAMPLES, &metrics.rejected_samples), (&REJECTED_EVENTS, &metrics.rejected_events)];
    for (family, counters) in rejected {
        for (reason, counter) in Reason::ALL.into_iter().zip(counters) {
            visitor.value(family, &[("reason", reason.as_str())], counter.get() as f64);
        }
    }
    visitor.value(&ORIGINS, &[], origins as f64);
}
