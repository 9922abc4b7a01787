//! Writing rows: the samples that several series have at one time.
//!
//! A value is told by the last value of its series, which the head keeps anyway: so nothing is
//! kept here of single series. Whether a series' last value stands in this segment of the WAL is
//! told by the epoch in which it was written; in another epoch it is told by 0. Each row carries
//! a checksum of the values that it was told by, so that a reader that has lost a record notices
//! it. Start timestamps are told when they change, and are in that checksum too.
//!
//! A list of series that comes again becomes a layout, and is told by its number from then on.

use hashbrown::HashMap;

use super::{
    record::{self, Told},
    values::{self, Coded},
};
use crate::bytes::{put_signed, put_varint};

/// Layouts are numbered below this.
pub const LAYOUTS_MAX: usize = 1 << 16;

/// After so many samples for each series all values are told by 0 again, and layouts anew, so
/// that damage costs no more than these.
const EPOCH_SAMPLES: u64 = 64;

/// Lists seen once that are remembered.
const SEEN: usize = 1024;

/// One row that is being encoded.
#[derive(Debug, Default)]
pub struct RowBuffer {
    slots: Vec<u32>,
    /// Four bits each, the first in the low half.
    codes: Vec<u8>,
    payload: Vec<u8>,
    check: Check,
    /// Hash of the slots.
    shape: u64,
    /// Values of which nothing was known.
    based: u64,
    /// Start timestamps to be told before the row.
    starts: Vec<u8>,
}

/// Checksum of the values that a row is told by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Check(u64);

impl Check {
    #[inline]
    pub fn add(&mut self, bits: u64) {
        self.0 = mix(self.0, bits);
    }

    /// Adds a value and the start timestamp of its series, 0 where that is not known.
    #[inline]
    pub fn add_known(&mut self, bits: u64, start_ms: i64) {
        self.add(bits);
        if start_ms != 0 {
            self.add(start_ms as u64);
        }
    }

    pub fn finish(self) -> u32 {
        (self.0 ^ self.0 >> 32) as u32
    }
}

fn mix(hash: u64, with: u64) -> u64 {
    (hash.rotate_left(23) ^ with).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl RowBuffer {
    /// Forgets the row, and keeps the memory.
    pub fn clear(&mut self) {
        self.slots.clear();
        self.codes.clear();
        self.payload.clear();
        self.starts.clear();
        (self.check, self.shape, self.based) = (Check::default(), 0, 0);
    }

    /// Adds the value of a series, as told by `base`, which is 0 where nothing is `known`.
    pub fn push(&mut self, slot: u32, base: u64, known: bool, coded: Coded) {
        if self.slots.len().is_multiple_of(2) {
            self.codes.push(coded.code);
        } else if let Some(last) = self.codes.last_mut() {
            *last |= coded.code << 4;
        }
        self.slots.push(slot);
        self.shape = mix(self.shape, u64::from(slot));
        self.check.add(base);
        self.based += u64::from(!known);
        // Cheaper than copying as many bytes as there are.
        self.payload.extend_from_slice(&coded.payload.to_le_bytes());
        self.payload.truncate(self.payload.len() - 8 + coded.bytes());
    }

    /// Adds the start timestamp of the series that was pushed last, 0 where that is not known;
    /// `told_ms` is what readers of the log take it for.
    pub fn push_start(&mut self, slot: u32, start_ms: i64, told_ms: i64) {
        if start_ms != told_ms {
            put_varint(&mut self.starts, u64::from(slot));
            put_signed(&mut self.starts, start_ms);
        }
        if start_ms != 0 {
            self.check.add(start_ms as u64);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn put(&self, time_ms: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.check.finish().to_le_bytes());
        put_signed(out, time_ms);
        out.extend_from_slice(&self.codes);
        out.extend_from_slice(&self.payload);
    }
}

/// Makes records of rows.
#[derive(Debug)]
pub struct RowEncoder {
    layouts: Vec<Box<[u32]>>,
    by_shape: HashMap<u64, u32>,
    /// Shapes seen once, each in the place that it tells.
    seen: Box<[u64]>,
    series_in_layouts: u64,
    epoch: u32,
    /// Whether readers are to be told of the epoch.
    rebases: bool,
    /// Samples and series of the epoch.
    samples: u64,
    based: u64,
}

impl Default for RowEncoder {
    fn default() -> Self {
        Self {
            layouts: Vec::new(),
            by_shape: HashMap::new(),
            seen: vec![0; SEEN].into(),
            series_in_layouts: 0,
            // Series are of epoch 0 at first.
            epoch: 1,
            rebases: false,
            samples: 0,
            based: 0,
        }
    }
}

impl RowEncoder {
    /// Begins a segment, of whose readers nothing is known.
    pub fn begin_segment(&mut self) {
        self.forget();
        self.rebases = false;
    }

    /// Begins anew in the same segment, as is needed when written rows got lost or when slots
    /// get other series.
    pub fn forget(&mut self) {
        self.layouts.clear();
        self.by_shape.clear();
        self.series_in_layouts = 0;
        self.epoch = self.epoch.wrapping_add(1).max(1);
        self.rebases = true;
        (self.samples, self.based) = (0, 0);
    }

    /// The epoch of the next rows.
    pub fn epoch(&mut self) -> u32 {
        if self.samples > EPOCH_SAMPLES * self.based.max(1024) {
            self.forget();
        }
        self.epoch
    }

    /// Appends the record of a row, preceded by those that it needs; `ends` gets the end of each.
    pub fn put(&mut self, time_ms: i64, row: &RowBuffer, out: &mut Vec<u8>, ends: &mut Vec<usize>) {
        if row.is_empty() {
            return;
        }
        if std::mem::take(&mut self.rebases) {
            out.push(record::REBASE);
            ends.push(out.len());
        }
        if !row.starts.is_empty() {
            out.push(record::STARTS);
            out.extend_from_slice(&row.starts);
            ends.push(out.len());
        }
        self.samples += row.slots.len() as u64;
        self.based += row.based;
        match self.layout(row, out, ends) {
            Some(number) => {
                out.push(record::ROW);
                put_varint(out, u64::from(number));
            }
            None => {
                out.push(record::LOOSE_ROW);
                put_slots(&row.slots, out);
            }
        }
        row.put(time_ms, out);
        ends.push(out.len());
    }

    /// The layout of a row, if it has one or is to get one.
    fn layout(&mut self, row: &RowBuffer, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Option<u32> {
        if let Some(&number) = self.by_shape.get(&row.shape) {
            return (*self.layouts[number as usize] == *row.slots).then_some(number);
        }
        // A list that never comes again is cheaper without.
        let seen = &mut self.seen[(row.shape >> 32) as usize % SEEN];
        let again = std::mem::replace(seen, row.shape) == row.shape;
        let room = self.layouts.len() < LAYOUTS_MAX
            && self.series_in_layouts + row.slots.len() as u64 <= 2 * self.based + 4096;
        if !again || !room {
            return None;
        }
        let number = self.layouts.len() as u32;
        self.layouts.push(row.slots.as_slice().into());
        self.by_shape.insert(row.shape, number);
        self.series_in_layouts += row.slots.len() as u64;
        out.push(record::LAYOUT);
        put_varint(out, u64::from(number));
        put_slots(&row.slots, out);
        ends.push(out.len());
        Some(number)
    }

    /// About how much memory it takes.
    pub fn heap_bytes(&self) -> usize {
        self.layouts.iter().map(|l| 40 + l.len() * 4).sum::<usize>() + self.seen.len() * 8
    }
}

fn put_slots(slots: &[u32], out: &mut Vec<u8>) {
    put_varint(out, slots.len() as u64);
    let mut before = 0;
    for &slot in slots {
        put_signed(out, i64::from(slot) - before);
        before = i64::from(slot);
    }
}

/// Values of a row as they are read: codes, then payloads. `row` holds the values they are told
/// by, and gets them; `None` when there are too few bytes or too many.
pub fn decode_values(bytes: &[u8], row: &mut [Told]) -> Option<()> {
    let (codes, mut payload) = bytes.split_at_checked(row.len().div_ceil(2))?;
    for (i, told) in row.iter_mut().enumerate() {
        let code = codes[i / 2] >> (i % 2 * 4) & 15;
        let n = values::payload_bytes(code);
        let value = match payload.first_chunk::<8>() {
            Some(eight) => {
                let value = u64::from_le_bytes(*eight);
                if n == 8 { value } else { value & ((1 << (8 * n)) - 1) }
            }
            None => payload.get(..n)?.iter().rev().fold(0, |v, &byte| v << 8 | u64::from(byte)),
        };
        payload = &payload[n..];
        told.coded = Coded { code, payload: value };
        told.bits = values::decode(told.base, told.coded);
    }
    payload.is_empty().then_some(())
}
