//! The series of one export: what the spool's numbers stand for, and what is written for them.
//!
//! Whether a series is exported, and all of its text, is settled when it is defined; a sample then
//! costs a look-up. Series that are written into one document make up a group.
//!
//! Invariant: a group lives as long as a number leads to one of its series, so what is kept is bounded
//! by the numbers of the spool, which uses them again.

use std::collections::HashMap;

use vedette_model::{Labels, Matcher};
use xxhash_rust::xxh3::xxh3_64;

use super::encode::{Encoder, cadvisor::Container, cadvisor::Figure};
use crate::spool::record::Pairs;

/// What a number of the spool stands for.
enum Slot {
    Unknown,
    /// It is not exported; the hash is that of its definition.
    Unwanted(u64),
    Series(Box<Series>),
}

/// A series that is exported.
pub struct Series {
    definition: u64,
    /// The group that it belongs to.
    pub group: u32,
    /// What is written before its value.
    pub head: Box<[u8]>,
    /// What is written behind its value.
    pub tail: Box<[u8]>,
    /// Tells it from the others of its group.
    pub hash: u64,
    /// Which figure of a container it is, where that is the shape.
    pub figure: Option<Figure>,
    /// The interval in which a sample of it was exported last.
    pub interval: i64,
}

/// Series that are written together.
pub struct Group {
    users: u32,
    key: Box<[u8]>,
    /// Of its key.
    pub hash: u64,
    /// What is written before its series.
    pub head: Box<[u8]>,
    /// The latest figures of a container, where that is the shape.
    pub container: Option<Box<Container>>,
    /// The row that it was seen in last, and its place there.
    pub seen: (u64, u32),
}

/// A series as an encoder describes it.
pub struct Described {
    /// Series with equal keys are written together.
    pub key: Vec<u8>,
    /// What is written before the group.
    pub group_head: Vec<u8>,
    /// What is written before the value.
    pub head: Vec<u8>,
    /// What is written behind the value.
    pub tail: Vec<u8>,
    /// Which figure of a container it is.
    pub figure: Option<Figure>,
    /// The container itself, before it has any figure.
    pub container: Option<Container>,
}

/// What a look-up found.
pub enum Found<'a> {
    /// A series that is exported.
    Series(&'a mut Series),
    /// One that is not.
    Unwanted,
    /// Nothing.
    Unknown,
}

/// Series by the spool's numbers.
#[derive(Default)]
pub struct SeriesTable {
    slots: Vec<Slot>,
    groups: Vec<Group>,
    free: Vec<u32>,
    by_key: HashMap<Box<[u8]>, u32>,
}

/// Whether some selector fits; none at all fit nothing.
pub fn is_selected(selectors: &[Vec<Matcher>], labels: &Labels) -> bool {
    let fits = |matcher: &Matcher| matcher.matches(labels.get(&matcher.name).unwrap_or(""));
    selectors.iter().any(|selector| selector.iter().all(fits))
}

impl SeriesTable {
    /// Takes a definition. `bytes` are those of the labels: a number that is defined again as it was
    /// costs no more than a look at them.
    pub fn define(
        &mut self,
        number: u32,
        bytes: &[u8],
        labels: Pairs<'_>,
        selectors: &[Vec<Matcher>],
        encoder: &Encoder,
    ) {
        let definition = xxh3_64(bytes);
        let at = number as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || Slot::Unknown);
        }
        match &self.slots[at] {
            Slot::Unwanted(known) if *known == definition => return,
            Slot::Series(series) if series.definition == definition => return,
            _ => {}
        }
        let labels = Labels::from_pairs(labels);
        let described = if is_selected(selectors, &labels) { encoder.describe(&labels) } else { None };
        let slot = match described {
            None => Slot::Unwanted(definition),
            Some(described) => {
                // The labels may stand behind the value.
                let hash = xxh3_64(&described.head) ^ xxh3_64(&described.tail).rotate_left(1);
                let figure = described.figure.clone();
                let head = described.head.clone().into_boxed_slice();
                let tail = described.tail.clone().into_boxed_slice();
                let group = self.enter(described);
                let interval = i64::MIN;
                Slot::Series(Box::new(Series { definition, group, head, tail, hash, figure, interval }))
            }
        };
        if let Slot::Series(old) = std::mem::replace(&mut self.slots[at], slot) {
            self.leave(old.group);
        }
    }

    /// What a number stands for.
    #[inline]
    pub fn find(&mut self, number: u32) -> Found<'_> {
        match self.slots.get_mut(number as usize) {
            Some(Slot::Series(series)) => Found::Series(series),
            Some(Slot::Unwanted(_)) => Found::Unwanted,
            Some(Slot::Unknown) | None => Found::Unknown,
        }
    }

    /// A series that was found before.
    #[inline]
    pub fn series(&self, number: u32) -> &Series {
        match &self.slots[number as usize] {
            Slot::Series(series) => series,
            Slot::Unwanted(_) | Slot::Unknown => panic!("BUG: series {number} was found before"),
        }
    }

    /// A group.
    #[inline]
    pub fn group(&mut self, group: u32) -> &mut Group {
        &mut self.groups[group as usize]
    }

    /// A group and a series of it.
    #[inline]
    pub fn both(&mut self, group: u32, number: u32) -> (&mut Group, &Series) {
        match &self.slots[number as usize] {
            Slot::Series(series) => (&mut self.groups[group as usize], series),
            Slot::Unwanted(_) | Slot::Unknown => panic!("BUG: series {number} was found before"),
        }
    }

    /// Groups that some number leads to.
    #[cfg(test)]
    pub fn groups(&self) -> usize {
        self.by_key.len()
    }

    fn enter(&mut self, described: Described) -> u32 {
        let key = described.key.into_boxed_slice();
        if let Some(group) = self.by_key.get(&key) {
            self.groups[*group as usize].users += 1;
            return *group;
        }
        let group = Group {
            users: 1,
            hash: xxh3_64(&key),
            key: key.clone(),
            head: described.group_head.into_boxed_slice(),
            container: described.container.map(Box::new),
            seen: (0, 0),
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.groups[number as usize] = group;
                number
            }
            None => {
                self.groups.push(group);
                u32::try_from(self.groups.len() - 1).expect("BUG: groups are fewer than numbers")
            }
        };
        self.by_key.insert(key, number);
        number
    }

    fn leave(&mut self, number: u32) {
        let group = &mut self.groups[number as usize];
        group.users -= 1;
        if group.users == 0 {
            self.by_key.remove(&group.key);
            group.container = None;
            group.head = Box::default();
            self.free.push(number);
        }
    }
}
