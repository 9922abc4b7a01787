//! Exemplars of the series of a shard, until they are sealed.
//!
//! As sources show an exemplar again and again until they have another, the newest one of each
//! series is remembered after it was sealed. Invariant: the exemplars of a series are in order of
//! [`compare`], none twice.

use std::cmp::Ordering;

use hashbrown::HashMap;
use vedette_model::{Exemplar, TimeRange};

/// Exemplars of one series that wait for being sealed at the same time; further ones are refused.
pub const SERIES_EXEMPLARS_MAX: usize = 1024;

/// About what one takes beside its labels.
const EXEMPLAR_BYTES: usize = size_of::<Exemplar>() + 16;

/// Exemplars of a shard.
#[derive(Debug, Default)]
pub struct Exemplars {
    series: HashMap<u32, Kept>,
    len: usize,
    heap_bytes: usize,
}

#[derive(Debug)]
struct Kept {
    newest: Exemplar,
    exemplars: Vec<Exemplar>,
    /// Those at the front that are being sealed.
    sealing: usize,
}

/// What is to become of an exemplar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    Taken,
    /// It is the newest one of its series, or waits for being sealed.
    Duplicate,
    /// Its series has a newer one.
    OutOfOrder,
    /// There is no room.
    Limited,
}

/// The order of the exemplars of a series: by time, then value, then labels.
pub fn compare(a: &Exemplar, b: &Exemplar) -> Ordering {
    a.time_ms
        .cmp(&b.time_ms)
        .then_with(|| a.value.total_cmp(&b.value))
        .then_with(|| if a.labels == b.labels { Ordering::Equal } else { a.labels.cmp(&b.labels) })
}

impl Exemplars {
    /// Adds an exemplar, if it may be, to at most `max` of the shard.
    pub fn push(&mut self, slot: u32, exemplar: &Exemplar, max: usize) -> Judgement {
        let has_room = self.len < max;
        match self.series.get_mut(&slot) {
            Some(kept) => {
                match compare(exemplar, &kept.newest) {
                    // As when an append that failed in part is made again.
                    Ordering::Less if kept.has(exemplar) => return Judgement::Duplicate,
                    Ordering::Less => return Judgement::OutOfOrder,
                    Ordering::Equal => return Judgement::Duplicate,
                    Ordering::Greater if !has_room || kept.exemplars.len() >= SERIES_EXEMPLARS_MAX => {
                        return Judgement::Limited;
                    }
                    Ordering::Greater => {}
                }
                kept.newest = exemplar.clone();
                kept.exemplars.push(exemplar.clone());
            }
            None if !has_room => return Judgement::Limited,
            None => {
                let (newest, exemplars) = (exemplar.clone(), vec![exemplar.clone()]);
                self.series.insert(slot, Kept { newest, exemplars, sealing: 0 });
            }
        }
        self.len += 1;
        self.heap_bytes += heap_bytes(exemplar);
        Judgement::Taken
    }

    /// Takes back the exemplar of a series that was added last.
    pub fn pop(&mut self, slot: u32) {
        let Some(kept) = self.series.get_mut(&slot) else { return };
        if let Some(last) = kept.exemplars.pop() {
            self.len -= 1;
            self.heap_bytes -= heap_bytes(&last);
        }
        match kept.exemplars.last() {
            Some(last) => kept.newest = last.clone(),
            // What was newest before is sealed; should it come once more, readers see it once.
            None => {
                self.series.remove(&slot);
            }
        }
    }

    /// Adds an exemplar from the WAL, wherever its place is. Says whether it was not there.
    pub fn insert(&mut self, slot: u32, exemplar: Exemplar) -> bool {
        let bytes = heap_bytes(&exemplar);
        let kept = self.series.entry(slot).or_insert_with(|| Kept {
            newest: exemplar.clone(),
            exemplars: Vec::new(),
            sealing: 0,
        });
        let Err(at) = kept.exemplars.binary_search_by(|e| compare(e, &exemplar)) else { return false };
        if compare(&exemplar, &kept.newest).is_gt() {
            kept.newest = exemplar.clone();
        }
        kept.exemplars.insert(at, exemplar);
        self.len += 1;
        self.heap_bytes += bytes;
        true
    }

    /// Removes the exemplars of a series in `range`, none of which is being sealed. Says whether there
    /// were any.
    pub fn delete(&mut self, slot: u32, range: TimeRange) -> bool {
        let Some(kept) = self.series.get_mut(&slot) else { return false };
        let before = kept.exemplars.len();
        let gone = kept.exemplars.extract_if(.., |e| range.contains(e.time_ms));
        self.heap_bytes -= gone.map(|e| heap_bytes(&e)).sum::<usize>();
        let count = before - kept.exemplars.len();
        self.len -= count;
        if range.contains(kept.newest.time_ms) {
            match kept.exemplars.last() {
                Some(last) => kept.newest = last.clone(),
                None => {
                    self.series.remove(&slot);
                }
            }
        }
        count > 0
    }

    /// Forgets a series.
    pub fn remove_series(&mut self, slot: u32) {
        if let Some(kept) = self.series.remove(&slot) {
            self.len -= kept.exemplars.len();
            self.heap_bytes -= kept.exemplars.iter().map(heap_bytes).sum::<usize>();
        }
    }

    /// Settles that the exemplars before `until_ms` are to be sealed.
    pub fn begin_sealing(&mut self, until_ms: i64) {
        for kept in self.series.values_mut() {
            kept.sealing = kept.exemplars.partition_point(|e| e.time_ms < until_ms);
        }
    }

    /// Ends what [`Exemplars::begin_sealing`] began; exemplars that were not sealed are kept.
    pub fn end_sealing(&mut self, sealed: bool) {
        for kept in self.series.values_mut() {
            let count = std::mem::take(&mut kept.sealing);
            if sealed && count > 0 {
                self.len -= count;
                self.heap_bytes -= kept.exemplars.drain(..count).map(|e| heap_bytes(&e)).sum::<usize>();
                kept.exemplars.shrink_to(count);
            }
        }
    }

    /// The exemplars of a series that are being sealed, in order.
    pub fn sealing(&self, slot: u32) -> &[Exemplar] {
        self.of(slot).map_or(&[], |kept| &kept.exemplars[..kept.sealing])
    }

    /// Appends the exemplars of a series in `range`, in order.
    pub fn copy(&self, slot: u32, range: TimeRange, out: &mut Vec<Exemplar>) {
        let kept = self.of(slot).map_or(&[][..], |kept| &kept.exemplars);
        out.extend(kept.iter().filter(|e| range.contains(e.time_ms)).cloned());
    }

    /// Whether a series has an exemplar that is not sealed.
    pub fn has(&self, slot: u32) -> bool {
        self.of(slot).is_some_and(|kept| !kept.exemplars.is_empty())
    }

    /// Time of the oldest exemplar.
    pub fn first_ms(&self) -> Option<i64> {
        self.series.values().filter_map(|kept| kept.exemplars.first()).map(|e| e.time_ms).min()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.len
    }

    /// About how much memory they take.
    pub fn heap_bytes(&self) -> usize {
        self.series.capacity() * (size_of::<Kept>() + 9) + self.heap_bytes
    }

    fn of(&self, slot: u32) -> Option<&Kept> {
        if self.series.is_empty() { None } else { self.series.get(&slot) }
    }
}

impl Kept {
    fn has(&self, exemplar: &Exemplar) -> bool {
        self.exemplars.binary_search_by(|e| compare(e, exemplar)).is_ok()
    }
}

fn heap_bytes(exemplar: &Exemplar) -> usize {
    EXEMPLAR_BYTES + exemplar.labels.heap_bytes()
}

#[cfg(test)]
mod tests {
    use vedette_model::Labels;

    use super::*;

    fn exemplar(time_ms: i64, value: f64, id: &str) -> Exemplar {
        Exemplar { labels: Labels::from_pairs([("trace_id", id)]), value, time_ms }
    }

    #[test]
    fn the_newest_one_is_known_again_and_older_ones_are_out_of_order() {
        let mut exemplars = Exemplars::default();
        let mut push = |time_ms, value, id| exemplars.push(1, &exemplar(time_ms, value, id), 5);
        assert_eq!(push(10, 1.0, "b"), Judgement::Taken);
        assert_eq!(push(10, 1.0, "b"), Judgement::Duplicate);
        assert_eq!(push(10, 1.0, "a"), Judgement::OutOfOrder);
        assert_eq!(push(10, 0.5, "c"), Judgement::OutOfOrder);
        assert_eq!(push(10, 1.0, "c"), Judgement::Taken);
        assert_eq!(push(10, 1.0, "b"), Judgement::Duplicate);
        assert_eq!(push(9, 1.0, "c"), Judgement::OutOfOrder);
        assert_eq!(push(11, 0.0, ""), Judgement::Taken);
        // Sealed, it is still known.
        exemplars.begin_sealing(20);
        assert_eq!(exemplars.sealing(1).len(), 3);
        exemplars.end_sealing(true);
        assert_eq!((exemplars.len(), exemplars.has(1), exemplars.first_ms()), (0, false, None));
        assert_eq!(exemplars.push(1, &exemplar(11, 0.0, ""), 5), Judgement::Duplicate);
        assert_eq!(exemplars.push(1, &exemplar(10, 9.0, ""), 5), Judgement::OutOfOrder);
    }

    #[test]
    fn room_is_limited_for_a_series_and_for_all() {
        let mut exemplars = Exemplars::default();
        for i in 0..SERIES_EXEMPLARS_MAX as i64 {
            assert_eq!(exemplars.push(1, &exemplar(i, 1.0, "a"), 5000), Judgement::Taken);
        }
        assert_eq!(exemplars.push(1, &exemplar(5000, 1.0, "a"), 5000), Judgement::Limited);
        assert_eq!(exemplars.push(2, &exemplar(5000, 1.0, "a"), SERIES_EXEMPLARS_MAX), Judgement::Limited);
        exemplars.begin_sealing(500);
        exemplars.end_sealing(false);
        assert_eq!(exemplars.len(), SERIES_EXEMPLARS_MAX);
        exemplars.begin_sealing(500);
        exemplars.end_sealing(true);
        assert_eq!((exemplars.len(), exemplars.first_ms()), (SERIES_EXEMPLARS_MAX - 500, Some(500)));
        exemplars.remove_series(1);
        assert_eq!((exemplars.len(), exemplars.heap_bytes), (0, 0));
    }

    #[test]
    fn what_was_taken_back_can_come_again() {
        let mut exemplars = Exemplars::default();
        for (time_ms, id) in [(1, "a"), (2, "b")] {
            assert_eq!(exemplars.push(1, &exemplar(time_ms, 1.0, id), 5), Judgement::Taken);
        }
        exemplars.pop(1);
        assert_eq!(exemplars.push(1, &exemplar(1, 1.0, "a"), 5), Judgement::Duplicate);
        assert_eq!(exemplars.push(1, &exemplar(2, 1.0, "b"), 5), Judgement::Taken);
        let mut found = Vec::new();
        exemplars.copy(1, TimeRange { start_ms: 2, end_ms: 2 }, &mut found);
        assert_eq!(found, [exemplar(2, 1.0, "b")]);
        assert!(exemplars.insert(1, exemplar(0, 1.0, "a")));
        assert!(!exemplars.insert(1, exemplar(2, 1.0, "b")));
        assert_eq!(exemplars.push(1, &exemplar(2, 1.0, "b"), 5), Judgement::Duplicate);
    }
}
