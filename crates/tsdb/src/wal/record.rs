//! The records of the WAL, as `docs/formats/tsdb-wal.md` describes them byte by byte.
//!
//! Invariant: a segment of the WAL can be read without those before it. It begins with the
//! definitions of all series, and numbers of series and layouts mean nothing beyond it. What
//! builds on a record that is lost or damaged is left out, never read wrongly.

use hashbrown::HashMap;
use vedette_model::{Exemplar, MetricKind, MetricMetadata};

use super::{
    definitions::{Defined, PairList},
    rows::{self, Check, LAYOUTS_MAX},
    values::Coded,
    whole::{self, WholeSample},
};
use crate::{
    SeriesRef,
    bytes::{Cursor, put_signed, put_varint},
    head::LateSample,
};

pub const SERIES: u8 = 1;
const COMPRESSED: u8 = 2;
pub const LAYOUT: u8 = 3;
pub const ROW: u8 = 4;
pub const METADATA: u8 = 5;
pub const LOOSE_ROW: u8 = 6;
const LATE: u8 = 7;
pub const REBASE: u8 = 8;
pub const STARTS: u8 = 9;
pub const HISTOGRAMS: u8 = 10;
pub const LATE_WHOLE: u8 = 11;
pub const EXEMPLARS: u8 = 12;
pub const PAIRS: u8 = 13;

/// Smaller records are not worth compressing.
const COMPRESSED_BYTES_MIN: usize = 8 << 10;

/// What a compressed record may become.
const INFLATED_BYTES_MAX: usize = 64 << 20;

pub const KINDS: [MetricKind; 7] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
];

/// Appends a record of late samples, of which there is at least one; they have nothing beside
/// their value.
pub fn put_late<'a>(samples: impl Iterator<Item = &'a LateSample>, out: &mut Vec<u8>) {
    out.push(LATE);
    let mut before = 0;
    for sample in samples {
        put_varint(out, u64::from(sample.slot));
        put_signed(out, sample.time_ms.wrapping_sub(before));
        out.extend_from_slice(&sample.value.bits.to_le_bytes());
        before = sample.time_ms;
    }
}

/// Makes a record take less space, if that can be done.
pub fn compress(record: &mut Vec<u8>) {
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
    fn series(&mut self, defined: &Defined<'_>) -> Option<SeriesRef>;
    /// Samples of one time.
    fn row(&mut self, time_ms: i64, samples: &[Told]);
    /// A sample that came late.
    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64);
    /// A sample that is told whole.
    fn whole(&mut self, series: SeriesRef, sample: WholeSample);
    /// An exemplar.
    fn exemplar(&mut self, series: SeriesRef, exemplar: Exemplar);
    /// Metadata.
    fn metadata(&mut self, metadata: MetricMetadata);
}

/// A value as the log tells it.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    pub series: SeriesRef,
    /// Bits of the value.
    pub bits: u64,
    /// Bits of the value that it is told by, and how: whoever keeps that value too need not find
    /// out again.
    pub base: u64,
    pub coded: Coded,
    /// The start timestamp, 0 where it is not known.
    pub start_ms: i64,
}

impl Told {
    /// A value that no other is needed for.
    pub fn alone(slot: u32, bits: u64, start_ms: i64) -> Self {
        Self { series: SeriesRef::new(0, slot, 0), bits, base: bits, coded: Coded::SAME, start_ms }
    }
}

/// Reads records.
#[derive(Debug, Default)]
pub struct Decoder {
    segment: u64,
    pairs: PairList,
    /// Pairs of the series that is read.
    labels: Vec<u32>,
    /// Index in `series` by number.
    numbers: Numbers,
    series: Vec<Known>,
    layouts: Vec<Option<Box<[u32]>>>,
    loose: Vec<u32>,
    row: Vec<Told>,
}

/// A series of the segment.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// [`LOST`] where the definition is.
    reference: SeriesRef,
    /// What its next value is told by.
    bits: u64,
    /// Start timestamp of its next samples, 0 where that is not known.
    start_ms: i64,
}

const LOST: SeriesRef = SeriesRef(u64::MAX);

/// Numbers from here on are rare, or damage that must not cost memory.
const LOW_NUMBERS: u32 = 1 << 22;

/// The index of each series by its number. Writers count from 0 on.
#[derive(Debug, Default)]
struct Numbers {
    /// 0 for none, else one more than the index.
    low: Vec<u32>,
    high: HashMap<u32, u32>,
}

impl Numbers {
    fn get(&self, number: u32) -> Option<u32> {
        if number < LOW_NUMBERS {
            return self.low.get(number as usize)?.checked_sub(1);
        }
        self.high.get(&number).copied()
    }

    fn insert(&mut self, number: u32, index: u32) {
        if number >= LOW_NUMBERS {
            self.high.insert(number, index);
            return;
        }
        let place = number as usize;
        if self.low.len() <= place {
            self.low.resize(place + 1, 0);
        }
        self.low[place] = index + 1;
    }
}

impl Decoder {
    /// Reads one record; `None` when it is damaged or builds on one that is missing.
    pub fn read(&mut self, segment: u64, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        if segment != self.segment {
            let mut pairs = std::mem::take(&mut self.pairs);
            pairs.begin_segment();
            *self = Self { segment, pairs, ..Self::default() };
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
            PAIRS => self.pairs.read(&mut cursor),
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
                    if let Some(reference) = self.reference(number) {
                        replay.late(reference, before, bits);
                    }
                }
                Some(())
            }
            STARTS => {
                while cursor.remaining() > 0 {
                    let (number, start_ms) = (cursor.varint_u32()?, cursor.signed()?);
                    if let Some(known) = self.known(number) {
                        known.start_ms = start_ms;
                    }
                }
                Some(())
            }
            HISTOGRAMS | LATE_WHOLE => {
                let is_late = kind == LATE_WHOLE;
                let mut before = 0;
                while cursor.remaining() > 0 {
                    let (number, sample) = whole::read(&mut cursor, is_late, &mut before)?;
                    let Some(known) = self.known(number) else { continue };
                    if !is_late {
                        (known.bits, known.start_ms) = (0, 0);
                    }
                    if known.reference != LOST {
                        replay.whole(known.reference, sample);
                    }
                }
                Some(())
            }
            EXEMPLARS => {
                let mut before = 0;
                while cursor.remaining() > 0 {
                    let (number, exemplar) = whole::read_exemplar(&mut cursor, &mut before)?;
                    if let Some(reference) = self.reference(number) {
                        replay.exemplar(reference, exemplar);
                    }
                }
                Some(())
            }
            REBASE => {
                self.series.iter_mut().for_each(|s| (s.bits, s.start_ms) = (0, 0));
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

    fn known(&mut self, number: u32) -> Option<&mut Known> {
        self.numbers.get(number).map(|index| &mut self.series[index as usize])
    }

    fn reference(&mut self, number: u32) -> Option<SeriesRef> {
        self.known(number).map(|known| known.reference).filter(|&reference| reference != LOST)
    }

    fn read_series(&mut self, cursor: &mut Cursor<'_>, replay: &mut dyn Replay) -> Option<()> {
        while cursor.remaining() > 0 {
            let number = cursor.varint_u32()?;
            let hash = cursor.u64()?;
            let mut whole = true;
            self.labels.clear();
            for _ in 0..cursor.count(1)? {
                let text = self.pairs.number(cursor.varint_u32()?);
                whole &= text.is_some();
                self.labels.extend(text);
            }
            let defined = Defined { hash, pairs: &self.labels, list: &self.pairs };
            let reference = if whole {
                if !defined.is_sorted() {
                    return None;
                }
                replay.series(&defined).unwrap_or(LOST)
            } else {
                LOST
            };
            self.numbers.insert(number, self.series.len() as u32);
            self.series.push(Known { reference, bits: 0, start_ms: 0 });
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
            let index = self.numbers.get(number).unwrap_or_else(|| {
                // Its definition is lost, but it must be counted in.
                let index = self.series.len() as u32;
                self.series.push(Known { reference: LOST, bits: 0, start_ms: 0 });
                self.numbers.insert(number, index);
                index
            });
            out.push(index);
        }
        Some(())
    }

    fn read_row(&mut self, cursor: &mut Cursor<'_>, series: &[u32], replay: &mut dyn Replay) -> Option<()> {
        let told = cursor.u32()?;
        let time_ms = cursor.signed()?;
        let mut check = Check::default();
        self.row.clear();
        for &index in series {
            let Known { reference, bits, start_ms } = self.series[index as usize];
            check.add(bits);
            if start_ms != 0 {
                check.add(start_ms as u64);
            }
            self.row.push(Told { series: reference, bits, base: bits, coded: Coded::SAME, start_ms });
        }
        if check.finish() != told {
            return None;
        }
        rows::decode_values(cursor.take(cursor.remaining())?, &mut self.row)?;
        let mut lost = 0;
        for (&index, told) in series.iter().zip(&self.row) {
            self.series[index as usize].bits = told.bits;
            lost += usize::from(told.series == LOST);
        }
        if lost > 0 {
            self.row.retain(|told| told.series != LOST);
        }
        replay.row(time_ms, &self.row);
        Some(())
    }
}

#[cfg(test)]
mod tests;
