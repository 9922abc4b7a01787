//! Times of a chunk: strictly growing milliseconds, stored as first time and differences.
//!
//! `0` one step for all: first, step. `1` packed differences: first, packed.
//! Differences are taken modulo 2^64, so that times from one end of `i64` to the other work.

use super::packed::{pack, unpack};
use crate::bytes::{Cursor, put_signed, put_varint};

const STEP: u8 = 0;
const PACKED: u8 = 1;

/// Appends the times. `scratch` only lends its memory.
pub fn encode(times_ms: &[i64], scratch: &mut Vec<i64>, out: &mut Vec<u8>) {
    let first = times_ms.first().copied().unwrap_or(0);
    scratch.clear();
    scratch.extend(times_ms.windows(2).map(|w| w[1].wrapping_sub(w[0])));
    let step = scratch.first().copied().unwrap_or(0);
    if scratch.iter().all(|&d| d == step) {
        out.push(STEP);
        put_signed(out, first);
        put_varint(out, step as u64);
    } else {
        out.push(PACKED);
        put_signed(out, first);
        pack(scratch, out);
    }
}

/// Appends `count` times to `out`; `None` when the bytes are damaged or times do not grow.
pub fn decode(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Option<()> {
    let encoding = cursor.byte()?;
    let mut time = cursor.signed()?;
    if count == 0 {
        return Some(());
    }
    let start = out.len();
    out.push(time);
    match encoding {
        STEP => {
            let step = cursor.varint()? as i64;
            for _ in 1..count {
                time = time.wrapping_add(step);
                out.push(time);
            }
        }
        PACKED => unpack(cursor, count - 1, |delta| {
            time = time.wrapping_add(delta);
            out.push(time);
        })?,
        _ => return None,
    }
    out[start..].windows(2).all(|w| w[0] < w[1]).then_some(())
}
