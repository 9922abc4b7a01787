//! The bytes that Vedette speaks to others: Prometheus' JSON answers, remote write and remote read,
//! exposition text, metrics of OpenTelemetry, lines of InfluxDB and Graphite, Alertmanager's webhook
//! message and the answers of Vedette's own API.
//!
//! This crate knows how things are written, not where they come from or who asks. What must be
//! equal to Prometheus byte by byte is written by hand ([`prometheus`], [`exposition`]); what is
//! Vedette's own is declared as structs ([`vedette`]), from which the web app's TypeScript types
//! are generated.

pub mod exposition;
pub mod graphite;
pub mod influx;
pub mod json;
pub mod number;
pub mod otlp;
pub mod prometheus;
pub mod remote_read;
pub mod remote_read_client;
pub mod remote_write;
pub mod vedette;
pub mod webhook;

#[cfg(test)]
mod tests;
