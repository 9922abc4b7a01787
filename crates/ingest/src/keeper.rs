//! What keeps the samples that are pushed: the metric store; where they are sent on, the store and those
//! who get them; where there is no store, those alone.
//!
//! Invariant: a keeper's number names one series for ever, so that a number that others remember never
//! leads to another series.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use vedette_model::{Labels, MetricMetadata, Rejected};
use vedette_tsdb::{Appended, Error, ExemplarSample, HistogramSample, RefRow, SeriesRef, Tsdb};

use crate::{ingest::chain, onward::Onward};

/// Keeps samples.
pub(crate) trait Keeper: Send + Sync {
    /// The number of a series.
    fn series(&self, labels: &Labels) -> Result<SeriesRef, Refusal>;

    /// Keeps rows of samples.
    fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Refusal>;

    /// Keeps histograms.
    fn append_histograms(&self, samples: &[HistogramSample<'_>]) -> Result<Appended, Refusal>;

    /// Keeps exemplars.
    fn append_exemplars(&self, exemplars: &[ExemplarSample<'_>]) -> Result<Appended, Refusal>;

    /// Keeps what is known of families.
    fn put_metadata(&self, metadata: &[MetricMetadata]);
}

/// Why something is not kept.
pub(crate) enum Refusal {
    /// The series is new, and there is no room for it.
    NoRoom(String),
    /// It never will be.
    Invalid(String),
    /// Not now.
    Retry(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::SeriesLimit { .. } => Self::NoRoom(error.to_string()),
            Error::Invalid { reason } => Self::Invalid(reason),
            error => Self::Retry(chain(&error)),
        }
    }
}

/// The metric store, and those who get what it takes.
pub(crate) struct Store {
    pub tsdb: Arc<Tsdb>,
    pub onward: Arc<Onward>,
}

/// Calls the store; what it took goes onward. Series that nobody onward knows are first found again by
/// their labels, which happens once after a start or when somebody comes to get them.
macro_rules! pass {
    ($store:expr, $samples:expr, $append:ident, $references:expr, $send:ident) => {{
        if !$store.onward.is_active() {
            return Ok($store.tsdb.$append($samples)?);
        }
        let known = match $store.onward.numbers($references) {
            Ok(numbers) => numbers,
            Err(unknown) => return Ok(Appended { unknown, ..Appended::default() }),
        };
        let mut appended = $store.tsdb.$append($samples)?;
        appended.unknown.sort_unstable();
        // What is stored is not refused for the sake of those who get it as well: the loss is counted.
        let _ = $store.onward.$send($samples, &known, &appended.unknown);
        Ok(appended)
    }};
}

impl Keeper for Store {
    fn series(&self, labels: &Labels) -> Result<SeriesRef, Refusal> {
        let reference = self.tsdb.series(labels)?;
        if self.onward.is_active() {
            self.onward.learn(reference, labels);
        }
        Ok(reference)
    }

    fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Refusal> {
        pass!(self, rows, append, rows.iter().flat_map(|row| row.refs), send_rows)
    }

    fn append_histograms(&self, samples: &[HistogramSample<'_>]) -> Result<Appended, Refusal> {
        pass!(self, samples, append_histograms, samples.iter().map(|s| &s.reference), send_histograms)
    }

    fn append_exemplars(&self, exemplars: &[ExemplarSample<'_>]) -> Result<Appended, Refusal> {
        pass!(self, exemplars, append_exemplars, exemplars.iter().map(|s| &s.reference), send_exemplars)
    }

    fn put_metadata(&self, metadata: &[MetricMetadata]) {
        self.tsdb.put_metadata(metadata);
        self.onward.send_metadata(metadata);
    }
}

/// Keeps nothing: those onward are all that there is, so what they do not take is not acknowledged.
pub(crate) struct Passing {
    onward: Arc<Onward>,
    series: Mutex<Numbered>,
}

/// Numbers by labels, since there is no store that knows them.
#[derive(Default)]
struct Numbered {
    next: u64,
    by_labels: HashMap<Labels, SeriesRef>,
}

/// Of so many series the numbers are remembered; then all are numbered anew.
const NUMBERED_MAX: usize = 2 << 20;

impl Passing {
    pub fn new(onward: Arc<Onward>) -> Self {
        Self { onward, series: Mutex::default() }
    }
}

impl From<Rejected> for Refusal {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Invalid(reason) => Self::Invalid(reason),
            error => Self::Retry(error.to_string()),
        }
    }
}

/// Sends samples of the series that are known; the others are told, to be found by their labels.
macro_rules! send {
    ($passing:expr, $samples:expr, $references:expr, $send:ident) => {{
        let (known, unknown) = $passing.onward.known_numbers($references);
        $passing.onward.$send($samples, &known, &unknown)?;
        let taken = known.count() as u64;
        Ok(Appended { taken, unknown, ..Appended::default() })
    }};
}

impl Keeper for Passing {
    fn series(&self, labels: &Labels) -> Result<SeriesRef, Refusal> {
        let mut numbered = self.series.lock();
        let reference = match numbered.by_labels.get(labels) {
            Some(known) => *known,
            None => {
                if numbered.by_labels.len() >= NUMBERED_MAX {
                    numbered.by_labels.clear();
                }
                let reference = SeriesRef(numbered.next);
                numbered.next += 1;
                numbered.by_labels.insert(labels.clone(), reference);
                reference
            }
        };
        if !self.onward.learn(reference, labels) {
            return Err(Refusal::NoRoom("there is no room for further series".to_owned()));
        }
        Ok(reference)
    }

    fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Refusal> {
        send!(self, rows, rows.iter().flat_map(|row| row.refs), send_rows)
    }

    fn append_histograms(&self, samples: &[HistogramSample<'_>]) -> Result<Appended, Refusal> {
        send!(self, samples, samples.iter().map(|s| &s.reference), send_histograms)
    }

    fn append_exemplars(&self, exemplars: &[ExemplarSample<'_>]) -> Result<Appended, Refusal> {
        send!(self, exemplars, exemplars.iter().map(|s| &s.reference), send_exemplars)
    }

    fn put_metadata(&self, metadata: &[MetricMetadata]) {
        self.onward.send_metadata(metadata);
    }
}
