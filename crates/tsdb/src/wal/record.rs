//! The records of the WAL, as `docs/formats/tsdb-wal.md` describes them byte by byte.
//!
//! Invariant: a segment of the WAL can be read without those before it. It begins with the
//! definitions of all series, and numbers of series and layouts mean nothing beyond it. What
//! builds on a record that is lost or damaged is left out, never read wrongly.

use hashbrown::HashMap;
use vedette_model::{Exemplar, MetricKind, MetricMetadata};
use zstd::bulk::Decompressor;

use super::{
    beginning::{Beginning, Meaning},
    definitions::{DefinedSeries, Defining, PairList},
    gather::{Columns, Gathered},
    rows::LAYOUTS_MAX,
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

pub const KINDS: [MetricKind; 8] = [
    MetricKind::Unknown,
    MetricKind::Counter,
    MetricKind::Gauge,
    MetricKind::Histogram,
    MetricKind::Summary,
    MetricKind::Info,
    MetricKind::StateSet,
    MetricKind::GaugeHistogram,
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
    /// What comes now stands in this segment; told before the first record of each.
    fn begin_segment(&mut self, number: u64) {
        let _ = number;
    }
    /// Series; appends to `references` what each is to be known by.
    fn series(&mut self, defined: &DefinedSeries<'_>, references: &mut Vec<SeriesRef>);
    /// Samples of one time.
    fn row(&mut self, time_ms: i64, samples: &[Told]);
    /// Samples that several series have at the same times; none of the series is told twice.
    fn columns(&mut self, columns: &Columns<'_>) {
        columns.each_row(&mut |time_ms, row| self.row(time_ms, row));
    }
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
    beginning: Beginning,
    pairs: PairList,
    defining: Defining,
    /// Index in `series` by number.
    numbers: Numbers,
    series: Vec<Known>,
    /// The list of gathered rows that each layout has.
    layouts: Vec<Option<u32>>,
    /// Rows that are not replayed yet.
    gathered: Gathered,
    inflated: Vec<u8>,
    /// Gathered rows that could not be read.
    lost_rows: u64,
}

/// A series of the segment.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// [`LOST`] where the definition is.
    pub reference: SeriesRef,
    /// What its next value is told by.
    pub bits: u64,
    /// Start timestamp of its next samples, 0 where that is not known.
    pub start_ms: i64,
}

pub const LOST: SeriesRef = SeriesRef(u64::MAX);

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
    /// Forgets all, and keeps the memory.
    fn clear(&mut self) {
        self.low.clear();
        self.high.clear();
    }

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
    /// Reads one record; `None` when it is damaged or builds on one that is missing. Rows wait
    /// for [`Decoder::replay_rows`], which comes before the first record of another segment too.
    pub fn read(&mut self, segment: u64, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        if segment != self.segment {
            self.begin_segment(segment, replay);
        }
        if let Some(meaning) = self.beginning.find(record) {
            match meaning {
                Meaning::Pairs { first, texts } => self.pairs.repeat(*first, texts),
                Meaning::Series(defined) => {
                    self.series.reserve(defined.len());
                    for &(number, reference) in defined {
                        self.numbers.insert(number, self.series.len() as u32);
                        self.series.push(Known { reference, bits: 0, start_ms: 0 });
                    }
                }
            }
            return Some(());
        }
        let series = self.series.len();
        let defined = self.read_new(record, replay);
        if self.beginning.goes_on() {
            match defined {
                Some(PAIRS) => {
                    let texts = self.pairs.last_read();
                    let meaning = Meaning::Pairs { first: texts.0, texts: texts.1.into() };
                    self.beginning.keep(record, meaning);
                }
                Some(SERIES) => {
                    let read = self.defining.numbers().zip(&self.series[series..]);
                    let meaning = Meaning::Series(read.map(|(n, known)| (n, known.reference)).collect());
                    self.beginning.keep(record, meaning);
                }
                _ => self.beginning.end(),
            }
        }
        defined.map(drop)
    }

    fn begin_segment(&mut self, segment: u64, replay: &mut dyn Replay) {
        self.replay_rows(replay);
        self.segment = segment;
        self.beginning.begin_segment();
        self.pairs.begin_segment();
        self.numbers.clear();
        self.series.clear();
        self.let_go_layouts();
    }

    /// Reads a record that is not known; gives its kind if it can be read.
    fn read_new(&mut self, record: &[u8], replay: &mut dyn Replay) -> Option<u8> {
        let (&kind, rest) = record.split_first()?;
        if kind != COMPRESSED {
            return self.read_kind(kind, rest, replay).map(|()| kind);
        }
        let mut cursor = Cursor::new(rest);
        let length = usize::try_from(cursor.varint()?).ok().filter(|&n| n <= INFLATED_BYTES_MAX)?;
        let mut inner = std::mem::take(&mut self.inflated);
        inner.clear();
        inner.reserve_exact(length);
        let frame = cursor.take(cursor.remaining())?;
        let inflated = Decompressor::new().and_then(|mut d| d.decompress_to_buffer(frame, &mut inner));
        let read = match inner.split_first() {
            Some((&kind, rest)) if inflated.is_ok() => self.read_kind(kind, rest, replay).map(|()| kind),
            _ => None,
        };
        self.inflated = inner;
        read
    }

    /// Replays the rows that wait.
    pub fn replay_rows(&mut self, replay: &mut dyn Replay) {
        self.lost_rows += self.gathered.replay(&mut self.series, replay);
    }

    /// Rows among those replayed that could not be read, or build on one that is missing.
    pub fn lost_rows(&self) -> u64 {
        self.lost_rows
    }

    fn read_kind(&mut self, kind: u8, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        let mut cursor = Cursor::new(record);
        if matches!(kind, LATE | STARTS | HISTOGRAMS | LATE_WHOLE | REBASE) || self.gathered.is_full() {
            // What changes what rows are told by, or has samples itself, must not overtake them.
            self.replay_rows(replay);
        }
        match kind {
            PAIRS => self.pairs.read(&mut cursor),
            SERIES => self.read_series(&mut cursor, replay),
            LAYOUT => {
                let number = usize::try_from(cursor.varint()?).ok().filter(|&n| n < LAYOUTS_MAX)?;
                let series = self.read_slots(&mut cursor)?;
                if self.layouts.len() <= number {
                    self.layouts.resize(number + 1, None);
                }
                let before = self.layouts[number].take();
                before.into_iter().for_each(|list| self.gathered.let_go_list(list));
                if cursor.remaining() > 0 {
                    return None;
                }
                let list = self.gathered.list(series);
                self.gathered.keep_list(list);
                self.layouts[number] = Some(list);
                Some(())
            }
            ROW => {
                let number = usize::try_from(cursor.varint()?).ok()?;
                let list = (*self.layouts.get(number)?)?;
                self.read_row(&mut cursor, list)
            }
            LOOSE_ROW => {
                let series = self.read_slots(&mut cursor)?;
                let list = self.gathered.list(series);
                self.read_row(&mut cursor, list)
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
                self.let_go_layouts();
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

    fn let_go_layouts(&mut self) {
        self.layouts.drain(..).flatten().for_each(|list| self.gathered.let_go_list(list));
    }

    fn known(&mut self, number: u32) -> Option<&mut Known> {
        self.numbers.get(number).map(|index| &mut self.series[index as usize])
    }

    fn reference(&mut self, number: u32) -> Option<SeriesRef> {
        self.known(number).map(|known| known.reference).filter(|&reference| reference != LOST)
    }

    fn read_series(&mut self, cursor: &mut Cursor<'_>, replay: &mut dyn Replay) -> Option<()> {
        let read = self.defining.read(cursor, &self.pairs);
        // Those before a place that cannot be read are good.
        let Self { defining, pairs, numbers, series, .. } = self;
        series.reserve(defining.len());
        for (number, reference) in defining.define(pairs, replay) {
            numbers.insert(number, series.len() as u32);
            series.push(Known { reference: reference.unwrap_or(LOST), bits: 0, start_ms: 0 });
        }
        read
    }

    /// Reads a list of series, as indexes in `series`.
    fn read_slots(&mut self, cursor: &mut Cursor<'_>) -> Option<Box<[u32]>> {
        let count = cursor.count(1)?;
        let mut list = Vec::with_capacity(count);
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
            list.push(index);
        }
        Some(list.into())
    }

    fn read_row(&mut self, cursor: &mut Cursor<'_>, list: u32) -> Option<()> {
        let (check, time_ms) = (cursor.u32()?, cursor.signed()?);
        self.gathered.add_row(list, check, time_ms, cursor.take(cursor.remaining())?);
        Some(())
    }
}

#[cfg(test)]
mod tests;
