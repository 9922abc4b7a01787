//! The metric store: how series are kept, found, compacted and recovered.
//!
//! Samples are written to a write-ahead log ([`wal`]) and then to the head ([`head`]), where the
//! series of the last minutes stand compressed in memory. Every ten minutes what is older is
//! sealed into an immutable file ([`segment`]); files are merged into longer ones and removed
//! when they are too old ([`maintain`]). What is deleted ([`delete`]) leaves the head at once and
//! segments when these are written anew. Readers see head and segments as one ([`reader`]).
//!
//! Acknowledged means written with write(2). This crate knows no query language, no HTTP and no
//! async; time and files come from `sys`, so all of it runs in simulation.

mod account;
mod append;
mod bytes;
mod changes;
mod chunk;
mod compact;
mod config;
mod delete;
mod deletions;
mod error;
mod exemplars;
mod figures;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod histograms;
mod limits;
mod maintain;
mod mask;
mod metrics;
mod open;
mod overlay;
mod postings;
pub mod prometheus;
mod reader;
mod recover;
mod repair;
mod retention;
mod rollup;
mod seal;
mod segment;
mod snapshot;
mod stats;
mod store;
mod wal;

pub use account::{Account, Churn, PartAccount, RollupAccount, SegmentAccount};
pub use config::{Config, Flush, Rollup};
pub use delete::Deleted;
pub use error::Error;
pub use limits::{RefusedMetric, SeriesLimit};
pub use metrics::Metrics;
pub use open::{Opening, Recovery, Tsdb};
pub use repair::{Lost, Outcome, Repaired, Verified, repair, verify_segments};
pub use retention::RetentionRule;
pub use snapshot::Snapshotted;
pub use stats::Stats;
pub use store::{Appended, ExemplarSample, HistogramSample, RefRow, SeriesRef, Store};
