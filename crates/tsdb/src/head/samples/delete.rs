//! Deleting samples of the head, which frees their memory at once.

use std::cell::Cell;

use vedette_model::TimeRange;

use super::{HISTOGRAMS, LateSample, NEVER_MS, NO_EPOCH, STARTS, Samples};

impl Samples {
    /// Removes the samples and exemplars of a series in `range`; says whether there were any. No
    /// claim of the series is open, and nothing is being sealed.
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
        let mut removed_any = !late.is_empty();
        for sample in late {
            self.late.remove(&LateSample { slot, time_ms: sample.time_ms, value: sample.value });
        }
        removed_any |= self.exemplars.delete(slot, range);
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
        if series.flags & HISTOGRAMS != 0 {
            self.histograms.delete(slot, range, &mut self.blocks);
        }
        if range.contains(series.last_ms) {
            // A sample of a time that was deleted is as welcome as if there never had been one.
            (series.last_ms, series.last_bits) = last.get();
            // The log tells its next value without those before.
            series.epoch = NO_EPOCH;
            if series.flags & STARTS != 0 && !self.starts.take_back(slot, series.last_ms) {
                series.flags &= !STARTS;
            }
        }
        removed.get() || removed_any
    }
}
