//! The records of the WAL, as `docs/formats/tsdb-wal.md` describes them byte by byte.
//!
//! Invariant: a segment of the WAL can be read without those before it. It begins with the
//! definitions of all series, and numbers of series and layouts mean nothing beyond it. What
//! builds on a record that is lost or damaged is left out, never read wrongly.

use hashbrown::HashMap;
use vedette_model::{Labels, MetricKind, MetricMetadata};

use super::rows::{self, Check, LAYOUTS_MAX};
use crate::{
    SeriesRef,
    bytes::{Cursor, put_signed, put_text, put_varint},
    head::LateSample,
};

const SERIES: u8 = 1;
const COMPRESSED: u8 = 2;
pub const LAYOUT: u8 = 3;
pub const ROW: u8 = 4;
const METADATA: u8 = 5;
pub const LOOSE_ROW: u8 = 6;
const LATE: u8 = 7;
pub const REBASE: u8 = 8;

/// A record of definitions that has become this large is followed by another.
const DEFINITIONS_BYTES: usize = 1 << 20;

/// Smaller records are not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 8 << 10;

/// What a compressed record may become.
const INFLATED_BYTES_MAX: usize = 64 << 20;

const KINDS: [MetricKind; 7] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

/// Records that define series and tell metadata.
#[derive(Debug, Default)]
pub struct Definitions {
    records: Vec<Vec<u8>>,
    /// Those that get no further series.
    full: usize,
}

impl Definitions {
    /// Defines a series.
    pub fn define<'a>(&mut self, number: u32, labels: impl ExactSizeIterator<Item = (&'a str, &'a str)>) {
        if self.records.len() == self.full {
            self.records.push(vec![SERIES]);
        }
        let record = &mut self.records[self.full];
        put_varint(record, u64::from(number));
        put_varint(record, labels.len() as u64);
        for (name, value) in labels {
            put_text(record, name);
            put_text(record, value);
        }
        if record.len() >= DEFINITIONS_BYTES {
            compress(record);
            self.full += 1;
        }
    }

    /// Tells metadata.
    pub fn tell<'a>(&mut self, metadata: impl ExactSizeIterator<Item = &'a MetricMetadata>) {
        let mut record = vec![METADATA];
        put_varint(&mut record, metadata.len() as u64);
        for m in metadata {
            put_text(&mut record, &m.family);
            record.push(KINDS.iter().position(|&k| k == m.kind).unwrap_or(0) as u8);
            put_text(&mut record, &m.unit);
            put_text(&mut record, &m.help);
        }
        compress(&mut record);
        self.records.push(record);
        self.full = self.records.len();
    }

    /// The records.
    pub fn records(&mut self) -> impl Iterator<Item = &[u8]> {
        if let Some(record) = self.records.get_mut(self.full) {
            compress(record);
            self.full += 1;
        }
        self.records.iter().map(Vec::as_slice)
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub fn clear(&mut self) {
        self.records.clear();
        self.full = 0;
    }
}

/// Appends a record of late samples.
pub fn put_late(samples: &[LateSample], out: &mut Vec<u8>) {
    out.push(LATE);
    let mut before = 0;
    for sample in samples {
        put_varint(out, u64::from(sample.slot));
        put_signed(out, sample.time_ms.wrapping_sub(before));
        out.extend_from_slice(&sample.bits.to_le_bytes());
        before = sample.time_ms;
    }
}

/// Makes a record take less space, if that can be done.
fn compress(record: &mut Vec<u8>) {
    if record.len() < COMPRESSED_BYTES_MIN || record.len() > INFLATED_BYTES_MAX {
        return;
    }
    let mut out = vec![COMPRESSED];
    put_varint(&mut out, record.len() as u64);
    if let Ok(frame) = zstd::bulk::compress(record, 1)
        && frame.len() + out.len() < record.len()
    {
        out.extend_from_slice(&frame);
        *record = out;
    }
}

/// What a record tells its reader.
pub trait Replay {
    /// What comes now stands in this segment; told before each record.
    fn begin_segment(&mut self, number: u64) {
        let _ = number;
    }
    /// A series; gives what it is to be known by.
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef>;
    /// Samples of one time: series and bits of the value.
    fn row(&mut self, time_ms: i64, samples: &[(SeriesRef, u64)]);
    /// A sample that came late.
    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64);
    /// Metadata.
    fn metadata(&mut self, metadata: MetricMetadata);
}

/// Reads records.
#[derive(Debug, Default)]
pub struct Decoder {
    segment: u64,
    /// Index in `series` by number.
    numbers: HashMap<u32, u32>,
    series: Vec<Known>,
    layouts: Vec<Option<Box<[u32]>>>,
    loose: Vec<u32>,
    bits: Vec<u64>,
    row: Vec<(SeriesRef, u64)>,
}

/// A series of the segment.
#[derive(Debug, Clone, Copy)]
struct Known {
    reference: Option<SeriesRef>,
    /// What its next value is told by.
    bits: u64,
}

impl Decoder {
    /// Reads one record; `None` when it is damaged or builds on one that is missing.
    pub fn read(&mut self, segment: u64, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        if segment != self.segment {
            *self = Self { segment, ..Self::default() };
        }
        let (&kind, rest) = record.split_first()?;
        if kind != COMPRESSED {
            return self.read_kind(kind, rest, replay);
        }
        let mut cursor = Cursor::new(rest);
        let length = usize::try_from(cursor.varint()?).ok().filter(|&n| n <= INFLATED_BYTES_MAX)?;
        let inner = zstd::bulk::decompress(cursor.take(cursor.remaining())?, length).ok()?;
        let (&kind, rest) = inner.split_first()?;
        self.read_kind(kind, rest, replay)
    }

    fn read_kind(&mut self, kind: u8, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        let mut cursor = Cursor::new(record);
        match kind {
            SERIES => self.read_series(&mut cursor, replay),
            LAYOUT => {
                let number = usize::try_from(cursor.varint()?).ok().filter(|&n| n < LAYOUTS_MAX)?;
                let mut slots = Vec::new();
                self.read_slots(&mut cursor, &mut slots)?;
                if self.layouts.len() <= number {
                    self.layouts.resize(number + 1, None);
                }
                let whole = cursor.remaining() == 0;
                self.layouts[number] = whole.then(|| slots.into());
                whole.then_some(())
            }
            ROW => {
                let number = usize::try_from(cursor.varint()?).ok()?;
                let layout = self.layouts.get_mut(number)?.take()?;
                let read = self.read_row(&mut cursor, &layout, replay);
                self.layouts[number] = Some(layout);
                read
            }
            LOOSE_ROW => {
                let mut series = std::mem::take(&mut self.loose);
                series.clear();
                let read = self
                    .read_slots(&mut cursor, &mut series)
                    .and_then(|()| self.read_row(&mut cursor, &series, replay));
                self.loose = series;
                read
            }
            LATE => {
                let mut before = 0i64;
                while cursor.remaining() > 0 {
                    let number = cursor.varint_u32()?;
                    before = before.wrapping_add(cursor.signed()?);
                    let bits = cursor.u64()?;
                    let known = self.numbers.get(&number).map(|&i| self.series[i as usize]);
                    if let Some(reference) = known.and_then(|k| k.reference) {
                        replay.late(reference, before, bits);
                    }
                }
                Some(())
            }
            REBASE => {
                self.series.iter_mut().for_each(|s| s.bits = 0);
                self.layouts.clear();
                (cursor.remaining() == 0).then_some(())
            }
            METADATA => {
                for _ in 0..cursor.count(4)? {
                    replay.metadata(MetricMetadata {
                        family: cursor.text()?.to_owned(),
                        kind: *KINDS.get(usize::from(cursor.byte()?))?,
                        unit: cursor.text()?.to_owned(),
                        help: cursor.text()?.to_owned(),
                    });
                }
                (cursor.remaining() == 0).then_some(())
            }
            _ => None,
        }
    }

    fn read_series(&mut self, cursor: &mut Cursor<'_>, replay: &mut dyn Replay) -> Option<()> {
        let mut pairs = Vec::new();
        while cursor.remaining() > 0 {
            let number = cursor.varint_u32()?;
            pairs.clear();
            for _ in 0..cursor.count(2)? {
                pairs.push((cursor.text()?, cursor.text()?));
            }
            let sorted = pairs.is_sorted_by(|a, b| a.0 < b.0) && pairs.iter().all(|p| !p.1.is_empty());
            if !sorted {
                return None;
            }
            let reference = replay.series(&Labels::from_sorted(pairs.iter().copied()));
            self.numbers.insert(number, self.series.len() as u32);
            self.series.push(Known { reference, bits: 0 });
        }
        Some(())
    }

    /// Reads a list of series, as indexes in `series`.
    fn read_slots(&mut self, cursor: &mut Cursor<'_>, out: &mut Vec<u32>) -> Option<()> {
        let count = cursor.count(1)?;
        out.reserve(count);
        let mut before = 0i64;
        for _ in 0..count {
            before = before.wrapping_add(cursor.signed()?);
            let number = u32::try_from(before).ok()?;
            let index = *self.numbers.entry(number).or_insert_with(|| {
                // Its definition is lost, but it must be counted in.
                self.series.push(Known { reference: None, bits: 0 });
                self.series.len() as u32 - 1
            });
            out.push(index);
        }
        Some(())
    }

    fn read_row(&mut self, cursor: &mut Cursor<'_>, series: &[u32], replay: &mut dyn Replay) -> Option<()> {
        let told = cursor.u32()?;
        let time_ms = cursor.signed()?;
        let mut check = Check::default();
        self.bits.clear();
        for &index in series {
            let bits = self.series[index as usize].bits;
            check.add(bits);
            self.bits.push(bits);
        }
        if check.finish() != told {
            return None;
        }
        rows::decode_values(cursor.take(cursor.remaining())?, &mut self.bits)?;
        self.row.clear();
        for (&index, &bits) in series.iter().zip(&self.bits) {
            let known = &mut self.series[index as usize];
            known.bits = bits;
            if let Some(reference) = known.reference {
                self.row.push((reference, bits));
            }
        }
        replay.row(time_ms, &self.row);
        Some(())
    }
}

#[cfg(test)]
mod tests;
