//! Beginning and end of the file: what it is, and what the whole of it holds.

use vedette_model::TimeRange;

use super::OpenError;
use crate::bytes::Cursor;

const MAGIC: [u8; 8] = *b"VDTSDBSG";
pub const END_MAGIC: [u8; 8] = *b"VDTSDBEN";
const ROLLUP_MAGIC: [u8; 8] = *b"VDTSDBRU";
const VERSION: u32 = 2;
const ROLLUP_VERSION: u32 = 1;

/// Length of the header. Its first 16 bytes are the same in every version.
pub const HEADER_BYTES: usize = 24;
/// Place in the header of the time that block times count from; pages' checksums cover it.
pub const BASE_AT: usize = 16;
/// Length of the footer without the sources before it.
pub const FOOTER_BYTES: usize = 96;

/// More segments are never compacted into one.
pub const SOURCES_MAX: usize = 4096;

/// What the blocks of a file hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Samples.
    Samples,
    /// Rollups of samples, see [`crate::rollup`].
    Rollups,
}

impl Kind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Samples => MAGIC,
            Self::Rollups => ROLLUP_MAGIC,
        }
    }

    fn version(self) -> u32 {
        match self {
            Self::Samples => VERSION,
            Self::Rollups => ROLLUP_VERSION,
        }
    }

    /// What the names of such files end with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Samples => "segment",
            Self::Rollups => "rollup",
        }
    }
}

/// What the end of the file says of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// The stretch of time that the segment stands for; all its samples lie in it.
    pub from_ms: i64,
    /// Its end, not included.
    pub until_ms: i64,
    /// Times of the first and last sample; of exemplars alone the stretch of time.
    pub range: TimeRange,
    /// Number of samples.
    pub samples: u64,
    /// Number of series.
    pub series: u64,
    /// Numbers of the segments that this one replaces; of rollups, those they are made of.
    pub sources: Vec<u64>,
    /// Of several samples of one time that of the segment with the lowest rank counts: the number
    /// of the segment, or the lowest rank of its sources.
    pub rank: u64,
    /// Where the data end and checksums of pages and index begin.
    pub index_offset: u64,
    /// Length of both.
    pub index_bytes: u64,
    /// Their checksum.
    pub index_crc: u32,
    /// Length of a step of rollups in seconds; 0 for samples.
    pub step_s: u32,
}

/// The header of a segment, with a base to be filled in.
pub fn header(kind: Kind) -> Vec<u8> {
    let mut out = kind.magic().to_vec();
    out.extend_from_slice(&kind.version().to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out
}

/// Checks a header and gives the time that block times count from.
pub fn check_header(file: &[u8], kind: Kind) -> Result<i64, OpenError> {
    let header = file.get(..HEADER_BYTES).ok_or(OpenError::Damaged("it ends too early"))?;
    let mut cursor = Cursor::new(header);
    let magic = cursor.take(8);
    let (version, crc) = (cursor.u32(), cursor.u32());
    if magic != Some(&kind.magic()) {
        return Err(OpenError::Damaged("it does not begin like a segment"));
    }
    if crc != Some(crc32fast::hash(&header[..12])) {
        return Err(OpenError::Damaged("the checksum of its header does not match"));
    }
    match version {
        Some(known) if known == kind.version() => cursor.i64().ok_or(OpenError::Damaged("it ends too early")),
        Some(1) => Err(OpenError::Damaged("it has version 1 of the format, which is not read any more")),
        other => Err(OpenError::Newer(other.unwrap_or(0))),
    }
}

impl Footer {
    /// The footer as the last bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
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
        for number in [self.samples, self.series, self.rank] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.index_crc.to_le_bytes());
        out.extend_from_slice(&(self.sources.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.step_s.to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&END_MAGIC);
        out
    }

    /// Times of the first and last sample, if there is one.
    pub fn samples_range(&self) -> Option<TimeRange> {
        (self.samples > 0).then_some(self.range)
    }

    /// Reads the end of a file.
    pub fn read(file: &[u8]) -> Result<Self, OpenError> {
        let fixed_at = file
            .len()
            .checked_sub(FOOTER_BYTES)
            .filter(|&at| at >= HEADER_BYTES)
            .ok_or(OpenError::Damaged("it ends too early"))?;
        let (body, end) = file.split_at(file.len() - END_MAGIC.len());
        if end != END_MAGIC {
            return Err(OpenError::Damaged("it does not end like a segment"));
        }
        const DAMAGED: OpenError = OpenError::Damaged("its footer is damaged");
        let count = Cursor::new(&file[fixed_at + 76..]).u32().ok_or(DAMAGED)? as usize;
        let sources_at = fixed_at.checked_sub(count * 8).filter(|_| count <= SOURCES_MAX).ok_or(DAMAGED)?;
        let (covered, crc) = body.split_last_chunk::<4>().ok_or(DAMAGED)?;
        if crc32fast::hash(&covered[sources_at..]) != u32::from_le_bytes(*crc) {
            return Err(OpenError::Damaged("the checksum of its footer does not match"));
        }
        let mut cursor = Cursor::new(&file[sources_at..]);
        let sources = (0..count).map(|_| cursor.u64()).collect::<Option<_>>().ok_or(DAMAGED)?;
        Self::decode(sources, &mut cursor)
            .filter(|f| f.index_offset.checked_add(f.index_bytes) == Some(sources_at as u64))
            .filter(|f| f.index_offset >= HEADER_BYTES as u64)
            .ok_or(DAMAGED)
    }

    fn decode(sources: Vec<u64>, cursor: &mut Cursor<'_>) -> Option<Self> {
        let (index_offset, index_bytes) = (cursor.u64()?, cursor.u64()?);
        let (from_ms, until_ms) = (cursor.i64()?, cursor.i64()?);
        let range = TimeRange { start_ms: cursor.i64()?, end_ms: cursor.i64()? };
        let (samples, series, rank) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
        let index_crc = cursor.u32()?;
        cursor.u32()?;
        let step_s = cursor.u32()?;
        let sound = from_ms <= range.start_ms && range.start_ms <= range.end_ms && range.end_ms < until_ms;
        sound.then_some(Self {
            from_ms,
            until_ms,
            range,
            samples,
            series,
            sources,
            rank,
            index_offset,
            index_bytes,
            index_crc,
            step_s,
        })
    }
}
