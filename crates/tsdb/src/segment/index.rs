//! The index of a segment, read in place from the mapped file: symbols, series, postings. Nothing
//! of it is copied; offsets in the file lead to every sixteenth series and from there it is walked.
//!
//! Layout: `docs/formats/tsdb-segment.md`. Invariant: the bytes have passed their checksum when
//! an index is made. Bytes that are none of an index all the same give wrong or missing answers,
//! never a panic.

use std::{cmp::Ordering, ops::Range, sync::Arc};

use roaring::RoaringBitmap;
use vedette_model::{Labels, TimeRange};
use vedette_sys::Map;

use crate::{bytes::Cursor, postings::Postings};

/// Series of which only the first is reached directly.
pub const RESTART: u32 = 16;

/// Bytes before the first table: twelve numbers.
pub const TABLES_BYTES: usize = 48;

/// Parts of a range of time that a series tells which of them it fills.
pub const RANGE_PARTS: u128 = 256;

/// Labels of one series that are read; none has that many.
const LABELS_MAX: usize = 1 << 16;

/// Where the samples of one series stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Place in the file.
    pub offset: u64,
    /// Length.
    pub bytes: u64,
    /// A range in which all samples lie, wider than they are.
    pub range: TimeRange,
}

/// The index of one segment.
pub struct Index {
    map: Arc<dyn Map>,
    /// Place of the index in the file.
    place: Range<usize>,
    tables: Tables,
    range: TimeRange,
}

/// Number of entries and places, in the index, of its tables.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tables {
    pub symbols: u32,
    pub texts: u32,
    pub shapes: u32,
    pub shapes_at: u32,
    pub series: u32,
    pub restarts_at: u32,
    pub entries_at: u32,
    pub names: u32,
    pub names_at: u32,
    pub values_at: u32,
    pub runs_at: u32,
    pub end: u32,
}

impl Tables {
    /// The numbers as they stand in the file.
    pub fn numbers(&self) -> [u32; 12] {
        [
            self.symbols,
            self.texts,
            self.shapes,
            self.shapes_at,
            self.series,
            self.restarts_at,
            self.entries_at,
            self.names,
            self.names_at,
            self.values_at,
            self.runs_at,
            self.end,
        ]
    }

    fn read(index: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(index);
        let mut next = || cursor.u32();
        let tables = Self {
            symbols: next()?,
            texts: next()?,
            shapes: next()?,
            shapes_at: next()?,
            series: next()?,
            restarts_at: next()?,
            entries_at: next()?,
            names: next()?,
            names_at: next()?,
            values_at: next()?,
            runs_at: next()?,
            end: next()?,
        };
        // In this order, each long enough for its entries.
        let at = |start: u32, entries: u32, bytes: u64| u64::from(start) + u64::from(entries) * bytes;
        let t = &tables;
        let fits = at(TABLES_BYTES as u32, t.symbols, 4) + 4 <= u64::from(t.texts)
            && t.texts <= t.shapes_at
            && at(t.shapes_at, t.shapes, 4) + 4 <= u64::from(t.restarts_at)
            && at(t.restarts_at, t.series.div_ceil(RESTART), 4) <= u64::from(t.entries_at)
            && t.entries_at <= t.names_at
            && at(t.names_at, t.names, 8) <= u64::from(t.values_at)
            && t.values_at <= t.runs_at
            && t.runs_at <= t.end
            && t.end as usize == index.len();
        fits.then_some(tables)
    }
}

impl Index {
    /// The index at `place` of a file, for samples in `range`; `None` when it is none.
    pub fn new(map: Arc<dyn Map>, place: Range<usize>, range: TimeRange) -> Option<Self> {
        let tables = Tables::read(map.get(place.clone())?)?;
        Some(Self { map, place, tables, range })
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.tables.series as usize
    }

    /// Goes through the series in order, from `series` on.
    pub fn walk(&self, series: u32) -> Walk<'_> {
        let mut walk = Walk {
            index: self,
            bytes: self.bytes(),
            next: series - series % RESTART,
            at: 0,
            shape: 0,
            values: Vec::with_capacity(16),
            block: Block { offset: 0, bytes: 0, range: self.range },
            shared: 0,
        };
        while walk.next < series && walk.advance().is_some() {}
        walk
    }

    /// Labels of a series.
    #[cfg(test)]
    pub fn labels(&self, series: u32) -> Labels {
        let mut walk = self.walk(series);
        if walk.advance().is_some() { walk.labels() } else { Labels::empty() }
    }

    /// The samples of a series.
    pub fn block(&self, series: u32) -> Option<Block> {
        let mut walk = self.walk(series);
        walk.advance()?;
        Some(walk.block)
    }

    /// The series with these labels.
    pub fn find(&self, labels: &Labels) -> Option<u32> {
        let groups = self.tables.series.div_ceil(RESTART);
        let compare = |walk: &Walk<'_>| walk.compare(labels);
        let starts_after = |group: u32| {
            let mut walk = self.walk(group * RESTART);
            walk.advance().is_none() || compare(&walk) == Ordering::Greater
        };
        let (mut low, mut high) = (0, groups);
        while low < high {
            let middle = low + (high - low) / 2;
            if starts_after(middle) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let mut walk = self.walk(low.checked_sub(1)? * RESTART);
        while let Some(series) = walk.advance() {
            match compare(&walk) {
                Ordering::Less => {}
                Ordering::Equal => return Some(series),
                Ordering::Greater => break,
            }
        }
        None
    }

    /// Hands on every label name, in order.
    pub fn names(&self, each: &mut dyn FnMut(&str)) {
        for i in 0..self.tables.names {
            each(self.symbol(self.name(i).0));
        }
    }

    /// Hands on every value of a label with its series, in order.
    pub fn values(&self, name: &str, each: &mut dyn FnMut(&str, &RoaringBitmap)) {
        for value in self.values_of(name) {
            let mut numbers = RoaringBitmap::new();
            self.add_numbers(value, &mut numbers);
            each(self.symbol(self.value(value).0), &numbers);
        }
    }

    /// The numbers of those of `numbers` that may have samples in `range`.
    pub fn overlapping(&self, numbers: RoaringBitmap, range: TimeRange) -> RoaringBitmap {
        if range.start_ms <= self.range.start_ms && self.range.end_ms <= range.end_ms {
            return numbers;
        }
        let mut walk = self.walk(0);
        let has = |n: &u32| walk.seek(*n).is_some() && walk.block.range.overlaps(range);
        RoaringBitmap::from_sorted_iter(numbers.iter().filter(has)).unwrap_or(numbers)
    }

    /// Number of symbols.
    pub fn symbols(&self) -> u32 {
        self.tables.symbols
    }

    /// A symbol, by its place in the order of all.
    pub fn symbol(&self, number: u32) -> &str {
        let at = |n: u32| self.number(TABLES_BYTES as u32 + 4 * n);
        let text = || {
            let (start, end) = (at(number)?, at(number + 1)?);
            let base = self.tables.texts as usize;
            let text = self.bytes().get(base + start as usize..base + end as usize)?;
            std::str::from_utf8(text).ok()
        };
        if number < self.tables.symbols { text().unwrap_or_default() } else { "" }
    }

    fn bytes(&self) -> &[u8] {
        &self.map[self.place.clone()]
    }

    fn number(&self, at: u32) -> Option<u32> {
        Cursor::new(self.bytes().get(at as usize..)?).u32()
    }

    fn find_symbol(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.tables.symbols);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.symbol(middle).cmp(text) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Symbol of a name, and end of its values among all.
    fn name(&self, i: u32) -> (u32, u32) {
        let number = |at| self.number(at).unwrap_or(0);
        (number(self.tables.names_at + i * 8), number(self.tables.names_at + i * 8 + 4))
    }

    /// Symbol of a value, and end of its runs.
    fn value(&self, i: u32) -> (u32, u32) {
        let number = |at| self.number(at).unwrap_or(0);
        (number(self.tables.values_at + i * 8), number(self.tables.values_at + i * 8 + 4))
    }

    /// The values of a name, by place in the table of values.
    fn values_of(&self, name: &str) -> Range<u32> {
        let Some(symbol) = self.find_symbol(name) else { return 0..0 };
        let (mut low, mut high) = (0, self.tables.names);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.name(middle).0 < symbol {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == self.tables.names || self.name(low).0 != symbol {
            return 0..0;
        }
        let start = if low == 0 { 0 } else { self.name(low - 1).1 };
        let all = (self.tables.runs_at - self.tables.values_at) / 8;
        start.min(all)..self.name(low).1.min(all)
    }

    /// Runs: distance from the end of the run before, doubled, and one more if a length less two
    /// follows.
    fn add_numbers(&self, value: u32, out: &mut RoaringBitmap) {
        let base = self.tables.runs_at;
        let start = if value == 0 { 0 } else { self.value(value - 1).1 };
        let end = self.value(value).1;
        let (start, end) = (base.saturating_add(start) as usize, base.saturating_add(end) as usize);
        let mut cursor = Cursor::new(self.bytes().get(start..end).unwrap_or_default());
        let mut next = 0u32;
        let mut read = || {
            let gap = cursor.varint()?;
            let start = next.checked_add(u32::try_from(gap >> 1).ok()?)?;
            let length = if gap & 1 == 0 { 1 } else { cursor.varint_u32()?.checked_add(2)? };
            next = start.checked_add(length)?;
            (next <= self.tables.series).then_some(start..next)
        };
        // Most often a value has its runs to itself, and they come in order.
        while let Some(run) = read() {
            if run.len() == 1 {
                out.insert(run.start);
            } else {
                out.insert_range(run);
            }
        }
    }
}

impl Postings for Index {
    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.tables.series);
        all
    }

    fn with_value(&self, name: &str, value: &str, out: &mut RoaringBitmap) {
        let Some(symbol) = self.find_symbol(value) else { return };
        let Range { start: mut low, end: mut high } = self.values_of(name);
        let end = high;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.value(middle).0 < symbol {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low < end && self.value(low).0 == symbol {
            self.add_numbers(low, out);
        }
    }

    fn with_values(&self, name: &str, wanted: &dyn Fn(&str) -> bool, out: &mut RoaringBitmap) {
        for value in self.values_of(name) {
            if wanted(self.symbol(self.value(value).0)) {
                self.add_numbers(value, out);
            }
        }
    }
}

/// Goes through series in order of their labels.
pub struct Walk<'a> {
    index: &'a Index,
    bytes: &'a [u8],
    next: u32,
    at: usize,
    shape: u32,
    values: Vec<u32>,
    /// The samples of the series that came last.
    pub block: Block,
    /// How many of its labels, from the first on, are those of the series before.
    pub shared: usize,
}

impl<'a> Walk<'a> {
    /// Goes to the next series and tells its number.
    pub fn advance(&mut self) -> Option<u32> {
        let series = self.next;
        let tables = &self.index.tables;
        if series >= tables.series {
            return None;
        }
        let restart = series.is_multiple_of(RESTART);
        if restart {
            let at = self.index.number(tables.restarts_at + series / RESTART * 4)?;
            self.at = tables.entries_at.checked_add(at)? as usize;
        }
        let mut cursor = Cursor::new(self.bytes.get(self.at..tables.names_at as usize)?);
        let head = usize::try_from(cursor.varint()?).ok()?;
        let shared = head >> 1;
        if head & 1 == 0 {
            self.shape = cursor.varint_u32()?;
        }
        let labels = self.shape_range(self.shape)?.len() / 4;
        if shared > labels || shared > self.values.len() || labels > LABELS_MAX {
            return None;
        }
        if restart {
            self.values.clear();
        }
        self.values.resize(labels, 0);
        for value in &mut self.values[shared..] {
            *value = u32::try_from(i64::from(*value).checked_add(cursor.signed()?)?).ok()?;
        }
        let size = cursor.varint()?;
        self.block.offset = if restart {
            cursor.varint()?
        } else {
            let gap = if size & 2 != 0 { cursor.varint()? } else { 0 };
            self.block.offset.checked_add(self.block.bytes)?.checked_add(gap)?
        };
        self.block.bytes = size >> 2;
        self.block.range = if size & 1 != 0 {
            part_of(self.index.range, cursor.byte()?, cursor.byte()?)
        } else {
            self.index.range
        };
        self.at = tables.names_at as usize - cursor.remaining();
        self.shared = shared;
        self.next += 1;
        Some(series)
    }

    /// Goes to a series not before the one that comes next; cheap when it is near.
    pub fn seek(&mut self, series: u32) -> Option<u32> {
        if series / RESTART != self.next / RESTART {
            self.next = series - series % RESTART;
        }
        while self.next < series {
            self.advance()?;
        }
        self.advance()
    }

    /// Labels of the series that came last, as symbols of name and value.
    pub fn symbols(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let names = self.shape_range(self.shape).map_or(&[][..], |range| &self.bytes[range]);
        let names = names.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap_or_default()));
        names.zip(self.values.iter().copied())
    }

    /// Labels of the series that came last.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        self.symbols().map(|(name, value)| (self.index.symbol(name), self.index.symbol(value)))
    }

    /// Labels of the series that came last.
    pub fn labels(&self) -> Labels {
        Labels::from_sorted(self.pairs())
    }

    /// Compares the labels of the series that came last with others, by the order of labels.
    pub fn compare(&self, labels: &Labels) -> Ordering {
        self.pairs().cmp(labels.iter())
    }

    fn shape_range(&self, shape: u32) -> Option<Range<usize>> {
        let tables = &self.index.tables;
        if shape >= tables.shapes {
            return None;
        }
        let at = |n: u32| self.index.number(tables.shapes_at + n * 4);
        let names_at = tables.shapes_at as usize + (tables.shapes as usize + 1) * 4;
        let start = names_at + at(shape)? as usize * 4;
        let end = names_at + at(shape + 1)? as usize * 4;
        (start <= end && end <= tables.restarts_at as usize).then_some(start..end)
    }
}

/// Which parts of `whole` a range touches, as first and last of [`RANGE_PARTS`].
pub fn parts_of(whole: TimeRange, range: TimeRange) -> (u8, u8) {
    let span = u128::from(whole.end_ms.wrapping_sub(whole.start_ms) as u64) + 1;
    let part = |time: i64| {
        let distance = time.clamp(whole.start_ms, whole.end_ms).wrapping_sub(whole.start_ms) as u64;
        (u128::from(distance) * RANGE_PARTS / span) as u8
    };
    (part(range.start_ms), part(range.end_ms))
}

fn part_of(whole: TimeRange, first: u8, last: u8) -> TimeRange {
    let span = u128::from(whole.end_ms.wrapping_sub(whole.start_ms) as u64) + 1;
    let start = u128::from(first) * span / RANGE_PARTS;
    let end = ((u128::from(last) + 1) * span).div_ceil(RANGE_PARTS) - 1;
    TimeRange {
        start_ms: whole.start_ms.wrapping_add(start as u64 as i64),
        end_ms: whole.start_ms.wrapping_add(end.min(span - 1) as u64 as i64),
    }
}
