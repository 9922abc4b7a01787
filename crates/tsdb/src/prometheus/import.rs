//! Makes segments of blocks.
//!
//! A segment covers one day at most. For each day the blocks that have samples in it are gone
//! through side by side, series by series; where several have a series its samples are merged.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use vedette_model::{Labels, SampleBuffer, TimeRange};
use vedette_sys::{Fs, RealFs, SystemClock};

use super::{
    Progress, SERIES_PER_REPORT,
    block::{self, Block, BlockReader},
    encoding::Refused,
    error::BlockError,
    index::SeriesEntry,
    merge::merge,
    meta::Meta,
};
use crate::{
    Config, Tsdb,
    chunk::Effort,
    deletions::Deletions,
    segment::{self, Kind, SegmentWriter},
};

const DAY_MS: i64 = 24 * 3_600_000;

/// No block covers more days; one that says so is damaged.
const DAYS_MAX: i64 = 100_000;

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Blocks that were read.
    pub blocks: u64,
    /// Segments that were made of them.
    pub segments: Vec<PathBuf>,
    /// Series, counted in each segment.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Times of the first and last sample.
    pub range: Option<TimeRange>,
    /// What was left out.
    pub refused: Refused,
}

/// Adds the samples of blocks to the store in `folder`, which no process has open: whoever calls
/// this holds the lock. Each path is a block or a folder of blocks, such as the data folder of
/// Prometheus. After an error the store is as it was before.
///
/// Blocks that reach into the time of samples that are in the log of the store and in no segment
/// yet, or beyond `now_ms`, are refused: what a segment covers counts as sealed.
pub fn import(
    folder: &Path,
    blocks: &[PathBuf],
    now_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, BlockError> {
    let blocks = block::find(blocks)?;
    let unsealed_ms = first_unsealed(folder)?;
    for (path, meta) in &blocks {
        check_end(path, meta, now_ms, unsealed_ms)?;
    }
    let segments = folder.join("segments");
    RealFs.create_dir_all(&segments).map_err(BlockError::io("make", &segments))?;
    let mut import = Import {
        next_id: next_id(folder, &segments)?,
        segments,
        report: ImportReport { blocks: blocks.len() as u64, ..ImportReport::default() },
        done: 0,
        total: 0,
        progress,
    };
    let result = import.all(&blocks);
    if result.is_err() {
        for path in &import.report.segments {
            // What cannot be removed is a segment like any other: its samples are sound.
            let _ = RealFs.remove(path);
        }
    }
    result.map(|()| import.report)
}

/// The first time in the log of the store that is in no segment.
fn first_unsealed(folder: &Path) -> Result<Option<i64>, BlockError> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let opened = Tsdb::open(Config::new(folder), Arc::new(RealFs), Arc::new(SystemClock));
    let (store, _) = opened.map_err(|error| BlockError::Invalid {
        reason: format!("the metric store in {} cannot be opened: {error}", folder.display()),
    })?;
    let first_ms = store.head_first_ms.load(Ordering::Acquire);
    Ok((first_ms < i64::MAX).then_some(first_ms))
}

fn check_end(path: &Path, meta: &Meta, now_ms: i64, unsealed_ms: Option<i64>) -> Result<(), BlockError> {
    if meta.max_time > now_ms.saturating_add(1) {
        let reason =
            format!("block {} has samples of the future; check the clock of this machine", path.display());
        return Err(BlockError::Invalid { reason });
    }
    if unsealed_ms.is_some_and(|first| meta.max_time > first) {
        let reason = format!(
            "block {} reaches into the last minutes of the store, which are not sealed yet; leave it out, or let \
             Vedette run for half an hour more before it is stopped",
            path.display()
        );
        return Err(BlockError::Invalid { reason });
    }
    Ok(())
}

fn next_id(folder: &Path, segments: &Path) -> Result<u64, BlockError> {
    // A deletion that is still to be carried out must not concern what is imported after it.
    let deletions = Deletions::load(&RealFs, folder)
        .map_err(|error| BlockError::Invalid { reason: error.to_string() })?;
    let list = RealFs.list(segments).map_err(BlockError::io("list", segments))?;
    let last = list.iter().filter_map(|path| segment::file_id(path)).max().unwrap_or(0);
    // Rollups name what they were made of by numbers, and draw theirs from the same sequence.
    let rollups = folder.join("rollups");
    let list = if RealFs.exists(&rollups) { RealFs.list(&rollups) } else { Ok(Vec::new()) };
    let list = list.map_err(BlockError::io("list", &rollups))?;
    let last = list.iter().filter_map(|path| segment::file_id_of(path, Kind::Rollups)).fold(last, u64::max);
    Ok((last + 1).max(deletions.deletions.next_segment()))
}

struct Import<'a> {
    segments: PathBuf,
    next_id: u64,
    report: ImportReport,
    /// Series gone through, and all there are, those of a block counted for each of its days.
    done: u64,
    total: u64,
    progress: &'a mut dyn FnMut(Progress),
}

/// Days since the epoch in which a block has samples.
fn days(folder: &Path, meta: &Meta) -> Result<std::ops::RangeInclusive<i64>, BlockError> {
    let (first, last) =
        (meta.min_time.div_euclid(DAY_MS), (meta.max_time - 1).max(meta.min_time).div_euclid(DAY_MS));
    if last - first > DAYS_MAX {
        let reason = format!("it covers {} days, more than {DAYS_MAX}", last - first);
        return Err(BlockError::damaged(&folder.join(super::meta::FILE), 0, reason));
    }
    Ok(first..=last)
}

impl Import<'_> {
    fn all(&mut self, blocks: &[(PathBuf, Meta)]) -> Result<(), BlockError> {
        let mut with_days = Vec::new();
        let mut all_days = BTreeSet::new();
        for (folder, meta) in blocks {
            let days = days(folder, meta)?;
            all_days.extend(days.clone());
            self.total += meta.stats.num_series.saturating_mul(days.clone().count() as u64);
            with_days.push((folder, days));
        }
        let mut open: Vec<Block> = Vec::new();
        for day in all_days {
            open.retain(|block| days(&block.folder, &block.meta).is_ok_and(|days| days.contains(&day)));
            for (folder, _) in with_days.iter().filter(|(_, days)| days.contains(&day)) {
                if open.iter().all(|block| block.folder != **folder) {
                    open.push(Block::open(folder)?);
                }
            }
            self.day(&open, day)?;
        }
        (self.progress)(Progress { fraction: 1.0, samples: self.report.samples });
        Ok(())
    }

    fn day(&mut self, blocks: &[Block], day: i64) -> Result<(), BlockError> {
        let folder = self.segments.clone();
        let fail = BlockError::io("write a segment below", &folder);
        let writer = SegmentWriter::create(&RealFs, &folder, self.next_id, Effort::Small).map_err(fail)?;
        let mut writer = Day { writer, first_ms: i64::MAX, last_ms: i64::MIN, samples: 0, series: 0 };
        if let Err(error) = self.fill(&mut writer, blocks, day) {
            writer.writer.abandon();
            return Err(error);
        }
        if writer.samples == 0 {
            writer.writer.abandon();
            return Ok(());
        }
        let (start_ms, end_ms) = (writer.first_ms, writer.last_ms);
        let path = writer
            .writer
            .finish(start_ms, end_ms + 1, Vec::new())
            .map_err(BlockError::io("write a segment below", &folder))?;
        self.next_id += 1;
        let report = &mut self.report;
        report.segments.push(path);
        report.series += writer.series;
        report.samples += writer.samples;
        let range = report.range.get_or_insert(TimeRange { start_ms, end_ms });
        range.start_ms = range.start_ms.min(start_ms);
        range.end_ms = range.end_ms.max(end_ms);
        Ok(())
    }

    fn fill(&mut self, out: &mut Day<'_>, blocks: &[Block], day: i64) -> Result<(), BlockError> {
        let range = TimeRange { start_ms: day * DAY_MS, end_ms: (day + 1) * DAY_MS - 1 };
        let mut sources = blocks.iter().map(Source::new).collect::<Result<Vec<_>, _>>()?;
        let (mut samples, mut more) = (SampleBuffer::default(), SampleBuffer::default());
        while let Some(labels) = sources.iter().filter_map(Source::labels).min().cloned() {
            samples.clear();
            for source in sources.iter_mut().filter(|s| s.labels() == Some(&labels)) {
                source.take(range, &mut more, &mut self.report.refused)?;
                if samples.is_empty() {
                    std::mem::swap(&mut samples, &mut more);
                } else if samples.times_ms.last() < more.times_ms.first() {
                    samples.extend_from(&more);
                } else {
                    samples = merge(&samples, &more);
                }
                self.done += 1;
            }
            let added = out.add(&labels, &samples);
            added.map_err(BlockError::io("write a segment below", &self.segments))?;
            if self.done.is_multiple_of(SERIES_PER_REPORT) {
                let fraction = (self.done as f64 / self.total.max(1) as f64).min(1.0);
                (self.progress)(Progress { fraction, samples: self.report.samples + out.samples });
            }
        }
        Ok(())
    }
}

/// The segment of one day.
struct Day<'a> {
    writer: SegmentWriter<'a>,
    first_ms: i64,
    last_ms: i64,
    samples: u64,
    series: u64,
}

impl Day<'_> {
    fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> std::io::Result<()> {
        let (Some(&first_ms), Some(&last_ms)) = (samples.times_ms.first(), samples.times_ms.last()) else {
            return Ok(());
        };
        self.first_ms = self.first_ms.min(first_ms);
        self.last_ms = self.last_ms.max(last_ms);
        self.samples += samples.len() as u64;
        self.series += 1;
        self.writer.add(labels, samples)
    }
}

/// One block on its way through a day.
struct Source<'a> {
    reader: BlockReader<'a>,
    next: Option<SeriesEntry>,
    block: TimeRange,
}

impl<'a> Source<'a> {
    fn new(block: &'a Block) -> Result<Self, BlockError> {
        let mut reader = block.reader()?;
        let next = reader.next()?;
        // Samples beyond what the block says of itself are none of its own, as in Prometheus.
        let own = TimeRange { start_ms: block.meta.min_time, end_ms: block.meta.max_time.saturating_sub(1) };
        Ok(Self { reader, next, block: own })
    }

    fn labels(&self) -> Option<&Labels> {
        self.next.as_ref().map(|series| &series.labels)
    }

    /// The samples of the series that it stands at; then it stands at the next.
    fn take(
        &mut self,
        range: TimeRange,
        out: &mut SampleBuffer,
        refused: &mut Refused,
    ) -> Result<(), BlockError> {
        let range = TimeRange {
            start_ms: range.start_ms.max(self.block.start_ms),
            end_ms: range.end_ms.min(self.block.end_ms),
        };
        if let Some(series) = &self.next {
            self.reader.read(series, range, out, refused)?;
        }
        self.next = self.reader.next()?;
        Ok(())
    }
}
