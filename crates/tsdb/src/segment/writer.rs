//! Writes a segment: series by series in order of their labels, index and footer behind them,
//! to a temporary name; synced, then renamed.

use std::{
    io,
    path::{Path, PathBuf},
};

use vedette_model::{Labels, SampleBuffer, TimeRange};
use vedette_sys::{File, Fs};

use super::{
    Footer,
    directory::{self, ChunkEntry},
    file_name, header,
    index::{Block, IndexBuilder},
};
use crate::chunk::{Effort, Encoder, SAMPLES_MAX, summarize};

/// Bytes gathered before one write(2).
const BUFFER_BYTES: usize = 256 << 10;

/// A segment that is being written.
pub struct SegmentWriter<'a> {
    fs: &'a dyn Fs,
    temporary: PathBuf,
    path: PathBuf,
    file: Box<dyn File>,
    buffer: Vec<u8>,
    written: u64,
    index: IndexBuilder,
    encoder: Encoder,
    effort: Effort,
    range: TimeRange,
    samples: u64,
    chunks: Vec<u8>,
    entries: Vec<ChunkEntry>,
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
            temporary,
            path,
            file,
            buffer: header(),
            written: 0,
            index: IndexBuilder::default(),
            encoder: Encoder::default(),
            effort,
            range: TimeRange { start_ms: i64::MAX, end_ms: i64::MIN },
            samples: 0,
            chunks: Vec::new(),
            entries: Vec::new(),
        })
    }

    /// Adds a series, which must come after those before in the order of labels. One without
    /// samples is left out.
    pub fn add(&mut self, labels: &Labels, samples: &SampleBuffer) -> io::Result<()> {
        let (Some(&start_ms), Some(&end_ms)) = (samples.times_ms.first(), samples.times_ms.last()) else {
            return Ok(());
        };
        self.chunks.clear();
        self.entries.clear();
        // Chunks of about equal size, as a short one at the end compresses badly.
        let count = samples.len().div_ceil(SAMPLES_MAX);
        let size = samples.len().div_ceil(count);
        for (times_ms, values) in samples.times_ms.chunks(size).zip(samples.values.chunks(size)) {
            let start = self.chunks.len();
            self.encoder.encode(times_ms, values, self.effort, &mut self.chunks);
            let chunk = &self.chunks[start..];
            self.entries.push(ChunkEntry {
                bytes: chunk.len() as u64,
                crc: crc32fast::hash(chunk),
                summary: summarize(times_ms, values),
            });
        }
        let offset = self.written + self.buffer.len() as u64;
        let before = self.buffer.len();
        directory::encode(&self.entries, &mut self.buffer);
        let directory_bytes = (self.buffer.len() - before) as u64;
        self.buffer.extend_from_slice(&self.chunks);
        let bytes = directory_bytes + self.chunks.len() as u64;
        let range = TimeRange { start_ms, end_ms };
        self.index.add(labels, Block { offset, directory_bytes, bytes, range });
        self.range.start_ms = self.range.start_ms.min(start_ms);
        self.range.end_ms = self.range.end_ms.max(end_ms);
        self.samples += samples.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Number of series added so far.
    pub fn series(&self) -> usize {
        self.index.len()
    }

    /// Writes index and footer, syncs, and gives the file its final name, which is returned. At
    /// least one series was added, with no sample outside of `from_ms..until_ms`.
    pub fn finish(mut self, from_ms: i64, until_ms: i64, sources: Vec<u64>) -> io::Result<PathBuf> {
        let result = self.finish_parts(from_ms, until_ms, sources);
        if result.is_err() {
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
        let series = self.index.len() as u64;
        let index = std::mem::take(&mut self.index).finish();
        let footer = Footer {
            from_ms,
            until_ms,
            range: self.range,
            samples: self.samples,
            series,
            sources,
            index_offset: self.written + self.buffer.len() as u64,
            index_bytes: index.len() as u64,
            index_crc: crc32fast::hash(&index),
        };
        assert!(
            from_ms <= self.range.start_ms && self.range.end_ms < until_ms,
            "BUG: a segment from {from_ms} until {until_ms} with samples of {:?}",
            self.range
        );
        self.buffer.extend_from_slice(&index);
        self.buffer.extend_from_slice(&footer.encode());
        self.flush()?;
        self.file.sync()?;
        self.fs.rename(&self.temporary, &self.path)?;
        Ok(self.path.clone())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.append(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
