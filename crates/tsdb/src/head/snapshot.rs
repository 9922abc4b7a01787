//! Copies of the samples of one series: cheap to make under a lock, decoded without one.

use std::sync::Arc;

use vedette_model::{SampleBuffer, TimeRange};

use super::{
    histograms::HistogramCopy,
    late,
    starts::{Run, start_at},
    stream,
};

/// Copied samples of one series.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(super) older: Vec<u8>,
    pub(super) running: Vec<u8>,
    /// In order of time.
    pub(super) late: Vec<late::Sample>,
    pub(super) histograms: HistogramCopy,
    /// Start timestamps of the samples that did not come late.
    pub(super) starts: Vec<Run>,
}

impl Snapshot {
    /// Forgets the samples, and keeps the memory.
    pub fn clear(&mut self) {
        self.older.clear();
        self.running.clear();
        self.late.clear();
        self.histograms.clear();
        self.starts.clear();
    }

    /// Leaves out late samples before `boundary_ms`.
    pub fn drop_late_before(&mut self, boundary_ms: i64) {
        self.late.retain(|sample| sample.time_ms >= boundary_ms);
    }

    /// Appends the samples in `range` to `out`, in order of time.
    pub fn read(&self, range: TimeRange, out: &mut SampleBuffer) {
        if self.histograms.is_empty() && self.starts.is_empty() {
            self.read_with(range, out, |time, bits, out| out.push(time, f64::from_bits(bits)));
            return;
        }
        let mut histograms = self.histograms.walk();
        self.read_with(range, out, |time, bits, out| {
            match histograms.at(time) {
                Some(histogram) => out.push_histogram(time, Arc::new(histogram.clone())),
                None => out.push(time, f64::from_bits(bits)),
            }
            let start_ms = start_at(&self.starts, time);
            if start_ms != 0 {
                out.set_last_start(start_ms);
            }
        });
    }

    /// As [`Snapshot::read`]; `put` appends a sample that did not come late.
    fn read_with(
        &self,
        range: TimeRange,
        out: &mut SampleBuffer,
        mut put: impl FnMut(i64, u64, &mut SampleBuffer),
    ) {
        let mut late = self.late.iter().filter(|sample| range.contains(sample.time_ms)).peekable();
        for bytes in [&self.older, &self.running] {
            stream::decode(bytes, |time, bits| {
                if time > range.end_ms {
                    return false;
                }
                if time >= range.start_ms {
                    while let Some(sample) = late.next_if(|sample| sample.time_ms < time) {
                        sample.put(out);
                    }
                    put(time, bits, out);
                }
                true
            });
        }
        late.for_each(|sample| sample.put(out));
    }
}
