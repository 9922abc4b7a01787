//! Times of a chunk: strictly growing milliseconds.
//!
//! Either one step for all, or a column of the differences. Differences are taken modulo 2^64, so
//! that times from one end of `i64` to the other work. In a segment the columns stand apart from
//! the chunks, as the series of one target share them.

use super::{Effort, ints};
use crate::bytes::Cursor;

/// Memory that encoding and decoding use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    differences: Vec<i64>,
}

/// The step of times that have only one; 0 for a single time.
pub fn regular_step(times_ms: &[i64]) -> Option<u64> {
    let step = times_ms.get(1).map_or(0, |t| t.wrapping_sub(times_ms[0]));
    times_ms.windows(2).all(|w| w[1].wrapping_sub(w[0]) == step).then_some(step as u64)
}

/// Appends `count` times of one step.
pub fn regular(first: i64, step: u64, count: usize, out: &mut Vec<i64>) -> Option<()> {
    let span = u64::try_from(count.checked_sub(1)?).ok()?.checked_mul(step)?;
    let room = i64::MAX.wrapping_sub(first) as u64;
    if (step == 0 && count > 1) || span > room {
        return None;
    }
    out.extend((0..count as u64).map(|i| first.wrapping_add((i * step) as i64)));
    Some(())
}

/// Appends the differences of two or more times.
pub fn encode_column(
    times_ms: &[i64],
    effort: Effort,
    scratch: &mut Scratch,
    ints: &mut ints::Scratch,
    out: &mut Vec<u8>,
) {
    scratch.differences.clear();
    scratch.differences.extend(times_ms.windows(2).map(|w| w[1].wrapping_sub(w[0])));
    ints::encode(&scratch.differences, effort, ints, out);
}

/// Appends `count` times, of which the first is known.
pub fn decode_column(
    cursor: &mut Cursor<'_>,
    first: i64,
    count: usize,
    scratch: &mut Scratch,
    ints: &mut ints::Scratch,
    out: &mut Vec<i64>,
) -> Option<()> {
    ints::decode(cursor, count.checked_sub(1)?, ints, &mut scratch.differences)?;
    let mut time = first;
    let mut grows = true;
    out.reserve(count);
    out.push(first);
    for &difference in &scratch.differences {
        let next = time.wrapping_add(difference);
        grows &= next > time;
        time = next;
        out.push(time);
    }
    grows.then_some(())
}
