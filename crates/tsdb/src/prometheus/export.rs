//! Makes blocks of what a store holds.

use std::path::{Path, PathBuf};

use vedette_model::{Matcher, MetricReader, SampleBuffer, TimeRange};
use vedette_sys::Random;

use super::{
    Progress, SERIES_PER_REPORT, block_writer::BlockWriter, error::BlockError, meta::Meta,
    selected::Selected, ulid,
};

/// More blocks are never meant.
const BLOCKS_MAX: i64 = 1_000_000;

/// Settings of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOptions {
    /// Time that one block covers, beginning at multiples of it. Default 2 hours, as Prometheus;
    /// 1 minute to 1 day.
    pub block_span_ms: i64,
    /// Size of one file of chunks. Default 512 MiB, the most that readers expect.
    pub chunk_file_bytes_max: u64,
    /// Time of now, which names the blocks.
    pub now_ms: i64,
}

impl ExportOptions {
    /// The defaults.
    pub fn new(now_ms: i64) -> Self {
        Self { block_span_ms: 2 * 3_600_000, chunk_file_bytes_max: 512 << 20, now_ms }
    }
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// The blocks, in order of time, each with its folder.
    pub blocks: Vec<(PathBuf, Meta)>,
    /// Samples in them.
    pub samples: u64,
}

/// Writes the samples in `range` of all series that satisfy all matchers of any set (all series
/// when there is none) as blocks below `folder`. The range must be a finite one, such as that of
/// the samples of the store. After an error the blocks that were complete are there.
pub fn export(
    reader: &dyn MetricReader,
    matcher_sets: &[Vec<Matcher>],
    range: TimeRange,
    folder: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<ExportReport, BlockError> {
    let span = options.block_span_ms;
    if !(60_000..=86_400_000).contains(&span) {
        let reason = format!("a block span of {span} ms; give one minute to one day");
        return Err(BlockError::Invalid { reason });
    }
    let (first, last) = (range.start_ms.div_euclid(span), range.end_ms.div_euclid(span));
    if last.saturating_sub(first) >= BLOCKS_MAX {
        let reason = format!("the range makes more than {BLOCKS_MAX} blocks; give a shorter one");
        return Err(BlockError::Invalid { reason });
    }
    std::fs::create_dir_all(folder).map_err(BlockError::io("make", folder))?;
    let mut random = Random::from_system();
    let mut report = ExportReport::default();
    for window in first..=last {
        let part = TimeRange {
            start_ms: range.start_ms.max(window * span),
            end_ms: range.end_ms.min((window + 1) * span - 1),
        };
        let selected = Selected::find(reader, matcher_sets, part)?;
        if selected.is_empty() {
            continue;
        }
        let name = ulid::new(options.now_ms, &mut random);
        let mut writer = BlockWriter::create(folder, name, options.chunk_file_bytes_max)?;
        let mut report_progress = |done: usize, samples: u64| {
            let within = done as f64 / selected.len() as f64;
            let fraction = ((window - first) as f64 + within) / (last - first + 1) as f64;
            progress(Progress { fraction, samples });
        };
        if let Err(error) = write_all(&mut writer, &selected, part, &mut report.samples, &mut report_progress)
        {
            writer.abandon();
            return Err(error);
        }
        report.blocks.extend(writer.finish()?);
    }
    progress(Progress { fraction: 1.0, samples: report.samples });
    Ok(report)
}

fn write_all(
    writer: &mut BlockWriter,
    selected: &Selected,
    range: TimeRange,
    written: &mut u64,
    progress: &mut dyn FnMut(usize, u64),
) -> Result<(), BlockError> {
    let mut samples = SampleBuffer::default();
    for series in 0..selected.len() {
        samples.clear();
        selected.read(series, range, &mut samples)?;
        writer.add(&selected.labels(series), &samples)?;
        *written += samples.len() as u64;
        if (series as u64).is_multiple_of(SERIES_PER_REPORT) {
            progress(series, *written);
        }
    }
    Ok(())
}
