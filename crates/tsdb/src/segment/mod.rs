//! Sealed samples in immutable files.
//!
//! `docs/formats/tsdb-segment.md` describes the file byte by byte. Invariants: a segment has its
//! final name only when it is whole and synced; every byte that is read is covered by a
//! checksum; damage gives an error that names the place. The index is read when it is first
//! needed and let go when nobody has asked for a while, so that old segments cost no memory.

mod directory;
mod index;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use vedette_model::{ChunkSummary, ReadError, SampleBuffer, TimeRange};
use vedette_sys::{File, Fs};

use crate::{bytes::Cursor, chunk};

pub use index::{Block, Index};
pub use writer::SegmentWriter;

use directory::ChunkEntry;

const MAGIC: [u8; 8] = *b"VDTSDBSG";
const END_MAGIC: [u8; 8] = *b"VDTSDBEN";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const FOOTER_BYTES: usize = 88;

/// More segments are never compacted into one.
const SOURCES_MAX: usize = 4096;

/// A series up to this size is read at once, a larger one directory first.
const WHOLE_BLOCK_BYTES_MAX: u64 = 32 << 10;

/// What the end of the file says of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Every sample at or after `from_ms` and before `until_ms` that was in the store when the
    /// segment was written is in it.
    pub from_ms: i64,
    /// See `from_ms`.
    pub until_ms: i64,
    /// Times of the first and last sample.
    pub range: TimeRange,
    /// Number of samples.
    pub samples: u64,
    /// Number of series.
    pub series: u64,
    /// Numbers of the segments that this one replaces.
    pub sources: Vec<u64>,
    index_offset: u64,
    index_bytes: u64,
    index_crc: u32,
}

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
    file: Box<dyn File>,
    index: Mutex<Option<Arc<Index>>>,
    used: AtomicBool,
    /// Set when a read found damage: it is not compacted any more, so that nothing is lost.
    pub damaged: AtomicBool,
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("id", &self.id).field("footer", &self.footer).finish_non_exhaustive()
    }
}

/// Name of the file of a segment.
pub fn file_name(id: u64) -> String {
    format!("{id:016x}.segment")
}

/// Number of the segment in a file of that name.
pub fn file_id(path: &Path) -> Option<u64> {
    let hex = path.file_name()?.to_str()?.strip_suffix(".segment")?;
    (hex.len() == 16).then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

impl Segment {
    /// Opens a file and checks its header, footer and index.
    pub fn open(fs: &dyn Fs, path: PathBuf, id: u64) -> Result<Self, OpenError> {
        let file = fs.open_read(&path)?;
        let bytes = file.len()?;
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0)?;
        check_header(&header)?;
        let footer = read_footer(&*file, bytes)?;
        let segment = Self {
            id,
            path,
            bytes,
            footer,
            file,
            index: Mutex::default(),
            used: AtomicBool::new(false),
            damaged: AtomicBool::new(false),
        };
        let index = segment.load_index()?;
        if index.len() as u64 != segment.footer.series {
            return Err(OpenError::Damaged("its index has another number of series than its footer"));
        }
        Ok(segment)
    }

    /// The index, read if need be.
    pub fn index(&self) -> Result<Arc<Index>, ReadError> {
        self.used.store(true, Ordering::Relaxed);
        let mut kept = self.index.lock();
        if let Some(index) = &*kept {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(self.load_index().map_err(|error| match error {
            OpenError::Io(source) => ReadError::Io { place: self.path.display().to_string(), source },
            OpenError::Damaged(_) | OpenError::Newer(_) => self.damaged("index"),
        })?);
        *kept = Some(Arc::clone(&index));
        Ok(index)
    }

    /// Lets the index go if nobody has asked for it since this was called last.
    pub fn release_idle_index(&self) {
        if !self.used.swap(false, Ordering::Relaxed) {
            *self.index.lock() = None;
        }
    }

    /// Memory that the index takes now.
    pub fn heap_bytes(&self) -> usize {
        self.index.lock().as_ref().map_or(0, |i| i.heap_bytes())
    }

    /// Appends the samples of a series in `range` to `out`.
    pub fn read(&self, block: Block, range: TimeRange, out: &mut SampleBuffer) -> Result<(), ReadError> {
        if !block.range.overlaps(range) {
            return Ok(());
        }
        let whole = block.bytes <= WHOLE_BLOCK_BYTES_MAX;
        let first = self.bytes_at(block.offset, if whole { block.bytes } else { block.directory_bytes })?;
        let (directory, mut chunks) = first.split_at(block.directory_bytes as usize);
        let entries = self.entries(block, directory)?;
        let mut offset = 0u64;
        let placed: Vec<(u64, &ChunkEntry)> = entries
            .iter()
            .map(|e| {
                let at = offset;
                offset += e.bytes;
                (at, e)
            })
            .filter(|(_, e)| e.summary.range.overlaps(range))
            .collect();
        let (Some((begin, _)), Some((last, entry))) = (placed.first(), placed.last()) else { return Ok(()) };
        let mut base = 0;
        let rest;
        if !whole {
            base = *begin;
            rest = self.bytes_at(block.offset + block.directory_bytes + begin, last + entry.bytes - begin)?;
            chunks = &rest;
        }
        for (at, entry) in placed {
            let from = (at - base) as usize;
            let bytes = &chunks[from..from + entry.bytes as usize];
            let start = out.len();
            let place = || self.damaged(&format!("chunk at {}", block.offset + block.directory_bytes + at));
            if crc32fast::hash(bytes) != entry.crc {
                return Err(place());
            }
            chunk::decode(bytes, out).ok_or_else(place)?;
            out.cut_to(range, start);
        }
        Ok(())
    }

    /// Appends the summaries of the chunks of a series that overlap `range`.
    pub fn summaries(
        &self,
        block: Block,
        range: TimeRange,
        out: &mut Vec<ChunkSummary>,
    ) -> Result<(), ReadError> {
        if block.range.overlaps(range) {
            let directory = self.bytes_at(block.offset, block.directory_bytes)?;
            let entries = self.entries(block, &directory)?;
            out.extend(entries.iter().map(|e| e.summary).filter(|s| s.range.overlaps(range)));
        }
        Ok(())
    }

    /// The chunks of a block, known to fill exactly the block.
    fn entries(&self, block: Block, directory: &[u8]) -> Result<Vec<ChunkEntry>, ReadError> {
        let entries = directory::decode(directory).filter(|entries| {
            let chunks = entries.iter().try_fold(0u64, |sum, e| sum.checked_add(e.bytes));
            chunks.and_then(|c| c.checked_add(block.directory_bytes)) == Some(block.bytes)
        });
        entries.ok_or_else(|| self.damaged(&format!("directory at {}", block.offset)))
    }

    fn bytes_at(&self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        if offset.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(self.damaged(&format!("block at {offset}")));
        }
        let mut bytes = vec![0; length as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(|source| ReadError::Io { place: self.path.display().to_string(), source })?;
        Ok(bytes)
    }

    fn damaged(&self, part: &str) -> ReadError {
        self.damaged.store(true, Ordering::Relaxed);
        ReadError::Damaged { place: format!("{}, {part}", self.path.display()) }
    }

    fn load_index(&self) -> Result<Index, OpenError> {
        let Footer { index_offset, index_bytes, index_crc, .. } = self.footer;
        let mut bytes = vec![0; index_bytes as usize];
        self.file.read_exact_at(&mut bytes, index_offset)?;
        if crc32fast::hash(&bytes) != index_crc {
            return Err(OpenError::Damaged("the checksum of its index does not match"));
        }
        Index::parse(bytes).ok_or(OpenError::Damaged("its index is not well-formed"))
    }
}

fn check_header(header: &[u8; HEADER_BYTES]) -> Result<(), OpenError> {
    let mut cursor = Cursor::new(header);
    let magic = cursor.take(8);
    let (version, crc) = (cursor.u32(), cursor.u32());
    if magic != Some(&MAGIC) {
        return Err(OpenError::Damaged("it does not begin like a segment"));
    }
    if crc != Some(crc32fast::hash(&header[..12])) {
        return Err(OpenError::Damaged("the checksum of its header does not match"));
    }
    match version {
        Some(VERSION) => Ok(()),
        other => Err(OpenError::Newer(other.unwrap_or(0))),
    }
}

fn header() -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&VERSION.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

impl Footer {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.sources.len() * 8 + FOOTER_BYTES);
        for source in &self.sources {
            out.extend_from_slice(&source.to_le_bytes());
        }
        for number in [self.index_offset, self.index_bytes] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.from_ms, self.until_ms, self.range.start_ms, self.range.end_ms] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        for number in [self.samples, self.series] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.index_crc.to_le_bytes());
        out.extend_from_slice(&(self.sources.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
        out
    }

    fn decode(sources: Vec<u64>, fixed: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(fixed);
        let (index_offset, index_bytes) = (cursor.u64()?, cursor.u64()?);
        let (from_ms, until_ms) = (cursor.i64()?, cursor.i64()?);
        let range = TimeRange { start_ms: cursor.i64()?, end_ms: cursor.i64()? };
        let (samples, series) = (cursor.u64()?, cursor.u64()?);
        let index_crc = cursor.u32()?;
        let sound = from_ms <= range.start_ms && range.start_ms <= range.end_ms && range.end_ms < until_ms;
        let footer =
            Self { from_ms, until_ms, range, samples, series, sources, index_offset, index_bytes, index_crc };
        sound.then_some(footer)
    }
}

fn read_footer(file: &dyn File, length: u64) -> Result<Footer, OpenError> {
    let damaged = |_| OpenError::Damaged("its footer is damaged");
    let fixed_at = length
        .checked_sub(FOOTER_BYTES as u64)
        .filter(|&at| at >= HEADER_BYTES as u64)
        .ok_or(OpenError::Damaged("it ends too early"))?;
    let mut fixed = [0; FOOTER_BYTES];
    file.read_exact_at(&mut fixed, fixed_at)?;
    if fixed[80..] != END_MAGIC {
        return Err(OpenError::Damaged("it does not end like a segment"));
    }
    let count = u32::from_le_bytes(fixed[68..72].try_into().map_err(damaged)?) as usize;
    let sources_at = fixed_at
        .checked_sub(count as u64 * 8)
        .filter(|_| count <= SOURCES_MAX)
        .ok_or(OpenError::Damaged("its footer is damaged"))?;
    let mut whole = vec![0; count * 8];
    file.read_exact_at(&mut whole, sources_at)?;
    let sources =
        whole.chunks_exact(8).filter_map(|b| Some(u64::from_le_bytes(b.try_into().ok()?))).collect();
    whole.extend_from_slice(&fixed[..76]);
    let crc = u32::from_le_bytes(fixed[76..80].try_into().map_err(damaged)?);
    if crc32fast::hash(&whole) != crc {
        return Err(OpenError::Damaged("the checksum of its footer does not match"));
    }
    Footer::decode(sources, &fixed)
        .filter(|f| f.index_offset.checked_add(f.index_bytes).is_some_and(|end| end <= sources_at))
        .ok_or(OpenError::Damaged("its footer is damaged"))
}

#[cfg(test)]
mod tests;
