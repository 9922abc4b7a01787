//! What the bytes of segments are spent on, and how the series in them come and go.
//!
//! Invariant: the bytes of all parts add up to the size of the files.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::HashSet;
use vedette_model::{ReadError, TimeRange};

use crate::{
    Store,
    chunk::values,
    segment::{Body, Chunk, HEADER_BYTES, Segment},
};

/// What one part of the segments takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartAccount {
    /// Name of the encoding, or of the part.
    pub name: &'static str,
    /// Chunks, or other pieces, of it.
    pub pieces: u64,
    /// Samples whose values it holds; 0 for what holds no values.
    pub samples: u64,
    /// Bytes.
    pub bytes: u64,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentAccount {
    /// Its number.
    pub id: u64,
    /// Times of its first and last sample.
    pub range: TimeRange,
    /// Series in it.
    pub series: u64,
    /// Samples in it.
    pub samples: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Series that the segment before it does not have, and series of that one which are not here.
    /// Not known of the first one, and of those that hold late samples for the time of others.
    pub churn: Option<Churn>,
}

/// How many series came and went between two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Churn {
    /// Series that appeared.
    pub appeared: u64,
    /// Series that disappeared.
    pub disappeared: u64,
}

/// The rollups of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollupAccount {
    /// Length of a step.
    pub step_ms: i64,
    /// Files.
    pub files: u64,
    /// Rows in them.
    pub rows: u64,
    /// Size of the files.
    pub bytes: u64,
}

/// An account of all that is sealed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The parts of all segments, the largest first.
    pub parts: Vec<PartAccount>,
    /// The segments, in order of time.
    pub segments: Vec<SegmentAccount>,
    /// The rollups, by step.
    pub rollups: Vec<RollupAccount>,
}

impl Store {
    /// Goes through all segments. It decodes nothing, but reads every page.
    pub fn account(&self) -> Result<Account, ReadError> {
        let segments = Arc::clone(&self.segments.read());
        let mut parts = Parts::default();
        let mut account = Account::default();
        let mut series_before: Option<HashSet<u64>> = None;
        let mut end_ms = i64::MIN;
        for segment in segments.iter() {
            let series = parts.add_segment(segment)?;
            let footer = &segment.footer;
            let late = footer.range.start_ms <= end_ms;
            let churn = series_before.as_ref().filter(|_| !late).map(|before| Churn {
                appeared: series.difference(before).count() as u64,
                disappeared: before.difference(&series).count() as u64,
            });
            account.segments.push(SegmentAccount {
                id: segment.id,
                range: footer.range,
                series: footer.series,
                samples: footer.samples,
                bytes: segment.bytes,
                churn,
            });
            if !late {
                (series_before, end_ms) = (Some(series), footer.range.end_ms);
            }
            segment.release();
        }
        account.parts = parts.0.into_values().filter(|p| p.bytes > 0).collect();
        account.parts.sort_by_key(|p| std::cmp::Reverse(p.bytes));
        let mut rollups = BTreeMap::new();
        for file in self.rollups.read().iter() {
            let step_ms = i64::from(file.footer.step_s) * 1000;
            let none = RollupAccount { step_ms, files: 0, rows: 0, bytes: 0 };
            let of_step = rollups.entry(step_ms).or_insert(none);
            of_step.files += 1;
            of_step.rows += file.footer.samples;
            of_step.bytes += file.bytes;
        }
        account.rollups = rollups.into_values().collect();
        Ok(account)
    }
}

#[derive(Default)]
struct Parts(BTreeMap<&'static str, PartAccount>);

impl Parts {
    fn add(&mut self, name: &'static str, pieces: u64, samples: u64, bytes: u64) {
        let none = PartAccount { name, pieces: 0, samples: 0, bytes: 0 };
        let part = self.0.entry(name).or_insert(none);
        part.pieces += pieces;
        part.samples += samples;
        part.bytes += bytes;
    }

    /// Gives the series, by hash.
    fn add_segment(&mut self, segment: &Segment) -> Result<HashSet<u64>, ReadError> {
        let mut series = HashSet::with_capacity(segment.index().len());
        let mut walk = segment.index().walk(0);
        let mut in_blocks = 0;
        while walk.advance().is_some() {
            series.insert(walk.labels().stable_hash());
            in_blocks += walk.block.bytes;
            let each = |chunk: Chunk<'_>, length: u64| {
                let samples = chunk.count as u64;
                let starts = chunk.starts.map_or(0, |s| s.len() as u64);
                if starts > 0 {
                    self.add("start timestamps", 1, 0, starts);
                }
                let (name, bytes) = match chunk.body {
                    // Its head is all of it.
                    Body::Constant(_) => ("constant", length - starts),
                    Body::Floats(bytes) => (values::encoding_name(bytes), bytes.len() as u64),
                    Body::Histograms(bytes) => ("histograms", bytes.len() as u64),
                };
                self.add(name, 1, samples, bytes);
                let head = length - starts - bytes;
                self.add("heads and summaries", u64::from(head > 0), 0, head);
            };
            let exemplars = segment.walk_measured(walk.block, each)?;
            self.add("exemplars", u64::from(exemplars > 0), 0, exemplars);
        }
        let sizes = segment.sizes();
        let blocks_at = HEADER_BYTES as u64;
        self.add("time columns", 0, 0, (sizes.data - blocks_at).saturating_sub(in_blocks));
        self.add("checksums of pages", 0, 0, sizes.page_sums);
        self.add("index", 0, 0, sizes.index);
        self.add("headers and footers", 0, 0, blocks_at + sizes.footer);
        Ok(series)
    }
}

#[cfg(test)]
mod tests;
