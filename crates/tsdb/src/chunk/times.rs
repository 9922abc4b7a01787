//! Times of a chunk: strictly growing milliseconds.
//!
//! Either one step for all, or a column of the differences. Differences are taken modulo 2^64, so
//! that times from one end of `i64` to the other work. In a segment the columns stand apart from
//! the chunks, as the series of one target share them.

use std::ops::Range;

use vedette_model::TimeRange;

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

/// The first of those of `count` times of one step that lie in `range`, and their indexes.
pub fn cut_regular(first: i64, step: u64, count: usize, range: TimeRange) -> Option<(i64, Range<usize>)> {
    let last_index = u64::try_from(count).ok()?.checked_sub(1)?;
    // A single time has no step.
    let step = step.max(1);
    let from = if range.start_ms > first { range.start_ms.abs_diff(first).div_ceil(step) } else { 0 };
    let until = if range.end_ms >= first { range.end_ms.abs_diff(first) / step } else { return None };
    let until = until.min(last_index);
    until.checked_sub(from)?;
    let indexes = usize::try_from(from).ok()?..usize::try_from(until).ok()? + 1;
    Some((first.wrapping_add(from.wrapping_mul(step) as i64), indexes))
}

/// Appends `count` times of one step.
pub fn regular(first: i64, step: u64, count: usize, out: &mut Vec<i64>) -> Option<()> {
    let span = u64::try_from(count.checked_sub(1)?).ok()?.checked_mul(step)?;
    let room = i64::MAX.wrapping_sub(first) as u64;
    if (step == 0 && count > 1) || span > room {
        return None;
    }
    let start = out.len();
    out.resize(start + count, 0);
    let mut time = first;
    for place in &mut out[start..] {
        *place = time;
        time = time.wrapping_add(step as i64);
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn regular_times_are_cut_as_a_list_is(
            first in -50i64..50, step in 1u64..9, count in 1usize..20, start in -80i64..200, length in 0i64..120,
        ) {
            let step = if count == 1 { 0 } else { step };
            let range = TimeRange { start_ms: start, end_ms: start + length };
            let mut all = Vec::new();
            regular(first, step, count, &mut all).expect("times");
            prop_assert_eq!(regular_step(&all), Some(step));
            all.retain(|&t| range.contains(t));
            let mut cut = Vec::new();
            if let Some((start, indexes)) = cut_regular(first, step, count, range) {
                prop_assert_eq!(start, first + (indexes.start as u64 * step) as i64);
                regular(start, step, indexes.len(), &mut cut).expect("times");
            }
            prop_assert_eq!(cut, all);
        }
    }
}
