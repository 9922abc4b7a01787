//! Samples by name and labels, for collectors whose series are many but whose readings are few.
//!
//! A collector writes its samples down as it finds them; the sheet knows which of them it has seen
//! before, so that only what is new is defined and what a round did not name is retired. Finding
//! a known sample takes one comparison, as a round names the same ones in the same order, and
//! writing it down again allocates nothing. A sheet needs no pass while it is written, so that
//! another thread can do it.

use std::{collections::HashMap, sync::Arc};

use vedette_model::MetricKind;

use crate::series::{Family, Pass, Series};

/// More samples than any sane machine gives to one collector; those beyond are counted and left out.
const SAMPLES_MAX: usize = 32_768;

/// Samples of one collector.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    entries: Vec<Entry>,
    /// Where the entry of a key is. Asked only when the order changed.
    places: HashMap<Arc<[u8]>, u32>,
    key: Vec<u8>,
    round: u64,
    /// The entry that the last sample went to.
    last: Option<u32>,
    named: usize,
    left_out: usize,
}

#[derive(Debug)]
struct Entry {
    key: Arc<[u8]>,
    /// The entry that followed this one in the last round.
    next: u32,
    round: u64,
    value: f64,
    state: State,
}

#[derive(Debug)]
enum State {
    New(Box<Definition>),
    Defined(Series),
}

/// What it takes to define a series, once a pass is at hand.
#[derive(Debug)]
struct Definition {
    name: String,
    kind: MetricKind,
    help: String,
    labels: Vec<(String, String)>,
}

impl Sheet {
    /// Begins a round. What it does not name is gone at its end.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.last = None;
        self.named = 0;
        self.left_out = 0;
    }

    /// Writes a sample down. A second one of the same series in one round is left out.
    pub(crate) fn put(&mut self, family: Family<'_>, labels: &[(&str, &str)], value: f64) {
        self.key.clear();
        self.key.extend_from_slice(family.name.as_bytes());
        for (name, value) in labels {
            // Bytes that no text has keep the parts apart.
            self.key.push(0xff);
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(0xfe);
            self.key.extend_from_slice(value.as_bytes());
        }
        let Some(place) = self.find().or_else(|| self.add(family, labels)) else {
            self.left_out += 1;
            return;
        };
        if let Some(last) = self.last.replace(place) {
            self.entries[last as usize].next = place;
        }
        let entry = &mut self.entries[place as usize];
        if entry.round != self.round {
            entry.round = self.round;
            entry.value = value;
            self.named += 1;
        }
    }

    fn find(&self) -> Option<u32> {
        let guess = self.last.map_or(0, |last| self.entries[last as usize].next);
        match self.entries.get(guess as usize) {
            Some(entry) if *entry.key == *self.key => Some(guess),
            _ => self.places.get(self.key.as_slice()).copied(),
        }
    }

    fn add(&mut self, family: Family<'_>, labels: &[(&str, &str)]) -> Option<u32> {
        let place = u32::try_from(self.entries.len()).ok().filter(|p| (*p as usize) < SAMPLES_MAX)?;
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let definition = Definition {
            name: family.name.to_owned(),
            kind: family.kind,
            help: family.help.to_owned(),
            labels: labels.iter().map(owned).collect(),
        };
        let key: Arc<[u8]> = self.key.as_slice().into();
        self.places.insert(key.clone(), place);
        self.entries.push(Entry {
            key,
            next: place + 1,
            round: 0,
            value: 0.0,
            state: State::New(Box::new(definition)),
        });
        Some(place)
    }

    /// Ends a round: defines what is new, retires what it did not name.
    pub(crate) fn settle(&mut self, pass: &mut Pass<'_>) {
        if self.named < self.entries.len() {
            let round = self.round;
            for gone in self.entries.extract_if(.., |entry| entry.round != round) {
                if let State::Defined(series) = gone.state {
                    pass.retire(series);
                }
            }
            self.places.clear();
            for (place, entry) in self.entries.iter_mut().enumerate() {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                entry.next = place.saturating_add(1);
                self.places.insert(entry.key.clone(), place);
            }
            self.last = None;
        }
        for entry in &mut self.entries {
            if let State::New(new) = &entry.state {
                let labels: Vec<(&str, &str)> =
                    new.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let family = Family { name: &new.name, kind: new.kind, help: &new.help };
                entry.state = State::Defined(pass.define(family, &labels));
            }
        }
    }

    /// The samples of the last round, once it has been settled.
    pub(crate) fn samples(&self) -> impl Iterator<Item = (Series, f64)> {
        self.entries.iter().filter_map(|entry| match entry.state {
            State::Defined(series) => Some((series, entry.value)),
            State::New(_) => None,
        })
    }

    /// How many samples of the round there was no room for.
    pub(crate) fn left_out(&self) -> usize {
        self.left_out
    }
}

#[cfg(test)]
mod tests;
