//! Sealing: samples of the head become a segment.
//!
//! Samples that came late, for a time that is sealed already, become a segment of their own,
//! which overlaps others. Invariants: the head lets samples go only after the segment that holds
//! them can be read, and a segment of the log goes only after that segment is synced under its
//! final name. Recovery takes all that came in order before the end of the latest segment for
//! sealed: of the segments of a cut a later one is never on disk without those written before it.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use parking_lot::MutexGuard;
use vedette_model::{Exemplar, SampleBuffer, TimeRange};

use crate::{
    Store,
    append::Appender,
    chunk::Effort,
    head::{Ordered, Snapshot},
    maintain::{Maintenance, StepError},
    segment::{OpenError, Segment, SegmentWriter},
    store::segments_folder,
};

/// As many late samples are sealed without waiting for the end of a span.
const LATE_SAMPLES_MAX: usize = 1 << 20;

/// What lies in more windows than these is sealed into one segment all the same: each takes a
/// walk through all series.
const WINDOWS_MAX: i64 = 32;

/// What is being sealed.
struct Cut {
    /// Lower bound of the times in the head.
    from_ms: i64,
    /// Late samples before this belong to a time that was sealed before.
    sealed_before_ms: i64,
    until_ms: i64,
    /// For each shard the last segment of its log with samples before the cut.
    log_segments: Vec<u64>,
}

impl Store {
    /// Seals the spans that are over. A tenth of a span is left for samples that come late.
    pub(crate) fn seal(&self, maintenance: &mut Maintenance) -> Result<(), StepError> {
        let Some(cut) = self.cut() else { return Ok(()) };
        maintenance.cleaning.sealed();
        let written = self.write_sealed(maintenance, &cut);
        for shard in self.head.shards() {
            shard.samples.write().end_sealing(written.is_ok());
        }
        written?;
        self.drop_sealed(&cut)
    }

    /// Settles what is sealed, if anything is due: from here on nothing but late samples is
    /// appended before its end.
    fn cut(&self) -> Option<Cut> {
        let span = self.config.segment_span_ms;
        let late: usize = self.head.shards().iter().map(|s| s.samples.read().late_len()).sum();
        let is_due = |boundary| self.head_first_ms.load(Ordering::Acquire) < boundary;
        let boundary = || {
            // Samples from the future must not seal away the present.
            let last = self.head_last_ms.load(Ordering::Acquire).min(self.clock.unix_ms());
            last.saturating_sub(span / 10).div_euclid(span).saturating_mul(span)
        };
        if !is_due(boundary()) && late < LATE_SAMPLES_MAX {
            return None;
        }
        let mut appenders = self.lock_appenders();
        let until_ms = boundary();
        let sealed_before_ms = self.sealed_until_ms.fetch_max(until_ms, Ordering::AcqRel);
        for shard in self.head.shards() {
            shard.samples.write().begin_sealing(until_ms);
        }
        Some(Cut {
            from_ms: self.head_first_ms.load(Ordering::Acquire),
            sealed_before_ms,
            until_ms,
            log_segments: appenders.iter_mut().map(|a| a.wal.end_span(until_ms)).collect(),
        })
    }

    pub(crate) fn lock_appenders(&self) -> Vec<MutexGuard<'_, Appender>> {
        self.appenders.iter().map(|appender| appender.lock()).collect()
    }

    /// Writes the segments of a cut, and shows them to readers.
    fn write_sealed(&self, maintenance: &mut Maintenance, cut: &Cut) -> Result<(), StepError> {
        let mut written = Vec::new();
        let first_id = maintenance.next_id;
        if let Err(error) = self.write_parts(maintenance, cut, &mut written) {
            // All come again with the next attempt. Should the disk refuse to remove what was
            // written last, or the process end before that, the others must still be there.
            let ids = (first_id..maintenance.next_id).rev();
            maintenance.give_up_segments_in_turn(&segments_folder(&self.config), ids);
            return Err(error);
        }
        if !written.is_empty() {
            self.publish(|segments| segments.extend(written.into_iter().map(Arc::new)));
            self.metrics.seals.inc();
        }
        Ok(())
    }

    /// Writes segments that lie in one window each of the longest span that segments are merged
    /// into: one that lay in two would never be merged.
    fn write_parts(
        &self,
        maintenance: &mut Maintenance,
        cut: &Cut,
        written: &mut Vec<Segment>,
    ) -> Result<(), StepError> {
        let series = self.head.ordered();
        let mut snapshot = Snapshot::default();
        // Exemplars may have come before the first sample.
        let samples = self.head.shards().iter().map(|s| s.samples.read());
        let first_exemplar_ms = samples.filter_map(|s| s.exemplars.first_ms()).min();
        let first_ms =
            first_exemplar_ms.map_or(cut.from_ms, |first| cut.from_ms.min(first.max(cut.sealed_before_ms)));
        for (from_ms, until_ms) in self.windows_of(first_ms, cut.until_ms) {
            let start_ms = if from_ms == first_ms { i64::MIN } else { from_ms };
            let range = TimeRange { start_ms, end_ms: until_ms - 1 };
            let bounds = (from_ms, until_ms);
            let part = self.write_series(maintenance, &series, bounds, |ordered, out, exemplars| {
                {
                    let samples = self.head.shards()[usize::from(ordered.shard)].samples.read();
                    samples.snapshot(ordered.slot, range, &mut snapshot);
                    let within = samples.sealing_exemplars(ordered.slot).iter();
                    exemplars.extend(within.filter(|e| range.contains(e.time_ms)).cloned());
                }
                snapshot.drop_late_before(cut.sealed_before_ms);
                snapshot.read(range, out);
            })?;
            written.extend(part);
        }
        for bounds in self.late_windows_of(&series, cut) {
            let part = self.write_series(maintenance, &series, bounds, |ordered, out, _| {
                let samples = self.head.shards()[usize::from(ordered.shard)].samples.read();
                let late = samples.sealing(ordered.slot).iter();
                late.filter(|s| s.time_ms < cut.sealed_before_ms)
                    .filter(|s| (bounds.0..bounds.1).contains(&s.time_ms))
                    .for_each(|sample| sample.put(out));
            })?;
            written.extend(part);
        }
        Ok(())
    }

    /// From when until when a cut has samples, for each window.
    fn windows_of(&self, from_ms: i64, until_ms: i64) -> Vec<(i64, i64)> {
        let span = self.config.compaction_spans_ms.last().copied().unwrap_or(i64::MAX);
        let first = from_ms.div_euclid(span);
        let last = (until_ms - 1).div_euclid(span);
        if !(1..WINDOWS_MAX).contains(&last.saturating_sub(first)) {
            return vec![(from_ms, until_ms)];
        }
        let part = |w: i64| (from_ms.max(w * span), until_ms.min((w + 1) * span));
        (first..=last).map(part).collect()
    }

    /// From when until when the late samples of a cut are, for each window.
    fn late_windows_of(&self, series: &[Ordered], cut: &Cut) -> Vec<(i64, i64)> {
        let span = self.config.compaction_spans_ms.last().copied().unwrap_or(i64::MAX);
        let mut windows = BTreeMap::<i64, (i64, i64)>::new();
        for ordered in series {
            let samples = self.head.shards()[usize::from(ordered.shard)].samples.read();
            let late = samples.sealing(ordered.slot).iter().map(|sample| sample.time_ms);
            for time in late.take_while(|&time| time < cut.sealed_before_ms) {
                let (from_ms, until_ms) = windows.entry(time.div_euclid(span)).or_insert((time, time + 1));
                *from_ms = time.min(*from_ms);
                *until_ms = (time + 1).max(*until_ms);
            }
        }
        windows.into_values().collect()
    }

    /// Writes a segment of those samples and exemplars of each series that `read` gives.
    fn write_series(
        &self,
        maintenance: &mut Maintenance,
        series: &[Ordered],
        bounds: (i64, i64),
        mut read: impl FnMut(Ordered, &mut SampleBuffer, &mut Vec<Exemplar>),
    ) -> Result<Option<Segment>, StepError> {
        let folder = segments_folder(&self.config);
        let write_error = |source| StepError::Write { folder: folder.clone(), source };
        let id = maintenance.next_id;
        maintenance.next_id += 1;
        let writer = SegmentWriter::create(&*self.fs, &folder, id, Effort::Fast).map_err(write_error)?;
        let written = self.write_segment(writer, id, bounds, Vec::new(), |writer| {
            writer.expect_series(series.len());
            let (mut samples, mut exemplars) = (SampleBuffer::default(), Vec::new());
            for (done, &ordered) in series.iter().enumerate() {
                samples.clear();
                exemplars.clear();
                read(ordered, &mut samples, &mut exemplars);
                if !samples.is_empty() || !exemplars.is_empty() {
                    // Only sealing, which happens once at a time, removes series.
                    let labels = self.head.shards()[usize::from(ordered.shard)].index().labels(ordered.slot);
                    writer.add_with_exemplars(&labels, &samples, &exemplars).map_err(write_error)?;
                }
                self.take_turn(done);
            }
            Ok(())
        });
        if matches!(written, Ok(None)) {
            maintenance.give_up_segment(&folder, id);
        }
        written
    }

    /// Lets go what is in segments: samples of the head, idle series, segments of the log.
    fn drop_sealed(&self, cut: &Cut) -> Result<(), StepError> {
        for (shard, appender) in self.head.shards().iter().zip(&self.appenders) {
            let mut appender = appender.lock();
            shard.truncate_before(cut.until_ms);
            let retired = shard.retire();
            if retired > 0 {
                appender.wal.forget_layouts();
                self.series_count.fetch_sub(retired, Ordering::AcqRel);
                self.metrics.series_retired.add(retired as u64);
            }
        }
        {
            let _appenders = self.lock_appenders();
            let empty = self.head_last_ms.load(Ordering::Acquire) < cut.until_ms;
            self.head_first_ms.store(if empty { i64::MAX } else { cut.until_ms }, Ordering::Release);
        }
        for (appender, &segment) in self.appenders.iter().zip(&cut.log_segments) {
            appender.lock().wal.remove_sealed(segment, cut.until_ms).map_err(StepError::Wal)?;
        }
        let mut left_logs = self.left_logs.lock();
        for i in (0..left_logs.len()).rev() {
            if left_logs[i].remove_sealed(u64::MAX, cut.until_ms).map_err(StepError::Wal)? {
                left_logs[i].remove_all().map_err(StepError::Wal)?;
                left_logs.remove(i);
            }
        }
        Ok(())
    }

    /// Fills and finishes a segment, and opens it; `None` when no series had anything.
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
