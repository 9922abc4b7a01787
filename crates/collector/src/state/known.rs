//! Which rows of a page are known, by a hash of what names them: 16 bytes each.
//!
//! The hash is keyed at random, so nobody who names objects can make two rows meet. Should two meet by chance, once in
//! some hundred million pages of 400,000 rows, the later is refused as one that is there twice.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// Rows by what names them.
#[derive(Debug, Default)]
pub(super) struct Known {
    keys: RandomState,
    rows: HashTable<Row>,
}

#[derive(Debug)]
struct Row {
    hash: u64,
    /// The number of its series.
    number: u32,
    /// The last round that told it.
    round: u32,
}

/// What is known of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing.
    New,
    /// It has this number.
    Again(u32),
    /// This round told it before.
    Twice,
}

impl Known {
    /// The hash of the bytes that name a row.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.keys.hash_one(bytes)
    }

    /// Notes that this round tells a row.
    pub(super) fn see(&mut self, hash: u64, round: u32) -> Seen {
        match self.rows.find_mut(hash, |row| row.hash == hash) {
            None => Seen::New,
            Some(row) if row.round == round => Seen::Twice,
            Some(row) => {
                row.round = round;
                Seen::Again(row.number)
            }
        }
    }

    /// Adds a row that is new in this round.
    pub(super) fn insert(&mut self, hash: u64, number: u32, round: u32) {
        self.rows.insert_unique(hash, Row { hash, number, round }, |row| row.hash);
    }

    /// Numbers of rows that this round did not tell, some at a time.
    pub(super) fn gone(&self, round: u32, max: usize) -> Vec<u32> {
        self.rows.iter().filter(|row| row.round != round).map(|row| row.number).take(max).collect()
    }

    /// Forgets rows by their numbers, which it sorts.
    pub(super) fn forget(&mut self, numbers: &mut [u32]) {
        if !numbers.is_empty() {
            numbers.sort_unstable();
            self.rows.retain(|row| numbers.binary_search(&row.number).is_err());
        }
    }

    /// How many rows are known.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_known_again_told_twice_and_gone() {
        let mut known = Known::default();
        let (a, b) = (known.hash(b"a{}"), known.hash(b"b{}"));
        assert_ne!(a, b);
        for (hash, number) in [(a, 7), (b, 3)] {
            assert_eq!(known.see(hash, 1), Seen::New);
            known.insert(hash, number, 1);
            assert_eq!(known.see(hash, 1), Seen::Twice);
        }
        assert!(known.gone(1, 9).is_empty());
        assert_eq!(known.see(a, 2), Seen::Again(7));
        assert_eq!((known.gone(2, 9), known.gone(3, 1).len()), (vec![3], 1));
        known.forget(&mut [9, 3]);
        assert_eq!((known.len(), known.see(b, 2), known.see(a, 3)), (1, Seen::New, Seen::Again(7)));
    }
}
