//! The definitions that a segment begins with. As a rule those of the next segment are the same, byte
//! by byte: then what they mean is known, and nothing of them has to be read.
//!
//! Invariant: a record means what it meant in the segment before only when all records before it are
//! the same there too, as what it says builds on these.

use crate::SeriesRef;

/// Definitions of the segment that is being read, beside those of the one before.
#[derive(Debug, Default)]
pub struct Beginning {
    records: Vec<Record>,
    before: Vec<Record>,
    /// Whether all records so far are such definitions.
    goes_on: bool,
    /// Whether all of them are those of the segment before.
    repeats: bool,
}

/// A record, and what it means.
#[derive(Debug)]
struct Record {
    bytes: Box<[u8]>,
    meaning: Meaning,
}

/// What definitions mean.
#[derive(Debug)]
pub enum Meaning {
    /// The numbers of the texts of the pairs from `first` on.
    Pairs {
        /// Number of the first pair.
        first: usize,
        /// Numbers of texts.
        texts: Box<[u32]>,
    },
    /// The number of each series, and what it is known by.
    Series(Box<[(u32, SeriesRef)]>),
}

impl Beginning {
    /// Begins a segment.
    pub fn begin_segment(&mut self) {
        self.before = std::mem::take(&mut self.records);
        (self.goes_on, self.repeats) = (true, true);
    }

    /// What the next record of the segment means, if that is known.
    pub fn find(&mut self, bytes: &[u8]) -> Option<&Meaning> {
        let place = self.records.len();
        self.repeats &= self.goes_on && self.before.get(place).is_some_and(|b| *b.bytes == *bytes);
        if !self.repeats {
            return None;
        }
        // Only those from this place on are needed any more.
        let empty = Record { bytes: Box::default(), meaning: Meaning::Series(Box::default()) };
        self.records.push(std::mem::replace(&mut self.before[place], empty));
        self.records.last().map(|record| &record.meaning)
    }

    /// Whether the next record is to be told of by [`Beginning::keep`] if it defines anything.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Keeps what a record means that was not known.
    pub fn keep(&mut self, bytes: &[u8], meaning: Meaning) {
        self.records.push(Record { bytes: bytes.into(), meaning });
    }

    /// Tells that a record of another kind came, or one that is damaged.
    pub fn end(&mut self) {
        self.goes_on = false;
        self.before.clear();
    }
}
