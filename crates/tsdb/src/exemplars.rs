//! Appending of exemplars: judged by the newest one of their series, written to the log, and
//! kept in the head until they are sealed with the samples of their time.

use std::sync::atomic::Ordering;

use vedette_model::{Exemplar, TimeRange};

use crate::{
    Appended, Error, ExemplarSample, Store,
    append::Appender,
    head::{Judgement, Shard, compare_exemplars},
    segment::Footer,
};

/// Bytes of the labels of an exemplar; OpenMetrics allows 128 characters, which others exceed.
const LABELS_BYTES_MAX: usize = 1024;

impl Store {
    /// Stores exemplars. Of each series they come in order of time: one that is the newest of its
    /// series is a duplicate, an older one is out of order. When this returns `Ok`, those taken are
    /// in the write-ahead log and survive the end of the process.
    pub fn append_exemplars(&self, exemplars: &[ExemplarSample<'_>]) -> Result<Appended, Error> {
        let mut appended = Appended::default();
        let now = self.clock.unix_ms();
        let is_short = |sample: &&ExemplarSample<'_>| sample.exemplar.labels.heap_bytes() <= LABELS_BYTES_MAX;
        let short = exemplars.iter().copied().filter(|sample| is_short(&sample));
        let place = |sample: ExemplarSample<'_>| (sample.reference, sample.exemplar.time_ms);
        let of_shards = self.spread_each(short, place, now, &mut appended);
        appended.limited += exemplars.iter().filter(|sample| !is_short(sample)).count() as u64;
        let shards = self.head.shards();
        let result = shards
            .iter()
            .zip(of_shards)
            .filter(|(_, of_shard)| !of_shard.is_empty())
            .try_for_each(|(shard, of_shard)| self.append_exemplars_to(shard, &of_shard, &mut appended));
        match result {
            Ok(()) => {
                let m = &self.metrics;
                m.exemplars_appended.add(appended.taken);
                let refused = [appended.out_of_order, appended.too_old, appended.future, appended.limited];
                m.exemplars_rejected.add(refused.iter().sum::<u64>() + appended.unknown.len() as u64);
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

    fn append_exemplars_to(
        &self,
        shard: &Shard,
        exemplars: &[ExemplarSample<'_>],
        appended: &mut Appended,
    ) -> Result<(), Error> {
        let mut guard = self.appenders[shard.number()].lock();
        self.prepare(shard, &mut guard)?;
        let Appender { wal, whole, .. } = &mut *guard;
        whole.clear();
        let sealed_until_ms = self.sealed_until_ms.load(Ordering::Acquire);
        let from_ms = sealed_until_ms.saturating_sub(self.exemplars_late_ms());
        let max = self.config.exemplars_max.div_ceil(self.head.shards().len());
        let mut taken = Vec::new();
        {
            let mut samples = shard.samples.write();
            for &ExemplarSample { reference, exemplar } in exemplars {
                let slot = reference.slot();
                if samples.generation(slot) != Some(reference.generation()) {
                    appended.unknown.push(reference);
                    continue;
                }
                if exemplar.time_ms < from_ms {
                    appended.too_old += 1;
                    continue;
                }
                match samples.exemplars.push(slot, exemplar, max) {
                    Judgement::Taken => {
                        whole.put_exemplar(slot, exemplar);
                        taken.push(slot);
                    }
                    Judgement::Duplicate => appended.duplicate += 1,
                    Judgement::OutOfOrder => appended.out_of_order += 1,
                    Judgement::Limited => appended.limited += 1,
                }
            }
        }
        wal.put_whole(whole);
        if let Err(error) = wal.write() {
            let mut samples = shard.samples.write();
            taken.iter().rev().for_each(|&slot| samples.exemplars.pop(slot));
            return Err(Error::Append(error));
        }
        appended.taken += taken.len() as u64;
        self.sync_if_due(&mut guard, 2);
        Ok(())
    }

    /// How much older than what is sealed exemplars may be; they become part of the next segment.
    fn exemplars_late_ms(&self) -> i64 {
        self.config.out_of_order_ms.max(self.config.segment_span_ms)
    }

    /// Whether a segment may hold exemplars of some time in `range`.
    pub(crate) fn may_have_exemplars(&self, footer: &Footer, range: TimeRange) -> bool {
        let from_ms = footer.from_ms.saturating_sub(self.exemplars_late_ms());
        range.overlaps(TimeRange { start_ms: from_ms, end_ms: footer.until_ms - 1 })
    }
}

/// Puts exemplars from several sources in order, and leaves out what comes twice.
pub(crate) fn sort(exemplars: &mut Vec<Exemplar>) {
    exemplars.sort_unstable_by(compare_exemplars);
    exemplars.dedup_by(|a, b| compare_exemplars(a, b).is_eq());
}
