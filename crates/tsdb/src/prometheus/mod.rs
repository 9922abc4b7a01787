//! Blocks of Prometheus' store (Cortex, Mimir and Thanos keep the same), read and written.
//!
//! The format is described in Prometheus' documentation (`tsdb/docs/format`): a folder with
//! `meta.json`, `index`, files of chunks, and `tombstones`. [`import`] makes segments of blocks,
//! [`export`] makes blocks of whatever a [`vedette_model::MetricReader`] has. Both go through the
//! series in order of their labels and hold the samples of one of them at a time.
//!
//! Invariant: whatever the bytes of a block are, reading them gives samples or an error that
//! names file and offset.

pub(crate) mod block;
mod block_writer;
mod chunk_files;
pub mod chunks;
pub(crate) mod crc32c;
pub(crate) mod encoding;
mod error;
mod export;
mod import;
mod index;
mod merge;
mod meta;
mod selected;
mod tombstones;
mod ulid;
mod window;

pub use encoding::Refused;
pub use error::BlockError;
pub use export::{ExportOptions, ExportReport, export};
pub use import::{ImportReport, import};
pub use meta::{BlockStats, Compaction, Meta, Parent};
pub use selected::Selected;

/// How far a long task is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// Samples so far.
    pub samples: u64,
}

/// Series between two reports of progress.
const SERIES_PER_REPORT: u64 = 256;

#[cfg(test)]
mod tests;
