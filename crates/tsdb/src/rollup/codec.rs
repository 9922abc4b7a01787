//! The rows of one series as the bytes of a block, column by column; layout:
//! `docs/formats/tsdb-rollup.md`.
//!
//! Invariant: what decodes is what was encoded, bit by bit, and damaged bytes give `None`, never a
//! panic and never more memory than [`ROWS_MAX`] rows need.

use std::sync::Arc;

use vedette_model::{NativeHistogram, RollupHistograms, RollupRow};

use crate::{
    bytes::{Cursor, put_varint},
    chunk::{Effort, Encoder, histograms, ints, values},
};

/// The most rows in one block; of a longer one only the newest are kept.
pub const ROWS_MAX: usize = 1 << 17;

const FLOATS: u64 = 1;
const MIN_IS_FIRST: u64 = 1 << 1;
const MAX_IS_LAST: u64 = 1 << 2;
const LAST_IS_FIRST: u64 = 1 << 3;
const SUM_IS_PRODUCT: u64 = 1 << 4;
const RESETS: u64 = 1 << 5;
const CHANGES: u64 = 1 << 6;
const STALES: u64 = 1 << 7;
const STARTS: u64 = 1 << 8;
const HISTOGRAMS: u64 = 1 << 9;
const ALL: u64 = (1 << 10) - 1;

/// Memory that encoding and decoding use again and again.
#[derive(Debug, Default)]
pub struct Scratch {
    encoder: Encoder,
    whole: Vec<i64>,
    floats: Vec<f64>,
}

/// Appends rows, of which there is at least one, in order of time.
pub fn encode(rows: &[RollupRow], step_ms: i64, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let rows = &rows[rows.len().saturating_sub(ROWS_MAX)..];
    let floats = Floats::of(rows);
    let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
    let flag = |is: bool, flag: u64| if is { flag } else { 0 };
    let any = |is: fn(&RollupRow) -> bool| rows.iter().any(is);
    let mut flags = flag(any(|r| r.changes > 0), CHANGES)
        | flag(any(|r| r.resets > 0), RESETS)
        | flag(any(|r| r.stales > 0), STALES)
        | flag(any(|r| r.start_ms != 0), STARTS)
        | flag(any(|r| r.histograms.is_some()), HISTOGRAMS);
    if any(|r| r.count > 0) {
        let products = rows.iter().zip(&floats.firsts).zip(&floats.sums);
        let is_product = |row: &RollupRow, first: f64, sum: f64| {
            row.count == 0 || (row.count as f64 * first).to_bits() == sum.to_bits()
        };
        let mut products = products.map(|((row, first), sum)| is_product(row, *first, *sum));
        flags |= FLOATS
            | flag(same(&floats.mins, &floats.firsts), MIN_IS_FIRST)
            | flag(same(&floats.maxs, &floats.lasts), MAX_IS_LAST)
            | flag(same(&floats.lasts, &floats.firsts), LAST_IS_FIRST)
            | flag(products.all(|is| is), SUM_IS_PRODUCT);
    }
    put_varint(out, rows.len() as u64);
    put_varint(out, flags);
    let Scratch { encoder, whole, floats: column } = scratch;
    let mut put = |of: &dyn Fn(&RollupRow) -> i64, encoder: &mut Encoder, out: &mut Vec<u8>| {
        whole.clear();
        whole.extend(rows.iter().map(of));
        ints::encode(whole, Effort::Small, &mut encoder.values.ints, out);
    };
    let into = |row: &RollupRow, time_ms: i64| time_ms.wrapping_sub(row.end_ms).wrapping_add(step_ms);
    put(&|r| r.end_ms.div_euclid(step_ms), encoder, out);
    put(&|r| r.count as i64, encoder, out);
    put(&|r| into(r, r.first_ms), encoder, out);
    put(&|r| into(r, r.last_ms), encoder, out);
    if flags & FLOATS != 0 {
        let mut put = |known: u64, values: &[f64], out: &mut Vec<u8>| {
            if flags & known == 0 {
                values::encode(values, Effort::Small, &mut encoder.values, out);
            }
        };
        put(0, &floats.firsts, out);
        put(LAST_IS_FIRST, &floats.lasts, out);
        put(MIN_IS_FIRST, &floats.mins, out);
        put(MAX_IS_LAST, &floats.maxs, out);
        put(SUM_IS_PRODUCT, &floats.sums, out);
    }
    if flags & RESETS != 0 {
        put(&|r| r.resets as i64, encoder, out);
        column.clear();
        column.extend(rows.iter().map(|r| r.correction));
        values::encode(column, Effort::Small, &mut encoder.values, out);
    }
    if flags & CHANGES != 0 {
        put(&|r| r.changes as i64, encoder, out);
    }
    if flags & STALES != 0 {
        put(&|r| r.stales as i64, encoder, out);
        put(&|r| r.last_stale_ms.map_or(0, |t| into(r, t)), encoder, out);
    }
    if flags & STARTS != 0 {
        put(&|r| r.start_ms, encoder, out);
    }
    if flags & HISTOGRAMS != 0 {
        put(&|r| r.histograms.as_ref().map_or(0, |h| h.count as i64), encoder, out);
        put(&|r| r.histograms.as_ref().map_or(0, |h| h.resets as i64), encoder, out);
        put_histograms(rows, encoder, out);
    }
}

/// First and last histogram of each row that has some, in stretches of one layout.
fn put_histograms(rows: &[RollupRow], encoder: &mut Encoder, out: &mut Vec<u8>) {
    let all = rows.iter().filter_map(|r| r.histograms.as_ref());
    let all: Vec<(u32, Arc<NativeHistogram>)> =
        all.flat_map(|h| [(0, Arc::clone(&h.first)), (0, Arc::clone(&h.last))]).collect();
    let mut rest = &all[..];
    while let Some((_, layout)) = rest.first() {
        let fits = rest.iter().take(histograms::samples_max(layout));
        let count = fits.take_while(|(_, h)| histograms::same_layout(h, layout)).count();
        let (now, later) = rest.split_at(count);
        put_varint(out, count as u64);
        histograms::encode(now, Effort::Small, &mut encoder.histograms, &mut encoder.values, out);
        rest = later;
    }
}

/// The columns of floats. Where a row has none, what comes before is repeated, as that is short.
struct Floats {
    firsts: Vec<f64>,
    lasts: Vec<f64>,
    mins: Vec<f64>,
    maxs: Vec<f64>,
    sums: Vec<f64>,
}

impl Floats {
    fn of(rows: &[RollupRow]) -> Self {
        let column = |of: fn(&RollupRow) -> f64| {
            let mut before = rows.iter().find(|r| r.count > 0).map_or(0.0, of);
            let mut next = |row: &RollupRow| {
                before = if row.count > 0 { of(row) } else { before };
                before
            };
            rows.iter().map(&mut next).collect()
        };
        Self {
            firsts: column(|r| r.first),
            lasts: column(|r| r.last),
            mins: column(|r| r.min),
            maxs: column(|r| r.max),
            sums: column(|r| r.sum),
        }
    }
}

/// Appends the rows of a block; `None`, and `out` as before, when it is damaged.
pub fn decode(block: &[u8], step_ms: i64, scratch: &mut Scratch, out: &mut Vec<RollupRow>) -> Option<()> {
    let start = out.len();
    let decoded = decode_rows(block, step_ms, scratch, out, start);
    if decoded.is_none() {
        out.truncate(start);
    }
    decoded
}

fn decode_rows(
    block: &[u8],
    step_ms: i64,
    scratch: &mut Scratch,
    out: &mut Vec<RollupRow>,
    start: usize,
) -> Option<()> {
    let Scratch { encoder, whole, floats } = scratch;
    let mut cursor = Cursor::new(block);
    let count = usize::try_from(cursor.varint()?).ok().filter(|n| (1..=ROWS_MAX).contains(n))?;
    let flags = cursor.varint()?;
    if flags > ALL {
        return None;
    }
    ints::decode(&mut cursor, count, &mut encoder.values.ints, whole)?;
    for &step in whole.iter() {
        let end_ms = step.checked_mul(step_ms)?;
        if out[start..].last().is_some_and(|before| before.end_ms >= end_ms) {
            return None;
        }
        out.push(RollupRow::empty(end_ms, step_ms));
    }
    let rows = &mut out[start..];
    let mut take = |cursor: &mut Cursor<'_>,
                    encoder: &mut Encoder,
                    rows: &mut [RollupRow],
                    put: &dyn Fn(&mut RollupRow, i64)| {
        ints::decode(cursor, count, &mut encoder.values.ints, whole)?;
        rows.iter_mut().zip(whole.iter()).for_each(|(row, &v)| put(row, v));
        Some(())
    };
    let at = move |row: &RollupRow, into: i64| row.end_ms.wrapping_sub(step_ms).wrapping_add(into);
    take(&mut cursor, encoder, rows, &|r, v| r.count = v as u64)?;
    take(&mut cursor, encoder, rows, &|r, v| r.first_ms = at(r, v))?;
    take(&mut cursor, encoder, rows, &|r, v| r.last_ms = at(r, v))?;
    if flags & FLOATS != 0 {
        let mut take = |known: u64, rows: &mut [RollupRow], put: &dyn Fn(&mut RollupRow, f64)| {
            if flags & known == 0 {
                floats.clear();
                values::decode(&mut cursor, count, &mut encoder.values, floats)?;
            }
            if floats.len() != count {
                return None;
            }
            let filled = rows.iter_mut().zip(floats.iter()).filter(|(row, _)| row.count > 0);
            filled.for_each(|(row, &v)| put(row, v));
            Some(())
        };
        take(0, rows, &|r, v| (r.first, r.last, r.min) = (v, v, v))?;
        take(LAST_IS_FIRST, rows, &|r, v| r.last = if flags & LAST_IS_FIRST == 0 { v } else { r.first })?;
        take(MIN_IS_FIRST, rows, &|r, v| r.min = if flags & MIN_IS_FIRST == 0 { v } else { r.first })?;
        take(MAX_IS_LAST, rows, &|r, v| r.max = if flags & MAX_IS_LAST == 0 { v } else { r.last })?;
        take(SUM_IS_PRODUCT, rows, &|r, v| {
            r.sum = if flags & SUM_IS_PRODUCT == 0 { v } else { r.count as f64 * r.first };
        })?;
    }
    if flags & RESETS != 0 {
        take(&mut cursor, encoder, rows, &|r, v| r.resets = v as u64)?;
        floats.clear();
        values::decode(&mut cursor, count, &mut encoder.values, floats)?;
        rows.iter_mut().zip(floats.iter()).for_each(|(row, &v)| row.correction = v);
    }
    if flags & CHANGES != 0 {
        take(&mut cursor, encoder, rows, &|r, v| r.changes = v as u64)?;
    }
    if flags & STALES != 0 {
        take(&mut cursor, encoder, rows, &|r, v| r.stales = v as u64)?;
        take(&mut cursor, encoder, rows, &|r, v| {
            r.last_stale_ms = (r.stales > 0).then(|| at(r, v));
        })?;
    }
    if flags & STARTS != 0 {
        take(&mut cursor, encoder, rows, &|r, v| r.start_ms = v)?;
    }
    if flags & HISTOGRAMS != 0 {
        let mut counts = Vec::with_capacity(count);
        ints::decode(&mut cursor, count, &mut encoder.values.ints, whole)?;
        counts.extend_from_slice(whole);
        ints::decode(&mut cursor, count, &mut encoder.values.ints, whole)?;
        take_histograms(&mut cursor, &counts, whole, encoder, rows)?;
    }
    (cursor.remaining() == 0).then_some(())
}

fn take_histograms(
    cursor: &mut Cursor<'_>,
    counts: &[i64],
    resets: &[i64],
    encoder: &mut Encoder,
    rows: &mut [RollupRow],
) -> Option<()> {
    let wanted = 2 * counts.iter().filter(|&&n| n != 0).count();
    let mut all = Vec::new();
    while all.len() < wanted {
        let count = usize::try_from(cursor.varint()?).ok()?;
        if count == 0 || count > wanted - all.len() {
            return None;
        }
        histograms::decode(cursor, count, 0, &mut encoder.histograms, &mut encoder.values, &mut all)?;
    }
    let mut all = all.into_iter().map(|(_, histogram)| histogram);
    for ((row, &count), &resets) in rows.iter_mut().zip(counts).zip(resets).filter(|((_, n), _)| **n != 0) {
        let (first, last) = (all.next()?, all.next()?);
        let (count, resets) = (count as u64, resets as u64);
        row.histograms = Some(Box::new(RollupHistograms { count, resets, first, last }));
    }
    Some(())
}
