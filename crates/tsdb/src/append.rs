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
use vedette_sys::MonotonicTime;

use crate::{
    Appended, Error, RefRow, SeriesRef, Tsdb,
    head::{Claims, Rules, Shard},
    wal::{RowBuffer, Wal},
};

/// The log of a shard, and what one append at a time needs.
pub(crate) struct Appender {
    pub wal: Wal,
    pub last_sync: MonotonicTime,
    claims: Claims,
    row: RowBuffer,
}

impl Appender {
    pub fn new(wal: Wal, now: MonotonicTime) -> Self {
        Self { wal, last_sync: now, claims: Claims::default(), row: RowBuffer::default() }
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
    /// Time of each row, and its end in `samples`.
    rows: Vec<(i64, usize)>,
}

impl ShardBatch {
    fn rows(&self) -> impl Iterator<Item = (i64, Range<usize>)> {
        let starts = std::iter::once(0).chain(self.rows.iter().map(|row| row.1));
        self.rows.iter().zip(starts).map(|(&(time_ms, end), start)| (time_ms, start..end))
    }
}

impl Tsdb {
    /// Stores samples. When this returns `Ok`, those taken are in the write-ahead log and
    /// survive the end of the process. On an error some may have been taken, but none in part:
    /// make the same call again, and what was taken counts as a duplicate.
    pub fn append(&self, rows: &[RefRow<'_>]) -> Result<Appended, Error> {
        if let Some(row) = rows.iter().find(|row| row.refs.len() != row.values.len()) {
            let reason = format!("a row of {} series and {} values", row.refs.len(), row.values.len());
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
            for shard in batch.iter_mut() {
                let start = shard.rows.last().map_or(0, |row| row.1);
                if shard.samples.len() > start {
                    shard.rows.push((row.time_ms, shard.samples.len()));
                }
            }
        }
    }

    fn append_to(
        &self,
        shard: &Shard,
        batch: &ShardBatch,
        now: i64,
        appended: &mut Appended,
    ) -> Result<(), Error> {
        let mut guard = self.appenders[shard.number()].lock();
        self.prepare(shard, &mut guard)?;
        let Appender { wal, claims, row, .. } = &mut *guard;
        claims.clear();
        let span = self.config.segment_span_ms;
        let newest = self.head_last_ms.load(Ordering::Acquire).min(now);
        let window = self.config.out_of_order_ms;
        let mut rules = Rules {
            // Sealing changes it only while it has all appenders.
            sealed_until_ms: self.sealed_until_ms.load(Ordering::Acquire),
            late_from_ms: (window > 0).then(|| newest.saturating_sub(window)),
            span_start_ms: 0,
            epoch: wal.epoch(),
        };
        let (mut first_ms, mut last_ms) = (i64::MAX, i64::MIN);
        {
            let mut samples = shard.samples.write();
            for (time_ms, range) in batch.rows() {
                row.clear();
                rules.span_start_ms = time_ms.div_euclid(span).saturating_mul(span);
                samples.claim(time_ms, &batch.samples[range], &rules, row, claims, appended);
                if !row.is_empty() {
                    wal.put_row(time_ms, row);
                    first_ms = first_ms.min(time_ms);
                    last_ms = last_ms.max(time_ms);
                }
            }
        }
        wal.put_late(claims.late());
        for late in claims.late().iter().filter(|late| late.time_ms >= rules.sealed_until_ms) {
            first_ms = first_ms.min(late.time_ms);
            last_ms = last_ms.max(late.time_ms);
        }
        if let Err(error) = wal.write() {
            shard.samples.write().disclaim(claims);
            return Err(Error::Append(error));
        }
        shard.samples.write().store(claims);
        self.head_first_ms.fetch_min(first_ms, Ordering::AcqRel);
        self.head_last_ms.fetch_max(last_ms, Ordering::AcqRel);
        // Maintenance may be busy with a segment for longer than the flush interval.
        self.sync_if_due(&mut guard, 2);
        Ok(())
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
