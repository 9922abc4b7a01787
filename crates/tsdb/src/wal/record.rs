//! The records of the WAL, as `docs/formats/tsdb-wal.md` describes them byte by byte.
//!
//! Invariant: a segment of the WAL can be read without those before it. It begins with the
//! definitions of all series, and numbers of layouts mean nothing beyond it.

use std::collections::HashMap;

use vedette_model::{Labels, MetricKind, MetricMetadata};

use super::values;
use crate::{
    SeriesRef,
    bytes::{Cursor, put_signed, put_text, put_varint},
};

const SERIES: u8 = 1;
const COMPRESSED: u8 = 2;
const LAYOUT: u8 = 3;
const ROW: u8 = 4;
const METADATA: u8 = 5;

/// A row whose number is a multiple of this does not build on the one before, so that damage
/// costs at most so many rows of a layout.
const KEY_ROW_EVERY: u64 = 64;

/// Layouts and series in layouts beyond which the writer begins to number them anew.
const LAYOUTS_MAX: usize = 1024;
const LAYOUT_SERIES_MAX: usize = 4 << 20;

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

/// Appends a record that defines series.
pub fn put_series<'a>(series: impl ExactSizeIterator<Item = (SeriesRef, &'a Labels)>, out: &mut Vec<u8>) {
    out.push(SERIES);
    put_varint(out, series.len() as u64);
    for (reference, labels) in series {
        put_varint(out, reference.0);
        put_varint(out, labels.len() as u64);
        for (name, value) in labels {
            put_text(out, name);
            put_text(out, value);
        }
    }
}

/// Appends a record of metadata.
pub fn put_metadata<'a>(metadata: impl ExactSizeIterator<Item = &'a MetricMetadata>, out: &mut Vec<u8>) {
    out.push(METADATA);
    put_varint(out, metadata.len() as u64);
    for m in metadata {
        put_text(out, &m.family);
        out.push(KINDS.iter().position(|&k| k == m.kind).unwrap_or(0) as u8);
        put_text(out, &m.unit);
        put_text(out, &m.help);
    }
}

/// Wraps a record so that it takes less space, if it does.
pub fn compress(record: Vec<u8>) -> Vec<u8> {
    let mut out = vec![COMPRESSED];
    put_varint(&mut out, record.len() as u64);
    match zstd::bulk::compress(&record, 1) {
        Ok(frame) if frame.len() + out.len() < record.len() && record.len() <= INFLATED_BYTES_MAX => {
            out.extend_from_slice(&frame);
            out
        }
        _ => record,
    }
}

/// Writes rows: the list of their series is a layout, told once.
#[derive(Debug, Default)]
pub struct RowEncoder {
    layouts: Vec<Layout>,
    /// Layouts by what is cheap to compare.
    by_shape: HashMap<(usize, SeriesRef, SeriesRef), Vec<usize>>,
    series: usize,
}

#[derive(Debug)]
struct Layout {
    series: Box<[SeriesRef]>,
    before: Box<[f64]>,
    row: u64,
}

impl RowEncoder {
    /// Begins anew, as every segment must, and as is needed when written rows got lost.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Appends the record of a row, preceded by that of its layout if it is new; `ends` gets the
    /// end of each record.
    pub fn put(
        &mut self,
        time_ms: i64,
        series: &[SeriesRef],
        row: &[f64],
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        let (Some(&first), Some(&last)) = (series.first(), series.last()) else { return };
        let shape = (series.len(), first, last);
        let known = self.by_shape.get(&shape).into_iter().flatten().copied();
        let mut known = known.filter(|&n| *self.layouts[n].series == *series);
        let number = known.next().unwrap_or_else(|| {
            if self.layouts.len() >= LAYOUTS_MAX || self.series + series.len() > LAYOUT_SERIES_MAX {
                self.reset();
            }
            let number = self.layouts.len();
            self.series += series.len();
            self.layouts.push(Layout {
                series: series.into(),
                before: vec![0.0; series.len()].into(),
                row: 0,
            });
            self.by_shape.entry(shape).or_default().push(number);
            out.push(LAYOUT);
            put_varint(out, number as u64);
            put_varint(out, series.len() as u64);
            let mut before = 0;
            for reference in series {
                put_signed(out, reference.0.wrapping_sub(before) as i64);
                before = reference.0;
            }
            ends.push(out.len());
            number
        });
        let layout = &mut self.layouts[number];
        out.push(ROW);
        put_varint(out, number as u64);
        put_varint(out, layout.row);
        put_signed(out, time_ms);
        if layout.row.is_multiple_of(KEY_ROW_EVERY) {
            layout.before.fill(0.0);
        }
        values::encode(&mut layout.before, row, out);
        layout.row += 1;
        ends.push(out.len());
    }
}

/// What a record tells its reader.
pub trait Replay {
    /// A series, under the number used in this segment of the WAL; gives the number now.
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef>;
    /// Samples of one time; a series that is not known any more is `None`.
    fn row(&mut self, time_ms: i64, series: &[Option<SeriesRef>], values: &[f64]);
    /// Metadata.
    fn metadata(&mut self, metadata: MetricMetadata);
}

/// Reads records.
#[derive(Debug, Default)]
pub struct Decoder {
    segment: u64,
    series: HashMap<u64, SeriesRef>,
    layouts: Vec<Option<ReadLayout>>,
}

#[derive(Debug)]
struct ReadLayout {
    series: Vec<Option<SeriesRef>>,
    before: Vec<f64>,
    next_row: u64,
}

impl Decoder {
    /// Reads one record; `None` when it is damaged or builds on a row that is missing.
    pub fn read(&mut self, segment: u64, record: &[u8], replay: &mut dyn Replay) -> Option<()> {
        if segment != self.segment {
            *self = Self { segment, ..Self::default() };
        }
        let mut cursor = Cursor::new(record);
        match cursor.byte()? {
            COMPRESSED => {
                let length = usize::try_from(cursor.varint()?).ok().filter(|&n| n <= INFLATED_BYTES_MAX)?;
                let inner = zstd::bulk::decompress(cursor.take(cursor.remaining())?, length).ok()?;
                let mut inner = Cursor::new(&inner);
                let kind = inner.byte().filter(|&kind| kind != COMPRESSED)?;
                self.read_kind(kind, &mut inner, replay)
            }
            kind => self.read_kind(kind, &mut cursor, replay),
        }
    }

    fn read_kind(&mut self, kind: u8, cursor: &mut Cursor<'_>, replay: &mut dyn Replay) -> Option<()> {
        match kind {
            SERIES => {
                for _ in 0..cursor.count(2)? {
                    let number = cursor.varint()?;
                    let labels = cursor.count(2)?;
                    let pairs = (0..labels)
                        .map(|_| Some((cursor.text()?, cursor.text()?)))
                        .collect::<Option<Vec<_>>>()?;
                    if let Some(reference) = replay.series(&Labels::from_pairs(pairs)) {
                        self.series.insert(number, reference);
                    }
                }
            }
            LAYOUT => self.read_layout(cursor)?,
            ROW => self.read_row(cursor, replay)?,
            METADATA => {
                for _ in 0..cursor.count(4)? {
                    replay.metadata(MetricMetadata {
                        family: cursor.text()?.to_owned(),
                        kind: *KINDS.get(usize::from(cursor.byte()?))?,
                        unit: cursor.text()?.to_owned(),
                        help: cursor.text()?.to_owned(),
                    });
                }
            }
            _ => return None,
        }
        (cursor.remaining() == 0).then_some(())
    }

    fn read_layout(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let number = usize::try_from(cursor.varint()?).ok().filter(|&n| n < LAYOUTS_MAX)?;
        if number == 0 {
            self.layouts.clear();
        }
        let count = cursor.count(1)?;
        let mut series = Vec::with_capacity(count);
        let mut reference = 0u64;
        for _ in 0..count {
            reference = reference.wrapping_add(cursor.signed()? as u64);
            series.push(self.series.get(&reference).copied());
        }
        if self.layouts.len() <= number {
            self.layouts.resize_with(number + 1, || None);
        }
        self.layouts[number] = Some(ReadLayout { series, before: vec![0.0; count], next_row: 0 });
        Some(())
    }

    fn read_row(&mut self, cursor: &mut Cursor<'_>, replay: &mut dyn Replay) -> Option<()> {
        let number = usize::try_from(cursor.varint()?).ok()?;
        let (row, time_ms) = (cursor.varint()?, cursor.signed()?);
        let layout = self.layouts.get_mut(number)?.as_mut()?;
        if row.is_multiple_of(KEY_ROW_EVERY) {
            layout.before.fill(0.0);
        } else if row != layout.next_row {
            return None;
        }
        // Should decoding fail half way, the next row must not build on this one.
        layout.next_row = 0;
        values::decode(cursor, &mut layout.before)?;
        layout.next_row = row.checked_add(1)?;
        replay.row(time_ms, &layout.series, &layout.before);
        Some(())
    }
}

#[cfg(test)]
mod tests;
