//! Samples and exemplars that are told whole, by nothing before them: histograms, late samples
//! with something beside their value, exemplars.

use std::sync::Arc;

use vedette_model::{Exemplar, Labels, NativeHistogram};

use super::{
    histograms::{Reader, encode},
    record,
};
use crate::{
    bytes::{Cursor, put_signed, put_text, put_varint},
    head::LateSample,
};

/// What the sample has.
const HISTOGRAM: u8 = 1;
const START: u8 = 2;

/// A record that has become this large is followed by another.
const RECORD_BYTES: usize = 1 << 20;

/// A sample of the WAL that is told whole.
#[derive(Debug, Clone)]
pub struct WholeSample {
    pub time_ms: i64,
    /// Since when it counts, 0 where that is not known.
    pub start_ms: i64,
    pub value: WholeValue,
    /// Whether it came late.
    pub is_late: bool,
}

/// What a sample is.
#[derive(Debug, Clone)]
pub enum WholeValue {
    /// The bits of a float.
    Float(u64),
    Histogram(Arc<NativeHistogram>),
}

/// Records that are being encoded.
#[derive(Debug, Default)]
pub struct WholeBuffer {
    bytes: Vec<u8>,
    /// Where each record that is full ends.
    ends: Vec<usize>,
    kind: u8,
    before_ms: i64,
    last_ms: Option<i64>,
}

impl WholeBuffer {
    /// Forgets the records, and keeps some memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(RECORD_BYTES);
        self.ends.clear();
        self.last_ms = None;
    }

    /// Adds a histogram that came in order.
    pub fn put_histogram(&mut self, slot: u32, time_ms: i64, start_ms: i64, histogram: &NativeHistogram) {
        self.begin(record::HISTOGRAMS, slot, time_ms);
        self.put_head(true, time_ms, start_ms);
        encode(None, histogram, &mut self.bytes);
    }

    /// Adds a late sample that has something beside its value.
    pub fn put_late(&mut self, sample: &LateSample) {
        self.begin(record::LATE_WHOLE, sample.slot, sample.time_ms);
        let start_ms = sample.value.more.as_ref().map_or(0, |more| more.start_ms);
        let histogram = sample.value.histogram_bytes();
        self.put_head(histogram.is_some(), sample.time_ms, start_ms);
        match histogram {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => self.bytes.extend_from_slice(&sample.value.bits.to_le_bytes()),
        }
    }

    /// Adds an exemplar.
    pub fn put_exemplar(&mut self, slot: u32, exemplar: &Exemplar) {
        self.begin(record::EXEMPLARS, slot, exemplar.time_ms);
        let out = &mut self.bytes;
        out.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_varint(out, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            put_text(out, name);
            put_text(out, value);
        }
    }

    /// Appends the records to `out`, and where each ends to `ends`. Gives the last of all times.
    pub fn write(&self, out: &mut Vec<u8>, ends: &mut Vec<usize>) -> Option<i64> {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        ends.extend(self.ends.iter().map(|end| start + end));
        if self.bytes.len() > self.ends.last().copied().unwrap_or(0) {
            ends.push(out.len());
        }
        self.last_ms
    }

    fn begin(&mut self, kind: u8, slot: u32, time_ms: i64) {
        let start = self.ends.last().copied().unwrap_or(0);
        let length = self.bytes.len() - start;
        if length > 0 && (kind != self.kind || length >= RECORD_BYTES) {
            self.ends.push(self.bytes.len());
        }
        if self.bytes.len() == self.ends.last().copied().unwrap_or(0) {
            self.bytes.push(kind);
            (self.kind, self.before_ms) = (kind, 0);
        }
        put_varint(&mut self.bytes, u64::from(slot));
        put_signed(&mut self.bytes, time_ms.wrapping_sub(self.before_ms));
        self.before_ms = time_ms;
        self.last_ms = self.last_ms.max(Some(time_ms));
    }

    fn put_head(&mut self, is_histogram: bool, time_ms: i64, start_ms: i64) {
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        self.bytes.push(flag(is_histogram, HISTOGRAM) | flag(start_ms != 0, START));
        if start_ms != 0 {
            put_signed(&mut self.bytes, start_ms.wrapping_sub(time_ms));
        }
    }
}

/// Reads a sample and the number of its series; `before_ms` is the time of the one before.
pub fn read(cursor: &mut Cursor<'_>, is_late: bool, before_ms: &mut i64) -> Option<(u32, WholeSample)> {
    let number = cursor.varint_u32()?;
    let time_ms = before_ms.wrapping_add(cursor.signed()?);
    *before_ms = time_ms;
    let head = cursor.byte().filter(|&head| head <= HISTOGRAM | START)?;
    let start_ms = if head & START != 0 { time_ms.wrapping_add(cursor.signed()?) } else { 0 };
    let value = if head & HISTOGRAM != 0 {
        let mut reader = Reader::default();
        reader.read(cursor)?.validate().ok()?;
        WholeValue::Histogram(Arc::new(reader.into_last()?))
    } else {
        WholeValue::Float(cursor.u64()?)
    };
    Some((number, WholeSample { time_ms, start_ms, value, is_late }))
}

/// Reads an exemplar and the number of its series; `before_ms` is the time of the one before.
pub fn read_exemplar(cursor: &mut Cursor<'_>, before_ms: &mut i64) -> Option<(u32, Exemplar)> {
    let number = cursor.varint_u32()?;
    let time_ms = before_ms.wrapping_add(cursor.signed()?);
    *before_ms = time_ms;
    let value = f64::from_bits(cursor.u64()?);
    let count = cursor.count(2)?;
    let pairs = (0..count).map(|_| Some((cursor.text()?, cursor.text()?)));
    let pairs: Vec<(&str, &str)> = pairs.collect::<Option<_>>()?;
    Some((number, Exemplar { labels: Labels::from_pairs(pairs), value, time_ms }))
}
