//! The series of one sender, by the numbers it gave them.

use vedette_model::{Labels, METRIC_NAME};
use vedette_tsdb::{Error, SeriesRef, Tsdb};

use crate::Config;

/// Series by number. Changes of a batch that is not taken in the end are undone.
#[derive(Default)]
pub(crate) struct Dictionary {
    slots: Vec<Slot>,
    /// What stood in the slots that the current batch has changed.
    replaced: Vec<(u32, Slot)>,
}

/// What a number stands for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Slot {
    /// Nothing.
    #[default]
    Free,
    /// A series of the store.
    Known { reference: SeriesRef, labels: Labels },
    /// A series that breaks the limits: its samples are counted and dropped.
    Refused,
    /// A series for which the store had no room: tried again from then on.
    NoRoom { labels: Labels, retry_at_ms: i64 },
}

impl Dictionary {
    pub(crate) fn get(&self, series: u32) -> &Slot {
        self.slots.get(series as usize).unwrap_or(&Slot::Free)
    }

    /// What the number stood for before the current batch defined it anew.
    pub(crate) fn before(&self, series: u32) -> Option<&Slot> {
        self.replaced.iter().find(|(number, _)| *number == series).map(|(_, slot)| slot)
    }

    /// Puts a slot in place, to be kept by `commit` or undone by `roll_back`.
    pub(crate) fn set(&mut self, series: u32, slot: Slot) {
        let at = series as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, Slot::Free);
        }
        let old = std::mem::replace(&mut self.slots[at], slot);
        self.replaced.push((series, old));
    }

    /// Changes a slot for good: the series is the same, the store's number for it is not.
    pub(crate) fn renew(&mut self, series: u32, reference: SeriesRef) {
        if let Some(Slot::Known { reference: old, .. }) = self.slots.get_mut(series as usize) {
            *old = reference;
        }
    }

    pub(crate) fn commit(&mut self) {
        self.replaced.clear();
    }

    pub(crate) fn roll_back(&mut self) {
        while let Some((series, slot)) = self.replaced.pop() {
            self.slots[series as usize] = slot;
        }
    }
}

/// The slot for a series with these labels.
pub(crate) fn resolve(tsdb: &Tsdb, config: &Config, labels: &Labels, now_ms: i64) -> Result<Slot, Error> {
    if !is_within_limits(config, labels) {
        return Ok(Slot::Refused);
    }
    match tsdb.series(labels) {
        Ok(reference) => Ok(Slot::Known { reference, labels: labels.clone() }),
        Err(Error::SeriesLimit { .. }) => {
            let retry_at_ms = now_ms.saturating_add(config.series_retry_ms);
            Ok(Slot::NoRoom { labels: labels.clone(), retry_at_ms })
        }
        Err(Error::Invalid { .. }) => Ok(Slot::Refused),
        Err(error) => Err(error),
    }
}

fn is_within_limits(config: &Config, labels: &Labels) -> bool {
    let named = labels.get(METRIC_NAME).is_some();
    let fits = |(name, value): (&str, &str)| {
        !name.is_empty()
            && name.len() <= config.label_name_bytes_max
            && value.len() <= config.label_value_bytes_max
    };
    named && labels.len() <= config.labels_max && labels.iter().all(fits)
}
