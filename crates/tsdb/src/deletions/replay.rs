//! What replaying a log leaves out: samples that were deleted after they were written to it.

use hashbrown::HashMap;
use vedette_model::TimeRange;

use super::{Deletion, Deletions};
use crate::{SeriesRef, wal::Defined};

/// Deletions that concern one log, while it is replayed.
pub(crate) struct ReplayMask<'a> {
    /// Each with the last segment of the log that it concerns.
    deletions: Vec<(&'a Deletion, u64)>,
    /// The segment that is being replayed.
    segment: u64,
    /// Last segment and time deleted of each series that is concerned.
    series: HashMap<SeriesRef, Vec<(u64, TimeRange)>>,
}

impl<'a> ReplayMask<'a> {
    pub fn new(deletions: &'a Deletions, log: u32) -> Self {
        let of_log = |d: &'a Deletion| {
            d.logs.iter().filter(move |(number, _)| *number == log).map(move |(_, last)| (d, *last))
        };
        Self {
            deletions: deletions.list.iter().flat_map(of_log).collect(),
            segment: 0,
            series: HashMap::new(),
        }
    }

    /// What comes now stands in this segment.
    pub fn begin_segment(&mut self, number: u64) {
        self.segment = number;
    }

    /// Learns of a series.
    pub fn define(&mut self, reference: SeriesRef, defined: &Defined<'_>) {
        if self.deletions.is_empty() || self.series.contains_key(&reference) {
            return;
        }
        let value = |wanted: &str| defined.texts().find(|(name, _)| *name == wanted).map_or("", |t| t.1);
        let fitting = self.deletions.iter().filter(|(d, _)| d.fits(value));
        let ranges: Vec<_> = fitting.map(|(d, last)| (*last, d.range)).collect();
        if !ranges.is_empty() {
            self.series.insert(reference, ranges);
        }
    }

    /// Whether no sample is left out.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Whether a sample of a series is left out.
    pub fn covers(&self, reference: SeriesRef, time_ms: i64) -> bool {
        let ranges = self.series.get(&reference);
        ranges.is_some_and(|r| r.iter().any(|(last, r)| self.segment <= *last && r.contains(time_ms)))
    }
}
