//! Reads the `index` file of a block, versions 1 and 2: the symbols are kept, the series come one
//! by one as they stand there, in order of their labels.
//!
//! Label indices and postings are not needed to read everything and are left alone.

use std::path::{Path, PathBuf};

use vedette_model::{Labels, TimeRange};

use super::{crc32c::crc32c, error::BlockError, window::FileWindow};
use crate::bytes::Cursor;

/// Name of the file.
pub const FILE: &str = "index";
/// What it begins with.
pub const MAGIC: u32 = 0xbaaa_d700;
/// Length of magic and version.
pub const HEADER_BYTES: u64 = 5;
/// Length of the table of contents, checksum included.
pub const CONTENTS_BYTES: u64 = 52;
/// Series begin at multiples of this, from version 2 on.
pub const SERIES_ALIGNMENT: u64 = 16;

/// The texts of a block are kept in memory; more than this is refused.
const SYMBOL_BYTES_MAX: u64 = 1 << 30;

/// Labels and list of chunks of one series.
const SERIES_BYTES_MAX: u64 = 64 << 20;

/// Where a chunk stands, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Times of the first and last sample.
    pub range: TimeRange,
    /// Number of the file and offset in it, 32 bits each.
    pub reference: u64,
}

/// One series of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesEntry {
    /// How tombstones name it.
    pub number: u64,
    pub labels: Labels,
    pub chunks: Vec<ChunkMeta>,
}

/// What is kept of an index.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    version: u8,
    symbols: Symbols,
    /// Where the series begin and end.
    series: std::ops::Range<u64>,
}

#[derive(Debug)]
struct Symbols {
    bytes: Vec<u8>,
    /// Where each text begins, with its length, in `bytes`.
    offsets: Vec<u32>,
    /// Where `bytes` begins in the file, by which version 1 refers.
    base: u64,
}

impl Index {
    pub fn open(block: &Path) -> Result<Self, BlockError> {
        let mut file = FileWindow::open(block.join(FILE))?;
        let header = file.get(0, HEADER_BYTES)?;
        let (magic, version) = (be32(header), header[4]);
        if magic != Some(MAGIC) {
            return Err(file.damaged(0, "it does not begin like an index"));
        }
        if !(1..=2).contains(&version) {
            let reason = format!("its version is {version}; 1 and 2 are known");
            return Err(BlockError::unsupported(file.path(), reason));
        }
        let contents_at = file.length.saturating_sub(CONTENTS_BYTES).max(HEADER_BYTES);
        let contents = file.get(contents_at, CONTENTS_BYTES)?;
        let (body, crc) = contents.split_at(CONTENTS_BYTES as usize - 4);
        if Some(crc32c(body)) != be32(crc) {
            return Err(file.damaged(contents_at, "the checksum of the table of contents does not match"));
        }
        let sections: Vec<u64> = body.as_chunks::<8>().0.iter().map(|b| u64::from_be_bytes(*b)).collect();
        let (symbols_at, series_at) = (sections[0], sections[1]);
        let symbols = Symbols::read(&mut file, symbols_at, version)?;
        let series = match series_at {
            0 => 0..0,
            at if at > contents_at => {
                return Err(file
                    .damaged(contents_at, format!("its series are said to begin at {at}, behind its end")));
            }
            at => {
                at..sections.iter().copied().filter(|&s| s > at).min().unwrap_or(contents_at).min(contents_at)
            }
        };
        Ok(Self { path: file.path, version, symbols, series })
    }

    /// All series, in order of their labels.
    pub fn series(&self) -> Result<SeriesScan<'_>, BlockError> {
        let file = FileWindow::open(self.path.clone())?;
        Ok(SeriesScan { index: self, file, at: self.series.start, before: None })
    }

    fn parse_series(&self, number: u64, body: &[u8]) -> Option<SeriesEntry> {
        let mut cursor = Cursor::new(body);
        let count = cursor.count(2)?;
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(count);
        for _ in 0..count {
            let name = self.symbols.get(cursor.varint_u32()?, self.version)?;
            let value = self.symbols.get(cursor.varint_u32()?, self.version)?;
            if pairs.last().is_some_and(|(before, _)| *before >= name) {
                return None;
            }
            pairs.push((name, value));
        }
        // An empty value means that there is no such label.
        let labels = Labels::from_sorted(pairs.into_iter().filter(|(_, value)| !value.is_empty()));
        let count = cursor.count(3)?;
        let mut chunks: Vec<ChunkMeta> = Vec::with_capacity(count);
        for _ in 0..count {
            let (start_ms, end_ms, reference);
            match chunks.last() {
                None => {
                    start_ms = cursor.signed()?;
                    end_ms = start_ms.wrapping_add(cursor.varint()? as i64);
                    reference = cursor.varint()?;
                }
                Some(before) => {
                    start_ms = before.range.end_ms.wrapping_add(cursor.varint()? as i64);
                    end_ms = start_ms.wrapping_add(cursor.varint()? as i64);
                    reference = before.reference.wrapping_add(cursor.signed()? as u64);
                }
            }
            if end_ms < start_ms {
                return None;
            }
            chunks.push(ChunkMeta { range: TimeRange { start_ms, end_ms }, reference });
        }
        Some(SeriesEntry { number, labels, chunks })
    }
}

impl Symbols {
    fn read(file: &mut FileWindow, at: u64, version: u8) -> Result<Self, BlockError> {
        if at == 0 {
            return Ok(Self { bytes: Vec::new(), offsets: Vec::new(), base: 0 });
        }
        let length = be32(file.get(at, 4)?).map_or(0, u64::from);
        if length > SYMBOL_BYTES_MAX {
            return Err(file.damaged(at, format!("{length} bytes of symbols, more than {SYMBOL_BYTES_MAX}")));
        }
        let path = file.path.clone();
        let damaged = |reason| BlockError::damaged(&path, at, reason);
        let (body, crc) = file.get(at.saturating_add(4), length + 4)?.split_at(length as usize);
        if Some(crc32c(body)) != be32(crc) {
            return Err(damaged("the checksum of the symbols does not match"));
        }
        let malformed = || damaged("the symbols are not well-formed");
        let (count, texts) = body.split_at_checked(4).ok_or_else(malformed)?;
        let count = be32(count).unwrap_or(0) as usize;
        let mut cursor = Cursor::new(texts);
        if count > texts.len() {
            return Err(malformed());
        }
        let mut offsets = Vec::with_capacity(count);
        for _ in 0..count {
            offsets.push((texts.len() - cursor.remaining()) as u32);
            cursor.text().ok_or_else(malformed)?;
        }
        let bytes = texts.to_vec();
        // Version 1 refers to texts by their place in the file, later ones by their number.
        let base = if version == 1 { at + 8 } else { 0 };
        Ok(Self { bytes, offsets, base })
    }

    fn get(&self, reference: u32, version: u8) -> Option<&str> {
        let offset = if version == 1 {
            let offset = u32::try_from(u64::from(reference).checked_sub(self.base)?).ok()?;
            self.offsets.binary_search(&offset).ok()?;
            offset
        } else {
            *self.offsets.get(reference as usize)?
        };
        Cursor::new(&self.bytes[offset as usize..]).text()
    }
}

/// Goes through the series of an index.
#[derive(Debug)]
pub struct SeriesScan<'a> {
    index: &'a Index,
    file: FileWindow,
    at: u64,
    before: Option<Labels>,
}

impl SeriesScan<'_> {
    /// The next series; `None` at the end.
    pub fn next(&mut self) -> Result<Option<SeriesEntry>, BlockError> {
        let Some(at) = self.skip_padding()? else { return Ok(None) };
        let mut head = Cursor::new(self.file.get_up_to(at, 10)?);
        let available = head.remaining();
        let length = head.varint();
        let body_at = at + (available - head.remaining()) as u64;
        let end = length.filter(|&l| l <= SERIES_BYTES_MAX).map(|l| body_at + l + 4);
        let Some((length, end)) = length.zip(end.filter(|&end| end <= self.index.series.end)) else {
            return Err(self.file.damaged(at, "a series has no sound length"));
        };
        let number = if self.index.version == 1 { at } else { at / SERIES_ALIGNMENT };
        let (body, crc) = self.file.get(body_at, length + 4)?.split_at(length as usize);
        if Some(crc32c(body)) != be32(crc) {
            return Err(self.file.damaged(at, "the checksum of a series does not match"));
        }
        let entry = self.index.parse_series(number, body);
        let entry = entry.ok_or_else(|| self.file.damaged(at, "a series is not well-formed"))?;
        if self.before.as_ref().is_some_and(|before| *before >= entry.labels) {
            return Err(self.file.damaged(at, format!("series {} is out of order", entry.labels)));
        }
        self.before = Some(entry.labels.clone());
        self.at = end;
        Ok(Some(entry))
    }

    fn skip_padding(&mut self) -> Result<Option<u64>, BlockError> {
        let step = if self.index.version == 1 { 1 } else { SERIES_ALIGNMENT };
        let mut at = self.at.next_multiple_of(step);
        while at < self.index.series.end {
            if self.file.get(at, 1)?[0] != 0 {
                return Ok(Some(at));
            }
            at += step;
        }
        Ok(None)
    }
}

fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.first_chunk::<4>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of a table of contents alone.
    fn open(sections: [u64; 6]) -> Result<Index, BlockError> {
        let block = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = sections.iter().flat_map(|at| at.to_be_bytes()).collect();
        let mut file = [&MAGIC.to_be_bytes()[..], &[2], &contents].concat();
        file.extend(crc32c(&contents).to_be_bytes());
        std::fs::write(block.path().join(FILE), file).unwrap();
        let index = Index::open(block.path())?;
        assert_eq!(index.series()?.next()?, None);
        Ok(index)
    }

    #[test]
    fn series_behind_the_end_are_told() {
        assert!(open([0; 6]).is_ok());
        assert!(open([0, HEADER_BYTES, 0, 0, 0, 0]).is_ok(), "none");
        for at in [HEADER_BYTES + 1, u64::MAX - 16, u64::MAX] {
            let error = open([0, at, 0, 0, 0, 0]).unwrap_err().to_string();
            assert!(error.contains("series"), "{error}");
        }
    }
}
