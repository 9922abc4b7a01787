//! The numbers that a sender gives its series.

/// Stands for a series that a rule drops.
pub(crate) const DROPPED: u32 = u32::MAX;

/// Numbers in use and free ones.
#[derive(Debug)]
pub(crate) struct Numbers {
    next: u32,
    max: u32,
    free: Vec<u32>,
    /// Released in the batch that is being made: its receiver may use them only after it.
    released: Vec<u32>,
}

impl Numbers {
    /// Numbers below `max`.
    pub(crate) fn new(max: u32) -> Self {
        Self { next: 0, max, free: Vec::new(), released: Vec::new() }
    }

    /// A number that is not in use, if there is one.
    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop().or_else(|| {
            let number = self.next;
            (number < self.max).then(|| {
                self.next += 1;
                number
            })
        })
    }

    /// Gives a number back.
    pub(crate) fn release(&mut self, number: u32) {
        if number != DROPPED {
            self.released.push(number);
        }
    }

    /// What the batch that is being made must tell as released.
    pub(crate) fn released(&mut self) -> &[u32] {
        &self.released
    }

    /// Ends a batch: what it has released is free.
    pub(crate) fn end_batch(&mut self) {
        self.free.append(&mut self.released);
    }

    /// How many are in use.
    pub(crate) fn used(&self) -> usize {
        self.next as usize - self.free.len()
    }
}
