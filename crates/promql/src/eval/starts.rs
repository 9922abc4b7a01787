//! Start timestamps: since when a counter's sample counts. They tell of resets that values do not.

use vedette_model::SampleBuffer;

/// A sample's start and time.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// 0 where it is not known.
    pub start_ms: i64,
    pub time_ms: i64,
}

impl Stamp {
    pub fn of(samples: &SampleBuffer, index: usize) -> Self {
        Self { start_ms: samples.start_ms(index), time_ms: samples.times_ms[index] }
    }

    /// Whether counting began anew since the sample `before`.
    pub fn is_reset_since(self, before: Self) -> bool {
        // A start at the sample's own time stands for one that is not known.
        if self.start_ms == 0 || self.start_ms >= self.time_ms || self.start_ms < before.time_ms {
            return false;
        }
        if self.start_ms > before.time_ms {
            return true;
        }
        // It counts from the sample before. So do deltas, and the second sample of a counter whose
        // start is not known; that one's first sample says so.
        before.start_ms != 0 && before.start_ms < before.time_ms
    }

    /// Whether it says to count since before the sample `before`, but since another time than that.
    pub fn overlaps(self, before: Self) -> bool {
        self.start_ms != 0 && self.start_ms < before.time_ms && self.start_ms != before.start_ms
    }
}
