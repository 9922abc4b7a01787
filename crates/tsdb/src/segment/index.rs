//! The index of a segment, kept as the bytes of the file and read in place: symbols, series,
//! postings. A few offsets are all that is kept besides.
//!
//! Layout: `docs/formats/tsdb-segment.md`. Invariant: [`Index::parse`] has walked through all
//! of it once, so everything that reads later finds well-formed bytes; a file that is not so is
//! refused as a whole.

use std::ops::Range;

use roaring::RoaringBitmap;
use vedette_model::{Labels, TimeRange};

use crate::{
    bytes::{Cursor, put_signed, put_text, put_varint},
    postings::Postings,
};

/// Where the samples of one series stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Place in the file of the directory of chunks, behind which the chunks follow.
    pub offset: u64,
    /// Length of the directory, checksum included.
    pub directory_bytes: u64,
    /// Length of directory and chunks.
    pub bytes: u64,
    /// Times of the first and last sample.
    pub range: TimeRange,
}

/// A series of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Hash of its labels.
    pub hash: u64,
    /// Its samples.
    pub block: Block,
}

/// The index of one segment.
#[derive(Debug)]
pub struct Index {
    bytes: Box<[u8]>,
    symbols: Vec<Range<u32>>,
    series: Vec<u32>,
    /// In order of the names: symbol of the name, its values.
    names: Vec<(u32, Values)>,
}

/// In order of the values: symbol of the value, its runs of series numbers.
type Values = Vec<(u32, Range<u32>)>;

impl Index {
    /// Checks the bytes and takes them over; `None` when they are not a whole index.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        u32::try_from(bytes.len()).ok()?;
        let mut cursor = Cursor::new(&bytes);
        let at = |cursor: &Cursor<'_>| (bytes.len() - cursor.remaining()) as u32;
        let mut symbols = Vec::with_capacity(cursor.clone().count(1)?);
        let mut before: Option<&str> = None;
        for _ in 0..cursor.count(1)? {
            let text = cursor.text()?;
            if before.is_some_and(|b| b >= text) {
                return None;
            }
            before = Some(text);
            symbols.push(at(&cursor) - text.len() as u32..at(&cursor));
        }
        let count = cursor.count(13)?;
        let mut series = Vec::with_capacity(count);
        for _ in 0..count {
            series.push(at(&cursor));
            let mut name_before = None;
            read_entry(&mut cursor, |name, value| {
                let sound = name_before.is_none_or(|b| b < name) && (value as usize) < symbols.len();
                name_before = Some(name);
                sound.then_some(())
            })?;
            name_before.is_none_or(|n| (n as usize) < symbols.len()).then_some(())?;
        }
        let mut names = Vec::with_capacity(cursor.clone().count(2)?);
        for _ in 0..cursor.count(2)? {
            let name = cursor.varint_u32().filter(|&n| (n as usize) < symbols.len())?;
            names.last().is_none_or(|(before, _)| *before < name).then_some(())?;
            let mut values: Values = Vec::with_capacity(cursor.clone().count(3)?);
            for _ in 0..cursor.count(3)? {
                let value = cursor.varint_u32().filter(|&v| (v as usize) < symbols.len())?;
                values.last().is_none_or(|(before, _)| *before < value).then_some(())?;
                let length = usize::try_from(cursor.varint()?).ok()?;
                let runs = cursor.take(length)?;
                read_runs(runs, count as u32, |_| {})?;
                values.push((value, at(&cursor) - length as u32..at(&cursor)));
            }
            names.push((name, values));
        }
        if cursor.remaining() > 0 {
            return None;
        }
        Some(Self { symbols, series, names, bytes: bytes.into() })
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Labels of a series.
    pub fn labels(&self, series: u32) -> Labels {
        let mut pairs = Vec::with_capacity(16);
        self.read(series, |name, value| pairs.push((self.symbol(name), self.symbol(value))));
        Labels::from_sorted(pairs.into_iter())
    }

    /// Whether a series has these labels.
    pub fn has_labels(&self, series: u32, labels: &Labels) -> bool {
        let mut expected = labels.iter();
        let mut equal = true;
        self.read(series, |name, value| {
            equal &= expected.next().is_some_and(|(n, v)| n == self.symbol(name) && v == self.symbol(value));
        });
        equal && expected.next().is_none()
    }

    /// Hash and place of a series.
    pub fn entry(&self, series: u32) -> Entry {
        self.read(series, |_, _| {})
    }

    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let n = self.series.partition_point(|&offset| self.labels_at(offset) < *labels);
        let n = u32::try_from(n).ok()?;
        (self.series.len() > n as usize && self.has_labels(n, labels)).then_some(n)
    }

    /// Hands on every label name, in order.
    pub fn names(&self, each: &mut dyn FnMut(&str)) {
        self.names.iter().for_each(|(name, _)| each(self.symbol(*name)));
    }

    /// Hands on every value of a label with its series, in order.
    pub fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        for (value, runs) in self.values_of(name) {
            each(self.symbol(*value), &self.numbers(runs));
        }
    }

    /// The numbers of those of `numbers` that have samples in `range`, or between two that lie
    /// before and after it.
    pub fn overlapping(&self, numbers: RoaringBitmap, range: TimeRange) -> RoaringBitmap {
        let has = |n: &u32| self.entry(*n).block.range.overlaps(range);
        RoaringBitmap::from_sorted_iter(numbers.iter().filter(has)).unwrap_or(numbers)
    }

    /// Heap memory.
    pub fn heap_bytes(&self) -> usize {
        let values: usize = self.names.iter().map(|(_, v)| v.capacity() * 12).sum();
        self.bytes.len() + self.symbols.capacity() * 8 + self.series.capacity() * 4 + values
    }

    fn symbol(&self, number: u32) -> &str {
        let range = &self.symbols[number as usize];
        std::str::from_utf8(&self.bytes[range.start as usize..range.end as usize])
            .expect("BUG: parse has checked every symbol")
    }

    fn labels_at(&self, offset: u32) -> Labels {
        let mut pairs = Vec::with_capacity(16);
        self.read_at(offset, |name, value| pairs.push((self.symbol(name), self.symbol(value))));
        Labels::from_sorted(pairs.into_iter())
    }

    fn read(&self, series: u32, label: impl FnMut(u32, u32)) -> Entry {
        self.read_at(self.series[series as usize], label)
    }

    fn read_at(&self, offset: u32, mut label: impl FnMut(u32, u32)) -> Entry {
        let mut cursor = Cursor::new(&self.bytes[offset as usize..]);
        read_entry(&mut cursor, |name, value| {
            label(name, value);
            Some(())
        })
        .expect("BUG: parse has checked every series")
    }

    fn values_of(&self, name: &str) -> &[(u32, Range<u32>)] {
        let found = self.names.binary_search_by(|(n, _)| self.symbol(*n).cmp(name));
        found.map_or(&[], |i| &self.names[i].1)
    }

    fn numbers(&self, runs: &Range<u32>) -> RoaringBitmap {
        let mut numbers = RoaringBitmap::new();
        self.add_numbers(runs, &mut numbers);
        numbers
    }

    fn add_numbers(&self, runs: &Range<u32>, out: &mut RoaringBitmap) {
        let bytes = &self.bytes[runs.start as usize..runs.end as usize];
        read_runs(bytes, self.series.len() as u32, |run| {
            out.insert_range(run);
        })
        .expect("BUG: parse has checked every run");
    }
}

impl Postings for Index {
    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.series.len() as u32);
        all
    }

    fn with_value(&self, name: &str, value: &str, out: &mut RoaringBitmap) {
        let values = self.values_of(name);
        if let Ok(i) = values.binary_search_by(|(v, _)| self.symbol(*v).cmp(value)) {
            self.add_numbers(&values[i].1, out);
        }
    }

    fn with_values(&self, name: &str, wanted: &dyn Fn(&str) -> bool, out: &mut RoaringBitmap) {
        for (value, runs) in self.values_of(name) {
            if wanted(self.symbol(*value)) {
                self.add_numbers(runs, out);
            }
        }
    }
}

fn read_entry(cursor: &mut Cursor<'_>, mut label: impl FnMut(u32, u32) -> Option<()>) -> Option<Entry> {
    let hash = cursor.u64()?;
    for _ in 0..cursor.count(2)? {
        let (name, value) = (cursor.varint_u32()?, cursor.varint_u32()?);
        label(name, value)?;
    }
    let (offset, directory_bytes, bytes) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
    let start_ms = cursor.signed()?;
    let range = TimeRange { start_ms, end_ms: start_ms.wrapping_add(cursor.varint()? as i64) };
    if directory_bytes > bytes || offset.checked_add(bytes).is_none() || range.end_ms < range.start_ms {
        return None;
    }
    Some(Entry { hash, block: Block { offset, directory_bytes, bytes, range } })
}

/// Runs of numbers: distance from the end of the run before, length less one.
fn read_runs(bytes: &[u8], series: u32, mut each: impl FnMut(Range<u32>)) -> Option<()> {
    let mut cursor = Cursor::new(bytes);
    let mut next = 0u32;
    while cursor.remaining() > 0 {
        let start = next.checked_add(cursor.varint_u32()?)?;
        let end = start.checked_add(cursor.varint_u32()?)?.checked_add(1)?;
        if end > series {
            return None;
        }
        each(start..end);
        next = end;
    }
    Some(())
}

/// Collects series, in order of their labels, and writes their index.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    texts: std::collections::HashMap<Box<str>, u32>,
    series: Vec<(Vec<(u32, u32)>, Entry)>,
}

impl IndexBuilder {
    /// Adds the next series.
    pub fn add(&mut self, labels: &Labels, block: Block) {
        let pairs = labels.iter().map(|(n, v)| (self.text(n), self.text(v))).collect();
        self.series.push((pairs, Entry { hash: labels.stable_hash(), block }));
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// The bytes of the index.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut texts: Vec<(&str, u32)> = self.texts.iter().map(|(t, &n)| (&**t, n)).collect();
        texts.sort_unstable();
        let mut symbols = vec![0u32; texts.len()];
        put_varint(&mut out, texts.len() as u64);
        for ((text, number), symbol) in texts.iter().zip(0..) {
            put_text(&mut out, text);
            symbols[*number as usize] = symbol;
        }
        let mut postings = std::collections::BTreeMap::<u32, std::collections::BTreeMap<u32, Runs>>::new();
        put_varint(&mut out, self.series.len() as u64);
        for ((pairs, entry), number) in self.series.iter().zip(0u32..) {
            out.extend_from_slice(&entry.hash.to_le_bytes());
            put_varint(&mut out, pairs.len() as u64);
            for &(name, value) in pairs {
                let (name, value) = (symbols[name as usize], symbols[value as usize]);
                put_varint(&mut out, u64::from(name));
                put_varint(&mut out, u64::from(value));
                postings.entry(name).or_default().entry(value).or_default().add(number);
            }
            put_varint(&mut out, entry.block.offset);
            put_varint(&mut out, entry.block.directory_bytes);
            put_varint(&mut out, entry.block.bytes);
            put_signed(&mut out, entry.block.range.start_ms);
            put_varint(&mut out, entry.block.range.end_ms.wrapping_sub(entry.block.range.start_ms) as u64);
        }
        put_varint(&mut out, postings.len() as u64);
        for (name, values) in postings {
            put_varint(&mut out, u64::from(name));
            put_varint(&mut out, values.len() as u64);
            for (value, runs) in values {
                let runs = runs.finish();
                put_varint(&mut out, u64::from(value));
                put_varint(&mut out, runs.len() as u64);
                out.extend_from_slice(&runs);
            }
        }
        out
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.texts.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("BUG: series limits keep symbols below 2^32");
        self.texts.insert(text.into(), number);
        number
    }
}

#[derive(Debug, Default)]
struct Runs {
    bytes: Vec<u8>,
    written_to: u32,
    run: Option<Range<u32>>,
}

impl Runs {
    fn add(&mut self, number: u32) {
        match &mut self.run {
            Some(run) if run.end == number => run.end += 1,
            _ => {
                self.write();
                self.run = Some(number..number + 1);
            }
        }
    }

    fn write(&mut self) {
        if let Some(run) = self.run.take() {
            put_varint(&mut self.bytes, u64::from(run.start - self.written_to));
            put_varint(&mut self.bytes, u64::from(run.end - run.start - 1));
            self.written_to = run.end;
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.write();
        self.bytes
    }
}
