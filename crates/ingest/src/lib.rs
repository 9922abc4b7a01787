//! The one door into the stores: every fact comes through [`Ingest`], which checks it, gives it
//! to the metric or the event store, and acknowledges it once it is written there.
//!
//! A batch is taken as a whole or not at all; of a batch that is taken, each sample and event
//! is stored or counted with the reason why not. The crate does not know where batches come from.
//!
//! Requests of foreign senders know no numbering: [`remote_write`] finds their series by the bytes
//! in which the labels come.

mod config;
mod dictionary;
mod events;
mod ingest;
mod metrics;
mod origin;
mod remote_write;
mod samples;

pub use config::Config;
pub use ingest::{Ingest, Stats};
pub use remote_write::{WriteError, Written};
