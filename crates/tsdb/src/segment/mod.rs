//! Sealed samples in immutable files.
//!
//! `docs/formats/tsdb-segment.md` describes the file byte by byte. Invariants: a segment has its
//! final name only when it is whole and synced; every byte that is read is covered by a
//! checksum; damage gives an error that names the place. The file is mapped and read in place, so
//! that a segment costs next to no memory of its own.

mod audit;
mod block;
mod columns;
mod flips;
mod footer;
mod index;
mod index_builder;
mod pages;
mod rescue;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use vedette_model::{ChunkSummary, Exemplar, ReadError, SampleBuffer, Thinning, TimeRange};
use vedette_sys::{Fs, Map};

use crate::{
    bytes::Cursor,
    chunk::{Decoder, histograms, starts, times, values, with_decoder},
};

pub use audit::Audit;
pub use block::{Body, Chunk, Times};
pub use footer::{Footer, HEADER_BYTES, Kind};
pub use index::{Block, Index, Walk};
pub use rescue::{Hopeless, Rescue};
pub use writer::{Piece, SegmentWriter};

use block::Chunks;
use pages::{PAGE_BYTES, Pages};

/// Bytes that the length of a time column takes at most.
const LENGTH_BYTES_MAX: usize = 10;

/// Why a file is not opened as a segment.
#[derive(Debug)]
pub enum OpenError {
    /// The machine refused.
    Io(std::io::Error),
    /// It is damaged, and how.
    Damaged(&'static str),
    /// A later release wrote it.
    Newer(u32),
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Damaged("it ends too early"),
            _ => Self::Io(error),
        }
    }
}

/// An open segment. The file stays readable when it has been removed in the meantime.
pub struct Segment {
    /// Its number, which grows with each segment written.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// What it holds.
    pub footer: Footer,
    map: Arc<dyn Map>,
    base_ms: i64,
    pages: Pages,
    index: Index,
    used: AtomicBool,
    /// Set when a read found damage: it is not compacted any more, so that nothing is lost.
    pub damaged: AtomicBool,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("id", &self.id).field("footer", &self.footer).finish_non_exhaustive()
    }
}

/// Lengths of the parts of a file.
pub struct Sizes {
    /// Header, blocks and columns.
    pub data: u64,
    /// Checksums of pages.
    pub page_sums: u64,
    /// Index.
    pub index: u64,
    /// Sources and footer.
    pub footer: u64,
}

/// Name of the file of a segment.
pub fn file_name(id: u64, kind: Kind) -> String {
    format!("{id:016x}.{}", kind.extension())
}

/// Number of the segment in a file of that name.
pub fn file_id(path: &Path) -> Option<u64> {
    file_id_of(path, Kind::Samples)
}

/// As [`file_id`], for files of a kind.
pub fn file_id_of(path: &Path, kind: Kind) -> Option<u64> {
    let hex = path.file_name()?.to_str()?.strip_suffix(kind.extension())?.strip_suffix('.')?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

/// How chunks are thinned out.
#[derive(Debug, Clone, Copy)]
pub struct Thin {
    pub thinning: Thinning,
    /// From here on there are samples elsewhere that may count instead, so that all are needed.
    pub before_ms: i64,
}

impl Thin {
    fn of(self, chunk: &Chunk<'_>, range: TimeRange, out: &mut SampleBuffer) -> Option<u64> {
        let own = chunk.summary.range;
        let is_whole = range.start_ms <= own.start_ms && own.end_ms <= range.end_ms;
        let is_alone = own.end_ms < self.before_ms;
        (is_whole && is_alone && chunk.is_plain()).then(|| self.thinning.of(&chunk.summary, out)).flatten()
    }
}

impl Segment {
    /// Opens a file and checks its header, footer and index.
    pub fn open(fs: &dyn Fs, path: PathBuf, id: u64) -> Result<Self, OpenError> {
        Self::open_kind(fs, path, id, Kind::Samples)
    }

    /// As [`Segment::open`], for files of a kind.
    pub fn open_kind(fs: &dyn Fs, path: PathBuf, id: u64, kind: Kind) -> Result<Self, OpenError> {
        Self::from_map(fs.map(&path)?, path, id, kind)
    }

    fn from_map(map: Arc<dyn Map>, path: PathBuf, id: u64, kind: Kind) -> Result<Self, OpenError> {
        let base_ms = footer::check_header(&map, kind)?;
        let footer = Footer::read(&map)?;
        let data_bytes = footer.index_offset as usize;
        let end = data_bytes + footer.index_bytes as usize;
        if crc32fast::hash(&map[data_bytes..end]) != footer.index_crc {
            return Err(OpenError::Damaged("the checksum of its index does not match"));
        }
        if (footer.step_s == 0) != (kind == Kind::Samples) {
            return Err(OpenError::Damaged("its footer is of another kind than its header"));
        }
        let index_at = data_bytes + data_bytes.div_ceil(PAGE_BYTES) * 4;
        let index = (index_at <= end)
            .then(|| Index::new(Arc::clone(&map), index_at..end, footer.range))
            .flatten()
            .ok_or(OpenError::Damaged("its index is not well-formed"))?;
        if index.len() as u64 != footer.series {
            return Err(OpenError::Damaged("its index has another number of series than its footer"));
        }
        // Opening has touched all of the index; until somebody asks it need not be in memory.
        map.release();
        let segment = Self {
            id,
            path,
            bytes: map.len() as u64,
            footer,
            base_ms,
            pages: Pages::new(data_bytes),
            map,
            index,
            used: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        };
        // What the header of rollups says counts for all series, and is asked for without reading any.
        if kind == Kind::Rollups && segment.data(0, HEADER_BYTES as u64).is_none() {
            return Err(OpenError::Damaged("the checksum of its first page does not match"));
        }
        Ok(segment)
    }

    /// The index.
    pub fn index(&self) -> &Index {
        self.used.store(true, Ordering::Relaxed);
        &self.index
    }

    /// What the header says: the time that blocks count from; for rollups see [`crate::rollup`].
    pub fn base_ms(&self) -> i64 {
        self.base_ms
    }

    /// Gives the memory back if nobody has asked for the segment since this was called last.
    pub fn release_if_idle(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            self.release();
        }
    }

    /// Gives the memory back: what is needed again is read from the disk, and checked, anew.
    pub fn release(&self) {
        self.map.release();
        self.pages.forget();
    }

    /// Heap memory.
    pub fn heap_bytes(&self) -> usize {
        self.pages.heap_bytes()
    }

    /// Appends the samples of a series in `range` to `out`, in order of time.
    pub fn read(&self, block: Block, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        self.read_thinned(block, range, None, out).map(|_| ())
    }

    /// The same, of chunks that lie in `range` as a whole and end before a time those samples only that stand
    /// for all. Gives how many were left out.
    pub fn read_thinned(
        &self,
        block: Block,
        range: TimeRange,
        thin: Option<Thin>,
        out: &mut SampleBuffer,
    ) -> Result<u64, ReadError> {
        let mut left_out = 0;
        if !block.range.overlaps(range) {
            return Ok(0);
        }
        let start = out.len();
        let read = with_decoder(|decoder| {
            let mut chunks = self.chunks(block)?;
            while let Some(chunk) = self.next_chunk(&mut chunks, block)? {
                if chunk.summary.range.start_ms > range.end_ms {
                    break;
                }
                if !chunk.summary.range.overlaps(range) {
                    continue;
                }
                if let Some(left) = thin.and_then(|thin| thin.of(&chunk, range, out)) {
                    left_out += left;
                    continue;
                }
                self.decode(&chunk, range, decoder, out)
                    .ok_or_else(|| self.damaged(&format!("series at {}", block.offset)))?;
            }
            Ok(())
        });
        if read.is_err() {
            out.truncate(start);
        }
        read.map(|()| left_out)
    }

    /// Appends the summaries of the chunks of a series that overlap `range`.
    pub fn summaries(
        &self,
        block: Block,
        range: TimeRange,
        out: &mut Vec<ChunkSummary>,
    ) -> Result<(), ReadError> {
        if block.range.overlaps(range) {
            let mut chunks = self.chunks(block)?;
            while let Some(chunk) = self.next_chunk(&mut chunks, block)? {
                if chunk.summary.range.overlaps(range) {
                    let special = chunk.summary.special || !chunk.is_plain();
                    out.push(ChunkSummary { special, ..chunk.summary });
                }
            }
        }
        Ok(())
    }

    /// Appends the exemplars of a series, in order of time.
    pub fn exemplars(&self, block: Block, out: &mut Vec<Exemplar>) -> Result<(), ReadError> {
        self.walk(block, |_| {}, out)
    }

    /// Hands on the chunks of a series, in order of time, and appends its exemplars.
    pub fn walk<'a>(
        &'a self,
        block: Block,
        mut each: impl FnMut(Chunk<'a>),
        exemplars: &mut Vec<Exemplar>,
    ) -> Result<(), ReadError> {
        let mut chunks = self.chunks(block)?;
        while let Some(chunk) = self.next_chunk(&mut chunks, block)? {
            each(chunk);
        }
        chunks.exemplars(exemplars).ok_or_else(|| self.damaged(&format!("exemplars at {}", block.offset)))
    }

    fn chunks(&self, block: Block) -> Result<Chunks<'_>, ReadError> {
        Ok(Chunks::new(self.block_bytes(block)?, block.offset, self.base_ms))
    }

    fn next_chunk<'a>(&self, chunks: &mut Chunks<'a>, block: Block) -> Result<Option<Chunk<'a>>, ReadError> {
        let all = self.footer.range;
        let sound =
            |c: &Chunk<'_>| all.start_ms <= c.summary.range.start_ms && c.summary.range.end_ms <= all.end_ms;
        let next = chunks.next().filter(|next| next.as_ref().is_none_or(sound));
        next.ok_or_else(|| self.damaged(&format!("series at {}", block.offset)))
    }

    /// Bytes of the data, checked.
    fn data(&self, offset: u64, length: u64) -> Option<&[u8]> {
        let end = usize::try_from(offset.checked_add(length)?).ok()?;
        let (data, rest) = self.map.split_at_checked(self.footer.index_offset as usize)?;
        self.pages.get(data, rest, usize::try_from(offset).ok()?, end)
    }

    /// As [`Segment::walk`], with the length of each chunk; gives that of the exemplars.
    pub fn walk_measured<'a>(
        &'a self,
        block: Block,
        mut each: impl FnMut(Chunk<'a>, u64),
    ) -> Result<u64, ReadError> {
        let mut chunks = self.chunks(block)?;
        let mut before = chunks.remaining();
        while let Some(chunk) = self.next_chunk(&mut chunks, block)? {
            each(chunk, (before - chunks.remaining()) as u64);
            before = chunks.remaining();
        }
        // They are the last of the block.
        Ok(before as u64)
    }

    /// What the parts of the file take.
    pub fn sizes(&self) -> Sizes {
        let data = self.footer.index_offset;
        let page_sums = data.div_ceil(PAGE_BYTES as u64) * 4;
        Sizes {
            data,
            page_sums,
            index: self.footer.index_bytes - page_sums,
            footer: self.bytes - data - self.footer.index_bytes,
        }
    }

    /// The bytes of the block of a series, checked, for what is no chunk.
    pub fn block_bytes(&self, block: Block) -> Result<&[u8], ReadError> {
        self.used.store(true, Ordering::Relaxed);
        // The base stands in the first page.
        let base = self.data(0, HEADER_BYTES as u64);
        let bytes = base.and_then(|_| self.data(block.offset, block.bytes));
        bytes.ok_or_else(|| self.damaged(&format!("series at {}", block.offset)))
    }

    /// The bytes of a time column, without their length.
    pub fn column_at(&self, offset: u64) -> Result<&[u8], ReadError> {
        self.column(offset).ok_or_else(|| self.damaged(&format!("time column at {offset}")))
    }

    fn column(&self, offset: u64) -> Option<&[u8]> {
        let room = self.footer.index_offset.checked_sub(offset)?.min(LENGTH_BYTES_MAX as u64);
        let mut cursor = Cursor::new(self.data(offset, room)?);
        let length = cursor.varint()?;
        self.data(offset + (room - cursor.remaining() as u64), length)
    }

    fn decode(
        &self,
        chunk: &Chunk<'_>,
        range: TimeRange,
        decoder: &mut Decoder,
        out: &mut SampleBuffer,
    ) -> Option<()> {
        let start = out.len();
        let Decoder { times, values, histograms } = decoder;
        if let (Times::Regular { first_ms, step_ms }, Body::Constant(_) | Body::Floats(_), None) =
            (chunk.times, chunk.body, chunk.starts)
        {
            // What is asked for is known before it is decoded.
            let Some((first_ms, indexes)) = times::cut_regular(first_ms, step_ms, chunk.count, range) else {
                return Some(());
            };
            let end = start + indexes.len();
            times::regular(first_ms, step_ms, indexes.len(), &mut out.times_ms)?;
            match chunk.body {
                Body::Floats(bytes) => {
                    let mut cursor = Cursor::new(bytes);
                    values::decode_some(&mut cursor, chunk.count, indexes, values, &mut out.values)?;
                }
                Body::Constant(value) => out.values.resize(end, value),
                Body::Histograms(_) => unreachable!("BUG: they were left out"),
            }
            if !out.starts_ms.is_empty() {
                out.starts_ms.resize(end, 0);
            }
            return Some(());
        }
        match chunk.times {
            Times::Regular { first_ms, step_ms } => {
                times::regular(first_ms, step_ms, chunk.count, &mut out.times_ms)?;
            }
            Times::Column { first_ms, last_ms, offset } => {
                let mut cursor = Cursor::new(self.column(offset)?);
                let times_ms = &mut out.times_ms;
                times::decode_column(&mut cursor, first_ms, chunk.count, times, &mut values.ints, times_ms)?;
                if out.times_ms.last() != Some(&last_ms) {
                    return None;
                }
            }
        }
        match chunk.starts {
            Some(bytes) => {
                out.starts_ms.resize(start, 0);
                let mut cursor = Cursor::new(bytes);
                starts::decode(&mut cursor, out.times_ms[start], chunk.count, &mut out.starts_ms)?;
            }
            None if !out.starts_ms.is_empty() => out.starts_ms.resize(start + chunk.count, 0),
            None => {}
        }
        match chunk.body {
            Body::Constant(value) => out.values.resize(start + chunk.count, value),
            Body::Floats(bytes) => {
                values::decode(&mut Cursor::new(bytes), chunk.count, values, &mut out.values)?;
            }
            Body::Histograms(bytes) => {
                let (first, found) = (u32::try_from(start).ok()?, &mut out.histograms);
                histograms::decode(&mut Cursor::new(bytes), chunk.count, first, histograms, values, found)?;
                let from = out.histograms.len().checked_sub(chunk.count)?;
                out.values.extend(out.histograms[from..].iter().map(|(_, h)| h.sum));
            }
        }
        if out.values.len() != start + chunk.count {
            return None;
        }
        out.cut_to(range, start);
        Some(())
    }

    /// Notes damage; the error that names it.
    pub fn damaged(&self, part: &str) -> ReadError {
        self.damaged.store(true, Ordering::Relaxed);
        ReadError::Damaged { place: format!("{}, {part}", self.path.display()) }
    }
}

#[cfg(test)]
mod tests;
