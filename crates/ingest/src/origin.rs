//! What is remembered of one sender: which batches were taken, and its series.

use crate::{dictionary::Dictionary, samples::Scratch};

/// A sender. Guarded by one lock, so that its batches are taken one after the other.
pub(crate) struct Sender {
    epoch: u64,
    pub batches: Window,
    pub series: Dictionary,
    pub scratch: Scratch,
}

impl Sender {
    pub(crate) fn new(epoch: u64) -> Self {
        Self { epoch, batches: Window::default(), series: Dictionary::default(), scratch: Scratch::default() }
    }

    /// Forgets everything if the sender has started anew.
    pub(crate) fn enter_epoch(&mut self, epoch: u64) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches = Window::default();
            self.series = Dictionary::default();
        }
    }
}

/// The batches taken, by number: all below the window, and those marked in it. A sender that
/// tries several batches at once may send them out of order by less than the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The highest number taken; `None` before the first.
    highest: Option<u64>,
    /// Bit n: `highest - n` was taken.
    taken: u64,
}

impl Window {
    pub(crate) fn has(&self, seq: u64) -> bool {
        let Some(highest) = self.highest else { return false };
        match highest.checked_sub(seq) {
            None => false,
            Some(back) => back >= 64 || self.taken >> back & 1 == 1,
        }
    }

    /// Marks a batch as taken. Gives how many batches can no more be taken that never were.
    pub(crate) fn take(&mut self, seq: u64) -> u64 {
        let Some(highest) = self.highest else {
            // Where the numbering began is not known: nothing before counts as missing.
            *self = Self { highest: Some(seq), taken: u64::MAX };
            return 0;
        };
        if let Some(back) = highest.checked_sub(seq) {
            self.taken |= 1_u64.checked_shl(u32::try_from(back).unwrap_or(64)).unwrap_or(0);
            return 0;
        }
        let ahead = seq - highest;
        let missing = match u32::try_from(ahead).ok().filter(|n| *n < 64) {
            Some(shift) => {
                let out = self.taken >> (64 - shift);
                self.taken <<= shift;
                u64::from(shift - out.count_ones())
            }
            None => {
                let never = u64::from(self.taken.count_zeros()) + (ahead - 64);
                self.taken = 0;
                never
            }
        };
        self.taken |= 1;
        self.highest = Some(seq);
        missing
    }
}
