//! Kubernetes, as its API server tells it: what is there, and which targets the objects of a cluster
//! name. Nothing here writes to a cluster.
//!
//! * [`Connection`] says how a cluster is reached and as whom: the account of the pod one runs in,
//!   files of `kubectl`, or a URL. [`Api`] asks; [`Api::list`] for all objects of a kind, once.
//! * A [`SharedWatch`] keeps the objects of one kind: listed once, in pieces, then watched. Whatever
//!   fails, what was known stays until a new list is whole, and is marked with its age. [`Hub`] lets
//!   all who want the same objects share one watch.
//! * [`identity`] tells which workload a container, an address or an account belongs to, [`EventFeed`] what
//!   parts of the cluster tell of its objects.
//! * [`policy`] judges which images pods run, from where, and what they may do on their machines.
//! * [`parts`] judges the API server, the store, the nodes and what else a cluster cannot do without.
//! * [`Discoverer`] makes targets of them for `kubernetes_sd_configs`.
//!
//! Answers are decoded object by object into structs that have only what is used; an answer is never
//! held as a whole.

mod api;
pub mod audit;
mod backoff;
mod connection;
mod discovery;
mod error;
mod events;
mod exec;
mod feed;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod hub;
pub mod identity;
mod kubeconfig;
mod ledger;
mod list;
pub mod objects;
pub mod parts;
pub mod policy;
pub mod quantity;
mod read;
mod shelf;
pub mod state;
mod stray;
mod watch;

pub use api::Api;
pub use backoff::Timing;
pub use connection::{Connection, SERVICE_ACCOUNT_FOLDER, Surroundings};
pub use discovery::{Discoverer, Tell};
pub use error::{Error, Refusal, Right};
pub use events::{Event, EventReader};
pub use feed::{EventFeed, FedEvent, FeedWatch};
pub use health::{Health, Trouble, WatchState};
pub use hub::{Hub, SharedWatch, any_change};
pub use kubeconfig::Kubeconfig;
pub use list::{ListEnd, ListReader};
pub use shelf::Shelf;
pub use stray::{NodePods, Pods, STRAY_CONTAINER, StrayView, Strays};
pub use watch::{Sink, What};
