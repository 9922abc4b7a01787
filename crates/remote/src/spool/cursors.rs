//! How far each receiver is, in a log of its own: the last record for a receiver counts.
//!
//! Invariant: a cursor that was written comes back after the process was killed. One that is lost
//! with the power costs repeats, no sample.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use vedette_sys::{Flush, Fs, LogConfig, LogError, RecordLog};

/// The log is written anew when it is longer than this.
const COMPACT_BYTES: u64 = 256 << 10;

pub struct Cursors {
    log: RecordLog,
    /// The last record that each receiver has acknowledged, or that was given up.
    acknowledged: BTreeMap<String, u64>,
}

impl Cursors {
    pub fn open(fs: Arc<dyn Fs>, folder: &Path) -> Result<Self, LogError> {
        let config = LogConfig {
            segment_bytes_max: u64::MAX,
            record_bytes_max: 64 << 10,
            flush: Flush::Interval(Duration::from_secs(1)),
        };
        let mut acknowledged = BTreeMap::new();
        let (log, _) = RecordLog::open(fs, folder, config, &mut |_, record| {
            if let Some((seq, key)) = record.split_first_chunk()
                && let Ok(key) = std::str::from_utf8(key)
            {
                acknowledged.insert(key.to_owned(), u64::from_le_bytes(*seq));
            }
        })?;
        Ok(Self { log, acknowledged })
    }

    pub fn get(&self, key: &str) -> Option<u64> {
        self.acknowledged.get(key).copied()
    }

    /// The highest cursor of all.
    pub fn highest(&self) -> u64 {
        self.acknowledged.values().copied().max().unwrap_or(0)
    }

    pub fn set(&mut self, key: &str, seq: u64) -> Result<(), LogError> {
        self.acknowledged.insert(key.to_owned(), seq);
        if self.log.bytes() >= COMPACT_BYTES {
            return self.rewrite();
        }
        self.log.append(&record(key, seq)).map(drop)
    }

    /// Forgets receivers that are no more.
    pub fn retain(&mut self, keys: &[String]) -> Result<(), LogError> {
        let before = self.acknowledged.len();
        self.acknowledged.retain(|key, _| keys.contains(key));
        if self.acknowledged.len() == before { Ok(()) } else { self.rewrite() }
    }

    pub fn sync(&mut self) -> Result<(), LogError> {
        self.log.sync()
    }

    fn rewrite(&mut self) -> Result<(), LogError> {
        let records: Vec<_> = self.acknowledged.iter().map(|(key, seq)| record(key, *seq)).collect();
        let segment = self.log.start_segment()?;
        self.log.append_all(records.iter().map(Vec::as_slice))?;
        self.log.remove_before(segment)
    }
}

fn record(key: &str, seq: u64) -> Vec<u8> {
    let mut record = seq.to_le_bytes().to_vec();
    record.extend_from_slice(key.as_bytes());
    record
}
