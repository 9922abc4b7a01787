//! Gathers facts from the adapters on their schedule, stamps identity (host, container, image,
//! process ancestry) once, and hands batches on. It judges, stores and sends nothing.

mod dictionary;
mod metrics;
mod own;
mod proc_reader;
mod process;
mod sender;
