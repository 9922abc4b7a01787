//! Reading all of a segment, or of a file of rollups, and comparing everything that it says with everything else: checksums
//! of all pages, order and completeness of the index, each chunk with its head and summary, the
//! footer with what was found.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use vedette_model::{RollupRow, SampleBuffer, TimeRange, is_stale};

use super::{Block, PAGE_BYTES, Segment, block::Body};
use crate::{
    chunk::{SAMPLES_MAX, summarize, with_decoder},
    rollup::codec,
};

/// Problems that are told of one segment; further ones are counted.
const PROBLEMS_MAX: usize = 20;

/// What reading all of a segment gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Series of the index.
    pub series: u64,
    /// Samples, or rows of rollups, that were read.
    pub samples: u64,
    /// What is wrong, and where.
    pub problems: Vec<String>,
    /// Further problems.
    pub more: u64,
}

impl Audit {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, text: impl FnOnce() -> String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text());
        } else {
            self.more += 1;
        }
    }
}

impl Segment {
    /// Reads all of it.
    pub fn audit(&self) -> Audit {
        let mut audit = Audit::default();
        // Nothing that was found sound before counts.
        self.pages.forget();
        let pages = self.footer.index_offset.div_ceil(PAGE_BYTES as u64);
        for page in 0..pages {
            if self.data(page * PAGE_BYTES as u64, 1).is_none() {
                audit.problem(|| {
                    format!("the checksum of the page at {} does not match", page * PAGE_BYTES as u64)
                });
            }
        }
        let mut seen: Option<TimeRange> = None;
        let mut pairs: BTreeMap<(u32, u32), RoaringBitmap> = BTreeMap::new();
        let mut walk = self.index.walk(0);
        let mut before: Vec<(u32, u32)> = Vec::new();
        let (mut samples, mut rows) = (SampleBuffer::default(), Vec::new());
        let mut data_end = 0;
        while let Some(number) = walk.advance() {
            audit.series += 1;
            let labels: Vec<(u32, u32)> = walk.symbols().collect();
            let is_sound = labels.iter().all(|&(n, v)| n.max(v) < self.index.symbols());
            // Symbols are in order, as checked below, so that comparing them is comparing texts.
            if !is_sound || !labels.is_sorted_by(|a, b| a.0 < b.0) || (number > 0 && before >= labels) {
                audit
                    .problem(|| format!("series {number} of the index is out of order: {:?}", walk.labels()));
            }
            if walk.block.offset < data_end {
                audit.problem(|| format!("series {:?} overlaps the one before", walk.labels()));
            }
            data_end = walk.block.offset.saturating_add(walk.block.bytes);
            for &pair in &labels {
                pairs.entry(pair).or_default().insert(number);
            }
            samples.clear();
            rows.clear();
            let audited = match self.footer.step_s {
                0 => self.audit_block(walk.block, &mut samples),
                _ => self.audit_rows(walk.block, &mut rows),
            };
            if let Err(problem) = audited {
                audit.problem(|| format!("series {:?}: {problem}", walk.labels()));
            }
            audit.samples += (samples.len() + rows.len()) as u64;
            let range = match (samples.times_ms.first(), samples.times_ms.last()) {
                (Some(&start_ms), Some(&end_ms)) => Some(TimeRange { start_ms, end_ms }),
                _ => self.range_of_rows(&rows),
            };
            if let Some(range @ TimeRange { start_ms, end_ms }) = range {
                let all = seen.get_or_insert(range);
                all.start_ms = all.start_ms.min(start_ms);
                all.end_ms = all.end_ms.max(end_ms);
                let told = walk.block.range;
                if !(told.contains(start_ms) && told.contains(end_ms)) {
                    audit.problem(|| format!("series {:?} has samples outside of its time", walk.labels()));
                }
            }
            before = labels;
        }
        if audit.series != self.footer.series {
            audit.problem(|| "the index has another number of series than the footer says".to_owned());
        }
        self.audit_index(&pairs, &mut audit);
        // With a part missing these must differ.
        if audit.is_sound() && (audit.samples != self.footer.samples || seen != self.footer.samples_range()) {
            audit.problem(|| "the footer tells other samples than there are".to_owned());
        }
        audit
    }

    fn audit_index(&self, pairs: &BTreeMap<(u32, u32), RoaringBitmap>, audit: &mut Audit) {
        let symbols = self.index.symbols();
        if (1..symbols).any(|n| self.index.symbol(n - 1) >= self.index.symbol(n)) {
            audit.problem(|| "the symbols of the index are out of order".to_owned());
        }
        let mut wanted = pairs.iter();
        let mut names = Vec::new();
        self.index.names(&mut |name| names.push(name.to_owned()));
        let mut differs = false;
        for name in names {
            self.index.values(&name, &mut |value, numbers| {
                differs |= wanted.next().is_none_or(|((n, v), series)| {
                    self.index.symbol(*n) != name || self.index.symbol(*v) != value || series != numbers
                });
            });
        }
        if differs || wanted.next().is_some() {
            audit.problem(|| "the index finds other series by their labels than it has".to_owned());
        }
    }

    /// Reads the rows of a series, and gives what is wrong with them.
    fn audit_rows(&self, block: Block, out: &mut Vec<RollupRow>) -> Result<(), String> {
        let at = || format!("cannot be read at {}", block.offset);
        let bytes = self.block_bytes(block).map_err(|_| at())?;
        let step_ms = i64::from(self.footer.step_s) * 1000;
        codec::decode(bytes, step_ms, &mut codec::Scratch::default(), out).ok_or_else(at)?;
        if !out.is_sorted_by(|a, b| a.end_ms < b.end_ms) {
            return Err("its rows are out of order".to_owned());
        }
        Ok(())
    }

    /// The steps of rows, as far as they lie in the window.
    fn range_of_rows(&self, rows: &[RollupRow]) -> Option<TimeRange> {
        let step_ms = i64::from(self.footer.step_s) * 1000;
        let start_ms = rows.first()?.end_ms.saturating_sub(step_ms).saturating_add(1);
        let end_ms = rows.last()?.end_ms.min(self.footer.until_ms - 1);
        Some(TimeRange { start_ms: start_ms.max(self.footer.from_ms), end_ms })
    }

    /// Reads a series, and gives what is wrong with it.
    fn audit_block(&self, block: Block, out: &mut SampleBuffer) -> Result<(), String> {
        let at = || format!("cannot be read at {}", block.offset);
        let mut chunks = self.chunks(block).map_err(|_| at())?;
        while let Some(chunk) = chunks.next().ok_or_else(at)? {
            let start = out.len();
            let told = chunk.summary;
            let decoded = with_decoder(|d| self.decode(&chunk, TimeRange::ALL, d, out));
            let between = || format!("from {} to {}", told.range.start_ms, told.range.end_ms);
            decoded.ok_or_else(|| format!("samples {} cannot be decoded", between()))?;
            let (times, values) = (&out.times_ms[start..], &out.values[start..]);
            let range = TimeRange { start_ms: times[0], end_ms: times[times.len() - 1] };
            if range != told.range || times.len() > SAMPLES_MAX || !times.is_sorted_by(|a, b| a < b) {
                return Err(format!("samples {} have other times", between()));
            }
            let same = |a: f64, b: f64| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            let agrees = match chunk.body {
                // Its summary follows from the value.
                Body::Constant(_) => true,
                Body::Histograms(_) => told.count == values.iter().filter(|v| !is_stale(**v)).count() as u64,
                Body::Floats(_) => {
                    let is = summarize(times, values);
                    let numbers = [is.sum, is.min, is.max, is.first, is.last];
                    let said = [told.sum, told.min, told.max, told.first, told.last];
                    (is.count, is.resets, is.special) == (told.count, told.resets, told.special)
                        && numbers.iter().zip(said).all(|(a, b)| same(*a, b))
                }
            };
            if !agrees {
                return Err(format!("the summary of the samples {} does not agree with them", between()));
            }
        }
        let mut exemplars = Vec::new();
        chunks.exemplars(&mut exemplars).ok_or_else(|| "its exemplars cannot be read".to_owned())?;
        if !exemplars.is_sorted_by_key(|e| e.time_ms) {
            return Err("its exemplars are out of order".to_owned());
        }
        Ok(())
    }
}
