//! Carries notifications out of the house: to webhooks, files and Alertmanagers.
//!
//! A notification that [`Responder::accept`] took is written and synced; it is delivered at
//! least once, over any end of the process, and tried until the receiver takes it. Receivers do
//! not wait for each other. Every queue is bounded, and what falls out of it is counted and
//! shown. To Alertmanagers ([`Alertmanagers`]) alerts go as Prometheus sends them: again and again
//! while they fire, and without a record. Nothing else in Vedette changes the world outside.

mod alertmanagers;
mod backoff;
mod config;
mod deliver;
mod file;
mod metrics;
mod outbox;
mod webhook;

pub use alertmanagers::{Addresses, AlertmanagerOptions, Alertmanagers, OnwardAlert};
pub use config::{Config, ConfigError, Receiver, Target};
pub use deliver::{Error, Responder};
pub use outbox::{Intent, OutboxError, Recovered};

#[cfg(test)]
mod tests;
