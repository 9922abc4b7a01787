//! Recovery: the logs of all shards are replayed into the head, side by side.
//!
//! Each log names its series by their labels, so the store may have another number of shards
//! than the one that wrote it. Logs beyond today's number are kept until what they hold is
//! sealed. Then a series may be in two logs that are replayed at once: its later samples may
//! come first, and the earlier ones are taken as late ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use vedette_model::{Labels, MetricMetadata};
use vedette_sys::Fs;

use crate::{
    Config, Error, SeriesRef,
    deletions::{Deletions, ReplayMask},
    head::{Head, LateSample, Rules},
    store::io_error,
    wal::{Replay, Replayed, Wal},
};

/// What the logs gave.
pub(crate) struct Recovered {
    /// One for each shard.
    pub logs: Vec<Wal>,
    /// Those of shards that there are no more.
    pub left_logs: Vec<Wal>,
    pub metadata: BTreeMap<String, MetricMetadata>,
    pub first_ms: i64,
    pub last_ms: i64,
    pub samples: u64,
    pub wal: vedette_sys::Recovery,
    pub dropped_records: u64,
}

/// Replays all logs.
pub(crate) fn recover(
    config: &Config,
    fs: &Arc<dyn Fs>,
    head: &Head,
    sealed_until_ms: i64,
    deletions: &Deletions,
) -> Result<Recovered, Error> {
    let folders = log_folders(config, fs)?;
    let replay_one = |number: usize| {
        let mut replay = HeadReplay {
            head,
            span_ms: config.segment_span_ms,
            metadata: BTreeMap::new(),
            metadata_max: config.metadata_max,
            sealed_until_ms,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
            samples: 0,
            deleted: ReplayMask::new(deletions, number as u32),
            kept: Vec::new(),
        };
        let folder = config.folder.join("wal").join(number.to_string());
        let (wal, replayed) = Wal::open(Arc::clone(fs), &folder, config.flush, &mut replay)?;
        Ok((wal, replayed, replay))
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let (first, others) = folders.split_first().expect("BUG: there is a shard at least");
        let threads: Vec<_> = others.iter().map(|&number| scope.spawn(move || replay_one(number))).collect();
        let first = replay_one(*first);
        let others = threads.into_iter().map(|t| t.join().unwrap_or_else(|p| std::panic::resume_unwind(p)));
        std::iter::once(first).chain(others).collect()
    });
    let mut recovered = Recovered {
        logs: Vec::new(),
        left_logs: Vec::new(),
        metadata: BTreeMap::new(),
        first_ms: i64::MAX,
        last_ms: i64::MIN,
        samples: 0,
        wal: vedette_sys::Recovery::default(),
        dropped_records: 0,
    };
    for (number, result) in folders.into_iter().zip(results) {
        let (wal, Replayed { log, dropped_records }, replay) = result.map_err(Error::Wal)?;
        let logs = if number < config.shards { &mut recovered.logs } else { &mut recovered.left_logs };
        logs.push(wal);
        recovered.metadata.extend(replay.metadata);
        recovered.first_ms = recovered.first_ms.min(replay.first_ms);
        recovered.last_ms = recovered.last_ms.max(replay.last_ms);
        recovered.samples += replay.samples;
        recovered.dropped_records += dropped_records;
        recovered.wal.records += log.records;
        recovered.wal.segments += log.segments;
        recovered.wal.dropped_bytes += log.dropped_bytes;
        if let Some(damage) = log.damage {
            let all = recovered.wal.damage.get_or_insert_default();
            *all = if all.is_empty() { damage } else { format!("{all}; {damage}") };
        }
    }
    Ok(recovered)
}

/// Numbers of the logs: those of today's shards and those found, in order.
fn log_folders(config: &Config, fs: &Arc<dyn Fs>) -> Result<Vec<usize>, Error> {
    let folder = config.folder.join("wal");
    fs.create_dir_all(&folder).map_err(|source| io_error("make", &folder, source))?;
    let mut numbers: BTreeSet<usize> = (0..config.shards).collect();
    for path in fs.list(&folder).map_err(|source| io_error("list", &folder, source))? {
        if path.extension().is_some_and(|e| e == "log") {
            return Err(Error::Older { path });
        }
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        numbers.extend(name.parse::<usize>().ok().filter(|n| n.to_string() == name));
    }
    Ok(numbers.into_iter().collect())
}

struct HeadReplay<'a> {
    head: &'a Head,
    span_ms: i64,
    metadata: BTreeMap<String, MetricMetadata>,
    metadata_max: usize,
    sealed_until_ms: i64,
    first_ms: i64,
    last_ms: i64,
    samples: u64,
    deleted: ReplayMask<'a>,
    /// Those samples of a row that were not deleted.
    kept: Vec<(SeriesRef, u64)>,
}

impl HeadReplay<'_> {
    /// Notes a time of samples in the head.
    fn note(&mut self, time_ms: i64) {
        if time_ms >= self.sealed_until_ms {
            self.first_ms = self.first_ms.min(time_ms);
            self.last_ms = self.last_ms.max(time_ms);
        }
    }
}

impl Replay for HeadReplay<'_> {
    fn begin_segment(&mut self, number: u64) {
        self.deleted.begin_segment(number);
    }

    fn series(&mut self, labels: &Labels) -> Option<SeriesRef> {
        // Every series in the log was within the limit when it was written.
        let hash = labels.stable_hash();
        let reference = self.head.shard_of(hash).find_or_create(hash, labels);
        self.deleted.define(reference, labels);
        Some(reference)
    }

    fn row(&mut self, time_ms: i64, samples: &[(SeriesRef, u64)]) {
        let mut kept = std::mem::take(&mut self.kept);
        let samples = if self.deleted.is_empty() {
            samples
        } else {
            kept.clear();
            kept.extend(samples.iter().filter(|(series, _)| !self.deleted.covers(*series, time_ms)));
            &kept
        };
        let rules = Rules {
            sealed_until_ms: self.sealed_until_ms,
            late_from_ms: None,
            span_start_ms: time_ms.div_euclid(self.span_ms).saturating_mul(self.span_ms),
            epoch: 0,
        };
        for of_shard in samples.chunk_by(|a, b| a.0.shard() == b.0.shard()) {
            let Some(shard) = self.head.shard(of_shard[0].0) else { continue };
            let mut samples = shard.samples.write();
            for &(series, bits) in of_shard {
                self.samples += u64::from(samples.replay(series.slot(), time_ms, bits, &rules));
            }
        }
        self.kept = kept;
        self.note(time_ms);
    }

    fn late(&mut self, series: SeriesRef, time_ms: i64, bits: u64) {
        let Some(shard) = self.head.shard(series).filter(|_| !self.deleted.covers(series, time_ms)) else {
            return;
        };
        let sample = LateSample { slot: series.slot(), time_ms, bits };
        self.samples += u64::from(shard.samples.write().replay_late(sample));
        self.note(time_ms);
    }

    fn metadata(&mut self, metadata: MetricMetadata) {
        if self.metadata.len() < self.metadata_max || self.metadata.contains_key(&metadata.family) {
            self.metadata.insert(metadata.family.clone(), metadata);
        }
    }
}
