//! The one door into the stores: every fact comes through [`Ingest`], which checks it, gives it
//! to the metric or the event store, and acknowledges it once it is written there.
//!
//! A batch is taken as a whole or not at all; of a batch that is taken, each sample and event
//! is stored or counted with the reason why not. The crate does not know where batches come from.
//!
//! Requests of foreign senders know no numbering, and come by the [`Receiver`]: [`intake`] finds their
//! series by what names them, in whichever protocol ([`remote_write`] and its neighbours) they come.
//! What they bring is handed to others as well, if there are any ([`onward`]).

mod config;
mod dictionary;
mod events;
mod ingest;
mod intake;
mod keeper;
mod labelled;
mod lines;
mod metrics;
mod onward;
mod origin;
mod otlp;
mod receiver;
mod remote_write;
mod samples;
mod series_cache;

pub use config::Config;
pub use ingest::{Ingest, Stats};
pub use intake::{WriteError, Written};
pub use otlp::{DeltaHandling, OtlpSettings};
pub use receiver::Receiver;
