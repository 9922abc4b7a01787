//! Start timestamps of a chunk's samples, as runs: they only change when a source starts anew.
//!
//! Each run: varint number of samples, signed difference of the start from the one before (from
//! the first time of the chunk at first).

use crate::bytes::{Cursor, put_signed, put_varint};

/// Appends one start for each sample.
pub fn encode(starts_ms: &[i64], first_ms: i64, out: &mut Vec<u8>) {
    let mut before = first_ms;
    for run in starts_ms.chunk_by(|a, b| a == b) {
        put_varint(out, run.len() as u64);
        put_signed(out, run[0].wrapping_sub(before));
        before = run[0];
    }
}

/// Appends `count` starts to `out`; `None` when the bytes are damaged.
pub fn decode(cursor: &mut Cursor<'_>, first_ms: i64, count: usize, out: &mut Vec<i64>) -> Option<()> {
    let (mut left, mut start) = (count, first_ms);
    while left > 0 {
        let run = usize::try_from(cursor.varint()?).ok().filter(|&r| r > 0)?;
        left = left.checked_sub(run)?;
        start = start.wrapping_add(cursor.signed()?);
        out.resize(out.len() + run, start);
    }
    Some(())
}
