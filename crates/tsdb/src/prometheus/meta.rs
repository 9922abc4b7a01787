//! `meta.json`: what a block holds, and from which blocks it was made.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{error::BlockError, window::read_small};

/// Name of the file.
pub const FILE: &str = "meta.json";

/// A block made from many others names each of them, so that the file can be large.
const BYTES_MAX: u64 = 64 << 20;

/// What `meta.json` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Name of the block.
    pub ulid: String,
    /// Time of the first sample, in milliseconds since the Unix epoch.
    pub min_time: i64,
    /// All samples are before this.
    pub max_time: i64,
    /// Counts.
    pub stats: BlockStats,
    /// Where it comes from.
    pub compaction: Compaction,
    /// Version of the file; 1.
    pub version: u32,
}

/// Counts in `meta.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockStats {
    /// Samples of both kinds.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    /// Floats.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    /// Native histograms.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    /// Series.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    /// Chunks.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    /// Intervals in `tombstones`.
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Where a block comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Compaction {
    /// How often it was merged; 1 for the first.
    pub level: u32,
    /// The blocks of level 1 whose samples it holds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// The blocks it replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
}

/// A block that another one replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Parent {
    /// Its name.
    pub ulid: String,
    /// Its first time.
    pub min_time: i64,
    /// The end of its time.
    pub max_time: i64,
}

impl Meta {
    /// Reads and checks the file of a block.
    pub fn read(block: &Path) -> Result<Self, BlockError> {
        let path = block.join(FILE);
        let meta: Self = serde_json::from_slice(&read_small(&path, BYTES_MAX)?)
            .map_err(|error| BlockError::damaged(&path, 0, error.to_string()))?;
        if meta.version != 1 {
            return Err(BlockError::unsupported(&path, format!("its version is {}, not 1", meta.version)));
        }
        if meta.min_time > meta.max_time {
            let reason = format!("it begins at {} and ends at {}", meta.min_time, meta.max_time);
            return Err(BlockError::damaged(&path, 0, reason));
        }
        Ok(meta)
    }
}
