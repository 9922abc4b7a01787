//! Deleting samples of the head, which frees their memory at once.

use std::cell::Cell;

use vedette_model::TimeRange;

use super::{LateSample, NEVER_MS, Samples};

impl Samples {
    /// Removes the samples of a series in `range`; says whether there were any. No claim of the
    /// series is open, and nothing is being sealed.
    pub fn delete(&mut self, slot: u32, range: TimeRange) -> bool {
        if !self.overlaps(slot, range) {
            let series = &mut self.series[slot as usize];
            if range.contains(series.last_ms) {
                // Its last sample is sealed, and deleted there.
                (series.last_ms, series.last_bits, series.epoch) = (NEVER_MS, 0, 0);
            }
            return false;
        }
        let mut late = Vec::new();
        self.late.copy(slot, range, &mut late);
        for &(time_ms, bits) in &late {
            self.late.remove(LateSample { slot, time_ms, bits });
        }
        let removed = Cell::new(false);
        let last = Cell::new((NEVER_MS, 0));
        self.retain(slot, |time_ms, bits| {
            let stays = !range.contains(time_ms);
            if stays {
                last.set((time_ms, bits));
            } else {
                removed.set(true);
            }
            stays
        });
        let series = &mut self.series[slot as usize];
        if range.contains(series.last_ms) {
            // A sample of a time that was deleted is as welcome as if there never had been one.
            (series.last_ms, series.last_bits) = last.get();
            // The log tells its next value without those before.
            series.epoch = 0;
        }
        removed.get() || !late.is_empty()
    }
}
