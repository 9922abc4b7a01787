//! The bytes of a spooled record; `docs/formats/spool.md` describes them.
//!
//! Invariant: whatever the bytes are, reading them gives entries or an error, never more than is
//! there. A record is understood with the definitions before it in the same segment, and with
//! nothing else.

use vedette_model::{Exemplar, Labels, NativeHistogram};
use vedette_wire::remote_write::{HistogramMessage, encode_histogram};

/// Bytes before the body.
pub const HEADER_BYTES: usize = 32;

const KIND_SAMPLES: u8 = 1;
const FORM_PLAIN: u8 = 0;
const FORM_SNAPPY: u8 = 1;
/// A smaller body does not get smaller.
const COMPRESSED_BYTES_MIN: usize = 128;
/// A larger body was never written.
const BODY_BYTES_MAX: usize = 256 << 20;

const DEFINITION: u8 = 1;
const ROW: u8 = 2;
const HISTOGRAM: u8 = 3;
const EXEMPLAR: u8 = 4;

/// What is known of a record without reading its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number of the record; numbers grow.
    pub seq: u64,
    /// Samples, histograms and exemplars in it.
    pub points: u32,
    /// When it was spooled, milliseconds since the Unix epoch.
    pub spooled_ms: i64,
    /// The latest time of a sample in it.
    pub newest_ms: i64,
}

/// A record does not say what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Collects the entries of a record.
#[derive(Debug, Default)]
pub struct Writer {
    body: Vec<u8>,
    record: Vec<u8>,
    numbers: Vec<u8>,
    points: u32,
    newest_ms: i64,
}

impl Writer {
    pub fn begin(&mut self) {
        self.body.clear();
        self.points = 0;
        self.newest_ms = i64::MIN;
    }

    /// Bytes of the entries so far.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub fn define(&mut self, number: u32, labels: &Labels) {
        self.body.push(DEFINITION);
        put_varint(&mut self.body, u64::from(number));
        put_labels(&mut self.body, labels);
    }

    /// Adds samples of one time. `numbers` and `values` are as long as each other; `starts_ms` is
    /// too, or empty.
    pub fn row(&mut self, time_ms: i64, numbers: &[u32], values: &[f64], starts_ms: &[i64]) {
        if numbers.is_empty() {
            return;
        }
        self.note(time_ms, numbers.len());
        self.numbers.clear();
        let mut before = 0_i64;
        for number in numbers {
            put_varint(&mut self.numbers, zigzag(i64::from(*number) - before));
            before = i64::from(*number);
        }
        let body = &mut self.body;
        body.push(ROW);
        body.extend_from_slice(&time_ms.to_le_bytes());
        put_varint(body, numbers.len() as u64);
        put_block(body, &self.numbers);
        for value in values {
            body.extend_from_slice(&value.to_le_bytes());
        }
        self.numbers.clear();
        for start in starts_ms {
            put_varint(&mut self.numbers, start_number(time_ms, *start));
        }
        put_block(body, &self.numbers);
    }

    pub fn histogram(&mut self, number: u32, time_ms: i64, start_ms: i64, histogram: &NativeHistogram) {
        self.note(time_ms, 1);
        self.body.push(HISTOGRAM);
        put_varint(&mut self.body, u64::from(number));
        put_varint(&mut self.body, start_number(time_ms, start_ms));
        self.numbers.clear();
        encode_histogram(&mut self.numbers, time_ms, histogram);
        put_block(&mut self.body, &self.numbers);
    }

    pub fn exemplar(&mut self, number: u32, exemplar: &Exemplar) {
        self.note(exemplar.time_ms, 1);
        self.body.push(EXEMPLAR);
        put_varint(&mut self.body, u64::from(number));
        self.body.extend_from_slice(&exemplar.time_ms.to_le_bytes());
        self.body.extend_from_slice(&exemplar.value.to_le_bytes());
        put_labels(&mut self.body, &exemplar.labels);
    }

    /// The whole record.
    pub fn finish(&mut self, seq: u64, spooled_ms: i64, snappy: &mut snap::raw::Encoder) -> (Header, &[u8]) {
        let header = Header { seq, points: self.points, spooled_ms, newest_ms: self.newest_ms };
        let record = &mut self.record;
        record.clear();
        record.extend_from_slice(&[KIND_SAMPLES, FORM_PLAIN, 0, 0]);
        record.extend_from_slice(&header.points.to_le_bytes());
        record.extend_from_slice(&seq.to_le_bytes());
        record.extend_from_slice(&spooled_ms.to_le_bytes());
        record.extend_from_slice(&header.newest_ms.to_le_bytes());
        if self.body.len() >= COMPRESSED_BYTES_MIN {
            record.resize(HEADER_BYTES + snap::raw::max_compress_len(self.body.len()), 0);
            if let Ok(bytes) = snappy.compress(&self.body, &mut record[HEADER_BYTES..])
                && bytes < self.body.len()
            {
                record.truncate(HEADER_BYTES + bytes);
                record[1] = FORM_SNAPPY;
                return (header, record);
            }
            record.truncate(HEADER_BYTES);
        }
        record.extend_from_slice(&self.body);
        (header, record)
    }

    fn note(&mut self, time_ms: i64, points: usize) {
        self.points = self.points.saturating_add(u32::try_from(points).unwrap_or(u32::MAX));
        self.newest_ms = self.newest_ms.max(time_ms);
    }
}

/// Reads the header of a record; `None` where it is of a kind that this release does not know.
pub fn header(record: &[u8]) -> Option<Header> {
    let (&[KIND_SAMPLES, FORM_PLAIN | FORM_SNAPPY, ..], true) =
        (record.first_chunk::<2>()?, record.len() >= HEADER_BYTES)
    else {
        return None;
    };
    let mut rest = Cursor(&record[4..]);
    Some(Header {
        points: u32::from_le_bytes(rest.array().ok()?),
        seq: u64::from_le_bytes(rest.array().ok()?),
        spooled_ms: i64::from_le_bytes(rest.array().ok()?),
        newest_ms: i64::from_le_bytes(rest.array().ok()?),
    })
}

/// Writes the body of a record whose header was read into `out`.
pub fn body(record: &[u8], snappy: &mut snap::raw::Decoder, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let packed = record.get(HEADER_BYTES..).ok_or(Malformed)?;
    out.clear();
    if record[1] == FORM_PLAIN {
        out.extend_from_slice(packed);
        return Ok(());
    }
    let bytes = snap::raw::decompress_len(packed).map_err(|_| Malformed)?;
    if bytes > BODY_BYTES_MAX {
        return Err(Malformed);
    }
    out.resize(bytes, 0);
    snappy.decompress(packed, out).map_err(|_| Malformed)?;
    Ok(())
}

/// The entries of a body. After an error nothing more comes.
pub struct Entries<'a>(Cursor<'a>);

/// One entry.
pub enum Entry<'a> {
    /// Gives a series its number.
    Definition {
        number: u32,
        /// Equal bytes are equal labels.
        bytes: &'a [u8],
        labels: Pairs<'a>,
    },
    /// Samples of one time.
    Row(RowEntry<'a>),
    /// A histogram.
    Histogram { number: u32, start_ms: StartNumber, message: HistogramMessage<'a> },
    /// An exemplar.
    Exemplar { number: u32, time_ms: i64, value: f64, labels: Pairs<'a> },
}

/// Samples of one time: iterates over number, start time and value.
pub struct RowEntry<'a> {
    pub time_ms: i64,
    numbers: Cursor<'a>,
    values: &'a [u8],
    starts: Cursor<'a>,
    before: i64,
}

/// A start time that is told relative to the time of its sample.
#[derive(Debug, Clone, Copy)]
pub struct StartNumber(u64);

impl StartNumber {
    pub fn start_ms(self, time_ms: i64) -> i64 {
        match self.0 {
            0 => 0,
            number => time_ms.wrapping_sub(unzigzag(number - 1)),
        }
    }
}

impl<'a> Entries<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Self(Cursor(body))
    }

    fn entry(&mut self) -> Result<Entry<'a>, Malformed> {
        let rest = &mut self.0;
        Ok(match u8::from_le_bytes(rest.array()?) {
            DEFINITION => {
                let number = rest.number()?;
                let begin = rest.0;
                let labels = Pairs::read(rest)?;
                Entry::Definition { number, bytes: &begin[..begin.len() - rest.0.len()], labels }
            }
            ROW => Entry::Row(RowEntry::read(rest)?),
            HISTOGRAM => Entry::Histogram {
                number: rest.number()?,
                start_ms: StartNumber(rest.varint()?),
                message: HistogramMessage::in_bytes(rest.block()?),
            },
            EXEMPLAR => Entry::Exemplar {
                number: rest.number()?,
                time_ms: i64::from_le_bytes(rest.array()?),
                value: f64::from_le_bytes(rest.array()?),
                labels: Pairs::read(rest)?,
            },
            _ => return Err(Malformed),
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.0.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.0 = Cursor(&[]);
        }
        Some(entry)
    }
}

impl<'a> RowEntry<'a> {
    fn read(rest: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let time_ms = i64::from_le_bytes(rest.array()?);
        let count = usize::try_from(rest.varint()?).map_err(|_| Malformed)?;
        let numbers = Cursor(rest.block()?);
        let values = rest.take(count.checked_mul(8).ok_or(Malformed)?)?;
        let starts = Cursor(rest.block()?);
        Ok(Self { time_ms, numbers, values, starts, before: 0 })
    }

    fn sample(&mut self, value: [u8; 8]) -> Result<(u32, i64, f64), Malformed> {
        let number = self.before.checked_add(unzigzag(self.numbers.varint()?)).ok_or(Malformed)?;
        self.before = number;
        let start = if self.starts.0.is_empty() { 0 } else { self.starts.varint()? };
        let number = u32::try_from(number).map_err(|_| Malformed)?;
        Ok((number, StartNumber(start).start_ms(self.time_ms), f64::from_le_bytes(value)))
    }
}

impl Iterator for RowEntry<'_> {
    type Item = Result<(u32, i64, f64), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = self.values.split_first_chunk()?;
        self.values = rest;
        let sample = self.sample(*value);
        if sample.is_err() {
            self.values = &[];
        }
        Some(sample)
    }
}

/// Names and values, checked to be there and to be text.
#[derive(Clone, Copy)]
pub struct Pairs<'a>(Cursor<'a>);

impl<'a> Pairs<'a> {
    fn read(rest: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let mut pairs = Cursor(rest.block()?);
        let whole = Self(pairs);
        while !pairs.0.is_empty() {
            for _ in 0..2 {
                std::str::from_utf8(pairs.block()?).map_err(|_| Malformed)?;
            }
        }
        Ok(whole)
    }
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let mut text = || self.0.block().ok().and_then(|bytes| std::str::from_utf8(bytes).ok());
        Some((text()?, text()?))
    }
}

#[derive(Debug, Clone, Copy)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for i in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return if i == 9 && byte > 1 { Err(Malformed) } else { Ok(value) };
            }
        }
        Err(Malformed)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        u32::try_from(self.varint()?).map_err(|_| Malformed)
    }

    /// What follows its own length.
    fn block(&mut self) -> Result<&'a [u8], Malformed> {
        let bytes = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        self.take(bytes)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_block(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let length = |text: &str| text.len() + varint_bytes(text.len());
    let bytes: usize = labels.iter().map(|(name, value)| length(name) + length(value)).sum();
    put_varint(out, bytes as u64);
    for (name, value) in labels {
        put_block(out, name.as_bytes());
        put_block(out, value.as_bytes());
    }
}

fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// 0 where no start is told, else one more than the distance of the sample's time from it.
fn start_number(time_ms: i64, start_ms: i64) -> u64 {
    if start_ms == 0 { 0 } else { zigzag(time_ms.wrapping_sub(start_ms)).wrapping_add(1) }
}

fn zigzag(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
