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
    Histogram,
    Untranslatable,
}

impl Reason {
    pub(crate) const ALL: [Self; 8] = [
        Self::Labels,
        Self::SeriesLimit,
        Self::OutOfOrder,
        Self::TooOld,
        Self::Future,
        Self::Size,
        Self::Histogram,
        Self::Untranslatable,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::SeriesLimit => "series_limit",
            Self::OutOfOrder => "out_of_order",
            Self::TooOld => "too_old",
            Self::Future => "future",
            Self::Size => "size",
            Self::Histogram => "histogram",
            Self::Untranslatable => "untranslatable",
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

/// What a remote-write request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteAnswer {
    Stored,
    Partly,
    Malformed,
    TooLarge,
    Retry,
}

impl WriteAnswer {
    const ALL: [Self; 5] = [Self::Stored, Self::Partly, Self::Malformed, Self::TooLarge, Self::Retry];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Partly => "partly",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Retry => "retry",
        }
    }
}

/// What is kept in memory now.
pub(crate) struct Sizes {
    pub origins: usize,
    pub known_series: usize,
    pub known_series_bytes: usize,
    pub lost_onward: u64,
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
    writes: [Counter; WriteAnswer::ALL.len()],
    pub write_bytes: Counter,
    pub message_bytes: Counter,
    pub exemplars: Counter,
    pub rejected_exemplars: Counter,
    /// Fields of InfluxDB's lines that are no numbers.
    pub text_fields: Counter,
    /// Series that had to be found by their labels.
    pub series_parsed: Counter,
    pub series_forgotten: Counter,
}

impl Metrics {
    pub(crate) fn wrote(&self, answer: WriteAnswer) -> &Counter {
        &self.writes[answer as usize]
    }

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
const WRITES: Family = counter(
    "vedette_ingest_remote_write_requests_total",
    "Remote-write requests by what they were answered.",
);
const WRITE_BYTES: Family =
    counter("vedette_ingest_remote_write_bytes_total", "Bytes of remote-write requests as they came.");
const MESSAGE_BYTES: Family = counter(
    "vedette_ingest_remote_write_message_bytes_total",
    "Bytes of remote-write requests after their compression was undone.",
);
const EXEMPLARS: Family = counter("vedette_ingest_exemplars_total", "Exemplars stored.");
const REJECTED_EXEMPLARS: Family =
    counter("vedette_ingest_rejected_exemplars_total", "Exemplars not stored.");
const TEXT_FIELDS: Family = counter(
    "vedette_ingest_text_fields_total",
    "Fields of InfluxDB's lines that are texts, which are no samples.",
);
const PARSED: Family = counter(
    "vedette_ingest_remote_write_series_parsed_total",
    "Series of remote-write requests that had to be found by their labels.",
);
const FORGOTTEN: Family = counter(
    "vedette_ingest_remote_write_series_forgotten_total",
    "Series of remote-write senders forgotten because they were silent, or for want of room.",
);
const LOST_ONWARD: Family = counter(
    "vedette_ingest_pushed_lost_onward_total",
    "Samples, histograms and exemplars that were pushed and that a sink they are sent on to did not get.",
);
const KNOWN: Family = Family {
    name: "vedette_ingest_remote_write_series",
    kind: MetricKind::Gauge,
    help: "Series of remote-write senders that are found without parsing their labels.",
};
const KNOWN_BYTES: Family = Family {
    name: "vedette_ingest_remote_write_series_bytes",
    kind: MetricKind::Gauge,
    help: "Memory by which these are found.",
};
const ORIGINS: Family =
    Family { name: "vedette_ingest_origins", kind: MetricKind::Gauge, help: "Senders remembered." };

#[expect(clippy::cast_precision_loss, reason = "counts of one process stay far below 2^53")]
pub(crate) fn visit(metrics: &Metrics, sizes: &Sizes, visitor: &mut dyn MetricVisitor) {
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
        (&WRITE_BYTES, &metrics.write_bytes),
        (&MESSAGE_BYTES, &metrics.message_bytes),
        (&EXEMPLARS, &metrics.exemplars),
        (&REJECTED_EXEMPLARS, &metrics.rejected_exemplars),
        (&TEXT_FIELDS, &metrics.text_fields),
        (&PARSED, &metrics.series_parsed),
        (&FORGOTTEN, &metrics.series_forgotten),
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
    for answer in WriteAnswer::ALL {
        visitor.value(&WRITES, &[("answer", answer.as_str())], metrics.wrote(answer).get() as f64);
    }
    visitor.value(&ORIGINS, &[], sizes.origins as f64);
    visitor.value(&LOST_ONWARD, &[], sizes.lost_onward as f64);
    visitor.value(&KNOWN, &[], sizes.known_series as f64);
    visitor.value(&KNOWN_BYTES, &[], sizes.known_series_bytes as f64);
}
