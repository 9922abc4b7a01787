//! The series of one receiver: what the spool's numbers stand for, with the labels that are sent.
//!
//! Relabelling happens once for a definition, not for each sample. Texts stand once; a series is a few
//! numbers of texts.

use std::{collections::HashMap, sync::Arc};

use vedette_model::{Labels, LabelsBuilder, METRIC_NAME, MetricKind, MetricMetadata, RelabelRule, relabel};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::spool::{SERIES_MAX, record::Pairs};

/// A number of the spool that stands for nothing.
const UNKNOWN: u32 = u32::MAX;
/// A number whose series is not sent.
const DROPPED: u32 = u32::MAX - 1;
/// So many series that are needed no more are borne with.
const DEAD_MIN: usize = 4096;

/// What a number of the spool stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A series, by the receiver's own number.
    Series(u32),
    /// One that relabelling has dropped.
    Dropped,
    /// Nothing.
    Unknown,
}

/// Series by the spool's numbers.
pub struct SeriesTable {
    external: Labels,
    rules: Vec<RelabelRule>,
    slots: usize,
    seed: u64,
    /// By the spool's number: the own number, and a hash of the definition.
    numbers: Vec<(u32, u64)>,
    series: Vec<Series>,
    pub symbols: Symbols,
}

/// A series as it is sent.
pub struct Series {
    /// Numbers of names and values in turn, in order of the names.
    pub refs: Box<[u32]>,
    /// Where its samples wait.
    pub slot: u16,
    /// What is known of its family, and of which version that is.
    pub metadata: SeriesMetadata,
}

#[derive(Clone, Copy)]
pub struct SeriesMetadata {
    pub version: u64,
    pub kind: MetricKind,
    pub help: u32,
    pub unit: u32,
}

/// Texts, each once. Number 0 is the empty text.
pub struct Symbols {
    texts: Vec<Arc<str>>,
    index: HashMap<Arc<str>, u32>,
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self { texts: Vec::new(), index: HashMap::new() };
        symbols.number("");
        symbols
    }
}

impl Symbols {
    pub fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.index.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).expect("BUG: texts are fewer than numbers");
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.index.insert(text, number);
        number
    }

    pub fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }
}

impl SeriesTable {
    pub fn new(external: Labels, rules: Vec<RelabelRule>, slots: usize, seed: u64) -> Self {
        let symbols = Symbols::default();
        Self { external, rules, slots, seed, numbers: Vec::new(), series: Vec::new(), symbols }
    }

    /// Takes a definition. `bytes` are those of the labels: a number that is defined again as it was
    /// costs no more than a look at them.
    pub fn define(&mut self, number: u32, bytes: &[u8], labels: Pairs<'_>) {
        let hash = xxh3_64_with_seed(bytes, self.seed);
        let at = number as usize;
        if let Some((known, of)) = self.numbers.get(at)
            && *known != UNKNOWN
            && *of == hash
        {
            return;
        }
        if number >= SERIES_MAX {
            // The spool gives no such number; what a disk makes of one must not become memory.
            return;
        }
        let own = self.insert(labels);
        if at >= self.numbers.len() {
            self.numbers.resize(at + 1, (UNKNOWN, 0));
        }
        self.numbers[at] = (own, hash);
    }

    #[inline]
    pub fn find(&self, number: u32) -> Found {
        match self.numbers.get(number as usize) {
            None | Some((UNKNOWN, _)) => Found::Unknown,
            Some((DROPPED, _)) => Found::Dropped,
            Some((own, _)) => Found::Series(*own),
        }
    }

    #[inline]
    pub fn get(&self, own: u32) -> &Series {
        &self.series[own as usize]
    }

    /// The series' metadata, found by `find` (which is given names of families) where the version of it
    /// is not the newest.
    pub fn metadata(
        &mut self,
        own: u32,
        version: u64,
        find: &mut dyn FnMut(&str) -> Option<Arc<MetricMetadata>>,
    ) -> SeriesMetadata {
        let series = &self.series[own as usize];
        if series.metadata.version == version {
            return series.metadata;
        }
        let name = series.refs.chunks_exact(2).find(|pair| self.symbols.text(pair[0]) == METRIC_NAME);
        let name = name.map_or("", |pair| self.symbols.text(pair[1])).to_owned();
        let mut metadata = SeriesMetadata { version, kind: MetricKind::Unknown, help: 0, unit: 0 };
        if let Some(known) = families(&name).find_map(find) {
            metadata.kind = known.kind;
            metadata.help = self.symbols.number(&known.help);
            metadata.unit = self.symbols.number(&known.unit);
        }
        self.series[own as usize].metadata = metadata;
        metadata
    }

    /// Whether so much is needed no more that [`SeriesTable::sweep`] is worth its while.
    pub fn is_mostly_dead(&self) -> bool {
        self.series.len() > DEAD_MIN && self.series.len() > 2 * self.numbers.len()
    }

    /// Forgets the series that neither the spool's numbers nor `used` name, and gives the new number of
    /// each old one; numbers of those forgotten mean nothing.
    pub fn sweep(&mut self, used: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut moved = vec![UNKNOWN; self.series.len()];
        for own in used.chain(self.numbers.iter().map(|(own, _)| *own).filter(|own| *own < DROPPED)) {
            moved[own as usize] = 0;
        }
        let old = std::mem::take(&mut self.symbols);
        let mut kept = Vec::new();
        for (series, moved) in std::mem::take(&mut self.series).into_iter().zip(&mut moved) {
            if *moved == UNKNOWN {
                continue;
            }
            *moved = u32::try_from(kept.len()).expect("BUG: fewer than before");
            let refs = series.refs.iter().map(|n| self.symbols.number(old.text(*n))).collect();
            let metadata = SeriesMetadata { version: u64::MAX, ..series.metadata };
            kept.push(Series { refs, metadata, ..series });
        }
        self.series = kept;
        for (own, _) in &mut self.numbers {
            if *own < DROPPED {
                *own = moved[*own as usize];
            }
        }
        moved
    }

    fn insert(&mut self, labels: Pairs<'_>) -> u32 {
        let mut hash = 0;
        let mut refs = Vec::with_capacity(32);
        if self.rules.is_empty() && self.external.is_empty() {
            for (name, value) in labels {
                refs.push(self.symbols.number(name));
                refs.push(self.symbols.number(value));
                hash = mix(hash, name, value);
            }
        } else {
            let mut builder = LabelsBuilder::new();
            for (name, value) in self.external.iter().chain(labels) {
                builder.set(name, value);
            }
            if !relabel(&self.rules, &mut builder) {
                return DROPPED;
            }
            for (name, value) in builder.iter() {
                refs.push(self.symbols.number(name));
                refs.push(self.symbols.number(value));
                hash = mix(hash, name, value);
            }
        }
        if refs.is_empty() {
            return DROPPED;
        }
        let slot = u16::try_from(hash % self.slots as u64).expect("BUG: slots are few");
        let metadata = SeriesMetadata { version: u64::MAX, kind: MetricKind::Unknown, help: 0, unit: 0 };
        self.series.push(Series { refs: refs.into(), slot, metadata });
        u32::try_from(self.series.len() - 1).expect("BUG: series are fewer than numbers")
    }
}

fn mix(hash: u64, name: &str, value: &str) -> u64 {
    xxh3_64_with_seed(value.as_bytes(), xxh3_64_with_seed(name.as_bytes(), hash))
}

/// The families that a metric of this name may be of.
fn families(name: &str) -> impl Iterator<Item = &str> {
    let suffixes = ["_bucket", "_count", "_sum", "_total", "_created", "_info", "_gcount", "_gsum"];
    std::iter::once(name).chain(suffixes.into_iter().filter_map(|suffix| name.strip_suffix(suffix)))
}
