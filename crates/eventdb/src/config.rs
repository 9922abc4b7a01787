//! Limits and times of the store.

use std::{path::PathBuf, time::Duration};

use vedette_sys::Flush;

use crate::Error;

/// Where the catalogue of segments is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CataloguePlace {
    /// `catalogue.redb` in the store's folder.
    File,
    /// In memory, made anew from the segments at every start: for simulated file systems.
    Memory,
}

/// Limits and times of the store.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store lives; its owner holds a `FolderLock` on it or on a folder above.
    pub folder: PathBuf,
    /// When appended events are made to survive a loss of power.
    pub flush: Flush,
    /// Events older than this are removed, a whole segment at a time.
    pub retention: Duration,
    /// The oldest segments are removed when all take more than this.
    pub bytes_max: u64,
    /// A segment is sealed when so many events wait in memory; below 2^20.
    pub seal_events: usize,
    /// A segment is sealed when the oldest event in memory has waited so long.
    pub seal_interval: Duration,
    /// Rows that are skipped or read together.
    pub row_group_rows: usize,
    /// Size at which one encoded event is refused.
    pub event_bytes_max: usize,
    /// A search ends, with a cursor, after it has looked at so many rows.
    pub search_rows_max: u64,
    /// Events that wait for one slow subscriber before the oldest are dropped.
    pub live_events_max: usize,
    /// Where the catalogue is kept.
    pub catalogue: CataloguePlace,
}

impl Config {
    /// Working defaults for a store in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            flush: Flush::Interval(Duration::from_secs(1)),
            retention: Duration::from_secs(7 * 24 * 3600),
            bytes_max: 2 << 30,
            seal_events: 32_768,
            seal_interval: Duration::from_secs(15 * 60),
            row_group_rows: 8_192,
            event_bytes_max: 1 << 20,
            search_rows_max: 10_000_000,
            live_events_max: 4_096,
            catalogue: CataloguePlace::File,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let positive = [
            ("seal_events", self.seal_events as u64),
            ("row_group_rows", self.row_group_rows as u64),
            ("event_bytes_max", self.event_bytes_max as u64),
            ("search_rows_max", self.search_rows_max),
            ("live_events_max", self.live_events_max as u64),
        ];
        for (name, value) in positive {
            if value == 0 {
                return Err(Error::Config(format!("{name} must be at least 1")));
            }
        }
        if self.seal_events >= 1 << 20 {
            return Err(Error::Config("seal_events must be below 1048576".to_owned()));
        }
        if self.event_bytes_max > 8 << 20 {
            return Err(Error::Config("event_bytes_max must be at most 8 MiB".to_owned()));
        }
        Ok(())
    }
}
