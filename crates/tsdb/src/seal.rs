//! Sealing: samples of the head become a segment.
//!
//! Invariants: the head lets samples go only after the segment that holds them can be read, and
//! a segment of the log goes only after that segment is synced under its final name.

use std::{sync::Arc, sync::atomic::Ordering};

use vedette_model::{Labels, SampleBuffer, TimeRange};

use crate::{
    Tsdb,
    chunk::{Effort, Encoder},
    head::{Series, Snapshot},
    maintain::{Maintenance, StepError},
    segment::{OpenError, Segment, SegmentWriter},
    store::segments_folder,
};

impl Tsdb {
    /// Seals the samples before the last full span, once the head holds one and a half spans: the
    /// half leaves time for samples that come late.
    pub(crate) fn seal(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let span = self.config.segment_span_ms;
        let (from_ms, until_ms) = {
            let mut appender = self.appender.lock();
            let first = self.head_first_ms.load(Ordering::Acquire);
            // Samples from the future must not seal away the present.
            let last = self.head_last_ms.load(Ordering::Acquire).min(self.clock.unix_ms());
            let boundary = last.saturating_sub(span / 2).div_euclid(span).saturating_mul(span);
            if first >= boundary {
                return Ok(());
            }
            // From here on nothing is appended before the boundary.
            self.sealed_until_ms.fetch_max(boundary, Ordering::AcqRel);
            appender.wal.end_segment();
            (first, boundary)
        };
        let mut series: Vec<(Labels, Arc<Series>)> = {
            let index = self.head.index();
            index.series().map(|s| (index.labels(s), Arc::clone(s))).collect()
        };
        series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Fast).map_err(write_error)?;
        let sealed = TimeRange { start_ms: i64::MIN, end_ms: until_ms - 1 };
        let segment = self.write_segment(writer, id, (from_ms, until_ms), Vec::new(), |writer| {
            let (mut snapshot, mut samples) = (Snapshot::default(), SampleBuffer::default());
            for (i, (labels, series)) in series.iter().enumerate() {
                series.data.lock().snapshot(sealed, &mut snapshot);
                samples.clear();
                snapshot.read(sealed, &mut samples);
                writer.add(labels, &samples).map_err(write_error)?;
                self.take_turn(i);
            }
            Ok(())
        })?;
        if let Some(segment) = segment {
            self.publish(|segments| segments.push(Arc::new(segment)));
            self.metrics.seals.inc();
        }
        self.drop_sealed(&series, until_ms)
    }

    /// Lets go what is in segments: samples of the head, idle series, segments of the log.
    fn drop_sealed(&self, series: &[(Labels, Arc<Series>)], until_ms: i64) -> Result<(), StepError> {
        let mut encoder = Encoder::default();
        for (_, series) in series {
            series.data.lock().truncate_before(until_ms, &mut encoder);
        }
        let mut appender = self.appender.lock();
        let retired = self.head.retire(|_, data| data.is_idle());
        self.metrics.series_retired.add(retired as u64);
        let empty = self.head_last_ms.load(Ordering::Acquire) < until_ms;
        self.head_first_ms.store(if empty { i64::MAX } else { until_ms }, Ordering::Release);
        appender.wal.remove_sealed(until_ms).map_err(StepError::Wal)
    }

    /// Fills and finishes a segment, and opens it; `None` when no series had a sample.
    pub(crate) fn write_segment(
        &self,
        mut writer: SegmentWriter<'_>,
        id: u64,
        (from_ms, until_ms): (i64, i64),
        sources: Vec<u64>,
        fill: impl FnOnce(&mut SegmentWriter<'_>) -> Result<(), StepError>,
    ) -> Result<Option<Segment>, StepError> {
        if let Err(error) = fill(&mut writer) {
            writer.abandon();
            return Err(error);
        }
        if writer.series() == 0 {
            writer.abandon();
            return Ok(None);
        }
        let folder = segments_folder(&self.config);
        let path = writer
            .finish(from_ms, until_ms, sources)
            .map_err(|source| StepError::Write { folder, source })?;
        let opened = Segment::open(&*self.fs, path.clone(), id);
        opened.map(Some).map_err(|error| {
            let reason = match error {
                OpenError::Io(error) => error.to_string(),
                OpenError::Damaged(how) => how.to_owned(),
                OpenError::Newer(version) => format!("it has version {version}"),
            };
            // It must not be found again beside what it was made from.
            let _ = self.fs.remove(&path);
            StepError::ReadBack { path, reason }
        })
    }
}
