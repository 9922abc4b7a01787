//! What is left out of the rows of custom resources, counted by reason.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Why something is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// An object is longer than any that an API server takes.
    ObjectSize,
    /// An object cannot be read, as it is nested too deeply.
    Unreadable,
    /// An object has rows for which there is no room beside those of the others.
    Memory,
    /// A row of an object that has too many.
    Rows,
    /// A row whose labels another row of the object and the family has.
    RepeatedRows,
    /// A label of a row that has too many, or whose name another has.
    Labels,
    /// The end of a value of a label.
    LabelText,
    /// A row whose value is not there or is no number or no text.
    Value,
}

/// All reasons, and how metrics name them.
pub const LOSSES: [(Loss, &str); 8] = [
    (Loss::ObjectSize, "object_size"),
    (Loss::Unreadable, "unreadable"),
    (Loss::Memory, "memory"),
    (Loss::Rows, "rows"),
    (Loss::RepeatedRows, "repeated_rows"),
    (Loss::Labels, "labels"),
    (Loss::LabelText, "label_text"),
    (Loss::Value, "value"),
];

/// Reasons for which something was left out, and how often.
pub type Losses = Vec<(&'static str, u64)>;

/// Counts what is left out of the objects of one watch.
#[derive(Debug)]
pub(super) struct Lost {
    counts: [AtomicU64; LOSSES.len()],
    /// Of each family, whether a value was missed before.
    missed: Box<[AtomicBool]>,
}

impl Lost {
    /// Nothing yet.
    pub(super) fn new(families: usize) -> Self {
        let missed = (0..families).map(|_| AtomicBool::new(false)).collect();
        Self { counts: Default::default(), missed }
    }

    pub(super) fn add(&self, loss: Loss) {
        self.counts[loss as usize].fetch_add(1, Relaxed);
    }

    /// Adds a value that cannot be told; whether it is the first of its family.
    pub(super) fn miss(&self, family: usize) -> bool {
        self.add(Loss::Value);
        self.missed.get(family).is_some_and(|missed| !missed.swap(true, Relaxed))
    }

    /// How often this happened.
    pub(super) fn of(&self, loss: Loss) -> u64 {
        self.counts[loss as usize].load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_apart() {
        let lost = Lost::new(1);
        for (number, (loss, _)) in LOSSES.into_iter().enumerate() {
            (0..=number).for_each(|_| lost.add(loss));
        }
        for (number, (loss, name)) in LOSSES.into_iter().enumerate() {
            assert_eq!(lost.of(loss), number as u64 + 1, "{name}");
        }
        assert!(lost.miss(0), "the first");
        assert!(!lost.miss(0) && !lost.miss(1), "no further one, and none of a family that is not there");
    }
}
