//! The directory of one series in a segment: for each of its chunks length, checksum and
//! summary. It stands right before the chunks, so that a small series is read at once.

use vedette_model::{ChunkSummary, TimeRange};

use crate::bytes::{Cursor, put_signed, put_varint};

/// What the directory says of one chunk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkEntry {
    /// Length of the chunk.
    pub bytes: u64,
    /// CRC32 of the chunk.
    pub crc: u32,
    /// Summary of its samples.
    pub summary: ChunkSummary,
}

const SPECIAL: u8 = 1;
const MIN_IS_FIRST: u8 = 2;
const MAX_IS_LAST: u8 = 4;
const LAST_IS_FIRST: u8 = 8;

/// Appends a directory and its checksum.
pub fn encode(entries: &[ChunkEntry], out: &mut Vec<u8>) {
    let start = out.len();
    put_varint(out, entries.len() as u64);
    for ChunkEntry { bytes, crc, summary: s } in entries {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        let mut flags = 0;
        flags |= if s.special { SPECIAL } else { 0 };
        flags |= if same(s.min, s.first) { MIN_IS_FIRST } else { 0 };
        flags |= if same(s.max, s.last) { MAX_IS_LAST } else { 0 };
        flags |= if same(s.last, s.first) { LAST_IS_FIRST } else { 0 };
        put_varint(out, *bytes);
        out.extend_from_slice(&crc.to_le_bytes());
        put_signed(out, s.range.start_ms);
        put_varint(out, s.range.end_ms.wrapping_sub(s.range.start_ms) as u64);
        put_varint(out, s.count);
        put_varint(out, u64::from(s.resets));
        out.push(flags);
        let mut put = |value: f64, known: u8| {
            if flags & known == 0 {
                out.extend_from_slice(&value.to_bits().to_le_bytes());
            }
        };
        put(s.sum, 0);
        put(s.first, 0);
        put(s.last, LAST_IS_FIRST);
        put(s.min, MIN_IS_FIRST);
        put(s.max, MAX_IS_LAST);
    }
    let crc = crc32fast::hash(&out[start..]);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// Reads a directory; `None` when it is damaged.
pub fn decode(bytes: &[u8]) -> Option<Vec<ChunkEntry>> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut cursor = Cursor::new(body);
    let count = cursor.count(17)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let (bytes, crc, start_ms) = (cursor.varint()?, cursor.u32()?, cursor.signed()?);
        let range = TimeRange { start_ms, end_ms: start_ms.wrapping_add(cursor.varint()? as i64) };
        let (count, resets, flags) = (cursor.varint()?, cursor.varint_u32()?, cursor.byte()?);
        let mut get = |known: u8, else_value: f64| {
            Some(if flags & known == 0 { f64::from_bits(cursor.u64()?) } else { else_value })
        };
        let sum = get(0, 0.0)?;
        let first = get(0, 0.0)?;
        let last = get(LAST_IS_FIRST, first)?;
        let min = get(MIN_IS_FIRST, first)?;
        let max = get(MAX_IS_LAST, last)?;
        let special = flags & SPECIAL != 0;
        let summary = ChunkSummary { range, count, sum, min, max, first, last, resets, special };
        entries.push(ChunkEntry { bytes, crc, summary });
    }
    (cursor.remaining() == 0).then_some(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::summarize;

    proptest! {
        #[test]
        fn entries_come_back(
            chunks in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![any::<f64>(), Just(1.0), Just(2.0)], 1..6), 0..5),
            bytes in any::<u64>(),
            crc in any::<u32>(),
        ) {
            let entries: Vec<ChunkEntry> = chunks
                .iter()
                .map(|values| {
                    let times: Vec<i64> = (0..values.len() as i64).collect();
                    ChunkEntry { bytes, crc, summary: summarize(&times, values) }
                })
                .collect();
            let mut out = Vec::new();
            encode(&entries, &mut out);
            // NaN differs from itself; its bits do not.
            prop_assert_eq!(format!("{:?}", decode(&out)), format!("{:?}", Some(&entries)));
            let mut again = Vec::new();
            encode(&decode(&out).expect("decodes"), &mut again);
            prop_assert_eq!(again, out);
        }

        #[test]
        fn a_changed_byte_is_noticed(place in any::<prop::sample::Index>(), change in 1u8..) {
            let mut out = Vec::new();
            encode(&[ChunkEntry { bytes: 9, crc: 7, summary: summarize(&[1, 2], &[1.0, 3.0]) }], &mut out);
            let i = place.index(out.len());
            out[i] ^= change;
            prop_assert_eq!(decode(&out), None);
        }
    }
}
