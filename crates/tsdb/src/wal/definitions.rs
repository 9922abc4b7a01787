//! Definitions of series in the log: the pairs of label name and value that series have, each told
//! once in a segment, and series as lists of their numbers.
//!
//! A segment of the log begins with the definitions of all series, so this is most of what a start
//! has to read beside samples. Invariant: a series is made only of pairs whose text was read in the
//! same segment; when a record of them is lost, so are the series that need it, and no others.

use hashbrown::HashMap;
use vedette_model::MetricMetadata;

use super::record::{KINDS, METADATA, PAIRS, Replay, SERIES, compress};
use crate::{
    SeriesRef,
    bytes::{Cursor, put_text, put_varint},
    head::PairKey,
};

/// A record of definitions that has become this large is followed by another.
const RECORD_BYTES: usize = 1 << 20;

/// Pairs that may be missing between one record of pairs and the next.
const GAP_MAX: usize = 1 << 20;

/// Stands for a text that is not known.
const UNKNOWN: u32 = u32::MAX;

/// Records that define series and tell metadata, and what the segment has of them so far.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Records that are complete.
    records: Vec<Vec<u8>>,
    /// Those that are not, if they are not empty.
    pairs: Vec<u8>,
    series: Vec<u8>,
    /// For each pair in use by its id the serial of the one that was told, and its number.
    told: Vec<(u32, u32)>,
    /// Pairs told in the segment.
    pairs_told: u32,
}

impl Definitions {
    /// Begins a segment, in which nothing is told yet, and forgets what waits.
    pub fn begin_segment(&mut self) {
        self.clear();
        self.told.clear();
        self.pairs_told = 0;
    }

    /// Defines a series by the hash of its labels, and the labels in order of their names.
    pub fn define<'a>(
        &mut self,
        number: u32,
        hash: u64,
        labels: impl ExactSizeIterator<Item = (PairKey, (&'a str, &'a str))>,
    ) {
        if self.series.is_empty() {
            self.series.push(SERIES);
        }
        put_varint(&mut self.series, u64::from(number));
        self.series.extend_from_slice(&hash.to_le_bytes());
        put_varint(&mut self.series, labels.len() as u64);
        for (key, text) in labels {
            let pair = self.pair(key, text);
            put_varint(&mut self.series, u64::from(pair));
        }
        if self.series.len() + self.pairs.len() >= RECORD_BYTES {
            self.complete();
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
    }

    /// The records that wait, all of them complete now.
    pub fn records(&mut self) -> impl Iterator<Item = &[u8]> {
        self.complete();
        self.records.iter().map(Vec::as_slice)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.series.is_empty()
    }

    /// Whether there is as much as a record can hold.
    pub fn has_full_record(&self) -> bool {
        !self.records.is_empty()
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.records.clear();
        self.pairs.clear();
        self.series.clear();
    }

    /// About how much memory it takes.
    pub fn heap_bytes(&self) -> usize {
        self.records.iter().map(Vec::capacity).sum::<usize>()
            + self.pairs.capacity()
            + self.series.capacity()
            + self.told.capacity() * size_of::<(u32, u32)>()
    }

    /// The number of a pair, which is told if it was not before.
    fn pair(&mut self, key: PairKey, (name, value): (&str, &str)) -> u32 {
        let id = key.id as usize;
        if let Some(&(serial, number)) = self.told.get(id)
            && serial == key.serial
        {
            return number;
        }
        if self.told.len() <= id {
            // No pair has the serial 0 for long: it is that of the first of all at most.
            self.told.resize(id + 1, (0, UNKNOWN));
        }
        let number = self.pairs_told;
        self.pairs_told += 1;
        self.told[id] = (key.serial, number);
        if self.pairs.is_empty() {
            self.pairs.push(PAIRS);
            put_varint(&mut self.pairs, u64::from(number));
        }
        put_text(&mut self.pairs, name);
        put_text(&mut self.pairs, value);
        number
    }

    /// Completes the open records. Pairs come before the series that have them.
    fn complete(&mut self) {
        for record in [&mut self.pairs, &mut self.series] {
            if !record.is_empty() {
                let mut record = std::mem::take(record);
                compress(&mut record);
                self.records.push(record);
            }
        }
    }
}

/// The pairs that were read, of all segments.
#[derive(Debug, Default)]
pub struct PairList {
    texts: String,
    places: Vec<Place>,
    /// The text of each pair of the segment that is being read.
    numbers: Vec<u32>,
    /// Number of the first pair of the record that was read last.
    first_read: usize,
    /// The names, by their texts.
    names: HashMap<Box<str>, u32>,
}

/// Where a pair is.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// In `texts`.
    start: usize,
    name_bytes: u32,
    /// Number of its name.
    name: u32,
}

impl PairList {
    /// Begins a segment, whose pairs have numbers from 0 on.
    pub fn begin_segment(&mut self) {
        self.numbers.clear();
    }

    /// Numbers of texts are below this.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Name and value of a pair, by the number of its text.
    pub fn text(&self, number: usize) -> (&str, &str) {
        let place = self.places[number];
        let end = self.places.get(number + 1).map_or(self.texts.len(), |next| next.start);
        self.texts[place.start..end].split_at(place.name_bytes as usize)
    }

    /// The number of the text of a pair of this segment.
    pub fn number(&self, pair: u32) -> Option<u32> {
        self.numbers.get(pair as usize).copied().filter(|&n| n != UNKNOWN)
    }

    /// The pairs of the record that was read last: the number of the first of them in the segment,
    /// and those of the texts of all.
    pub fn last_read(&self) -> (usize, &[u32]) {
        (self.first_read, self.numbers.get(self.first_read..).unwrap_or_default())
    }

    /// Takes pairs of an earlier segment for those from `first` on of this one, by the numbers of
    /// their texts.
    pub fn repeat(&mut self, first: usize, texts: &[u32]) {
        self.numbers.resize(first, UNKNOWN);
        self.numbers.extend_from_slice(texts);
    }

    /// Reads a record of pairs; `None` when it is damaged.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let first = cursor.varint_u32()? as usize;
        if first > self.numbers.len() + GAP_MAX {
            return None;
        }
        self.first_read = first;
        // What is told again replaces what was told, and what is missing was lost.
        self.numbers.resize(first, UNKNOWN);
        while cursor.remaining() > 0 {
            let name = cursor.text()?;
            let value = cursor.text()?;
            if value.is_empty() {
                return None;
            }
            if self.places.len() >= UNKNOWN as usize {
                return None;
            }
            self.push(name, value);
        }
        Some(())
    }

    /// Adds the next pair, and gives the number of its text.
    pub fn push(&mut self, name: &str, value: &str) -> u32 {
        let number = self.places.len() as u32;
        let name_number = match self.names.get(name) {
            Some(&known) => known,
            None => {
                let next = self.names.len() as u32;
                self.names.insert(name.into(), next);
                next
            }
        };
        self.places.push(Place { start: self.texts.len(), name_bytes: name.len() as u32, name: name_number });
        self.texts.push_str(name);
        self.texts.push_str(value);
        self.numbers.push(number);
        number
    }

    /// Whether no name comes twice or before one that it should follow. `known` keeps the names of
    /// pairs for which that was so, as the next series mostly has the same.
    fn is_sorted(&self, pairs: &[u32], known: &mut Vec<u32>) -> bool {
        let names = pairs.iter().map(|&number| self.places[number as usize].name);
        if names.clone().eq(known.iter().copied()) {
            return true;
        }
        let is_sorted = pairs.iter().map(|&number| self.text(number as usize).0).is_sorted_by(|a, b| a < b);
        if is_sorted {
            known.clear();
            known.extend(names);
        }
        is_sorted
    }
}

/// Series of one record, as they are read.
#[derive(Debug, Default)]
pub struct Defining {
    series: Vec<DefinedOne>,
    pairs: Vec<u32>,
    /// Names of the pairs of the series before.
    names: Vec<u32>,
    references: Vec<SeriesRef>,
}

#[derive(Debug, Clone, Copy)]
struct DefinedOne {
    /// In the segment.
    number: u32,
    hash: u64,
    /// Whether the texts of all pairs are known.
    is_whole: bool,
    /// End of its pairs; they begin where those of the one before end.
    end: usize,
}

impl Defining {
    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// The numbers of the series in the segment.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.series.iter().map(|one| one.number)
    }

    /// Reads a record of series. `None` when it is damaged; the series before the damage are there
    /// all the same.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, list: &PairList) -> Option<()> {
        self.series.clear();
        self.pairs.clear();
        while cursor.remaining() > 0 {
            let number = cursor.varint_u32()?;
            let hash = cursor.u64()?;
            let mut is_whole = true;
            let start = self.pairs.len();
            for _ in 0..cursor.count(1)? {
                let text = list.number(cursor.varint_u32()?);
                is_whole &= text.is_some();
                self.pairs.extend(text);
            }
            if !is_whole {
                self.pairs.truncate(start);
            } else if !list.is_sorted(&self.pairs[start..], &mut self.names) {
                return None;
            }
            self.series.push(DefinedOne { number, hash, is_whole, end: self.pairs.len() });
        }
        Some(())
    }

    /// Hands the series on. Gives the number of each, and what it is to be known by if it was whole.
    pub fn define(
        &mut self,
        list: &PairList,
        replay: &mut dyn Replay,
    ) -> impl Iterator<Item = (u32, Option<SeriesRef>)> {
        self.references.clear();
        let defined = DefinedSeries { series: &self.series, pairs: &self.pairs, list };
        replay.series(&defined, &mut self.references);
        let mut references = self.references.iter();
        self.series
            .iter()
            .map(move |one| (one.number, if one.is_whole { references.next().copied() } else { None }))
    }
}

/// Series as the log defines them.
#[derive(Debug, Clone, Copy)]
pub struct DefinedSeries<'a> {
    series: &'a [DefinedOne],
    pairs: &'a [u32],
    /// Where the texts of the pairs are.
    pub list: &'a PairList,
}

impl<'a> DefinedSeries<'a> {
    /// About how many there are.
    pub fn len(self) -> usize {
        self.series.len()
    }

    /// How many labels they have in all.
    pub fn labels(self) -> usize {
        self.pairs.len()
    }

    /// The series.
    pub fn iter(self) -> impl Iterator<Item = Defined<'a>> {
        let mut start = 0;
        self.series.iter().filter(|one| one.is_whole).map(move |one| {
            let pairs = &self.pairs[std::mem::replace(&mut start, one.end)..one.end];
            Defined { hash: one.hash, pairs, list: self.list }
        })
    }
}

/// A series as the log defines it.
#[derive(Debug, Clone, Copy)]
pub struct Defined<'a> {
    /// Hash of the labels.
    pub hash: u64,
    /// The numbers of the texts of its pairs, in order of the label names.
    pub pairs: &'a [u32],
    /// Where the texts are.
    pub list: &'a PairList,
}

impl<'a> Defined<'a> {
    /// Names and values.
    pub fn texts(self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone {
        self.pairs.iter().map(move |&number| self.list.text(number as usize))
    }
}
