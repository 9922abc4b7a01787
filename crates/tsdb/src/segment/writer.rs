//! Writes a segment: series by series in order of their labels, index and footer behind them,
//! to a temporary name; synced, then renamed.

use std::{
    io, mem,
    path::{Path, PathBuf},
};

use vedette_model::{Exemplar, Labels, SampleBuffer, TimeRange};
use vedette_sys::{File, Fs};

use super::{
    block::{self, Body, NewChunk, Times},
    columns::Columns,
    file_name,
    footer::{BASE_AT, Footer, header},
    index::Block,
    index_builder::{IndexBuilder, Pair},
    pages::PageSums,
};
use crate::chunk::{self, Effort, Encoder, SAMPLES_MAX, Stretch, starts, stretches, summarize, values};

/// Bytes gathered before one write(2).
const BUFFER_BYTES: usize = 256 << 10;

/// Samples in one chunk, unless they are all the same: more are hardly shorter, and whoever wants
/// a few has to decode them all.
const CHUNK_SAMPLES: usize = 2048;

/// A segment that is being written.
pub struct SegmentWriter<'a> {
    fs: &'a dyn Fs,
    id: u64,
    rank: u64,
    temporary: PathBuf,
    path: PathBuf,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    base_ms: Option<i64>,
    pages: PageSums,
    index: IndexBuilder,
    columns: Columns,
    encoder: Encoder,
    effort: Effort,
    range: TimeRange,
    samples: u64,
    block: Vec<u8>,
    starts: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a> SegmentWriter<'a> {
    /// Begins segment `id` in `folder`.
    pub fn create(fs: &'a dyn Fs, folder: &Path, id: u64, effort: Effort) -> io::Result<Self> {
        let path = folder.join(file_name(id));
        let temporary = path.with_extension("tmp");
        let mut file = fs.open_append(&temporary)?;
        if !file.is_empty()? {
            file.truncate(0)?;
        }
        Ok(Self {
            fs,
            id,
            rank: id,
            temporary,
            path,
            file,
            buffer: header(),
            written: 0,
            base_ms: None,
            pages: PageSums::default(),
            index: IndexBuilder::default(),
            columns: Columns::default(),
            encoder: Encoder::default(),
            effort,
            range: TimeRange { start_ms: i64::MAX, end_ms: i64::MIN },
            samples: 0,
            block: Vec::new(),
            starts: Vec::new(),
            payload: Vec::new(),
        })
    }

    /// Sets the rank, where the segment stands for older ones.
    pub fn set_rank(&mut self, rank: u64) {
        self.rank = rank;
    }

    /// Makes room for so many series.
    pub fn expect_series(&mut self, series: usize) {
        self.index.reserve(series);
    }

    /// Gives the texts, sorted, whose places [`SegmentWriter::add_pairs`] is given for labels.
    pub fn set_symbols(&mut self, texts: Vec<Box<str>>) {
        self.index = IndexBuilder::with_symbols(texts);
    }

    /// Adds a series, which must come after those before in the order of labels. One without
    /// samples is left out.
    pub fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> io::Result<()> {
        self.add_with_exemplars(labels, samples, &[])
    }

    /// Adds a series with exemplars, which are in order of time. One without samples and exemplars
    /// is left out.
    pub fn add_with_exemplars(
        &mut self,
        labels: &Labels,
        samples: &SampleBuffer,
        exemplars: &[Exemplar],
    ) -> io::Result<()> {
        if let Some(block) = self.put_block(samples, exemplars) {
            self.index.add(labels, block);
        }
        self.flush_full()
    }

    /// As [`SegmentWriter::add_with_exemplars`], with labels as places in the list of symbols.
    pub fn add_pairs(
        &mut self,
        labels: &[Pair],
        samples: &SampleBuffer,
        exemplars: &[Exemplar],
    ) -> io::Result<()> {
        if let Some(block) = self.put_block(samples, exemplars) {
            self.index.add_pairs(labels, block);
        }
        self.flush_full()
    }

    /// Number of series added so far; 0 as long as none has a sample. A segment of no sample
    /// cannot be finished.
    pub fn series(&self) -> usize {
        if self.samples == 0 { 0 } else { self.index.len() }
    }

    /// Writes index and footer, syncs, and gives the file its final name, which is returned. At
    /// least one sample was added, and none outside of `from_ms..until_ms`.
    pub fn finish(mut self, from_ms: i64, until_ms: i64, sources: Vec<u64>) -> io::Result<PathBuf> {
        let result = self.finish_parts(from_ms, until_ms, sources);
        if result.is_err() {
            // It may have its name already, and only the sync of the folder failed.
            let _ = self.fs.remove(&self.path);
            self.abandon();
        }
        result
    }

    /// Gives up; what was written is removed.
    pub fn abandon(self) {
        // What stays behind here is removed at the next start.
        let _ = self.fs.remove(&self.temporary);
    }

    fn finish_parts(&mut self, from_ms: i64, until_ms: i64, sources: Vec<u64>) -> io::Result<PathBuf> {
        assert!(
            from_ms <= self.range.start_ms && self.range.end_ms < until_ms,
            "BUG: a segment from {from_ms} until {until_ms} with samples of {:?}",
            self.range
        );
        let series = self.index.len() as u64;
        self.pages.add(&self.buffer);
        let mut index = mem::take(&mut self.pages).finish();
        index.append(&mut mem::take(&mut self.index).finish(self.range)?);
        let footer = Footer {
            from_ms,
            until_ms,
            range: self.range,
            samples: self.samples,
            series,
            sources,
            rank: self.rank.min(self.id),
            index_offset: self.end(),
            index_bytes: index.len() as u64,
            index_crc: crc32fast::hash(&index),
        };
        self.write()?;
        self.file.append(&index)?;
        self.file.append(&footer.encode())?;
        self.file.sync()?;
        self.fs.rename(&self.temporary, &self.path)?;
        Ok(self.path.clone())
    }

    /// Place in the file where the next byte goes.
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put_block(&mut self, samples: &SampleBuffer, exemplars: &[Exemplar]) -> Option<Block> {
        let first_ms = samples.times_ms.first().or(exemplars.first().map(|e| &e.time_ms)).copied()?;
        let base_ms = *self.base_ms.get_or_insert_with(|| {
            self.buffer[BASE_AT..BASE_AT + 8].copy_from_slice(&first_ms.to_le_bytes());
            first_ms
        });
        // Columns come before the block that needs them, so its own place is known only then.
        let mut times = Vec::new();
        let constant = samples.histograms.is_empty() && values::is_constant(&samples.values);
        let floats_max = if constant { SAMPLES_MAX } else { CHUNK_SAMPLES };
        for stretch in stretches(samples, 0..samples.len(), floats_max) {
            let times_ms = &samples.times_ms[stretch.range()];
            let place = Times::regular(times_ms).unwrap_or_else(|| {
                let end = self.end();
                let offset =
                    self.columns.place(times_ms, self.effort, &mut self.encoder, end, &mut self.buffer);
                Times::Column { first_ms: times_ms[0], last_ms: times_ms[times_ms.len() - 1], offset }
            });
            times.push((stretch, place));
        }
        let offset = self.end();
        let mut before_ms = base_ms;
        let mut block = mem::take(&mut self.block);
        block.clear();
        for (stretch, times) in times {
            let last_ms = samples.times_ms[stretch.range().end - 1];
            self.put_chunk(samples, stretch, times, (offset, before_ms), &mut block);
            before_ms = last_ms;
        }
        if !exemplars.is_empty() {
            block::put_exemplars(exemplars, base_ms, &mut block);
        }
        let bytes = block.len() as u64;
        self.buffer.extend_from_slice(&block);
        self.block = block;
        let mut range = TimeRange { start_ms: i64::MAX, end_ms: i64::MIN };
        if let (Some(&start_ms), Some(&end_ms)) = (samples.times_ms.first(), samples.times_ms.last()) {
            range = TimeRange { start_ms, end_ms };
            self.range.start_ms = self.range.start_ms.min(start_ms);
            self.range.end_ms = self.range.end_ms.max(end_ms);
            self.samples += samples.len() as u64;
        }
        Some(Block { offset, bytes, range })
    }

    fn put_chunk(
        &mut self,
        samples: &SampleBuffer,
        stretch: Stretch,
        times: Times,
        (offset, before_ms): (u64, i64),
        out: &mut Vec<u8>,
    ) {
        let within = stretch.range();
        let times_ms = &samples.times_ms[within.clone()];
        let range = TimeRange { start_ms: times_ms[0], end_ms: times_ms[times_ms.len() - 1] };
        self.starts.clear();
        if let Some(starts_ms) = samples.starts_ms.get(within.clone()).filter(|s| s.iter().any(|&s| s != 0)) {
            starts::encode(starts_ms, range.start_ms, &mut self.starts);
        }
        self.payload.clear();
        let floats = &samples.values[within.clone()];
        let (body, summary, exponent) = match stretch {
            Stretch::Floats(_) if values::is_constant(floats) => {
                let summary = chunk::summarize_constant(range, floats.len(), floats[0]);
                (Body::Constant(floats[0]), summary, None)
            }
            Stretch::Floats(_) => {
                let exponent =
                    values::encode(floats, self.effort, &mut self.encoder.values, &mut self.payload);
                (Body::Floats(&self.payload), summarize(times_ms, floats), exponent)
            }
            Stretch::Histograms(_, which) => {
                let histograms = &samples.histograms[which];
                let Encoder { histograms: scratch, values, .. } = &mut self.encoder;
                chunk::histograms::encode(histograms, self.effort, scratch, values, &mut self.payload);
                (Body::Histograms(&self.payload), block::summarize_histograms(range, floats), None)
            }
        };
        let chunk = NewChunk { count: within.len(), times, starts: &self.starts, body, summary, exponent };
        block::put_chunk(&chunk, offset, before_ms, out);
    }

    fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < BUFFER_BYTES {
            return Ok(());
        }
        self.pages.add(&self.buffer);
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
