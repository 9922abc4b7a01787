//! Series found before: rules and dashboards ask for the same series again and again, and finding
//! them, with their labels and in order, costs more than reading a few samples of each.
//!
//! Invariant: what is taken from here is what a search would find now, but for series without a
//! sample in the range, which a selection may hold. So an entry counts only while the head has the
//! series that it had, and while the segments and deletions are those that it was found with.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use parking_lot::Mutex;
use vedette_model::{Matcher, TimeRange};

use super::{Found, Selected, segments_in};
use crate::{deletions::Deletions, head::Head, segment::Segment, store::Segments};

/// Memory of all entries.
const BYTES_MAX: usize = 64 << 20;
/// Memory of one of them: who asks for everything must not push out all others.
const ENTRY_BYTES_MAX: usize = BYTES_MAX / 2;
const ENTRIES_MAX: usize = 1024;

/// What was found before.
#[derive(Default)]
pub(crate) struct SelectionCache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// The least recently used first.
    list: Vec<Entry>,
    bytes: usize,
}

struct Entry {
    /// Of the matchers, which are compared only where it is equal.
    hash: u64,
    matchers: Vec<Matcher>,
    state: State,
    segments: Vec<Arc<Segment>>,
    series: Arc<[Selected]>,
    bytes: usize,
}

/// Segments that were looked into, and the series found.
type Known = (Vec<Arc<Segment>>, Arc<[Selected]>);

/// What an entry depends on.
pub(super) struct State {
    /// Series made and removed so far, by shard of the head.
    changes: Vec<u64>,
    pub deletions: Arc<Deletions>,
    pub listed: Segments,
}

impl State {
    /// The state before the head is searched.
    pub fn new(head: &Head, deletions: Arc<Deletions>, listed: Segments) -> Self {
        let changes = head.shards().iter().map(|shard| shard.index().changes()).collect();
        Self { changes, deletions, listed }
    }

    fn is(&self, other: &Self) -> bool {
        self.changes == other.changes
            && Arc::ptr_eq(&self.deletions, &other.deletions)
            && Arc::ptr_eq(&self.listed, &other.listed)
    }
}

impl SelectionCache {
    /// The series that satisfy the matchers, with the segments that were looked into, if they were
    /// found before for a range that touches the same segments.
    pub(super) fn get(&self, matchers: &[Matcher], range: TimeRange, state: &State) -> Option<Known> {
        let hash = hash(matchers);
        let mut entries = self.0.lock();
        let place = entries.list.iter().rposition(|e| {
            e.hash == hash
                && e.matchers == matchers
                && same_segments(&e.segments, segments_in(&state.listed, range))
        })?;
        let entry = entries.list.remove(place);
        if !entry.state.is(state) {
            entries.bytes -= entry.bytes;
            return None;
        }
        let found = (entry.segments.clone(), Arc::clone(&entry.series));
        entries.list.push(entry);
        Some(found)
    }

    /// Keeps what was found when `state` was there.
    pub(super) fn put(&self, matchers: &[Matcher], state: State, found: &Found) {
        let bytes = found.series.iter().map(Selected::heap_bytes).sum::<usize>() + size_of::<Entry>();
        // Sealed meanwhile: what was found goes with another list.
        if bytes > ENTRY_BYTES_MAX || !Arc::ptr_eq(&state.listed, &found.listed) {
            return;
        }
        let (hash, matchers, segments) = (hash(matchers), matchers.to_vec(), found.segments.clone());
        let entry = Entry { hash, matchers, state, segments, series: Arc::clone(&found.series), bytes };
        let mut entries = self.0.lock();
        let same = |e: &Entry| {
            e.hash == entry.hash
                && e.matchers == entry.matchers
                && same_segments(&e.segments, entry.segments.iter())
        };
        if let Some(place) = entries.list.iter().position(same) {
            entries.bytes -= entries.list.remove(place).bytes;
        }
        entries.bytes += bytes;
        entries.list.push(entry);
        let mut excess = 0;
        while entries.bytes > BYTES_MAX || entries.list.len() - excess > ENTRIES_MAX {
            entries.bytes -= entries.list[excess].bytes;
            excess += 1;
        }
        entries.list.drain(..excess);
    }

    /// Forgets what does not count any more, so that it takes no memory.
    pub(super) fn forget_outdated(&self, state: &State) {
        let mut entries = self.0.lock();
        entries.list.retain(|e| e.state.is(state));
        entries.bytes = entries.list.iter().map(|e| e.bytes).sum();
    }
}

fn hash(matchers: &[Matcher]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for Matcher { name, op, value, .. } in matchers {
        (name, op, value).hash(&mut hasher);
    }
    hasher.finish()
}

fn same_segments<'s>(a: &[Arc<Segment>], mut b: impl Iterator<Item = &'s Arc<Segment>>) -> bool {
    a.iter().all(|a| b.next().is_some_and(|b| Arc::ptr_eq(a, b))) && b.next().is_none()
}
