//! `tombstones`: samples that were deleted and still stand in the chunks.

use std::{collections::HashMap, io, path::Path};

use vedette_model::TimeRange;

use super::{crc32c::crc32c, error::BlockError, window::read_small};
use crate::bytes::Cursor;

/// Name of the file.
pub const FILE: &str = "tombstones";

const MAGIC: u32 = 0x0130_ba30;
const VERSION: u8 = 1;
const BYTES_MAX: u64 = 256 << 20;

/// Deleted times by number of the series.
pub type Tombstones = HashMap<u64, Vec<TimeRange>>;

/// A file that deletes nothing.
pub fn empty() -> Vec<u8> {
    let mut out = MAGIC.to_be_bytes().to_vec();
    out.push(VERSION);
    out.extend_from_slice(&crc32c(&[]).to_be_bytes());
    out
}

/// Reads the file of a block; where there is none, nothing is deleted.
pub fn read(block: &Path) -> Result<Tombstones, BlockError> {
    let path = block.join(FILE);
    match read_small(&path, BYTES_MAX) {
        Ok(bytes) => parse(&path, &bytes),
        Err(BlockError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Tombstones, BlockError> {
    let damaged = |offset: usize, reason: &str| BlockError::damaged(path, offset as u64, reason);
    let (header, rest) = bytes.split_at_checked(5).ok_or_else(|| damaged(0, "it ends too early"))?;
    let (body, crc) = rest.split_last_chunk::<4>().ok_or_else(|| damaged(5, "it ends too early"))?;
    if header[..4] != MAGIC.to_be_bytes() {
        return Err(damaged(0, "it does not begin like a tombstones file"));
    }
    if header[4] != VERSION {
        return Err(BlockError::unsupported(path, format!("its version is {}, not {VERSION}", header[4])));
    }
    if crc32c(body) != u32::from_be_bytes(*crc) {
        return Err(damaged(bytes.len() - 4, "the checksum does not match"));
    }
    let mut stones = Tombstones::new();
    let mut cursor = Cursor::new(body);
    while cursor.remaining() > 0 {
        let offset = bytes.len() - 4 - cursor.remaining();
        let stone = (|| Some((cursor.varint()?, cursor.signed()?, cursor.signed()?)))();
        let (series, start_ms, end_ms) = stone.ok_or_else(|| damaged(offset, "a tombstone is cut off"))?;
        stones.entry(series).or_default().push(TimeRange { start_ms, end_ms });
    }
    Ok(stones)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{put_signed, put_varint};

    #[test]
    fn tombstones_are_read_and_damage_is_named() {
        let mut body = Vec::new();
        for (series, start, end) in [(7u64, -5i64, 9i64), (7, 20, 20), (900, i64::MIN, i64::MAX)] {
            put_varint(&mut body, series);
            put_signed(&mut body, start);
            put_signed(&mut body, end);
        }
        let mut file = empty();
        file.truncate(5);
        file.extend_from_slice(&body);
        file.extend_from_slice(&crc32c(&body).to_be_bytes());
        let path = Path::new("tombstones");
        let stones = parse(path, &file).unwrap();
        assert_eq!(
            stones[&7],
            [TimeRange { start_ms: -5, end_ms: 9 }, TimeRange { start_ms: 20, end_ms: 20 }]
        );
        assert_eq!(stones[&900], [TimeRange::ALL]);
        assert!(parse(path, &empty()).unwrap().is_empty());
        for i in 0..file.len() {
            let mut bad = file.clone();
            bad[i] ^= 0x10;
            let error = parse(path, &bad).unwrap_err().to_string();
            assert!(error.contains("tombstones"), "{error}");
            parse(path, &file[..i]).unwrap_err();
        }
    }
}
