//! Appending: samples are spread over the shards, judged, written to the log of their shard, and
//! then stored in the head.
//!
//! Each shard is written with one write(2). Should that fail, the samples of this shard are not
//! taken, while those of other shards may be: an append that is made again finds them as
//! duplicates.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use vedette_model::TimeRange;
use vedette_sys::MonotonicTime;

use crate::{
    Appended, Error, RefRow, SeriesRef, Store,
    head::{Claims, LateSample, Rules, Samples, Shard},
    wal::{RowBuffer, Wal, WholeBuffer},
};

/// Of more late samples only the hull of their times is noted as changed.
const LATE_TOLD_MAX: usize = 64;

/// The log of a shard, and what one append at a time needs.
pub(crate) struct Appender {
    pub wal: Wal,
    pub last_sync: MonotonicTime,
    claims: Claims,
    row: RowBuffer,
    pub(crate) whole: WholeBuffer,
}

/// What claiming needs beside the samples of the shard, and what it gives.
pub(crate) struct Claiming<'a> {
    pub rules: Rules,
    pub wal: &'a mut Wal,
    pub claims: &'a mut Claims,
    row: &'a mut RowBuffer,
    pub whole: &'a mut WholeBuffer,
    span_ms: i64,
    first_ms: i64,
    last_ms: i64,
}

impl Claiming<'_> {
    /// Fits the rules to samples of this time.
    pub fn set_time(&mut self, time_ms: i64) {
        self.rules.span_start_ms = time_ms.div_euclid(self.span_ms).saturating_mul(self.span_ms);
    }

    /// Notes that samples of this time come to the head.
    pub fn note(&mut self, time_ms: i64) {
        self.first_ms = self.first_ms.min(time_ms);
        self.last_ms = self.last_ms.max(time_ms);
    }
}

impl Appender {
    pub fn new(wal: Wal, now: MonotonicTime) -> Self {
        Self {
            wal,
            last_sync: now,
            claims: Claims::default(),
            row: RowBuffer::default(),
            whole: WholeBuffer::default(),
        }
    }
}

/// Memory of appends, kept for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    free: Mutex<Vec<Batch>>,
    /// Appends take turns in the shard that they begin with, so as not to wait for each other.
    turns: AtomicUsize,
}

/// The samples of one append, for each shard.
type Batch = Vec<ShardBatch>;

#[derive(Debug, Default)]
struct ShardBatch {
    samples: Vec<(SeriesRef, f64)>,
    /// Start timestamps of the samples, as far as the last row that has some.
    starts_ms: Vec<i64>,
    /// Of each row its time, its end in `samples`, and whether it is for the newest samples only.
    rows: Vec<(i64, usize, bool)>,
}

impl ShardBatch {
    fn rows(&self) -> impl Iterator<Item = (i64, Range<usize>, bool)> {
        let starts = std::iter::once(0).chain(self.rows.iter().map(|row| row.1));
        self.rows.iter().zip(starts).map(|(&(time_ms, end, newest), start)| (time_ms, start..end, newest))
    }
}

impl Store {
    /// Stores samples. When this returns `Ok`, those taken are in the write-ahead log and
    /// survive the end of the process. On an error some may have been taken, but none in part:
    /// make the same call again, and what was taken counts as a duplicate.
    pub fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Error> {
        if let Some(row) = rows.iter().find(|row| row.refs.len() != row.values.len()) {
            let reason = format!("a row of {} series and {} values", row.refs.len(), row.values.len());
            return Err(Error::Invalid { reason });
        }
        let fits = |row: &&RefRow<'_>| row.starts_ms.is_empty() || row.starts_ms.len() == row.refs.len();
        if let Some(row) = rows.iter().find(|row| !fits(row)) {
            let (series, starts) = (row.refs.len(), row.starts_ms.len());
            let reason = format!("a row of {series} series and {starts} start timestamps");
            return Err(Error::Invalid { reason });
        }
        let mut appended = Appended::default();
        let mut batch = self.batches.free.lock().pop().unwrap_or_default();
        let now = self.clock.unix_ms();
        self.spread(rows, now, &mut batch, &mut appended);
        let shards = self.head.shards();
        let turn = self.batches.turns.fetch_add(1, Ordering::Relaxed);
        let mut order = (0..shards.len()).map(|i| (turn + i) % shards.len());
        let result = order.try_for_each(|i| {
            if batch[i].rows.is_empty() {
                return Ok(());
            }
            self.append_to(&shards[i], &batch[i], now, &mut appended)
        });
        self.batches.free.lock().push(batch);
        self.end_append(result, appended)
    }

    /// Counts what became of an append, and tells of failure.
    pub(crate) fn end_append(
        &self,
        result: Result<(), Error>,
        appended: Appended,
    ) -> Result<Appended, Error> {
        match result {
            Ok(()) => {
                self.count(&appended);
                self.clear_problem("append");
                Ok(appended)
            }
            Err(error) => {
                self.metrics.append_failures.inc();
                self.note_problem("append", &error);
                Err(error)
            }
        }
    }

    /// Sorts samples by shards, and out what is too old or in the future.
    fn spread(&self, rows: &[RefRow<'_>], now: i64, batch: &mut Batch, appended: &mut Appended) {
        batch.resize_with(self.head.shards().len(), ShardBatch::default);
        for shard in batch.iter_mut() {
            shard.samples.clear();
            shard.starts_ms.clear();
            shard.rows.clear();
        }
        let newest = now.saturating_add(self.config.future_ms_max);
        let oldest = now.saturating_sub(self.config.retention_ms);
        for row in rows {
            if row.time_ms > newest {
                appended.future += row.refs.len() as u64;
                continue;
            }
            if row.time_ms < oldest {
                appended.too_old += row.refs.len() as u64;
                continue;
            }
            for (&reference, &value) in row.refs.iter().zip(row.values) {
                match batch.get_mut(reference.shard()) {
                    Some(shard) => shard.samples.push((reference, value)),
                    None => appended.unknown.push(reference),
                }
            }
            if row.starts_ms.iter().any(|&start_ms| start_ms != 0) {
                for shard in batch.iter_mut() {
                    shard.starts_ms.resize(shard.rows.last().map_or(0, |row| row.1), 0);
                }
                for (reference, &start_ms) in row.refs.iter().zip(row.starts_ms) {
                    if let Some(shard) = batch.get_mut(reference.shard()) {
                        shard.starts_ms.push(start_ms);
                    }
                }
            }
            for shard in batch.iter_mut() {
                let start = shard.rows.last().map_or(0, |row| row.1);
                if shard.samples.len() > start {
                    shard.rows.push((row.time_ms, shard.samples.len(), row.newest_only));
                }
            }
        }
    }

    /// Sorts by shards what is told one by one, and out what is too old or in the future.
    pub(crate) fn spread_each<T: Copy>(
        &self,
        all: impl Iterator<Item = T>,
        place: impl Fn(T) -> (SeriesRef, i64),
        now: i64,
        appended: &mut Appended,
    ) -> Vec<Vec<T>> {
        let newest = now.saturating_add(self.config.future_ms_max);
        let oldest = now.saturating_sub(self.config.retention_ms);
        let mut of_shards = vec![Vec::new(); self.head.shards().len()];
        for one in all {
            let (reference, time_ms) = place(one);
            match of_shards.get_mut(reference.shard()) {
                _ if time_ms > newest => appended.future += 1,
                _ if time_ms < oldest => appended.too_old += 1,
                Some(of_shard) => of_shard.push(one),
                None => appended.unknown.push(reference),
            }
        }
        of_shards
    }

    fn append_to(
        &self,
        shard: &Shard,
        batch: &ShardBatch,
        now: i64,
        appended: &mut Appended,
    ) -> Result<(), Error> {
        let newest_ms = batch.rows.iter().map(|row| row.0).max().unwrap_or(i64::MIN);
        self.claim_and_store(shard, now, newest_ms, |samples, claiming| {
            for (time_ms, range, newest_only) in batch.rows() {
                claiming.row.clear();
                claiming.set_time(time_ms);
                let Claiming { rules, row, claims, .. } = claiming;
                let starts_ms = batch.starts_ms.get(range.clone()).unwrap_or_default();
                let series = &batch.samples[range];
                if newest_only {
                    let rules = Rules { late_from_ms: None, ..*rules };
                    let mut own = Appended::default();
                    samples.claim(time_ms, series, starts_ms, &rules, row, claims, &mut own);
                    // What is left out is left out on purpose.
                    appended.taken += own.taken;
                    appended.duplicate += own.duplicate;
                    appended.unknown.append(&mut own.unknown);
                } else {
                    samples.claim(time_ms, series, starts_ms, rules, row, claims, appended);
                }
                if !claiming.row.is_empty() {
                    claiming.wal.put_row(time_ms, claiming.row);
                    claiming.note(time_ms);
                }
            }
        })
    }

    /// Claims samples of a shard, of which the newest has the time `newest_ms`, writes them to its
    /// log, and stores them; or takes the claims back, if they cannot be written.
    pub(crate) fn claim_and_store(
        &self,
        shard: &Shard,
        now: i64,
        newest_ms: i64,
        claim: impl FnOnce(&mut Samples, &mut Claiming<'_>),
    ) -> Result<(), Error> {
        let mut guard = self.appenders[shard.number()].lock();
        let span_ms = self.config.segment_span_ms;
        // Samples from the future must not end a span of the present.
        guard.wal.enter_span(newest_ms.min(now).div_euclid(span_ms).saturating_mul(span_ms));
        self.prepare(shard, &mut guard)?;
        let Appender { wal, claims, row, whole, .. } = &mut *guard;
        claims.clear();
        whole.clear();
        let newest = self.head_last_ms.load(Ordering::Acquire).min(now);
        let window = self.config.out_of_order_ms;
        let rules = Rules {
            // Sealing changes it only while it has all appenders.
            sealed_until_ms: self.sealed_until_ms.load(Ordering::Acquire),
            late_from_ms: (window > 0).then(|| newest.saturating_sub(window)),
            span_start_ms: 0,
            epoch: wal.epoch(),
        };
        let (first_ms, last_ms) = (i64::MAX, i64::MIN);
        let mut claiming = Claiming { rules, wal, claims, row, whole, span_ms, first_ms, last_ms };
        claim(&mut shard.samples.write(), &mut claiming);
        let Claiming { mut first_ms, mut last_ms, .. } = claiming;
        wal.put_whole(whole);
        wal.put_late(claims.late());
        let in_order = TimeRange { start_ms: first_ms, end_ms: last_ms };
        for late in claims.late().iter().filter(|late| late.time_ms >= rules.sealed_until_ms) {
            first_ms = first_ms.min(late.time_ms);
            last_ms = last_ms.max(late.time_ms);
        }
        if let Err(error) = wal.write() {
            shard.samples.write().disclaim(claims);
            self.note_changes(in_order, claims.late());
            return Err(Error::Append(error));
        }
        shard.samples.write().store(claims);
        self.note_changes(in_order, claims.late());
        self.head_first_ms.fetch_min(first_ms, Ordering::AcqRel);
        self.head_last_ms.fetch_max(last_ms, Ordering::AcqRel);
        // Maintenance may be busy with a segment for longer than the flush interval.
        self.sync_if_due(&mut guard, 2);
        Ok(())
    }

    /// Late samples are told one by one, unless there are many: what lies between them is unchanged.
    fn note_changes(&self, in_order: TimeRange, late: &[LateSample]) {
        self.changes.note(in_order);
        let times = || late.iter().map(|late| late.time_ms);
        if late.len() <= LATE_TOLD_MAX {
            times().for_each(|at| self.changes.note(TimeRange { start_ms: at, end_ms: at }));
        } else if let (Some(start_ms), Some(end_ms)) = (times().min(), times().max()) {
            self.changes.note(TimeRange { start_ms, end_ms });
        }
    }

    fn count(&self, appended: &Appended) {
        let m = &self.metrics;
        m.samples_appended.add(appended.taken);
        m.duplicates.add(appended.duplicate);
        m.rejected_out_of_order.add(appended.out_of_order);
        m.rejected_conflicting.add(appended.conflicting);
        m.rejected_too_old.add(appended.too_old);
        m.rejected_future.add(appended.future);
        m.rejected_unknown_series.add(appended.unknown.len() as u64);
    }
}
