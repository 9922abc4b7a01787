//! Collects the series of a segment, in order of their labels, and writes their index.

use std::{collections::HashMap, io};

use vedette_model::{Labels, TimeRange};

use super::index::{Block, RESTART, TABLES_BYTES, Tables, parts_of};
use crate::bytes::{put_signed, put_varint};

/// Name and value of a label, as numbers that this builder gave to their texts.
pub type Pair = (u32, u32);

/// About as many labels of a series differ from those of the series before.
const NEW_PAIRS: usize = 3;

/// The series so far.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    /// The labels of each series that are not those of the series before.
    pairs: Vec<Pair>,
    series: Vec<Record>,
    /// Labels of the series that came last.
    last: Vec<Pair>,
    last_labels: Option<Labels>,
}

#[derive(Debug)]
struct Record {
    shared: u32,
    pairs: u32,
    block: Block,
}

impl IndexBuilder {
    /// A builder whose first symbols, in this order, have the numbers from 0 on.
    pub fn with_symbols(texts: Vec<Box<str>>) -> Self {
        Self { texts, ..Self::default() }
    }

    /// Makes room for so many series, which costs less memory than growing to them.
    pub fn reserve(&mut self, series: usize) {
        self.series.reserve_exact(series);
        self.pairs.reserve_exact(series * NEW_PAIRS);
    }

    /// Adds the next series. Its block may be said later by [`IndexBuilder::set_block`].
    pub fn add(&mut self, labels: &Labels, block: Block) {
        let shared = self.last_labels.as_ref().map_or(0, |last| {
            let same = last.iter().zip(labels).take_while(|(a, b)| a == b);
            same.count()
        });
        self.last.truncate(shared);
        for (name, value) in labels.iter().skip(shared) {
            let pair = (self.number(name), self.number(value));
            self.last.push(pair);
        }
        self.last_labels = Some(labels.clone());
        self.push(shared, block);
    }

    /// Adds the next series by the numbers of its labels.
    pub fn add_pairs(&mut self, pairs: &[Pair], block: Block) {
        let shared = self.last.iter().zip(pairs).take_while(|(a, b)| a == b).count();
        self.last.truncate(shared);
        self.last.extend_from_slice(&pairs[shared..]);
        self.push(shared, block);
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// The bytes of the index of samples in `range`.
    pub fn finish(self, range: TimeRange) -> io::Result<Vec<u8>> {
        let ranks = Ranks::of(&self);
        let mut out = vec![0; TABLES_BYTES];
        let mut tables = Tables { symbols: ranks.sorted.len() as u32, ..Tables::default() };
        let mut length = 0u32;
        for &text in &ranks.sorted {
            out.extend_from_slice(&length.to_le_bytes());
            length = length.saturating_add(self.texts[text as usize].len() as u32);
        }
        out.extend_from_slice(&length.to_le_bytes());
        tables.texts = place(&out)?;
        for &text in &ranks.sorted {
            out.extend_from_slice(self.texts[text as usize].as_bytes());
        }
        self.put_series(&ranks, range, &mut tables, &mut out)?;
        self.put_postings(&ranks, &mut tables, &mut out)?;
        tables.end = place(&out)?;
        for (number, at) in tables.numbers().into_iter().zip((0..).step_by(4)) {
            out[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        Ok(out)
    }

    fn push(&mut self, shared: usize, block: Block) {
        let new = &self.last[shared..];
        self.series.push(Record { shared: shared as u32, pairs: new.len() as u32, block });
        self.pairs.extend_from_slice(new);
    }

    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = u32::try_from(self.texts.len()).expect("BUG: series limits keep symbols below 2^32");
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    /// Hands on each series with all its labels.
    fn each(&self, mut each: impl FnMut(&Record, &[Pair])) {
        let mut labels: Vec<Pair> = Vec::new();
        let mut at = 0;
        for record in &self.series {
            labels.truncate(record.shared as usize);
            labels.extend_from_slice(&self.pairs[at..at + record.pairs as usize]);
            at += record.pairs as usize;
            each(record, &labels);
        }
    }

    fn put_series(
        &self,
        ranks: &Ranks,
        range: TimeRange,
        tables: &mut Tables,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut shapes: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut names: Vec<u32> = Vec::new();
        let mut shape_ends = vec![0u32];
        let (mut restarts, mut entries) = (Vec::new(), Vec::new());
        let mut shape_of = |of: &[u32]| {
            *shapes.entry(of.to_vec()).or_insert_with(|| {
                names.extend_from_slice(of);
                shape_ends.push(names.len() as u32);
                shape_ends.len() as u32 - 2
            })
        };
        let (mut of, mut of_before, mut values) = (Vec::new(), Vec::new(), Vec::<u32>::new());
        let mut shape_before = None;
        let (mut next_offset, mut number) = (0, 0u32);
        self.each(|record, labels| {
            let restart = number.is_multiple_of(RESTART);
            if restart {
                restarts.extend_from_slice(&(entries.len() as u32).to_le_bytes());
                values.clear();
                shape_before = None;
            }
            number += 1;
            of.clear();
            of.extend(labels.iter().map(|(name, _)| ranks.rank[*name as usize]));
            let shape = match shape_before {
                Some(shape) if of == of_before => shape,
                _ => shape_of(&of),
            };
            std::mem::swap(&mut of, &mut of_before);
            let shared = if restart { 0 } else { record.shared as usize };
            let same_shape = shape_before == Some(shape);
            put_varint(&mut entries, (shared as u64) << 1 | u64::from(same_shape));
            if !same_shape {
                put_varint(&mut entries, u64::from(shape));
            }
            shape_before = Some(shape);
            values.resize(labels.len(), 0);
            for (value, (_, text)) in values.iter_mut().zip(labels).skip(shared) {
                let rank = ranks.rank[*text as usize];
                put_signed(&mut entries, i64::from(rank) - i64::from(*value));
                *value = rank;
            }
            let Block { offset, bytes, range: of } = record.block;
            let parts = if of.start_ms <= of.end_ms { parts_of(range, of) } else { (0, 255) };
            let partial = parts != (0, 255);
            let gap = !restart && offset != next_offset;
            put_varint(&mut entries, bytes << 2 | u64::from(gap) << 1 | u64::from(partial));
            if restart {
                put_varint(&mut entries, offset);
            } else if gap {
                put_varint(&mut entries, offset - next_offset);
            }
            if partial {
                entries.extend_from_slice(&[parts.0, parts.1]);
            }
            next_offset = offset + bytes;
        });
        tables.shapes = shape_ends.len() as u32 - 1;
        tables.shapes_at = place(out)?;
        shape_ends.iter().chain(&names).for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        tables.series = number;
        tables.restarts_at = place(out)?;
        out.append(&mut restarts);
        tables.entries_at = place(out)?;
        out.append(&mut entries);
        Ok(())
    }

    fn put_postings(&self, ranks: &Ranks, tables: &mut Tables, out: &mut Vec<u8>) -> io::Result<()> {
        let Runs { pairs, mut runs } = self.runs();
        // By name, then value; the runs of one pair are in order already.
        runs.sort_by_key(|r| ranks.pair(pairs[r.pair as usize]));
        let (mut names, mut values, mut bytes) = (Vec::<(u32, u32)>::new(), Vec::new(), Vec::new());
        for same in runs.chunk_by(|a, b| a.pair == b.pair) {
            let mut next = 0;
            for run in same {
                let length = run.end - run.start;
                put_varint(&mut bytes, u64::from(run.start - next) << 1 | u64::from(length > 1));
                if length > 1 {
                    put_varint(&mut bytes, u64::from(length - 2));
                }
                next = run.end;
            }
            let (name, value) = ranks.pair(pairs[same[0].pair as usize]);
            values.push((value, place(&bytes)?));
            match names.last_mut() {
                Some((last, end)) if *last == name => *end += 1,
                _ => names.push((name, values.len() as u32)),
            }
        }
        tables.names = names.len() as u32;
        tables.names_at = place(out)?;
        let put = |pairs: &[(u32, u32)], out: &mut Vec<u8>| {
            for (a, b) in pairs {
                out.extend_from_slice(&a.to_le_bytes());
                out.extend_from_slice(&b.to_le_bytes());
            }
        };
        put(&names, out);
        tables.values_at = place(out)?;
        put(&values, out);
        tables.runs_at = place(out)?;
        out.append(&mut bytes);
        Ok(())
    }

    /// Stretches of neighbouring series that share a label.
    fn runs(&self) -> Runs {
        let mut found = Runs::default();
        let mut numbers: HashMap<Pair, u32> = HashMap::new();
        // For each pair where its last run began, and where it ended unless it still goes on.
        let mut open: Vec<Run> = Vec::new();
        let mut current: Vec<u32> = Vec::new();
        let (mut at, mut series) = (0, 0u32);
        for record in &self.series {
            for pair in current.drain(record.shared as usize..) {
                open[pair as usize].end = series;
            }
            for &pair in &self.pairs[at..at + record.pairs as usize] {
                let number = *numbers.entry(pair).or_insert_with(|| {
                    found.pairs.push(pair);
                    let number = open.len() as u32;
                    open.push(Run { pair: number, start: series, end: series });
                    number
                });
                let run = &mut open[number as usize];
                if run.end != series {
                    found.runs.push(*run);
                    *run = Run { pair: number, start: series, end: series };
                }
                current.push(number);
            }
            at += record.pairs as usize;
            series += 1;
        }
        for pair in current {
            open[pair as usize].end = series;
        }
        found.runs.append(&mut open);
        found
    }
}

#[derive(Default)]
struct Runs {
    pairs: Vec<Pair>,
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    pair: u32,
    start: u32,
    end: u32,
}

/// The order of the texts in use.
struct Ranks {
    /// Texts in order.
    sorted: Vec<u32>,
    /// The place of each text in that order.
    rank: Vec<u32>,
}

impl Ranks {
    fn of(builder: &IndexBuilder) -> Self {
        let mut used = vec![false; builder.texts.len()];
        for &(name, value) in &builder.pairs {
            used[name as usize] = true;
            used[value as usize] = true;
        }
        let mut sorted: Vec<u32> = (0..builder.texts.len() as u32).filter(|&t| used[t as usize]).collect();
        sorted.sort_by(|&a, &b| builder.texts[a as usize].cmp(&builder.texts[b as usize]));
        let mut rank = vec![0; builder.texts.len()];
        for (&text, place) in sorted.iter().zip(0..) {
            rank[text as usize] = place;
        }
        Self { sorted, rank }
    }

    fn pair(&self, (name, value): Pair) -> Pair {
        (self.rank[name as usize], self.rank[value as usize])
    }
}

/// The length so far, as a place in the index.
fn place(bytes: &[u8]) -> io::Result<u32> {
    u32::try_from(bytes.len()).map_err(|_| io::Error::other("the index of a segment would exceed 4 GiB"))
}
