//! Writes a segment: series by series in order of their labels, index and footer behind them,
//! to a temporary name; synced, then renamed.

use std::{
    io, mem,
    ops::Range,
    path::{Path, PathBuf},
};

use vedette_model::{Exemplar, Labels, ReadError, SampleBuffer, TimeRange};
use vedette_sys::{File, Fs};

use super::{
    Segment,
    block::{self, Body, Chunk, NewChunk, Times},
    columns::Columns,
    file_name,
    footer::{BASE_AT, Footer, Kind, header},
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

/// A part of a series that is put together.
pub enum Piece<'a> {
    /// Samples, by index, that are encoded.
    Samples(Range<usize>),
    /// A chunk that is copied as it stands in another segment.
    Chunk(&'a Segment, Chunk<'a>),
}

impl Piece<'_> {
    fn first_ms(&self, samples: &SampleBuffer) -> Option<i64> {
        match self {
            Self::Samples(range) => samples.times_ms[range.clone()].first().copied(),
            Self::Chunk(_, chunk) => Some(chunk.summary.range.start_ms),
        }
    }
}

/// What becomes a chunk, with the place of its times in the file.
enum Placed<'a> {
    Samples(Stretch, Times),
    Chunk(Chunk<'a>),
}

/// A segment that is being written.
pub struct SegmentWriter<'a> {
    fs: &'a dyn Fs,
    id: u64,
    rank: u64,
    temporary: PathBuf,
    path: PathBuf,
    file: Box<dyn File>,
    step_s: u32,
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
        Self::create_kind(fs, folder, id, effort, 0)
    }

    /// Begins rollups of steps of this length; `base_ms` is kept in the header.
    pub fn create_rollups(
        fs: &'a dyn Fs,
        folder: &Path,
        id: u64,
        step_s: u32,
        base_ms: i64,
    ) -> io::Result<Self> {
        let mut writer = Self::create_kind(fs, folder, id, Effort::Small, step_s)?;
        writer.set_base(base_ms);
        Ok(writer)
    }

    fn create_kind(fs: &'a dyn Fs, folder: &Path, id: u64, effort: Effort, step_s: u32) -> io::Result<Self> {
        let kind = if step_s == 0 { Kind::Samples } else { Kind::Rollups };
        let path = folder.join(file_name(id, kind));
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
            step_s,
            buffer: header(kind),
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

    /// Gives the texts, sorted, whose places [`SegmentWriter::add_pieces`] is given for labels.
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

    /// Adds a series put together of chunks of other segments and of samples, in order of time,
    /// with labels as places in the list of symbols. The outer error is that of reading.
    pub fn add_pieces(
        &mut self,
        labels: &[Pair],
        pieces: &[Piece<'_>],
        samples: &SampleBuffer,
        exemplars: &[Exemplar],
    ) -> Result<io::Result<()>, ReadError> {
        if let Some(block) = self.put_pieces(pieces, samples, exemplars)? {
            self.index.add_pairs(labels, block);
        }
        Ok(self.flush_full())
    }

    /// Adds a series whose block is written by the caller; `samples` is what it counts for.
    pub fn add_block(
        &mut self,
        labels: &[Pair],
        bytes: &[u8],
        range: TimeRange,
        samples: u64,
    ) -> io::Result<()> {
        let block = Block { offset: self.end(), bytes: bytes.len() as u64, range };
        self.buffer.extend_from_slice(bytes);
        self.range.start_ms = self.range.start_ms.min(range.start_ms);
        self.range.end_ms = self.range.end_ms.max(range.end_ms);
        self.samples += samples;
        self.index.add_pairs(labels, block);
        self.flush_full()
    }

    /// Number of series added so far. A segment of none cannot be finished.
    pub fn series(&self) -> usize {
        self.index.len()
    }

    /// Writes index and footer, syncs, and gives the file its final name, which is returned. At
    /// least one series was added, and no sample outside of `from_ms..until_ms`.
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
        if self.samples == 0 {
            // Exemplars alone.
            self.range = TimeRange { start_ms: from_ms, end_ms: until_ms - 1 };
        }
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
            step_s: self.step_s,
        };
        self.write()?;
        self.file.append(&index)?;
        self.file.append(&footer.encode())?;
        self.file.sync()?;
        self.fs.rename(&self.temporary, &self.path)?;
        Ok(self.path.clone())
    }

    /// Puts the base into the header, which is not written yet.
    fn set_base(&mut self, base_ms: i64) -> i64 {
        self.buffer[BASE_AT..BASE_AT + 8].copy_from_slice(&base_ms.to_le_bytes());
        *self.base_ms.insert(base_ms)
    }

    /// Place in the file where the next byte goes.
    fn end(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn put_block(&mut self, samples: &SampleBuffer, exemplars: &[Exemplar]) -> Option<Block> {
        let all = [Piece::Samples(0..samples.len())];
        self.put_pieces(&all, samples, exemplars).expect("BUG: samples in memory cannot be damaged")
    }

    fn put_pieces(
        &mut self,
        pieces: &[Piece<'_>],
        samples: &SampleBuffer,
        exemplars: &[Exemplar],
    ) -> Result<Option<Block>, ReadError> {
        // Columns come before the block that needs them, so its own place is known only then.
        let mut parts = Vec::new();
        let base_ms = match self.base_ms {
            Some(base_ms) => base_ms,
            None => {
                let first_ms = pieces.iter().find_map(|p| p.first_ms(samples));
                let Some(first_ms) = first_ms.or(exemplars.first().map(|e| e.time_ms)) else {
                    return Ok(None);
                };
                self.set_base(first_ms)
            }
        };
        for piece in pieces {
            match piece {
                Piece::Samples(range) => self.place_samples(samples, range.clone(), &mut parts),
                Piece::Chunk(segment, chunk) => {
                    let mut chunk = chunk.clone();
                    if let Times::Column { offset, .. } = &mut chunk.times {
                        let end = self.written + self.buffer.len() as u64;
                        let read = || segment.column_at(*offset);
                        *offset = self.columns.copy((segment.id, *offset), read, end, &mut self.buffer)?;
                    }
                    parts.push(Placed::Chunk(chunk));
                }
            }
        }
        if parts.is_empty() && exemplars.is_empty() {
            return Ok(None);
        }
        let offset = self.end();
        let mut range = TimeRange { start_ms: i64::MAX, end_ms: i64::MIN };
        let mut before_ms = base_ms;
        let mut block = mem::take(&mut self.block);
        block.clear();
        for part in parts {
            let of = match part {
                Placed::Samples(stretch, times) => {
                    let times_ms = &samples.times_ms[stretch.range()];
                    let of = TimeRange { start_ms: times_ms[0], end_ms: times_ms[times_ms.len() - 1] };
                    self.samples += times_ms.len() as u64;
                    self.put_chunk(samples, stretch, times, (offset, before_ms), &mut block);
                    of
                }
                Placed::Chunk(chunk) => {
                    self.samples += chunk.count as u64;
                    block::put_chunk(&chunk.copied(), offset, before_ms, &mut block);
                    chunk.summary.range
                }
            };
            before_ms = of.end_ms;
            range = TimeRange { start_ms: range.start_ms.min(of.start_ms), end_ms: of.end_ms };
        }
        if !exemplars.is_empty() {
            block::put_exemplars(exemplars, base_ms, &mut block);
        }
        let bytes = block.len() as u64;
        self.buffer.extend_from_slice(&block);
        self.block = block;
        self.range.start_ms = self.range.start_ms.min(range.start_ms);
        self.range.end_ms = self.range.end_ms.max(range.end_ms);
        Ok(Some(Block { offset, bytes, range }))
    }

    /// Splits samples into chunks and places the columns of their times.
    fn place_samples<'p>(&mut self, samples: &SampleBuffer, range: Range<usize>, out: &mut Vec<Placed<'p>>) {
        let histograms = samples.histograms.partition_point(|(i, _)| (*i as usize) < range.start);
        let floats_only = samples.histograms.get(histograms).is_none_or(|(i, _)| *i as usize >= range.end);
        let constant = floats_only && values::is_constant(&samples.values[range.clone()]);
        let floats_max = if constant { SAMPLES_MAX } else { CHUNK_SAMPLES };
        for stretch in stretches(samples, range, floats_max) {
            let times_ms = &samples.times_ms[stretch.range()];
            let times = Times::regular(times_ms).unwrap_or_else(|| {
                let end = self.end();
                let offset =
                    self.columns.place(times_ms, self.effort, &mut self.encoder, end, &mut self.buffer);
                Times::Column { first_ms: times_ms[0], last_ms: times_ms[times_ms.len() - 1], offset }
            });
            out.push(Placed::Samples(stretch, times));
        }
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
