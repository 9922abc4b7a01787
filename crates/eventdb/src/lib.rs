//! The store of events: what the kernel and runtimes saw, and the findings made of it.
//!
//! Events are written to a log, are searchable at once from memory, and are sealed into
//! Parquet segments. An acknowledged event is found until retention removes it; ids grow in the
//! order of arrival and are never given twice. The crate knows no rules and no HTTP.

mod catalogue;
mod codec;
mod config;
mod db;
mod entry;
mod error;
mod live;
mod metrics;
mod recovery;
mod search;
mod segment;
mod text;

pub use config::{CataloguePlace, Config};
pub use db::EventDb;
pub use error::Error;
pub use live::{Received, Subscription};
pub use metrics::Stats;
pub use recovery::Recovery;
pub use search::{Found, Search};
